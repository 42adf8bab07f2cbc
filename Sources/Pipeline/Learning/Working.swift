/// Values that records in hand have changed: until such a change is committed and handed to the
/// store, a recall would not find it.
///
/// A record pins its key from when it is taken until it is gone. As long as a key is pinned, what
/// was last set counts, and not what a recall has answered: a recall that was asked for before a
/// change was handed to the store is answered while its record, and so the change, is still here.
package struct Working<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Entry {
        var pins = 0
        /// Outer nil: no record in hand has changed it. Inner nil: it is gone.
        var value: Value??
    }
    private var entries: [Key: Entry] = [:]

    package init() {}

    package var isEmpty: Bool { entries.isEmpty }

    /// - Parameter isGone: where no record in hand has changed the value, it is not what a recall
    ///   answers, but gone.
    package mutating func pin(_ key: Key, isGone: Bool = false) {
        entries[key, default: Entry(value: isGone ? .some(nil) : nil)].pins += 1
    }

    package mutating func unpin(_ key: Key) {
        guard var entry = entries[key] else { return }
        entry.pins -= 1
        entries[key] = entry.pins > 0 ? entry : nil
    }

    /// Changes the value of a pinned key; nil: it is gone.
    package mutating func set(_ key: Key, _ value: Value?) {
        entries[key]?.value = .some(value)
    }

    package func value(_ key: Key, recalled: Value?) -> Value? {
        guard let value = entries[key]?.value else { return recalled }
        return value
    }

    /// The pinned keys.
    package var keys: some Sequence<Key> { entries.keys }
}

/// Keeps values by key within a budget of bytes; what has gone unused for longest makes room.
///
/// Deterministic: what it holds follows from the order of calls alone. Every call takes constant
/// time, however much is held.
package struct RecentlyUsed<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    /// What an entry takes beside its value: its place in the table and in the order of use.
    package static var overheadBytes: Int { 256 }

    package let maximumBytes: Int
    /// What the values held take, overhead included: at most `maximumBytes`.
    package private(set) var byteCount = 0
    package var count: Int { places.count }

    /// A ring in the order of use, linked by indices. `nodes[0]` holds no value and closes it: its
    /// `older` is the entry used last, its `newer` the one unused for longest.
    private struct Node: Sendable {
        var entry: (key: Key, value: Value, byteCount: Int)?
        var newer: Int
        var older: Int
    }
    private var nodes = [Node(entry: nil, newer: 0, older: 0)]
    private var free: [Int] = []
    private var places: [Key: Int] = [:]

    package init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// The value kept under `key`, which counts as a use of it.
    package mutating func value(for key: Key) -> Value? {
        guard let place = places[key] else { return nil }
        unlink(place)
        linkAsNewest(place)
        return nodes[place].entry?.value
    }

    /// Keeps a value, as the one used last; one larger than the whole budget is not kept.
    ///
    /// - Parameter byteCount: what the value takes, without `overheadBytes`.
    /// - Returns: how many others had to go.
    @discardableResult
    package mutating func keep(_ value: Value, for key: Key, byteCount: Int) -> Int {
        if let place = places[key] { remove(place) }
        let size = byteCount + Self.overheadBytes
        guard size <= maximumBytes else { return 0 }
        var evicted = 0
        while self.byteCount + size > maximumBytes {
            remove(nodes[0].newer)
            evicted += 1
        }
        let place = free.popLast() ?? nodes.count
        let node = Node(entry: (key, value, size), newer: place, older: place)
        if place == nodes.count { nodes.append(node) } else { nodes[place] = node }
        places[key] = place
        self.byteCount += size
        linkAsNewest(place)
        return evicted
    }

    private mutating func remove(_ place: Int) {
        guard let entry = nodes[place].entry else { return }
        unlink(place)
        nodes[place].entry = nil
        places[entry.key] = nil
        byteCount -= entry.byteCount
        free.append(place)
    }

    private mutating func linkAsNewest(_ place: Int) {
        let newest = nodes[0].older
        nodes[place].newer = 0
        nodes[place].older = newest
        nodes[newest].newer = place
        nodes[0].older = place
    }

    private mutating func unlink(_ place: Int) {
        let (newer, older) = (nodes[place].newer, nodes[place].older)
        nodes[newer].older = older
        nodes[older].newer = newer
    }
}

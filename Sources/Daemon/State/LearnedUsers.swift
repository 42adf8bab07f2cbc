import Model
import Pipeline
import Synchronization

/// What was learnt of the users of one model, over all tasks: in memory within a budget of bytes,
/// else from the task's checkpoint. That nothing was learnt of somebody is remembered too.
///
/// May be called from any thread. No lock is held while a file is read or written, and memory is
/// divided into parts with a lock each, so that a lookup waits for at most another lookup, or for an
/// eviction of a few entries.
package final class LearnedUsers: Sendable {
    /// The share of the budget for users of whom nothing was learnt: 1/32. They take about 130
    /// bytes each.
    private static let absentShare = 32
    /// A part has at least so much.
    private static let minimumPartBytes = 1 << 20
    private static let maximumParts = 64
    /// Entries looked at under one lock when a task leaves.
    private static let dropStep = 256
    private static let loadStep = 1_024

    package let model: String
    package let maximumBytes: Int

    private final class Part: Sendable {
        struct Memory: Sendable {
            var learned: LearnedUserTable
            var absent: LearnedUserTable
            /// Counts commits and drops: what was read from a file meanwhile is not kept.
            var changes = 0
            var metrics = Metrics()

            mutating func keep(_ entry: UserEntry, for key: UserKey) {
                if entry.isLearned {
                    absent.remove(key)
                    metrics.evictions += learned.keep(entry, for: key)
                } else {
                    learned.remove(key)
                    metrics.evictions += absent.keep(entry, for: key)
                }
            }
        }
        let memory: Mutex<Memory>

        init(maximumBytes: Int) {
            let absent = maximumBytes / absentShare
            memory = Mutex(
                Memory(
                    learned: LearnedUserTable(maximumBytes: maximumBytes - absent),
                    absent: LearnedUserTable(maximumBytes: absent)))
        }
    }
    private let parts: [Part]
    private let stores = Mutex<[Int32: TaskStore]>([:])

    package struct Metrics: Equatable, Sendable {
        /// Held in memory, now.
        package var users = 0
        package var absentUsers = 0
        package var bytes = 0
        /// Since the start.
        package var hits = 0
        package var fileReads = 0
        package var evictions = 0
    }

    /// - Parameters:
    ///   - model: the version of the model that scores; what belongs to others is not seen.
    ///   - maximumBytes: for all tasks together, at least 1 MiB.
    package init(model: String, maximumBytes: Int) {
        self.model = model
        self.maximumBytes = max(maximumBytes, Self.minimumPartBytes)
        var count = 1
        while count < Self.maximumParts, self.maximumBytes / (2 * count) >= Self.minimumPartBytes {
            count *= 2
        }
        let share = self.maximumBytes / count
        parts = (0..<count).map { _ in Part(maximumBytes: share) }
    }

    /// Takes up a task whose checkpoint is complete: its users can be looked up from here on.
    package func add(_ store: TaskStore) {
        stores.withLock { $0[store.task] = store }
    }

    /// Reads the users of a task that was added into memory, as far as there is room without anybody
    /// having to go, and as long as the task is here. Lookups may go on meanwhile.
    ///
    /// - Returns: users read.
    @discardableResult
    package func load(_ store: TaskStore) throws(StoreError) -> Int {
        var (last, read) = (Int64?.none, 0)
        repeat {
            // What is committed from here on is newer than what is read.
            let changes = parts.map { $0.memory.withLock { $0.changes } }
            guard stores.withLock({ $0[store.task] === store }) else { break }
            var isFull = false
            last = try store.eachLearnedUser(
                model: model, after: last, limit: Self.loadStep
            ) { uid, user in
                let key = UserKey(uid: uid, task: store.task)
                let entry = UserEntry(key, user)
                let index = partIndex(key)
                parts[index].memory.withLock { memory in
                    guard memory.changes == changes[index] else { return }
                    guard
                        memory.learned.byteCount + entry.byteCount <= memory.learned.maximumBytes
                    else {
                        isFull = true
                        return
                    }
                    memory.keep(entry, for: key)
                    read += 1
                }
            }
            if isFull { break }
        } while last != nil
        return read
    }

    /// Forgets a task that is another's from now on. Its store is not closed.
    package func drop(task: Int32) {
        stores.withLock { $0[task] = nil }
        for part in parts {
            part.memory.withLock { $0.changes += 1 }
            var place: Int? = 1
            while let start = place {
                place = part.memory.withLock {
                    $0.learned.removeAll(of: task, from: start, limit: Self.dropStep)
                }
            }
            place = 1
            while let start = place {
                place = part.memory.withLock {
                    $0.absent.removeAll(of: task, from: start, limit: Self.dropStep)
                }
            }
        }
    }

    /// What was learnt of the user; nil where nothing was, or where the task is not here.
    ///
    /// - Throws: where it had to be read from the checkpoint, and could not.
    package func user(_ uid: String, task: Int32) throws(StoreError) -> LearnedUser? {
        let key = UserKey(uid: uid, task: task)
        let part = parts[partIndex(key)]
        let (entry, changes) = part.memory.withLock { memory in
            let entry = memory.learned.entry(for: key) ?? memory.absent.entry(for: key)
            if entry == nil { memory.metrics.fileReads += 1 } else { memory.metrics.hits += 1 }
            return (entry, memory.changes)
        }
        if let entry { return entry.user }
        guard let store = stores.withLock({ $0[task] }) else { return nil }
        let user = try store.learnedUser(uid: uid, model: model)
        let read = UserEntry(key, user)
        part.memory.withLock { memory in
            if memory.changes == changes { memory.keep(read, for: key) }
        }
        return user
    }

    /// Takes what a committed transaction changed: seen by scoring from here on, and handed to the
    /// task's checkpoint. Until it is in the file, the store answers from what waits, so that an
    /// entry may be evicted at any time.
    package func commit(_ changes: [StateChange], reached: Reached?, task: Int32) {
        guard let store = stores.withLock({ $0[task] }) else { return }
        store.apply(changes, reached: reached)
        show(changes, task: task)
    }

    /// Shows scoring what its checkpoint has taken.
    package func show(_ changes: [StateChange], task: Int32) {
        for change in changes {
            switch change {
            case .user(let state) where CodePoints(state.model) == CodePoints(model):
                replace(UserKey(uid: state.uid, task: task), LearnedUser(state))
            case .forgottenUser(let uid, let forgotten)
            where CodePoints(forgotten) == CodePoints(model):
                replace(UserKey(uid: uid, task: task), nil)
            default: break
            }
        }
    }

    package var metrics: Metrics {
        parts.reduce(into: Metrics()) { sum, part in
            part.memory.withLock { memory in
                sum.users += memory.learned.count
                sum.absentUsers += memory.absent.count
                sum.bytes += memory.learned.byteCount + memory.absent.byteCount
                sum.hits += memory.metrics.hits
                sum.fileReads += memory.metrics.fileReads
                sum.evictions += memory.metrics.evictions
            }
        }
    }

    private func replace(_ key: UserKey, _ user: LearnedUser?) {
        let entry = UserEntry(key, user)
        parts[partIndex(key)].memory.withLock { memory in
            memory.changes += 1
            memory.keep(entry, for: key)
        }
    }

    /// By bits of the hash that the tables do not use.
    private func partIndex(_ key: UserKey) -> Int {
        Int(key.hash >> 32) & (parts.count - 1)
    }
}

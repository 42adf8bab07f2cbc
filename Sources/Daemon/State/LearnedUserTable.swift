import Pipeline

/// Whom an entry is about, with its place in the table worked out once.
package struct UserKey: Sendable {
    package let task: Int32
    package let uid: String
    /// FNV-1a over the bytes, mixed: the same in every run, so that what is evicted is, too.
    let hash: UInt64

    package init(uid: String, task: Int32) {
        self.task = task
        self.uid = uid
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ UInt64(UInt32(bitPattern: task))
        for byte in uid.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        hash = (hash ^ hash >> 32) &* 0x9e37_79b9_7f4a_7c15
        self.hash = hash ^ hash >> 29
    }
}

/// One user's figures, vector and name in one piece of memory, since a million of them is to take
/// little more than their vectors. Never changed once made, so `Sendable`.
package struct UserEntry: @unchecked Sendable {
    private struct Header {
        let task: Int32
        /// Floats, -1 where there is no vector; then the name's bytes.
        let vectorCount: Int32
        let nameCount: Int32
        /// nil for a user of whom nothing was learnt; the vector may be absent all the same.
        let isLearned: Bool
        let labelMean: Float?
        let labelCount: Int
        let version: Int
    }
    private final class Storage: ManagedBuffer<Header, Float> {}
    private let storage: ManagedBuffer<Header, Float>

    /// - Parameter user: nil remembers that nothing was learnt.
    package init(_ key: UserKey, _ user: LearnedUser?) {
        let values = user?.vector
        let floats = values?.count ?? 0
        let nameCount = key.uid.utf8.count
        let header = Header(
            task: key.task, vectorCount: values.map { Int32($0.count) } ?? -1,
            nameCount: Int32(nameCount), isLearned: user != nil, labelMean: user?.labelMean,
            labelCount: user?.labelCount ?? 0, version: user?.version ?? 0)
        storage = Storage.create(minimumCapacity: floats + (nameCount + 3) / 4) { _ in header }
        storage.withUnsafeMutablePointerToElements { elements in
            if let values { elements.update(from: values, count: floats) }
            let name = UnsafeMutableRawPointer(elements + floats)
            for (i, byte) in key.uid.utf8.enumerated() {
                name.storeBytes(of: byte, toByteOffset: i, as: UInt8.self)
            }
        }
    }

    var task: Int32 { storage.header.task }
    var isLearned: Bool { storage.header.isLearned }

    func isAbout(_ key: UserKey) -> Bool {
        storage.withUnsafeMutablePointers { header, elements in
            let count = Int(header.pointee.nameCount)
            guard header.pointee.task == key.task, key.uid.utf8.count == count else { return false }
            let name = UnsafeRawBufferPointer(
                start: elements + max(0, Int(header.pointee.vectorCount)), count: count)
            return name.elementsEqual(key.uid.utf8)
        }
    }

    package var user: LearnedUser? {
        storage.withUnsafeMutablePointers { header, elements in
            guard header.pointee.isLearned else { return nil }
            let count = Int(header.pointee.vectorCount)
            return LearnedUser(
                version: header.pointee.version,
                vector: count < 0
                    ? nil : [Float](UnsafeBufferPointer(start: elements, count: count)),
                labelCount: header.pointee.labelCount, labelMean: header.pointee.labelMean)
        }
    }

    /// What the entry takes: the object, as malloc rounds it, and its place in the table.
    package var byteCount: Int {
        let header = storage.header
        let floats = max(0, Int(header.vectorCount)) + (Int(header.nameCount) + 3) / 4
        let object = 16 + MemoryLayout<Header>.stride + 4 * floats
        return (object + 8 + 15) & ~15 + LearnedUserTable.placeBytes
    }
}

/// Entries by user within a budget of bytes; what has gone unused for longest makes room.
///
/// As `RecentlyUsed`, with 64 bytes beside an entry in place of 256.
package struct LearnedUserTable: Sendable {
    package static let placeBytes = 64

    package let maximumBytes: Int
    package private(set) var byteCount = 0
    package private(set) var count = 0

    /// `nodes[0]` holds no entry and closes the ring in the order of use, as in `RecentlyUsed`.
    private struct Node: Sendable {
        var entry: UserEntry?
        var hash: UInt32
        var newer: Int32
        var older: Int32
        /// The next in the same bucket, or the next free node; 0 ends the chain.
        var next: Int32
    }
    private var nodes = [Node(entry: nil, hash: 0, newer: 0, older: 0, next: 0)]
    private var free: Int32 = 0
    /// The first node of each; a power of two of them.
    private var buckets = [Int32](repeating: 0, count: 8)

    package init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// The entry, which counts as a use of it.
    package mutating func entry(for key: UserKey) -> UserEntry? {
        guard let place = place(of: key) else { return nil }
        unlink(place)
        linkAsNewest(place)
        return nodes[place].entry
    }

    /// Keeps an entry as the one used last; one larger than the whole budget is not kept.
    ///
    /// - Returns: how many others had to go.
    package mutating func keep(_ entry: UserEntry, for key: UserKey) -> Int {
        remove(key)
        let size = entry.byteCount
        guard size <= maximumBytes else { return 0 }
        var evicted = 0
        while byteCount + size > maximumBytes {
            remove(at: Int(nodes[0].newer))
            evicted += 1
        }
        if count == buckets.count { grow() }
        let hash = UInt32(truncatingIfNeeded: key.hash)
        let bucket = bucket(hash)
        let place: Int
        let node = Node(entry: entry, hash: hash, newer: 0, older: 0, next: buckets[bucket])
        if free != 0 {
            place = Int(free)
            free = nodes[place].next
            nodes[place] = node
        } else {
            place = nodes.count
            nodes.append(node)
        }
        buckets[bucket] = Int32(place)
        linkAsNewest(place)
        byteCount += size
        count += 1
        return evicted
    }

    package mutating func remove(_ key: UserKey) {
        if let place = place(of: key) { remove(at: place) }
    }

    /// Drops the entries of a task among the next `limit` nodes from `start` on.
    ///
    /// - Returns: where to go on; nil at the end.
    package mutating func removeAll(of task: Int32, from start: Int, limit: Int) -> Int? {
        let end = min(start + limit, nodes.count)
        for place in start..<max(start, end) where nodes[place].entry?.task == task {
            remove(at: place)
        }
        return end < nodes.count ? end : nil
    }

    private func bucket(_ hash: UInt32) -> Int { Int(hash) & (buckets.count - 1) }

    private func place(of key: UserKey) -> Int? {
        let hash = UInt32(truncatingIfNeeded: key.hash)
        var place = Int(buckets[bucket(hash)])
        while place != 0 {
            if nodes[place].hash == hash, nodes[place].entry?.isAbout(key) == true { return place }
            place = Int(nodes[place].next)
        }
        return nil
    }

    private mutating func remove(at place: Int) {
        guard let entry = nodes[place].entry else { return }
        unlink(place)
        let bucket = bucket(nodes[place].hash)
        if Int(buckets[bucket]) == place {
            buckets[bucket] = nodes[place].next
        } else {
            var before = Int(buckets[bucket])
            while Int(nodes[before].next) != place { before = Int(nodes[before].next) }
            nodes[before].next = nodes[place].next
        }
        nodes[place].entry = nil
        nodes[place].next = free
        free = Int32(place)
        byteCount -= entry.byteCount
        count -= 1
    }

    private mutating func grow() {
        buckets = [Int32](repeating: 0, count: 2 * buckets.count)
        for place in nodes.indices where nodes[place].entry != nil {
            let bucket = bucket(nodes[place].hash)
            nodes[place].next = buckets[bucket]
            buckets[bucket] = Int32(place)
        }
    }

    private mutating func linkAsNewest(_ place: Int) {
        let newest = nodes[0].older
        nodes[place].newer = 0
        nodes[place].older = newest
        nodes[Int(newest)].newer = Int32(place)
        nodes[0].older = Int32(place)
    }

    private mutating func unlink(_ place: Int) {
        let (newer, older) = (nodes[place].newer, nodes[place].older)
        nodes[Int(newer)].older = older
        nodes[Int(older)].newer = newer
    }
}

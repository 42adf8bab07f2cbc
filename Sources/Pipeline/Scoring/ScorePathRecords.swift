import Model

// What a ScorePath has in hand, and which posts it has seen.

/// The records that are taken and not yet known to be published: each in the order of its
/// partition, with how far it has come and what it holds.
///
/// What is publishable is counted here: the finished records of each partition up to its first
/// unfinished one.
struct HeldRecords<Image: Sendable>: Sendable {
    struct AssignedPartition: Sendable {
        /// Records below are taken already, or published.
        var nextOffset: Int64 = 0
        /// Taken and not yet published, in the order of their offsets.
        fileprivate(set) var tickets: [Ticket] = []
        /// So many of the first tickets are finished: publishable.
        fileprivate(set) var finished = 0
        var isLeaving = false
        /// The last record came from below `nextOffset`.
        var isBehind = false
    }

    struct Entry {
        /// Key, value and headers are let go when the record is finished.
        var record: Record
        /// nil when finished.
        var post: PostEvent?
        var isRepeat: Bool
        /// Uptimes.
        var takenAt: Milliseconds
        var notBefore: Milliseconds = 0
        var deadline: Milliseconds?
        var attempts = 0
        var stage = Stage.waiting

        enum Stage {
            case waiting
            case preparing
            case prepared(PreparedImage<Image>?)
            case scoring(ScoreEvent.Timings)
            case finished(OutputRecord)
        }

        init(record: Record, post: PostEvent?, isRepeat: Bool, takenAt: Milliseconds) {
            self.record = record
            self.post = post
            self.isRepeat = isRepeat
            self.takenAt = takenAt
        }

        var byteCount: Int {
            var count = record.byteCount + (post?.byteCount ?? 0)
            switch stage {
            case .prepared(let image): count += image?.byteCount ?? 0
            case .finished(let output): count += output.byteCount
            case .waiting, .preparing, .scoring: break
            }
            return count
        }
    }

    /// A partition is let go when its records are removed.
    var partitions: [Partition: AssignedPartition] = [:]
    private var entries: [Ticket: Entry] = [:]
    private var lastTicket: UInt64 = 0
    /// Of all records, with their posts, images and outputs.
    private(set) var byteCount = 0
    private(set) var publishableCount = 0
    private(set) var publishableBytes = 0

    var count: Int { entries.count }
    var isEmpty: Bool { entries.isEmpty }
    subscript(ticket: Ticket) -> Entry? { entries[ticket] }

    /// Holds the next record of an assigned partition.
    mutating func take(_ entry: Entry) -> Ticket {
        lastTicket += 1
        let ticket = Ticket(number: lastTicket)
        let partition = entry.record.partition
        partitions[partition]?.nextOffset = entry.record.offset + 1
        partitions[partition]?.isBehind = false
        partitions[partition]?.tickets.append(ticket)
        entries[ticket] = entry
        byteCount += entry.byteCount
        return ticket
    }

    mutating func update(_ ticket: Ticket, _ change: (inout Entry) -> Void) {
        guard var entry = entries[ticket] else { return }
        byteCount -= entry.byteCount
        change(&entry)
        byteCount += entry.byteCount
        entries[ticket] = entry
    }

    mutating func finish(_ ticket: Ticket, _ output: OutputRecord) {
        guard let partition = entries[ticket]?.record.partition else { return }
        update(ticket) { entry in
            entry.stage = .finished(output)
            entry.post = nil
            entry.record.key = nil
            entry.record.value = nil
            entry.record.headers = []
        }
        extendPublishable(partition)
    }

    /// Counts in what has become publishable: everything before it is finished too.
    private mutating func extendPublishable(_ partition: Partition) {
        guard var assigned = partitions[partition] else { return }
        while assigned.finished < assigned.tickets.count,
            let entry = entries[assigned.tickets[assigned.finished]],
            case .finished(let output) = entry.stage
        {
            assigned.finished += 1
            publishableCount += 1
            publishableBytes += output.byteCount
        }
        partitions[partition] = assigned
    }

    /// What is publishable, partition after partition, within the bounds (the last record may
    /// exceed `maximumBytes`).
    func nextBatch(maximumRecords: Int, maximumBytes: Int) -> Batch {
        var batch = Batch()
        var bytes = 0
        for (partition, assigned) in partitions.sorted(by: { $0.key < $1.key }) {
            for ticket in assigned.tickets.prefix(assigned.finished) {
                guard batch.outputs.count < maximumRecords, bytes < maximumBytes else {
                    return batch
                }
                guard let entry = entries[ticket], case .finished(let output) = entry.stage else {
                    break
                }
                batch.outputs.append(output)
                batch.offsets[partition] = entry.record.offset + 1
                bytes += output.byteCount
            }
        }
        return batch
    }

    /// Which record a broker found too large is not known, and a dead letter (an output to `topic`)
    /// is the only one whose size others decide: all of the batch are reduced, before it is
    /// published again.
    ///
    /// - Returns: how many became smaller.
    mutating func reduceDeadLetters(in batch: Batch, topic: String) -> Int {
        var count = 0
        for (partition, offset) in batch.offsets {
            guard let assigned = partitions[partition] else { continue }
            for ticket in assigned.tickets.prefix(assigned.finished) {
                guard let entry = entries[ticket], entry.record.offset < offset,
                    case .finished(let output) = entry.stage, output.topic == topic
                else { continue }
                let reduced = DeadLetter.reduced(output)
                guard reduced != output else { continue }
                update(ticket) { $0.stage = .finished(reduced) }
                publishableBytes += reduced.byteCount - output.byteCount
                count += 1
            }
        }
        return count
    }

    /// So many of the partition's first records are below the offset.
    func count(of partition: Partition, below offset: Int64) -> Int {
        guard let assigned = partitions[partition] else { return 0 }
        return assigned.tickets.prefix { ticket in
            entries[ticket].map { $0.record.offset < offset } ?? true
        }.count
    }

    /// Removes those of the partition's records, by their place in its order.
    ///
    /// - Returns: the removed, in that order.
    mutating func remove(
        _ partition: Partition, _ range: Range<Int>
    ) -> [(ticket: Ticket, entry: Entry)] {
        guard var assigned = partitions[partition] else { return [] }
        var removed: [(ticket: Ticket, entry: Entry)] = []
        for index in range {
            let ticket = assigned.tickets[index]
            guard let entry = entries.removeValue(forKey: ticket) else { continue }
            removed.append((ticket, entry))
            byteCount -= entry.byteCount
            if index < assigned.finished, case .finished(let output) = entry.stage {
                publishableCount -= 1
                publishableBytes -= output.byteCount
            }
        }
        assigned.finished -= range.clamped(to: 0..<assigned.finished).count
        assigned.tickets.removeSubrange(range)
        partitions[partition] = assigned
        return removed
    }
}

/// The ids of the last posts, each with the record that it was first seen in, so that a record
/// that is taken anew after a rebalance is not a repeat of itself.
struct RecentPosts: Sendable {
    private struct Place: Equatable {
        var partition: Partition
        var offset: Int64
    }

    private let capacity: Int
    private var places: [CodePoints: Place] = [:]
    /// A ring: the oldest id is at `oldest` once it is full.
    private var ids: [CodePoints] = []
    private var oldest = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// Whether the id was seen before in another record; remembers it.
    mutating func isRepeat(_ pid: String, in record: Record) -> Bool {
        let pid = CodePoints(pid)
        let place = Place(partition: record.partition, offset: record.offset)
        if let first = places[pid] {
            return first != place
        }
        guard capacity > 0 else { return false }
        if ids.count < capacity {
            ids.append(pid)
        } else {
            places[ids[oldest]] = nil
            ids[oldest] = pid
            oldest = (oldest + 1) % capacity
        }
        places[pid] = place
        return false
    }
}

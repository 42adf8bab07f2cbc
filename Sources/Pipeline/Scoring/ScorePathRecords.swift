import Model

// What a ScorePath has in hand, and which posts it has seen.

/// The records that are taken and not yet known to be published: each in the order of its
/// partition, with how far it has come and what it holds.
///
/// A record is finished when what it comes to is known, and all records before it in its partition
/// are finished too. Finished records are published in the order in which they became so.
struct HeldRecords<Image: Sendable>: Sendable {
    struct AssignedPartition: Sendable {
        /// Records below are taken already, or published.
        var nextOffset: Int64 = 0
        /// Taken and not yet published, in the order of their offsets.
        fileprivate(set) var tickets: [Ticket] = []
        /// So many of the first tickets are finished.
        fileprivate(set) var finished = 0
        var isLeaving = false
        /// The last record came from below `nextOffset`.
        var isBehind = false
    }

    struct Entry {
        /// Key, value and headers are let go when the record is answered or finished.
        var record: Record
        var content: Content
        /// Uptimes.
        var takenAt: Milliseconds
        var notBefore: Milliseconds = 0
        var deadline: Milliseconds?
        var attempts = 0
        var stage: Stage
        /// What it may change in the learning state.
        var pin: LearnPath.Pin?
        /// Of a post: what was remembered of it before; nil until it is looked up.
        var recollection: Recollection?

        enum Content {
            case post(PostEvent, isRepeat: Bool)
            case view(ViewEvent)
            case lesson(Lesson)
            /// Unreadable, or let go.
            case nothing
        }

        enum Stage {
            // A post.
            case waiting
            case preparing
            case prepared(PreparedImage<Image>?)
            case scoring(ScoreEvent.Timings)
            /// Scored, with what is to be remembered of it; its turn comes after those before it.
            case answered([OutputRecord], ScoredPost?, encoding: [UInt8]?)
            // A view or a lesson.
            case recalling
            case recalled(Recollection)
            case learning(LearnerState, Conclusion)
            // Each of them.
            case finished(Conclusion)
        }

        var post: PostEvent? {
            if case .post(let post, _) = content { post } else { nil }
        }

        /// What it comes to is a score: neither a dead letter nor an expired answer.
        var isScored = false
        /// It came from the views or the lessons topic.
        var isOfLearning = false

        var byteCount: Int {
            var count = record.byteCount + (post?.byteCount ?? 0)
            switch stage {
            case .prepared(let image): count += image?.byteCount ?? 0
            case .answered(let outputs, _, let encoding):
                count += outputs.reduce(encoding?.count ?? 0) { $0 + $1.byteCount }
            case .finished(let conclusion): count += conclusion.byteCount
            case .waiting, .preparing, .scoring, .recalling, .recalled, .learning: break
            }
            return count
        }

        var finished: Conclusion? {
            if case .finished(let conclusion) = stage { conclusion } else { nil }
        }
    }

    /// A partition is let go when its records are removed.
    var partitions: [Partition: AssignedPartition] = [:]
    private var entries: [Ticket: Entry] = [:]
    private var lastTicket: UInt64 = 0
    /// Of all records, with their posts, images and outputs.
    private(set) var byteCount = 0
    /// How many came from the posts topic.
    private(set) var postCount = 0
    /// Finished, in the order of publishing.
    private var publishable: [Ticket] = []
    private(set) var publishableBytes = 0
    private(set) var publishablePostCount = 0

    var count: Int { entries.count }
    var isEmpty: Bool { entries.isEmpty }
    var publishableCount: Int { publishable.count }
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
        if !entry.isOfLearning { postCount += 1 }
        return ticket
    }

    mutating func update(_ ticket: Ticket, _ change: (inout Entry) -> Void) {
        guard var entry = entries[ticket] else { return }
        byteCount -= entry.byteCount
        change(&entry)
        byteCount += entry.byteCount
        entries[ticket] = entry
    }

    /// Lets go of what the record no longer needs, now that what it comes to is known.
    mutating func letGo(_ ticket: Ticket) {
        update(ticket) { entry in
            entry.content = .nothing
            entry.record.key = nil
            entry.record.value = nil
            entry.record.headers = []
        }
    }

    /// The first record of the partition that is not finished: its turn is next.
    func next(in partition: Partition) -> Ticket? {
        guard let assigned = partitions[partition], assigned.finished < assigned.tickets.count
        else { return nil }
        return assigned.tickets[assigned.finished]
    }

    /// The record, which is the `next` of its partition, comes to this.
    mutating func finish(_ ticket: Ticket, _ conclusion: Conclusion) {
        guard let entry = entries[ticket] else { return }
        letGo(ticket)
        update(ticket) { $0.stage = .finished(conclusion) }
        partitions[entry.record.partition]?.finished += 1
        publishable.append(ticket)
        publishableBytes += conclusion.byteCount
        if !entry.isOfLearning { publishablePostCount += 1 }
    }

    /// What is publishable, within the bounds (the last record may exceed `maximumBytes`). Views and
    /// lessons, of which there are several to a post, are bounded by bytes alone.
    func nextBatch(maximumPosts: Int, maximumBytes: Int) -> Batch {
        var batch = Batch()
        var (posts, bytes) = (0, 0)
        for ticket in publishable {
            guard posts < maximumPosts, bytes < maximumBytes, let entry = entries[ticket],
                let conclusion = entry.finished
            else { break }
            if !entry.isOfLearning { posts += 1 }
            batch.recordCount += 1
            batch.outputs += conclusion.outputs
            batch.offsets[entry.record.partition] = entry.record.offset + 1
            bytes += conclusion.byteCount
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
        for ticket in publishable {
            guard let entry = entries[ticket], let conclusion = entry.finished,
                let offset = batch.offsets[entry.record.partition], entry.record.offset < offset
            else { continue }
            var reduced = conclusion
            reduced.outputs = conclusion.outputs.map {
                $0.topic == topic ? DeadLetter.reduced($0) : $0
            }
            guard reduced != conclusion else { continue }
            update(ticket) { $0.stage = .finished(reduced) }
            publishableBytes += reduced.byteCount - conclusion.byteCount
            count += 1
        }
        return count
    }

    /// What the finished records below the offsets come to, in the order of publishing.
    func conclusions(below offsets: [Partition: Int64]) -> [(Partition, Conclusion)] {
        publishable.compactMap { ticket in
            guard let entry = entries[ticket], let conclusion = entry.finished,
                let offset = offsets[entry.record.partition], entry.record.offset < offset
            else { return nil }
            return (entry.record.partition, conclusion)
        }
    }

    /// Of the finished records below the offsets that came to a score, in the order of publishing.
    func timestampsOfScores(below offsets: [Partition: Int64]) -> [Milliseconds?] {
        publishable.compactMap { ticket in
            guard let entry = entries[ticket], entry.isScored,
                let offset = offsets[entry.record.partition], entry.record.offset < offset
            else { return nil }
            return .some(entry.record.timestamp)
        }
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
        guard var assigned = partitions[partition], !range.isEmpty else { return [] }
        var removed: [(ticket: Ticket, entry: Entry)] = []
        for index in range {
            let ticket = assigned.tickets[index]
            guard let entry = entries.removeValue(forKey: ticket) else { continue }
            removed.append((ticket, entry))
            byteCount -= entry.byteCount
            if !entry.isOfLearning { postCount -= 1 }
            if let conclusion = entry.finished {
                publishableBytes -= conclusion.byteCount
                if !entry.isOfLearning { publishablePostCount -= 1 }
            }
        }
        publishable.removeAll { entries[$0] == nil }
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

import Kafka
import Pipeline

/// Which dead letter: its partition and offset on the dead-letter topic, written 3:17.
package struct DeadLetterPlace: Hashable, Sendable, CustomStringConvertible {
    package var partition: Int32
    package var offset: Int64

    package init(partition: Int32, offset: Int64) {
        self.partition = partition
        self.offset = offset
    }

    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let partition = Int32(parts[0]), let offset = Int64(parts[1]),
            partition >= 0, offset >= 0
        else { return nil }
        self.init(partition: partition, offset: offset)
    }

    package var description: String { "\(partition):\(offset)" }
}

/// Which dead letters are meant: those that meet everything that is given.
package struct DeadLetterSelection: Sendable {
    package var reason: DeadLetterReason?
    /// Written at this time or later, in seconds since 1970.
    package var since: Double?
    /// Empty: those of all places.
    package var places: Set<DeadLetterPlace> = []

    package init() {}

    func concerns(_ partition: Int32) -> Bool {
        places.isEmpty || places.contains { $0.partition == partition }
    }

    /// The first and the last offset that can be meant; nil is the partition's own.
    func offsets(in partition: Int32) -> (first: Int64?, last: Int64?) {
        let offsets = places.filter { $0.partition == partition }.map(\.offset)
        return (offsets.min(), offsets.max())
    }

    func matches(_ letter: StoredDeadLetter) -> Bool {
        if let reason, letter.reason != reason.rawValue { return false }
        if let since {
            guard let time = letter.record.timestamp, Double(time) / 1_000 >= since else {
                return false
            }
        }
        return places.isEmpty || places.contains(letter.place)
    }
}

extension StoredDeadLetter {
    package var place: DeadLetterPlace {
        DeadLetterPlace(partition: record.partition.number, offset: record.offset)
    }
}

/// Ends a reading before its end.
private struct Enough: Error {}

/// The dead-letter topic, from outside the daemon. Reads as no group's member, and may run beside
/// the daemon, anywhere. One caller at a time.
package final class DeadLetters {
    package enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
        case notThere(DeadLetterPlace, topic: String)
        /// The replays of one partition are too many to be held in memory.
        case tooManyReplays(partition: Int32)

        package var description: String {
            switch self {
            case .notThere(let place, let topic):
                "there is no dead letter at \(place) of topic '\(topic)': it was never written, or "
                    + "its retention has ended. 'uhan dlq list' shows those that are there"
            case .tooManyReplays(let partition):
                "more than \(DeadLetters.maximumReplays) letters of partition \(partition) were "
                    + "replayed: shorten the topic's retention.ms, or delete its oldest records"
            }
        }
    }

    /// Whether reading goes on.
    package enum Next: Sendable { case goOn, stop }

    /// Of one partition: about 24 bytes each.
    static let maximumReplays = 2_000_000
    private static let requestMilliseconds = 10_000

    let configuration: ServeConfiguration
    let log: @Sendable (LogLine) -> Void
    private let client: ClientConfiguration

    /// - Parameter say: what the Kafka clients have to tell.
    package init(_ configuration: ServeConfiguration, say: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration
        log = { line in if line.level <= .warning { say("\(line)") } }
        client = configuration.consumer(log: log)
    }

    package var topic: String { configuration.topics.deadLetters }

    /// The numbers of partitions of the dead-letter topic and of `others`, of which some may be
    /// missing.
    func partitionCounts(with others: [String] = []) throws -> [String: Int] {
        let counts = try Admin(configuration: configuration.admin(log: log)).partitionCounts(
            ofTopics: [topic] + others, timeoutMilliseconds: Self.requestMilliseconds)
        guard counts[topic] != nil else { throw ControlError.topicMissing(topic) }
        return counts
    }

    /// Hands out the letters that are meant and were written before this call, one partition after
    /// the other, each in the order of offsets. Every partition is read twice: for the notes about
    /// replays, which stand behind their letters, then for the letters. Memory is for one letter, what is
    /// prefetched (`LogReader.read`), and the offsets that were replayed of one partition.
    package func read(
        _ selection: DeadLetterSelection, progress: (_ done: Int64, _ total: Int64) -> Void,
        _ body: (_ letter: StoredDeadLetter, _ wasReplayed: Bool) throws -> Next
    ) throws {
        let partitions = (0..<Int32(try partitionCounts()[topic] ?? 0))
            .filter(selection.concerns)
        // All ends before the first letter: what a replay leads to is not replayed by it.
        let ends = try ends(of: partitions)
        for number in partitions {
            let end = ends[number] ?? 0
            let offsets = selection.offsets(in: number)
            if let first = offsets.first, first >= end { continue }
            let replayed = try replayedOffsets(in: number, from: offsets.first, progress)
            let last = min(offsets.last ?? .max, end - 1)
            var next = Next.goOn
            try records(of: number, from: offsets.first, through: last, progress) { record in
                guard case .letter(let letter) = DeadLetterEntry(record), selection.matches(letter)
                else { return .goOn }
                next = try body(letter, replayed.contains(letter.record.offset))
                return next
            }
            if next == .stop { return }
        }
    }

    /// One letter; the rest of its partition is not read.
    package func letter(at place: DeadLetterPlace) throws -> StoredDeadLetter {
        var found: StoredDeadLetter?
        let count = try partitionCounts()[topic] ?? 0
        guard place.partition < count,
            let end = try ends(of: [place.partition])[place.partition], place.offset < end
        else { throw Failure.notThere(place, topic: topic) }
        try records(
            of: place.partition, from: place.offset, through: place.offset, { _, _ in }
        ) { record in
            if case .letter(let letter) = DeadLetterEntry(record), letter.place == place {
                found = letter
            }
            return .goOn
        }
        guard let found else { throw Failure.notThere(place, topic: topic) }
        return found
    }

    // MARK: - Reading

    private func ends(of partitions: [Int32]) throws -> [Int32: Int64] {
        let consumer = try Consumer(configuration: client) { _, _ in [:] }
        return try partitions.reduce(into: [:]) { ends, number in
            ends[number] = try consumer.queryOffsets(
                TopicPartition(topic: topic, partition: number),
                timeoutMilliseconds: Self.requestMilliseconds
            ).lastStable
        }
    }

    private func replayedOffsets(
        in number: Int32, from start: Int64?, _ progress: (_ done: Int64, _ total: Int64) -> Void
    ) throws -> Set<Int64> {
        var replayed: Set<Int64> = []
        try records(of: number, from: start, through: .max, progress) { record in
            guard case .replayed(let offsets) = DeadLetterEntry(record) else { return .goOn }
            replayed.formUnion(offsets)
            guard replayed.count <= Self.maximumReplays else {
                throw Failure.tooManyReplays(partition: number)
            }
            return .goOn
        }
        return replayed
    }

    /// Reads a partition up to and with an offset, or to its end.
    private func records(
        of number: Int32, from start: Int64?, through last: Int64,
        _ progress: (_ done: Int64, _ total: Int64) -> Void, _ body: (Record) throws -> Next
    ) throws {
        do {
            _ = try LogReader(configuration: client).read(
                [TopicPartition(topic: topic, partition: number): start],
                stallTimeoutMilliseconds: configuration.learning.restoreTimeoutMilliseconds
            ) { event in
                switch event {
                // What is gone is not there to be shown; the rest is read.
                case .startedAnew: break
                case .progress(let done, let total): progress(done, total)
                case .record(let message):
                    guard message.offset <= last else { throw Enough() }
                    let next = try body(Record(message))
                    if next == .stop || message.offset == last { throw Enough() }
                }
            }
        } catch is Enough {}
    }
}

import Kafka
import Pipeline

/// Produces the originals of dead letters again, each letter's once.
///
/// A transaction holds the originals and a note on the dead-letter topic, in the partition of the
/// letters, which says that these were replayed. So both are there, or neither. A partition loses
/// its records from its beginning, and the note stands behind its letter: as long as the letter can
/// be read, so can the note. Whoever replays from a topic takes the transactional id that belongs
/// to that topic first, and reads the notes afterwards. Taking it ends what another replay has open
/// and shuts that one out, so two at once do not replay a letter twice either.
package final class DeadLetterReplay {
    package enum Outcome: Equatable, Sendable {
        case replayed
        case wouldBeReplayed
        /// And why.
        case notReplayable(String)
    }

    package struct Counts: Equatable, Sendable {
        /// In a dry run: those that would be.
        package var replayed = 0
        package var replayedBefore = 0
        package var notReplayable = 0
        /// There are more letters than `maximumLetters`.
        package var isLimited = false

        package init() {}
    }

    package enum Failure: Error, Equatable, Sendable, CustomStringConvertible {
        case fenced
        case unknown(letters: Int, String)
        case refused(letters: Int, String)

        package var description: String {
            switch self {
            case .fenced:
                "another replay from this topic has begun and shut this one out. That one sees what "
                    + "this one has replayed, and goes on"
            case .unknown(let letters, let text):
                "it is not known whether the last \(letters) letters were replayed: \(text). Give "
                    + "the command again: it sees what was"
            case .refused(let letters, let text):
                "the last \(letters) letters were not replayed: \(text). Those before were; give the "
                    + "command again to go on"
            }
        }
    }

    /// The bounds of one transaction.
    private static let maximumLetters = 100
    private static let maximumBytes = 4 << 20
    private static let stepMilliseconds = 1_000
    private static let abortMilliseconds = 5_000
    /// As long as the brokers let a transaction live.
    private static let patience = Milliseconds(60_000)

    private let letters: DeadLetters
    private let configuration: ServeConfiguration

    package init(_ configuration: ServeConfiguration, say: @escaping @Sendable (String) -> Void) {
        letters = DeadLetters(configuration, say: say)
        self.configuration = configuration
    }

    /// Belongs to the dead-letter topic, not to one who replays.
    package static func transactionalID(_ configuration: ServeConfiguration) -> String {
        "uhan-replay-\(configuration.topics.deadLetters)"
    }

    /// - Parameters:
    ///   - maximumLetters: how many are replayed.
    ///   - again: letters that were replayed before count as if they had not been.
    ///   - isDry: nothing is written, and nobody is shut out.
    ///   - report: called for a letter once it is known what became of it.
    package func run(
        _ selection: DeadLetterSelection, maximumLetters: Int, again: Bool, isDry: Bool,
        progress: (_ done: Int64, _ total: Int64) -> Void,
        report: (StoredDeadLetter, Outcome) throws -> Void
    ) throws -> Counts {
        let targets = try letters.partitionCounts(with: configuration.inputTopics)
        // Before the notes are read.
        let producer = isDry ? nil : try takeOver()
        var counts = Counts()
        var batch: [StoredDeadLetter] = []
        var batchBytes = 0
        func publish() throws {
            guard let producer, !batch.isEmpty else { return }
            try self.publish(batch, with: producer)
            for letter in batch { try report(letter, .replayed) }
            batch = []
            batchBytes = 0
        }
        try letters.read(selection, progress: progress) { letter, wasReplayed in
            if wasReplayed, !again {
                counts.replayedBefore += 1
                return .goOn
            }
            if let obstacle = obstacle(to: letter, targets) {
                counts.notReplayable += 1
                try report(letter, .notReplayable(obstacle))
                return .goOn
            }
            guard counts.replayed < maximumLetters else {
                counts.isLimited = true
                return .stop
            }
            counts.replayed += 1
            if isDry {
                try report(letter, .wouldBeReplayed)
                return .goOn
            }
            batch.append(letter)
            batchBytes += letter.record.value?.count ?? 0
            if batch.count == Self.maximumLetters || batchBytes >= Self.maximumBytes {
                try publish()
            }
            return .goOn
        }
        try publish()
        return counts
    }

    /// Why a letter cannot be replayed; nil where it can.
    private func obstacle(to letter: StoredDeadLetter, _ targets: [String: Int]) -> String? {
        let origin = letter.origin
        if let bytes = letter.omittedValueBytes {
            return "its value of \(bytes) bytes was too large to go along; the original is at "
                + "\(origin) offset \(letter.originOffset), as long as that topic keeps it"
        }
        guard configuration.inputTopics.contains(origin.topic) else {
            return "it came from topic '\(origin.topic)', which a daemon with these settings does "
                + "not read"
        }
        guard let count = targets[origin.topic] else {
            return "topic '\(origin.topic)', from which it came, is not there"
        }
        guard origin.number < count else {
            return "it came from \(origin), and that topic has \(count) partitions now"
        }
        return nil
    }

    // MARK: - Transactions

    private func takeOver() throws(KafkaError) -> Producer {
        let producer = try Producer(
            configuration: configuration.producer(
                transactionalID: Self.transactionalID(configuration), log: letters.log))
        try repeatedly { () throws(KafkaError) in
            try producer.initTransactions(timeoutMilliseconds: Self.stepMilliseconds)
        }
        return producer
    }

    private func publish(_ batch: [StoredDeadLetter], with producer: Producer) throws(Failure) {
        do {
            try write(batch, with: producer)
        } catch {
            throw failure(error, of: batch, producer)
        }
        do {
            try repeatedly { () throws(KafkaError) in
                try producer.commit(timeoutMilliseconds: Self.stepMilliseconds)
            }
        } catch {
            // A commit that was asked for may have happened, whatever the answer.
            guard error.action == .abort || error.isFenced else {
                throw .unknown(letters: batch.count, error.description)
            }
            throw failure(error, of: batch, producer)
        }
    }

    private func write(
        _ batch: [StoredDeadLetter], with producer: Producer
    ) throws(KafkaError) {
        try producer.begin()
        for letter in batch {
            if let original = letter.original { try produce(original, with: producer) }
        }
        let notes = Dictionary(grouping: batch, by: \.record.partition)
        for (partition, letters) in notes.sorted(by: { $0.key < $1.key }) {
            try produce(
                DeadLetterEntry.note(replayed: letters.map(\.record.offset), of: partition),
                with: producer)
        }
    }

    private func produce(_ record: OutputRecord, with producer: Producer) throws(KafkaError) {
        try producer.produce(
            ProducerRecord(
                topic: record.topic, partition: record.partition, key: record.key,
                value: record.value, headers: record.headers.map { ($0.key, $0.value) }))
    }

    /// What is to be said of a transaction that has certainly not been committed.
    private func failure(
        _ error: KafkaError, of batch: [StoredDeadLetter], _ producer: Producer
    ) -> Failure {
        if error.isFenced || producer.fatalError?.isFenced == true { return .fenced }
        let reason = producer.deliveries.firstFailure ?? error
        // A transaction left open holds up readers until the brokers end it.
        if error.action != .fatal {
            try? producer.abort(timeoutMilliseconds: Self.abortMilliseconds)
        }
        return .refused(letters: batch.count, reason.description)
    }

    /// librdkafka wants a call that was interrupted made again.
    private func repeatedly(_ call: () throws(KafkaError) -> Void) throws(KafkaError) {
        let deadline = Clock().now.uptime + Self.patience
        while true {
            do throws(KafkaError) {
                return try call()
            } catch {
                guard error.action == .retry, Clock().now.uptime < deadline else { throw error }
            }
        }
    }
}

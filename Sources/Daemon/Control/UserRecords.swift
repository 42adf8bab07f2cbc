import Glibc
import Kafka
import Model
import Pipeline

/// A user's record on the users topic.
package struct UserRecord: Equatable, Sendable {
    package var state: LearnerState
    package var partition: Int32
    package var offset: Int64
    /// Seconds since 1970; nil where the topic keeps none.
    package var writtenAt: Double?
}

/// Users as the topics know them, from outside the daemon, which holds its own files locked. Reads
/// as no group's member, and may run beside the daemon, anywhere. One caller at a time.
package final class UserRecords {
    private static let requestMilliseconds = 10_000
    private static let deliveryMilliseconds = 30_000
    private static let pauseMilliseconds: UInt32 = 200

    private let configuration: ServeConfiguration
    private let client: ClientConfiguration
    private let producer: ClientConfiguration

    /// - Parameter say: what the Kafka clients have to tell.
    package init(_ configuration: ServeConfiguration, say: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration
        @Sendable func log(_ line: LogLine) {
            if line.level <= .warning { say("\(line)") }
        }
        client = configuration.consumer(log: log)
        // Not in a transaction: a command that comes twice does no harm.
        producer = configuration.admin(log: log)
    }

    package func partitionCount() throws -> Int {
        let topic = configuration.topics.users
        let counts = try Admin(configuration: configuration.admin(log: client.log))
            .partitionCounts(ofTopics: [topic], timeoutMilliseconds: Self.requestMilliseconds)
        guard let count = counts[topic] else { throw ControlError.topicMissing(topic) }
        return count
    }

    // MARK: - Looking

    package struct Found: Equatable, Sendable {
        /// nil where nothing is known.
        package var record: UserRecord?
        /// Other models with which something was learnt of the user.
        package var otherModels: [String] = []
    }

    /// Reads the partition that the user's key names, and all the others where the user is not
    /// there: each from its beginning. Holds this user's records alone.
    package func find(
        _ uid: String, model: String, progress: (_ done: Int64, _ total: Int64) -> Void
    ) throws -> Found {
        let count = try partitionCount()
        let home = murmur2Partition(ofKey: Array(uid.utf8), count: count)
        let found = try find(uid, model, in: [home], progress)
        guard found.record == nil, count > 1 else { return found }
        let elsewhere = try find(
            uid, model, in: (0..<Int32(count)).filter { $0 != home }, progress)
        return Found(
            record: elsewhere.record,
            otherModels: Set(found.otherModels + elsewhere.otherModels).sorted())
    }

    private func find(
        _ uid: String, _ model: String, in partitions: [Int32],
        _ progress: (_ done: Int64, _ total: Int64) -> Void
    ) throws -> Found {
        // Every key ends in the uid; most are told apart by that, without reading them.
        let noModel = StateChange.forgottenUser(uid: uid, model: "").record.key
        let ending = noModel.dropFirst(#"["user","""#.utf8.count)
        var records: [CodePoints: UserRecord] = [:]
        let starts = partitions.map { (usersPartition($0), Int64?.none) }
        _ = try LogReader(configuration: client).read(
            Dictionary(uniqueKeysWithValues: starts),
            stallTimeoutMilliseconds: configuration.learning.restoreTimeoutMilliseconds
        ) { event in
            switch event {
            case .startedAnew: break
            case .progress(let done, let total): progress(done, total)
            case .record(let message):
                guard let key = message.key, key.suffix(ending.count) == ending else { return }
                switch try StateChange(key: key, value: message.value) {
                case .user(let state):
                    records[CodePoints(state.model)] = UserRecord(
                        state: state, partition: message.topicPartition.partition,
                        offset: message.offset,
                        writtenAt: message.timestampMilliseconds.map { Double($0) / 1_000 })
                case .forgottenUser(_, let model): records[CodePoints(model)] = nil
                default: break
                }
            }
        }
        let record = records.removeValue(forKey: CodePoints(model))
        return Found(record: record, otherModels: records.keys.map(\.string).sorted())
    }

    // MARK: - Commands

    /// The ends of the users topic's partitions: what a command leads to comes after.
    package func ends(of partitions: [Int32]) throws -> [Int32: Int64] {
        let consumer = try Consumer(configuration: client) { _, _ in [:] }
        return try partitions.reduce(into: [:]) { ends, number in
            ends[number] = try consumer.queryOffsets(
                usersPartition(number), timeoutMilliseconds: Self.requestMilliseconds
            ).lastStable
        }
    }

    /// Writes the command to partitions of the lessons topic, and waits until the brokers have it.
    package func send(_ lesson: Lesson, to partitions: [Int32]) throws {
        let producer = try Producer(configuration: producer)
        for number in partitions {
            try producer.produce(
                ProducerRecord(
                    topic: configuration.topics.lessons, partition: number,
                    key: Array(lesson.uid.utf8), value: lesson.json))
        }
        try producer.flush(timeoutMilliseconds: Self.deliveryMilliseconds)
    }

    /// Follows a user's records until a change has come in each of the partitions, or the time is up.
    ///
    /// - Parameters:
    ///   - starts: the offsets to read from.
    ///   - isWanted: whether a change is the one that is waited for.
    /// - Returns: the partitions in which it has come, with it.
    package func follow(
        _ uid: String, model: String, from starts: [Int32: Int64], seconds: Double,
        until isWanted: (StateChange) -> Bool
    ) throws -> [Int32: StateChange] {
        let key = StateChange.forgottenUser(uid: uid, model: model).record.key
        let clock = Clock()
        let end = clock.now.uptime + Milliseconds(seconds * 1_000)
        var seen: [Int32: StateChange] = [:]
        var places: [TopicPartition: Int64?] = [:]
        for (number, offset) in starts { places[usersPartition(number)] = offset }
        while true {
            let remaining = end - clock.now.uptime
            guard remaining > 0, !places.isEmpty else { return seen }
            do {
                let outcome = try LogReader(configuration: client).read(
                    places, stallTimeoutMilliseconds: Int(remaining)
                ) { event in
                    guard case .record(let message) = event, message.key == key else { return }
                    let change = try StateChange(key: key, value: message.value)
                    if isWanted(change) { seen[message.topicPartition.partition] = change }
                }
                guard case .complete(let next) = outcome else { return seen }
                places = next.filter { seen[$0.key.partition] == nil }.mapValues { $0 }
            } catch let error as KafkaError where error.action == .retry {
                // Time says when it has been tried often enough.
            }
            usleep(Self.pauseMilliseconds * 1_000)
        }
    }

    private func usersPartition(_ number: Int32) -> TopicPartition {
        TopicPartition(topic: configuration.topics.users, partition: number)
    }
}

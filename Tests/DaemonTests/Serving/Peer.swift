import Daemon
import Dispatch
import Foundation
import Kafka
import Pipeline
import Testing

/// The world around the daemon: writes posts, reads what is answered. Its calls block, so it has
/// a thread of its own.
actor Peer {
    /// A record of the scores or the dead-letter topic.
    struct Answer: Sendable {
        var topic: String
        var key: String?
        var value: [UInt8]?
        var headers: [String: String]

        var isDeadLetter: Bool { topic == Stage.topics.deadLetters }

        func score() throws -> ScoreEvent { try ScoreEvent(parsing: value ?? []) }
    }

    private let thread = OwnThread()
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private let bootstrap: String
    private let producer: Producer
    private let consumer: Consumer
    /// All that has been read, in the order of reading: per partition that of writing.
    private(set) var answers: [Answer] = []

    init(bootstrap: String) async throws {
        self.bootstrap = bootstrap
        var properties = Stage.quick
        properties["linger.ms"] = "0"
        producer = try Producer(
            configuration: ClientConfiguration(
                bootstrapServers: bootstrap,
                properties: properties.filter { $0.key.hasPrefix("reconnect") }))
        properties = Stage.quick
        properties["group.id"] = "peer"
        consumer = try Consumer(
            configuration: ClientConfiguration(bootstrapServers: bootstrap, properties: properties)
        ) { _, _ in [:] }
        try consumer.subscribe(topics: [Stage.topics.scores, Stage.topics.deadLetters])
    }

    /// Writes posts, each to the partition of its key or to the one given, and waits until they
    /// are there.
    func publish(_ posts: [Post], partition: Int32? = nil) throws {
        for post in posts {
            try write(
                ProducerRecord(
                    topic: Stage.topics.posts, partition: partition, key: post.keyBytes,
                    value: post.json, headers: post.headers))
        }
        try producer.flush(timeoutMilliseconds: Int(patience) * 1_000)
    }

    func publish(_ posts: Post...) throws {
        try publish(posts)
    }

    /// A record that deletes, where topics are compacted.
    func publishTombstone(key: String) throws {
        try write(
            ProducerRecord(topic: Stage.topics.posts, key: Array(key.utf8), value: nil))
        try producer.flush(timeoutMilliseconds: Int(patience) * 1_000)
    }

    /// Writes records as they are and waits until they are there.
    func publish(records: [ProducerRecord]) throws {
        for record in records { try write(record) }
        try producer.flush(timeoutMilliseconds: Int(patience) * 1_000)
    }

    private func write(_ record: ProducerRecord) throws {
        while true {
            do {
                return try producer.produce(record)
            } catch  where error.isQueueFull {
                try? producer.flush(timeoutMilliseconds: 100)
            }
        }
    }

    /// Reads until there are `count` answers in all, and returns them.
    @discardableResult
    func answers(
        _ count: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> [Answer] {
        let start = Date.now
        while answers.count < count {
            try #require(
                Date.now.timeIntervalSince(start) < patience,
                "\(answers.count) answers of \(count)", sourceLocation: sourceLocation)
            try Task.checkCancellation()
            guard let message = try consumer.poll(timeoutMilliseconds: 100) else { continue }
            answers.append(Answer(message))
        }
        return answers
    }

    /// How many records a topic holds, by its ends: for after the daemon has stopped.
    func count(_ topic: String, partitions: Int) throws -> Int {
        try (0..<Int32(partitions)).reduce(0) { sum, number in
            let ends = try consumer.queryOffsets(
                TopicPartition(topic: topic, partition: number), timeoutMilliseconds: 10_000)
            return sum + Int(ends.lastStable - ends.first)
        }
    }
}

extension Peer.Answer {
    init(_ message: ConsumedMessage) {
        topic = message.topicPartition.topic
        key = message.key.map { String(decoding: $0, as: UTF8.self) }
        value = message.value
        headers = [:]
        for header in message.headers {
            headers[header.name] = String(decoding: header.value ?? [], as: UTF8.self)
        }
    }
}

extension [Peer.Answer] {
    /// The scores by post id; more than one of an id fails the test.
    func scores(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: ScoreEvent] {
        var scores: [String: ScoreEvent] = [:]
        for answer in self where !answer.isDeadLetter {
            let score = try answer.score()
            #expect(
                scores.updateValue(score, forKey: score.pid) == nil, "\(score.pid) is there twice",
                sourceLocation: sourceLocation)
            #expect(answer.key == score.uid, sourceLocation: sourceLocation)
        }
        return scores
    }

    var deadLetters: [Peer.Answer] { filter(\.isDeadLetter) }
}

/// A serial queue that may block.
private final class OwnThread: SerialExecutor {
    private let queue = DispatchQueue(label: "peer")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}

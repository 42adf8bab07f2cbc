import Dispatch
import Kafka
import Synchronization
import Testing

/// An embedded broker, and clients of it that do not wait longer than a test should.
struct Cluster {
    let broker: EmbeddedBroker
    let log = LogLines()

    init(brokers: Int = 1) throws { broker = try EmbeddedBroker(brokers: brokers) }

    func configuration(_ properties: [String: String] = [:]) -> ClientConfiguration {
        let quick = ["reconnect.backoff.ms": "20", "reconnect.backoff.max.ms": "100"]
        return ClientConfiguration(
            bootstrapServers: broker.bootstrapServers,
            properties: quick.merging(properties) { $1 }, log: log.append)
    }

    func producer(_ properties: [String: String] = [:]) throws -> Producer {
        try Producer(configuration: configuration(["linger.ms": "0"].merging(properties) { $1 }))
    }

    /// A transactional producer after `initTransactions`.
    func transactionalProducer(_ properties: [String: String] = [:]) throws -> Producer {
        let producer = try producer(["transactional.id": "test"].merging(properties) { $1 })
        try producer.initTransactions(timeoutMilliseconds: patience)
        return producer
    }

    func consumer(
        group: String = "readers", _ properties: [String: String] = [:],
        rebalance: @escaping Consumer.RebalanceHandler = { _, _ in [:] }
    ) throws -> Consumer {
        let quick = [
            "group.id": group, "fetch.wait.max.ms": "50", "session.timeout.ms": "4000",
            "heartbeat.interval.ms": "200", "statistics.interval.ms": "200",
            "topic.metadata.refresh.interval.ms": "500", "fetch.error.backoff.ms": "50",
        ]
        return try Consumer(
            configuration: configuration(quick.merging(properties) { $1 }), rebalance: rebalance)
    }

    /// Writes records outside transactions and waits until they are there.
    func write(_ records: [ProducerRecord]) throws {
        let producer = try producer()
        for record in records { try producer.produce(record) }
        try producer.flush(timeoutMilliseconds: patience)
    }
}

/// Longer than anything here takes on a slow machine; a test that reaches it fails.
let patience = 60_000

/// The log lines of all the clients of a test.
final class LogLines: Sendable {
    private let lines = Mutex<[LogLine]>([])

    @Sendable func append(_ line: LogLine) { lines.withLock { $0.append(line) } }

    var all: [LogLine] { lines.withLock { $0 } }

    func contains(error name: String) -> Bool { all.contains { $0.errorName == name } }
}

/// Waits without polling anything.
func sleep(milliseconds: Int) {
    _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(milliseconds))
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

/// The numbers `range` as records of one partition, in order.
func numbered(_ range: Range<Int>, topic: String, partition: Int32 = 0) -> [ProducerRecord] {
    range.map {
        ProducerRecord(topic: topic, partition: partition, key: nil, value: bytes("\($0)"))
    }
}

/// Polls until `condition` holds; fails the test if it never does.
func poll(
    _ consumer: Consumer, until condition: () throws -> Bool,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let start = ContinuousClock.now
    while try !condition() {
        let waited = ContinuousClock.now - start
        try #require(
            waited < .milliseconds(patience), "waited in vain", sourceLocation: sourceLocation)
        let message = try consumer.poll(timeoutMilliseconds: 50)
        try #require(message == nil, "an unexpected record", sourceLocation: sourceLocation)
    }
}

/// Reads `count` records.
func read(
    _ count: Int, from consumer: Consumer, sourceLocation: SourceLocation = #_sourceLocation
) throws -> [ConsumedMessage] {
    let start = ContinuousClock.now
    var messages: [ConsumedMessage] = []
    while messages.count < count {
        let waited = ContinuousClock.now - start
        try #require(
            waited < .milliseconds(patience), "got \(messages.count) records of \(count)",
            sourceLocation: sourceLocation)
        if let message = try consumer.poll(timeoutMilliseconds: 100) { messages.append(message) }
    }
    return messages
}

/// The `KafkaError` that `body` throws.
func kafkaError(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) throws -> KafkaError {
    do {
        try body()
    } catch let error as KafkaError {
        return error
    }
    return try #require(nil as KafkaError?, "nothing was thrown", sourceLocation: sourceLocation)
}

/// Makes the same call until it no longer asks to be repeated, as every user of a producer must.
func repeating(_ call: () throws -> Void) throws {
    let start = ContinuousClock.now
    while true {
        do {
            return try call()
        } catch let error as KafkaError
            where error.action == .retry
            && ContinuousClock.now - start < .milliseconds(patience)
        {
            continue
        }
    }
}

import Dispatch
import Glibc
import Kafka
import Synchronization
import Testing

/// What the embedded broker cannot do: transactions as readers see them, and topic settings. Against
/// the brokers that KAFKA_BOOTSTRAP names; topics of their own are made and deleted.
@Suite(.blocking, .enabled(if: getenv("KAFKA_BOOTSTRAP") != nil), .timeLimit(.minutes(5)))
final class RealClusterTests {
    let name = "uhan-test-\(UInt32.random(in: 0...UInt32.max))"
    let configuration: ClientConfiguration
    let admin: Admin
    let users: TopicPartition
    let producer: Producer

    init() throws {
        let bootstrap = getenv("KAFKA_BOOTSTRAP").map { String(cString: $0) } ?? ""
        configuration = ClientConfiguration(bootstrapServers: bootstrap)
        admin = try Admin(configuration: configuration)
        users = TopicPartition(topic: name, partition: 0)
        try admin.createTopics(
            [.init(name: name, partitions: 2, configuration: ["cleanup.policy": "compact"])],
            timeoutMilliseconds: patience)
        var properties = configuration
        properties.properties["transactional.id"] = name
        producer = try Producer(configuration: properties)
        try repeating { try producer.initTransactions(timeoutMilliseconds: patience) }
    }

    deinit { try? admin.deleteTopics([name], timeoutMilliseconds: patience) }

    func begin(_ range: Range<Int>) throws {
        try producer.begin()
        for number in range {
            try producer.produce(
                ProducerRecord(
                    topic: name, partition: 0, key: bytes("\(number)"), value: bytes("\(number)")))
        }
        try producer.flush(timeoutMilliseconds: patience)
    }

    func commit() throws { try repeating { try producer.commit(timeoutMilliseconds: patience) } }

    func abort() throws { try repeating { try producer.abort(timeoutMilliseconds: patience) } }

    func read(
        from start: Int64? = nil, stallTimeoutMilliseconds: Int = patience
    ) throws -> Reading {
        try Self.read(
            users, from: start, configuration, stallTimeoutMilliseconds: stallTimeoutMilliseconds)
    }

    static func read(
        _ users: TopicPartition, from start: Int64?, _ configuration: ClientConfiguration,
        stallTimeoutMilliseconds: Int, also: (LogReader.Event) throws -> Void = { _ in }
    ) throws -> Reading {
        var reading = Reading()
        reading.outcome = try LogReader(configuration: configuration).read(
            [users: start], stallTimeoutMilliseconds: stallTimeoutMilliseconds
        ) { event in
            reading.take(event)
            try also(event)
        }
        return reading
    }

    func records(_ reading: Reading) -> [String] { reading.values[users] ?? [] }

    /// Records 0 to 2, a marker, an open transaction with 4 and 5.
    func writeAndLeaveOpen() throws {
        try begin(0..<3)
        try commit()
        try begin(4..<6)
    }

    @Test func markersAtTheEndAreReadOver() throws {
        try begin(0..<3)
        try commit()
        #expect(producer.deliveries.lastOffsets == [users: 2])
        let reading = try read()
        #expect(records(reading) == ["0", "1", "2"])
        #expect(reading.outcome == .complete([users: 4]))
        // From behind the last record, and from behind its marker.
        for start in [3, 4] {
            #expect(try read(from: Int64(start)).outcome == .complete([users: 4]))
        }
        #expect(try read(from: 5).startedAnew == [users])
    }

    @Test func abortedRecordsAreReadOver() throws {
        for round in 0..<3 {
            try begin(round * 10..<round * 10 + 3)
            try abort()
            try begin(round * 10 + 3..<round * 10 + 5)
            if round < 2 { try commit() } else { try abort() }
        }
        let reading = try read()
        #expect(records(reading) == ["3", "4", "13", "14"])
        #expect(reading.outcome == .complete([users: 21]))
    }

    /// To stop at the last stable offset would be to miss what is committed next.
    @Test func anOpenTransactionIsWaitedFor() throws {
        try writeAndLeaveOpen()
        let waiting = Mutex(0)
        let done = DispatchSemaphore(value: 0)
        let result = Mutex<Result<Reading, any Error>?>(nil)
        // Another thread: the producer is this one's.
        DispatchQueue(label: "restore").async { [users, configuration] in
            let reading = Result {
                try Self.read(
                    users, from: nil, configuration, stallTimeoutMilliseconds: patience
                ) { event in
                    if case .progress = event { waiting.withLock { $0 += 1 } }
                }
            }
            result.withLock { $0 = reading }
            done.signal()
        }
        // Its progress is told while it waits.
        while waiting.withLock({ $0 }) < 2, result.withLock({ $0 }) == nil {
            sleep(milliseconds: 20)
        }
        try commit()
        done.wait()
        let reading = try #require(result.withLock { $0 }).get()
        #expect(records(reading) == ["0", "1", "2", "4", "5"])
        // The marker came after the end was asked for.
        #expect(reading.outcome == .complete([users: 6]))
        #expect(reading.progress.first?.done == 4)
    }

    @Test func aTransactionThatStaysOpenEndsTheReadingInTime() throws {
        try writeAndLeaveOpen()
        let error = try kafkaError { _ = try read(stallTimeoutMilliseconds: 1_000) }
        #expect(error.action == .retry)
        #expect(error.text.contains("\(users) stays at 4 of 6, held back by an open transaction"))
        try abort()
        let reading = try read(from: 4)
        #expect(records(reading) == [])
        #expect(reading.outcome == .complete([users: 7]))
    }

    /// The owner is dead; whoever takes over its transactional id ends what it has left open.
    @Test func theTransactionOfADeadOwnerIsEndedByItsSuccessor() throws {
        try writeAndLeaveOpen()
        var properties = configuration
        properties.properties["transactional.id"] = name
        let successor = try Producer(configuration: properties)
        try repeating { try successor.initTransactions(timeoutMilliseconds: patience) }
        let reading = try read()
        #expect(records(reading) == ["0", "1", "2"])
        #expect(reading.outcome == .complete([users: 7]))
    }

    @Test func settingsOfTopicsAreTold() throws {
        let other = name + "-other"
        try admin.createTopics([.init(name: other, partitions: 1)], timeoutMilliseconds: patience)
        defer { try? admin.deleteTopics([other], timeoutMilliseconds: patience) }
        let policies = try admin.topicSetting(
            "cleanup.policy", ofTopics: [name, other], timeoutMilliseconds: patience)
        #expect(policies == [name: "compact", other: "delete"])
    }
}

import Dispatch
import Kafka
import Synchronization
import Testing

/// What one `LogReader.read` told and answered.
struct Reading {
    var outcome = LogReader.Outcome.cancelled
    var startedAnew: [TopicPartition] = []
    /// Values by partition, in the order told, forgotten when the partition starts anew.
    var values: [TopicPartition: [String]] = [:]
    var progress: [(done: Int64, total: Int64)] = []

    mutating func take(_ event: LogReader.Event) {
        switch event {
        case .startedAnew(let partition):
            startedAnew.append(partition)
            values[partition] = nil
        case .record(let message):
            values[message.topicPartition, default: []].append(text(message.value) ?? "-")
        case .progress(let done, let total):
            progress.append((done, total))
        }
    }
}

extension Cluster {
    func logReader(_ properties: [String: String] = [:]) -> LogReader {
        LogReader(configuration: configuration(properties))
    }

    /// A reader that is never much further than what it has handed out: the embedded broker hands
    /// out a batch at a time, and these are of one record each.
    func shortSightedLogReader(records: Int) throws -> LogReader {
        for number in 0..<records {
            try write(numbered(number..<number + 1, topic: "users"))
        }
        return logReader(["queued.min.messages": "1"])
    }

    /// Reads to the end; `also` is called after each event.
    func restore(
        _ starts: [TopicPartition: Int64?], with reader: LogReader? = nil,
        stallTimeoutMilliseconds: Int = patience,
        also: (LogReader.Event) throws -> Void = { _ in }
    ) throws -> Reading {
        var reading = Reading()
        reading.outcome = try (reader ?? logReader()).read(
            starts, stallTimeoutMilliseconds: stallTimeoutMilliseconds
        ) { event in
            reading.take(event)
            try also(event)
        }
        return reading
    }
}

@Suite(.blocking, .timeLimit(.minutes(5))) struct LogReaderTests {
    let cluster: Cluster
    let zero = TopicPartition(topic: "users", partition: 0)
    let one = TopicPartition(topic: "users", partition: 1)

    init() throws {
        cluster = try Cluster()
        try cluster.broker.createTopic("users", partitions: 2)
    }

    // MARK: - To the end

    @Test func partitionsAreReadFromTheirOffsetsToTheirEnds() throws {
        try cluster.broker.createTopic("joins", partitions: 1)
        let joins = TopicPartition(topic: "joins", partition: 0)
        try cluster.write(
            numbered(0..<50, topic: "users") + numbered(50..<60, topic: "users", partition: 1)
                + numbered(60..<63, topic: "joins"))
        let reading = try cluster.restore([zero: nil, one: 7, joins: 0])
        #expect(reading.outcome == .complete([zero: 50, one: 10, joins: 3]))
        #expect(reading.values[zero] == (0..<50).map(String.init))
        #expect(reading.values[one] == ["57", "58", "59"])
        #expect(reading.values[joins] == ["60", "61", "62"])
        #expect(reading.startedAnew == [])
        #expect(reading.progress.last?.done == 56)
        #expect(reading.progress.last?.total == 56)
    }

    @Test func whereNothingIsLeftToReadNothingIsTold() throws {
        try cluster.write(numbered(0..<4, topic: "users"))
        let reading = try cluster.restore([zero: 4, one: nil])
        #expect(reading.outcome == .complete([zero: 4, one: 0]))
        #expect(reading.values == [:])
        #expect(reading.startedAnew == [])
        #expect(try cluster.restore([:]).outcome == .complete([:]))
    }

    /// Tombstones are what a restored state is corrected by.
    @Test func keysTombstonesAndHeadersArrive() throws {
        try cluster.write([
            ProducerRecord(
                topic: "users", partition: 0, key: bytes("a"), value: nil,
                headers: [("model", bytes("m"))])
        ])
        var messages: [ConsumedMessage] = []
        _ = try cluster.restore([zero: nil]) { event in
            if case .record(let message) = event { messages.append(message) }
        }
        #expect(messages.map(\.key) == [bytes("a")])
        #expect(messages.map(\.value) == [nil])
        #expect(messages.first?.headers.map(\.name) == ["model"])
    }

    /// The end is where it was at the beginning: a writer cannot keep a reader busy for ever.
    @Test func whatIsWrittenMeanwhileIsNotWaitedFor() throws {
        try cluster.write(numbered(0..<3, topic: "users"))
        let reading = try cluster.restore([zero: nil]) { event in
            if case .record = event { try cluster.write(numbered(3..<5, topic: "users")) }
        }
        #expect(reading.outcome == .complete([zero: 3]))
        #expect(reading.values[zero] == ["0", "1", "2"])
    }

    @Test func whatTheCallbackThrowsEndsTheReading() throws {
        struct Full: Error {}
        try cluster.write(numbered(0..<3, topic: "users"))
        var records = 0
        #expect(throws: Full.self) {
            try cluster.restore([zero: nil]) { event in
                guard case .record = event else { return }
                records += 1
                if records == 2 { throw Full() }
            }
        }
        #expect(records == 2)
    }

    // MARK: - Offsets that are not there

    @Test func anOffsetBeyondTheEndStartsAnew() throws {
        try cluster.write(numbered(0..<3, topic: "users"))
        let reading = try cluster.restore([zero: 4, one: 0])
        #expect(reading.startedAnew == [zero])
        #expect(reading.values[zero] == ["0", "1", "2"])
        #expect(reading.outcome == .complete([zero: 3, one: 0]))
    }

    @Test func anOffsetWhoseRecordsWereRemovedStartsAnew() throws {
        // The embedded broker keeps 5 MiB of a partition.
        let large = [UInt8](repeating: 120, count: 900_000)
        for _ in 0..<8 {
            try cluster.write([
                ProducerRecord(topic: "users", partition: 0, key: nil, value: large)
            ])
        }
        let reading = try cluster.restore([zero: 1])
        #expect(reading.startedAnew == [zero])
        let kept = try #require(reading.values[zero]).count
        #expect((1..<7).contains(kept))
        #expect(reading.outcome == .complete([zero: 8]))
        // From the beginning, whatever that is, nothing is missing.
        #expect(try cluster.restore([zero: nil]).startedAnew == [])
    }

    /// What was told of the partition before is told again.
    @Test func recordsThatAreRemovedWhileTheyAreReadStartAnew() throws {
        try cluster.write(numbered(0..<3, topic: "users"))
        cluster.broker.pushErrors(.fetch, [.offsetOutOfRange])
        let reading = try cluster.restore([zero: 1])
        #expect(reading.startedAnew == [zero])
        #expect(reading.values[zero] == ["0", "1", "2"])
        #expect(reading.outcome == .complete([zero: 3]))
        #expect(reading.progress.last?.done == 3)
        #expect(reading.progress.last?.total == 3)
    }

    // MARK: - Trouble

    @Test func aBrokerThatGoesAwayIsWaitedFor() throws {
        let reader = try cluster.shortSightedLogReader(records: 5)
        var wasAway = false
        let broker = cluster.broker
        let reading = try cluster.restore([zero: nil], with: reader) { event in
            guard case .record = event, !wasAway else { return }
            wasAway = true
            try broker.setDown()
            DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(300)) {
                try? broker.setUp()
            }
        }
        #expect(wasAway)
        #expect(reading.values[zero] == (0..<5).map(String.init))
    }

    /// Before anything is known, and in the midst of the records.
    @Test(arguments: [true, false])
    func aBrokerThatIsSilentCostsTheGivenTimeOnly(fromTheBeginning: Bool) throws {
        let reader = try cluster.shortSightedLogReader(records: 10)
        if fromTheBeginning { try cluster.broker.setRoundTrip(milliseconds: 600_000) }
        let error = try kafkaError {
            _ = try cluster.restore(
                [zero: nil], with: reader, stallTimeoutMilliseconds: 1_000
            ) { event in
                guard case .record(let message) = event, message.offset == 0 else { return }
                try cluster.broker.setRoundTrip(milliseconds: 600_000)
            }
        }
        #expect(error.action == .retry, "\(error)")
        #expect(error.text.contains("users[0]"))
    }

    @Test func aPartitionThatDoesNotExistIsAnError() throws {
        let error = try kafkaError {
            _ = try cluster.restore(
                [TopicPartition(topic: "users", partition: 7): nil],
                stallTimeoutMilliseconds: 1_000)
        }
        #expect(error.action == .fatal, "\(error)")
    }

    @Test func aTopicThatMayNotBeReadIsAnError() throws {
        try cluster.write(numbered(0..<3, topic: "users"))
        cluster.broker.pushErrors(.fetch, [.topicAuthorizationFailed])
        let error = try kafkaError { _ = try cluster.restore([zero: nil]) }
        #expect(error.action == .fatal, "\(error)")
        #expect(error.name == "TOPIC_AUTHORIZATION_FAILED")
    }

    // MARK: - Cancelling

    @Test func aReaderCancelledBeforehandReadsNothing() throws {
        try cluster.write(numbered(0..<3, topic: "users"))
        let reader = cluster.logReader()
        reader.cancel()
        let reading = try cluster.restore([zero: nil], with: reader)
        #expect(reading.outcome == .cancelled)
        #expect(reading.values == [:])
    }

    @Test func aReaderIsCancelledBetweenTwoRecords() throws {
        try cluster.write(numbered(0..<10, topic: "users"))
        let reader = cluster.logReader()
        let reading = try cluster.restore([zero: nil], with: reader) { event in
            if case .record(let message) = event, message.offset == 4 { reader.cancel() }
        }
        #expect(reading.outcome == .cancelled)
        #expect(reading.values[zero] == ["0", "1", "2", "3", "4"])
    }

    /// While it waits for brokers that do not answer: when it asks for the ends, or for records.
    @Test(arguments: [true, false])
    func aWaitingReaderIsCancelledFromAnotherThread(fromTheBeginning: Bool) throws {
        let reader = try cluster.shortSightedLogReader(records: 10)
        func silence() throws {
            try cluster.broker.setRoundTrip(milliseconds: 600_000)
            DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(300)) {
                reader.cancel()
            }
        }
        if fromTheBeginning { try silence() }
        let reading = try cluster.restore([zero: nil], with: reader) { event in
            if case .record(let message) = event, message.offset == 0 { try silence() }
        }
        #expect(reading.outcome == .cancelled)
    }
}

import CRdkafka
import Dispatch
import Synchronization

/// Reads partitions from given offsets to their end, once and as no group's member: for restoring
/// what a changelog holds after its partition has been assigned.
///
/// Only committed records are read, and all that were committed when `read` began. The end is
/// therefore the high watermark, not the last stable offset, which an open transaction holds back:
/// such a transaction (of an owner that died, or whose end is not written everywhere yet) is waited
/// for. Ask for the group's committed offsets first and call `read` after their answer: what was
/// committed together with those offsets is then below the end.
package final class LogReader: Sendable {
    package enum Event: Sendable {
        /// The given offset is not there: its records were removed, or the topic was made anew.
        /// Forget all that is known of the partition; what follows is read from its beginning.
        case startedAnew(TopicPartition)
        /// In the order of offsets in each partition.
        case record(ConsumedMessage)
        /// Offsets passed, and offsets between start and end, over all partitions. Many an offset
        /// has no record. About once a second, and once at the end.
        case progress(done: Int64, total: Int64)
    }

    package enum Outcome: Equatable, Sendable {
        /// The next offset to read of each partition.
        case complete([TopicPartition: Int64])
        case cancelled
    }

    private let configuration: ClientConfiguration
    private let isCancelled = Atomic(false)

    /// - Parameter configuration: as for a `Consumer`; what makes it a group's member is left out.
    package init(configuration: ClientConfiguration) { self.configuration = configuration }

    /// Ends a `read` within 100 ms, from any thread, as soon as its callback returns. A `read` that
    /// has not begun yet ends at once.
    package func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// Blocks until every partition is read to its end, or the reader is cancelled.
    ///
    /// Memory is bounded by `queued.max.messages.kbytes` (64 MiB) and one fetch a broker, however
    /// slow `onEvent` is. Broker failures are waited for.
    ///
    /// - Parameters:
    ///   - starts: the first offset to read of each partition; nil is its beginning.
    ///   - stallTimeoutMilliseconds: how long nothing may be gained. More than the writers'
    ///     `transaction.timeout.ms`, after which brokers abort what a dead owner has left open,
    ///     and the 10 s that pass before they look for such.
    ///   - onEvent: called on this thread. What it throws ends the read.
    /// - Throws: `KafkaError`: `.retry` where nothing was gained for so long (read again, from
    ///   where the records that were handed out end), `.fatal` where waiting will not help.
    package func read(
        _ starts: [TopicPartition: Int64?], stallTimeoutMilliseconds: Int,
        onEvent: (Event) throws -> Void
    ) throws -> Outcome {
        let reading = try Reading(configuration, stallTimeoutMilliseconds) {
            self.isCancelled.load(ordering: .relaxed)
        }
        return try reading.run(starts, onEvent)
    }
}

extension ClientConfiguration {
    /// For reading without a group: ours, then the caller's, then what makes a `LogReader`.
    fileprivate func logReaderProperties() -> [String: String] {
        var merged = Self.consumerDefaults
        // A partition's end is told by the fetch after its last record, which waits so long.
        merged["fetch.wait.max.ms"] = "50"
        // 2.0.2 fetches nothing for up to a second after either bound was reached: they must hold
        // what is taken in within that time. (Bytes are of keys and values; a queued record costs
        // half a kilobyte on top.)
        merged["queued.min.messages"] = "50000"
        merged["queued.max.messages.kbytes"] = "65536"
        merged.merge(properties) { _, theirs in theirs }
        for name in [
            "group.id", "group.instance.id", "partition.assignment.strategy",
            // Followers know of the high watermark, and so of the last commits, later.
            "client.rack",
        ] {
            merged[name] = nil
        }
        merged["isolation.level"] = "read_committed"
        merged["enable.partition.eof"] = "true"
        // An offset that is not there must be told.
        merged["auto.offset.reset"] = "error"
        merged["statistics.interval.ms"] = "0"
        return merged
    }

    /// For asking where partitions end, transactions or not.
    fileprivate func watermarkProperties() -> [String: String] {
        logReaderProperties().merging(["isolation.level": "read_uncommitted"]) { $1 }
    }
}

/// One `LogReader.read`.
private final class Reading {
    /// The longest wait between two looks at `isCancelled`.
    private static let pollMilliseconds = 50
    private static let progressInterval = Duration.seconds(1)

    private struct Place {
        var start: Int64
        var position: Int64
        var end: Int64
        /// All that may be read has been, as of the last answer.
        var isAtStableEnd = false

        var isComplete: Bool { position >= end }
    }

    private let client: ClientHandle
    private let queue: EventQueue
    private var topics: [String: OpaquePointer] = [:]
    private let watermarks: Watermarks
    private let stallTimeoutMilliseconds: Int
    private let isCancelled: @Sendable () -> Bool

    private var places: [TopicPartition: Place] = [:]
    private var incomplete: Set<TopicPartition> = []
    private var stall: Deadline
    private var lastProgress = ContinuousClock.now

    init(
        _ configuration: ClientConfiguration, _ stallTimeoutMilliseconds: Int,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws(KafkaError) {
        client = try ClientHandle(
            RD_KAFKA_CONSUMER, properties: configuration.logReaderProperties(),
            log: configuration.log)
        queue = EventQueue(owning: rd_kafka_queue_new(client.pointer), of: client)
        watermarks = Watermarks(
            client: try ClientHandle(
                RD_KAFKA_CONSUMER, properties: configuration.watermarkProperties(),
                log: configuration.log))
        self.stallTimeoutMilliseconds = stallTimeoutMilliseconds
        self.isCancelled = isCancelled
        stall = Deadline(milliseconds: stallTimeoutMilliseconds)
    }

    deinit {
        for topic in topics.values { rd_kafka_topic_destroy(topic) }
    }

    func run(
        _ starts: [TopicPartition: Int64?], _ onEvent: (LogReader.Event) throws -> Void
    ) throws -> LogReader.Outcome {
        guard let ends = try ask(Array(starts.keys)) else { return .cancelled }
        for (partition, (first, end)) in ends {
            let wanted = starts[partition] ?? nil
            let isThere = wanted.map { $0 >= first && $0 <= end } ?? true
            if !isThere { try onEvent(.startedAnew(partition)) }
            try begin(partition, at: isThere ? wanted ?? first : first, end: end)
        }
        restartStall()
        while !incomplete.isEmpty {
            if isCancelled() { return .cancelled }
            if let event = queue.poll(timeoutMilliseconds: Int32(Self.pollMilliseconds)) {
                guard try take(event, onEvent) else { return .cancelled }
            }
            if ContinuousClock.now - lastProgress >= Self.progressInterval {
                try report(onEvent)
            }
            if stall.hasPassed { throw stalled }
        }
        try report(onEvent)
        return .complete(places.mapValues(\.position))
    }

    /// - Returns: false if the reader was cancelled.
    private func take(
        _ event: EventQueue.Event, _ onEvent: (LogReader.Event) throws -> Void
    ) throws -> Bool {
        switch event.type {
        case RD_KAFKA_EVENT_FETCH:
            guard let pointer = rd_kafka_event_message_next(event.pointer) else { return true }
            let message = ConsumedMessage(copying: pointer)
            // What is written while others are still being read is nobody's concern here.
            guard incomplete.contains(message.topicPartition) else { return true }
            try onEvent(.record(message))
            advance(message.topicPartition, to: message.offset + 1)
        case RD_KAFKA_EVENT_ERROR:
            return try takeError(event, onEvent)
        default:
            break
        }
        return true
    }

    private func takeError(
        _ event: EventQueue.Event, _ onEvent: (LogReader.Event) throws -> Void
    ) throws -> Bool {
        let code = rd_kafka_event_error(event.pointer)
        guard let (partition, offset) = place(of: event), incomplete.contains(partition) else {
            return true
        }
        switch code {
        case RD_KAFKA_RESP_ERR__PARTITION_EOF:
            // The offset lies behind transaction markers, aborted records and what compaction has
            // removed; none of them are told otherwise.
            advance(partition, to: offset)
            places[partition]?.isAtStableEnd = true
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
            // It was there when asked for, and has been removed since.
            guard let ends = try ask([partition]) else { return false }
            guard let (first, end) = ends[partition] else { break }
            try onEvent(.startedAnew(partition))
            try begin(partition, at: first, end: end)
        default:
            let error = KafkaError(code, doing: "read \(partition)")
            guard error.action == .retry else { throw error }
            client.context.log(
                LogLine(
                    level: .warning, facility: "LOGREADER", text: error.text,
                    errorName: error.name))
        }
        return true
    }

    // MARK: - Places

    private func begin(
        _ partition: TopicPartition, at start: Int64, end: Int64
    ) throws(KafkaError) {
        let place = Place(start: start, position: start, end: end)
        places[partition] = place
        if place.isComplete {
            incomplete.remove(partition)
            return
        }
        incomplete.insert(partition)
        let doing = "read \(partition)"
        let topic =
            topics[partition.topic] ?? rd_kafka_topic_new(client.pointer, partition.topic, nil)
        guard let topic else { throw KafkaError(rd_kafka_last_error(), doing: doing) }
        topics[partition.topic] = topic
        let result = rd_kafka_consume_start_queue(
            topic, partition.partition, start, queue.pointer)
        if result != 0 { throw KafkaError(rd_kafka_last_error(), doing: doing) }
    }

    private func advance(_ partition: TopicPartition, to position: Int64) {
        guard var place = places[partition], position > place.position else { return }
        place.position = position
        place.isAtStableEnd = false
        places[partition] = place
        if place.isComplete { incomplete.remove(partition) }
        restartStall()
    }

    private func place(of event: EventQueue.Event) -> (TopicPartition, offset: Int64)? {
        guard let place = rd_kafka_event_topic_partition(event.pointer) else { return nil }
        defer { rd_kafka_topic_partition_destroy(place) }
        let partition = TopicPartition(
            topic: String(cString: place.pointee.topic), partition: place.pointee.partition)
        return (partition, place.pointee.offset)
    }

    // MARK: - Time

    private func restartStall() { stall = Deadline(milliseconds: stallTimeoutMilliseconds) }

    private func report(_ onEvent: (LogReader.Event) throws -> Void) throws {
        lastProgress = .now
        var done: Int64 = 0
        var total: Int64 = 0
        for place in places.values {
            done += min(place.position, place.end) - place.start
            total += place.end - place.start
        }
        try onEvent(.progress(done: done, total: total))
    }

    private var stalled: KafkaError {
        let waiting = incomplete.sorted { ($0.topic, $0.partition) < ($1.topic, $1.partition) }
        let text = waiting.prefix(3).compactMap { partition in
            places[partition].map { place in
                """
                \(partition) stays at \(place.position) of \(place.end)\
                \(place.isAtStableEnd ? ", held back by an open transaction" : "")
                """
            }
        }
        return KafkaError(
            code: RD_KAFKA_RESP_ERR__TIMED_OUT.rawValue,
            text: """
                read \(waiting.count) partitions to their end: nothing gained in \
                \(stallTimeoutMilliseconds) ms: \(text.joined(separator: "; "))
                """,
            action: .retry)
    }

    /// Nil if the reader was cancelled.
    private func ask(_ partitions: [TopicPartition]) throws(KafkaError) -> Watermarks.Answer? {
        guard !partitions.isEmpty else { return isCancelled() ? nil : [:] }
        let deadline = Deadline(milliseconds: stallTimeoutMilliseconds)
        watermarks.ask(for: partitions, by: deadline, isCancelled)
        while !isCancelled() {
            if let answer = try watermarks.wait(timeoutMilliseconds: Self.pollMilliseconds) {
                return answer
            }
        }
        return nil
    }
}

/// Asks for the first offsets and high watermarks of partitions, on a thread that can be left
/// behind: librdkafka's call cannot be interrupted.
private final class Watermarks: @unchecked Sendable {
    typealias Answer = [TopicPartition: (first: Int64, end: Int64)]

    // Unchecked: the client is used by one `ask` at a time, and not destroyed before that ends.
    private let client: ClientHandle
    private let answer = Mutex<Result<Answer, KafkaError>?>(nil)
    private let done = DispatchSemaphore(value: 0)

    init(client: ClientHandle) { self.client = client }

    func ask(
        for partitions: [TopicPartition], by deadline: Deadline,
        _ isCancelled: @escaping @Sendable () -> Bool
    ) {
        DispatchQueue(label: "kafka.watermarks").async { [self] in
            let result = Result { () throws(KafkaError) in
                try repeatedly(partitions, by: deadline, isCancelled)
            }
            answer.withLock { $0 = result }
            done.signal()
        }
    }

    /// Nil if there is no answer within this time.
    func wait(timeoutMilliseconds: Int) throws(KafkaError) -> Answer? {
        guard done.wait(timeout: .now() + .milliseconds(timeoutMilliseconds)) == .success else {
            return nil
        }
        return try answer.withLock { $0.take() }?.get()
    }

    private func repeatedly(
        _ partitions: [TopicPartition], by deadline: Deadline, _ isCancelled: () -> Bool
    ) throws(KafkaError) -> Answer {
        while true {
            do throws(KafkaError) {
                let first = try offsets(RD_KAFKA_OFFSET_BEGINNING, of: partitions, by: deadline)
                let end = try offsets(RD_KAFKA_OFFSET_END, of: partitions, by: deadline)
                var answer: Answer = [:]
                for partition in partitions {
                    let end = end[partition] ?? 0
                    answer[partition] = (min(first[partition] ?? 0, end), end)
                }
                return answer
            } catch {
                guard error.action == .retry, !deadline.hasPassed, !isCancelled() else {
                    throw error
                }
                // A partition without a leader is refused at once.
                _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(50))
            }
        }
    }

    /// Also answers where a broker is silent, which rd_kafka_query_watermark_offsets does not.
    private func offsets(
        _ which: Int32, of partitions: [TopicPartition], by deadline: Deadline
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let list = TopicPartitionList(
            [TopicPartition: Int64](uniqueKeysWithValues: partitions.map { ($0, Int64(which)) }))
        let named = partitions.prefix(3).map(\.description).joined(separator: ", ")
        let doing = "ask for the ends of \(partitions.count) partitions (\(named))"
        try client.check(
            rd_kafka_offsets_for_times(
                client.pointer, list.pointer, deadline.remainingMilliseconds),
            doing: doing)
        return try list.offsets(doing: doing)
    }
}

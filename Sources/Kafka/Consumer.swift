import CRdkafka
import Dispatch

/// What the group does with partitions, told while it happens.
package enum Rebalance: Sendable, Equatable {
    /// These partitions are about to be read. Offsets returned for them are where reading starts;
    /// without one it is the committed offset, or what `auto.offset.reset` says.
    case assigned([TopicPartition])
    /// These partitions are about to be given up, but are still ours until the handler returns:
    /// finish the open transaction, or abort it.
    case revoked([TopicPartition])
    /// These partitions are another member's already (we were away too long): abort.
    case lost([TopicPartition])
}

/// A member of a consumer group.
///
/// Without a `close` at the end, the group learns of it by `session.timeout.ms` only.
///
/// Not Sendable: it belongs to one thread, which polls it. The member stays in its group as long
/// as `poll` is called at least every `max.poll.interval.ms`, also while nothing can be taken in:
/// pause the partitions then and keep polling.
///
/// What heals by itself is not thrown but logged and waited for: brokers away, a topic that does
/// not exist yet, missing rights. What is thrown ends the consumer.
package final class Consumer {
    /// Called inside `poll` or `close`, on their thread, before the change takes effect. The
    /// returned offsets matter for `.assigned` only. If it throws, the partitions are given up or
    /// not taken, and `poll` throws that error.
    package typealias RebalanceHandler = (Consumer, Rebalance) throws -> [TopicPartition: Int64]

    private let handle: ClientHandle
    /// Messages, rebalances, errors, statistics: everything arrives on this one queue.
    private let queue: EventQueue
    private let onRebalance: RebalanceHandler

    /// The partitions being read.
    package private(set) var assignment: Set<TopicPartition> = []
    /// Per partition, the offset of the next record to hand out, once it is known.
    private var positions: [TopicPartition: Int64] = [:]
    private var paused: Set<TopicPartition> = []
    /// Partitions that the handler is just being told of, and those of them that it has paused.
    private var arriving: Set<TopicPartition> = []
    private var pausedOnArrival: Set<TopicPartition> = []
    private var lastStableOffsets: [TopicPartition: Int64] = [:]
    private var isClosed = false

    /// Connects in the background; nothing is read before `subscribe`.
    ///
    /// Needs `group.id`. With `group.instance.id` the membership is static: see `close`.
    package init(
        configuration: ClientConfiguration, rebalance: @escaping RebalanceHandler
    ) throws(KafkaError) {
        handle = try ClientHandle(
            RD_KAFKA_CONSUMER, properties: configuration.consumerProperties(),
            log: configuration.log
        ) { conf in
            rd_kafka_conf_set_events(
                conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS)
        }
        onRebalance = rebalance
        handle.isGroupMember = true
        rd_kafka_poll_set_consumer(handle.pointer)
        queue = EventQueue(owning: rd_kafka_queue_get_consumer(handle.pointer), of: handle)
    }

    // MARK: - Group

    /// Joins the group for these topics; the assignment arrives in a later `poll`.
    package func subscribe(topics: [String]) throws(KafkaError) {
        let list = TopicPartitionList(topics: topics)
        try handle.check(
            rd_kafka_subscribe(handle.pointer, list.pointer),
            doing: "subscribe to \(topics.joined(separator: ", "))")
    }

    /// Who this consumer is in its group now, for `Producer.sendOffsets`.
    package func groupMetadata() throws(KafkaError) -> GroupMetadata {
        guard let metadata = rd_kafka_consumer_group_metadata(handle.pointer) else {
            throw KafkaError(
                code: RD_KAFKA_RESP_ERR__UNKNOWN_GROUP.rawValue,
                text: "the consumer has no group metadata: it has been closed", action: .fatal)
        }
        return GroupMetadata(owning: metadata)
    }

    /// Gives up the partitions (the handler is called), leaves the group, and waits for both.
    ///
    /// A static member (`group.instance.id`) does not leave: its partitions wait for it for
    /// `session.timeout.ms`, so that a restart within that time moves nothing. Returns false if
    /// the time was up first; the client is then destroyed without waiting for the group.
    @discardableResult
    package func close(timeoutMilliseconds: Int) throws -> Bool {
        guard !isClosed else { return true }
        isClosed = true
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        var handlerError: (any Error)?
        func answer(_ event: EventQueue.Event, with body: (EventQueue.Event) throws -> Void) {
            // An assignment that is given up at once needs no answer: nobody is told of it.
            guard event.type == RD_KAFKA_EVENT_REBALANCE,
                rd_kafka_event_error(event.pointer) != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
            else { return }
            // The group must still be left.
            do { try body(event) } catch { handlerError = handlerError ?? error }
        }
        // What came before is answered while the group is sure to listen; records are dropped.
        while !deadline.hasPassed, let event = queue.poll(timeoutMilliseconds: 0) {
            answer(event, with: rebalance)
        }
        // The C call that blocks, rd_kafka_consumer_close, has no timeout.
        let closing = EventQueue(owning: rd_kafka_queue_new(handle.pointer), of: handle)
        if let error = rd_kafka_consumer_close_queue(handle.pointer, closing.pointer) {
            throw handle.error(consuming: error, doing: "close the consumer")
        }
        while rd_kafka_consumer_closed(handle.pointer) == 0 {
            // Closing may be noticed without an event: look now and then.
            guard
                let event = closing.poll(
                    timeoutMilliseconds: min(50, deadline.remainingMilliseconds))
            else {
                if deadline.hasPassed { break }
                continue
            }
            answer(event) { try revokeWhileClosing($0, until: deadline) }
        }
        if let handlerError { throw handlerError }
        return rd_kafka_consumer_closed(handle.pointer) != 0
    }

    // MARK: - Reading

    /// The next record, or nil when the time is up or partitions have been assigned or taken away.
    package func poll(timeoutMilliseconds: Int) throws -> ConsumedMessage? {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        repeat {
            guard let event = queue.poll(timeoutMilliseconds: deadline.remainingMilliseconds) else {
                return nil
            }
            switch event.type {
            case RD_KAFKA_EVENT_FETCH:
                if let message = try message(event) { return message }
            case RD_KAFKA_EVENT_REBALANCE:
                try rebalance(event)
                return nil
            case RD_KAFKA_EVENT_ERROR:
                if rd_kafka_event_error(event.pointer) == RD_KAFKA_RESP_ERR__PARTITION_EOF {
                    endOfPartition(event)
                } else {
                    try report(
                        rd_kafka_event_error(event.pointer),
                        text: rd_kafka_event_error_string(event.pointer).map {
                            String(cString: $0)
                        },
                        isFatal: rd_kafka_event_error_is_fatal(event.pointer) != 0)
                }
            case RD_KAFKA_EVENT_STATS:
                if let json = rd_kafka_event_stats(event.pointer) {
                    lastStableOffsets = Statistics.lastStableOffsets(json: json)
                }
            default:
                break
            }
        } while !deadline.hasPassed
        return nil
    }

    /// A call that ends a `poll` under way, from any thread: for answers of other threads that the
    /// polling one should look at. A `poll` that has not begun yet ends at once. It does not keep
    /// the consumer alive.
    package func makeWaker() -> @Sendable () -> Void {
        // Unsafe is safe here: librdkafka's queues may be yielded to from any thread.
        nonisolated(unsafe) weak let queue = queue
        return { if let queue { rd_kafka_queue_yield(queue.pointer) } }
    }

    /// Stops handing out records of these partitions. librdkafka throws away what it has fetched
    /// of them, so pause at a high-water mark and resume at one that is well below. Inside the
    /// rebalance handler this also holds for partitions that are being assigned.
    package func pause(_ partitions: [TopicPartition]) throws(KafkaError) {
        pausedOnArrival.formUnion(arriving.intersection(partitions))
        let wanted = partitions.filter { assignment.contains($0) && !paused.contains($0) }
        guard !wanted.isEmpty else { return }
        let list = TopicPartitionList(wanted)
        try handle.check(
            rd_kafka_pause_partitions(handle.pointer, list.pointer), doing: "pause partitions")
        paused.formUnion(wanted)
    }

    /// Hands out records of these partitions again, from where they were paused.
    ///
    /// The first ones take up to a second: in 2.0.2 nothing wakes the thread of a broker that has
    /// nothing to fetch, and no property changes that. Resume while there is still work for
    /// longer.
    package func resume(_ partitions: [TopicPartition]) throws(KafkaError) {
        pausedOnArrival.subtract(partitions)
        // 2.0.2 may rewind a partition that is resumed without having been paused.
        let wanted = partitions.filter { paused.contains($0) }
        guard !wanted.isEmpty else { return }
        let list = TopicPartitionList(wanted)
        try handle.check(
            rd_kafka_resume_partitions(handle.pointer, list.pointer), doing: "resume partitions")
        paused.subtract(wanted)
    }

    // MARK: - Offsets

    /// The group's committed offsets; partitions without one are missing.
    package func committed(
        _ partitions: [TopicPartition], timeoutMilliseconds: Int
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let list = TopicPartitionList(partitions)
        try handle.check(
            rd_kafka_committed(
                handle.pointer, list.pointer, Int32(clamping: timeoutMilliseconds)),
            doing: "ask for committed offsets")
        return try list.offsets(doing: "ask for the committed offset")
    }

    /// Commits offsets (the next record to read, not the last one done) for the group, outside
    /// any transaction: for at-least-once.
    ///
    /// `.retry` may have been committed or not; `.abort` means that the group has moved on.
    package func commit(
        _ offsets: [TopicPartition: Int64], timeoutMilliseconds: Int
    ) throws(KafkaError) {
        guard !offsets.isEmpty else { return }
        let list = TopicPartitionList(offsets)
        // The blocking rd_kafka_commit has no timeout; a queue of our own for the answer has.
        let answers = EventQueue(owning: rd_kafka_queue_new(handle.pointer), of: handle)
        try handle.check(
            rd_kafka_commit_queue(handle.pointer, list.pointer, answers.pointer, nil, nil),
            doing: "commit offsets")
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        repeat {
            guard let event = answers.poll(timeoutMilliseconds: deadline.remainingMilliseconds)
            else { continue }
            guard event.type == RD_KAFKA_EVENT_OFFSET_COMMIT else { continue }
            try handle.check(rd_kafka_event_error(event.pointer), doing: "commit offsets")
            if let answered = rd_kafka_event_topic_partition_list(event.pointer) {
                for element in TopicPartitionList.elements(of: answered)
                where element.error != RD_KAFKA_RESP_ERR_NO_ERROR {
                    throw KafkaError(element.error, doing: "commit \(element.topicPartition)")
                }
            }
            return
        } while !deadline.hasPassed
        throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, doing: "commit offsets")
    }

    /// Asks the leader for the first offset and the last stable offset (with `read_committed`; else
    /// the end) of a partition. Blocks: for frequent use see `lag`.
    package func queryOffsets(
        _ partition: TopicPartition, timeoutMilliseconds: Int
    ) throws(KafkaError) -> (first: Int64, lastStable: Int64) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        // rd_kafka_query_watermark_offsets waits for a silent broker beyond its timeout. This asks
        // the same: the ends count as timestamps, and the request carries our isolation level.
        func ask(_ end: Int32) throws(KafkaError) -> Int64 {
            let list = TopicPartitionList([partition: Int64(end)])
            let doing = "ask for the offsets of \(partition)"
            try handle.check(
                rd_kafka_offsets_for_times(
                    handle.pointer, list.pointer, deadline.remainingMilliseconds),
                doing: doing)
            let answer = list.pointer.pointee.elems[0]
            try handle.check(answer.err, doing: doing)
            return answer.offset
        }
        return (try ask(RD_KAFKA_OFFSET_BEGINNING), try ask(RD_KAFKA_OFFSET_END))
    }

    /// Records waiting behind our position, per partition, as far as both ends are known: last
    /// stable offset less position, transaction markers included. Does not block: the last stable
    /// offset is as old as `statistics.interval.ms`. (librdkafka's own consumer_lag is -1 when
    /// offsets are committed in transactions.)
    package func lag() -> [TopicPartition: Int64] {
        var lag: [TopicPartition: Int64] = [:]
        for partition in assignment {
            guard let position = positions[partition], let end = lastStableOffsets[partition]
            else { continue }
            lag[partition] = max(0, end - position)
        }
        return lag
    }

    // MARK: - Events

    private func message(_ event: EventQueue.Event) throws(KafkaError) -> ConsumedMessage? {
        guard let pointer = rd_kafka_event_message_next(event.pointer) else { return nil }
        guard pointer.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
            // The value is then an error text, not a record's.
            try report(pointer.pointee.err, text: nil, isFatal: false)
            return nil
        }
        let consumed = ConsumedMessage(copying: pointer)
        positions[consumed.topicPartition] = consumed.offset + 1
        return consumed
    }

    /// The end lies behind any transaction markers, which take offsets but are never handed out.
    private func endOfPartition(_ event: EventQueue.Event) {
        guard let place = rd_kafka_event_topic_partition(event.pointer) else { return }
        defer { rd_kafka_topic_partition_destroy(place) }
        let partition = TopicPartition(
            topic: String(cString: place.pointee.topic), partition: place.pointee.partition)
        guard assignment.contains(partition) else { return }
        positions[partition] = max(positions[partition] ?? 0, place.pointee.offset)
    }

    private func report(
        _ code: rd_kafka_resp_err_t, text: String?, isFatal: Bool
    ) throws(KafkaError) {
        let said = handle.secrets.removed(
            from: text ?? String(cString: rd_kafka_err2str(code)))
        // With auto.offset.reset=error there is no position to go on from.
        if isFatal || code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            || code == RD_KAFKA_RESP_ERR__FATAL
        {
            throw handle.fatalError
                ?? KafkaError(code: code.rawValue, text: said, action: .fatal)
        }
        handle.context.log(
            LogLine(
                level: .warning, facility: "CONSUMER", text: said,
                errorName: String(cString: rd_kafka_err2name(code))))
    }

    /// Tells the handler, then changes the assignment. The order is the point: until the change
    /// is made librdkafka holds the group's rebalance open for us.
    private func rebalance(_ event: EventQueue.Event) throws {
        let code = rd_kafka_event_error(event.pointer)
        guard let list = rd_kafka_event_topic_partition_list(event.pointer),
            code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
                || code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS
        else {
            // A failed rebalance; librdkafka wants its state cleared and then joins again.
            forget(Array(assignment))
            rd_kafka_assign(handle.pointer, nil)
            try report(code, text: nil, isFatal: false)
            return
        }
        let partitions = TopicPartitionList.elements(of: list).map(\.topicPartition)
        let isCooperative =
            rd_kafka_rebalance_protocol(handle.pointer).map { String(cString: $0) } == "COOPERATIVE"

        if code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let starts: [TopicPartition: Int64]
            arriving = Set(partitions)
            pausedOnArrival = []
            do {
                defer { arriving = [] }
                starts = try onRebalance(self, .assigned(partitions))
            } catch {
                rd_kafka_assign(handle.pointer, nil)
                throw error
            }
            for index in 0..<Int(list.pointee.cnt) {
                if let start = starts[partitions[index]] {
                    list.pointee.elems[index].offset = start
                }
            }
            try assign(list, isCooperative: isCooperative)
            assignment.formUnion(partitions)
            // Before the next poll: nothing of them has been handed out yet.
            try pause(Array(pausedOnArrival))
            for partition in partitions { positions[partition] = starts[partition] }
        } else {
            let isLost = rd_kafka_assignment_lost(handle.pointer) != 0
            let outcome = Result {
                try onRebalance(self, isLost ? .lost(partitions) : .revoked(partitions))
            }
            // librdkafka keeps a pause beyond the assignment: should the partition come back, it
            // would stay silent.
            try resume(partitions)
            try unassign(list, isCooperative: isCooperative)
            forget(partitions)
            _ = try outcome.get()
        }
    }

    /// Once closing has begun, librdkafka takes every answer for giving up, and waits only for the
    /// one to the revocation that closing itself leads to. One that was on its way then needs no
    /// answer, and may get no reply: 2.0.2 throws away what it is asked when the group ends.
    private func revokeWhileClosing(_ event: EventQueue.Event, until deadline: Deadline) throws {
        let partitions =
            rd_kafka_event_topic_partition_list(event.pointer)
            .map { TopicPartitionList.elements(of: $0).map(\.topicPartition) } ?? []
        let taken = partitions.filter(assignment.contains)
        let isLost =
            rd_kafka_assignment_lost(handle.pointer) != 0
            || rd_kafka_consumer_closed(handle.pointer) != 0
        let outcome = Result {
            if !taken.isEmpty { _ = try onRebalance(self, isLost ? .lost(taken) : .revoked(taken)) }
        }
        forget(taken)
        GivingUp.run(handle, until: deadline)
        try outcome.get()
    }

    private func assign(
        _ list: TopicPartitionList.Pointer, isCooperative: Bool
    ) throws(KafkaError) {
        let doing = "take over the assigned partitions"
        guard isCooperative else {
            return try handle.check(rd_kafka_assign(handle.pointer, list), doing: doing)
        }
        if let error = rd_kafka_incremental_assign(handle.pointer, list) {
            throw handle.error(consuming: error, doing: doing)
        }
    }

    private func unassign(
        _ list: TopicPartitionList.Pointer, isCooperative: Bool
    ) throws(KafkaError) {
        let doing = "give up the revoked partitions"
        guard isCooperative else {
            return try handle.check(rd_kafka_assign(handle.pointer, nil), doing: doing)
        }
        if let error = rd_kafka_incremental_unassign(handle.pointer, list) {
            throw handle.error(consuming: error, doing: doing)
        }
    }

    private func forget(_ partitions: [TopicPartition]) {
        for partition in partitions {
            assignment.remove(partition)
            paused.remove(partition)
            positions[partition] = nil
            lastStableOffsets[partition] = nil
        }
    }
}

/// The answer that gives up all partitions, on a thread that can be left behind: should the group
/// end at that very moment, there is no reply, and the C call has no timeout.
private struct GivingUp: @unchecked Sendable {
    // Unchecked: librdkafka's calls may be made from any thread.
    private let handle: ClientHandle
    private let done = DispatchSemaphore(value: 0)

    static func run(_ handle: ClientHandle, until deadline: Deadline) {
        let answer = GivingUp(handle: handle)
        DispatchQueue(label: "kafka.giving-up").async {
            rd_kafka_assign(answer.handle.pointer, nil)
            answer.done.signal()
        }
        while answer.done.wait(timeout: .now() + .milliseconds(50)) == .timedOut {
            if rd_kafka_consumer_closed(handle.pointer) != 0 || deadline.hasPassed { return }
        }
    }
}

// MARK: - Messages

extension ConsumedMessage {
    static func place(of message: rd_kafka_message_t) -> (TopicPartition, Int64)? {
        guard let topic = message.rkt, let name = rd_kafka_topic_name(topic) else { return nil }
        let partition = TopicPartition(
            topic: String(cString: name), partition: message.partition)
        return (partition, message.offset)
    }

    /// Copies what librdkafka lends.
    init(copying pointer: UnsafePointer<rd_kafka_message_t>) {
        let message = pointer.pointee
        let timestamp = rd_kafka_message_timestamp(pointer, nil)
        let (partition, offset) =
            Self.place(of: message) ?? (TopicPartition(topic: "", partition: -1), message.offset)
        self.init(
            topicPartition: partition, offset: offset,
            key: Self.bytes(message.key, message.key_len),
            value: Self.bytes(message.payload, message.len),
            headers: Self.headers(of: pointer),
            timestampMilliseconds: timestamp >= 0 ? timestamp : nil)
    }

    private static func bytes(_ start: UnsafeRawPointer?, _ count: Int) -> [UInt8]? {
        start.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: count)) }
    }

    private static func headers(
        of pointer: UnsafePointer<rd_kafka_message_t>
    ) -> [(name: String, value: [UInt8]?)] {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(pointer, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list
        else { return [] }
        var headers: [(name: String, value: [UInt8]?)] = []
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while rd_kafka_header_get_all(list, headers.count, &name, &value, &size)
            == RD_KAFKA_RESP_ERR_NO_ERROR
        {
            headers.append((name.map { String(cString: $0) } ?? "", bytes(value, size)))
        }
        return headers
    }
}

import CRdkafka
import Dispatch

/// How the records of the current transaction, or since the last `flush`, have fared.
package struct Deliveries: Sendable {
    /// Acknowledged by the broker.
    package var delivered = 0
    /// Given up: too large, timed out, refused.
    package var failed = 0
    /// Thrown away by an abort.
    package var purged = 0
    package var firstFailure: KafkaError?
    /// Per partition, the offset of the last record that was acknowledged, of the current
    /// transaction or (outside transactions) in the producer's life. A broker that acknowledges a
    /// repeated record need not say where it is, so the record may lie beyond.
    package var lastOffsets: [TopicPartition: Int64] = [:]
}

/// An idempotent producer, transactional if `transactional.id` is configured.
///
/// Not Sendable: it belongs to one thread. Every call that can block takes a timeout, and every
/// error says what to do next (`KafkaError.Action`). Two rules of librdkafka to live by:
///
/// - A call that throws `.retry` must be made again with the same arguments until it answers
///   something else; an interrupted `initTransactions`, `commit` or `abort` goes on in the
///   background, and until it has been called to its end every other transactional call throws.
/// - `.abort` is answered with `abort`, then the consumer is rewound and the work redone.
///
/// Dropping a producer throws away what it has not delivered. A transaction left open is aborted by
/// the next instance's `initTransactions`, or by the broker after `transaction.timeout.ms`.
package final class Producer {
    private let handle: ClientHandle
    package let isTransactional: Bool
    /// Between a `begin` and the end of its `commit` or `abort`.
    package private(set) var isInTransaction = false
    /// A `sendOffsets` whose time was up before librdkafka ended it.
    private var unfinishedOffsets: OffsetsCall?

    /// Connects in the background.
    package init(configuration: ClientConfiguration) throws(KafkaError) {
        let properties = configuration.producerProperties()
        isTransactional = properties["transactional.id", default: ""] != ""
        handle = try ClientHandle(
            RD_KAFKA_PRODUCER, properties: properties, log: configuration.log
        ) { conf in
            rd_kafka_conf_set_dr_msg_cb(conf) { client, message, _ in
                guard let message, let context = CallbackContext.of(client) else { return }
                context.deliveries.withLock { $0.count(message.pointee) }
            }
        }
    }

    deinit {
        // Without this, destroying would wait for the deliveries still under way.
        _ = rd_kafka_purge(
            handle.pointer, Int32(RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT))
    }

    // MARK: - Transactions

    /// Once per instance, first of all: aborts what an earlier instance with the same
    /// `transactional.id` has left open, and fences that instance.
    package func initTransactions(timeoutMilliseconds: Int) throws(KafkaError) {
        try check(
            rd_kafka_init_transactions(handle.pointer, Int32(clamping: timeoutMilliseconds)),
            call: .initTransactions, doing: "initialize transactions")
    }

    package func begin() throws(KafkaError) {
        handle.context.deliveries.withLock { $0 = Deliveries() }
        try check(
            rd_kafka_begin_transaction(handle.pointer), call: .begin, doing: "begin a transaction")
        isInTransaction = true
    }

    /// Adds consumed offsets (the next record to read, not the last one done) to the transaction.
    /// Blocks up to the timeout; a retry sends the offsets again.
    ///
    /// - Parameter group: from `Consumer.groupMetadata`, taken just before.
    package func sendOffsets(
        _ offsets: [TopicPartition: Int64], group: GroupMetadata, timeoutMilliseconds: Int
    ) throws(KafkaError) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        try discardOffsets(by: deadline)
        let call = OffsetsCall(offsets, group: group, client: handle)
        call.start(timeoutMilliseconds: deadline.remainingMilliseconds)
        unfinishedOffsets = call
        let error = try finishOffsets(by: deadline)
        try check(error, call: .sendOffsets, doing: "send offsets to the transaction")
    }

    /// Waits for a `sendOffsets` still under way: librdkafka lets no other transactional call in
    /// before its end. What it has made of the transaction, that next call is told.
    private func discardOffsets(by deadline: Deadline) throws(KafkaError) {
        if let error = try finishOffsets(by: deadline) { rd_kafka_error_destroy(error) }
    }

    /// What the `sendOffsets` under way has answered, to be freed; nil if all went well.
    private func finishOffsets(by deadline: Deadline) throws(KafkaError) -> OpaquePointer? {
        guard let call = unfinishedOffsets else { return nil }
        guard call.wait(timeoutMilliseconds: deadline.remainingMilliseconds) else {
            throw KafkaError(
                code: RD_KAFKA_RESP_ERR__TIMED_OUT.rawValue,
                text: "send offsets to the transaction: no answer in time", action: .retry)
        }
        unfinishedOffsets = nil
        return call.takeError()
    }

    /// Waits for all deliveries, then commits. If a delivery failed it throws `.abort`, and
    /// `deliveries.firstFailure` says why.
    ///
    /// On `.retry` the commit goes on in the background and must be called again: whether it
    /// succeeded is not known before. Give it time, `transaction.timeout.ms` at best.
    package func commit(timeoutMilliseconds: Int) throws(KafkaError) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        try discardOffsets(by: deadline)
        try check(
            rd_kafka_commit_transaction(handle.pointer, deadline.remainingMilliseconds),
            call: .commitTransaction, doing: "commit the transaction")
        isInTransaction = false
    }

    /// Throws the transaction's records and offsets away. Throws `.retry` or `.fatal` only.
    package func abort(timeoutMilliseconds: Int) throws(KafkaError) {
        let deadline = Deadline(milliseconds: timeoutMilliseconds)
        try discardOffsets(by: deadline)
        try check(
            rd_kafka_abort_transaction(handle.pointer, deadline.remainingMilliseconds),
            call: .abortTransaction, doing: "abort the transaction")
        isInTransaction = false
    }

    // MARK: - Records

    /// Queues a record; its bytes are copied. Does not block: a full queue throws `.retry`.
    ///
    /// What becomes of it is told by `commit` (in a transaction) or `flush`.
    package func produce(_ record: ProducerRecord) throws(KafkaError) {
        defer { poll() }
        let headers = record.headers.isEmpty ? nil : Self.headers(record.headers)
        let failure = record.topic.withCString { topic in
            Self.withBytes(record.key) { key in
                Self.withBytes(record.value) { value in
                    var arguments: [rd_kafka_vu_t] = []
                    arguments.reserveCapacity(7)
                    func add(_ type: rd_kafka_vtype_t, _ set: (inout rd_kafka_vu_t) -> Void) {
                        var argument = rd_kafka_vu_t()
                        argument.vtype = type
                        set(&argument)
                        arguments.append(argument)
                    }
                    add(RD_KAFKA_VTYPE_TOPIC) { $0.u.cstr = topic }
                    add(RD_KAFKA_VTYPE_MSGFLAGS) { $0.u.i = RD_KAFKA_MSG_F_COPY }
                    if let partition = record.partition {
                        add(RD_KAFKA_VTYPE_PARTITION) { $0.u.i32 = partition }
                    }
                    add(RD_KAFKA_VTYPE_KEY) {
                        $0.u.mem.ptr = UnsafeMutableRawPointer(mutating: key.start)
                        $0.u.mem.size = key.count
                    }
                    add(RD_KAFKA_VTYPE_VALUE) {
                        $0.u.mem.ptr = UnsafeMutableRawPointer(mutating: value.start)
                        $0.u.mem.size = value.count
                    }
                    if let timestamp = record.timestampMilliseconds {
                        add(RD_KAFKA_VTYPE_TIMESTAMP) { $0.u.i64 = timestamp }
                    }
                    if let headers { add(RD_KAFKA_VTYPE_HEADERS) { $0.u.headers = headers } }
                    return rd_kafka_produceva(handle.pointer, arguments, arguments.count)
                }
            }
        }
        if let failure {
            // A record that was not queued leaves its headers with us.
            if let headers { rd_kafka_headers_destroy(headers) }
            throw handle.error(
                consuming: failure,
                call: .produce(inTransaction: isInTransaction && fatalError == nil),
                doing: "produce to \(record.topic)")
        }
    }

    /// Waits until nothing is under way any more. Outside transactions it also throws `.abort`
    /// with the first failure if a record could not be delivered since the last flush: redo from
    /// the last committed offsets.
    package func flush(timeoutMilliseconds: Int) throws(KafkaError) {
        try handle.check(
            rd_kafka_flush(handle.pointer, Int32(clamping: timeoutMilliseconds)),
            doing: "flush the producer")
        if let fatalError { throw fatalError }
        guard !isTransactional else { return }
        let done = handle.context.deliveries.withLock { deliveries in
            defer { deliveries = Deliveries(lastOffsets: deliveries.lastOffsets) }
            return deliveries
        }
        if let failure = done.firstFailure { throw failure }
    }

    /// Takes in delivery reports. `produce`, `flush`, `commit` and `abort` do so as well.
    package func poll() {
        rd_kafka_poll(handle.pointer, 0)
    }

    /// How the records of this transaction, or since the last flush, have fared so far.
    package var deliveries: Deliveries { handle.context.deliveries.withLock { $0 } }

    /// The error that finished this instance, if one has.
    package var fatalError: KafkaError? { handle.fatalError }

    // MARK: - To C

    private func check(
        _ error: OpaquePointer?, call: KafkaError.Call, doing what: String
    ) throws(KafkaError) {
        if let error { throw handle.error(consuming: error, call: call, doing: what) }
    }

    private static func headers(_ headers: [(name: String, value: [UInt8]?)]) -> OpaquePointer? {
        let list = rd_kafka_headers_new(headers.count)
        for header in headers {
            withBytes(header.value) { value in
                _ = rd_kafka_header_add(list, header.name, -1, value.start, value.count)
            }
        }
        return list
    }

    /// Null bytes have no address; an empty array must have one, or it would be written as null.
    private static func withBytes<Result>(
        _ bytes: [UInt8]?, _ body: ((start: UnsafeRawPointer?, count: Int)) -> Result
    ) -> Result {
        guard let bytes else { return body((nil, 0)) }
        guard !bytes.isEmpty else {
            return withUnsafeBytes(of: UInt8(0)) { body(($0.baseAddress, 0)) }
        }
        return bytes.withUnsafeBytes { body(($0.baseAddress, $0.count)) }
    }
}

/// One `rd_kafka_send_offsets_to_transaction`, on a thread that can be left behind.
///
/// librdkafka looks at this call's timeout between its requests only: to a broker that is
/// connected but silent it lasts for `socket.timeout.ms` on top.
private final class OffsetsCall: @unchecked Sendable {
    // Unchecked: `start`, `wait` and `takeError` are called in this order from the producer's
    // thread. `error` is written before `done` is signalled and read after it was waited for.
    private let offsets: TopicPartitionList
    private let group: GroupMetadata
    /// Not destroyed before the call has ended.
    private let client: ClientHandle
    private let done = DispatchSemaphore(value: 0)
    private var error: OpaquePointer?

    init(_ offsets: [TopicPartition: Int64], group: GroupMetadata, client: ClientHandle) {
        self.offsets = TopicPartitionList(offsets)
        self.group = group
        self.client = client
    }

    deinit {
        if let error { rd_kafka_error_destroy(error) }
    }

    /// - Parameter timeoutMilliseconds: what the caller waits. librdkafka gets less, as it tries
    ///   every 500 ms and notices the end of its time at the next try.
    func start(timeoutMilliseconds: Int32) {
        let timeout = timeoutMilliseconds - min(1000, timeoutMilliseconds / 2)
        DispatchQueue(label: "kafka.send-offsets").async { [self] in
            error = rd_kafka_send_offsets_to_transaction(
                client.pointer, offsets.pointer, group.pointer, timeout)
            done.signal()
        }
    }

    /// Returns false if the call has not ended in this time.
    func wait(timeoutMilliseconds: Int32) -> Bool {
        done.wait(timeout: .now() + .milliseconds(Int(timeoutMilliseconds))) == .success
    }

    /// What the call answered, to be freed by the caller; nil if all went well.
    func takeError() -> OpaquePointer? {
        defer { error = nil }
        return error
    }
}

extension Deliveries {
    /// Counts one delivery report.
    mutating func count(_ message: rd_kafka_message_t) {
        switch message.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            delivered += 1
            guard let (partition, offset) = ConsumedMessage.place(of: message), offset >= 0 else {
                return
            }
            lastOffsets[partition] = max(lastOffsets[partition] ?? 0, offset)
        case RD_KAFKA_RESP_ERR__PURGE_QUEUE, RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
            purged += 1
        default:
            failed += 1
            guard firstFailure == nil else { return }
            let place = ConsumedMessage.place(of: message)?.0.description ?? "a partition"
            let text = String(cString: rd_kafka_err2str(message.err))
            firstFailure = KafkaError(
                code: message.err.rawValue, text: "deliver a record to \(place): \(text)",
                action: .abort)
        }
    }
}

import CRdkafka

/// A failed Kafka call: what failed, and what the caller does next.
package struct KafkaError: Error, Sendable, CustomStringConvertible {
    /// What to do after an error.
    package enum Action: Sendable {
        /// Make the same call again, with the same arguments, after a short pause. Nothing was
        /// lost, and the work of an interrupted call may be going on in the background: a commit
        /// that timed out must be called again until it answers, because no other transactional
        /// call is accepted before.
        case retry
        /// Abort the transaction, rewind the consumer to the last committed offsets, redo.
        case abort
        /// This client instance is finished: drop it and make a new one, or stop. Everything
        /// unclear is fatal.
        case fatal
    }

    /// librdkafka's number: below -1 its own errors, above 0 the broker's.
    package let code: Int32
    /// The number's name in librdkafka, as in `_TIMED_OUT` or `PRODUCER_FENCED`.
    package let name: String
    /// What happened, for people. Never holds the value of a secret property.
    package let text: String
    package let action: Action

    package var description: String { "\(text) (\(name))" }

    /// The call gave up waiting; nothing is known to be wrong.
    package var isTimeout: Bool { Code.timeouts.contains(code) }

    /// Another producer with the same `transactional.id` has taken over, or another consumer with
    /// the same `group.instance.id`. A new instance would fence that one in turn: say so loudly.
    package var isFenced: Bool {
        Code.fencings.contains(code) || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID.rawValue
    }

    /// The record is larger than `message.max.bytes` or than the broker takes. When `produce`
    /// itself throws it, the record was not queued and the transaction is still sound: the record
    /// alone may be dropped or diverted instead of aborting.
    package var isMessageTooLarge: Bool { code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE.rawValue }

    /// The local queue is full; wait for deliveries (`Producer.flush`) and produce again.
    package var isQueueFull: Bool { code == RD_KAFKA_RESP_ERR__QUEUE_FULL.rawValue }

    package init(code: Int32, text: String, action: Action) {
        self.code = code
        self.name = String(cString: rd_kafka_err2name(rd_kafka_resp_err_t(code)))
        self.text = text
        self.action = action
    }
}

// MARK: - Which action

extension KafkaError {
    /// The call an error came from: the same code can mean different things.
    package enum Call: Sendable {
        case initTransactions, begin
        /// `produce`, and whether it was made inside a transaction that had been begun.
        case produce(inTransaction: Bool)
        case sendOffsets, commitTransaction, abortTransaction
        /// Everything outside transactions.
        case other
    }

    /// What librdkafka's error object says of itself.
    package struct Flags: OptionSet, Sendable {
        package let rawValue: Int

        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let fatal = Flags(rawValue: 1)
        package static let requiresAbort = Flags(rawValue: 2)
        package static let retriable = Flags(rawValue: 4)
    }

    /// The one place that decides between retry, abort and fatal. Pure.
    package static func action(code: Int32, flags: Flags, call: Call) -> Action {
        // librdkafka 2.0.2 flags PRODUCER_FENCED as merely abortable when it answers
        // AddOffsetsToTxn or TxnOffsetCommit. A fenced producer never works again.
        if flags.contains(.fatal) || Code.fencings.contains(code) { return .fatal }
        switch call {
        case .initTransactions:
            return flags.contains(.retriable) ? .retry : .fatal
        case .begin, .sendOffsets, .commitTransaction:
            if flags.contains(.requiresAbort) { return .abort }
            return flags.contains(.retriable) && !Code.isConflict(code) ? .retry : .fatal
        case .abortTransaction:
            // An abort that asks for an abort would go round for ever. Dropping the producer ends
            // the transaction too: the next instance's initTransactions aborts it.
            return flags.contains(.retriable) && !flags.contains(.requiresAbort)
                && !Code.isConflict(code)
                ? .retry : .fatal
        case .produce(let inTransaction):
            if code == RD_KAFKA_RESP_ERR__QUEUE_FULL.rawValue { return .retry }
            if Code.recordRefusals.contains(code) { return .abort }
            // In a transaction that was begun and not ended, "state forbids" means that the
            // transaction has failed in the background.
            if inTransaction && code == RD_KAFKA_RESP_ERR__STATE.rawValue { return .abort }
            return .fatal
        case .other:
            if flags.contains(.requiresAbort) || Code.staleMemberships.contains(code) {
                return .abort
            }
            return flags.contains(.retriable) || Code.transients.contains(code) ? .retry : .fatal
        }
    }

    private enum Code {
        static func raw(_ codes: rd_kafka_resp_err_t...) -> Set<Int32> {
            Set(codes.map(\.rawValue))
        }

        /// Another transactional call timed out and waits to be called again. librdkafka flags
        /// this as retriable, but repeating the refused call would never end.
        static func isConflict(_ code: Int32) -> Bool {
            code == RD_KAFKA_RESP_ERR__CONFLICT.rawValue
        }

        static let timeouts = raw(
            RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
            RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT)

        static let fencings = raw(
            RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
            RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED)

        /// One record was refused before it was queued.
        static let recordRefusals = raw(
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
            RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)

        /// The group has moved on: what was read belongs to another member now.
        static let staleMemberships = raw(
            RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST)

        /// librdkafka's own, then the broker's that Kafka calls retriable, as far as a call outside
        /// transactions can meet them.
        static let transients = timeouts.union(
            raw(
                RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
                RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__WAIT_COORD,
                RD_KAFKA_RESP_ERR__WAIT_CACHE, RD_KAFKA_RESP_ERR__QUEUE_FULL,
                RD_KAFKA_RESP_ERR__RETRY, RD_KAFKA_RESP_ERR__IN_PROGRESS,
                RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS, RD_KAFKA_RESP_ERR__OUTDATED,
                RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
                RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                RD_KAFKA_RESP_ERR_NOT_CONTROLLER, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
                RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
                RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
                RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED))
    }
}

// MARK: - From librdkafka

extension KafkaError {
    /// From a bare error code.
    init(_ code: rd_kafka_resp_err_t, call: Call = .other, doing what: String) {
        self.init(
            code: code.rawValue, text: "\(what): \(String(cString: rd_kafka_err2str(code)))",
            action: Self.action(code: code.rawValue, flags: [], call: call))
    }

    /// From an error object, which this frees.
    ///
    /// C: `rd_kafka_error_t`.
    init(consuming error: OpaquePointer, call: Call, doing what: String, secrets: Secrets) {
        defer { rd_kafka_error_destroy(error) }
        let code = rd_kafka_error_code(error).rawValue
        var flags: Flags = []
        if rd_kafka_error_is_fatal(error) != 0 { flags.insert(.fatal) }
        if rd_kafka_error_txn_requires_abort(error) != 0 { flags.insert(.requiresAbort) }
        if rd_kafka_error_is_retriable(error) != 0 { flags.insert(.retriable) }
        self.init(
            code: code,
            text: secrets.removed(
                from: "\(what): \(String(cString: rd_kafka_error_string(error)))"),
            action: Self.action(code: code, flags: flags, call: call))
    }
}

import Kafka
import Testing

/// What the real client makes of what a broker can answer, call by call: retry, abort or fatal.
@Suite(.blocking) struct TransactionErrorTests {
    typealias Request = EmbeddedBroker.Request
    typealias Code = EmbeddedBroker.ErrorCode

    struct Case: CustomTestStringConvertible, Sendable {
        var request: Request
        var error: Code
        var action: KafkaError.Action
        /// The name of the error that our side reports, where it differs.
        var name: String?

        var testDescription: String { "\(request) answered with \(error): \(action)" }
    }

    static func cases(
        _ request: Request, _ action: KafkaError.Action, _ errors: Code...
    ) -> [Case] {
        errors.map { Case(request: request, error: $0, action: action) }
    }

    /// More than the client gets through in the time that a test gives it.
    static func forLong(_ error: Code) -> [Code] { Array(repeating: error, count: 10_000) }

    let cluster: Cluster

    init() throws {
        cluster = try Cluster()
        try cluster.broker.createTopic("out", partitions: 1)
    }

    func produce(_ producer: Producer) throws {
        try producer.produce(ProducerRecord(topic: "out", key: nil, value: bytes("score")))
    }

    let offsets = [TopicPartition(topic: "in", partition: 0): Int64(7)]

    /// A group that nobody has joined.
    var group: GroupMetadata { get throws { try cluster.consumer().groupMetadata() } }

    /// A producer is still good if it can do a whole transaction.
    func expectUsable(_ producer: Producer) throws {
        try producer.begin()
        try produce(producer)
        try repeating { try producer.commit(timeoutMilliseconds: patience) }
        #expect(producer.deliveries.delivered == 1)
        #expect(producer.fatalError == nil)
    }

    /// A producer is done for if every call says so.
    func expectFinished(_ producer: Producer) throws {
        #expect(producer.fatalError != nil)
        #expect(try kafkaError { try producer.begin() }.action == .fatal)
        #expect(try kafkaError { try produce(producer) }.action == .fatal)
        #expect(
            try kafkaError { try producer.abort(timeoutMilliseconds: 1000) }.action == .fatal)
    }

    // MARK: - initTransactions

    static let initRetries =
        cases(
            .findCoordinator, .retry, .coordinatorNotAvailable, .coordinatorLoadInProgress)
        + cases(
            .initProducerID, .retry, .coordinatorLoadInProgress, .coordinatorNotAvailable,
            .notCoordinator, .concurrentTransactions, .disconnect)

    @Test("init: called again until the coordinator answers", arguments: initRetries)
    func initRetry(_ fault: Case) throws {
        let producer = try cluster.producer(["transactional.id": "test"])
        cluster.broker.pushErrors(fault.request, Self.forLong(fault.error))
        let error = try kafkaError { try producer.initTransactions(timeoutMilliseconds: 300) }
        #expect(error.action == .retry, "\(error)")

        cluster.broker.clearErrors(fault.request)
        try repeating { try producer.initTransactions(timeoutMilliseconds: 1000) }
        try expectUsable(producer)
    }

    static let initFatals =
        cases(
            .findCoordinator, .fatal, .transactionalIDAuthorizationFailed,
            .clusterAuthorizationFailed)
        + cases(
            .initProducerID, .fatal, .transactionalIDAuthorizationFailed,
            .clusterAuthorizationFailed, .invalidTransactionTimeout, .invalidProducerEpoch,
            .producerFenced)

    @Test("init: refused for good", arguments: initFatals)
    func initFatal(_ fault: Case) throws {
        let producer = try cluster.producer(["transactional.id": "test"])
        cluster.broker.pushErrors(fault.request, Self.forLong(fault.error))
        let error = try kafkaError { try producer.initTransactions(timeoutMilliseconds: 3000) }
        #expect(error.action == .fatal, "\(error)")
    }

    // MARK: - begin

    @Test func beginOutOfOrderIsFatal() throws {
        let producer = try cluster.producer(["transactional.id": "test"])
        #expect(try kafkaError { try producer.begin() }.action == .fatal)
        try producer.initTransactions(timeoutMilliseconds: patience)
        try producer.begin()
        #expect(try kafkaError { try producer.begin() }.action == .fatal)
        #expect(producer.isInTransaction)
    }

    @Test func beginWithoutTransactionalIDIsFatal() throws {
        let producer = try cluster.producer()
        #expect(try kafkaError { try producer.begin() }.action == .fatal)
    }

    // MARK: - produce

    @Test func produceOutsideATransactionIsFatal() throws {
        let producer = try cluster.transactionalProducer()
        #expect(try kafkaError { try produce(producer) }.action == .fatal)
    }

    @Test func aFullQueueIsRetried() throws {
        let producer = try cluster.transactionalProducer(["queue.buffering.max.messages": "2"])
        try cluster.broker.setRoundTrip(milliseconds: 300)
        try producer.begin()
        try produce(producer)
        try produce(producer)
        let error = try kafkaError { try produce(producer) }
        #expect(error.action == .retry)
        #expect(error.isQueueFull)

        try repeating { try produce(producer) }
        try producer.commit(timeoutMilliseconds: patience)
        #expect(producer.deliveries.delivered == 3)
    }

    @Test func aRecordTooLargeAsksForAnAbortButLeavesTheTransactionSound() throws {
        let producer = try cluster.transactionalProducer(["message.max.bytes": "2000"])
        try producer.begin()
        let large = ProducerRecord(
            topic: "out", key: nil, value: [UInt8](repeating: 0, count: 3000),
            headers: [("h", bytes("x"))])
        let error = try kafkaError { try producer.produce(large) }
        #expect(error.action == .abort)
        #expect(error.isMessageTooLarge)

        try produce(producer)
        try producer.commit(timeoutMilliseconds: patience)
        #expect(producer.deliveries.delivered == 1)
    }

    static let deliveryAborts = cases(
        .produce, .abort, .messageTooLarge, .topicAuthorizationFailed)

    @Test("produce: a delivery refused", arguments: deliveryAborts)
    func deliveryAbort(_ fault: Case) throws {
        let producer = try cluster.transactionalProducer([
            "topic.metadata.refresh.interval.ms": "200"
        ])
        cluster.broker.pushErrors(fault.request, [fault.error])
        try producer.begin()
        try produce(producer)
        let error = try kafkaError { try producer.commit(timeoutMilliseconds: patience) }
        #expect(error.action == .abort, "\(error)")
        #expect(producer.deliveries.failed == 1)
        #expect(producer.deliveries.firstFailure?.code == fault.error.rawValue)

        // The transaction has failed: nothing more goes into it.
        #expect(try kafkaError { try produce(producer) }.action == .abort)
        #expect(try kafkaError { try producer.begin() }.action == .abort)
        try repeating { try producer.abort(timeoutMilliseconds: patience) }

        // The refused record leaves a gap in the producer's sequence, and a topic without rights
        // stays refused until it is asked for again. Aborting and redoing heals both.
        let start = ContinuousClock.now
        while true {
            do {
                try expectUsable(producer)
                break
            } catch let error as KafkaError
                where error.action == .abort
                && ContinuousClock.now - start < .milliseconds(patience)
            {
                try repeating { try producer.abort(timeoutMilliseconds: patience) }
            }
        }
    }

    static let registrations =
        cases(.addPartitionsToTransaction, .abort, .topicAuthorizationFailed, .unknownProducerID)
        + cases(
            .addPartitionsToTransaction, .fatal, .producerFenced, .invalidProducerEpoch,
            .invalidTransactionState, .transactionalIDAuthorizationFailed,
            .clusterAuthorizationFailed)

    @Test("produce: the partition not taken into the transaction", arguments: registrations)
    func registration(_ fault: Case) throws {
        let producer = try cluster.transactionalProducer()
        cluster.broker.pushErrors(fault.request, [fault.error])
        try producer.begin()
        try produce(producer)
        let error = try kafkaError { try producer.commit(timeoutMilliseconds: patience) }
        #expect(error.action == fault.action, "\(error)")
        if fault.action == .fatal {
            try expectFinished(producer)
        } else {
            try repeating { try producer.abort(timeoutMilliseconds: patience) }
            try expectUsable(producer)
        }
    }

    @Test(
        "produce: librdkafka itself goes on trying",
        arguments: [
            Code.concurrentTransactions, .coordinatorLoadInProgress, .notCoordinator,
            .coordinatorNotAvailable,
        ])
    func registrationRetriedInside(_ code: Code) throws {
        let producer = try cluster.transactionalProducer()
        cluster.broker.pushErrors(.addPartitionsToTransaction, [code])
        try expectUsable(producer)
    }

    // MARK: - sendOffsets

    static let offsetRetries = cases(
        .addOffsetsToTransaction, .retry, .coordinatorLoadInProgress, .coordinatorNotAvailable,
        .notCoordinator, .concurrentTransactions)

    @Test("sendOffsets: called again", arguments: offsetRetries)
    func offsetRetry(_ fault: Case) throws {
        let group = try group
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        cluster.broker.pushErrors(fault.request, Self.forLong(fault.error))
        let error = try kafkaError {
            try producer.sendOffsets(offsets, group: group, timeoutMilliseconds: 300)
        }
        #expect(error.action == .retry, "\(error)")

        cluster.broker.clearErrors(fault.request)
        try repeating {
            try producer.sendOffsets(offsets, group: group, timeoutMilliseconds: patience)
        }
        try producer.commit(timeoutMilliseconds: patience)
        try expectUsable(producer)
    }

    static let offsetAborts =
        cases(
            .addOffsetsToTransaction, .abort, .groupAuthorizationFailed, .topicAuthorizationFailed,
            .unknownProducerID)
        + cases(
            .transactionOffsetCommit, .abort, .illegalGeneration, .unknownMemberID,
            .fencedInstanceID, .groupAuthorizationFailed, .topicAuthorizationFailed,
            .rebalanceInProgress)

    @Test("sendOffsets: the transaction is lost", arguments: offsetAborts)
    func offsetAbort(_ fault: Case) throws {
        let group = try group
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        try produce(producer)
        cluster.broker.pushErrors(fault.request, [fault.error])
        let error = try kafkaError {
            try producer.sendOffsets(offsets, group: group, timeoutMilliseconds: patience)
        }
        #expect(error.action == .abort, "\(error)")
        #expect(error.isFenced == (fault.error == .fencedInstanceID))

        try repeating { try producer.abort(timeoutMilliseconds: patience) }
        try expectUsable(producer)
    }

    /// The group's coordinator keeps saying "later" until the time is up: too late then.
    @Test(arguments: [Code.coordinatorLoadInProgress, .concurrentTransactions, .notCoordinator])
    func offsetsThatRunOutOfTimeAbort(_ code: Code) throws {
        let group = try group
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        cluster.broker.pushErrors(.transactionOffsetCommit, Self.forLong(code))
        let error = try kafkaError {
            try producer.sendOffsets(offsets, group: group, timeoutMilliseconds: 3000)
        }
        #expect(error.action == .abort, "\(error)")
        cluster.broker.clearErrors(.transactionOffsetCommit)
        try repeating { try producer.abort(timeoutMilliseconds: patience) }
        try expectUsable(producer)
    }

    static let offsetFatals =
        cases(
            .addOffsetsToTransaction, .fatal, .invalidProducerEpoch, .producerFenced,
            .invalidTransactionState, .transactionalIDAuthorizationFailed,
            .clusterAuthorizationFailed)
        + cases(
            .transactionOffsetCommit, .fatal, .invalidProducerEpoch, .producerFenced,
            .invalidTransactionState, .transactionalIDAuthorizationFailed,
            .clusterAuthorizationFailed, .invalidProducerIDMapping)

    @Test("sendOffsets: the producer is finished", arguments: offsetFatals)
    func offsetFatal(_ fault: Case) throws {
        let group = try group
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        cluster.broker.pushErrors(fault.request, [fault.error])
        let error = try kafkaError {
            try producer.sendOffsets(offsets, group: group, timeoutMilliseconds: patience)
        }
        #expect(error.action == .fatal, "\(error)")
        #expect(
            error.isFenced == [.invalidProducerEpoch, .producerFenced].contains(fault.error))
    }

    // MARK: - commit

    static let endRetries = cases(
        .endTransaction, .retry, .coordinatorLoadInProgress, .coordinatorNotAvailable,
        .notCoordinator, .concurrentTransactions, .disconnect)

    @Test("commit: called again until it answers", arguments: endRetries)
    func commitRetry(_ fault: Case) throws {
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        try produce(producer)
        cluster.broker.pushErrors(fault.request, Self.forLong(fault.error))
        let error = try kafkaError { try producer.commit(timeoutMilliseconds: 400) }
        #expect(error.action == .retry, "\(error)")

        // Half a commit shuts every other call out; none of them may say "retry" for ever.
        let conflict = try kafkaError { try producer.abort(timeoutMilliseconds: 400) }
        #expect(conflict.action == .fatal, "\(conflict)")

        cluster.broker.clearErrors(fault.request)
        try repeating { try producer.commit(timeoutMilliseconds: 2000) }
        try expectUsable(producer)
    }

    static let commitAborts = cases(
        .endTransaction, .abort, .unknownProducerID, .invalidProducerIDMapping,
        .groupAuthorizationFailed)

    @Test("commit: the transaction is lost", arguments: commitAborts)
    func commitAbort(_ fault: Case) throws {
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        try produce(producer)
        cluster.broker.pushErrors(fault.request, [fault.error])
        let error = try kafkaError { try producer.commit(timeoutMilliseconds: patience) }
        #expect(error.action == .abort, "\(error)")
        try repeating { try producer.abort(timeoutMilliseconds: patience) }
        try expectUsable(producer)
    }

    static let endFatals = cases(
        .endTransaction, .fatal, .invalidProducerEpoch, .producerFenced, .invalidTransactionState,
        .transactionalIDAuthorizationFailed, .clusterAuthorizationFailed)

    @Test("commit: the producer is finished", arguments: endFatals)
    func commitFatal(_ fault: Case) throws {
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        try produce(producer)
        cluster.broker.pushErrors(fault.request, [fault.error])
        let error = try kafkaError { try producer.commit(timeoutMilliseconds: patience) }
        #expect(error.action == .fatal, "\(error)")
        try expectFinished(producer)
    }

    // MARK: - abort

    /// A transaction with a record on the broker: its abort has something to end there.
    func abortable() throws -> Producer {
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        try produce(producer)
        try producer.flush(timeoutMilliseconds: patience)
        return producer
    }

    @Test("abort: called again until it answers", arguments: endRetries)
    func abortRetry(_ fault: Case) throws {
        let producer = try abortable()
        cluster.broker.pushErrors(fault.request, Self.forLong(fault.error))
        let error = try kafkaError { try producer.abort(timeoutMilliseconds: 400) }
        #expect(error.action == .retry, "\(error)")
        cluster.broker.clearErrors(fault.request)
        try repeating { try producer.abort(timeoutMilliseconds: 2000) }
        try expectUsable(producer)
    }

    @Test("abort: the producer is finished", arguments: endFatals)
    func abortFatal(_ fault: Case) throws {
        let producer = try abortable()
        cluster.broker.pushErrors(fault.request, [fault.error])
        let error = try kafkaError { try producer.abort(timeoutMilliseconds: patience) }
        #expect(error.action == .fatal, "\(error)")
        try expectFinished(producer)
    }

    /// librdkafka asks for an abort of the abort; that would never end.
    @Test func anAbortRefusedForAnUnknownReasonIsFatal() throws {
        let producer = try abortable()
        cluster.broker.pushErrors(.endTransaction, [.groupAuthorizationFailed])
        let error = try kafkaError { try producer.abort(timeoutMilliseconds: patience) }
        #expect(error.action == .fatal, "\(error)")
    }

    @Test(arguments: [Code.unknownProducerID, .invalidProducerIDMapping])
    func anAbortByAForgottenProducerGetsANewEpoch(_ code: Code) throws {
        let producer = try abortable()
        cluster.broker.pushErrors(.endTransaction, [code])
        try repeating { try producer.abort(timeoutMilliseconds: patience) }
        try expectUsable(producer)
    }

    // MARK: - After the end

    @Test func aFreshProducerReplacesAFinishedOne() throws {
        let finished = try cluster.transactionalProducer()
        try finished.begin()
        try produce(finished)
        cluster.broker.pushErrors(.endTransaction, [.producerFenced])
        let error = try kafkaError { try finished.commit(timeoutMilliseconds: patience) }
        #expect(error.action == .fatal)
        #expect(error.isFenced)
        try expectUsable(try cluster.transactionalProducer())
    }
}

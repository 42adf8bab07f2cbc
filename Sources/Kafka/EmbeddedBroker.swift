import CRdkafka

/// A Kafka cluster inside this process: librdkafka's mock cluster, behind real sockets on
/// localhost. For trying things out and for tests.
///
/// What it does not do: it drops `sendOffsets`, ignores `read_committed` (records of open and
/// aborted transactions are visible), never fences a producer, keeps only 5 MiB or 100,000 batches
/// a partition and drops the oldest silently, has no admin API, no compaction, no TLS or SASL, and
/// nothing on disk. Topics that are asked for are created, with 4 partitions. Readers should set
/// `fetch.wait.max.ms=50`: it answers a fetch only when that time is up.
package final class EmbeddedBroker: @unchecked Sendable {
    // Unchecked: both pointers are constant, and the mock functions hand their work to the mock's
    // own thread or take its lock.
    private let owner: ClientHandle
    private let cluster: OpaquePointer

    /// `host:port` of every broker, comma-separated.
    package let bootstrapServers: String

    /// Broker ids are 1 to `brokers`.
    package init(brokers: Int = 1) throws(KafkaError) {
        // A mock cluster lives on the threads of some client, which need not connect anywhere.
        owner = try ClientHandle(RD_KAFKA_PRODUCER, properties: [:], log: { _ in })
        guard let cluster = rd_kafka_mock_cluster_new(owner.pointer, Int32(clamping: brokers))
        else {
            throw KafkaError(
                code: RD_KAFKA_RESP_ERR__FAIL.rawValue,
                text: "cannot start the embedded broker: no port free on localhost?",
                action: .fatal)
        }
        self.cluster = cluster
        bootstrapServers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
    }

    deinit { rd_kafka_mock_cluster_destroy(cluster) }

    // MARK: - Topics

    package func createTopic(_ name: String, partitions: Int) throws(KafkaError) {
        try check(
            rd_kafka_mock_topic_create(cluster, name, Int32(clamping: partitions), 1),
            doing: "create topic \(name)")
    }

    /// Moves a partition to another broker.
    package func setLeader(of partition: TopicPartition, broker: Int) throws(KafkaError) {
        try check(
            rd_kafka_mock_partition_set_leader(
                cluster, partition.topic, partition.partition, Int32(clamping: broker)),
            doing: "move \(partition) to broker \(broker)")
    }

    /// The error that this topic answers metadata and transaction requests with; nil ends it.
    package func setError(ofTopic name: String, _ code: ErrorCode?) {
        rd_kafka_mock_topic_set_error(cluster, name, rd_kafka_resp_err_t(code?.rawValue ?? 0))
    }

    // MARK: - Brokers

    /// Disconnects everyone and refuses connections, until `setUp`. Nil means all brokers.
    package func setDown(broker: Int? = nil) throws(KafkaError) {
        try check(
            rd_kafka_mock_broker_set_down(cluster, Int32(clamping: broker ?? -1)),
            doing: "take the broker down")
    }

    package func setUp(broker: Int? = nil) throws(KafkaError) {
        try check(
            rd_kafka_mock_broker_set_up(cluster, Int32(clamping: broker ?? -1)),
            doing: "bring the broker up")
    }

    /// How long every answer takes. Nil means all brokers.
    package func setRoundTrip(milliseconds: Int, broker: Int? = nil) throws(KafkaError) {
        try check(
            rd_kafka_mock_broker_set_rtt(
                cluster, Int32(clamping: broker ?? -1), Int32(clamping: milliseconds)),
            doing: "set the round trip time")
    }

    package enum Coordinator: String, Sendable {
        case group, transaction
    }

    /// Makes a broker the coordinator of a `group.id` or `transactional.id`.
    package func setCoordinator(
        _ kind: Coordinator, of key: String, broker: Int
    ) throws(KafkaError) {
        try check(
            rd_kafka_mock_coordinator_set(cluster, kind.rawValue, key, Int32(clamping: broker)),
            doing: "set the \(kind.rawValue) coordinator")
    }

    // MARK: - Faults

    /// Requests, by the numbers of Kafka's protocol.
    package enum Request: Int16, Sendable {
        case produce = 0
        case fetch = 1
        case listOffsets = 2
        case metadata = 3
        case offsetCommit = 8
        case offsetFetch = 9
        case findCoordinator = 10
        case joinGroup = 11
        case heartbeat = 12
        case leaveGroup = 13
        case syncGroup = 14
        case initProducerID = 22
        case addPartitionsToTransaction = 24
        case addOffsetsToTransaction = 25
        case endTransaction = 26
        case transactionOffsetCommit = 28
    }

    /// Errors of Kafka's protocol to answer with, and `disconnect`, which hangs up instead.
    package enum ErrorCode: Int32, Sendable {
        case disconnect = -195
        case offsetOutOfRange = 1
        case unknownTopicOrPartition = 3
        case messageTooLarge = 10
        case coordinatorLoadInProgress = 14
        case coordinatorNotAvailable = 15
        case notCoordinator = 16
        case illegalGeneration = 22
        case unknownMemberID = 25
        case rebalanceInProgress = 27
        case topicAuthorizationFailed = 29
        case groupAuthorizationFailed = 30
        case clusterAuthorizationFailed = 31
        case invalidProducerEpoch = 47
        case invalidTransactionState = 48
        case invalidProducerIDMapping = 49
        case invalidTransactionTimeout = 50
        case concurrentTransactions = 51
        case transactionalIDAuthorizationFailed = 53
        case unknownProducerID = 59
        case fencedInstanceID = 82
        case unstableOffsetCommit = 88
        case producerFenced = 90
    }

    /// The next requests of this kind are answered with these errors, in this order.
    package func pushErrors(_ request: Request, _ errors: [ErrorCode]) {
        let codes = errors.map { rd_kafka_resp_err_t($0.rawValue) }
        rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, codes.count, codes)
    }

    /// Forgets the errors that are still to come.
    package func clearErrors(_ request: Request) {
        rd_kafka_mock_clear_request_errors(cluster, request.rawValue)
    }

    private func check(_ code: rd_kafka_resp_err_t, doing what: String) throws(KafkaError) {
        try owner.check(code, doing: what)
    }
}

import Kafka
import Pipeline

/// Executes `ScorePath`'s publish steps on librdkafka: one call a step, each within a bounded
/// time, its error translated into what the step's contract knows.
final class KafkaPublisher {
    /// Long enough for a healthy broker, short enough to keep polling the consumer between tries.
    private static let stepTimeoutMilliseconds = 1_000
    /// Longer, since where the group coordinator does not answer in time librdkafka often wants an
    /// abort, not the same call again.
    private static let offsetsTimeoutMilliseconds = 3_000

    private let configuration: ClientConfiguration
    private let delivery: Delivery
    private var producer: Producer?
    private var isInitialized = false

    init(configuration: ClientConfiguration, delivery: Delivery) {
        self.configuration = configuration
        self.delivery = delivery
    }

    /// Per partition, the offset of the last record that was acknowledged: after a commit, how far
    /// the records of its transaction reach. At least once: those of the producer's life.
    var lastOffsets: [Partition: Int64] {
        let offsets = producer?.deliveries.lastOffsets ?? [:]
        return [Partition: Int64](
            uniqueKeysWithValues: offsets.map { (Partition($0.key), $0.value) })
    }

    func execute(_ step: PublishStep, consumer: Consumer) -> StepResult {
        do {
            return try run(step, consumer: consumer)
        } catch {
            // A refusal at delivery shows as another error of a later call.
            let refused = producer?.deliveries.firstFailure.flatMap {
                $0.isMessageTooLarge ? $0 : nil
            }
            if let tooLarge = error.isMessageTooLarge ? error : refused, error.action == .abort {
                return .tooLarge(tooLarge.description)
            }
            if error.isFenced { return .fenced(error.description) }
            switch error.action {
            case .retry: return .retry(error.description)
            case .abort: return .abort(error.description)
            case .fatal: return .fatal(error.description)
            }
        }
    }

    private func run(_ step: PublishStep, consumer: Consumer) throws(KafkaError) -> StepResult {
        switch step {
        case .createProducer:
            try createProducer()
        case .begin:
            try current().begin()
        case .produce(let records):
            return try produce(records, with: current())
        case .sendOffsets(let offsets):
            try current().sendOffsets(
                offsets.forKafka, group: consumer.groupMetadata(),
                timeoutMilliseconds: Self.offsetsTimeoutMilliseconds)
        case .commit:
            try current().commit(timeoutMilliseconds: Self.stepTimeoutMilliseconds)
        case .abort:
            try current().abort(timeoutMilliseconds: Self.stepTimeoutMilliseconds)
        case .flush:
            try current().flush(timeoutMilliseconds: Self.stepTimeoutMilliseconds)
        case .commitOffsets(let offsets):
            try consumer.commit(
                offsets.forKafka, timeoutMilliseconds: Self.stepTimeoutMilliseconds)
        case .readCommitted(let partitions):
            let committed = try consumer.committed(
                partitions.map(TopicPartition.init),
                timeoutMilliseconds: Self.stepTimeoutMilliseconds)
            return .committed(
                Dictionary(
                    uniqueKeysWithValues: committed.map { (Partition($0.key), $0.value) }))
        }
        return .done
    }

    /// Asked for again after a `retry`, it goes on with the producer it has begun to initialise:
    /// librdkafka wants the same call again.
    private func createProducer() throws(KafkaError) {
        if isInitialized {
            producer = nil
            isInitialized = false
        }
        if producer == nil { producer = try Producer(configuration: configuration) }
        if delivery == .exactlyOnce {
            do {
                try current().initTransactions(timeoutMilliseconds: Self.stepTimeoutMilliseconds)
            } catch {
                if error.action != .retry { producer = nil }
                throw error
            }
        }
        isInitialized = true
    }

    private func current() throws(KafkaError) -> Producer {
        guard let producer else {
            throw KafkaError(code: -1, text: "there is no producer", action: .fatal)
        }
        return producer
    }

    private func produce(
        _ records: [OutputRecord], with producer: Producer
    ) throws(KafkaError) -> StepResult {
        for record in records {
            let record = ProducerRecord(
                topic: record.topic, partition: record.partition, key: record.key,
                value: record.value, headers: record.headers.map { ($0.key, $0.value) })
            do {
                try producer.produce(record)
            } catch  where error.isQueueFull {
                // Room comes with deliveries; a second refusal is more than a full queue.
                try? producer.flush(timeoutMilliseconds: Self.stepTimeoutMilliseconds)
                do {
                    try producer.produce(record)
                } catch  where error.isQueueFull {
                    return .abort(error.description)
                }
            }
        }
        return .done
    }
}

extension TopicPartition {
    init(_ partition: Partition) {
        self.init(topic: partition.topic, partition: partition.number)
    }
}

extension Partition {
    init(_ partition: TopicPartition) {
        self.init(topic: partition.topic, number: partition.partition)
    }
}

extension [Partition: Int64] {
    fileprivate var forKafka: [TopicPartition: Int64] {
        [TopicPartition: Int64](
            uniqueKeysWithValues: map { (TopicPartition($0.key), $0.value) })
    }
}

import CRdkafka

/// Owns one `rd_kafka_topic_partition_list_t`.
final class TopicPartitionList {
    typealias Pointer = UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    let pointer: Pointer

    /// Takes over a list that librdkafka made.
    init(owning pointer: Pointer) { self.pointer = pointer }

    /// Partitions without offsets.
    convenience init(_ partitions: some Collection<TopicPartition>) {
        self.init(owning: rd_kafka_topic_partition_list_new(Int32(clamping: partitions.count)))
        for partition in partitions {
            rd_kafka_topic_partition_list_add(pointer, partition.topic, partition.partition)
        }
    }

    /// Partitions with offsets.
    convenience init(_ offsets: [TopicPartition: Int64]) {
        self.init(owning: rd_kafka_topic_partition_list_new(Int32(clamping: offsets.count)))
        for (partition, offset) in offsets {
            let element = rd_kafka_topic_partition_list_add(
                pointer, partition.topic, partition.partition)
            element?.pointee.offset = offset
        }
    }

    /// Topics alone, for subscribing.
    convenience init(topics: [String]) {
        self.init(topics.map { TopicPartition(topic: $0, partition: -1) })
    }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }

    struct Element {
        var topicPartition: TopicPartition
        var offset: Int64
        var error: rd_kafka_resp_err_t
    }

    var elements: [Element] { Self.elements(of: pointer) }

    /// Reads a list that librdkafka lends.
    static func elements(of pointer: Pointer) -> [Element] {
        (0..<Int(pointer.pointee.cnt)).map { index in
            let element = pointer.pointee.elems[index]
            return Element(
                topicPartition: TopicPartition(
                    topic: String(cString: element.topic), partition: element.partition),
                offset: element.offset, error: element.err)
        }
    }

    /// The offsets that are real ones (logical ones such as "none committed" are negative), or the
    /// first partition's error.
    func offsets(doing what: String) throws(KafkaError) -> [TopicPartition: Int64] {
        var offsets: [TopicPartition: Int64] = [:]
        for element in elements {
            if element.error != RD_KAFKA_RESP_ERR_NO_ERROR {
                throw KafkaError(element.error, doing: "\(what) of \(element.topicPartition)")
            }
            if element.offset >= 0 { offsets[element.topicPartition] = element.offset }
        }
        return offsets
    }
}

/// Who a consumer is within its group at this moment, for `Producer.sendOffsets`.
///
/// Take it fresh just before each use: after a rebalance an older one is refused.
///
/// C: `rd_kafka_consumer_group_metadata_t`.
package final class GroupMetadata {
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    deinit { rd_kafka_consumer_group_metadata_destroy(pointer) }
}

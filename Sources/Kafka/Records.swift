/// One partition of one topic.
package struct TopicPartition: Hashable, Sendable, CustomStringConvertible {
    package var topic: String
    package var partition: Int32

    package init(topic: String, partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    package var description: String { "\(topic)[\(partition)]" }
}

/// A record read from a partition, its bytes copied out of librdkafka once.
package struct ConsumedMessage: Sendable {
    package var topicPartition: TopicPartition
    package var offset: Int64
    package var key: [UInt8]?
    /// Nil is a tombstone; an empty value is an empty array.
    package var value: [UInt8]?
    /// In the order written; names may repeat.
    package var headers: [(name: String, value: [UInt8]?)]
    /// Milliseconds since 1970 UTC; nil if the record carries none.
    package var timestampMilliseconds: Int64?

    package init(
        topicPartition: TopicPartition, offset: Int64, key: [UInt8]?, value: [UInt8]?,
        headers: [(name: String, value: [UInt8]?)] = [], timestampMilliseconds: Int64? = nil
    ) {
        self.topicPartition = topicPartition
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers
        self.timestampMilliseconds = timestampMilliseconds
    }

    /// What the record weighs in a batch: key, value and header bytes.
    package var byteCount: Int {
        headers.reduce((key?.count ?? 0) + (value?.count ?? 0)) { sum, header in
            sum + header.name.utf8.count + (header.value?.count ?? 0)
        }
    }
}

/// A record to write.
package struct ProducerRecord: Sendable {
    package var topic: String
    /// Nil lets the partitioner choose by key.
    package var partition: Int32?
    package var key: [UInt8]?
    /// Nil writes a tombstone.
    package var value: [UInt8]?
    package var headers: [(name: String, value: [UInt8]?)]
    /// Milliseconds since 1970 UTC; nil is the time of producing.
    package var timestampMilliseconds: Int64?

    package init(
        topic: String, partition: Int32? = nil, key: [UInt8]?, value: [UInt8]?,
        headers: [(name: String, value: [UInt8]?)] = [], timestampMilliseconds: Int64? = nil
    ) {
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
        self.timestampMilliseconds = timestampMilliseconds
    }
}

import CRdkafka

/// The partition that producers with the partitioner `murmur2` or `murmur2_random` (as Java's)
/// give to a key.
package func murmur2Partition(ofKey key: [UInt8], count: Int) -> Int32 {
    key.withUnsafeBytes { bytes in
        // The topic is not looked at.
        rd_kafka_msg_partitioner_murmur2(
            nil, bytes.baseAddress, bytes.count, Int32(clamping: count), nil, nil)
    }
}

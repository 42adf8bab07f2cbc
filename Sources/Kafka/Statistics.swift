#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The little that is wanted of librdkafka's statistics.
enum Statistics {
    private struct Document: Decodable {
        var topics: [String: Topic]?
    }

    private struct Topic: Decodable {
        var partitions: [String: Partition]?
    }

    private struct Partition: Decodable {
        var partition: Int32
        /// With `read_committed` the last stable offset, else the end; -1001 while unknown.
        var ls_offset: Int64
    }

    /// Last stable offsets by partition; statistics that cannot be read count as none.
    static func lastStableOffsets(json: UnsafePointer<CChar>) -> [TopicPartition: Int64] {
        let bytes = UnsafeRawBufferPointer(start: json, count: length(of: json))
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(bytes)) else {
            return [:]
        }
        var offsets: [TopicPartition: Int64] = [:]
        for (name, topic) in document.topics ?? [:] {
            for partition in (topic.partitions ?? [:]).values where partition.ls_offset >= 0 {
                offsets[TopicPartition(topic: name, partition: partition.partition)] =
                    partition.ls_offset
            }
        }
        return offsets
    }

    private static func length(of text: UnsafePointer<CChar>) -> Int {
        var count = 0
        while text[count] != 0 { count += 1 }
        return count
    }
}

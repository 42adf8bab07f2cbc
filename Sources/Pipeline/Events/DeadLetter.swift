/// A record that cannot be scored: the original key, value and headers, and in further headers
/// why and where it came from. `schemas/dead-letter.v1.json` describes the headers.
package struct DeadLetter: Equatable, Sendable {
    package enum HeaderName {
        package static let reason = "uhan.reason"
        package static let error = "uhan.error"
        package static let topic = "uhan.topic"
        package static let partition = "uhan.partition"
        package static let offset = "uhan.offset"
        /// Only where the original value was too large to go along: its size in bytes.
        package static let omittedValueBytes = "uhan.omitted_value_bytes"
        static let all = [reason, error, topic, partition, offset, omittedValueBytes]
    }

    package static let maximumErrorBytes = 1_024

    package var record: Record
    package var reason: DeadLetterReason
    package var error: String

    package init(record: Record, reason: DeadLetterReason, error: String) {
        self.record = record
        self.reason = reason
        self.error = error
    }

    /// - Parameter maximumBytes: what the broker takes. A letter that would be larger leaves out
    ///   the original value, and if that is not enough the original headers, then the key; what
    ///   is left says where the original can be read.
    package func output(to topic: String, maximumBytes: Int) -> OutputRecord {
        // A letter that was sent back to the posts topic carries the headers of its first death.
        let original = record.headers.filter { !HeaderName.all.contains($0.key) }
        var text = ""
        for character in error {
            guard text.utf8.count + character.utf8.count <= Self.maximumErrorBytes else { break }
            text.append(character)
        }
        let origin = [
            header(HeaderName.reason, reason.rawValue),
            header(HeaderName.error, text),
            header(HeaderName.topic, record.partition.topic),
            header(HeaderName.partition, "\(record.partition.number)"),
            header(HeaderName.offset, "\(record.offset)"),
        ]
        var output = OutputRecord(
            topic: topic, key: record.key, value: record.value, headers: original + origin)
        if output.byteCount > maximumBytes {
            output.value = nil
            let omitted = header(HeaderName.omittedValueBytes, "\(record.value?.count ?? 0)")
            output.headers.append(omitted)
            if output.byteCount > maximumBytes {
                output.headers = origin + [omitted]
            }
            if output.byteCount > maximumBytes {
                output.key = nil
            }
        }
        return output
    }

    private func header(_ key: String, _ value: String) -> RecordHeader {
        RecordHeader(key: key, value: Array(value.utf8))
    }
}

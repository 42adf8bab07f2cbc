/// A post that cannot be scored, a view or a lesson that cannot be read: the original key, value
/// and headers, and in further headers why and where it came from.
/// `schemas/dead-letter.v1.json` describes the headers.
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
    /// A key of an event that could be read is no longer (`EventLimits.maximumIdentifierBytes`).
    static let maximumReducedKeyBytes = 256

    package var record: Record
    package var reason: DeadLetterReason
    package var error: String

    package init(record: Record, reason: DeadLetterReason, error: String) {
        self.record = record
        self.reason = reason
        self.error = error
    }

    /// - Parameter maximumBytes: what the producer takes. A letter that would be larger leaves out
    ///   the original value, and if that is not enough it is `reduced`.
    package func output(to topic: String, maximumBytes: Int) -> OutputRecord {
        // A letter that was sent back to its topic carries the headers of its first death.
        let original = record.headers.filter { !HeaderName.all.contains($0.key) }
        var text = ""
        for character in error {
            guard text.utf8.count + character.utf8.count <= Self.maximumErrorBytes else { break }
            text.append(character)
        }
        let origin = [
            Self.header(HeaderName.reason, reason.rawValue),
            Self.header(HeaderName.error, text),
            Self.header(HeaderName.topic, record.partition.topic),
            Self.header(HeaderName.partition, "\(record.partition.number)"),
            Self.header(HeaderName.offset, "\(record.offset)"),
        ]
        var output = OutputRecord(
            topic: topic, key: record.key, value: record.value, headers: original + origin)
        guard output.byteCount > maximumBytes else { return output }
        output = Self.withoutValue(output)
        return output.byteCount > maximumBytes ? Self.reduced(output) : output
    }

    /// What is left of a letter that the brokers find too large: no original value or headers, and
    /// no key but a short one. It still says why, and where the original can be read; at most
    /// about 2 KB.
    static func reduced(_ output: OutputRecord) -> OutputRecord {
        var reduced = withoutValue(output)
        reduced.headers.removeAll { !HeaderName.all.contains($0.key) }
        if let key = reduced.key, key.count > maximumReducedKeyBytes { reduced.key = nil }
        return reduced
    }

    private static func withoutValue(_ output: OutputRecord) -> OutputRecord {
        guard let value = output.value else { return output }
        var output = output
        output.value = nil
        output.headers.append(header(HeaderName.omittedValueBytes, "\(value.count)"))
        return output
    }

    private static func header(_ key: String, _ value: String) -> RecordHeader {
        RecordHeader(key: key, value: Array(value.utf8))
    }
}

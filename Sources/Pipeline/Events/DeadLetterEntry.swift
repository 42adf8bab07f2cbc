import Model

extension DeadLetter.HeaderName {
    /// On a replayed record: the letter it comes from, as topic:partition:offset.
    package static let replayedFrom = "uhan.replayed_from"
    /// Makes a record of the dead-letter topic a note: the offsets of letters of this partition
    /// that were replayed, with commas between them.
    package static let replayed = "uhan.replayed"
}

/// What a record of the dead-letter topic is.
package enum DeadLetterEntry: Equatable, Sendable {
    case letter(StoredDeadLetter)
    /// `schemas/dead-letter-replay.v1.json`: the letters at these offsets of the note's own
    /// partition were replayed, in the transaction that wrote the note.
    case replayed(offsets: [Int64])
    /// Not written by uhan.
    case foreign

    package init(_ record: Record) {
        if let letter = StoredDeadLetter(record) {
            self = .letter(letter)
        } else if record.header(DeadLetter.HeaderName.reason) == nil,
            let offsets = record.header(DeadLetter.HeaderName.replayed).flatMap(Self.offsets)
        {
            self = .replayed(offsets: offsets)
        } else {
            self = .foreign
        }
    }

    /// The note about these letters of a partition.
    package static func note(
        replayed offsets: [Int64], of partition: Partition
    ) -> OutputRecord {
        let text = offsets.map(String.init).joined(separator: ",")
        return OutputRecord(
            topic: partition.topic, partition: partition.number, key: nil, value: nil,
            headers: [RecordHeader(key: DeadLetter.HeaderName.replayed, value: Array(text.utf8))])
    }

    private static func offsets(_ text: String) -> [Int64]? {
        var offsets: [Int64] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let offset = Int64(part), offset >= 0 else { return nil }
            offsets.append(offset)
        }
        return offsets
    }
}

/// A dead letter as it stands on its topic: `DeadLetter.output`, read back.
package struct StoredDeadLetter: Equatable, Sendable {
    /// As read: key and value are the original's, if it was not too large.
    package let record: Record
    /// A `DeadLetterReason`, or that of another version of uhan.
    package let reason: String
    package let error: String
    /// Where the original was read.
    package let origin: Partition
    package let originOffset: Int64
    /// The size of an original value that was too large to go along.
    package let omittedValueBytes: Int?

    /// Nil where a header is missing that every letter has.
    init?(_ record: Record) {
        guard let reason = record.header(DeadLetter.HeaderName.reason),
            let topic = record.header(DeadLetter.HeaderName.topic), !topic.isEmpty,
            let number = record.header(DeadLetter.HeaderName.partition).flatMap({ Int32($0) }),
            let offset = record.header(DeadLetter.HeaderName.offset).flatMap({ Int64($0) }),
            number >= 0, offset >= 0
        else { return nil }
        self.record = record
        self.reason = reason
        error = record.header(DeadLetter.HeaderName.error) ?? ""
        origin = Partition(topic: topic, number: number)
        originOffset = offset
        let omitted = record.header(DeadLetter.HeaderName.omittedValueBytes)
        omittedValueBytes = omitted.map { Int($0) ?? 0 }
    }

    /// The letter that the original was replayed from, if it was: topic:partition:offset.
    package var replayedFrom: String? { record.header(DeadLetter.HeaderName.replayedFrom) }

    /// Whose post or view the original is, as far as it can be read.
    package var identifiers: (uid: String?, pid: String?) {
        guard let value = record.value, case .object(let event)? = try? JSONValue(parsing: value)
        else { return (nil, nil) }
        func text(_ name: String) -> String? {
            switch event[name] {
            case .string(let text), .number(let text): text
            default: nil
            }
        }
        return (text("uid"), text("pid"))
    }

    /// The original, to be produced again where it was read: its key, value and headers, and one
    /// header more, which names this letter. Nil where its value did not go along.
    package var original: OutputRecord? {
        guard omittedValueBytes == nil else { return nil }
        let added = DeadLetter.HeaderName.all + [DeadLetter.HeaderName.replayedFrom]
        let place = "\(record.partition.topic):\(record.partition.number):\(record.offset)"
        return OutputRecord(
            topic: origin.topic, partition: origin.number, key: record.key, value: record.value,
            headers: record.headers.filter { header in !added.contains(header.key) } + [
                RecordHeader(
                    key: DeadLetter.HeaderName.replayedFrom, value: Array(place.utf8))
            ])
    }
}

extension Record {
    /// The last header of this name: what the letter's writer has added stands behind the
    /// original's own.
    fileprivate func header(_ name: String) -> String? {
        headers.last { $0.key == name }?.value.map { String(decoding: $0, as: UTF8.self) }
    }
}

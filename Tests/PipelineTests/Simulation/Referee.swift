import Pipeline

/// Knows which records went in, and judges what becomes visible.
struct Referee {
    struct Place: Hashable, Comparable {
        var partition: Partition
        var offset: Int64

        static func < (left: Place, right: Place) -> Bool {
            (left.partition, left.offset) < (right.partition, right.offset)
        }
    }

    private let delivery: Delivery
    private var expected: [Place: Record] = [:]
    /// How often each record's output has become visible.
    private var visible: [Place: Int] = [:]
    private var lastVisible: [Partition: Int64] = [:]

    init(delivery: Delivery) {
        self.delivery = delivery
    }

    mutating func expect(_ record: Record) {
        expected[Place(partition: record.partition, offset: record.offset)] = record
    }

    var isComplete: Bool { visible.count == expected.count }

    var missing: String {
        "\(expected.keys.filter { visible[$0] == nil }.sorted())"
    }

    mutating func judge(_ news: SimulatedBroker.News) -> Violation? {
        switch news {
        case .visible(let outputs):
            for output in outputs {
                if let found = judge(output) { return found }
            }
        case .committed(let offsets):
            for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
                let passed = expected.keys.filter {
                    $0.partition == partition && $0.offset < offset && visible[$0] == nil
                }
                if let place = passed.min() {
                    return Violation(kind: .lost, text: "\(offset) is committed past \(place)")
                }
            }
        }
        return nil
    }

    private mutating func judge(_ output: OutputRecord) -> Violation? {
        // Lessons and the records of the learning state are another referee's; the last answers are
        // judged in the end.
        guard output.partition == nil, output.topic != "latest" else { return nil }
        guard let place = Self.place(of: output), let record = expected[place] else {
            return Violation(kind: .wrongOutput, text: "\(output)")
        }
        guard output.key == record.key || output.topic == "scores" else {
            return Violation(kind: .wrongOutput, text: "another key for \(place)")
        }
        let isWhole = output.value == record.value
        guard output.topic == "scores" || isWhole || Self.saysWhatIsOmitted(output, record) else {
            return Violation(kind: .wrongOutput, text: "another value for \(place)")
        }
        let isNew = visible[place] == nil
        visible[place, default: 0] += 1
        switch delivery {
        case .exactlyOnce where !isNew:
            return Violation(kind: .duplicate, text: "\(place) once more")
        case .atLeastOnce where !isNew || (output.topic != "scores" && !isWhole):
            // What a broker refused comes after what followed it.
            return nil
        default: break
        }
        if let last = lastVisible[place.partition], last > place.offset {
            return Violation(kind: .order, text: "\(place) after \(last)")
        }
        lastVisible[place.partition] = place.offset
        return nil
    }

    /// In a partition of an output topic, each key's records come in the order of the input. (At
    /// least once this holds for each first appearance, which `judge` sees; a stretch that is done
    /// again may put in another topic what failed the first time.)
    func judgeOrder(ofLog records: [OutputRecord]) -> Violation? {
        guard delivery == .exactlyOnce else { return nil }
        var last: [[UInt8]: Place] = [:]
        for record in records {
            guard let place = Self.place(of: record) else { continue }
            let key = record.key ?? []
            if let before = last[key], before.partition == place.partition, place < before {
                return Violation(kind: .order, text: "\(place) after \(before) in the log")
            }
            last[key] = place
        }
        return nil
    }

    /// The last answer to each post is the last of its scores.
    func judgeLatest(of records: [OutputRecord]) -> Violation? {
        guard delivery == .exactlyOnce else { return nil }
        var (scores, latest): ([String: [UInt8]], [String: [UInt8]]) = ([:], [:])
        for record in records {
            switch record.topic {
            case "scores":
                guard let value = record.value, let event = try? ScoreEvent(parsing: value)
                else { continue }
                scores[#"["\#(event.uid)","\#(event.pid)"]"#] = value
            case "latest": latest[String(decoding: record.key ?? [], as: UTF8.self)] = record.value
            default: break
            }
        }
        guard !latest.isEmpty, latest != scores else { return nil }
        let wrong = scores.keys.sorted().first { latest[$0] != scores[$0] }
        return Violation(kind: .wrongOutput, text: "the last answer to \(wrong ?? "another post")")
    }

    func judgeCount(of records: [OutputRecord]) -> Violation? {
        var counts: [Place: Int] = [:]
        for record in records {
            guard let place = Self.place(of: record) else { continue }
            counts[place, default: 0] += 1
        }
        for place in expected.keys.sorted() {
            switch counts[place, default: 0] {
            case 0: return Violation(kind: .lost, text: "nothing to read for \(place)")
            case 1: break
            default:
                if delivery == .exactlyOnce {
                    return Violation(kind: .duplicate, text: "\(place) can be read twice")
                }
            }
        }
        return nil
    }

    private static func saysWhatIsOmitted(_ output: OutputRecord, _ record: Record) -> Bool {
        let size = output.headers.last { $0.key == DeadLetter.HeaderName.omittedValueBytes }?.value
        return output.value == nil && size == Array("\(record.value?.count ?? 0)".utf8)
    }

    private static func place(of output: OutputRecord) -> Place? {
        if output.topic == "scores" {
            guard let value = output.value, let event = try? ScoreEvent(parsing: value) else {
                return nil
            }
            return Place(
                partition: Partition(
                    topic: event.origin.topic, number: event.origin.partition),
                offset: event.origin.offset)
        }
        func header(_ name: String) -> String? {
            output.headers.last { $0.key == name }?.value.map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        guard let topic = header(DeadLetter.HeaderName.topic),
            let partition = header(DeadLetter.HeaderName.partition).flatMap({ Int32($0) }),
            let offset = header(DeadLetter.HeaderName.offset).flatMap({ Int64($0) })
        else { return nil }
        return Place(partition: Partition(topic: topic, number: partition), offset: offset)
    }
}

import Model
import Pipeline
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The schemas, their samples and the code say the same.
@Suite struct SchemaTests {
    private static let folder: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/") + "/schemas"
    }()

    private static func bytes(_ path: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(path)")))
    }

    private static func schema(_ name: String) throws -> JSONSchema {
        JSONSchema(try JSONValue(parsing: bytes("\(name).json")))
    }

    private static func samples(_ schema: String, in subfolder: String) throws -> [String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(subfolder)")
            .filter { $0.hasPrefix(schema) && $0.hasSuffix(".json") }.sorted()
        #expect(!names.isEmpty, "no samples of \(schema) in \(subfolder)")
        return names.map { "\(subfolder)/\($0)" }
    }

    @Test func samplePostsAreReadAndValidate() throws {
        let schema = try Self.schema("post.v1")
        for name in try Self.samples("post.v1", in: "samples") {
            let bytes = try Self.bytes(name)
            #expect(schema.errors(in: try JSONValue(parsing: bytes)) == [], "\(name)")
            let source: PostEvent.Source = name.hasSuffix(".file.json") ? .file : .topic
            #expect(throws: Never.self, "\(name)") {
                try PostEvent(parsing: bytes, from: source)
            }
        }
        let post = try PostEvent(
            parsing: Self.bytes("samples/post.v1.url.json"), from: .topic)
        #expect(post.uid == "25893@N22")
        #expect(post.tags == "blackandwhite bw reflection berlin wet rain symmetry")
        #expect(post.image == .url("https://images.example.org/565381.jpg"))
        #expect(post.scoreBy == 1_457_274_248.5)
        let inline = try PostEvent(
            parsing: Self.bytes("samples/post.v1.inline.json"), from: .topic)
        guard case .inline(let image) = inline.image else {
            Issue.record("no inline image")
            return
        }
        #expect(image.starts(with: [0xFF, 0xD8]) && image.suffix(2) == [0xFF, 0xD9])
    }

    @Test func refusedPostsAreRefusedByBoth() throws {
        let schema = try Self.schema("post.v1")
        for name in try Self.samples("post.v1", in: "samples/refused") {
            let bytes = try Self.bytes(name)
            #expect(!schema.errors(in: try JSONValue(parsing: bytes)).isEmpty, "\(name)")
            #expect(throws: EventError.self, "\(name)") {
                try PostEvent(parsing: bytes, from: .file)
            }
        }
    }

    @Test func sampleScoresAreWhatIsWritten() throws {
        let schema = try Self.schema("score.v1")
        for name in try Self.samples("score.v1", in: "samples") {
            let sample = try JSONValue(parsing: Self.bytes(name))
            #expect(schema.errors(in: sample) == [], "\(name)")
            let event = try ScoreEvent(parsing: Self.bytes(name))
            #expect(try JSONValue(parsing: event.json) == sample, "\(name)")
        }
    }

    @Test func everyScoreThatCanBeWrittenValidates() throws {
        let schema = try Self.schema("score.v1")
        let grid = ScoreAttention.Grid(rows: 2, columns: 2, weights: [0.1, 0.2, 0.3, 0.4])
        var flagSets: [Set<ScoreFlag>] = ScoreFlag.allCases.map { [$0] }
        flagSets += [[], Set(ScoreFlag.allCases)]
        for flags in flagSets {
            for image in [nil, grid] {
                for expected in [nil, 12.5 as Float] {
                    let scoring = Scoring(
                        score: -3e-8, expectedViewsPerDay: expected, model: "m",
                        userVector: "unknown", flags: flags,
                        attention: ScoreAttention(
                            words: image == nil ? [] : [.init("a", 1)], image: image,
                            textWeight: 0, imageWeight: 1))
                    let event = ScoreEvent(
                        pid: "p", uid: "u",
                        outcome: .scored(
                            .init(scoring, isRepeat: true, timings: ScoreEvent.Timings())),
                        eventTime: expected == nil ? nil : 1, scoredAt: 2,
                        origin: .init(topic: "posts", partition: 0, offset: 0))
                    #expect(schema.errors(in: try JSONValue(parsing: event.json)) == [])
                }
            }
        }
    }

    /// No parser may crash, whatever a byte is replaced by.
    @Test func damagedEventsAreReadOrRefused() throws {
        var generator = SplitMix64(seed: 4)
        var refused = 0
        let names = try [
            "post.v1", "score.v1", "view.v1", "lesson.v1", "scored-post.v1", "user.v1",
        ]
        .flatMap { try Self.samples($0, in: "samples") }
        for name in names {
            let sample = try Self.bytes(name)
            for _ in 0..<1_000 {
                var bytes = sample
                for _ in 0...generator.next() % 3 {
                    let index = Int(generator.next() % UInt64(bytes.count))
                    bytes[index] = UInt8(truncatingIfNeeded: generator.next())
                }
                do throws(EventError) {
                    _ = try PostEvent(parsing: bytes, from: .file)
                } catch {
                    refused += 1
                    #expect(!error.description.isEmpty)
                }
                _ = try? ScoreEvent(parsing: bytes)
                _ = try? ViewEvent(parsing: bytes)
                _ = try? Lesson(parsing: bytes)
                _ = try? ScoredPost(parsing: bytes)
                _ = try? LearnerState(parsing: bytes)
            }
        }
        #expect(refused > 1_000)
    }

    @Test func scoresThatLackSomethingDoNotValidate() throws {
        let schema = try Self.schema("score.v1")
        for name in try Self.samples("score.v1", in: "samples/refused") {
            #expect(!schema.errors(in: try JSONValue(parsing: Self.bytes(name))).isEmpty)
            #expect(throws: JSONError.self) { try ScoreEvent(parsing: Self.bytes(name)) }
        }
        guard
            case .object(let members) = try JSONValue(
                parsing: Self.bytes("samples/score.v1.scored.json"))
        else {
            Issue.record("no object")
            return
        }
        for name in members.keys
        where !["event_time", "expected_views_per_day"].contains(name.string) {
            var rest = members
            rest[name] = nil
            #expect(!schema.errors(in: .object(rest)).isEmpty, "without \(name)")
        }
    }

    @Test func sampleViewsAreReadAndValidate() throws {
        let schema = try Self.schema("view.v1")
        for name in try Self.samples("view.v1", in: "samples") {
            #expect(schema.errors(in: try JSONValue(parsing: Self.bytes(name))) == [], "\(name)")
            let view = try ViewEvent(parsing: Self.bytes(name))
            #expect(
                view
                    == ViewEvent(
                        pid: "565381", uid: "25893@N22", views: 630, observedAt: 1_457_363_948))
            #expect(schema.errors(in: try JSONValue(parsing: view.json)) == [])
        }
        for name in try Self.samples("view.v1", in: "samples/refused") {
            let bytes = try Self.bytes(name)
            #expect(!schema.errors(in: try JSONValue(parsing: bytes)).isEmpty, "\(name)")
            #expect(throws: EventError.self, "\(name)") { try ViewEvent(parsing: bytes) }
        }
    }

    /// Of a record that is written here: its samples are what is written, anything that can be
    /// written validates, and what must be there is missed by the schema and by the code.
    private func check(
        _ name: String, optional: Set<String>, written: [[UInt8]],
        rewrite: ([UInt8]) throws -> [UInt8]
    ) throws {
        let schema = try Self.schema(name)
        for sample in try Self.samples(name, in: "samples") {
            let bytes = try Self.bytes(sample)
            let value = try JSONValue(parsing: bytes)
            #expect(schema.errors(in: value) == [], "\(sample)")
            #expect(try JSONValue(parsing: rewrite(bytes)) == value, "\(sample)")
            guard case .object(let members) = value else { continue }
            for member in members.keys where !optional.contains(member.string) {
                var rest = members
                rest[member] = nil
                #expect(!schema.errors(in: .object(rest)).isEmpty, "without \(member)")
                #expect(throws: (any Error).self, "\(sample) without \(member)") {
                    try rewrite(Self.text(.object(rest)))
                }
            }
        }
        for sample in try Self.samples(name, in: "samples/refused") {
            let bytes = try Self.bytes(sample)
            #expect(!schema.errors(in: try JSONValue(parsing: bytes)).isEmpty, "\(sample)")
            #expect(throws: (any Error).self, "\(sample)") { try rewrite(bytes) }
        }
        for bytes in written {
            #expect(schema.errors(in: try JSONValue(parsing: bytes)) == [])
        }
    }

    /// The value as JSON again; no string of the samples needs an escape.
    private static func text(_ value: JSONValue) -> [UInt8] {
        func text(_ value: JSONValue) -> String {
            switch value {
            case .null: "null"
            case .bool(let bool): "\(bool)"
            case .number(let digits): digits
            case .string(let string): "\"\(string)\""
            case .array(let elements): "[\(elements.map(text).joined(separator: ","))]"
            case .object(let members):
                "{\(members.map { "\"\($0.string)\":\(text($1))" }.joined(separator: ","))}"
            }
        }
        return Array(text(value).utf8)
    }

    @Test func lessonsAreWhatTheirSchemaSays() throws {
        var random = RandomState(seed: 7)
        try check(
            "lesson.v1", optional: ["horizon", "user_mean"],
            written: (0..<100).map { _ in Lesson.label(random.joinedLabel()).json },
            rewrite: { try Lesson(parsing: $0).json })
    }

    @Test func scoredPostsAreWhatTheirSchemaSays() throws {
        var random = RandomState(seed: 8)
        try check(
            "scored-post.v1", optional: ["user_mean"],
            written: (0..<100).map { _ in random.scoredPost().json },
            rewrite: { try ScoredPost(parsing: $0).json })
    }

    @Test func usersAreWhatTheirSchemaSays() throws {
        var random = RandomState(seed: 9)
        try check(
            "user.v1", optional: ["update_tried_at"],
            written: (0..<100).map { _ in random.learner().json },
            rewrite: { try LearnerState(parsing: $0).json })
    }

    @Test func deadLettersHaveTheHeadersOfTheirSchema() throws {
        let schema = try Self.schema("dead-letter.v1")
        let sample = try JSONValue(parsing: Self.bytes("samples/dead-letter.v1.json"))
        #expect(schema.errors(in: sample) == [])
        let record = Record(
            partition: Partition(topic: "posts", number: 3), offset: 1843, key: nil,
            value: [UInt8](repeating: 0, count: 5_000))
        for reason in DeadLetterReason.allCases {
            for maximumBytes in [1_000, 10_000] {
                let output = DeadLetter(record: record, reason: reason, error: "text")
                    .output(to: "dead", maximumBytes: maximumBytes)
                let headers = output.headers.map {
                    (
                        CodePoints($0.key),
                        JSONValue.string(String(decoding: $0.value ?? [], as: UTF8.self))
                    )
                }
                let object = JSONValue.object(Dictionary(uniqueKeysWithValues: headers))
                #expect(schema.errors(in: object) == [], "\(reason)")
            }
        }
        // And the schema knows no reason that the code does not.
        guard case .object(let root) = try JSONValue(parsing: Self.bytes("dead-letter.v1.json")),
            case .object(let properties) = root["properties"],
            case .object(let reason) = properties["uhan.reason"],
            case .array(let values) = reason["enum"]
        else {
            Issue.record("no reasons")
            return
        }
        #expect(values.map(\.text) == DeadLetterReason.allCases.map(\.rawValue))
    }

    @Test func replaysOfDeadLettersAreWhatTheirSchemaSays() throws {
        let schema = try Self.schema("dead-letter-replay.v1")
        let sample = try JSONValue(parsing: Self.bytes("samples/dead-letter-replay.v1.json"))
        #expect(schema.errors(in: sample) == [])
        let dead = Partition(topic: "dead", number: 2)
        let note = DeadLetterEntry.note(replayed: [17, 19, 23], of: dead)
        #expect(note.topic == "dead" && note.partition == 2)
        let headers = note.headers.map {
            (
                CodePoints($0.key),
                JSONValue.string(String(decoding: $0.value ?? [], as: UTF8.self))
            )
        }
        #expect(JSONValue.object(Dictionary(uniqueKeysWithValues: headers)) == sample)
        func entry(_ output: OutputRecord) -> DeadLetterEntry {
            DeadLetterEntry(
                Record(
                    partition: dead, offset: 40, key: output.key, value: output.value,
                    headers: output.headers))
        }
        #expect(entry(note) == .replayed(offsets: [17, 19, 23]))

        // A letter is told from a note, whatever its original carries, and gives it back.
        let own = [
            RecordHeader(key: "uhan.replayed", value: Array("17".utf8)),
            RecordHeader(key: "empty", value: nil),
        ]
        let original = Record(
            partition: Partition(topic: "posts", number: 3), offset: 5, key: [1], value: [2],
            headers: own)
        let letter = DeadLetter(record: original, reason: .imageUnavailable, error: "gone")
            .output(to: "dead", maximumBytes: 10_000)
        guard case .letter(let stored) = entry(letter) else {
            Issue.record("no letter")
            return
        }
        #expect(
            stored.original
                == OutputRecord(
                    topic: "posts", partition: 3, key: [1], value: [2],
                    headers: own + [
                        RecordHeader(
                            key: "uhan.replayed_from", value: Array("dead:2:40".utf8))
                    ]))
        let cut = DeadLetter(record: original, reason: .imageUnavailable, error: "gone")
            .output(to: "dead", maximumBytes: 10)
        guard case .letter(let reduced) = entry(cut) else {
            Issue.record("no letter")
            return
        }
        #expect(reduced.original == nil && reduced.omittedValueBytes == 1)
        #expect(
            entry(OutputRecord(topic: "dead", key: nil, value: nil, headers: [])) == .foreign)
    }
}

import Foundation
import Kafka
import Testing

/// What an operator does with dead letters, on a broker.
@Suite struct DeadLettersCommandTests {
    /// A broker with letters of two reasons: two posts whose images could not be had, one post that
    /// is not JSON and is no text, one whose value was too large to go along, one from a topic of
    /// somebody else's.
    private struct Stage {
        let folder: Folder
        let broker: EmbeddedBroker
        let settings: String

        init() throws {
            folder = try Folder()
            broker = try EmbeddedBroker()
            for topic in ["posts", "dead-letters"] {
                try broker.createTopic(topic, partitions: 2)
            }
            settings = try folder.write(
                """
                model: \(folder.file("model"))
                kafka:
                  bootstrap: \(broker.bootstrapServers)
                  properties:
                    fetch.wait.max.ms: "20"
                """, to: "uhan.yaml")
            try letter(0, "ann", Array(#"{"uid": "ann", "pid": "a1"}"#.utf8), from: "posts", 1, 5)
            try letter(
                0, "ann", [0xFF, 0x00], from: "posts", 1, 6, reason: "malformed_event",
                error: "found byte 0xFF")
            try letter(
                1, "bob", nil, from: "posts", 0, 7, reason: "event_too_large",
                more: [("uhan.omitted_value_bytes", "3000000")])
            try letter(1, "bob", Array(#"{"uid": "bob", "pid": "b1"}"#.utf8), from: "posts", 0, 8)
            try letter(1, "eve", Array("{}".utf8), from: "payments", 0, 9)
        }

        private func letter(
            _ partition: Int32, _ key: String, _ value: [UInt8]?, from topic: String,
            _ origin: Int, _ offset: Int, reason: String = "image_unavailable",
            error: String = "host down", more: [(String, String)] = []
        ) throws {
            let headers =
                [
                    ("trace", "t-\(offset)"), ("uhan.reason", reason), ("uhan.error", error),
                    ("uhan.topic", topic), ("uhan.partition", "\(origin)"),
                    ("uhan.offset", "\(offset)"),
                ] + more
            try produce(
                ProducerRecord(
                    topic: "dead-letters", partition: partition, key: Array(key.utf8),
                    value: value, headers: headers.map { ($0.0, Array($0.1.utf8)) }))
        }

        func produce(_ record: ProducerRecord) throws {
            let producer = try Producer(
                configuration: ClientConfiguration(bootstrapServers: broker.bootstrapServers))
            try producer.produce(record)
            try producer.flush(timeoutMilliseconds: 10_000)
        }

        func dlq(_ arguments: String...) async throws -> Program.Ending {
            try await Program.run(["dlq"] + arguments + ["--config", settings])
        }

        /// All records of a topic, partition by partition.
        func records(_ topic: String) throws -> [ConsumedMessage] {
            var found: [ConsumedMessage] = []
            for partition in 0..<Int32(2) {
                _ = try LogReader(
                    configuration: ClientConfiguration(bootstrapServers: broker.bootstrapServers)
                ).read(
                    [TopicPartition(topic: topic, partition: partition): nil],
                    stallTimeoutMilliseconds: 10_000
                ) { event in
                    if case .record(let message) = event { found.append(message) }
                }
            }
            return found
        }
    }

    private struct Line: Decodable {
        struct Origin: Decodable, Equatable {
            let topic: String
            let partition: Int
            let offset: Int
        }
        struct Header: Decodable {
            let name: String
            let value: String?
        }
        let partition: Int
        let offset: Int
        let reason: String
        let origin: Origin
        let time: Double?
        let error: String?
        let uid: String?
        let pid: String?
        let value_bytes: Int?
        let omitted_value_bytes: Int?
        let replayed: Bool?
        let replayed_from: String?
        let outcome: String?
        let why: String?
        let headers: [Header]?
        let key: String?
        let value: String?
        let value_base64: String?

        var place: String { "\(partition):\(offset)" }
    }

    private func lines(_ ending: Program.Ending) throws -> [Line] {
        try ending.outputLines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    private func text(_ message: ConsumedMessage, _ header: String) -> String? {
        message.headers.last { $0.name == header }?.value.map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    // MARK: - Looking

    @Test func lettersAreListed() async throws {
        let stage = try Stage()
        let ending = try await stage.dlq("list")
        #expect(ending.status == 0 && ending.errors == "", "\(ending)")
        let all = try lines(ending)
        #expect(all.map(\.place) == ["0:0", "0:1", "1:0", "1:1", "1:2"])
        #expect(all[0].origin == Line.Origin(topic: "posts", partition: 1, offset: 5))
        #expect(all[0].uid == "ann" && all[0].pid == "a1" && all[0].error == "host down")
        #expect(all[1].uid == nil && all[1].value_bytes == 2)
        #expect(all[2].value_bytes == nil && all[2].omitted_value_bytes == 3_000_000)
        #expect(all.allSatisfy { $0.replayed == false })

        let some = try await stage.dlq("list", "--reason", "image_unavailable", "--limit", "2")
        #expect(try lines(some).map(\.place) == ["0:0", "1:1"], "\(some)")
        let none = try await stage.dlq("list", "--since", "2100-01-01T00:00:00Z")
        #expect(none.status == 0 && none.output == "", "\(none)")
        let then = try #require(all[0].time)
        let since = try await stage.dlq("list", "--since", "\(then)", "--limit", "1")
        #expect(try lines(since).map(\.place) == ["0:0"], "\(since)")

        let summary = try await stage.dlq("list", "--summary")
        #expect(
            summary.outputLines == [
                #"{"letters":1,"reason":"event_too_large","replayed":0}"#,
                #"{"letters":3,"reason":"image_unavailable","replayed":0}"#,
                #"{"letters":1,"reason":"malformed_event","replayed":0}"#,
            ], "\(summary)")
    }

    @Test func aLetterIsShownWhole() async throws {
        let stage = try Stage()
        let ending = try await stage.dlq("show", "0:0")
        let shown = try #require(try lines(ending).first, "\(ending)")
        #expect(shown.key == "ann" && shown.value == #"{"uid": "ann", "pid": "a1"}"#)
        #expect(shown.headers?.first?.name == "trace" && shown.headers?.first?.value == "t-5")
        #expect(shown.headers?.count == 6)

        let binary = try await stage.dlq("show", "0:1")
        let line = try #require(try lines(binary).first, "\(binary)")
        #expect(line.value == nil && line.value_base64 == "/wA=")
        let raw = try await Program.shell(
            "$UHAN dlq show 0:1 --value --config \(stage.settings) | od -An -tx1")
        #expect(raw.output == " ff 00\n", "\(raw)")

        let omitted = try await stage.dlq("show", "1:0", "--value")
        #expect(omitted.status == 1 && omitted.output == "")
        #expect(omitted.errors.contains("look at posts[0] offset 7"), "\(omitted)")
        for place in ["0:2", "7:0"] {
            let missing = try await stage.dlq("show", place)
            #expect(missing.status == 1)
            #expect(missing.errors.contains("there is no dead letter at \(place)"), "\(missing)")
        }
    }

    // MARK: - Trying again

    @Test func aLetterIsReplayedOnce() async throws {
        let stage = try Stage()
        let dry = try await stage.dlq("replay", "--reason", "image_unavailable", "--dry-run")
        #expect(
            try lines(dry).map(\.outcome) == [
                "would_be_replayed", "would_be_replayed", "not_replayable",
            ], "\(dry)")
        #expect(try stage.records("posts").isEmpty)
        #expect(try stage.records("dead-letters").count == 5)

        let first = try await stage.dlq("replay", "--reason", "image_unavailable", "--yes")
        #expect(first.status == 2, "\(first)")
        #expect(first.errors.contains("2 were replayed; 1 cannot be"), "\(first)")
        let outcomes = Dictionary(
            uniqueKeysWithValues: try lines(first).map { ($0.place, $0) })
        #expect(outcomes["0:0"]?.outcome == "replayed")
        #expect(outcomes["1:1"]?.outcome == "replayed")
        #expect(outcomes["1:2"]?.why?.contains("'payments'") == true)

        // What was read, where it was read, and where it comes from.
        let posts = try stage.records("posts")
        #expect(posts.map(\.topicPartition.partition) == [0, 1])
        #expect(posts.map(\.key) == [Array("bob".utf8), Array("ann".utf8)])
        #expect(posts[1].value == Array(#"{"uid": "ann", "pid": "a1"}"#.utf8))
        #expect(posts[1].headers.map(\.name) == ["trace", "uhan.replayed_from"])
        #expect(text(posts[1], "trace") == "t-5")
        #expect(text(posts[1], "uhan.replayed_from") == "dead-letters:0:0")
        #expect(text(posts[0], "uhan.replayed_from") == "dead-letters:1:1")

        let second = try await stage.dlq("replay", "--reason", "image_unavailable", "--yes")
        #expect(second.errors.contains("0 were replayed; 2 were before"), "\(second)")
        let one = try await stage.dlq("replay", "--at", "0:0", "--yes")
        #expect(one.status == 0 && one.output == "", "\(one)")
        #expect(try stage.records("posts").count == 2)
        let listed = try await stage.dlq("list")
        #expect(
            try lines(listed).map(\.replayed) == [true, false, false, true, false], "\(listed)")
        let summary = try await stage.dlq("list", "--summary", "--reason", "image_unavailable")
        #expect(
            summary.output
                == #"{"letters":3,"reason":"image_unavailable","replayed":2}"# + "\n",
            "\(summary)")

        let again = try await stage.dlq("replay", "--at", "0:0", "--again", "--yes")
        #expect(again.status == 0 && again.errors.contains("1 were replayed"), "\(again)")
        #expect(try stage.records("posts").count == 3)
    }

    @Test func aLetterWithoutItsValueIsNotReplayed() async throws {
        let stage = try Stage()
        let ending = try await stage.dlq("replay", "--at", "1:0", "--at", "0:1", "--yes")
        #expect(ending.status == 2, "\(ending)")
        let said = try lines(ending)
        #expect(Set(said.map(\.outcome)) == ["replayed", "not_replayable"])
        let refused = said.first { $0.outcome == "not_replayable" }
        #expect(refused?.why?.contains("3000000 bytes") == true)
        #expect(refused?.why?.contains("posts[0] offset 7") == true)
        #expect(try stage.records("posts").map(\.value) == [[0xFF, 0x00]])
    }

    @Test func theLimitIsKeptAndTheRestFollows() async throws {
        let stage = try Stage()
        let options = ["replay", "--reason", "image_unavailable", "--limit", "1", "--yes"]
        for expected in 1...2 {
            let ending = try await Program.run(["dlq"] + options + ["--config", stage.settings])
            #expect(ending.errors.contains("1 were replayed"), "\(ending)")
            #expect(try stage.records("posts").count == expected)
        }
    }

    /// An original may carry the header of a note: its letter remains a letter.
    @Test func nobodyMarksALetterFromOutside() async throws {
        let stage = try Stage()
        try stage.produce(
            ProducerRecord(
                topic: "dead-letters", partition: 0, key: nil, value: nil,
                headers: [
                    ("uhan.replayed", Array("0".utf8)),
                    ("uhan.reason", Array("empty_value".utf8)), ("uhan.error", []),
                    ("uhan.topic", Array("posts".utf8)), ("uhan.partition", Array("1".utf8)),
                    ("uhan.offset", Array("9".utf8)),
                ]))
        let listed = try await stage.dlq("list", "--reason", "image_unavailable")
        #expect(try lines(listed).allSatisfy { $0.replayed == false }, "\(listed)")
        let summary = try await stage.dlq("list", "--summary", "--reason", "empty_value")
        #expect(summary.output.contains(#""letters":1"#), "\(summary)")
    }

    @Test func nothingIsReplayedUnasked() async throws {
        let stage = try Stage()
        let ending = try await stage.dlq("replay", "--reason", "image_unavailable")
        #expect(ending.status == 1 && ending.output == "")
        #expect(ending.errors.contains("nobody to ask: say --yes"), "\(ending)")
        #expect(try stage.records("posts").isEmpty)
    }

    @Test(arguments: [
        (["replay"], "say which: --reason or --at"),
        (["replay", "--reason", "bad_luck"], "bad_luck"),
        (["replay", "--at", "3"], "--at"),
        (["replay", "--at", "0:1", "--limit", "0"], "--limit"),
        (["list", "--since", "yesterday"], "--since"),
        (["show"], "<place>"),
    ])
    func wrongUseIsNamed(arguments: [String], says: String) async throws {
        let ending = try await Program.run(["dlq"] + arguments)
        #expect(ending.status == 64)
        #expect(ending.errors.contains(says), "\(ending)")
    }
}

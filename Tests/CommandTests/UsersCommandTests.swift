import Foundation
import Kafka
import Model
import Testing

/// What an operator does with users, with a broker and the daemon as they are.
@Suite struct UsersCommandTests {
    /// A broker, the daemon's settings and its topics.
    private struct Stage {
        let folder: Folder
        let broker: EmbeddedBroker
        let settings: String
        private let producer: Producer
        /// The embedded broker lets a group wait almost as long as a session when a member has left.
        private static let sessionMilliseconds = 3_000
        private let start = Int(Date.now.timeIntervalSince1970) - 14_400

        init() async throws {
            folder = try Folder()
            broker = try EmbeddedBroker()
            for topic in [
                "posts", "views", "lessons", "users", "joins", "scores", "dead-letters",
            ] {
                try broker.createTopic(topic, partitions: 2)
            }
            producer = try Producer(
                configuration: ClientConfiguration(bootstrapServers: broker.bootstrapServers))
            settings = try folder.write(
                """
                model: \(try await TinyModel.make(in: folder))
                threads: 1
                kafka:
                  bootstrap: \(broker.bootstrapServers)
                  group_instance_id: ""
                  transactional_id: uhan
                  properties:
                    fetch.wait.max.ms: "20"
                    session.timeout.ms: "\(Self.sessionMilliseconds)"
                    heartbeat.interval.ms: "500"
                learning:
                  enabled: true
                  state_folder: \(folder.file("state"))
                batch:
                  interval_milliseconds: 20
                log:
                  format: text
                """, to: "uhan.yaml")
        }

        func daemon() throws -> RunningProgram {
            try RunningProgram(Program.path, ["serve", "--config", settings])
        }

        /// Ends the daemon, and commits once more what it has committed: the embedded broker forgets the
        /// offsets of transactions.
        func end(_ daemon: RunningProgram) async throws {
            daemon.send(SIGTERM)
            #expect(try await daemon.ended().status == 0)
            let group = try Consumer(
                configuration: ClientConfiguration(
                    bootstrapServers: broker.bootstrapServers,
                    properties: [
                        "group.id": "uhan", "session.timeout.ms": "\(Self.sessionMilliseconds)",
                        "heartbeat.interval.ms": "500",
                    ])
            ) { _, _ in [:] }
            // It takes them from members alone.
            try group.subscribe(topics: ["posts", "views", "lessons"])
            let start = Date.now
            while group.assignment.isEmpty {
                try #require(Date.now.timeIntervalSince(start) < Program.patience)
                _ = try group.poll(timeoutMilliseconds: 50)
            }
            var offsets: [TopicPartition: Int64] = [:]
            for partition in group.assignment {
                offsets[partition] = try group.queryOffsets(
                    partition, timeoutMilliseconds: 10_000
                ).lastStable
            }
            try group.commit(offsets, timeoutMilliseconds: 10_000)
            _ = try group.close(timeoutMilliseconds: 10_000)
        }

        func users(_ arguments: String...) async throws -> Program.Ending {
            try await Program.run(["users"] + arguments + ["--config", settings])
        }

        /// Posts of a user from a few hours ago, and their views. (Those that come before their post
        /// wait for a day.)
        func tell(posts numbers: Range<Int>, of uid: String) throws {
            for number in numbers {
                let time = start + 60 * number
                try produce(
                    "posts", uid,
                    """
                    {"uid": "\(uid)", "pid": "\(uid)-\(number)", "postdate": \(time), \
                    "title": "sunset beach number \(number)"}
                    """)
                try produce(
                    "views", uid,
                    """
                    {"uid": "\(uid)", "pid": "\(uid)-\(number)", \
                    "views": \(50 + 300 * (number % 3)), "observed_at": \(time + 3_600)}
                    """)
            }
            try producer.flush(timeoutMilliseconds: 10_000)
        }

        func produce(_ topic: String, _ key: String, _ value: String?) throws {
            try producer.produce(
                ProducerRecord(
                    topic: topic, key: Array(key.utf8), value: value.map { Array($0.utf8) }))
        }

        /// To every partition.
        func forgetRecord(_ key: String) throws {
            for partition in 0..<Int32(2) {
                try producer.produce(
                    ProducerRecord(
                        topic: "users", partition: partition, key: Array(key.utf8), value: nil))
            }
            try producer.flush(timeoutMilliseconds: 10_000)
        }

        /// What `users show` says when so many labels have been taken.
        func shown(
            _ uid: String, labels: Int, sourceLocation: SourceLocation = #_sourceLocation
        ) async throws -> Shown {
            let start = Date.now
            while true {
                let ending = try await users("show", uid)
                if ending.status == 0 {
                    let shown = try JSONDecoder().decode(
                        Shown.self, from: Data(ending.output.utf8))
                    if shown.labels == labels { return shown }
                }
                try #require(
                    Date.now.timeIntervalSince(start) < Program.patience,
                    "never \(labels) labels, but: \(ending)", sourceLocation: sourceLocation)
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    private struct Shown: Decodable {
        struct Post: Decodable {
            let pid: String
            let held_out: Bool
        }
        let model: String
        let version: Int
        let labels: Int
        let label_mean: Float
        let prior: String
        let norm: Float
        let distance_from_prior: Float
        let posts: [Post]
        let other_models: [String]
    }

    private struct Line: Decodable {
        let version: Int
        let labels: Int
        let step_norm: Float?
        let rolled_back_to: Int?
    }

    private struct Audit: Decodable {
        struct Difference: Decodable, Equatable {
            let uid: String
            let what: [String]
        }
        let users: Int
        let equal: Int
        let different: [Difference]
        let lessons: Int
        let updates: Int
        let missing_posts: Int
    }

    private func audit(_ ending: Program.Ending) throws -> Audit {
        try JSONDecoder().decode(Audit.self, from: Data(ending.output.utf8))
    }

    private func history(_ ending: Program.Ending) throws -> [Line] {
        try ending.outputLines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    @Test func anOperatorLooksTakesBackChecksAndForgets() async throws {
        let stage = try await Stage()
        var daemon = try stage.daemon()
        try stage.tell(posts: 0..<6, of: "ann")
        try stage.tell(posts: 0..<3, of: "bob")

        // What was learnt.
        let ann = try await stage.shown("ann", labels: 6)
        _ = try await stage.shown("bob", labels: 3)
        #expect(ann.prior == "unknown" && ann.version > 1 && ann.distance_from_prior > 0)
        #expect(ann.posts.map(\.pid).sorted() == (0..<6).map { "ann-\($0)" })
        #expect(ann.posts.map(\.held_out) == [false, false, false, false, false, true])
        let versions = try history(try await stage.users("history", "ann"))
        #expect(versions.map(\.version) == Array(1...ann.version))
        #expect(versions.allSatisfy { $0.step_norm ?? 0 > 0 && $0.rolled_back_to == nil })

        // Stopped, and there again: it goes on from the same state.
        try await stage.end(daemon)
        daemon = try stage.daemon()
        try stage.tell(posts: 6..<9, of: "ann")
        let later = try await stage.shown("ann", labels: 9)

        // Back to the first vector, under a new version.
        let back = try await stage.users("rollback", "ann", "--version", "1")
        #expect(back.status == 0, "\(back)")
        #expect(
            back.output == #"{"command":"rollback","now":\#(later.version + 1),"seen":true,"#
                + #""uid":"ann","version":1}"# + "\n")
        let last = try #require(try history(try await stage.users("history", "ann")).last)
        #expect(last.version == later.version + 1 && last.rolled_back_to == 1)

        // All of it follows from posts and lessons alone.
        try await stage.end(daemon)
        let whole = try await stage.users("audit")
        #expect(whole.status == 0, "\(whole)")
        let sums = try audit(whole)
        #expect(sums.users == 2 && sums.equal == 2 && sums.different == [])
        #expect(sums.lessons == 13 && sums.missing_posts == 0 && sums.updates > 0)

        // Forgotten: on the topic, and in the files once the daemon has ended.
        daemon = try stage.daemon()
        let forgotten = try await stage.users("forget", "ann", "--yes")
        #expect(forgotten.status == 0, "\(forgotten)")
        #expect(
            forgotten.output == #"{"command":"forget","confirmed":2,"partitions":2,"seen":true,"#
                + #""uid":"ann"}"# + "\n")
        let gone = try await stage.users("show", "ann")
        #expect(gone.status == 1 && gone.output == "")
        #expect(gone.errors.contains("nothing was learnt of user 'ann'"), "\(gone)")
        try await stage.end(daemon)
        for file in try FileManager.default.contentsOfDirectory(atPath: stage.folder.file("state"))
        {
            let bytes = try Data(contentsOf: URL(filePath: stage.folder.file("state/\(file)")))
            #expect(bytes.range(of: Data("ann".utf8)) == nil, "\(file)")
        }

        // The audit holds for that as well; and finds what does not follow from the lessons.
        #expect(try await stage.users("audit").status == 0)
        try stage.forgetRecord(#"["user","\#(ann.model)","bob"]"#)
        let wrong = try await stage.users("audit")
        #expect(wrong.status == 1, "\(wrong)")
        #expect(
            try audit(wrong).different == [
                Audit.Difference(uid: "bob", what: ["not on the topic"])
            ])

        // No daemon is there to take a command.
        let unseen = try await stage.users("forget", "bob", "--yes", "--wait", "1")
        #expect(unseen.status == 2 && unseen.output.contains(#""seen":false"#), "\(unseen)")
    }

    @Test func nothingIsForgottenUnasked() async throws {
        let stage = try await Stage()
        let ending = try await stage.users("forget", "ann")
        #expect(ending.status == 1 && ending.output == "")
        #expect(ending.errors.contains("nobody to ask: say --yes"), "\(ending)")
        let consumer = try Consumer(
            configuration: ClientConfiguration(
                bootstrapServers: stage.broker.bootstrapServers, properties: ["group.id": "look"])
        ) { _, _ in [:] }
        for partition in 0..<Int32(2) {
            let ends = try consumer.queryOffsets(
                TopicPartition(topic: "lessons", partition: partition), timeoutMilliseconds: 10_000)
            #expect(ends.lastStable == ends.first)
        }
    }

    @Test func settingsAreTheDaemonsWhereverTheyStand() async throws {
        let ending = try await Program.run("users", "show", "ann", "--modle=m")
        #expect(ending.status == 1)
        #expect(ending.errors.contains("did you mean --model?"), "\(ending)")
    }

    @Test(arguments: [
        (["rollback", "ann"], "--version"),
        (["show"], "<uid>"),
        (["forget", "ann", "--wait", "-1"], "--wait"),
    ])
    func wrongUseIsNamed(arguments: [String], says: String) async throws {
        let ending = try await Program.run(["users"] + arguments)
        #expect(ending.status == 64)
        #expect(ending.errors.contains(says), "\(ending)")
    }
}

import Foundation
import Testing

/// What learning would have been worth, at the terminal.
@Suite struct ReplayCommandTests {
    private struct Replayed: Decodable {
        struct Counts: Decodable {
            struct Events: Decodable {
                let posts: Int
                let views: Int
                let posts_left_out: Int
            }
            let events: Events
            let scored: Int
            let judged: Int
            let labels: [String: Int]
            let updates: [String: Int]
        }
        struct System: Decodable {
            let name: String
            let metrics: [String: Figure]
        }
        struct Figure: Decodable {
            let value: Double
        }
        let counts: Counts
        let systems: [System]
        let rule: [String: Double]
    }
    private struct Judgement: Decodable {
        let pid: String
        let uid: String
        let time: Double
        let posted_at: Double
        let published: Float
        let frozen: Float
        let user_labels: Int
        let user_vector: String
    }
    private struct Score: Decodable {
        let pid: String
        let score: Float
    }

    private func lines<Kind: Decodable>(_ text: String, _: Kind.Type) throws -> [Kind] {
        try text.split(separator: "\n").map {
            try JSONDecoder().decode(Kind.self, from: Data($0.utf8))
        }
    }

    private func gallery(in folder: Folder) async throws -> String {
        let gallery = folder.file("gallery")
        let made = try await Program.run([
            "gallery", "--posts", "250", "--users", "20", "--output", gallery,
        ])
        try #require(made.status == 0, "\(made)")
        return gallery
    }

    @Test func aGalleryReplayedTwiceGivesTheSameBits() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let gallery = try await gallery(in: folder)
        func replay(_ output: String, _ more: [String] = []) async throws -> Replayed {
            let ending = try await Program.run(
                [
                    "replay", "--model", model, "--posts", "\(gallery)/posts.jsonl", "--views",
                    "\(gallery)/views.jsonl", "--output", folder.file(output), "--resamples", "50",
                ] + more)
            try #require(ending.status == 0, "\(ending)")
            return try #require(try lines(ending.output, Replayed.self).first)
        }
        let once = try await replay("once", ["--threads", "1"])
        _ = try await replay("twice", ["--threads", "2"])
        for name in ["replay.md", "judgements.jsonl", "replay.json"] {
            #expect(
                try folder.bytes(of: "once/\(name)") == folder.bytes(of: "twice/\(name)"), "\(name)"
            )
        }
        for name in ["replay.png", "replay-labels.png"] {
            #expect(try folder.bytes(of: "once/\(name)").starts(with: [0x89, 0x50, 0x4E, 0x47]))
        }
        // Each post has four observations; the first one is the label where any age counts.
        #expect(once.counts.events.posts == 250 && once.counts.events.views == 1_000)
        #expect(once.counts.scored == 250 && once.counts.judged == 249)
        #expect(once.counts.labels == ["taken": 250, "already_labelled": 750])
        #expect(once.counts.updates.values.reduce(0, +) > 0)

        // A user's first post is scored as 'uhan score' does it.
        let scored = try await Program.run([
            "score", "--model", model, "--posts", "\(gallery)/posts.jsonl",
        ])
        let scores = Dictionary(
            uniqueKeysWithValues: try lines(scored.output, Score.self).map { ($0.pid, $0.score) })
        let judgements = try lines(
            String(decoding: folder.bytes(of: "once/judgements.jsonl"), as: UTF8.self),
            Judgement.self)
        #expect(judgements.count == 249)
        #expect(judgements.contains { $0.user_vector.hasPrefix("v") })
        for judgement in judgements {
            #expect(judgement.frozen == scores[judgement.pid])
            #expect(judgement.time > judgement.posted_at)
            if !judgement.user_vector.hasPrefix("v") {
                #expect(judgement.published == judgement.frozen)
            }
        }

        // Without learning nothing moves.
        let frozen = try await replay("frozen", ["--frozen", "--rule", "rate=0.01"])
        #expect(frozen.counts.updates.isEmpty && frozen.rule["rate"].map(Float.init) == 0.01)
        let errors = frozen.systems.map { $0.metrics["mse"]?.value }
        #expect(errors[0] == errors[1] && errors[0] != errors[2])
    }

    @Test func aPartOfThePostsWithViewsInTheirLines() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let posts = (0..<30).map { index in
            """
            {"pid": "p\(index)", "uid": "u\(index % 3)", "title": "red boat", "postdate": \
            \(index * 86_400), "views": \(50 + index), "observed_at": 9000000}
            """
        }
        try folder.write(posts.joined(separator: "\n"), to: "posts.jsonl")
        let split = (0..<30).map { "p\($0)\t\($0 < 10 ? "train" : "test")" }
        try folder.write(split.joined(separator: "\n"), to: "split.tsv")
        let ending = try await Program.run([
            "replay", "--model", model, "--posts", folder.file("posts.jsonl"), "--split-file",
            folder.file("split.tsv"), "--parts", "test", "--delivery-delay-days", "7", "--output",
            folder.file("report"), "--resamples", "50",
        ])
        #expect(ending.status == 0, "\(ending)")
        let replayed = try #require(try lines(ending.output, Replayed.self).first)
        #expect(replayed.counts.events.posts == 20 && replayed.counts.events.posts_left_out == 10)
        #expect(replayed.counts.judged == 19)
        let judgements = try lines(
            String(decoding: folder.bytes(of: "report/judgements.jsonl"), as: UTF8.self),
            Judgement.self)
        #expect(judgements.allSatisfy { $0.time == $0.posted_at + 7 * 86_400 })
        // The first label of all judges nothing: it is that of this user's first post, on day 10.
        // From day 17 on each post knows one label more.
        let first = judgements.filter { $0.uid == "u1" }.map(\.user_labels)
        #expect(first == [0, 0, 1, 2, 3, 4], "\(first)")
    }

    @Test(arguments: [
        (["--rule", "speed=3"], "--rule knows no 'speed'"),
        (["--rule", "steps=0"], "--rule steps= takes a whole number from 1 to 100"),
        (["--parts", "test"], "--split-file and --parts go together"),
        (["--from", "99999999999"], "no label judged anything"),
        (["--views", "nowhere"], "cannot read nowhere"),
    ])
    func whatCannotBeDoneIsSaid(options: [String], text: String) async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        try folder.write(#"{"pid":"p","uid":"u","postdate":5}"#, to: "posts.jsonl")
        let ending = try await Program.run(
            [
                "replay", "--model", model, "--posts", folder.file("posts.jsonl"), "--output",
                folder.file("report"),
            ] + options)
        #expect(ending.status != 0 && ending.output == "", "\(ending)")
        #expect(ending.errors.contains(text), "\(ending)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("report/replay.json")))
    }
}

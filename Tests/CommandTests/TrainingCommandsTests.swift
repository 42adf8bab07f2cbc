import Foundation
import Testing

/// From nothing to a model that scores, at the terminal.
@Suite struct TrainingCommandsTests {
    // MARK: Results

    private struct Gallery: Decodable {
        let posts: Int
    }
    private struct Prepared: Decodable {
        struct Report: Decodable {
            struct Part: Decodable {
                let posts: Int
            }
            let train: Part
            let validation: Part
            let test: Part
        }
        let version: String
        let report: Report
    }
    private struct Features: Decodable {
        let images: Int
        let present: Int
        let computed: Int
        let left: Int
    }
    private struct Trained: Decodable {
        let system: String
        let seed: UInt64
        let folder: String
        let steps: Int
        let validation_error: Double
        let ended_by: String
    }
    private struct Score: Decodable {
        let score: Float?
        let flags: [String]?
        let image_attention: [[Float]]?
    }

    private func results<Kind: Decodable>(_ ending: Program.Ending, _: Kind.Type) throws -> [Kind] {
        try ending.outputLines.map { try JSONDecoder().decode(Kind.self, from: Data($0.utf8)) }
    }

    private func done<Kind: Decodable>(
        _ arguments: [String], in folder: Folder, _: Kind.Type,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> (results: [Kind], ending: Program.Ending) {
        let ending = try await Program.run(arguments, environment: Self.environment(folder))
        try #require(ending.status == 0, "\(ending)", sourceLocation: sourceLocation)
        return (try results(ending, Kind.self), ending)
    }

    /// What the program keeps for itself stays in the test's folder.
    private static func environment(_ folder: Folder) -> [String: String] {
        ["XDG_CACHE_HOME": folder.file("cache")]
    }

    private static let smallNetwork = [
        "--dimension", "8", "--batch", "32", "--batches-of-check", "2", "--maximum-epochs", "2",
    ]

    // MARK: All the way

    @Test func fromAGalleryToScores() async throws {
        let folder = try Folder()
        let (gallery, data) = (folder.file("gallery"), folder.file("data"))
        let (features, models) = (folder.file("features"), folder.file("models"))
        let posts = "\(gallery)/posts.jsonl"

        let make = ["gallery", "--seed", "1", "--posts", "150", "--output", gallery]
        let made = try await done(make, in: folder, Gallery.self)
        #expect(made.results.map(\.posts) == [150])
        let again = try await Program.run(make)
        #expect(again.status == 1 && again.output == "", "\(again)")
        #expect(again.errors.contains("choose another folder"), "\(again)")

        let prepare = [
            "prepare", "--posts", posts, "--views", "\(gallery)/views.jsonl", "--output", data,
        ]
        let prepared = try await done(prepare, in: folder, Prepared.self)
        let report = try #require(prepared.results.first).report
        #expect(prepared.results.count == 1)
        #expect(report.train.posts == 105 && report.validation.posts == 15)
        #expect(report.test.posts == 30)
        let twice = try await Program.run(prepare)
        #expect(twice.status == 1 && twice.output == "", "\(twice)")
        #expect(twice.errors.contains("already holds a prepared dataset"), "\(twice)")

        // The features, stopped and gone on with.
        let backbone = folder.file("backbone")
        _ = try await Program.run([
            "model", "init", "--seed", "1", "--output", backbone, "--dimension", "16", "--side",
            "160", "--blocks", "16/16/32/32/32", "--dense", "16,16",
        ])
        let see = ["features", "--data", data, "--backbone", backbone, "--output", features]
        let stopped = try RunningProgram(Program.path, see)
        try await stopped.says("to do")
        stopped.send(SIGINT)
        let ending = try await stopped.ended()
        #expect(ending.status == 130, "\(ending)")
        #expect(ending.errors.contains("the same command goes on"), "\(ending)")
        let part = try #require(try results(ending, Features.self).first)
        #expect(part.left > 0 && part.left == part.images - part.computed)
        let rest = try #require(try await done(see, in: folder, Features.self).results.first)
        #expect(rest.computed == part.left && rest.left == 0 && rest.present == rest.images)

        // Trained once, and not once more.
        let train =
            ["train", "--data", data, "--features", features, "--systems", "uhan,dmf"]
            + ["--output", models] + Self.smallNetwork
        let trained = try await done(train, in: folder, Trained.self)
        #expect(trained.results.map(\.system) == ["uhan", "dmf"])
        // 105 posts in batches of 32: four steps a pass.
        #expect(trained.results.map(\.steps) == [8, 8])
        #expect(trained.results.allSatisfy { $0.ended_by == "epochs" })
        #expect(trained.results.map(\.folder) == ["uhan", "dmf"].map { "\(models)/\($0)/seed-1" })
        #expect(trained.ending.errors.contains("105 posts to train on, 15 to validate with"))
        let idle = try await done(train, in: folder, Trained.self)
        #expect(idle.ending.output == trained.ending.output)
        #expect(!idle.ending.errors.contains("step"), "\(idle.ending)")

        // What was trained scores.
        let model = "\(models)/uhan/seed-1"
        let scored = try await done(
            ["score", "--model", model, "--posts", posts], in: folder, Score.self
        ).results
        #expect(scored.count == 150)
        #expect(scored.allSatisfy { $0.score?.isFinite == true })
        for score in scored {
            let rows = score.flags?.contains("no_image") == true ? nil : 5
            #expect(score.image_attention?.count == rows)
        }
    }

    // MARK: Without images

    /// Posts without images, so that everything is quick.
    private func prepareText(in folder: Folder) async throws -> String {
        let lines = (0..<150).map { index in
            let words = (0..<5).map { "word\((index * 7 + $0 * 13) % 40)" }.joined(separator: " ")
            return """
                {"pid": "p\(100 + index)", "uid": "u\(index % 5)", "title": "\(words)", \
                "postdate": \(index * 3600), "views": \(index % 17 * 9), "observed_at": 9000000}
                """
        }
        let posts = try folder.write(lines.joined(separator: "\n"), to: "posts.jsonl")
        let data = folder.file("data")
        _ = try await done(
            ["prepare", "--posts", posts, "--output", data], in: folder, Prepared.self)
        return data
    }

    @Test func aModelOfTextAloneScoresPostsWithImages() async throws {
        let folder = try Folder()
        let data = try await prepareText(in: folder)
        _ = try await done(
            ["train", "--data", data, "--output", folder.file("models")] + Self.smallNetwork,
            in: folder, Trained.self)
        try folder.writePicture(1, to: "one.jpg")
        let posts = try folder.write(
            """
            {"uid": "u1", "pid": "with", "title": "word1 word2", "image": "one.jpg"}
            {"uid": "u1", "pid": "without", "title": "word1 word2"}
            """, to: "new.jsonl")
        let scores = try await done(
            ["score", "--model", folder.file("models/uhan/seed-1"), "--posts", posts],
            in: folder, Score.self
        ).results
        try #require(scores.count == 2)
        #expect(scores[0].score != nil && scores[0].score == scores[1].score)
        #expect(scores[0].image_attention == nil)
    }

    @Test func stoppedTrainingGoesOnToTheSameBits() async throws {
        let folder = try Folder()
        let data = try await prepareText(in: folder)
        func arguments(_ output: String, threads: Int) -> [String] {
            ["train", "--data", data, "--output", folder.file(output), "--threads", "\(threads)"]
                + ["--dimension", "48", "--batch", "16", "--batches-of-check", "7"]
                + ["--patience", "100000", "--maximum-epochs", "200", "--drop-words", "0.2"]
        }
        let stopped = try RunningProgram(
            Program.path, arguments("stopped", threads: 2),
            environment: Self.environment(folder))
        try await stopped.says("epoch 2.0,")
        stopped.send(SIGINT)
        let ending = try await stopped.ended()
        #expect(ending.status == 130 && ending.output == "", "\(ending)")
        #expect(ending.errors.contains("the same command goes on from here"), "\(ending)")
        let rest = try await done(arguments("stopped", threads: 2), in: folder, Trained.self)
        #expect(rest.ending.errors.contains("going on after step"), "\(rest.ending)")
        let whole = try await done(arguments("whole", threads: 1), in: folder, Trained.self)
        #expect(rest.results.first?.validation_error == whole.results.first?.validation_error)
        for name in ["head.safetensors", "users.safetensors", "config.json"] {
            #expect(
                try folder.bytes(of: "stopped/uhan/seed-1/\(name)")
                    == folder.bytes(of: "whole/uhan/seed-1/\(name)"), "\(name)")
        }

        // Another setting is other training.
        let other = try await Program.run(
            arguments("stopped", threads: 2) + ["--rate", "0.01"],
            environment: Self.environment(folder))
        #expect(other.status == 1 && other.output == "", "\(other)")
        #expect(other.errors.contains("choose another folder"), "\(other)")
    }

    // MARK: What cannot be

    @Test func whatIsMissingIsSaidWithWhatToDo() async throws {
        let folder = try Folder()
        let data = try await prepareText(in: folder)
        let (nowhere, output) = (folder.file("nowhere"), folder.file("output"))
        func refused(
            _ arguments: [String], status: Int32 = 1, _ texts: String...,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            let ending = try await Program.run(
                arguments, environment: Self.environment(folder))
            #expect(ending.status == status, "\(ending)", sourceLocation: sourceLocation)
            #expect(ending.output == "", "\(ending)", sourceLocation: sourceLocation)
            for text in texts {
                #expect(
                    ending.errors.contains(text), "\(ending)", sourceLocation: sourceLocation)
            }
            #expect(
                !FileManager.default.fileExists(atPath: output), "\(ending)",
                sourceLocation: sourceLocation)
        }
        let train = ["train", "--data", data, "--output", output]
        let usage: Int32 = 64
        try await refused(["train"], status: usage, "--data")
        try await refused(train + ["--systems", "uhan,uhen"], status: usage, "--systems")
        try await refused(train + ["--preset", "huge"], status: usage, "small, paper")
        try await refused(train + ["--threads", "0"], status: usage, "--threads")
        try await refused(train + ["--runs", "0"], status: usage, "--runs")
        try await refused(
            ["train", "--data", nowhere, "--output", output], nowhere, "'uhan prepare'")
        try await refused(train + ["--features", nowhere], nowhere, "'uhan features'")
        try await refused(train + ["--rate=-1"], "learning rate")
        try await refused(train + ["--dimension", "5000"], "dimension 5000")
        try await refused(train + ["--maximum-norm=-1"], "norm")
        try await refused(train + ["--maximum-epochs", "\(Int.max)"], "epochs")
        try await refused(
            train + ["--seed", "\(UInt64.max)", "--runs", "2"], status: usage, "--seed")

        try await refused(
            ["gallery", "--posts", "5", "--output", output], status: usage, "--posts")
        try await refused(["prepare", "--posts", nowhere, "--output", output], nowhere)
        try await refused(
            ["prepare", "--posts", data, "--rules", "mine", "--output", output], status: usage,
            "--rules")
        try await refused(
            ["features", "--data", nowhere, "--backbone", "small", "--output", output], nowhere,
            "'uhan prepare'")
        try await refused(
            ["features", "--data", data, "--backbone", nowhere, "--output", output],
            "neither small nor paper")
    }
}

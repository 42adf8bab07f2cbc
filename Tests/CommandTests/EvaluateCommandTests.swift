import Foundation
import Kafka
import Testing

/// Trained systems side by side, and the one code path of training's end, `score` and `serve`.
@Suite struct EvaluateCommandTests {
    // MARK: Results

    private struct Table: Decodable, Equatable {
        struct Dataset: Decodable, Equatable {
            struct Irreducible: Decodable, Equatable {
                let mse: Double
                let mae: Double
            }
            let version: String
            let test_posts: Int
            let test_users: Int
            let irreducible: Irreducible?
        }
        struct System: Decodable, Equatable {
            struct Figure: Decodable, Equatable {
                struct Interval: Decodable, Equatable {
                    let low: Double
                    let high: Double
                }
                let value: Double
                let interval: Interval?
            }
            let name: String
            let runs: Int
            let metrics: [String: Figure]
        }
        struct Difference: Decodable, Equatable {
            let system: String
            let minus: String
        }
        let format: String
        let dataset: Dataset
        let systems: [System]
        let differences: [Difference]
    }
    private struct Prediction: Decodable {
        let pid: String
        let uid: String
        let target: Float
        let history: Int
        let scores: [String: [Float]]
    }
    private struct Pointing: Decodable {
        struct Game: Decodable {
            struct Result: Decodable {
                struct Figure: Decodable {
                    let value: Double
                }
                let posts: Int
                let area: Double
                let hit_rate: Figure
                let mass: Figure
            }
            let subject: Result
            let any_object: Result
        }
        let run: String
        let own_texts: Game
        let shuffled_texts: Game
    }
    /// What `uhan score` prints and what the daemon publishes.
    private struct Score: Decodable {
        let pid: String
        let score: Float?
        let flags: Set<String>?
        let model: String?
    }

    private static func lines<Kind: Decodable>(_ text: String, _: Kind.Type) throws -> [Kind] {
        try text.split(separator: "\n").map {
            try JSONDecoder().decode(Kind.self, from: Data($0.utf8))
        }
    }

    // MARK: Systems to compare

    private static let systems = [
        "hisave", "hisave-validation", "svr", "dmf", "uhan", "uhan-text",
    ]

    /// A gallery of which some test posts have no text, no image, or users never seen; prepared,
    /// its images seen by the backbone.
    private struct Stage {
        static let posts = 200
        static let testPosts = 40

        let folder: Folder
        var gallery: String { folder.file("gallery") }
        var data: String { folder.file("data") }
        var features: String { folder.file("features") }
        var models: String { folder.file("models") }
        var report: String { folder.file("report") }

        init() async throws {
            folder = try Folder()
            try await done("gallery", "--posts", "\(Self.posts)", "--output", gallery)
            let lines = String(decoding: try folder.bytes(of: "gallery/posts.jsonl"), as: UTF8.self)
                .split(separator: "\n")
            // In time order: the last fifth is the test part.
            let changed = try lines.enumerated().map { place, line in
                place < Self.posts - Self.testPosts
                    ? String(line) : try Self.changed(String(line), place)
            }
            try folder.write(
                changed.joined(separator: "\n"), to: "gallery/posts.jsonl")
            try await done(
                "prepare", "--posts", "\(gallery)/posts.jsonl", "--output", data)
            try await done(
                "features", "--data", data, "--backbone", "small", "--output", features)
        }

        private static func changed(_ line: String, _ place: Int) throws -> String {
            var post = try EvaluateCommandTests.members(of: line)
            let (noText, noImage, stranger) = (
                [0, 9].contains(place % 10), [3, 9].contains(place % 10),
                [6, 9].contains(place % 10)
            )
            if noText { (post["title"], post["alltags"]) = ("", "") }
            if noImage { post["image"] = nil }
            if stranger { post["uid"] = "stranger \(place) 🙂" }
            if place % 10 == 1 { post["title"] = "SUNSET &amp; Übung 🙂 #\(post["title"] ?? "")" }
            return String(decoding: try JSONEncoder().encode(post), as: UTF8.self)
        }

        @discardableResult
        func run(_ arguments: [String]) async throws -> Program.Ending {
            try await Program.run(
                arguments, environment: ["XDG_CACHE_HOME": folder.file("cache")])
        }

        @discardableResult
        func done(
            _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
        ) async throws -> Program.Ending {
            let ending = try await run(arguments)
            try #require(ending.status == 0, "\(ending)", sourceLocation: sourceLocation)
            return ending
        }

        /// Two short passes over the posts, with the features unless `seeing` is false.
        func train(
            _ systems: [String], to models: String? = nil, data: String? = nil, seeing: Bool = true
        ) async throws {
            let training = [
                "train", "--data", data ?? self.data, "--systems",
                systems.joined(separator: ","), "--output", models ?? self.models,
                "--dimension", "8", "--batch", "32", "--batches-of-check", "2",
                "--maximum-epochs", "2",
            ]
            let ending = try await run(training + (seeing ? ["--features", features] : []))
            try #require(ending.status == 0, "\(ending)")
        }

        var evaluate: [String] {
            ["evaluate", "--data", data, "--features", features, "--output", report]
        }

        func text(_ name: String) throws -> String {
            String(decoding: try folder.bytes(of: name), as: UTF8.self)
        }
    }

    fileprivate static func members(of line: String) throws -> [String: String] {
        try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
    }

    // MARK: The table

    @Test func systemsAreComparedSideBySide() async throws {
        let stage = try await Stage()
        try await stage.train(Self.systems)
        let ending = try await stage.run(stage.evaluate + ["--models", stage.models])
        try #require(ending.status == 0, "\(ending)")

        // One table, on stdout for programs and in the folder.
        #expect(ending.outputLines.count == 1)
        let table = try #require(try Self.lines(ending.output, Table.self).first)
        let file = try JSONDecoder().decode(
            Table.self, from: Data(try stage.folder.bytes(of: "report/table.json")))
        #expect(file == table)
        #expect(table.format == "uhan-evaluation")
        #expect(table.systems.map(\.name) == Self.systems + ["oracle"])
        #expect(table.dataset.test_posts == Stage.testPosts)
        #expect(table.dataset.version.hasPrefix("gallery@"))
        for system in table.systems {
            #expect(system.runs == 1)
            for name in ["mse", "mae", "spearman", "macro_mse", "macro_mae"] {
                let figure = try #require(system.metrics[name], "\(system.name) has no \(name)")
                #expect(figure.value.isFinite)
                let interval = try #require(figure.interval)
                #expect(interval.low <= interval.high)
            }
        }
        func error(_ name: String) -> Double? {
            table.systems.first { $0.name == name }?.metrics["mse"]?.value
        }
        let oracle = try #require(error("oracle"))
        for name in Self.systems { #expect(try #require(error(name)) > oracle, "\(name)") }
        let floor = try #require(table.dataset.irreducible)
        #expect(floor.mse > 0 && floor.mae > 0)
        for reference in ["uhan", "hisave"] {
            #expect(
                table.differences.filter { $0.minus == reference }.map(\.system)
                    == table.systems.map(\.name).filter { $0 != reference })
        }

        // Every figure can be computed again from the predictions.
        let predictions = try Self.lines(
            stage.text("report/predictions.jsonl"), Prediction.self)
        #expect(predictions.count == Stage.testPosts)
        #expect(Set(predictions.map(\.uid)).count == table.dataset.test_users)
        #expect(predictions.contains { $0.uid.hasPrefix("stranger") && $0.history == 0 })
        for name in table.systems.map(\.name) {
            let squares = try predictions.map { prediction in
                let scores = try #require(prediction.scores[name])
                #expect(scores.count == 1)
                return pow(Double(scores[0]) - Double(prediction.target), 2)
            }
            let mean = squares.reduce(0, +) / Double(squares.count)
            #expect(abs(mean - (try #require(error(name)))) < 1e-9 * mean)
        }

        // For people: the table with what was left out, a plot, the worst posts.
        let markdown = try stage.text("report/table.md")
        for name in Self.systems + ["oracle"] { #expect(markdown.contains("| \(name) |")) }
        #expect(ending.errors.contains(markdown))
        #expect(ending.errors.contains("not there, left out: dmf-user, dualatt"))
        let png: [UInt8] = [0x89, 0x50, 0x4E, 0x47]
        for name in ["plot.png", "worst.png"] {
            #expect(try stage.folder.bytes(of: "report/\(name)").starts(with: png), "\(name)")
        }
        let sheet = try stage.text("report/worst/index.html")
        for number in 1...12 {
            #expect(sheet.contains("\(number)-of-12.html"))
            let page = try stage.text("report/worst/\(number)-of-12.html")
            #expect(page.contains("[predicted "))
        }

        // The pointing game: posts with an image, each once.
        let pointing = try JSONDecoder().decode(
            Pointing.self, from: Data(try stage.folder.bytes(of: "report/pointing.json")))
        #expect(pointing.run == "\(stage.models)/uhan/seed-1")
        for game in [pointing.own_texts, pointing.shuffled_texts] {
            #expect((1...Stage.testPosts - 8).contains(game.any_object.posts))
            #expect((1...game.any_object.posts).contains(game.subject.posts))
            #expect(game.subject.area > 0 && game.subject.area < game.any_object.area)
            for result in [game.subject, game.any_object] {
                #expect((0...1).contains(result.hit_rate.value))
                #expect((0...1).contains(result.mass.value))
            }
        }
        #expect(pointing.own_texts.subject.posts == pointing.shuffled_texts.subject.posts)
        #expect(pointing.own_texts.subject.mass.value != pointing.shuffled_texts.subject.mass.value)

        // The same again, to the last byte, by one thread; into the same folder.
        let names = ["table.json", "table.md", "predictions.jsonl", "pointing.json", "plot.png"]
        let before = try names.map { try stage.folder.bytes(of: "report/\($0)") }
        let again = try await stage.run(
            stage.evaluate + ["--models", stage.models, "--threads", "1"])
        #expect(again.output == ending.output)
        #expect(try names.map { try stage.folder.bytes(of: "report/\($0)") } == before)

        try await pickedSystemsAreComparedAlone(stage)
        try await whatDoesNotBelongTogetherIsRefused(stage)
    }

    private func pickedSystemsAreComparedAlone(_ stage: Stage) async throws {
        let ending = try await stage.run(
            stage.evaluate + [
                "--models", stage.models, "--systems", "hisave,dmf", "--output",
                stage.folder.file("picked"),
            ])
        try #require(ending.status == 0, "\(ending)")
        let table = try #require(try Self.lines(ending.output, Table.self).first)
        #expect(table.systems.map(\.name) == ["hisave", "dmf", "oracle"])
        let folder = URL(fileURLWithPath: stage.folder.file("picked"))
        // Attention is UHAN's alone.
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
                == ["plot.png", "predictions.jsonl", "table.json", "table.md"])
        // Those that look at no image of the store need none.
        let blind = try await stage.run([
            "evaluate", "--data", stage.data, "--models", stage.models, "--systems",
            "hisave,hisave-validation,svr", "--output", stage.folder.file("blind"),
        ])
        #expect(blind.status == 0, "\(blind)")
    }

    private func whatDoesNotBelongTogetherIsRefused(_ stage: Stage) async throws {
        let output = stage.folder.file("refused")
        func refused(
            _ arguments: [String], status: Int32 = 1, _ texts: String...,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            let ending = try await stage.run(["evaluate"] + arguments + ["--output", output])
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
        let (data, models) = (["--data", stage.data], ["--models", stage.models])
        let (features, nowhere) = (["--features", stage.features], stage.folder.file("nowhere"))
        let usage: Int32 = 64
        try await refused(models, status: usage, "--data")
        try await refused(data + models + ["--systems", "uhen"], status: usage, "--systems")
        try await refused(data + models + ["--worst", "101"], status: usage, "--worst")
        try await refused(data + models + ["--threads", "0"], status: usage, "--threads")

        try await refused(
            data + features + models + ["--systems", "uhan,dualatt"],
            "no finished dualatt", "'uhan train --systems dualatt'")
        try await refused(
            data + features + ["--models", nowhere], "no trained system", "'uhan train'")
        try await refused(["--data", nowhere] + features + models, nowhere, "'uhan prepare'")
        try await refused(data + models + ["--features", nowhere], nowhere, "'uhan features'")
        // One that was trained on features cannot do without them, nor with others.
        let other = ["features", "--data", stage.data, "--backbone", "small", "--seed", "2"]
        let seen = try await stage.run(other + ["--output", stage.folder.file("others")])
        try #require(seen.status == 0, "\(seen)")
        for systems in ["uhan", "dmf"] {
            try await refused(
                data + models + ["--systems", systems], "--features",
                "\(stage.models)/\(systems)/seed-1")
            try await refused(
                data + models + ["--systems", systems, "--features", stage.folder.file("others")],
                "--features", "\(stage.models)/\(systems)/seed-1")
        }
        // Another dataset of the same posts.
        let prepared = try await stage.run([
            "prepare", "--posts", "\(stage.gallery)/posts.jsonl", "--minimum-days", "2",
            "--output", stage.folder.file("older"),
        ])
        try #require(prepared.status == 0, "\(prepared)")
        for systems in ["hisave", "svr", "dmf", "uhan"] {
            try await refused(
                ["--data", stage.folder.file("older"), "--systems", systems] + features + models,
                "\(stage.models)/\(systems)/seed-1 was trained on gallery@", "that dataset")
        }
    }

    // MARK: What a dataset may have

    /// A network of text alone beside one that saw images, and images that are none.
    @Test func blindNetworksAndUndecodableImagesAreEvaluated() async throws {
        let stage = try await Stage()
        for number in [162, 171, 184] {
            try stage.folder.write(
                "no picture \(number)", to: "gallery/images/0000/post-0000\(number).jpg")
        }
        let data = stage.folder.file("other data")
        try await stage.done(
            "prepare", "--posts", "\(stage.gallery)/posts.jsonl", "--output", data)
        try await stage.done(
            "features", "--data", data, "--backbone", "small", "--output", stage.features)
        try await stage.train(["uhan", "svr"], data: data)
        let blind = stage.folder.file("blind models")
        try await stage.train(["uhan", "dualatt"], to: blind, data: data, seeing: false)

        let ending = try await stage.run([
            "evaluate", "--data", data, "--features", stage.features, "--models", stage.models,
            "--worst", "\(Stage.testPosts)", "--output", stage.report,
        ])
        try #require(ending.status == 0 && ending.outputLines.count == 1, "\(ending)")
        let pages = try FileManager.default.contentsOfDirectory(
            atPath: stage.folder.file("report/worst"))
        #expect(pages.count == Stage.testPosts + 1)

        // The blind say the same, whether features lie there or not; they point at nothing.
        let evaluate = ["evaluate", "--data", data, "--models", blind, "--worst", "3"]
        let without = try await stage.run(
            evaluate + ["--output", stage.folder.file("without")])
        let with = try await stage.run(
            evaluate + ["--features", stage.features, "--output", stage.folder.file("with")])
        try #require(without.status == 0 && with.status == 0, "\(without)\n\(with)")
        #expect(
            try stage.text("with/predictions.jsonl") == stage.text("without/predictions.jsonl"))
        #expect(
            !FileManager.default.fileExists(atPath: stage.folder.file("with/pointing.json")))
        #expect(try stage.text("with/worst/index.html").contains("3-of-3.html"))
    }

    /// Processes that need the same seeded backbone at once, with none of it made yet; and what
    /// training does where a damaged one lies.
    @Test func theCacheOfBackbonesIsSafe() async throws {
        let stage = try await Stage()
        try await stage.train(["uhan"])
        let cache = stage.folder.file("cache")
        try FileManager.default.removeItem(atPath: cache)
        let model = "\(stage.models)/uhan/seed-1"
        let outputs = try await withThrowingTaskGroup(of: Program.Ending.self) { tasks in
            for _ in 0..<4 {
                tasks.addTask {
                    try await stage.done(
                        "score", "--model", model, "--posts", "\(stage.gallery)/posts.jsonl")
                }
            }
            return try await tasks.reduce(into: Set<String>()) { $0.insert($1.output) }
        }
        #expect(outputs.count == 1)
        let files = try FileManager.default.contentsOfDirectory(atPath: "\(cache)/uhan")
        try #require(files.count == 1, "\(files)")

        try stage.folder.write("half a file", to: "cache/uhan/\(files[0])")
        let training = try await stage.run([
            "train", "--data", stage.data, "--features", stage.features, "--output",
            stage.folder.file("more models"), "--dimension", "8", "--maximum-epochs", "1",
        ])
        #expect(training.status == 1, "\(training)")
        #expect(training.errors.contains("\(files[0]) has SHA-256"), "\(training)")
        #expect(training.errors.contains("delete it"), "\(training)")
    }

    // MARK: To the last bit

    @Test func evaluationCommandAndDaemonGiveOneScore() async throws {
        let stage = try await Stage()
        try await stage.train(["uhan"])
        let ending = try await stage.run(
            stage.evaluate + ["--models", stage.models, "--worst", "0"])
        try #require(ending.status == 0, "\(ending)")
        #expect(!FileManager.default.fileExists(atPath: stage.folder.file("report/worst")))
        var evaluated: [String: Float] = [:]
        for prediction in try Self.lines(
            stage.text("report/predictions.jsonl"), Prediction.self)
        {
            evaluated[prediction.pid] = try #require(prediction.scores["uhan"]?.first)
        }
        try #require(evaluated.count == Stage.testPosts)

        let model = "\(stage.models)/uhan/seed-1"
        let posts = "\(stage.gallery)/posts.jsonl"
        let scored = try await stage.done(
            "score", "--model", model, "--posts", posts, "--threads", "1")
        let scores = try Self.lines(scored.output, Score.self)
            .filter { evaluated[$0.pid] != nil }
        let published = try await Self.published(
            stage, model: model, posts: try Self.inline(stage, evaluated.keys.sorted()))

        try #require(scores.count == Stage.testPosts && published.count == Stage.testPosts)
        for score in scores {
            let bits = evaluated[score.pid]?.bitPattern
            #expect(score.score?.bitPattern == bits, "\(score.pid)")
            let event = try #require(published[score.pid])
            #expect(event.score?.bitPattern == bits, "\(score.pid)")
            #expect(event.flags == score.flags && event.model == score.model, "\(score.pid)")
        }
        // Of all kinds, and not all alike.
        for flags: Set<String> in [
            ["no_image"], ["no_text"], ["unknown_user"], ["no_image", "no_text", "unknown_user"],
        ] {
            #expect(scores.contains { $0.flags == flags }, "\(flags)")
        }
        #expect(Set(evaluated.values.map(\.bitPattern)).count > Stage.testPosts / 2)
    }

    /// Posts as producers write them, with their image inside.
    private static func inline(
        _ stage: Stage, _ pids: [String]
    ) throws -> [(uid: String, json: [UInt8])] {
        var posts: [String: [String: String]] = [:]
        for line in try stage.text("gallery/posts.jsonl").split(separator: "\n") {
            let post = try members(of: String(line))
            posts[post["pid"] ?? ""] = post
        }
        return try pids.map { pid in
            var post = try #require(posts[pid])
            if let image = post.removeValue(forKey: "image") {
                post["image_base64"] = Data(try stage.folder.bytes(of: "gallery/\(image)"))
                    .base64EncodedString()
            }
            return (post["uid"] ?? "", Array(try JSONEncoder().encode(post)))
        }
    }

    /// What the daemon answers to them, by post.
    private static func published(
        _ stage: Stage, model: String, posts: [(uid: String, json: [UInt8])]
    ) async throws -> [String: Score] {
        let broker = try EmbeddedBroker()
        for topic in ["posts", "scores", "dead-letters"] {
            try broker.createTopic(topic, partitions: 2)
        }
        let producer = try Producer(
            configuration: ClientConfiguration(bootstrapServers: broker.bootstrapServers))
        for post in posts {
            try producer.produce(
                ProducerRecord(topic: "posts", key: Array(post.uid.utf8), value: post.json))
        }
        try producer.flush(timeoutMilliseconds: 60_000)
        let daemon = try RunningProgram(
            Program.path,
            [
                "serve", "--model", model, "--kafka-bootstrap", broker.bootstrapServers,
                "--threads", "2", "--batch-interval-milliseconds", "50", "--kafka-properties",
                "fetch.wait.max.ms=20",
            ], environment: ["XDG_CACHE_HOME": stage.folder.file("cache")])
        let bootstrap = broker.bootstrapServers
        let answers = try await withCheckedThrowingContinuation { continuation in
            // Its calls block.
            DispatchQueue.global().async {
                continuation.resume(
                    with: Result { try Self.answers(posts.count, bootstrap: bootstrap) })
            }
        }
        daemon.send(SIGTERM)
        let ending = try await daemon.ended()
        #expect(ending.status == 0, "\(ending)")
        var scores: [String: Score] = [:]
        for answer in answers {
            let score = try JSONDecoder().decode(Score.self, from: Data(answer))
            #expect(scores.updateValue(score, forKey: score.pid) == nil, "\(score.pid) twice")
        }
        return scores
    }

    private static func answers(_ count: Int, bootstrap: String) throws -> [[UInt8]] {
        let properties = ["group.id": "peer", "fetch.wait.max.ms": "20"]
        let consumer = try Consumer(
            configuration: ClientConfiguration(bootstrapServers: bootstrap, properties: properties)
        ) { _, _ in [:] }
        try consumer.subscribe(topics: ["scores", "dead-letters"])
        var answers: [[UInt8]] = []
        let start = Date.now
        while answers.count < count {
            try #require(
                Date.now.timeIntervalSince(start) < Program.patience,
                "\(answers.count) answers of \(count)")
            guard let message = try consumer.poll(timeoutMilliseconds: 100) else { continue }
            try #require(message.topicPartition.topic == "scores", "a dead letter")
            answers.append(message.value ?? [])
        }
        return answers
    }
}

import Foundation
import Gallery
import Testing

@Suite struct QuickstartTests {
    @Test func itAnswersSoManyPostsAndEnds() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let ending = try await Program.run(
            "quickstart", "--posts", "3", "--model", model, "--threads", "1")
        #expect(ending.status == 0, "\(ending)")
        #expect(ending.output == "")
        for text in ["#1  score", "#2  score", "#3  score", "3 posts answered", "UNTRAINED"] {
            #expect(ending.errors.contains(text), "\(ending)")
        }
        // Nothing of the machinery's coming down is seen.
        #expect(!ending.errors.contains("ERROR") && !ending.errors.contains("WARN"), "\(ending)")
    }

    // MARK: Beside the truth

    /// What is shown of a post of the gallery.
    private struct Shown {
        let score: Double
        let truth: String
        let observed: Double
        let post: GalleryPost
        let text: String
    }

    private func shown(_ ending: Program.Ending) throws -> [Shown] {
        let gallery = Gallery(seed: 1, posts: 20_000)
        let shown = ending.errors.components(separatedBy: "\n\n").first { $0.hasPrefix("#1") }
        return try "\n\(shown ?? "")".components(separatedBy: "\n#").dropFirst().map {
            let pid = try #require($0.firstMatch(of: /post-0*([0-9]+)/), "\($0)")
            let score = try #require($0.firstMatch(of: /score (-?[0-9.]+),/), "\($0)")
            let truth = try #require($0.firstMatch(of: /truth (.+ say (-?[0-9.]+))\n/), "\($0)")
            return Shown(
                score: try #require(Double(score.1)), truth: String(truth.1),
                observed: try #require(Double(truth.2)),
                post: gallery.post(try #require(Int(pid.1))), text: $0)
        }
    }

    /// The last running figures: of the scores, and of the law.
    private func errorSoFar(_ ending: Program.Ending) throws -> (model: Double, law: Double) {
        let line = /mean squared error ([0-9.]+), irreducible ([0-9.]+);/
        let last = try #require(ending.errors.matches(of: line).last, "\(ending)")
        return (try #require(Double(last.1)), try #require(Double(last.2)))
    }

    @Test func aModelTrainedOnTheGalleryStandsBesideTheTruth() async throws {
        let folder = try Folder()
        let environment = ["XDG_CACHE_HOME": folder.file("cache")]
        let (gallery, data) = (folder.file("gallery"), folder.file("data"))
        let (features, models) = (folder.file("features"), folder.file("models"))
        for step in [
            ["gallery", "--seed", "1", "--posts", "100", "--output", gallery],
            ["prepare", "--posts", "\(gallery)/posts.jsonl", "--output", data],
            ["features", "--data", data, "--backbone", "small", "--output", features],
            ["train", "--data", data, "--features", features, "--output", models]
                + ["--dimension", "8", "--batch", "32", "--maximum-epochs", "2"],
        ] {
            let ending = try await Program.run(step, environment: environment)
            try #require(ending.status == 0, "\(ending)")
        }

        let ending = try await Program.run(
            ["quickstart", "--posts", "6", "--model", "\(models)/uhan/seed-1"],
            environment: environment)
        #expect(ending.status == 0 && ending.output == "", "\(ending)")
        #expect(ending.errors.contains("6 posts answered"), "\(ending)")
        #expect(!ending.errors.lowercased().contains("untrained"), "\(ending)")
        // Only posts of users that it knows.
        #expect(!ending.errors.contains("unknown_user"), "\(ending)")

        let shown = try shown(ending)
        #expect(Set(shown.map(\.post.pid)).count == 6)
        for shown in shown {
            let post = shown.post
            #expect(post.index >= 20_000)
            #expect(shown.text.contains("   \(post.uid)   "))
            let expected = String(format: "%.2f", post.expectedScore)
            #expect(
                shown.truth.hasPrefix(
                    "\(expected) without noise; \(post.lastObservation.views) views after 3"))
            #expect(abs(shown.observed - post.observedScore) < 0.0051)
            for word in post.words {
                let counts = shown.text.firstMatch(of: /words that matter: .+/)
                #expect(counts?.0.contains(word.word) == word.warm, "\(shown.text)")
            }
            if let subject = post.subject, let thing = post.picture?.objects[subject] {
                #expect(shown.text.contains("counts: the \(thing.color) \(thing.kind)"))
                #expect(shown.text.contains(" % on it\n"))
            }
            #expect(shown.text.split(separator: "\n").count <= 8, "\(shown.text)")
        }
        let errors = try errorSoFar(ending)
        let square = shown.map { pow($0.score - $0.post.observedScore, 2) }.reduce(0, +) / 6
        let law =
            shown.map { pow($0.post.expectedScore - $0.post.observedScore, 2) }.reduce(0, +) / 6
        // The scores are shown to two places.
        #expect(abs(errors.model - square) < 0.05, "\(errors), \(square)")
        #expect(abs(errors.law - law) < 0.0051, "\(errors), \(law)")
    }

    /// The one that comes with the project: guessing the mean has an error of 3.6.
    @Test func theModelThatComesWithItMeansSomething() async throws {
        let folder = try Folder()
        let scripts = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Scripts/quickstart-model").standardized
        let ending = try await Program.run(
            ["quickstart", "--posts", "200", "--model", scripts.path],
            environment: ["XDG_CACHE_HOME": folder.file("cache")])
        #expect(ending.status == 0, "\(ending)")
        #expect(!ending.errors.lowercased().contains("untrained"), "\(ending)")
        let errors = try errorSoFar(ending)
        #expect(errors.model < 1.3, "\(errors)")
        #expect(errors.law < 0.4, "\(errors)")
        let onSubject = ending.errors.matches(of: /([0-9]+) % on it\n/).compactMap { Double($0.1) }
        #expect(onSubject.count > 100)
        // The subject is 5 % of the picture.
        #expect(onSubject.reduce(0, +) / Double(onSubject.count) > 25)
    }

    // MARK: Use

    @Test func itTakesAFolderOfPosts() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        try FileManager.default.createDirectory(
            atPath: folder.file("photos"), withIntermediateDirectories: true)
        try folder.writePicture(1, to: "photos/lake at dusk.jpg")
        let inline = Data(try Folder.picture(2)).base64EncodedString()
        try folder.write(
            """
            {"uid": "user-1", "pid": "file", "title": "sunset", "image": "lake at dusk.jpg"}

            {"uid": "user-2", "pid": "inline", "title": "boat", "image_base64": "\(inline)"}
            {"uid": "user-3", "pid": "missing", "title": "boat", "image": "nowhere.jpg"}
            """, to: "photos/posts.jsonl")
        let ending = try await Program.run(
            "quickstart", "--from", folder.file("photos"), "--model", model, "--threads", "1")
        #expect(ending.status == 0, "\(ending)")
        #expect(ending.errors.contains("3 posts answered"), "\(ending)")
        #expect(ending.errors.contains("dead letter: image_refused"), "\(ending)")
        // Both pictures were seen.
        #expect(!ending.errors.contains("no_image"), "\(ending)")
    }

    @Test func sigintEndsIt() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let program = try RunningProgram(
            Program.path, ["quickstart", "--model", model, "--threads", "1"])
        try await program.says("#2  score")
        program.send(SIGINT)
        let ending = try await program.ended()
        #expect(ending.status == 0, "\(ending)")
        #expect(ending.errors.contains("posts answered"))
    }

    @Test(
        arguments: [
            (["--posts", "0"], 64, "--posts must be at least 1"),
            (["--threads", "0"], 64, "--threads must be at least 1"),
            (["--from", "/nowhere"], 1, "cannot read /nowhere/posts.jsonl"),
        ] as [([String], Int32, String)])
    func wrongUseIsExplained(arguments: [String], status: Int32, says: String) async throws {
        let ending = try await Program.run(["quickstart"] + arguments)
        #expect(ending.status == status)
        #expect(ending.errorLines.first?.contains(says) == true, "\(ending)")
    }
}

@Suite struct HelpTests {
    @Test(arguments: [
        [], ["quickstart"], ["serve"], ["score"], ["model"], ["model", "init"],
        ["model", "inspect"], ["model", "import-backbone"],
    ])
    func helpShowsAnExampleThatCanBeCopied(subcommand: [String]) async throws {
        let ending = try await Program.run(subcommand + ["--help"])
        #expect(ending.status == 0 && ending.errors == "")
        let name = (["uhan"] + subcommand).joined(separator: " ")
        let lines = ending.outputLines
        let example = try #require(
            lines.firstIndex { $0.hasPrefix("  \(name) ") || $0 == "  \(name)" }, "\(ending.output)"
        )
        // It comes before the synopsis, and no line of it was broken by the width of the screen.
        #expect(example < (lines.firstIndex { $0.hasPrefix("USAGE") } ?? 0))
        let after = lines[(example + 1)...].prefix { !$0.hasPrefix("USAGE") }
        #expect(after.allSatisfy { $0.isEmpty || $0.hasPrefix(" ") || !$0.hasPrefix("-") })
    }

    @Test func anUnknownSubcommandIsNamed() async throws {
        let ending = try await Program.run("frobnicate")
        #expect(ending.status == 64)
        #expect(ending.errorLines.first == "Error: Unexpected argument 'frobnicate'")
    }
}

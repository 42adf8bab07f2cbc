import Foundation
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

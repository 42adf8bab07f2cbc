import Foundation
import Testing

@Suite struct ModelCommandTests {
    @Test func theSameSeedMakesTheSameBundleByteForByte() async throws {
        let folder = try Folder()
        let first = try await TinyModel.make(in: folder, name: "first")
        let second = try await TinyModel.make(in: folder, name: "second")
        let other = try await TinyModel.make(in: folder, name: "other", seed: 2)
        let names = try FileManager.default.contentsOfDirectory(atPath: first).sorted()
        #expect(
            names == [
                "backbone.safetensors", "config.json", "head.safetensors", "users.safetensors",
                "users.txt", "vocabulary.txt",
            ])
        for name in names {
            #expect(try folder.bytes(of: "first/\(name)") == folder.bytes(of: "second/\(name)"))
        }
        #expect(
            try folder.bytes(of: "first/head.safetensors")
                != folder.bytes(of: "other/head.safetensors"))
        _ = (second, other)
    }

    @Test func aFolderThatHoldsABundleIsLeftAlone() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let before = try folder.bytes(of: "model/config.json")
        let ending = try await Program.run(
            ["model", "init", "--seed", "2", "--output", model] + TinyModel.sizes)
        #expect(ending.status == 1)
        #expect(
            ending.errorLines == [
                "Error: \(model) already holds a model bundle; choose another folder"
            ])
        #expect(ending.output == "")
        #expect(try folder.bytes(of: "model/config.json") == before)
    }

    @Test func wordsAndUsersCanComeFromPosts() async throws {
        let folder = try Folder()
        try folder.write(
            """
            {"uid": "zoë", "pid": "1", "title": "Green tea", "alltags": "kyoto"}

            {"uid": "anna", "pid": "2", "title": "green", "description": "hills"}
            """, to: "posts.jsonl")
        let model = folder.file("model")
        let made = try await Program.run(
            [
                "model", "init", "--seed", "1", "--output", model, "--posts",
                folder.file("posts.jsonl"),
            ]
                + TinyModel.sizes)
        #expect(made.status == 0 && made.output == "", "\(made)")
        #expect(
            String(decoding: try folder.bytes(of: "model/vocabulary.txt"), as: UTF8.self)
                == "green\nhills\nkyoto\ntea\n")
        #expect(
            String(decoding: try folder.bytes(of: "model/users.txt"), as: UTF8.self)
                == "anna\nzoë\n")

        let shown = try await Program.run("model", "inspect", model)
        #expect(shown.status == 0)
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(shown.output.utf8)) as? [String: Any])
        #expect(report["words"] as? Int == 4 && report["users"] as? Int == 2)
        #expect(report["untrained"] as? Bool == true)
        #expect(shown.errors.contains("untrained"))
    }

    @Test(arguments: [
        (["--dimension", "0"], "--dimension must be in 1...4096"),
        (["--dimension", "99999"], "--dimension must be in 1...4096"),
        (["--dense", "16"], "--dense must be two widths"),
        (["--dense", "16,x"], "'x' is no width"),
        (["--side", "0"], "--side must be at most 1024 and a multiple of 32"),
        (["--side", "100"], "--side must be at most 1024 and a multiple of 32"),
        (["--blocks", "4//8"], "is no width"),
        (["--blocks", "4/8,2000"], "--blocks must be 1...8 blocks"),
        (["--posts", "/nowhere/posts.jsonl"], "cannot read /nowhere/posts.jsonl"),
        (["--posts", "/"], "cannot read /: it is a folder"),
        (["--seed", "x"], "seed"),
    ])
    func sizesThatMakeNoModelAreRefusedBeforeAnythingIsMade(
        wrong: [String], says: String
    ) async throws {
        let folder = try Folder()
        let model = folder.file("model")
        let seed = wrong.first == "--seed" ? [] : ["--seed", "1"]
        let sizes = stride(from: 0, to: TinyModel.sizes.count, by: 2)
            .map { Array(TinyModel.sizes[$0..<$0 + 2]) }
            .filter { $0.first != wrong.first }.flatMap(\.self)
        let ending = try await Program.run(
            ["model", "init", "--output", model] + seed + sizes + wrong)
        #expect(ending.status == (says.hasPrefix("cannot") ? 1 : 64), "\(ending)")
        #expect(ending.errors.contains(says), "\(ending)")
        #expect(ending.output == "")
        #expect(!FileManager.default.fileExists(atPath: model))
    }

    @Test func aBackboneIsTakenFromAnotherBundle() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        func take(_ file: String, to output: String, link: Bool = false) async throws
            -> Program.Ending
        {
            try await Program.run(
                [
                    "model", "import-backbone", file, "--normalization", "torchvision", "--seed",
                    "3", "--output", folder.file(output),
                ] + TinyModel.sizes + (link ? ["--link"] : []))
        }
        for (output, link) in [("copied", false), ("linked", true)] {
            let made = try await take("\(model)/backbone.safetensors", to: output, link: link)
            #expect(made.status == 0 && made.output == "", "\(made)")
            #expect(try await Program.run("model", "inspect", folder.file(output)).status == 0)
        }

        let missing = try await take("/nowhere.safetensors", to: "nowhere")
        #expect(missing.status == 1)
        #expect(missing.errors.contains("cannot read /nowhere.safetensors"), "\(missing)")
        let wrong = try await take("\(model)/head.safetensors", to: "wrong")
        #expect(wrong.status == 1)
        #expect(wrong.errors.contains("has no tensor 'features.0.weight'"), "\(wrong)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("wrong/config.json")))
    }
}

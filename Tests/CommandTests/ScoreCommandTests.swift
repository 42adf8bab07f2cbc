import Foundation
import Model
import Testing

@Suite struct ScoreCommandTests {
    /// One line of `uhan score`.
    private struct Line: Decodable {
        struct Failure: Decodable {
            let reason: String
            let text: String
        }
        let line: Int
        let pid: String?
        let score: Double?
        let flags: [String]?
        let image_attention: [[Double]]?
        let error: Failure?
    }

    private func lines(_ ending: Program.Ending) throws -> [Line] {
        try ending.outputLines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    @Test func everyLineIsAnsweredInOrderWithItsScoreOrItsError() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        try folder.writePicture(1, to: "one.jpg")
        try folder.write("not a picture", to: "two.jpg")
        let inline = Data(try Folder.picture(2)).base64EncodedString()
        let posts = try folder.write(
            """
            {"uid": "user-1", "pid": "good", "title": "sunset over the lake", "image": "one.jpg"}
            {"uid": "user-1", "pid": "undecodable", "image": "two.jpg"}

            {"uid": "user-1", "pid": "missing", "image": "three.jpg"}
            not json
            {"uid": "stranger", "pid": "without", "title": ""}
            {"uid": "user-2", "pid": "inline", "title": "sunset", "image_base64": "\(inline)"}
            {"uid": "user-2", "pid": "other bytes", "image": "one.jpg", "image_sha256": "\(String(repeating: "0", count: 64))"}
            {"uid": "user-2", "pid": "url", "image_url": "https://example.com/a.jpg"}
            {"uid": "user-2", "pid": "outside", "image": "../one.jpg"}
            """, to: "posts.jsonl")
        let ending = try await Program.run("score", "--model", model, "--posts", posts)

        #expect(ending.status == 0, "\(ending)")
        let lines = try lines(ending)
        try #require(lines.map(\.line) == [1, 2, 4, 5, 6, 7, 8, 9, 10])
        #expect(
            lines.map(\.pid) == [
                "good", "undecodable", "missing", nil, "without", "inline", "other bytes", "url",
                nil,
            ])
        #expect(
            lines.map { $0.error?.reason } == [
                nil, "image_undecodable", "image_unavailable", "malformed_event", nil, nil,
                "image_checksum_mismatch", "image_refused", "malformed_event",
            ])
        #expect(lines.allSatisfy { ($0.score == nil) != ($0.error == nil) })
        #expect(lines[0].flags == ["untrained"])
        #expect(lines[4].flags == ["no_image", "no_text", "unknown_user", "untrained"])
        #expect(lines[0].image_attention?.map(\.count) == [2, 2])
        // People are told on stderr, in words.
        #expect(ending.errorLines.first?.contains("untrained") == true)
        #expect(ending.errorLines.last?.hasPrefix("3 scored, 6 could not be scored") == true)

        // From stdin it is the same, with the images' folder named; and so it is the next time.
        let text = String(decoding: try folder.bytes(of: "posts.jsonl"), as: UTF8.self)
        let piped = try await Program.run(
            "score", "--model", model, "--posts", "-", "--images", folder.path, "--threads", "1",
            input: text)
        #expect(piped.output == ending.output)
    }

    @Test func featuresAreWrittenOnePerPost() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        try folder.writePicture(1, to: "one.jpg")
        let posts = try folder.write(
            """
            {"uid": "u", "pid": "a", "image": "one.jpg"}
            {"uid": "u", "pid": "b"}
            {"uid": "u", "pid": "a", "image": "one.jpg"}
            """, to: "posts.jsonl")
        let features = folder.file("features.safetensors")
        let ending = try await Program.run(
            "score", "--model", model, "--posts", posts, "--features-output", features)
        #expect(ending.status == 0)
        #expect(ending.errors.contains("line 3: pid a again"), "\(ending)")
        let file = try Safetensors(path: features)
        #expect(file.names == ["a"] && file.shape(of: "a") == [4, 8])

        let unwritable = try await Program.run(
            "score", "--model", model, "--posts", posts, "--features-output", "/nowhere/f")
        #expect(unwritable.status == 1)
        #expect(
            unwritable.errorLines.last
                == "Error: cannot write /nowhere/f: No such file or directory")
    }

    @Test func aReaderThatGoesAwayEndsItQuietly() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let posts = try folder.write(
            (0..<3_000).map { #"{"uid": "u", "pid": "\#($0)", "title": "sunset"}"# }
                .joined(separator: "\n"), to: "posts.jsonl")
        let ending = try await Program.shell(
            "\"$UHAN\" score --model '\(model)' --posts '\(posts)' | head -1")
        #expect(ending.status == 0)
        #expect(ending.outputLines.count == 1)
        #expect(ending.errorLines == ["untrained weights: these scores mean nothing"], "\(ending)")
    }

    @Test func whereNothingCouldBeScoredTheExitCodeSaysSo() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let failed = try await Program.run(
            "score", "--model", model, "--posts", "-", input: "not json\n{}\n")
        #expect(failed.status == 1)
        #expect(
            try lines(failed).map { $0.error?.reason } == ["malformed_event", "malformed_event"])
        #expect(failed.errorLines.last?.hasPrefix("0 scored, 2 could not be scored") == true)
        let empty = try await Program.run("score", "--model", model, "--posts", "-")
        #expect(empty.status == 0 && empty.output == "")
    }

    @Test func aFullDiskIsSaid() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let posts = try folder.write(#"{"uid": "u", "pid": "p"}"#, to: "posts.jsonl")
        let ending = try await Program.shell(
            "\"$UHAN\" score --model '\(model)' --posts '\(posts)' > /dev/full")
        #expect(ending.status == 1)
        #expect(
            ending.errorLines.last == "Error: cannot write to stdout: No space left on device")
    }

    /// What is done to a bundle, and what is said about it.
    @Test(arguments: Damage.allCases) func aBundleThatIsNotWholeIsRefused(_ damage: Damage)
        async throws
    {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        try damage.happen(to: folder)
        let posts = try folder.write(#"{"uid": "u", "pid": "p"}"#, to: "posts.jsonl")
        // Several threads: those of a scorer that cannot be made are ended before they began.
        for arguments in [
            ["score", "--model", model, "--posts", posts, "--threads", "4"],
            ["model", "inspect", model],
            ["serve", "--model", model, "--kafka-bootstrap", "127.0.0.1:1", "--threads", "4"],
            ["quickstart", "--model", model, "--posts", "1", "--threads", "4"],
        ] {
            let ending = try await Program.run(arguments)
            #expect(ending.status == 1, "\(arguments) \(ending)")
            #expect(ending.output == "", "\(arguments)")
            let last = ending.errorLines.last ?? ""
            #expect(last.hasPrefix("Error: "), "\(arguments) \(ending)")
            for part in damage.says {
                #expect(last.contains(part), "\(arguments) \(ending)")
            }
        }
    }

    enum Damage: String, CaseIterable {
        case noBundle, missingFile, swappedFiles, truncatedFile, changedByte, notJSON, wrongShapes

        var says: [String] {
            switch self {
            case .noBundle: ["no model bundle in", "uhan model init"]
            case .missingFile: ["cannot read", "users.txt", "No such file"]
            case .swappedFiles: ["users.safetensors", "swapped", "restore it"]
            case .truncatedFile: ["backbone.safetensors", "only partly copied", "restore it"]
            case .changedByte: ["head.safetensors", "was changed", "restore it"]
            case .notJSON: ["config.json", "damaged"]
            case .wrongShapes: ["backbone.safetensors", "expected shape", "config.json"]
            }
        }

        func happen(to folder: Folder) throws {
            let files = FileManager.default
            func path(_ name: String) -> String { folder.file("model/\(name)") }
            switch self {
            case .noBundle:
                try files.removeItem(atPath: path(""))
            case .missingFile:
                try files.removeItem(atPath: path("users.txt"))
            case .swappedFiles:
                try files.moveItem(atPath: path("head.safetensors"), toPath: path("aside"))
                try files.moveItem(
                    atPath: path("users.safetensors"), toPath: path("head.safetensors"))
                try files.moveItem(atPath: path("aside"), toPath: path("users.safetensors"))
            case .truncatedFile:
                let bytes = try folder.bytes(of: "model/backbone.safetensors")
                try folder.write(Array(bytes.dropLast(4)), to: "model/backbone.safetensors")
            case .changedByte:
                var bytes = try folder.bytes(of: "model/head.safetensors")
                bytes[bytes.count / 2] ^= 1
                try folder.write(bytes, to: "model/head.safetensors")
            case .notJSON:
                try folder.write("{", to: "model/config.json")
            case .wrongShapes:
                let text = String(
                    decoding: try folder.bytes(of: "model/config.json"), as: UTF8.self)
                var object =
                    try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] ?? [:]
                var backbone = object["backbone"] as? [String: Any] ?? [:]
                backbone["blocks"] = [[8], [8], [8], [8], [8]]
                object["backbone"] = backbone
                let data = try JSONSerialization.data(withJSONObject: object)
                try folder.write([UInt8](data), to: "model/config.json")
            }
        }
    }

    @Test func wrongUseIsExplainedInALineBeforeTheModelIsLoaded() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        for (arguments, status, says) in [
            (
                ["--posts", "/nowhere/posts"], 1,
                "cannot read /nowhere/posts: No such file or directory"
            ),
            (["--posts", folder.path], 1, "it is a folder; give a file of JSON lines"),
            (["--posts", "-", "--threads", "0"], 64, "--threads must be at least 1"),
            ([], 64, "Missing expected argument '--posts <posts>'"),
        ] as [([String], Int32, String)] {
            let ending = try await Program.run(["score", "--model", model] + arguments)
            #expect(ending.status == status)
            let first = ending.errorLines.first ?? ""
            #expect(first.hasPrefix("Error: ") && first.contains(says), "\(ending)")
            #expect(ending.output == "")
        }
    }
}

import Foundation
import Model
import Testing

@Suite struct ExplainCommandTests {
    /// One line of `uhan explain`.
    private struct Line: Decodable {
        struct Files: Decodable {
            let png: String
            let html: String
        }
        struct User: Decodable {
            struct Attention: Decodable {
                struct Word: Decodable {
                    let word: String
                    let weight: Float
                }
                let text: Float
                let image: Float
                let top_words: [Word]
                let regions: Int
            }
            struct Faithfulness: Decodable {
                struct Part: Decodable {
                    let removed: Int
                    let of: Int
                    let change: Float
                    let random_mean: Float
                    let draws: Int
                }
                let regions: Part?
                let words: Part?
            }
            let uid: String
            let score: Float
            let flags: [String]
            let attention: Attention
            let faithfulness: Faithfulness
            let difference: Float?
        }
        struct Failure: Decodable {
            let reason: String
        }
        let line: Int
        let pid: String?
        let files: Files?
        let users: [User]?
        let error: Failure?
    }
    private struct Score: Decodable {
        let pid: String?
        let score: Float?
    }

    private func lines<Kind: Decodable>(_ ending: Program.Ending, _: Kind.Type) throws -> [Kind] {
        try ending.outputLines.map { try JSONDecoder().decode(Kind.self, from: Data($0.utf8)) }
    }

    /// Posts, friendly and hostile, with their images.
    private func posts(in folder: Folder) throws -> String {
        try folder.writePicture(1, to: "one.jpg")
        try folder.writePicture(2, to: "two.jpg")
        try folder.write("not a picture", to: "three.jpg")
        let long = (0..<1_000).map { _ in "sunset" }.joined(separator: " ")
        return try folder.write(
            """
            {"uid": "user-1", "pid": "good", "title": "sunset over the lake, mountain and sky", "image": "one.jpg"}
            {"uid": "user-2", "pid": "../../etc/passwd <script>", "title": "<script>alert(1)</script>", "alltags": "sunset \\u202e שלום 👩‍👩‍👧", "image": "two.jpg"}
            {"uid": "stranger", "pid": "bare"}
            {"uid": "user-1", "pid": "broken", "image": "three.jpg"}
            not json
            {"uid": "user-3", "pid": "long", "title": "\(long)", "image": "one.jpg"}
            """, to: "posts.jsonl")
    }

    @Test func everyPostGetsItsPictureAndPageWithTheScoreOfTheScoreCommand() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let posts = try posts(in: folder)
        let output = folder.file("out/pictures")
        let ending = try await Program.run(
            "explain", "--model", model, "--posts", posts, "--output", output, "--grid")
        #expect(ending.status == 0, "\(ending)")
        #expect(ending.errorLines.last == "4 explained in \(output), 2 could not be")
        let lines = try lines(ending, Line.self)
        try #require(lines.map(\.line) == [1, 2, 3, 4, 5, 6])
        #expect(
            lines.map { $0.error?.reason } == [
                nil, nil, nil, "image_undecodable", "malformed_event", nil,
            ])

        let scores = try self.lines(
            try await Program.run("score", "--model", model, "--posts", posts), Score.self)
        #expect(lines.map { $0.users?.first?.score } == scores.map(\.score))

        for line in lines {
            guard let files = line.files else { continue }
            #expect(!files.png.contains("/") && !files.html.contains("<"))
            let png = try folder.bytes(of: "out/pictures/\(files.png)")
            #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]))
            let page = String(
                decoding: try folder.bytes(of: "out/pictures/\(files.html)"), as: UTF8.self)
            #expect(!page.contains("<script"))
        }
        let written = try FileManager.default.contentsOfDirectory(atPath: output)
        #expect(written.count == 2 * 4 + 2 && !written.contains { $0.hasSuffix(".part") })
        let index = String(
            decoding: try folder.bytes(of: "out/pictures/index.html"), as: UTF8.self)
        #expect(lines.compactMap(\.files).allSatisfy { index.contains("href=\"\($0.html)\"") })

        let good = try #require(lines[0].users?.first)
        #expect(good.attention.regions == 4)
        #expect(abs(good.attention.text + good.attention.image - 1) < 1e-5)
        #expect(good.faithfulness.regions?.removed == 1 && good.faithfulness.regions?.of == 4)
        #expect(good.faithfulness.words?.draws == 20)
        #expect(good.difference == nil)
        let bare = try #require(lines[2].users?.first)
        #expect(bare.flags == ["no_image", "no_text", "unknown_user", "untrained"])
        #expect(bare.faithfulness.regions == nil && bare.faithfulness.words == nil)

        // Again, with other threads: the same words, the same bytes.
        let other = folder.file("other")
        let again = try await Program.run(
            "explain", "--model", model, "--posts", posts, "--output", other, "--threads", "1")
        #expect(again.output == ending.output)
        for line in lines {
            for name in [line.files?.png, line.files?.html].compactMap(\.self) {
                #expect(
                    try folder.bytes(of: "other/\(name)")
                        == folder.bytes(of: "out/pictures/\(name)"))
            }
        }
    }

    @Test func twoUsersAreComparedOnTheSamePost() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let posts = try posts(in: folder)
        let ending = try await Program.run(
            "explain", "--model", model, "--posts", posts, "--output", folder.file("out"),
            "--pid", "good", "--user", "user-4", "--user", "nobody")
        #expect(ending.status == 0, "\(ending)")
        let users = try #require(try lines(ending, Line.self).first?.users)
        #expect(users.map(\.uid) == ["user-4", "nobody"])
        #expect(users[1].flags.contains("unknown_user") && !users[0].flags.contains("unknown_user"))
        #expect(users[1].difference == users[1].score - users[0].score)

        // What `uhan score` gives for the same post of these users.
        let same = try folder.write(
            ["user-4", "nobody"].map {
                #"{"uid": "\#($0)", "pid": "good", "title": "sunset over the lake, mountain and sky", "image": "one.jpg"}"#
            }.joined(separator: "\n"), to: "same.jsonl")
        let scores = try lines(
            try await Program.run("score", "--model", model, "--posts", same), Score.self)
        #expect(users.map(\.score) == scores.map(\.score))
    }

    @Test func postsArePickedByIdAndNumber() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let posts = try posts(in: folder)
        let common = ["explain", "--model", model, "--posts", posts, "--output", folder.file("o")]
        let picked = try await Program.run(common + ["--pid", "bare", "--pid", "missing"])
        #expect(picked.status == 0)
        #expect(try lines(picked, Line.self).map(\.pid) == ["bare"])
        #expect(picked.errors.contains("no post missing in"), "\(picked)")
        let none = try await Program.run(common + ["--pid", "missing"])
        #expect(none.status == 1 && none.output == "")
        let limited = try await Program.run(common + ["--limit", "2"])
        #expect(try lines(limited, Line.self).map(\.line) == [1, 2])

        for wrong in [
            ["--limit", "0"], ["--user", "a", "--user", "a"], ["--user", ""], ["--threads", "0"],
        ] {
            let ending = try await Program.run(common + wrong)
            #expect(ending.status == 64, "\(ending)")
        }
        let unwritable = try await Program.run(
            "explain", "--model", model, "--posts", posts, "--output", "/dev/null/x")
        #expect(unwritable.status == 1)
        #expect(unwritable.errors.contains("cannot make the folder /dev/null/"), "\(unwritable)")
    }
}

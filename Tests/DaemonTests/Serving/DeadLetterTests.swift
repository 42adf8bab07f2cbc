import Daemon
import Foundation
import Model
import Pipeline
import Testing

/// What cannot be scored ends on the dead-letter topic, and nothing else is held up by it.
@Suite struct DeadLetterTests {
    @Test func everyReasonEndsThereAndTheGoodPostsBetweenAreScored() async throws {
        let stage = try Stage(partitions: 1)
        try stage.folder.write(Array("GIF89a, say".utf8), to: "picture.gif")
        var corrupt = try Pictures.jpeg(3)
        corrupt.removeSubrange(40..<corrupt.count / 2)
        let sha256 = try sha256Hex(Pictures.jpeg(1))
        let bad: [(Post, DeadLetterReason)] = try [
            (Post("malformed").with(raw: #"{"uid": "anna", "pid": "#), .malformedEvent),
            (Post("no object").with(raw: "[]"), .malformedEvent),
            (Post("no uid").with(raw: #"{"pid": "1"}"#), .malformedEvent),
            (Post("empty").with(raw: ""), .emptyValue),
            (Post("wrong key").with(key: .bytes(Array("ben".utf8))), .keyMismatch),
            (Post("no key").with(key: .none), .keyMismatch),
            (Post("missing file").with(url: stage.folder.url("nowhere.jpg")), .imageRefused),
            (Post("outside").with(url: "file:///etc/hostname"), .imageRefused),
            (Post("no jpeg by file").with(url: stage.folder.url("picture.gif")), .imageUndecodable),
            (Post("no jpeg").with(inline: Array("hello".utf8)), .imageUndecodable),
            (Post("corrupt").with(inline: corrupt), .imageUndecodable),
            (
                Post.inline("other bytes", picture: 2).with("image_sha256", sha256),
                .imageChecksumMismatch
            ),
            (Post("private").with(url: "http://127.0.0.1/a.jpg"), .imageRefused),
            (Post("metadata").with(url: "http://169.254.169.254/latest"), .imageRefused),
            (Post("port").with(url: "http://example.com:22/a.jpg"), .imageRefused),
        ]
        let good = try (0...bad.count).map { try Post.inline("good-\($0)", picture: UInt64($0)) }
        var posts: [Post] = []
        for (index, letter) in bad.enumerated() {
            var post = letter.0
            post.headers = [("trace", Array("\(index)".utf8)), ("none", nil)]
            posts += [good[index], post]
        }
        let lastSHA256 = try sha256Hex(Pictures.jpeg(UInt64(bad.count)))
        posts.append(good[bad.count].with("image_sha256", lastSHA256))

        let peer = try await stage.peer()
        try await peer.publish(posts)
        try await peer.publishTombstone(key: "anna")
        let written = posts
        let answers = try await stage.whileServing { try await peer.answers(written.count + 1) }

        let scores = try answers.scores()
        #expect(Set(scores.keys) == Set(good.map(\.pid)))
        #expect(scores.values.allSatisfy { $0.scored?.flags == [.untrained] })

        // In the order of their offsets, each with its whole record and where it came from.
        let letters = answers.deadLetters
        #expect(letters.count == bad.count + 1)
        for ((post, reason), (index, letter)) in zip(bad, letters.enumerated()) {
            #expect(letter.headers["uhan.reason"] == reason.rawValue, "\(post.pid)")
            #expect(letter.headers["uhan.topic"] == Stage.topics.posts)
            #expect(letter.headers["uhan.partition"] == "0")
            #expect(letter.headers["uhan.offset"] == "\(2 * index + 1)")
            #expect(letter.headers["uhan.error"]?.isEmpty == false)
            #expect(letter.headers["trace"] == "\(index)")
            #expect(letter.headers["none"] == "")
            #expect(letter.key == post.keyBytes.map { String(decoding: $0, as: UTF8.self) })
            #expect(letter.value == post.json, "\(post.pid)")
        }
        let tombstone = try #require(letters.last)
        #expect(tombstone.headers["uhan.reason"] == DeadLetterReason.emptyValue.rawValue)
        #expect(tombstone.value == nil && tombstone.key == "anna")
        #expect(stage.status.status.deadLettered == letters.count)
    }

    @Test func aPostWithAnUnusableImageIsScoredWithoutItWhereThatIsAsked() async throws {
        var stage = try Stage(partitions: 1)
        stage.configuration.images.unusable = .scoreWithout
        let posts = try [
            Post("missing").with(url: stage.folder.url("nowhere.jpg")),
            Post("undecodable").with("image_base64", Data("hello".utf8).base64EncodedString()),
            Post("refused").with(url: "http://127.0.0.1/a.jpg"),
            Post.inline("good"),
            Post("without"),
        ]
        let peer = try await stage.peer()
        try await peer.publish(posts + [Post("malformed").with(raw: "{")])
        let answers = try await stage.whileServing { try await peer.answers(posts.count + 1) }

        let scores = try answers.scores()
        for pid in ["missing", "undecodable", "refused"] {
            #expect(scores[pid]?.scored?.flags == [.imageUnusable, .untrained])
            #expect(scores[pid]?.scored?.score == scores["without"]?.scored?.score)
        }
        #expect(scores["good"]?.scored?.flags == [.untrained])
        #expect(scores["without"]?.scored?.flags == [.noImage, .untrained])
        #expect(answers.deadLetters.count == 1)
    }
}

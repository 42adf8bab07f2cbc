import Daemon
import Foundation
import Kafka
import Model
import Pipeline
import Testing

/// Posts in, scores out: the whole daemon against a broker.
@Suite struct ScoringTests {
    @Test func everyKindOfPostIsScoredAsTheScorerItselfWould() async throws {
        let stage = try Stage()
        try stage.folder.write(Pictures.jpeg(2), to: "second picture.jpg")
        let posts = try [
            Post.inline("inline", by: "anna"),
            Post("by file", by: "ben").with(
                url: stage.folder.url("second%20picture.jpg"), picture: Pictures.jpeg(2)),
            Post("without image", by: "anna"),
            Post.inline("no known word", by: "anna").with(text: "qwertz uiopü"),
            Post.inline("unknown user", by: "zoë"),
            Post("nothing known", by: "nobody").with(text: ""),
        ]
        let peer = try await stage.peer()
        try await peer.publish(posts)
        let answers = try await stage.whileServing { try await peer.answers(posts.count) }

        let scores = try answers.scores()
        #expect(scores.count == posts.count)
        for post in posts {
            let score = try #require(scores[post.pid])
            let scored = try #require(score.scored)
            #expect(score.uid == post.uid)
            // Bit for bit, attention included; only the clock differs.
            let expectation = try stage.expectation(for: post)
            let expected = ScoreEvent.Scored(
                expectation.scoring(of: stage.bundle), isRepeat: false, timings: scored.timings)
            var comparable = scored
            comparable.timings.backbone = expected.timings.backbone
            comparable.timings.encode = expected.timings.encode
            comparable.timings.score = expected.timings.score
            #expect(comparable == expected, "\(post.pid)")
        }
        #expect(scores["inline"]?.scored?.flags == [.untrained])
        #expect(scores["by file"]?.scored?.flags == [.untrained])
        #expect(scores["without image"]?.scored?.flags == [.noImage, .untrained])
        #expect(scores["no known word"]?.scored?.flags == [.noText, .untrained])
        #expect(scores["unknown user"]?.scored?.flags == [.unknownUser, .untrained])
        #expect(
            scores["nothing known"]?.scored?.flags == [
                .noImage, .noText, .unknownUser, .untrained,
            ])
        #expect(scores["inline"]?.scored?.userVector == "bundle")
        #expect(scores["unknown user"]?.scored?.userVector == "unknown")
        // Different pictures, words and users make different scores.
        #expect(Set(scores.values.compactMap { $0.scored?.score }).count == posts.count)
        #expect(stage.status.status.scored == posts.count)
    }

    @Test func anAnswerSaysWhichRecordItAnswersInTheOrderOfItsPartition() async throws {
        let stage = try Stage()
        let users = ["anna", "ben", "carla", "dora", "emil"]
        let posts = try (0..<60).map { index in
            // Pictures make some posts slower than the ones behind them.
            let post = Post("post-\(index)", by: users[index % users.count])
            return try index % 3 == 0 ? post.with(inline: Pictures.jpeg(UInt64(index))) : post
        }
        let peer = try await stage.peer()
        try await peer.publish(posts)
        let answers = try await stage.whileServing { try await peer.answers(posts.count) }

        let scores = try answers.map { try $0.score() }
        for user in users {
            #expect(
                scores.filter { $0.uid == user }.map(\.pid)
                    == posts.filter { $0.uid == user }.map(\.pid))
        }
        let places = Dictionary(grouping: scores, by: \.origin.partition)
        #expect(places.values.reduce(0) { $0 + $1.count } == posts.count)
        for (partition, scores) in places {
            // Each record of each partition once; the scores of one partition keep its order, since
            // both topics are partitioned by user.
            #expect(
                scores.map(\.origin.offset).sorted() == (0..<Int64(scores.count)).map { $0 },
                "partition \(partition)")
            #expect(scores.map(\.origin.offset) == scores.map(\.origin.offset).sorted())
            #expect(scores.allSatisfy { $0.origin.topic == Stage.topics.posts })
        }
    }

    @Test func aScoreHoldsWhatItsSchemaSays() async throws {
        let stage = try Stage()
        let peer = try await stage.peer()
        try await peer.publish(
            .inline("scored"), Post("expired").with("score_by", "1000000000"))
        let answers = try await stage.whileServing { try await peer.answers(2) }
        for answer in answers {
            let problems = try ScoreSchema().problems(in: answer.value ?? [])
            #expect(problems == [], "\(String(decoding: answer.value ?? [], as: UTF8.self))")
        }
    }

    @Test func aPostWhoseTimeIsOverIsAnsweredAsExpired() async throws {
        let stage = try Stage()
        let peer = try await stage.peer()
        let now = Date.now.timeIntervalSince1970
        try await peer.publish(
            Post.inline("too late").with("score_by", "\(now - 1)"),
            Post("too late without image").with("score_by", "\(now - 0.5)"),
            Post.inline("in time").with("score_by", "\(now + 3_600)"))
        let scores = try await stage.whileServing { try await peer.answers(3) }.scores()
        #expect(scores["too late"]?.outcome == .expired(scoreBy: now - 1))
        #expect(scores["too late without image"]?.scored == nil)
        #expect(scores["in time"]?.scored != nil)
        #expect(stage.status.status.expired == 2)
    }

    @Test func aPostSeenAgainIsScoredAgainAndMarked() async throws {
        let stage = try Stage()
        let peer = try await stage.peer()
        try await peer.publish(.inline("same"), .inline("other"), .inline("same"))
        let answers = try await stage.whileServing { try await peer.answers(3) }
        let scores = try answers.map { try $0.score() }
        let same = scores.filter { $0.pid == "same" }.compactMap(\.scored)
        #expect(same.map { $0.flags.contains(.repeated) } == [false, true])
        #expect(same.first?.score == same.last?.score)
        #expect(scores.first { $0.pid == "other" }?.scored?.flags == [.untrained])
    }

    /// Answers of the scoring thread wake the polling thread, which would otherwise sleep until its
    /// 50 ms are up: between two scores, once everything has been read, that would be felt.
    @Test func theThreadThatPollsIsWokenByAnswers() async throws {
        let stage = try Stage(partitions: 1)
        let peer = try await stage.peer()
        let posts = try (0..<60).map { try Post.inline("post-\($0)", picture: UInt64($0)) }
        try await peer.publish(posts)
        let scores = try await stage.whileServing { try await peer.answers(posts.count) }.scores()
        let times = scores.values.map(\.scoredAt).sorted()
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }.sorted()
        let median = Double(gaps[gaps.count / 2])

        // The same work by itself, on this machine and under this load.
        let alone = try posts.map { post in
            let start = ContinuousClock.now
            _ = try stage.expectation(for: post)
            return (ContinuousClock.now - start) / .milliseconds(1)
        }.sorted()[posts.count / 2]
        #expect(median < 25 + 5 * alone, "\(median) ms from score to score, \(alone) of them work")
    }
}

extension ScoreEvent {
    var scored: Scored? {
        if case .scored(let scored) = outcome { scored } else { nil }
    }
}

/// `schemas/score.v1.json`, as far as it speaks of which members there are.
struct ScoreSchema {
    private let required: [String]
    private let properties: [CodePoints: JSONValue]

    init() throws {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(4)
        let path = parts.joined(separator: "/") + "/schemas/score.v1.json"
        let schema = try JSONValue(parsing: [UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
        guard case .object(let members) = schema,
            case .object(let properties) = members["properties"],
            case .array(let required) = members["required"]
        else { throw NotASchema() }
        self.properties = properties
        self.required = required.compactMap { if case .string(let name) = $0 { name } else { nil } }
    }

    struct NotASchema: Error {}

    func problems(in bytes: [UInt8]) throws -> [String] {
        guard case .object(let members) = try JSONValue(parsing: bytes) else {
            return ["not an object"]
        }
        let missing = required.filter { members[$0] == nil }.map { "\($0) is missing" }
        let others = members.sorted { $0.key.string < $1.key.string }.compactMap {
            key, value -> String? in
            let name = key.string
            guard case .object(let property) = properties[key] else { return "\(name)?" }
            if let constant = property["const"], constant != value { return "\(name): \(value)" }
            if case .array(let values) = property["enum"], !values.contains(value) {
                return "\(name): \(value)"
            }
            guard case .string(let type) = property["type"] else { return nil }
            switch (type, value) {
            case ("string", .string), ("number", .number), ("integer", .number), ("array", .array),
                ("object", .object):
                return nil
            default: return "\(name) is no \(type)"
            }
        }
        return missing + others
    }
}

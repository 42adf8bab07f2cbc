import Glibc
import Model
import Testing
import Training

@Suite struct PointingGameTests {
    @Test func attentionOnTheSubjectHits() throws {
        let game = try PointingGame.play(
            [
                played("a", on: 0, boxes: [[0, 0, 0.25, 0.25]], subject: 0),
                played("b", on: 15, boxes: [[0, 0, 0.25, 0.25]], subject: 0),
            ], side: 4)
        let subject = try #require(game.subject)
        #expect(subject.posts == 2)
        #expect(subject.hitRate.value == 0.5)
        #expect(abs(subject.area - 1.0 / 16) < 1e-12)
        #expect(abs(subject.ratio.value - 8) < 1e-12)
        #expect(abs(subject.mass.value - 0.5) < 1e-12)
        #expect(subject.hitRate.interval == .init(low: 0, high: 1))
        #expect(subject.unreachable == 0)
    }

    /// Looking everywhere alike is chance, whatever the box: its mass is the box's area, also
    /// where the box cuts through regions.
    @Test func evenAttentionIsChance() throws {
        let even = [Float](repeating: 1 / 196, count: 196)
        let truth = try truth(boxes: [[0.11, 0.2, 0.46, 0.73], [0.3, 0.5, 0.9, 0.6]], subject: 0)
        let game = try PointingGame.play([.init(uid: "a", attention: even, truth: truth)])
        let subject = try #require(game.subject)
        #expect(abs(subject.area - 0.35 * 0.53) < 1e-9)
        #expect(abs(subject.massRatio.value - 1) < 1e-5)
        // The boxes overlap: their union counts once.
        let any = try #require(game.anyObject)
        #expect(abs(any.area - (0.35 * 0.53 + 0.6 * 0.1 - 0.16 * 0.1)) < 1e-9)
        #expect(abs(any.massRatio.value - 1) < 1e-5)
    }

    @Test func postsWithoutASubjectCountOnlyForAnyObject() throws {
        let game = try PointingGame.play(
            [played("a", on: 5, boxes: [[0.25, 0.25, 0.5, 0.5]], subject: nil)], side: 4)
        #expect(game.subject == nil)
        #expect(game.anyObject?.hitRate.value == 1)
        #expect(game.anyObject?.hitRate.interval == nil)
    }

    @Test func aBoxBetweenTheCentresIsUnreachable() throws {
        let game = try PointingGame.play(
            [played("a", on: 0, boxes: [[0.15, 0.15, 0.2, 0.2]], subject: 0)], side: 4)
        #expect(game.subject?.unreachable == 1)
        #expect(game.subject?.hitRate.value == 0)
    }

    @Test func refusesAttentionOfAnotherSize() throws {
        let error = #expect(throws: TrainingError.self) {
            try PointingGame.play([played("a", on: 0, boxes: [], subject: nil)])
        }
        #expect(error?.description.contains("16 weights") == true)
    }

    @Test func readsTheTruthOfAGallery() throws {
        let truth = try truth(boxes: [[0, 0, 1, 1]], subject: 0)
        #expect(truth.objects == [.init(box: [0, 0, 1, 1])])
        #expect(truth.expectedScore == 2.5)
        for (line, reason) in [
            ("{\"pid\":\"p\",\"objects\":[],\"subject\":0,\"expected_score\":1}", "subject"),
            ("{\"pid\":\"p\",\"objects\":[{\"box\":[1]}],\"expected_score\":1}", "4 numbers"),
            ("{}", "not a line"),
        ] {
            let error = #expect(throws: TrainingError.self) { try read(line) }
            #expect(error?.description.contains(reason) == true)
            #expect(error?.description.contains("truth.jsonl:1:") == true)
        }
    }

    @Test func theOracleKnowsEveryPostOrSaysWhich() throws {
        let truth = try read(line(boxes: [], subject: nil))
        let post = PreparedPost(pid: "p", uid: "u", part: .test, postedAt: 0, target: 0)
        #expect(try truth.oracleScores([post]) == [2.5])
        var other = post
        other.pid = "q"
        let error = #expect(throws: TrainingError.self) { try truth.oracleScores([other]) }
        #expect(error?.description.contains("does not know the post q") == true)
    }

    private func played(
        _ uid: String, on region: Int, boxes: [[Double]], subject: Int?
    ) throws -> PointingGame.Case {
        var attention = [Float](repeating: 0, count: 16)
        attention[region] = 1
        return .init(
            uid: uid, attention: attention, truth: try truth(boxes: boxes, subject: subject))
    }

    private func truth(boxes: [[Double]], subject: Int?) throws -> GalleryTruth.Post {
        try #require(try read(line(boxes: boxes, subject: subject))["p"])
    }

    private func line(boxes: [[Double]], subject: Int?) -> String {
        let objects = boxes.map { "{\"kind\":\"boat\",\"color\":\"red\",\"box\":\($0)}" }
        return "{\"pid\":\"p\",\"objects\":[\(objects.joined(separator: ","))],"
            + (subject.map { "\"subject\":\($0)," } ?? "") + "\"expected_score\":2.5}\n"
    }

    private func read(_ text: String) throws -> GalleryTruth {
        try withScratchFolder { folder in
            try writeFile(Array(text.utf8), to: "\(folder)/truth.jsonl")
            return try GalleryTruth(path: "\(folder)/truth.jsonl")
        }
    }
}

import Glibc
import Model
import Pipeline
import Testing

/// How far the score moves when what was attended most goes, against as much at random.
struct FaithfulnessTests {
    /// A score that is a sum, so that what each removal costs can be worked out by hand.
    private func measure(
        _ weights: [Float], worth: [Float], percent: Int, draws: Int = 20,
        seen: (([Int]) -> Void)? = nil
    ) -> Faithfulness.Part? {
        Faithfulness.Part(
            weights: weights, percent: percent, score: worth.reduce(0, +), draws: draws, seed: 1
        ) { removed in
            seen?(removed)
            return worth.indices.reduce(0) { removed.contains($1) ? $0 : $0 + worth[$1] }
        }
    }

    @Test func theFiguresAreThoseWorkedOutByHand() throws {
        let worth: [Float] = [1, -2, 8, 4]
        var removals: [[Int]] = []
        let part = try #require(
            measure([0.1, 0.2, 0.5, 0.2], worth: worth, percent: 50) { removals.append($0) })
        // The two most attended: the third, and of two equals the first.
        #expect(removals[0] == [1, 2])
        #expect(part.removed == 2 && part.of == 4 && part.draws == 20)
        #expect(part.change == 2 - 8)

        let draws = removals.dropFirst()
        #expect(draws.count == 20)
        #expect(draws.allSatisfy { $0.count == 2 && $0[0] < $0[1] })
        #expect(Set(draws.map { $0.description }).count > 3)
        let moved = draws.map { abs($0.reduce(0) { $0 + worth[$1] }) }
        let mean = moved.reduce(0, +) / 20
        let deviation = (moved.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20).squareRoot()
        #expect(abs(part.randomMean - mean) < 1e-5)
        #expect(abs(part.randomDeviation - deviation) < 1e-4)
        #expect(part.weakerDraws == moved.count { $0 < 6 })
        #expect(try abs(#require(part.ratio) - 6 / mean) < 1e-5)
    }

    @Test func theSharesAreRoundedUpAndTooFewAreNotJudged() throws {
        func removed(_ count: Int, _ percent: Int) -> Int? {
            let ones = [Float](repeating: 1, count: count)
            return measure(ones, worth: ones, percent: percent)?.removed
        }
        #expect(removed(196, Faithfulness.regionPercent) == 10)
        #expect(removed(4, Faithfulness.regionPercent) == 1)
        #expect(removed(50, Faithfulness.wordPercent) == 5)
        #expect(removed(11, Faithfulness.wordPercent) == 2)
        #expect(removed(10, Faithfulness.wordPercent) == 1)
        #expect(removed(3, 10) == nil && removed(0, 10) == nil)
    }

    @Test func theSameWeightsGiveTheSameDraws() throws {
        let weights = (0..<30).map { Float($0) }
        var runs: [[[Int]]] = [[], []]
        for run in 0..<2 {
            _ = measure(weights, worth: weights, percent: 10) { runs[run].append($0) }
        }
        #expect(runs[0] == runs[1])
    }

    @Test func whereNothingMovesThereIsNoRatio() throws {
        let part = try #require(
            measure([1, 2, 3, 4], worth: [0, 0, 0, 0], percent: 10))
        #expect(part.ratio == nil && part.change == 0 && part.weakerDraws == 0)
    }

    @Test func removedRegionsTakeTheMeanOfThoseThatStay() {
        let features: [Float] = [1, 10, 2, 20, 3, 30, 7, 70]
        #expect(
            PostHead.replacing([1, 3], of: features, regions: 4)
                == [1, 10, 2, 20, 3, 30, 2, 20])
        #expect(
            PostHead.replacing([0], of: features, regions: 4) == [4, 40, 2, 20, 3, 30, 7, 70])
    }

    /// On a whole model: the change is that of the readable network in float64.
    @Test func theChangeIsThatOfTheReadableNetwork() throws {
        var template = Array("/tmp/uhan-faithfulness-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            for name in [
                "config.json", "head.safetensors", "backbone.safetensors", "users.safetensors",
                "users.txt", "vocabulary.txt",
            ] { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        var seeded = SeededBundle(seed: 3)
        (seeded.dimension, seeded.dense, seeded.side) = (16, [16, 16], 64)
        (seeded.blocks, seeded.words) = ([[4], [4], [6]], ["aa", "bb", "cc", "dd", "ee"])
        _ = try seeded.write(to: folder, workers: Workers(count: 1)) { _ in }
        let bundle = try ModelBundle(folder: folder)
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: 1), nanoseconds: { 0 })

        let post = PostEvent(pid: "p", uid: "user-1", title: "aa bb cc unknown dd ee aa")
        let pixels = SampleScene(seed: 9).render(width: 64, height: 64)
        let result = scorer.score(post, image: .pixels(pixels, sha256: nil))
        let found = scorer.head.faithfulness(of: post, result)
        let again = scorer.head.prediction(
            features: result.features, wordIDs: [0, 1, 2, 3, 4, 0], uid: "user-1")
        #expect(again == result.prediction)

        let reference = try bundle.referenceHead()
        let user = try #require(bundle.users.vector(of: "user-1")).map(Double.init)
        let features = try #require(result.features)
        func score(_ features: [Float], _ ids: [Int32]) throws -> Double {
            try reference.score(features: features.map(Double.init), wordIDs: ids, user: user)
                .score
        }
        let whole = try score(features, [0, 1, 2, 3, 4, 0])

        let words = try #require(found.words)
        #expect(words.removed == 1 && words.of == 6)
        var ids: [Int32] = [0, 1, 2, 3, 4, 0]
        let weights = result.prediction.words
        ids.remove(at: try #require(weights.firstIndex(of: weights.max() ?? 0)))
        #expect(try abs(Double(words.change) - (score(features, ids) - whole)) < 1e-4)

        let regions = try #require(found.regions)
        #expect(regions.removed == 4 && regions.of == 64)
        let beta = result.prediction.regions
        let top = beta.indices.sorted { beta[$0] > beta[$1] }.prefix(4)
        var without = features
        for channel in 0..<6 {
            let rest = (0..<64).filter { !top.contains($0) }.map { features[6 * $0 + channel] }
            for region in top { without[6 * region + channel] = rest.reduce(0, +) / 60 }
        }
        let expected = try score(without, [0, 1, 2, 3, 4, 0]) - whole
        #expect(abs(Double(regions.change) - expected) < 1e-4)
        #expect(abs(expected) > 1e-3)

        // Without an image or words there is nothing to take away.
        let bare = PostEvent(pid: "p", uid: "user-1", title: "")
        let nothing = scorer.head.faithfulness(of: bare, scorer.score(bare, image: nil))
        #expect(nothing == Faithfulness(regions: nil, words: nil))
    }
}

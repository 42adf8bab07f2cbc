import Glibc
import Model
import Testing
import Training

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite struct EvaluationTests {
    // MARK: Figures

    @Test func figuresAreThoseOfSciPyAndScikitLearn() throws {
        let golden = try EvaluationGolden.load(EvaluationGolden.Metrics.self, "metrics.json")
        let evaluation = try Evaluation(
            posts: posts(users: golden.users, targets: golden.targets), historyLengths: [:],
            systems: [.init(name: "golden", runs: [golden.predictions])])
        let figures = evaluation.figures()
        let expected: [Metric: Double] = [
            .mse: golden.mse, .mae: golden.mae, .spearman: golden.spearman,
            .macroMSE: golden.macro_mse, .macroMAE: golden.macro_mae,
            .macroSpearman: golden.macro_spearman,
        ]
        for (metric, value) in expected {
            let found = try #require(figures.systems[0][metric]).value
            #expect(abs(found - value) < 1e-9, "\(metric)")
        }
        #expect(figures.spearmanUsers == [golden.spearman_users])
        #expect(figures.users == Set(golden.users).count)

        let percentiles = try #require(UserBootstrap().interval(of: golden.sample))
        #expect(abs(percentiles.low - golden.percentiles[0]) < 1e-12)
        #expect(abs(percentiles.high - golden.percentiles[1]) < 1e-12)
    }

    /// A pair that is there twice counts twice: drawing users must not mean ranking anew.
    @Test func weightedRanksAreThoseOfRepeatedValues() throws {
        let left: [Float] = [3, 1, 2, 2, 5]
        let right: [Float] = [1, 1, 4, 2, 3]
        let weights: [Double] = [2, 0, 1, 3, 1]
        let repeated = weights.indices.flatMap {
            [Int](repeating: $0, count: Int(weights[$0]))
        }
        let weighted = RankOrder.correlation(RankOrder(left), RankOrder(right), weights: weights)
        let plain = RankOrder.correlation(repeated.map { left[$0] }, repeated.map { right[$0] })
        #expect(abs(try #require(weighted) - #require(plain)) < 1e-12)
    }

    @Test func aConstantPredictionHasNoRankCorrelation() throws {
        let evaluation = try Evaluation(
            posts: posts(users: ["a", "a", "b"], targets: [1, 2, 3]), historyLengths: [:],
            systems: [.init(name: "constant", runs: [[2, 2, 2]])])
        let report = EvaluationReport(evaluation, dataset: .init(version: "tiny"))
        #expect(report.systems[0].metrics[.spearman] == nil)
        #expect(report.systems[0].metrics[.macroSpearman] == nil)
        #expect(report.systems[0].metrics[.mse]?.value == 2.0 / 3)
        #expect(report.markdown.contains("| constant | 0.667"))
    }

    @Test func refusesWhatCannotBeJudged() throws {
        let posts = posts(users: ["a", "b"], targets: [1, 2])
        func message(_ systems: [Evaluation.System]) -> String {
            let error = #expect(throws: TrainingError.self) {
                try Evaluation(posts: posts, historyLengths: [:], systems: systems)
            }
            return error?.description ?? ""
        }
        #expect(
            message([.init(name: "x", runs: [[1, 2], [1, .nan]])])
                .contains("x, run 2: the score of post p1 is nan"))
        #expect(message([.init(name: "x", runs: [[1]])]).contains("1 scores for 2 posts"))
        #expect(message([.init(name: "x", runs: [])]).contains("0 runs"))
        let twice = Evaluation.System(name: "x", runs: [[1, 2]])
        #expect(message([twice, twice]).contains("x is there twice"))
    }

    @Test func severalRunsGiveMeanAndSpreadAndNotAnEnsemble() throws {
        let evaluation = try Evaluation(
            posts: posts(users: ["a", "b"], targets: [0, 0]), historyLengths: [:],
            systems: [.init(name: "x", runs: [[1, 1], [-1, -1], [2, -2]])])
        let figure = try #require(evaluation.figures().systems[0][.mse])
        #expect(figure.runs == [1, 1, 4])
        #expect(figure.value == 2)
        #expect(abs(try #require(figure.spread) - 3.0.squareRoot()) < 1e-12)
    }

    // MARK: Intervals

    /// The bootstrap of a mean over users must come near to theory: value ± 1.96 standard errors.
    @Test func intervalsAgreeWithTheory() throws {
        var random = SplitMix64(seed: 3)
        let users = (0..<400).map { "u\($0)" }
        let errors = users.map { _ in Float.random(in: 0...2, using: &random) }
        let evaluation = try Evaluation(
            posts: posts(users: users, targets: users.map { _ in 0 }), historyLengths: [:],
            systems: [.init(name: "x", runs: [errors])])
        let figure = try #require(evaluation.figures().systems[0][.mae])
        let variance =
            errors.reduce(0) { $0 + (Double($1) - figure.value) * (Double($1) - figure.value) }
            / Double(errors.count)
        let reach = 1.96 * (variance / Double(errors.count)).squareRoot()
        let interval = try #require(figure.interval)
        #expect(abs(interval.low - (figure.value - reach)) < 0.1 * reach)
        #expect(abs(interval.high - (figure.value + reach)) < 0.1 * reach)
    }

    /// A system that is a little better for everybody is surely better, however much users differ.
    @Test func pairedDifferencesSeeWhatTwoIntervalsHide() throws {
        let users = (0..<50).map { "u\($0)" }
        let errors = users.indices.map { Float($0 % 10) }
        let evaluation = try Evaluation(
            posts: posts(users: users, targets: users.map { _ in 0 }), historyLengths: [:],
            systems: [
                .init(name: "uhan", runs: [errors]),
                .init(name: "worse", runs: [errors.map { $0 + 0.25 }]),
            ])
        let report = EvaluationReport(evaluation, dataset: .init(version: "paired"))
        let first = try #require(report.systems[0].metrics[.mae]?.interval)
        let second = try #require(report.systems[1].metrics[.mae]?.interval)
        #expect(second.low < first.high)

        #expect(report.differences.map(\.system) == ["worse"])
        let difference = try #require(report.differences[0].metrics[.mae])
        let interval = try #require(difference.interval)
        #expect(difference.value == 0.25)
        #expect(abs(interval.low - 0.25) < 1e-9 && abs(interval.high - 0.25) < 1e-9)
        #expect(report.markdown.contains("**+0.250** [+0.250, +0.250]"))
    }

    /// Posts of one user go together: with one post repeated ten times the interval must not
    /// shrink as if there were ten times the evidence.
    @Test func aUsersPostsAreDrawnTogether() throws {
        func width(repeats: Int) throws -> Double {
            let users = (0..<30).flatMap { [String](repeating: "u\($0)", count: repeats) }
            let errors = (0..<30).flatMap { [Float](repeating: Float($0 % 7), count: repeats) }
            let evaluation = try Evaluation(
                posts: posts(users: users, targets: users.map { _ in 0 }), historyLengths: [:],
                systems: [.init(name: "x", runs: [errors])])
            let interval = try #require(evaluation.figures().systems[0][.mse]?.interval)
            return interval.high - interval.low
        }
        #expect(abs(try width(repeats: 1) - width(repeats: 10)) < 1e-9)
    }

    @Test func aSingleUserHasNoInterval() throws {
        let evaluation = try Evaluation(
            posts: posts(users: ["a", "a"], targets: [1, 2]), historyLengths: [:],
            systems: [.init(name: "x", runs: [[1, 1]])])
        let figure = try #require(evaluation.figures().systems[0][.mse])
        #expect(figure.value == 0.5)
        #expect(figure.interval == nil)
    }

    // MARK: The report

    @Test func tellsApartUsersByHowLongTheirHistoryIs() throws {
        let evaluation = try Evaluation(
            posts: posts(users: ["new", "few", "many", "few"], targets: [0, 0, 0, 0]),
            historyLengths: [CodePoints("few"): 2, CodePoints("many"): 51],
            systems: [.init(name: "x", runs: [[3, 1, 0, 2]])])
        let report = EvaluationReport(evaluation, dataset: .init(version: "tiny"))
        #expect(report.by_history.map(\.training_posts.name) == ["0", "1-2", "51+"])
        #expect(report.by_history.map(\.posts) == [1, 2, 1])
        #expect(report.by_history.map { $0.systems["x"]?[.mse]?.value } == [9, 2.5, 0])
    }

    @Test func findsTheWorstPosts() throws {
        let evaluation = try Evaluation(
            posts: posts(users: ["a", "b", "c", "d"], targets: [0, 5, 0, 0]), historyLengths: [:],
            systems: [.init(name: "x", runs: [[1, 2, 3, 0], [1, 2, 3, 0]])])
        let worst = try evaluation.worstPosts(of: "x", count: 3)
        #expect(worst.map(\.pid) == ["p1", "p2", "p0"])
        #expect(worst[0].score == 2)
        let error = #expect(throws: TrainingError.self) {
            try evaluation.worstPosts(of: "y", count: 1)
        }
        #expect(error?.description.contains("there is no system y; there are x") == true)
    }

    @Test func writesTheSameFilesFromTheSamePredictions() throws {
        let golden = try EvaluationGolden.load(EvaluationGolden.Metrics.self, "metrics.json")
        let evaluation = try Evaluation(
            posts: posts(users: golden.users, targets: golden.targets), historyLengths: [:],
            systems: [
                .init(name: "uhan", runs: [golden.predictions, golden.targets]),
                .init(name: "hisave", runs: [golden.targets.map { _ in 3 }]),
            ])
        func files() throws -> [String: [UInt8]] {
            try withScratchFolder { folder in
                let report = EvaluationReport(
                    evaluation,
                    dataset: .init(
                        version: "golden@123", gallerySHA256: "abc",
                        irreducible: .init(mse: 0.5, mae: 0.4), settings: ["split": "time"]),
                    files: ["uhan": ["head.safetensors": "def"]])
                try report.write(to: folder, predictionsOf: evaluation)
                let read = try ["table.json", "table.md", "predictions.jsonl"].map {
                    ($0, try MappedFile(path: "\(folder)/\($0)").contents())
                }
                return Dictionary(uniqueKeysWithValues: read)
            }
        }
        let first = try files()
        #expect(try files() == first)

        let table = String(decoding: try #require(first["table.md"]), as: UTF8.self)
        #expect(table.contains("| *irreducible* | 0.500 | 0.400 |"))
        #expect(table.contains("## Differences to uhan"))
        #expect(table.contains("uhan, head.safetensors: SHA-256 `def`"))
        #expect(table.contains("gallery: SHA-256 `abc`"))
        let json = try #require(first["table.json"])
        let decoded = try JSONDecoder().decode(EvaluationReport.self, from: Data(json))
        #expect(decoded.systems[0].metrics[.mse]?.runs?.count == 2)
        #expect(decoded.plot.floor == 0.5)
        #expect(decoded.plot.rows.map(\.name) == ["uhan", "hisave"])

        struct Line: Decodable {
            let pid: String
            let target: Float
            let scores: [String: [Float]]
        }
        let lines = try #require(first["predictions.jsonl"]).split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == golden.targets.count)
        let line = try JSONDecoder().decode(Line.self, from: Data(lines[4]))
        #expect(line.target == golden.targets[4])
        #expect(line.scores["uhan"] == [golden.predictions[4], golden.targets[4]])
    }

    private func posts(users: [String], targets: [Float]) -> [PreparedPost] {
        zip(users, targets).enumerated().map { index, post in
            PreparedPost(
                pid: "p\(index)", uid: post.0, part: .test, postedAt: 0, target: post.1)
        }
    }
}

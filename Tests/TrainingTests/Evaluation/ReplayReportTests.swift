import Pipeline
import Testing
import Training

/// Figures of a replay, on labels that can be reckoned by hand.
@Suite struct ReplayReportTests {
    private func judged(
        _ number: Int, uid: String, label: Float, published: Float, frozen: Float, labels: Int = 0
    ) throws -> ReplayReport.Judged {
        let post = ScoredPost(
            pid: "p\(number)", uid: uid, model: "m", postedAt: Double(number), score: published,
            userVector: "v1", frozenScore: frozen, userMean: 0, userLabels: labels)
        let joined = JoinedLabel(
            post: post, horizon: nil, teaches: true, views: 1, observedAt: 5, label: label,
            isCorrection: false)
        let judgement = ProgressiveValidation.Judgement(
            label: label, published: published, frozen: frozen, userMean: 0, globalMean: 1)
        return .init(joined, judgement, time: Double(number) * 86_400)
    }

    @Test func figuresPerPostAndPerUserAndTheirDifferences() throws {
        // User a: published off by 1, frozen by 2. User b, three times: off by 0 and 1.
        var all = [try judged(0, uid: "a", label: 3, published: 2, frozen: 1)]
        for number in 1...3 {
            all.append(
                try judged(
                    number, uid: "b", label: Float(number), published: Float(number),
                    frozen: Float(number) + 1, labels: number * 10))
        }
        let report = try ReplayReport(
            model: "m", settings: [:], rule: UpdateRule(), counts: .init(), judged: all)
        #expect(report.counts.judged == 4 && report.users == 2)
        #expect(report.systems.map(\.name) == ["published", "frozen", "user_mean", "global_mean"])
        #expect(report.systems[0].metrics[.mse]?.value == 0.25)
        #expect(report.systems[1].metrics[.mse]?.value == 1.75)
        #expect(report.systems[0].metrics[.macroMSE]?.value == 0.5)
        let gain = try #require(
            report.differences.first { $0.system == "published" && $0.minus == "frozen" })
        #expect(gain.metrics[.mse]?.value == -1.5 && gain.metrics[.macroMSE]?.value == -2)
        #expect((gain.metrics[.mse]?.interval?.high ?? 0) < 0)
        #expect(report.byUserLabels.map(\.userLabels.name) == ["0", "6-10", "11-20", "21-50"])
        #expect(report.byUserLabels.first?.systems["published"]?[.mse]?.value == 1)
        #expect(report.rule["rate"].map { Float($0) } == UpdateRule().learningRate)
        #expect(report.markdown.contains("| MSE by labels of the user | 0 | 6-10 |"))
        #expect(report.markdown.contains("## Differences to user_mean"))
    }

    @Test func nothingJudgedIsAnError() {
        #expect(throws: TrainingError.self) {
            try ReplayReport(
                model: "m", settings: [:], rule: UpdateRule(), counts: .init(), judged: [])
        }
    }

    @Test func theErrorOverTimeIsThatOfTheLastLabels() throws {
        // The published score is right from the 30th label on, the frozen one never.
        let all = try (0..<60).map {
            try judged($0, uid: "u", label: 2, published: $0 < 30 ? 4 : 2, frozen: 3, labels: $0)
        }
        let (curves, window) = ReplayReport.errorOverTime(all)
        #expect(
            window == 20 && curves.map(\.name) == ["published", "frozen vector", "user's mean"])
        let published = curves[0].points
        #expect(published.first?.x == 19 && published.first?.y == 4)
        #expect(published.last?.x == 59 && published.last?.y == 0)
        #expect(published.contains { $0.x == 39 && $0.y == 2 })
        #expect(curves[1].points.allSatisfy { $0.y == 1 })

        let byLabels = ReplayReport.errorByLabels(all)[0].points
        #expect(byLabels.map(\.y) == [4, 0])
        #expect(byLabels.first?.x == 14.5)
    }
}

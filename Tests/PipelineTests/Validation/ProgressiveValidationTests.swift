import Pipeline
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite struct ProgressiveValidationTests {
    private typealias Errors = ProgressiveValidation.Snapshot.Errors

    private static func label(
        _ label: Float, published: Float = 0, frozen: Float = 0, userMean: Float? = nil,
        userLabels: Int = 0, horizon: Double? = nil, isCorrection: Bool = false
    ) -> JoinedLabel {
        JoinedLabel(
            post: ScoredPost(
                pid: "p", uid: "u", model: "m", postedAt: 0, score: published, userVector: "v1",
                frozenScore: frozen, userMean: userMean, userLabels: userLabels),
            horizon: horizon, teaches: true, views: 1, observedAt: 1, label: label,
            isCorrection: isCorrection)
    }

    @Test func fourAnswersAreJudgedOnTheSameLabels() throws {
        var validation = ProgressiveValidation()
        // The first label only starts the global mean.
        #expect(validation.judge(Self.label(4)) == nil)
        // Global mean 4; a user without labels has it for a mean, too.
        #expect(
            validation.judge(Self.label(6, published: 5, frozen: 3))
                == .init(label: 6, published: 5, frozen: 3, userMean: 4, globalMean: 4))
        // Global mean 5.
        validation.judge(Self.label(8, published: 8, frozen: 5, userMean: 6, userLabels: 1))
        let figures = try #require(validation.snapshot.horizons.first?.overall)
        #expect(figures.labels == 2)
        #expect(figures.published == Errors(mse: 0.5, mae: 0.5))
        #expect(figures.frozen == Errors(mse: 9, mae: 3))
        #expect(figures.userMean == Errors(mse: 4, mae: 2))
        #expect(figures.globalMean == Errors(mse: 6.5, mae: 2.5))
        #expect(figures.gainOverFrozen == Errors(mse: 8.5, mae: 2.5))
        #expect(figures.gainOverUserMean == Errors(mse: 3.5, mae: 1.5))
    }

    @Test func learningThatHurtsIsALossAndNotAGain() throws {
        var validation = ProgressiveValidation()
        for _ in 0..<10 { validation.judge(Self.label(3, published: 5, frozen: 4)) }
        let figures = try #require(validation.snapshot.horizons.first?.overall)
        #expect(figures.gainOverFrozen == Errors(mse: -3, mae: -1))
    }

    @Test func correctionsDoNotJudge() {
        var validation = ProgressiveValidation()
        for value in 1...5 { validation.judge(Self.label(Float(value))) }
        let before = validation.snapshot
        #expect(validation.judge(Self.label(40, isCorrection: true)) == nil)
        #expect(validation.snapshot == before)
        // Nor do they move the global mean.
        #expect(validation.judge(Self.label(0))?.globalMean == 3)
    }

    @Test func horizonsAreJudgedApart() {
        var validation = ProgressiveValidation()
        for (horizon, base) in [(86_400, 0), (nil, 10), (604_800, 20)] as [(Double?, Float)] {
            for value in [1, 3] as [Float] {
                validation.judge(Self.label(base + value, published: base, horizon: horizon))
            }
        }
        let snapshot = validation.snapshot
        #expect(snapshot.horizons.map(\.seconds) == [86_400, nil, 604_800])
        for horizon in snapshot.horizons {
            #expect(horizon.overall.labels == 1)
            #expect(horizon.overall.published == Errors(mse: 9, mae: 3))
            #expect(horizon.overall.globalMean == Errors(mse: 4, mae: 2))
        }
    }

    @Test func labelsCountByTheUsersHistory() throws {
        var validation = ProgressiveValidation()
        validation.judge(Self.label(0))
        for history in 0...30 {
            validation.judge(Self.label(Float(history), userLabels: history))
        }
        let buckets = try #require(validation.snapshot.horizons.first?.byUserLabels)
        #expect(buckets.map(\.from) == [0, 1, 2, 3, 6, 11, 21])
        #expect(buckets.map(\.through) == [0, 1, 2, 5, 10, 20, nil])
        #expect(buckets.map(\.figures.labels) == [1, 1, 1, 3, 5, 10, 10])
        #expect(buckets.map { $0.figures.published?.mae } == [0, 1, 2, 4, 8, 15.5, 25.5])
        let overall = try #require(validation.snapshot.horizons.first?.overall)
        #expect(buckets.reduce(0) { $0 + $1.figures.labels } == overall.labels)
    }

    @Test func theWindowHoldsTheNewestLabels() throws {
        var validation = ProgressiveValidation(windowCount: 4)
        validation.judge(Self.label(1))
        for error in [9, 9, 9, 1, 2, 3, 4] as [Float] {
            validation.judge(Self.label(error))
        }
        let horizon = try #require(validation.snapshot.horizons.first)
        #expect(horizon.window.labels == 4)
        #expect(horizon.window.published == Errors(mse: 7.5, mae: 2.5))
        #expect(horizon.overall.labels == 7)
    }

    @Test func whatIsNotFiniteIsRefusedAndCounted() {
        var validation = ProgressiveValidation()
        for value in [1, 2, 3] as [Float] { validation.judge(Self.label(value)) }
        let before = validation.snapshot
        for wild in [Float.nan, .infinity, -.infinity] {
            #expect(validation.judge(Self.label(wild)) == nil)
            #expect(validation.judge(Self.label(1, published: wild)) == nil)
            #expect(validation.judge(Self.label(1, frozen: wild)) == nil)
            #expect(validation.judge(Self.label(1, userMean: wild)) == nil)
        }
        #expect(validation.snapshot.horizons == before.horizons)
        #expect(validation.snapshot.refused == 12)
        // Far beyond what views can give, a label counts as the bound.
        #expect(validation.judge(Self.label(1e9))?.label == 45)
    }

    @Test func horizonsAreBounded() {
        var validation = ProgressiveValidation()
        for _ in 0..<2 {
            for horizon in 0..<20 { validation.judge(Self.label(1, horizon: Double(horizon))) }
        }
        validation.judge(Self.label(1, horizon: .nan))
        #expect(validation.snapshot.horizons.count == ProgressiveValidation.maximumHorizons)
        #expect(validation.snapshot.refused == 9)
    }

    @Test func theSnapshotIsJSON() throws {
        var validation = ProgressiveValidation()
        #expect(validation.snapshot == .init(horizons: [], refused: 0))
        validation.judge(Self.label(1, horizon: 60))
        validation.judge(Self.label(2, published: 1.5, frozen: 1, horizon: 60))
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let bytes = try encoder.encode(validation.snapshot)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(
            text.contains(
                #""overall":{"frozen":{"mae":1,"mse":1},"gain_over_frozen":{"mae":0.5,"mse":0.75},"#
            ))
        #expect(text.contains(#"{"figures":{"labels":0},"from":1,"through":1}"#))
        let again = try JSONDecoder().decode(ProgressiveValidation.Snapshot.self, from: bytes)
        #expect(again == validation.snapshot)
    }
}

import Pipeline
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Whole updates beside what NumPy makes of them in float64: `Tests/Golden/user-update`, written by
/// `Scripts/golden-user-update.py`.
@Suite struct UserUpdateGoldenTests {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        struct Rule: Decodable, Sendable {
            let huberDelta: Float
            let priorPull: Float
            let steps: Int
            let learningRate: Float
            let beta1: Float
            let beta2: Float
            let epsilon: Float
            let maximumStep: Float
            let maximumUnprovenStep: Float
            let maximumDistanceFromPrior: Float
            let minimumPostsToHoldOut: Int
            let postsPerHeldOut: Int
            let halvings: Int
        }
        struct Loss: Decodable, Sendable {
            let posts: Int
            let before: Double
            let after: Double
        }
        struct Expected: Decodable, Sendable {
            let reason: String
            let vector: [Double]?
            let stepNorm: Double
            let training: Loss
            let heldOut: Loss
        }
        let name: String
        let rule: Rule
        let current: [Float]
        let prior: [Float]
        let evidence: Double
        let x: [[Float]]
        let z: [[Float]]
        /// nil: not a number.
        let labels: [Float?]
        let expected: Expected

        var testDescription: String { name }
    }

    private static func cases() throws -> [Case] {
        let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        let path = tests.joined(separator: "/") + "/Golden/user-update/cases.json"
        return try JSONDecoder().decode(
            [Case].self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }

    private func rule(_ golden: Case.Rule) -> UpdateRule {
        var rule = UpdateRule()
        rule.huberDelta = golden.huberDelta
        rule.priorPull = golden.priorPull
        rule.steps = golden.steps
        rule.learningRate = golden.learningRate
        rule.beta1 = golden.beta1
        rule.beta2 = golden.beta2
        rule.epsilon = golden.epsilon
        rule.maximumStep = golden.maximumStep
        rule.maximumUnprovenStep = golden.maximumUnprovenStep
        rule.maximumDistanceFromPrior = golden.maximumDistanceFromPrior
        rule.minimumPostsToHoldOut = golden.minimumPostsToHoldOut
        rule.postsPerHeldOut = golden.postsPerHeldOut
        rule.halvings = golden.halvings
        return rule
    }

    @Test(arguments: try cases())
    func anUpdateIsNumPysToRounding(golden: Case) {
        let outcome = rule(golden.rule).update(
            from: golden.current, prior: golden.prior, evidence: golden.evidence,
            posts: window(golden.labels.map { $0 ?? .nan }),
            scores: ToyScores(x: golden.x, z: golden.z))
        let expected = golden.expected
        #expect(outcome.reason.rawValue == expected.reason)
        #expect(outcome.vector?.count == expected.vector?.count)
        for (value, expected) in zip(outcome.vector ?? [], expected.vector ?? []) {
            #expect(abs(Double(value) - expected) < 1e-5)
        }
        #expect(abs(Double(outcome.stepNorm) - expected.stepNorm) < 1e-5)
        for (loss, expected) in [
            (outcome.training, expected.training), (outcome.heldOut, expected.heldOut),
        ] {
            #expect(loss.posts == expected.posts)
            #expect(abs(loss.before - expected.before) <= 1e-5 * max(1, expected.before))
            #expect(abs(loss.after - expected.after) <= 1e-4 * max(1, expected.after))
        }
    }

    @Test func everyOutcomeIsShown() throws {
        let reasons = Set(try Self.cases().map(\.expected.reason))
        #expect(reasons == ["accepted", "held_out_worse", "no_step"])
    }
}

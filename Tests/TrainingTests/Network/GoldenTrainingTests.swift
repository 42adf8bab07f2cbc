import Foundation
import Model
import Testing
import Training

/// Gradients and training steps against PyTorch's in float64 (`Scripts/golden-training.py`).
struct GoldenTrainingTests {
    @Test(arguments: TrainingGolden.cases)
    func scoresLossAndGradientsAreThoseOfAutograd(_ golden: TrainingGolden.Case) throws {
        let learner = try TrainingGolden.learner(
            golden.system, gate: golden.lstm_gate, weights: golden.weights)
        let images = try TrainingGolden.Images()
        let batch = try images.samples(golden.posts, unknownUsers: golden.unknown_users)
        let found = learner.takeGradients(batch, masks: try TrainingGolden.masks(golden.dropout))

        for (score, expected) in zip(found.scores, golden.scores) {
            #expect(abs(Double(score) - expected) <= 1e-5)
        }
        #expect(abs(found.error - golden.squared_error) <= 2e-5 * golden.squared_error)
        #expect(abs(found.loss - golden.loss) <= 2e-5 * golden.loss)

        let file = try Safetensors(path: "\(TrainingGolden.folder)/gradients.safetensors")
        for (name, shape) in learner.tensors {
            let gradient = try #require(learner.tensor(name, .gradients))
            guard golden.gradients.contains(name) else {
                #expect(gradient.allSatisfy { $0 == 0 }, "\(name) has no part in this")
                continue
            }
            let expected = try file.tensor("\(golden.name)/\(name)", shape: shape).contents()
            let largest = expected.map(abs).max() ?? 0
            let error = zip(gradient, expected).map { abs($0 - $1) }.max() ?? 0
            #expect(error <= 2e-5 * largest, "\(name): \(error) of \(largest)")
        }
    }

    @Test(arguments: TrainingGolden.runs)
    func tenStepsOfAdamLoseWhatPyTorchLoses(_ golden: TrainingGolden.Run) throws {
        var rule = LearningRule()
        rule.rate = golden.learning_rate
        rule.maximumNorm = golden.clip_norm
        let learner = try TrainingGolden.learner(
            golden.system, gate: golden.lstm_gate, weights: golden.weights, rule: rule)
        let images = try TrainingGolden.Images()
        for (posts, expected) in zip(golden.batches, golden.losses) {
            let (_, loss) = try learner.learn(images.samples(posts))
            #expect(abs(loss - expected) <= 5e-5)
        }
        let file = try Safetensors(path: "\(TrainingGolden.folder)/trained.safetensors")
        for (name, shape) in learner.tensors {
            let weights = try #require(learner.tensor(name))
            let expected = try file.tensor("\(golden.name)/\(name)", shape: shape).contents()
            let error = zip(weights, expected).map { abs($0 - $1) }.max() ?? 0
            #expect(error <= 1e-5, "\(name): \(error)")
        }
    }
}

enum TrainingGolden {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        let name: String
        let system: SystemName
        let lstm_gate: BundleConfiguration.Gate
        let weights: String
        let posts: [Int]
        let dropout: Rates?
        let unknown_users: [Int]
        let scores: [Double]
        let squared_error: Double
        let loss: Double
        let gradients: [String]

        var testDescription: String { name }
    }

    struct Rates: Decodable, Sendable {
        let X: Float
        let V: Float
        let u: Float
    }

    struct Run: Decodable, Sendable, CustomTestStringConvertible {
        let name: String
        let system: SystemName
        let lstm_gate: BundleConfiguration.Gate
        let weights: String
        let learning_rate: Double
        let clip_norm: Double?
        let batches: [[Int]]
        let losses: [Double]

        var testDescription: String { name }
    }

    private struct Post: Decodable {
        let words: [Int32]
        let user: Int
        let image: Int?
        let target: Float
    }

    static let folder = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Golden/training").path

    static let cases: [Case] = read("cases.json")
    static let runs: [Run] = read("runs.json")

    private static func read<Value: Decodable>(_ name: String) -> [Value] {
        do {
            let bytes = try Data(contentsOf: URL(filePath: "\(folder)/\(name)"))
            return try JSONDecoder().decode([Value].self, from: bytes)
        } catch {
            Issue.record("\(name): \(error)")
            return []
        }
    }

    static let shape = HeadShape(
        dimension: 20, channels: 24, regions: 9, dense: [28, 36], vocabulary: 30, maximumWords: 6,
        gate: .logistic)

    static func learner(
        _ system: SystemName, gate: BundleConfiguration.Gate, weights: String,
        rule: LearningRule = LearningRule()
    ) throws -> Learner {
        let network = try #require(system.network)
        var shape = shape
        shape.gate = gate
        shape.parts = network.parts
        let learner = try Learner(
            network.kind, shape: shape, users: 6, maximumPosts: 7, rule: rule,
            kernels: Kernels.chosen(), workers: Workers(count: 2))
        let file = try Safetensors(path: "\(folder)/\(weights)")
        for (name, shape) in learner.tensors {
            try learner.setTensor(name, file.tensor(name, shape: shape).contents())
        }
        learner.ready()
        return learner
    }

    /// The images, kept while samples point into them.
    final class Images {
        private let features: Tensor
        private let posts: [Post]

        init() throws {
            let file = try Safetensors(path: "\(folder)/features.safetensors")
            features = try file.tensor("F", shape: try #require(file.shape(of: "F")))
            posts = read("posts.json")
        }

        func samples(_ numbers: [Int], unknownUsers: [Int] = []) throws -> [TrainingSample] {
            numbers.enumerated().map { place, number in
                let post = posts[number]
                return TrainingSample(
                    features: post.image.map {
                        features.pointer + $0 * shape.regions * shape.channels
                    },
                    wordIDs: post.words, user: unknownUsers.contains(place) ? nil : post.user,
                    target: post.target)
            }
        }
    }

    static func masks(_ rates: Rates?) throws -> DropoutMasks {
        guard let rates else { return DropoutMasks() }
        let file = try Safetensors(path: "\(folder)/dropout.safetensors")
        func mask(_ name: String, _ rate: Float) throws -> [Float] {
            let shape = try #require(file.shape(of: name))
            return try file.tensor(name, shape: shape).contents().map { $0 / (1 - rate) }
        }
        return DropoutMasks(
            words: try mask("X", rates.X), regions: try mask("V", rates.V),
            users: try mask("u", rates.u))
    }
}

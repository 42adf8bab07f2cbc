import Model
import Testing
import Training

/// Every gradient against the loss itself, moved a little to both sides.
struct FiniteDifferenceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let kind: Learner.Kind
        var parts = BundleConfiguration.Parts.all
        var gate = BundleConfiguration.Gate.logistic

        var testDescription: String { name }

        static let all: [Case] = [
            Case(name: "uhan", kind: .attention),
            Case(name: "hard gates", kind: .attention, gate: .hardSigmoid),
            Case(name: "text", kind: .attention) { $0.reads_image = false },
            Case(name: "image", kind: .attention) { $0.reads_text = false },
            Case(name: "no intra", kind: .attention) { $0.intra_attention = false },
            Case(name: "no inter", kind: .attention) { $0.inter_attention = false },
            Case(name: "no user in the attention", kind: .attention) {
                $0.user_in_attention = false
            },
            Case(name: "no user term", kind: .attention) { $0.user_term = false },
            Case(name: "DualAtt", kind: .attention) {
                $0.user_in_attention = false
                $0.user_term = false
            },
            Case(name: "DMF", kind: .fusion(usesUser: false)),
            Case(name: "DMF with the user", kind: .fusion(usesUser: true)),
        ]

        init(
            name: String, kind: Learner.Kind, gate: BundleConfiguration.Gate = .logistic,
            _ change: (inout BundleConfiguration.Parts) -> Void = { _ in }
        ) {
            self.name = name
            self.kind = kind
            self.gate = gate
            change(&parts)
        }
    }

    @Test(arguments: Case.all)
    func aStepToEitherSideChangesTheLossAsTheGradientSays(_ testCase: Case) throws {
        let problem = try SmallProblem(testCase.kind, parts: testCase.parts, gate: testCase.gate)
        let learner = problem.learner
        let batch = problem.batch
        _ = learner.takeGradients(batch)
        var random = SplitMix64(seed: 5)
        for (name, _) in learner.tensors {
            let values = try #require(learner.tensor(name))
            let gradient = try #require(learner.tensor(name, .gradients))
            let direction = values.map { _ in Float(Double(random.next() >> 40) / 0x1p23 - 1) }
            let slope = zip(gradient, direction).reduce(0.0) { $0 + Double($1.0 * $1.1) }
            let norm = gradient.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()

            func loss(_ distance: Float) throws -> Double {
                try learner.setTensor(name, zip(values, direction).map { $0 + distance * $1 })
                learner.ready()
                return problem.loss()
            }
            let step: Float = 1e-3
            let measured = try (loss(step) - loss(-step)) / Double(2 * step)
            _ = try loss(0)
            #expect(
                abs(measured - slope) <= 2e-3 * norm + 2e-3,
                "\(name): \(measured) measured, \(slope) by the gradient")
        }
    }

    @Test(arguments: Case.all)
    func neitherThreadsNorTheKernelsOfAnotherMachineChangeMuch(_ testCase: Case) throws {
        var first: [Float]?
        for kernels in Kernels.available {
            for threads in [1, 3] {
                let problem = try SmallProblem(
                    testCase.kind, parts: testCase.parts, gate: testCase.gate, kernels: kernels,
                    threads: threads)
                let (_, loss, scores) = problem.learner.takeGradients(problem.batch)
                let all = try problem.learner.tensors.flatMap {
                    try #require(problem.learner.tensor($0.name, .gradients))
                }
                let found = scores + [Float(loss)] + all
                if threads == 1 {
                    if let first {
                        for (a, b) in zip(first, found) { #expect(abs(a - b) <= 2e-5) }
                    }
                    first = found
                } else {
                    #expect(found == first, "threads changed a bit with \(kernels.name)")
                }
            }
        }
    }
}

/// A network and a batch small enough for finite differences, with posts that lack one thing or the
/// other, and users, words and the unknown user there more than once.
struct SmallProblem {
    let learner: Learner
    let batch: [TrainingSample]
    private let features: Kept

    private final class Kept {
        let values: UnsafeMutablePointer<Float>
        init(count: Int) { values = .allocate(capacity: count) }
        deinit { values.deallocate() }
    }

    init(
        _ kind: Learner.Kind, parts: BundleConfiguration.Parts, gate: BundleConfiguration.Gate,
        kernels: Kernels = Kernels.available[0], threads: Int = 2
    ) throws {
        let shape = HeadShape(
            dimension: 20, channels: 24, regions: 9, dense: [28, 36], vocabulary: 30,
            maximumWords: 6, gate: gate, parts: parts)
        learner = try Learner(
            kind, shape: shape, users: 5, maximumPosts: 8, rule: LearningRule(),
            kernels: kernels, workers: Workers(count: threads))
        var random = SplitMix64(seed: 77)
        func uniform(_ limit: Double) -> Float {
            Float((Double(random.next() >> 40) / 0x1p23 - 1) * limit)
        }
        for (name, shape) in learner.tensors {
            let count = shape.reduce(1, *)
            let limit =
                switch name {
                case "user", "unknown", "word", "text.h", "image.h", "inter.w": 1.0
                default: shape.count == 1 ? 0.1 : (6 / Double(shape[0] + shape[1])).squareRoot()
                }
            // Hidden units are well on or well off: a difference across the corner of a ReLU is none.
            let shift: Float = name == "dense1.b" || name == "dense2.b" ? 4 : 0
            try learner.setTensor(
                name,
                (0..<count).map { $0 % 2 == 0 ? uniform(limit) + shift : uniform(limit) - shift })
        }
        learner.ready()
        let kept = Kept(count: 6 * 9 * 24)
        features = kept
        for index in 0..<6 * 9 * 24 { kept.values[index] = uniform(0.7) + 0.7 }
        func image(_ index: Int) -> UnsafePointer<Float> {
            UnsafePointer(kept.values + index * 9 * 24)
        }
        func post(
            _ words: [Int32], image: UnsafePointer<Float>?, user: Int?, _ target: Float
        ) -> TrainingSample {
            TrainingSample(features: image, wordIDs: words, user: user, target: target)
        }
        let posts = [
            post([3, 7, 3], image: image(0), user: 1, 2),
            post([1], image: image(1), user: 1, -1),
            post([29, 7, 2, 5, 8, 0], image: image(2), user: nil, 3),
            post([], image: image(3), user: 4, 0.5),
            post([4, 4], image: nil, user: 0, 1),
            post([], image: nil, user: 2, 2.5),
            post([12, 13, 14, 15], image: image(5), user: nil, -2),
        ]
        // Near the scores: the smaller the loss, the smaller the rounding of its differences.
        batch = zip(posts, learner.scores(posts)).map { post, score in
            var post = post
            post.target += score
            return post
        }
    }

    func loss() -> Double {
        let scores = learner.scores(batch)
        let errors = zip(scores, batch).map { Double($0) - Double($1.target) }
        let error = errors.reduce(0) { $0 + $1 * $1 } / Double(batch.count)
        var penalty = 0.0
        let width = learner.shape.dimension
        let words = learner.tensor("word") ?? []
        let read = learner.shape.parts.reads_text ? Set(batch.flatMap(\.wordIDs)) : []
        for word in read {
            for k in 0..<width {
                penalty +=
                    Double(words[Int(word) * width + k]) * Double(words[Int(word) * width + k])
            }
        }
        for number in 1...3 {
            for bias in learner.tensor("dense\(number).b") ?? [] {
                penalty += Double(bias) * Double(bias)
            }
        }
        return error + learner.rule.penalty * penalty
    }
}

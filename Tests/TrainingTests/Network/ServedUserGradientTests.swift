import Model
import Testing
import Training

/// The derivative of each score by its user's vector, of what is served of every variant, is
/// PyTorch's in float64.
struct ServedUserGradientTests {
    @Test(arguments: TrainingGolden.cases.filter(\.isServed))
    func gradientsAreThoseOfAutograd(_ golden: TrainingGolden.Case) throws {
        let network = try #require(golden.system.network)
        var shape = TrainingGolden.shape
        shape.gate = golden.lstm_gate
        shape.parts = network.parts
        let d = shape.dimension
        let file = try Safetensors(path: "\(TrainingGolden.folder)/\(golden.weights)")
        let table = try file.tensor("user", shape: [6, d]).contents()
        let unknown = try file.tensor("unknown", shape: [d]).contents()
        let steps = try Safetensors(path: "\(TrainingGolden.folder)/steps.safetensors")
        let tensor = "\(golden.name)/user_gradient"
        // A network that knows no user has none.
        let expected =
            try steps.shape(of: tensor).map { try steps.tensor(tensor, shape: $0).contents() }
            ?? [Float](repeating: 0, count: golden.posts.count * d)
        #expect(
            expected.contains { $0 != 0 }
                == (shape.parts.user_term || shape.parts.user_in_attention))

        let images = try TrainingGolden.Images()
        let samples = try images.samples(golden.posts, unknownUsers: golden.unknown_users)
        let users = samples.map { sample in
            sample.user.map { Array(table[$0 * d..<($0 + 1) * d]) } ?? unknown
        }
        for kernels in Kernels.available {
            let weights = try PackedHead(weights: file, shape: shape, kernels: kernels)
            let head = Head(weights: weights, workers: Workers(count: 2))
            let encodings = samples.map { sample in
                head.encode(
                    features: sample.features.map {
                        Array(
                            UnsafeBufferPointer(start: $0, count: shape.regions * shape.channels))
                    }, wordIDs: sample.wordIDs)
            }
            let found = UserGradient(weights: weights, workers: Workers(count: 2)).gradient(
                encodings, userOf: Array(samples.indices), users: users
            ) { $0.map { _ in 1 } }
            for (score, expected) in zip(found.scores, golden.scores) {
                #expect(abs(Double(score) - expected) <= 1e-5)
            }
            let largest = expected.map(\.magnitude).max() ?? 0
            for (place, gradient) in found.gradients.enumerated() {
                for (k, value) in gradient.enumerated() {
                    let error = abs(value - expected[place * d + k])
                    #expect(
                        error <= 5e-6 * largest, "\(kernels.name), post \(place), \(k): \(error)")
                }
            }
        }
    }
}

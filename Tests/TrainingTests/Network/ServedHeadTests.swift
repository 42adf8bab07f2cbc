import Model
import Testing
import Training

/// What was trained is served by another implementation, `Head`: of every variant it gives
/// PyTorch's scores and attention, and the readable reference agrees.
struct ServedHeadTests {
    @Test(arguments: TrainingGolden.cases.filter { $0.isServed })
    func headServesEveryVariant(_ golden: TrainingGolden.Case) throws {
        let network = try #require(golden.system.network)
        var shape = TrainingGolden.shape
        shape.gate = golden.lstm_gate
        shape.parts = network.parts
        let file = try Safetensors(path: "\(TrainingGolden.folder)/\(golden.weights)")
        let head = Head(
            weights: try PackedHead(weights: file, shape: shape, kernels: Kernels.chosen()),
            workers: Workers(count: 2))
        let reference = ReferenceHead(weights: file, shape: shape)
        let users = try file.tensor("user", shape: [6, shape.dimension]).contents()
        let unknown = try file.tensor("unknown", shape: [shape.dimension]).contents()
        let steps = try Safetensors(path: "\(TrainingGolden.folder)/steps.safetensors")
        func step(_ name: String) throws -> [Float] {
            guard let shape = steps.shape(of: "\(golden.name)/\(name)") else { return [] }
            return try steps.tensor("\(golden.name)/\(name)", shape: shape).contents()
        }
        let (alpha, beta, gamma) = (try step("alpha"), try step("beta"), try step("gamma"))

        let images = try TrainingGolden.Images()
        let batch = try images.samples(golden.posts, unknownUsers: golden.unknown_users)
        var (word, region) = (0, 0)
        for (place, sample) in batch.enumerated() {
            let features = sample.features.map {
                Array(UnsafeBufferPointer(start: $0, count: shape.regions * shape.channels))
            }
            let user =
                sample.user.map { Array(users[$0 * shape.dimension..<($0 + 1) * shape.dimension]) }
                ?? unknown
            let encoding = head.encode(features: features, wordIDs: sample.wordIDs)
            let found = head.predict(encoding, user: head.project(user: user))
            #expect(abs(Double(found.score) - golden.scores[place]) <= 1e-5)
            let slow = try reference.score(
                features: features?.map(Double.init), wordIDs: sample.wordIDs,
                user: user.map(Double.init))
            #expect(abs(slow.score - golden.scores[place]) <= 1e-5)
            for weight in found.words {
                #expect(abs(weight - alpha[word]) <= 1e-5)
                word += 1
            }
            for weight in found.regions {
                #expect(abs(weight - beta[region]) <= 1e-5)
                region += 1
            }
            if !gamma.isEmpty {
                #expect(abs(found.modalities.text - gamma[2 * place]) <= 1e-5)
                #expect(abs(found.modalities.image - gamma[2 * place + 1]) <= 1e-5)
            }
        }
        #expect(word == alpha.count && region == beta.count)
    }
}

extension TrainingGolden.Case {
    /// Dropout and other networks are not served.
    var isServed: Bool { dropout == nil && system.network?.kind == .attention }
}

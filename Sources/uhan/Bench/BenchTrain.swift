import ArgumentParser
import Model
import Training

struct BenchTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "A step of training behind VGG16: forward, backward, Adam.",
        discussion: """
            UHAN at the paper's sizes (dimension 512, 196 regions of 512 channels, 20,000 words, 128 \
            users) on posts of noise; features are cached, as in 'uhan train'.

            The floor is the matrix products at the measured peak of multiply-adds.
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: "Posts of a step.")
    var batch = 128

    @Option(help: "Words of each post, 1 to 50.")
    var words = 50

    func validate() throws {
        if !(1...50).contains(words) { throw ValidationError("--words is 1 to 50") }
        if !(1...1024).contains(batch) { throw ValidationError("--batch is 1 to 1024") }
    }

    private struct Result: Encodable {
        let benchmark = "train"
        let median_ms: Double
        let min_ms: Double
        let runs: Int
        let batch: Int
        let words: Int
        let threads: Int
        let instruction_set: String
        let gflop: Double
        let floor_ms: Double
        let floor_fraction: Double
        let loss: Double
    }

    func run() throws {
        let kernels = try Kernels.chosen()
        let workers = Workers(count: options.threads)
        let shape = HeadShape(
            dimension: 512, channels: 512, regions: 196, dense: [1024, 1024], vocabulary: 20_000,
            maximumWords: 50, gate: .logistic)
        let users = 128
        let learner = try Learner(
            .attention, shape: shape, users: users, maximumPosts: batch, rule: LearningRule(),
            kernels: kernels, workers: workers)
        var noise = SplitMix64(seed: 7)
        func values(_ count: Int, _ limit: Float) -> [Float] {
            (0..<count).map { _ in (Float(noise.next() >> 40) / 8_388_608 - 1) * limit }
        }
        for (name, shape) in learner.tensors {
            try learner.setTensor(name, values(shape.reduce(1, *), 0.05))
        }
        learner.ready()
        let features = values(batch * shape.regions * shape.channels, 1).map { max(0, $0) }
        let timing = try features.withUnsafeBufferPointer { features in
            let posts = (0..<batch).map { post in
                TrainingSample(
                    features: features.baseAddress.map {
                        $0 + post * shape.regions * shape.channels
                    },
                    wordIDs: (0..<words).map { _ in Int32(noise.next() % 20_000) },
                    user: Int(noise.next() % UInt64(users)), target: values(1, 3)[0])
            }
            var loss = 0.0
            let timing = try options.measure(warmUps: 2) { loss = try learner.learn(posts).loss }
            return (timing, loss)
        }
        let peak = MachinePeak.measure(
            kernels: kernels, workers: workers, nanoseconds: monotonicNanoseconds)
        let gflop = 2 * Double(multiplyAdds(shape)) / 1e9
        let floor = gflop * 1e9 / peak.operationsPerSecond * 1e3
        try options.report(
            Result(
                median_ms: timing.0.median, min_ms: timing.0.minimum, runs: timing.0.runs,
                batch: batch, words: words, threads: options.threads,
                instruction_set: kernels.name, gflop: gflop, floor_ms: floor,
                floor_fraction: floor / timing.0.median, loss: timing.1),
            [
                "a step on \(batch) posts of \(words) words: \(rounded(timing.0.median, 1)) ms "
                    + "(median of \(timing.0.runs)), \(options.threads) threads, \(kernels.name)",
                "floor \(rounded(floor, 1)) ms: \(rounded(gflop, 1)) GFLOP at "
                    + "\(rounded(peak.operationsPerSecond / 1e9, 0)) GFLOP/s",
            ])
    }

    /// Of the products with matrices: each once forward and twice backward, but that features need no
    /// derivative.
    private func multiplyAdds(_ shape: HeadShape) -> Int {
        let square = shape.dimension * shape.dimension
        let images = batch * shape.regions
        let texts = batch * words
        var inputs = shape.dimension
        var perPost = 8 * square  // B and C twice, W_x, W_u, W_r
        for outputs in shape.dense + [1] {
            perPost += inputs * outputs
            inputs = outputs
        }
        return images * (2 * shape.channels * shape.dimension + 3 * square)
            + texts * 3 * (8 + 1) * square + batch * 3 * perPost
    }
}

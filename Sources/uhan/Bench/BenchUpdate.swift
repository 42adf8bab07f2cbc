import ArgumentParser
import Model

struct BenchUpdate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "The gradient by users' vectors, as learning from views takes it.",
        discussion: """
            As many posts as users, each post of another user, at the paper's sizes (dimension 512, \
            196 regions, two dense layers of 1024); the squared error's exact derivative by each \
            user's vector. features: from features and word ids; hv: from H and V as they are kept, \
            8 bits a value; encoding: from encodings. Posts and weights are noise from a seed.

            The floor is the matrix products at the measured peak of multiply-adds, plus the \
            encodings' bytes (read forward and backward; written once by hv and features) at the \
            measured speed of memory, plus in features the LSTM's weights, once a word, at the \
            measured speed of the third-level cache. "score_change" says how far the 8 bits of hv \
            move a score.
            """)

    enum Part: String, ExpressibleByArgument, CaseIterable { case features, hv, encoding }

    @OptionGroup var options: BenchOptions

    @Option(help: "What to start from.")
    var part = Part.encoding

    @Option(help: "Posts and users, 1 to 1024.")
    var batch = 128

    @Option(help: "Words of each post, 1 to 50.")
    var words = 50

    func validate() throws {
        if !(1...50).contains(words) { throw ValidationError("--words is 1 to 50") }
        if !(1...1024).contains(batch) { throw ValidationError("--batch is 1 to 1024") }
    }

    private struct Result: Encodable {
        let benchmark = "update"
        let part: String
        let median_ms: Double
        let min_ms: Double
        let runs: Int
        let batch: Int
        let words: Int
        let threads: Int
        let instruction_set: String
        let floor_ms: Double
        let floor_fraction: Double
        let gflop: Double
        let encoding_bytes: Int
        let peak_gflops: Double
        let memory_bytes_per_second: Double
        let kept_bytes: Int
        let keep_ms_per_post: Double
        let score_change: ScoreChange?
    }

    /// Between posts as they were encoded and as they were kept, each for its own user.
    private struct ScoreChange: Encodable {
        let mean: Double
        let largest: Double
        let deviation_of_scores: Double
    }

    func run() throws {
        let workers = Workers(count: options.threads)
        let kernels = try Kernels.chosen()
        let weights = try HeadInput(weights: nil, input: nil, words: words, kernels: kernels)
            .weights
        let shape = weights.shape
        var noise = SplitMix64(seed: 23)
        func values(_ count: Int) -> [Float] {
            (0..<count).map { _ in Float(noise.next() >> 40) / 8_388_608 - 1 }
        }
        let features = (0..<batch).map { _ in
            values(shape.regions * shape.channels).map { max(0, $0) }
        }
        let ids = (0..<batch).map { _ in
            (0..<words).map { _ in Int32(noise.next() % UInt64(shape.vocabulary)) }
        }
        let users = (0..<batch).map { _ in values(shape.dimension) }
        let userOf = Array(0..<batch)

        let learner = UserGradient(weights: weights, workers: workers)
        // A thread sees posts of its own to the end: within one post the LSTM keeps one thread busy.
        let heads = (0..<options.threads).map { _ in
            Head(weights: weights, workers: Workers(count: 1))
        }
        func encode() -> [PostEncoding] {
            Array(unsafeUninitializedCapacity: batch) { encodings, count in
                let start = encodings.baseAddress.unsafelyUnwrapped
                workers.run(tasks: batch) { post, worker in
                    (start + post).initialize(
                        to: heads[worker].encode(features: features[post], wordIDs: ids[post]))
                }
                count = batch
            }
        }
        let encodings = encode()
        let start = monotonicNanoseconds()
        let kept = encodings.map { KeptEncoding($0) }
        let keeping = Double(monotonicNanoseconds() - start) / 1e6 / Double(batch)

        let timing = options.measure {
            let posts: [PostEncoding] =
                switch part {
                case .features: encode()
                case .hv: learner.expand(kept)
                case .encoding: encodings
                }
            _ = learner.gradient(posts, userOf: userOf, users: users) { $0.map { 2 * ($0 - 3) } }
        }
        let change: ScoreChange? =
            part != .hv
            ? nil
            : scoreChange(
                learner.scores(encodings, userOf: userOf, users: users),
                learner.scores(learner.expand(kept), userOf: userOf, users: users))

        let peak = MachinePeak.measure(
            kernels: kernels, workers: workers, nanoseconds: monotonicNanoseconds)
        let encodingBytes = batch * 2 * (shape.regions + words) * shape.dimension * 4
        let square = shape.dimension * shape.dimension
        var multiplyAdds = 6 * square + 2 * (shape.regions + words) * shape.dimension
        var inputs = shape.dimension
        for outputs in shape.dense + [1] {
            multiplyAdds += inputs * outputs
            inputs = outputs
        }
        multiplyAdds *= 2 * batch  // forward and backward
        var floor = 0.0
        var encodingMultiplyAdds = 0
        switch part {
        case .features:
            let encoding = HeadFloor(
                .encode, words: words, shape: shape, batch: batch,
                HeadSpeed(kernels: kernels, workers: workers))
            floor = encoding.ms
            encodingMultiplyAdds = encoding.multiply_adds
        case .hv:
            multiplyAdds += batch * (shape.regions + words + 2) * square
        case .encoding: break
        }
        let passes: Double = part == .encoding ? 2 : 3
        floor +=
            1e3
            * (Double(2 * multiplyAdds) / peak.operationsPerSecond
                + passes * Double(encodingBytes) / peak.bytesPerSecond)
        let fraction = floor / timing.median
        try options.report(
            Result(
                part: part.rawValue, median_ms: timing.median, min_ms: timing.minimum,
                runs: timing.runs, batch: batch, words: words, threads: options.threads,
                instruction_set: kernels.name, floor_ms: floor, floor_fraction: fraction,
                gflop: 2 * Double(multiplyAdds + encodingMultiplyAdds) / 1e9,
                encoding_bytes: encodingBytes,
                peak_gflops: peak.operationsPerSecond / 1e9,
                memory_bytes_per_second: peak.bytesPerSecond, kept_bytes: kept[0].bytes.count,
                keep_ms_per_post: keeping, score_change: change),
            [
                "update from \(part.rawValue): \(rounded(timing.median, 2)) ms for \(batch) posts "
                    + "of \(words) words (median of \(timing.runs)), \(options.threads) threads, "
                    + kernels.name,
                "least possible \(rounded(floor, 1)) ms (\(rounded(fraction * 100, 0)) % reached)",
            ])
    }

    private func scoreChange(_ scores: [Float], _ kept: [Float]) -> ScoreChange {
        let differences = zip(scores, kept).map { abs(Double($0) - Double($1)) }
        let count = Double(scores.count)
        let mean = scores.reduce(0) { $0 + Double($1) } / count
        let variance = scores.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / count
        return ScoreChange(
            mean: differences.reduce(0, +) / count, largest: differences.max() ?? 0,
            deviation_of_scores: variance.squareRoot())
    }
}

import ArgumentParser
import Glibc
import Model

struct BenchHead: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "head",
        abstract: "Everything behind VGG16: text, attention, dense layers.",
        discussion: """
            score: from features, word ids and a user's vector to the score. encode: what needs no \
            user. user: from an encoding and a user's vector to the score. Weights and input are \
            noise from a seed, or are read from safetensors files under a bundle's names: \
            features (196, 512), ids (int32, 50), user (512).

            The floor is the matrix products at the measured peak of multiply-adds, and the weights \
            that multiply one row at a time (the LSTM's once a word) at the measured speed of the \
            third-level cache.
            """)

    enum Part: String, ExpressibleByArgument, CaseIterable { case score, encode, user }

    @OptionGroup var options: BenchOptions

    @Option(help: "What to time.")
    var part = Part.score

    @Option(help: "Posts in a timed run, one after the other.")
    var batch = 1

    @Option(help: "Words of a post, at most 50.")
    var words = 50

    @Flag(help: "Drive the weights out of the caches before each run, as a backbone does.")
    var cold = false

    @Option(help: "A safetensors file with the weights.")
    var weights: String?

    @Option(help: "A safetensors file with the input; needs --weights.")
    var input: String?

    func validate() throws {
        if !(0...50).contains(words) { throw ValidationError("--words is 0 to 50") }
        if !(1...10_000).contains(batch) { throw ValidationError("--batch is 1 to 10000") }
        if input != nil && weights == nil { throw ValidationError("--input needs --weights") }
    }

    private struct Result: Encodable {
        let benchmark = "head"
        let part: String
        let median_ms: Double
        let min_ms: Double
        let runs: Int
        let batch: Int
        let words: Int
        let threads: Int
        let cold: Bool
        let instruction_set: String
        let packed_bytes: Int
        let floor_ms: Double
        let floor_fraction: Double
        let floor: HeadFloor
        let score: Float
    }

    func run() throws {
        let workers = Workers(count: options.threads)
        let kernels = try Kernels.chosen()
        let post = try HeadInput(weights: weights, input: input, words: words, kernels: kernels)
        let head = Head(weights: post.weights, workers: workers)
        let encoding = head.encode(features: post.features, wordIDs: post.ids)

        var score: Float = 0
        func once() {
            switch part {
            case .score:
                score =
                    head.predict(
                        head.encode(features: post.features, wordIDs: post.ids),
                        user: head.project(user: post.user)
                    ).score
            case .encode:
                _ = head.encode(features: post.features, wordIDs: post.ids)
            case .user:
                score = head.predict(encoding, user: head.project(user: post.user)).score
            }
        }
        let timing = cold ? measureCold(once) : options.measure { for _ in 0..<batch { once() } }
        let floor = HeadFloor(
            part, words: words, shape: post.weights.shape, batch: batch,
            HeadSpeed(kernels: kernels, workers: workers))
        let fraction = floor.ms / timing.median
        try options.report(
            Result(
                part: part.rawValue, median_ms: timing.median, min_ms: timing.minimum,
                runs: timing.runs, batch: batch, words: words, threads: options.threads,
                cold: cold, instruction_set: kernels.name, packed_bytes: post.weights.bytes,
                floor_ms: floor.ms, floor_fraction: fraction, floor: floor, score: score),
            [
                "head, \(part.rawValue): \(rounded(timing.median, 3)) ms for \(batch) posts of "
                    + "\(words) words (median of \(timing.runs)), \(options.threads) threads, "
                    + kernels.name,
                "least possible \(rounded(floor.ms, 3)) ms (\(rounded(fraction * 100, 0)) % reached)",
            ])
    }

    /// Between runs 64 MB of other memory are read: no cache keeps anything.
    private func measureCold(_ work: () -> Void) -> Timing {
        var other = [UInt64](repeating: 1, count: 8 << 20)
        var milliseconds: [Double] = []
        for _ in 0..<options.runs {
            for index in stride(from: 0, to: other.count, by: 8) { other[index] &+= 1 }
            let before = monotonicNanoseconds()
            for _ in 0..<batch { work() }
            milliseconds.append(Double(monotonicNanoseconds() - before) / 1e6)
        }
        return Timing(milliseconds: milliseconds)
    }
}

/// The sizes of the paper's network, and a post for it.
struct HeadInput {
    let weights: PackedHead
    let features: [Float]
    let ids: [Int32]
    let user: [Float]

    /// - Parameters:
    ///   - path: weights in a file; from a seed where nil.
    ///   - input: a post in a file; noise where nil.
    init(weights path: String?, input: String?, words: Int, kernels: Kernels) throws {
        let vocabulary: Int
        let file: Safetensors
        if let path {
            file = try Safetensors(path: path)
            vocabulary = file.shape(of: "word")?.first ?? 0
        } else {
            vocabulary = 1_000
            file = try Self.seeded(vocabulary)
        }
        let shape = HeadShape(
            dimension: 512, channels: 512, regions: 196, dense: [1024, 1024],
            vocabulary: vocabulary, maximumWords: 50, gate: .logistic)
        weights = try PackedHead(weights: file, shape: shape, kernels: kernels)
        if let input {
            let file = try Safetensors(path: input)
            features = try file.tensor("features", shape: [shape.regions, shape.channels])
                .contents()
            ids = Array(try file.integers("ids", shape: [shape.maximumWords]).prefix(words))
            user = try file.tensor("user", shape: [shape.dimension]).contents()
            guard ids.allSatisfy({ $0 >= 0 && $0 < vocabulary }) else {
                throw ModelError.invalid("\(input): an id is not one of \(vocabulary) words")
            }
        } else {
            var noise = SplitMix64(seed: 5)
            func values(_ count: Int) -> [Float] {
                (0..<count).map { _ in Float(noise.next() >> 40) / 8_388_608 - 1 }
            }
            features = values(shape.regions * shape.channels).map { max(0, $0) }
            ids = (0..<words).map { _ in Int32(noise.next() % UInt64(vocabulary)) }
            user = values(shape.dimension)
        }
    }

    /// Weights come from files alone: here from one that has no name any more.
    private static func seeded(_ vocabulary: Int) throws -> Safetensors {
        var seeded = SeededWeights(seed: 1)
        let bytes = seeded.head(
            dimension: 512, channels: 512, dense: [1024, 1024], vocabulary: vocabulary
        ).bytes()
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        let path = "\(folder)/uhan-bench-\(getpid()).safetensors"
        try writeFile(bytes, to: path)
        defer { unlink(path) }
        return try Safetensors(path: path)
    }
}

/// What this machine does on so many threads.
struct HeadSpeed: Encodable {
    let multiply_adds_per_second: Double
    /// Of weights that lie in the third-level cache.
    let weight_bytes_per_second: Double

    init(kernels: Kernels, workers: Workers) {
        let peak = MachinePeak.measure(
            kernels: kernels, workers: workers, nanoseconds: monotonicNanoseconds)
        multiply_adds_per_second = peak.operationsPerSecond / 2
        let reading = WeightReading(kernels: kernels, workers: workers)
        var best = 0.0
        for _ in 0..<200 {
            let start = monotonicNanoseconds()
            let bytes = reading.run()
            best = max(best, Double(bytes) / Double(monotonicNanoseconds() - start) * 1e9)
        }
        weight_bytes_per_second = best
    }
}

/// The least time for a part of the head.
struct HeadFloor: Encodable {
    let ms: Double
    let multiply_adds: Int
    let row_weight_bytes: Int
    let machine: HeadSpeed

    init(
        _ part: BenchHead.Part, words: Int, shape: HeadShape, batch: Int, _ machine: HeadSpeed
    ) {
        let square = shape.dimension * shape.dimension
        var multiplyAdds = 0
        var rowWeights = 0
        if part != .user {
            multiplyAdds +=
                shape.regions * (shape.channels * shape.dimension + square) + 5 * words * square
            rowWeights += 4 * max(0, words - 1) * square + (words > 0 ? 2 * square : 0)
        }
        if part != .encode {
            multiplyAdds += 2 * (shape.regions + words) * shape.dimension
            var inputs = shape.dimension
            for outputs in shape.dense + [1] {
                rowWeights += inputs * outputs
                inputs = outputs
            }
            rowWeights += 6 * square
        }
        multiply_adds = batch * multiplyAdds
        row_weight_bytes = batch * rowWeights * 4
        self.machine = machine
        ms =
            1e3
            * (Double(multiply_adds) / machine.multiply_adds_per_second
                + Double(row_weight_bytes) / machine.weight_bytes_per_second)
    }
}

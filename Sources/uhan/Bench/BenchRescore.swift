import ArgumentParser
import Model

struct BenchRescore: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rescore",
        abstract: "One encoded post for many users.",
        discussion: """
            From a post's encoding and the users' projections to their scores; and the same from \
            the users' vectors, which have to be projected first. The floor is the multiply-adds at \
            the measured peak.
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: "Users to score the post for.")
    var users = 1_000

    @Option(help: "Words of the post, at most 50.")
    var words = 50

    func validate() throws {
        if !(1...100_000).contains(users) { throw ValidationError("--users is 1 to 100000") }
        if !(0...50).contains(words) { throw ValidationError("--words is 0 to 50") }
    }

    private struct Result: Encodable {
        let benchmark = "rescore"
        let median_ms: Double
        let min_ms: Double
        let runs: Int
        let users: Int
        let words: Int
        let threads: Int
        let instruction_set: String
        let users_per_second: Double
        let users_per_second_per_thread: Double
        let with_projection: WithProjection
        let floor_ms: Double
        let floor_fraction: Double
        let peak_gflops: Double
    }

    private struct WithProjection: Encodable {
        let median_ms: Double
        let users_per_second: Double
        let users_per_second_per_thread: Double
        let floor_ms: Double
        let floor_fraction: Double
    }

    func run() throws {
        let workers = Workers(count: options.threads)
        let kernels = try Kernels.chosen()
        let post = try HeadInput(weights: nil, input: nil, words: words, kernels: kernels)
        let shape = post.weights.shape
        let head = Head(weights: post.weights, workers: workers)
        let encoding = head.encode(features: post.features, wordIDs: post.ids)
        var noise = SplitMix64(seed: 17)
        let vectors = (0..<users).map { _ in
            (0..<shape.dimension).map { _ in Float(noise.next() >> 40) / 8_388_608 - 1 }
        }
        let projections = head.project(users: vectors)

        let scoring = options.measure { _ = head.scores(encoding, users: projections) }
        let both = options.measure {
            _ = head.scores(encoding, users: head.project(users: vectors))
        }
        let peak = MachinePeak.measure(
            kernels: kernels, workers: workers, nanoseconds: monotonicNanoseconds)
        let square = shape.dimension * shape.dimension
        var multiplyAdds = 2 * (shape.regions + words) * shape.dimension + 2 * square
        var inputs = shape.dimension
        for outputs in shape.dense + [1] {
            multiplyAdds += inputs * outputs
            inputs = outputs
        }
        func floor(_ multiplyAdds: Int) -> Double {
            Double(2 * users * multiplyAdds) / peak.operationsPerSecond * 1e3
        }
        func perSecond(_ timing: Timing) -> Double { Double(users) / timing.median * 1e3 }
        let (floorAlone, floorOfBoth) = (floor(multiplyAdds), floor(multiplyAdds + 4 * square))
        let threads = Double(options.threads)
        try options.report(
            Result(
                median_ms: scoring.median, min_ms: scoring.minimum, runs: scoring.runs,
                users: users, words: words, threads: options.threads,
                instruction_set: kernels.name, users_per_second: perSecond(scoring),
                users_per_second_per_thread: perSecond(scoring) / threads,
                with_projection: WithProjection(
                    median_ms: both.median, users_per_second: perSecond(both),
                    users_per_second_per_thread: perSecond(both) / threads,
                    floor_ms: floorOfBoth, floor_fraction: floorOfBoth / both.median),
                floor_ms: floorAlone, floor_fraction: floorAlone / scoring.median,
                peak_gflops: peak.operationsPerSecond / 1e9),
            [
                "rescore: \(rounded(perSecond(scoring), 0)) users a second from projections, "
                    + "\(rounded(perSecond(both), 0)) from vectors; \(options.threads) threads, "
                    + kernels.name,
                "\(rounded(floorAlone / scoring.median * 100, 0)) % and "
                    + "\(rounded(floorOfBoth / both.median * 100, 0)) % of what is possible",
            ])
    }
}

import ArgumentParser
import Daemon
import Glibc
import Model
import Pipeline

struct BenchLatency: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latency",
        abstract: "From a post to its score, under a given load.",
        discussion: """
            The whole daemon in this process, as in 'uhan bench pipeline'. First it is saturated, \
            which says what it can take; then posts come at random (Poisson) at --load times that \
            rate, no two images alike. median_ms and p99_ms are from the moment a post was due to \
            the moment its score could be read, commit included.

            Above 1 the daemon cannot keep up. Posts without a deadline then wait longer and longer; \
            with --deadline-milliseconds each has a score_by, and those that cannot be scored in time \
            are answered as expired.

              uhan bench latency --model model --load 0.5 --threads 2 --json
              uhan bench latency --model model --load 1.5 --deadline-milliseconds 2000
            """)

    @OptionGroup var serving: ServingOptions
    @OptionGroup var options: BenchOptions

    @Option(help: "Arrivals, as a part of what the daemon can take.")
    var load = 0.5

    @Option(help: "Posts that arrive.")
    var posts = 300

    @Option(help: "From a post's time to its score_by. (default: posts have no deadline)")
    var deadlineMilliseconds: Int?

    @Option(help: "Seed of the arrival times.")
    var seed: UInt64 = 1

    private struct Result: Encodable {
        let benchmark = "latency"
        let median_ms: Double
        let p90_ms: Double
        let p99_ms: Double
        let maximum_ms: Double
        /// Three scores' time and the commit interval.
        let bound_ms: Double
        /// From score to score under saturation.
        let score_ms: Double
        let backbone_ms: Double
        let load: Double
        let arrivals_per_second: Double
        let scores_per_second: Double
        let commit_interval_ms: Int
        let deadline_ms: Int?
        let scored: Int
        let expired: Int
        /// Of the scored, those that could be read by their deadline.
        let in_time: Int?
        let posts: Int
        let threads: Int
        let image_bytes: Int
        let broker: String
        let machine: MachineFacts
    }

    private static let warmUps = 8
    /// Posts that are scored as fast as it goes, to learn what the daemon can take.
    private static let saturating = 48
    private static let maximumAhead = 256

    func validate() throws {
        if !(8...1_000_000).contains(posts) { throw ValidationError("--posts is 8 to 1000000") }
        if !(0.01...100).contains(load) { throw ValidationError("--load is 0.01 to 100") }
        if let deadlineMilliseconds, !(1...3_600_000).contains(deadlineMilliseconds) {
            throw ValidationError("--deadline-milliseconds is 1 to 3600000")
        }
    }

    func run() async throws {
        bootstrapLogging(.init(level: .warning, format: .text))
        let bundle = try openModel(serving.model)
        let trialPosts = try serving.makePosts(Self.warmUps + Self.saturating + posts)
        let backbone = try serving.bareBackbone(bundle, options).median
        let trial = Trial(
            .init(
                bundle: bundle, threads: options.threads, posts: trialPosts,
                bootstrap: serving.bootstrap, embeddedFetchWaitMilliseconds: 5))
        let (count, factor, deadline, seed) = (posts, load, deadlineMilliseconds, seed)
        let measured = try await trial.run { load in
            _ = try load.saturate(posts: Self.warmUps, maximumAhead: Self.maximumAhead)
            let pace = ScorePace(
                try load.saturate(posts: Self.saturating, maximumAhead: Self.maximumAhead))
            let arrivals = Self.arrivals(
                count, perSecond: factor * 1_000 / pace.millisecondsPerPost, seed: seed)
            let answers = try load.arrive(at: arrivals, deadlineMilliseconds: deadline)
            return (pace: pace.millisecondsPerPost, arrivals: arrivals, answers: answers)
        }

        let scored = measured.answers.filter { $0.scored != nil }
        let latencies = scored.map { Double($0.readNanoseconds - $0.dueNanoseconds) / 1e6 }
        let span = (measured.arrivals.last ?? 1) - (measured.arrivals.first ?? 0)
        let interval = trial.commitIntervalMilliseconds
        let result = Result(
            median_ms: quantile(latencies, 0.5), p90_ms: quantile(latencies, 0.9),
            p99_ms: quantile(latencies, 0.99), maximum_ms: latencies.max() ?? 0,
            bound_ms: 3 * measured.pace + Double(interval), score_ms: measured.pace,
            backbone_ms: backbone, load: load,
            arrivals_per_second: Double(count - 1) / span,
            scores_per_second: 1_000 / ScorePace(measured.answers).millisecondsPerPost,
            commit_interval_ms: interval, deadline_ms: deadline, scored: scored.count,
            expired: measured.answers.count - scored.count,
            in_time: deadline.map { deadline in latencies.count { $0 <= Double(deadline) } },
            posts: count, threads: options.threads, image_bytes: trialPosts.bytesPerImage,
            broker: serving.bootstrap ?? "embedded", machine: MachineFacts())
        var lines = [
            "a score takes \(rounded(result.score_ms, 1)) ms; posts came at "
                + "\(rounded(load, 2)) times that rate, "
                + "\(rounded(result.arrivals_per_second, 2)) a second",
            "from post to score: median \(rounded(result.median_ms, 0)), "
                + "p90 \(rounded(result.p90_ms, 0)), p99 \(rounded(result.p99_ms, 0)), "
                + "at most \(rounded(result.maximum_ms, 0)) ms; three scores and the commit "
                + "interval are \(rounded(result.bound_ms, 0)) ms",
        ]
        if let deadline, let inTime = result.in_time {
            lines.append(
                "deadline \(deadline) ms: \(result.scored) scored, \(inTime) of them in time; "
                    + "\(result.expired) expired")
        }
        try options.report(result, lines)
    }

    /// A Poisson process: seconds, ascending.
    private static func arrivals(_ count: Int, perSecond rate: Double, seed: UInt64) -> [Double] {
        var generator = SplitMix64(seed: seed)
        var time = 0.0
        return (0..<count).map { _ in
            // In (0, 1]: the logarithm is finite.
            let uniform = (Double(generator.next() >> 11) + 1) / 9_007_199_254_740_992
            time -= log(uniform) / rate
            return time
        }
    }
}

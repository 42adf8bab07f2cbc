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

            With --learning the users' vectors learn meanwhile: a few users' posts are viewed at the \
            rate at which posts come, so that windows of labelled posts fill up and updates run all \
            the time. 'alternate' does it in turn with learning off and on, in rounds that share their \
            arrivals, and p99_ratio is the median over the rounds of p99 with learning over p99 \
            without.

              uhan bench latency --model model --load 0.5 --threads 2 --json
              uhan bench latency --model model --load 0.6 --learning alternate --json
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

    enum Learning: String, ExpressibleByArgument, CaseIterable { case off, on, alternate }

    @Option(help: "Whether vectors learn meanwhile: off, on or alternate.")
    var learning = Learning.off

    @Option(help: "Rounds of 'alternate', each once with learning off and once with it on.")
    var rounds = 5

    @Option(help: "Users who post in turn. (default: 97; 4 with --learning on or alternate)")
    var users: Int?

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
        let learning: LearningFacts?
    }

    /// Learning, while posts arrived.
    private struct LearningFacts: Encodable {
        let users: Int
        let labels: Int
        let labels_per_second: Double
        let updates: Int
        let accepted: Int
        /// Until an update was done; it goes on only when nobody else needs the processor.
        let update_ms: Double
        let missing_encodings: Int
        let lost_encodings: Int
    }

    private struct AlternatedResult: Encodable {
        let benchmark = "latency-learning"
        /// Medians over the rounds of a quantile with learning over the same without.
        let p99_ratio: Double
        let median_ratio: Double
        let p999_ratio: Double
        /// p99 of all posts of all rounds together, with learning over without.
        let pooled_p99_ratio: Double
        let load: Double
        let score_ms: Double
        let commit_interval_ms: Int
        let posts: Int
        let users: Int
        let threads: Int
        let broker: String
        let machine: MachineFacts
        /// In the order in which they were made.
        let runs: [Run]

        struct Run: Encodable {
            let round: Int
            let median_ms: Double
            let p90_ms: Double
            let p99_ms: Double
            let p999_ms: Double
            let maximum_ms: Double
            let arrivals_per_second: Double
            /// nil: off.
            let learning: LearningFacts?
        }
    }

    /// One daemon's life.
    private struct Measured {
        var pace: ScorePace
        var arrivals: [Double]
        var answers: [Trial.Answer]
        var learning: LearningFacts?

        var latencies: [Double] {
            answers.filter { $0.scored != nil }
                .map { Double($0.readNanoseconds - $0.dueNanoseconds) / 1e6 }
        }
        var arrivalsPerSecond: Double {
            Double(arrivals.count - 1) / ((arrivals.last ?? 1) - (arrivals.first ?? 0))
        }
    }

    private static let learningUsers = 4
    private static let warmUps = 8
    /// Posts that are scored as fast as it goes, to learn what the daemon can take.
    private static let saturating = 48
    private static let maximumAhead = 256

    func validate() throws {
        if !(8...1_000_000).contains(posts) { throw ValidationError("--posts is 8 to 1000000") }
        if !(0.01...100).contains(load) { throw ValidationError("--load is 0.01 to 100") }
        if !(1...100).contains(rounds) { throw ValidationError("--rounds is 1 to 100") }
        if let users, !(1...100_000).contains(users) {
            throw ValidationError("--users is 1 to 100000")
        }
        if learning == .alternate, deadlineMilliseconds != nil {
            throw ValidationError("--learning alternate compares posts without a deadline")
        }
        if let deadlineMilliseconds, !(1...3_600_000).contains(deadlineMilliseconds) {
            throw ValidationError("--deadline-milliseconds is 1 to 3600000")
        }
    }

    func run() async throws {
        bootstrapLogging(.init(level: .warning, format: .text))
        let bundle = try openModel(serving.model)
        let trialPosts = try serving.makePosts(
            Self.warmUps + Self.saturating + posts, users: userCount)
        if learning == .alternate { return try await alternate(bundle, trialPosts) }
        let backbone = try serving.bareBackbone(bundle, options).median
        let trial = trial(bundle, trialPosts, isLearning: learning == .on)
        let measured = try await measure(trial, perSecond: nil, seed: seed)

        let scored = measured.answers.filter { $0.scored != nil }
        let latencies = measured.latencies
        let interval = trial.commitIntervalMilliseconds
        let result = Result(
            median_ms: quantile(latencies, 0.5), p90_ms: quantile(latencies, 0.9),
            p99_ms: quantile(latencies, 0.99), maximum_ms: latencies.max() ?? 0,
            bound_ms: 3 * measured.pace.millisecondsPerPost + Double(interval),
            score_ms: measured.pace.millisecondsPerPost,
            backbone_ms: backbone, load: load,
            arrivals_per_second: measured.arrivalsPerSecond,
            scores_per_second: 1_000 / ScorePace(measured.answers).millisecondsPerPost,
            commit_interval_ms: interval, deadline_ms: deadlineMilliseconds, scored: scored.count,
            expired: measured.answers.count - scored.count,
            in_time: deadlineMilliseconds.map { deadline in
                latencies.count { $0 <= Double(deadline) }
            },
            posts: posts, threads: options.threads, image_bytes: trialPosts.bytesPerImage,
            broker: serving.bootstrap ?? "embedded", machine: MachineFacts(),
            learning: measured.learning)
        var lines = [
            "a score takes \(rounded(result.score_ms, 1)) ms; posts came at "
                + "\(rounded(load, 2)) times that rate, "
                + "\(rounded(result.arrivals_per_second, 2)) a second",
            "from post to score: median \(rounded(result.median_ms, 0)), "
                + "p90 \(rounded(result.p90_ms, 0)), p99 \(rounded(result.p99_ms, 0)), "
                + "at most \(rounded(result.maximum_ms, 0)) ms; three scores and the commit "
                + "interval are \(rounded(result.bound_ms, 0)) ms",
        ]
        if let deadline = deadlineMilliseconds, let inTime = result.in_time {
            lines.append(
                "deadline \(deadline) ms: \(result.scored) scored, \(inTime) of them in time; "
                    + "\(result.expired) expired")
        }
        if let learning = measured.learning { lines.append(Self.line(learning)) }
        try options.report(result, lines)
    }

    private var userCount: Int {
        users ?? (learning == .off ? TrialPosts.defaultUsers : Self.learningUsers)
    }

    private static func line(_ learning: LearningFacts) -> String {
        "learning: \(rounded(learning.labels_per_second, 2)) labels a second, "
            + "\(learning.updates) updates, \(rounded(learning.update_ms, 0)) ms until each was done"
    }

    private func trial(
        _ bundle: ModelBundle, _ posts: TrialPosts, isLearning: Bool
    ) -> Trial {
        Trial(
            .init(
                bundle: bundle, threads: options.threads, posts: posts,
                bootstrap: serving.bootstrap, embeddedFetchWaitMilliseconds: 5,
                isLearning: isLearning))
    }

    /// - Parameter rate: of arrivals; nil: `load` times what the daemon takes in this life.
    private func measure(
        _ trial: Trial, perSecond rate: Double?, seed: UInt64
    ) async throws -> Measured {
        let (count, factor, deadline) = (posts, load, deadlineMilliseconds)
        let (withViews, users) = (learning != .off, userCount)
        return try await trial.run { load in
            _ = try load.saturate(posts: Self.warmUps, maximumAhead: Self.maximumAhead)
            let pace = ScorePace(
                try load.saturate(posts: Self.saturating, maximumAhead: Self.maximumAhead))
            let rate = rate ?? factor * 1_000 / pace.millisecondsPerPost
            let arrivals = Self.arrivals(count, perSecond: rate, seed: seed)
            guard withViews else {
                let answers = try load.arrive(at: arrivals, deadlineMilliseconds: deadline)
                return Measured(pace: pace, arrivals: arrivals, answers: answers)
            }
            try load.viewAll()
            let before = trial.isLearning ? try load.learning() : nil
            let views = load.views
            let answers = try load.arrive(
                at: arrivals, deadlineMilliseconds: deadline,
                views: Self.arrivals(count, perSecond: rate, seed: ~seed))
            let labels = load.views - views
            let after = trial.isLearning ? try load.learning() : nil
            var measured = Measured(pace: pace, arrivals: arrivals, answers: answers)
            if let before, let after {
                let updates = after.updates.values.reduce(0, +) - before.updates.values.reduce(0, +)
                measured.learning = LearningFacts(
                    users: users, labels: labels,
                    labels_per_second: Double(labels) / (arrivals.last ?? 1), updates: updates,
                    accepted: after.updates[.accepted, default: 0]
                        - before.updates[.accepted, default: 0],
                    update_ms: (after.updateMilliseconds - before.updateMilliseconds)
                        / Double(max(1, updates)),
                    missing_encodings: after.missingEncodings, lost_encodings: after.lostEncodings)
            }
            return measured
        }
    }

    private func alternate(_ bundle: ModelBundle, _ trialPosts: TrialPosts) async throws {
        // What the daemon takes without learning, once for all runs: they share their arrivals.
        let capacity = try await trial(bundle, trialPosts, isLearning: false).run { load in
            _ = try load.saturate(posts: Self.warmUps, maximumAhead: Self.maximumAhead)
            return ScorePace(
                try load.saturate(posts: Self.saturating, maximumAhead: Self.maximumAhead))
        }.millisecondsPerPost
        var runs: [AlternatedResult.Run] = []
        var pooled: [Bool: [Double]] = [:]
        for round in 0..<rounds {
            // Neither comes always first.
            for isLearning in round % 2 == 0 ? [false, true] : [true, false] {
                let measured = try await measure(
                    trial(bundle, trialPosts, isLearning: isLearning),
                    perSecond: load * 1_000 / capacity, seed: seed + UInt64(round))
                let latencies = measured.latencies
                pooled[isLearning, default: []] += latencies
                let run = AlternatedResult.Run(
                    round: round, median_ms: quantile(latencies, 0.5),
                    p90_ms: quantile(latencies, 0.9), p99_ms: quantile(latencies, 0.99),
                    p999_ms: quantile(latencies, 0.999), maximum_ms: latencies.max() ?? 0,
                    arrivals_per_second: measured.arrivalsPerSecond, learning: measured.learning)
                runs.append(run)
                say(
                    "round \(round + 1), learning \(isLearning ? "on" : "off"): "
                        + "median \(rounded(run.median_ms, 0)), p90 \(rounded(run.p90_ms, 0)), "
                        + "p99 \(rounded(run.p99_ms, 0)), at most \(rounded(run.maximum_ms, 0)) ms")
                if let learning = measured.learning { say(Self.line(learning)) }
            }
        }
        func ratio(_ value: (AlternatedResult.Run) -> Double) -> Double {
            let ratios = (0..<rounds).compactMap { round -> Double? in
                guard let on = runs.first(where: { $0.round == round && $0.learning != nil }),
                    let off = runs.first(where: { $0.round == round && $0.learning == nil })
                else { return nil }
                return value(on) / value(off)
            }
            return quantile(ratios, 0.5)
        }
        let result = AlternatedResult(
            p99_ratio: ratio(\.p99_ms), median_ratio: ratio(\.median_ms),
            p999_ratio: ratio(\.p999_ms),
            pooled_p99_ratio: quantile(pooled[true] ?? [], 0.99)
                / quantile(pooled[false] ?? [], 0.99),
            load: load, score_ms: capacity,
            commit_interval_ms: ServeConfiguration().batch.intervalMilliseconds, posts: posts,
            users: userCount, threads: options.threads, broker: serving.bootstrap ?? "embedded",
            machine: MachineFacts(), runs: runs)
        try options.report(
            result,
            [
                "with learning over without, medians of \(rounds) rounds: "
                    + "median \(rounded(result.median_ratio, 3)), p99 \(rounded(result.p99_ratio, 3))"
            ])
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

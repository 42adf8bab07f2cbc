import ArgumentParser
import Daemon
import Glibc
import Model
import Pipeline

struct BenchPipeline: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pipeline",
        abstract: "Posts from Kafka to Kafka, as fast as the daemon takes them.",
        discussion: """
            The whole daemon in this process: it reads posts from a broker, fetches, decodes and \
            scores their images, no two of them alike, and publishes scores in transactions. \
            median_ms is the time from one score to the next; backbone_ms, the backbone by itself, \
            is measured before and after; ratio is the second over the first.

            The model is a bundle, as made by 'uhan model init --seed 1 --output model'. The broker \
            is an embedded one where --bootstrap names none.

              uhan bench pipeline --model model --threads 2 --json
              uhan bench pipeline --model model --images photos --posts 300
            """)

    @OptionGroup var serving: ServingOptions
    @OptionGroup var options: BenchOptions

    @Option(help: "Posts to time.")
    var posts = 200

    private struct Result: Encodable {
        let benchmark = "pipeline"
        let median_ms: Double
        let p99_ms: Double
        let posts_per_second: Double
        /// First post published to last answer read, a post: the start and the last commit count.
        let wall_ms: Double
        let backbone_ms: Double
        let backbone_before_ms: Double
        let backbone_after_ms: Double
        let ratio: Double
        /// Processor time of all threads: a post from Kafka to Kafka, and the backbone by itself.
        let processor_ms: Double
        let backbone_processor_ms: Double
        let stages_ms: Stages
        let posts: Int
        let threads: Int
        let image_bytes: Int
        let broker: String
        let machine: MachineFacts
    }

    /// Medians of what the daemon says about each post.
    private struct Stages: Encodable {
        let fetch: Double
        let decode: Double
        let backbone: Double
        let encode: Double
        let score: Double
    }

    /// Posts that fill queues and caches before the timed ones.
    private static let warmUps = 16
    /// Enough for the daemon never to wait, and few enough for any broker.
    private static let maximumAhead = 256

    func validate() throws {
        if !(8...1_000_000).contains(posts) { throw ValidationError("--posts is 8 to 1000000") }
    }

    func run() async throws {
        bootstrapLogging(.init(level: .warning, format: .text))
        let bundle = try openModel(serving.model)
        let trialPosts = try serving.makePosts(Self.warmUps + posts)
        let before = try serving.bareBackbone(bundle, options)
        let trial = Trial(
            .init(
                bundle: bundle, threads: options.threads, posts: trialPosts,
                bootstrap: serving.bootstrap, embeddedFetchWaitMilliseconds: 50))
        let (count, ahead) = (posts, Self.maximumAhead)
        let measured = try await trial.run { load in
            _ = try load.saturate(posts: Self.warmUps, maximumAhead: ahead)
            let processor = processorMilliseconds()
            let start = monotonicNanoseconds()
            let answers = try load.saturate(posts: count, maximumAhead: ahead)
            let wall = Double(monotonicNanoseconds() - start) / 1e6
            return (
                answers: answers, wall: wall, processor: processorMilliseconds() - processor
            )
        }
        let after = try serving.bareBackbone(bundle, options)

        let pace = ScorePace(measured.answers)
        let scored = measured.answers.compactMap(\.scored)
        func median(_ value: (ScoreEvent.Timings) -> Float) -> Double {
            quantile(scored.map { Double(value($0.timings)) }, 0.5)
        }
        let backbone = quantile(before.milliseconds + after.milliseconds, 0.5)
        let result = Result(
            median_ms: pace.millisecondsPerPost, p99_ms: pace.gap(0.99),
            posts_per_second: 1_000 / pace.millisecondsPerPost,
            wall_ms: measured.wall / Double(count), backbone_ms: backbone,
            backbone_before_ms: before.median, backbone_after_ms: after.median,
            ratio: backbone / pace.millisecondsPerPost,
            processor_ms: measured.processor / Double(count),
            backbone_processor_ms: min(before.processorMilliseconds, after.processorMilliseconds),
            stages_ms: Stages(
                fetch: median(\.fetch), decode: median(\.decode), backbone: median(\.backbone),
                encode: median(\.encode), score: median(\.score)),
            posts: count, threads: options.threads, image_bytes: trialPosts.bytesPerImage,
            broker: serving.bootstrap ?? "embedded", machine: MachineFacts())
        try options.report(
            result,
            [
                "\(rounded(result.median_ms, 2)) ms a post from Kafka to Kafka, "
                    + "\(rounded(result.posts_per_second, 2)) posts a second",
                "\(rounded(backbone, 2)) ms the backbone by itself "
                    + "(before \(rounded(result.backbone_before_ms, 2)), "
                    + "after \(rounded(result.backbone_after_ms, 2))): "
                    + "\(rounded(result.ratio * 100, 1)) % of its throughput",
                "of a post: \(rounded(result.processor_ms, 1)) ms of processor time, of the "
                    + "backbone by itself \(rounded(result.backbone_processor_ms, 1)); fetch \(rounded(result.stages_ms.fetch, 1)), "
                    + "decode \(rounded(result.stages_ms.decode, 1)), "
                    + "backbone \(rounded(result.stages_ms.backbone, 1)), "
                    + "encode \(rounded(result.stages_ms.encode, 2)), "
                    + "score \(rounded(result.stages_ms.score, 2)) ms",
            ])
    }
}

/// What the benchmarks of the running daemon have in common.
struct ServingOptions: ParsableArguments {
    @Option(help: "The model bundle's folder.")
    var model: String

    @Option(help: "A folder of JPEG files. (default: pictures drawn here)")
    var images: String?

    @Option(help: "Side of the pictures drawn here, in pixels.")
    var side = 448

    @Option(help: "Brokers to use, host:port. (default: an embedded one)")
    var bootstrap: String?

    func validate() throws {
        if !(16...4096).contains(side) { throw ValidationError("--side is 16 to 4096") }
    }

    func makePosts(_ count: Int, users: Int = TrialPosts.defaultUsers) throws -> TrialPosts {
        try TrialPosts(count: count, images: images, drawnSide: side, users: users)
    }

    /// The backbone by itself, on pixels that lie ready.
    func bareBackbone(_ bundle: ModelBundle, _ options: BenchOptions) throws -> BareBackbone {
        let backbone = try bundle.makeBackbone(workers: Workers(count: options.threads))
        let side = bundle.configuration.image.side
        let pictures = (0..<4).map {
            SampleScene(seed: UInt64($0)).render(width: side, height: side)
        }
        var milliseconds: [Double] = []
        let start = monotonicNanoseconds()
        var processor = 0.0
        for run in 0... {
            if run == Self.bareWarmUps { processor = processorMilliseconds() }
            let before = monotonicNanoseconds()
            _ = backbone.features(pictures[run % pictures.count])
            let now = monotonicNanoseconds()
            if run >= Self.bareWarmUps { milliseconds.append(Double(now - before) / 1e6) }
            if milliseconds.count >= options.runs, Double(now - start) >= options.seconds * 1e9 {
                break
            }
        }
        processor = processorMilliseconds() - processor
        return BareBackbone(
            milliseconds: milliseconds,
            processorMilliseconds: processor / Double(milliseconds.count))
    }

    /// Runs that touch memory which the timed ones then find mapped.
    private static let bareWarmUps = 2
}

struct BareBackbone {
    /// Of each run.
    let milliseconds: [Double]
    /// Of all threads, a run.
    let processorMilliseconds: Double

    var median: Double { quantile(milliseconds, 0.5) }
}

/// From score to score, by the times at which the daemon knew them.
struct ScorePace {
    let millisecondsPerPost: Double
    private let gaps: [Double]

    init(_ answers: [Trial.Answer]) {
        let times = answers.filter { $0.scored != nil }.map { Double($0.event.scoredAt) }.sorted()
        gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        let span = (times.last ?? 0) - (times.first ?? 0)
        millisecondsPerPost = span / Double(max(1, gaps.count))
    }

    func gap(_ part: Double) -> Double { quantile(gaps, part) }
}

struct MachineFacts: Encodable {
    let cores = onlineCores()
    let architecture: String

    init() {
        #if arch(x86_64)
        architecture = "x86_64"
        #elseif arch(arm64)
        architecture = "arm64"
        #else
        architecture = "unknown"
        #endif
    }
}

/// The value that so large a part (0 to 1) of the values does not exceed; 0 where there are none.
func quantile(_ values: [Double], _ part: Double) -> Double {
    let sorted = values.sorted()
    guard let last = sorted.last else { return 0 }
    let place = part * Double(sorted.count - 1)
    let low = Int(place)
    guard low + 1 < sorted.count else { return last }
    return sorted[low] + (place - Double(low)) * (sorted[low + 1] - sorted[low])
}

/// What this process has used of all processors, user and system.
func processorMilliseconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func milliseconds(_ time: timeval) -> Double {
        Double(time.tv_sec) * 1e3 + Double(time.tv_usec) / 1e3
    }
    return milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime)
}

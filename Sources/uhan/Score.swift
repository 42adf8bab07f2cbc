import ArgumentParser
import Glibc
import Model
import Pipeline

struct Score: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score",
        abstract: "Score a file of posts.",
        discussion: """
            One JSON object per post on stdout, in the order of the posts: pid, uid, score \
            (log2(views a day) + 1), views_per_day (typical), flags, words with their attention, \
            image_attention (14 x 14 weights), modality (weight of text and image). A post that \
            cannot be scored gives a line with its "error" in place of a score, and the rest goes on; \
            the exit code is 1 where none could be scored.

            Posts are JSON lines with the SMP challenge's fields: uid, pid, title, alltags, \
            description; "image" is a path below --images.

              uhan score --model model --posts posts.jsonl > scores.jsonl
              uhan score --model model --posts - < posts.jsonl | head -1
            """)

    @Option(help: "The model bundle's folder.")
    var model: String

    @Option(help: "The posts, JSON lines; - for stdin.")
    var posts: String

    @Option(help: "The folder that the posts' images lie in. (default: the folder of --posts)")
    var images: String?

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    @Option(
        help: """
            Also write the backbone's features to this file when all posts are done: safetensors, \
            one (regions, channels) tensor per pid; held in memory until then.
            """)
    var featuresOutput: String?

    private struct Line: Encodable {
        struct Modality: Encodable {
            let text: Float
            let image: Float
        }
        struct Word: Encodable {
            let word: String
            let weight: Float

            func encode(to encoder: any Encoder) throws {
                var pair = encoder.unkeyedContainer()
                try pair.encode(word)
                try pair.encode(weight)
            }
        }

        let line: Int
        var pid: String?
        var uid: String?
        var score: Float?
        var views_per_day: Double?
        var flags: [String]?
        var words: [Word]?
        var image_attention: [[Float]]?
        var modality: Modality?
        var model: String?
        var error: ReadPost.Failure?
    }

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    func run() throws {
        let lines = try LineReader(path: posts)
        let bundle = try openModel(model)
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: threads), nanoseconds: monotonicNanoseconds)
        if bundle.isUntrained { say("untrained weights: these scores mean nothing") }

        let channels = bundle.configuration.channels
        let folder = self.images ?? parentFolder(of: posts)
        let progress = Progress()
        let start = monotonicNanoseconds()
        var (scored, failed) = (0, 0)
        var features = SafetensorsWriter()
        var pids: Set<CodePoints> = []
        let images = scorer.imageReader()
        let ahead = ReadAhead(maximum: ReadPost.maximumAhead) {
            try lines.next().map { ReadPost($0, images, in: folder) }
        }
        while let post = try ahead.next() {
            let (result, seen) = score(post, with: scorer)
            if featuresOutput != nil, let seen, let pid = result.pid {
                if pids.insert(CodePoints(pid)).inserted {
                    features.add(pid, shape: [seen.count / channels, channels], seen)
                } else {
                    say("line \(result.line): pid \(pid) again; its first features are kept")
                }
            }
            if result.error == nil { scored += 1 } else { failed += 1 }
            try printJSON(result)
            let seconds = Double(monotonicNanoseconds() - start) / 1e9
            progress.show(
                "\(scored + failed) posts, \(rounded(Double(scored + failed) / seconds, 2)) a second"
            )
        }
        progress.clear()
        let seconds = Double(monotonicNanoseconds() - start) / 1e9
        if let featuresOutput { try writeFile(features.bytes(), to: featuresOutput) }
        say("\(scored) scored, \(failed) could not be scored, \(rounded(seconds, 1)) s")
        if scored == 0, failed > 0 { throw ExitCode.failure }
    }

    private func score(
        _ read: ReadPost, with scorer: PostScorer
    ) -> (Line, features: [Float]?) {
        var result = Line(line: read.line, pid: read.pid, uid: read.uid)
        switch read.content {
        case .failure(let failure):
            result.error = failure
            return (result, nil)
        case .success(let content):
            let scored = scorer.score(content.post, image: content.image)
            let prediction = scored.prediction
            let viewsPerDay = Prediction.viewsPerDay(score: prediction.score)
            guard prediction.score.isFinite, viewsPerDay.isFinite else {
                result.error = .init(
                    .scoringFailed, "the score is \(prediction.score): check the model's weights")
                return (result, nil)
            }
            let grid = scorer.bundle.configuration.grid
            result.score = prediction.score
            result.views_per_day = viewsPerDay
            result.flags = scored.flags.map(\.rawValue).sorted()
            result.words = zip(scored.words, prediction.words).map(Line.Word.init)
            if !prediction.regions.isEmpty {
                result.image_attention = (0..<grid).map { row in
                    Array(prediction.regions[row * grid..<(row + 1) * grid])
                }
            }
            result.modality = .init(
                text: prediction.modalities.text, image: prediction.modalities.image)
            result.model = scorer.bundle.version
            return (result, scored.features)
        }
    }
}

/// Nanoseconds of a clock that never goes back.
func monotonicNanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

import ArgumentParser
import Drawing
import Glibc
import Model
import Pipeline

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Draw what the model looked at, post by post.",
        discussion: """
            For each post a picture (PNG) and a page (HTML, complete in itself): the photo beside the \
            photo with the attention over it, the words shaded by attention, what text and picture \
            count, the score and what it means.

            Attention alone can mislead, so each comes with a check: how far the score moves when the \
            most attended 5 % of the regions (their features replaced by the mean of the others') or \
            10 % of the words (left out) are taken away, against 20 random draws of as many.

            One JSON object per post on stdout: pid, files, and for each user score, attention and \
            faithfulness; or "error". The exit code is 1 where no post could be explained.

              uhan explain --model model --posts posts.jsonl --output pictures --limit 20 --grid
              uhan explain --model model --posts posts.jsonl --output pictures --pid 42 --pid 43
              uhan explain --model model --posts posts.jsonl --output pictures --pid 42 \
            --user anna --user ben
            """)

    @Option(help: "The model bundle's folder.")
    var model: String

    @Option(help: "The posts, JSON lines; - for stdin.")
    var posts: String

    @Option(help: "The folder for pictures and pages; made if need be.")
    var output: String

    @Option(help: "The folder that the posts' images lie in. (default: the folder of --posts)")
    var images: String?

    @Option(help: "Only the post of this id; may be given several times.")
    var pid: [String] = []

    @Option(help: "At most so many posts, the first ones: 1 to \(Self.maximumPosts).")
    var limit = 20

    @Option(
        help: """
            Score the posts for this user in place of their own; given 2 to \(Self.maximumUsers) \
            times, the users stand side by side, with the difference between their scores.
            """)
    var user: [String] = []

    @Flag(help: "Also draw all posts together: grid.png, and index.html with links.")
    var grid = false

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    private static let maximumPosts = 1_000
    private static let maximumUsers = 4

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
        guard 1...Self.maximumPosts ~= limit else {
            throw ValidationError("--limit must be 1 to \(Self.maximumPosts)")
        }
        guard user.count <= Self.maximumUsers, Set(user.map(CodePoints.init)).count == user.count
        else {
            throw ValidationError(
                "--user may be given \(Self.maximumUsers) times at most, each another user")
        }
        guard user.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError("--user must name a user")
        }
    }

    private struct Line: Encodable {
        struct Files: Encodable {
            let png: String
            let html: String
        }
        struct User: Encodable {
            let uid: String
            let score: Float
            let views_per_day: Double
            let flags: [String]
            let attention: Attention
            let faithfulness: FaithfulnessLine
            /// The score less the first user's; nil for the first.
            let difference: Float?
        }
        let line: Int
        var pid: String?
        var model: String?
        var files: Files?
        var users: [User]?
        var error: ReadPost.Failure?
    }

    /// Where attention is strongest.
    private struct Attention: Encodable {
        struct Word: Encodable {
            let word: String
            let weight: Float
        }
        struct Region: Encodable {
            let row: Int
            let column: Int
            let weight: Float
        }
        let text: Float
        let image: Float
        let words: Int
        let top_words: [Word]
        let regions: Int
        let top_region: Region?

        static let maximumTopWords = 5

        init(_ reading: Explanation.Reading) {
            text = reading.textWeight
            image = reading.imageWeight
            words = reading.words.count
            let order = reading.words.indices.sorted {
                (-reading.words[$0].weight, $0) < (-reading.words[$1].weight, $1)
            }
            top_words = order.prefix(Self.maximumTopWords).map {
                Word(word: reading.words[$0].text, weight: reading.words[$0].weight)
            }
            let weights = reading.regions?.weights ?? []
            let columns = reading.regions?.columns ?? 1
            regions = weights.count
            top_region = weights.indices.max { weights[$0] < weights[$1] }.map {
                Region(row: $0 / columns, column: $0 % columns, weight: weights[$0])
            }
        }
    }

    private struct FaithfulnessLine: Encodable {
        struct Part: Encodable {
            let removed: Int
            let of: Int
            let change: Float
            let random_mean: Float
            let random_deviation: Float
            let draws: Int
            let weaker_draws: Int
            let ratio: Float?

            init(_ part: Faithfulness.Part) {
                removed = part.removed
                of = part.of
                change = part.change
                random_mean = part.randomMean
                random_deviation = part.randomDeviation
                draws = part.draws
                weaker_draws = part.weakerDraws
                ratio = part.ratio
            }
        }
        let regions: Part?
        let words: Part?

        init(_ faithfulness: Faithfulness) {
            regions = faithfulness.regions.map(Part.init)
            words = faithfulness.words.map(Part.init)
        }
    }

    func run() throws {
        let lines = try LineReader(path: posts)
        let bundle = try openModel(model)
        try makeFolder(output)
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: threads), nanoseconds: monotonicNanoseconds)
        if bundle.isUntrained { say("untrained weights: these scores mean nothing") }

        let explainer = Explainer(scorer: scorer)
        let folder = images ?? parentFolder(of: posts)
        let reader = scorer.imageReader()
        let wanted = Set(pid.map(CodePoints.init))
        var missing = wanted
        let ahead = ReadAhead(maximum: ReadPost.maximumAhead) {
            while let line = try lines.next() {
                if wanted.isEmpty || Self.isAbout(wanted, line) {
                    return ReadPost(line, reader, in: folder)
                }
            }
            return ReadPost?.none
        }
        let progress = Progress()
        var sheet = ExplanationGrid()
        var (drawn, failed) = (0, 0)
        while drawn + failed < limit, let post = try ahead.next() {
            if let pid = post.pid { missing.remove(CodePoints(pid)) }
            var result = Line(line: post.line, pid: post.pid)
            do {
                let explanation = try explainer.explanation(of: post.content.get(), for: user)
                let name = Self.fileName(line: post.line, pid: explanation.pid)
                try draw(explanation, name, &sheet)
                result = describe(explanation, line: post.line, name: name)
                drawn += 1
            } catch let error as ReadPost.Failure {
                result.error = error
                failed += 1
            }
            try printJSON(result)
            progress.show("\(drawn + failed) posts")
        }
        progress.clear()
        if grid, drawn > 0 {
            try writePicture(try sheet.png(), to: "\(output)/grid.png")
            try writePicture(try sheet.html(), to: "\(output)/index.html")
        }
        if drawn + failed < limit {
            for pid in missing.map(\.string).sorted() { say("no post \(pid) in \(posts)") }
        }
        say("\(drawn) explained in \(output), \(failed) could not be")
        if drawn == 0, failed > 0 || !missing.isEmpty { throw ExitCode.failure }
    }

    private static func isAbout(_ pids: Set<CodePoints>, _ line: LineReader.Line) -> Bool {
        guard let post = try? PostEvent(parsing: line.bytes, from: .file) else { return false }
        return pids.contains(CodePoints(post.pid))
    }

    private func draw(
        _ explanation: Explanation, _ name: String, _ sheet: inout ExplanationGrid
    ) throws {
        try writePicture(
            try ExplanationCard(explanation).png(), to: "\(output)/\(name).png")
        try writePicture(
            try ExplanationPage(explanation).html(), to: "\(output)/\(name).html")
        if grid { try sheet.add(explanation, page: "\(name).html") }
    }

    private func describe(_ explanation: Explanation, line: Int, name: String) -> Line {
        let first = explanation.readings[0].score
        let users = explanation.readings.enumerated().map { index, reading in
            Line.User(
                uid: reading.uid, score: reading.score, views_per_day: reading.viewsPerDay,
                flags: reading.flags.map(\.rawValue).sorted(), attention: Attention(reading),
                faithfulness: FaithfulnessLine(reading.faithfulness),
                difference: index == 0 ? nil : reading.score - first)
        }
        return Line(
            line: line, pid: explanation.pid, model: explanation.model,
            files: .init(png: "\(name).png", html: "\(name).html"), users: users)
    }

    /// A post's id may hold anything; a file's name may not.
    private static func fileName(line: Int, pid: String) -> String {
        let safe = pid.utf8.prefix(64).map { byte -> Character in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"):
                Character(Unicode.Scalar(byte))
            default: "_"
            }
        }
        return "post-\(line)-\(String(safe))"
    }
}

import ArgumentParser
import Glibc
import Model
import Training

struct PrepareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "Make a dataset for training from raw posts.",
        discussion: """
            Posts are JSON lines with the SMP challenge's fields: uid, pid, title, alltags, \
            description, postdate; "image" is a path below --images. Outcomes are in the same \
            lines ("views", "observed_at"), or in a file --views with lines of pid, uid, views \
            and observed_at, of which the last observation of a post counts; with --horizon-days \
            H the first one from H to 1.25 H days after posting, as for a daemon that learns \
            with that horizon. Posts without one are dropped.

            A post's target is log2(max(views, 1) / max(days, --minimum-days)) + 1, with days from \
            posting to the observation.

            Rules, in this order: images there (--require-image), English, split, rare words, \
            posts with few words, users with most posts. --rules names a set of them: 'none' drops \
            nothing, 'paper' is the talk's, 'authors' that of the authors' code; every other \
            option changes one rule of the set. The vocabulary is that of the training part alone.

            What was dropped where is told on stderr and, as JSON, on stdout.

              uhan prepare --posts gallery/posts.jsonl --views gallery/views.jsonl --output data
              uhan prepare --posts gallery/posts.jsonl --views gallery/views.jsonl \
            --horizon-days 7 --output data
              uhan prepare --posts posts.jsonl --split-file split.tsv --output data
              uhan prepare --posts posts.jsonl --rules paper --users 500 --output data
            """)

    enum RuleSet: String, ExpressibleByArgument, CaseIterable {
        case none, paper, authors

        var settings: PreparationSettings {
            switch self {
            case .none: .none
            case .paper: .paper
            case .authors: .authors
            }
        }
    }
    enum UserLimit: ExpressibleByArgument {
        case off
        case most(Int)

        init?(argument: String) {
            if argument == "off" {
                self = .off
            } else if let count = Int(argument), count > 0 {
                self = .most(count)
            } else {
                return nil
            }
        }
    }
    /// The splits that need no file.
    enum Split: String, ExpressibleByArgument, CaseIterable {
        case time, authors
    }

    @Option(help: "The posts, JSON lines.")
    var posts: String

    @Option(help: "View counts, JSON lines. (default: those in the posts)")
    var views: String?

    @Option(help: "The folder that the posts' images lie in. (default: the folder of --posts)")
    var images: String?

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "A name for the dataset. (default: that of the folder of --posts)")
    var name: String?

    @Option(help: "The rules to begin with: none, paper or authors.")
    var rules = RuleSet.none

    @Option(help: "ascii: only posts whose text is ASCII throughout; or off.")
    var english: PreparationSettings.English?

    @Option(
        help: """
            time: the first 70 % train, the next 10 % validation, the last 20 % test; authors: \
            the last 30 % shuffled and divided 1:2.
            """)
    var split: Split?

    @Option(
        help: """
            A file with the part of each post: lines of pid, tab, and train, validation, test or \
            none. In place of --split.
            """)
    var splitFile: String?

    @Option(help: "Words seen fewer times in the training part are dropped; 0 drops none.")
    var minimumWordCount: Int?

    @Option(help: "Posts left with fewer words are dropped.")
    var minimumWords: Int?

    @Option(help: "So many users are kept, those with most posts; or off.")
    var users: UserLimit?

    @Option(
        help: "What counts as a post's text, by commas: title,tags,description.",
        transform: { text in
            try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
                guard let field = PreparationSettings.TextField(rawValue: String(part)) else {
                    throw ValidationError("'\(part)' is not title, tags or description")
                }
                return field
            }
        })
    var text: [PreparationSettings.TextField]?

    @Option(help: "Younger posts count as this old, in days.")
    var minimumDays = 1.0

    @Option(
        help: "The age at which views count, in days. (default: the last observation, at any age)")
    var horizonDays: Double?

    @Option(help: "When views were counted, seconds since 1970, where a record does not say so.")
    var observedAt: Double?

    @Flag(help: "Drop posts without a usable image, rather than keep them as text alone.")
    var requireImage = false

    @Option(
        help: """
            A control: deal the images, users or text (title, tags, description) anew among all \
            posts, before everything else.
            """)
    var shuffle: PreparationSettings.Shuffle?

    @Option(help: "The seed of --shuffle and of the authors' split: a number from 0.")
    var seed: UInt64 = 1

    @Flag(help: "End at the first line that cannot be read, rather than count it and go on.")
    var strict = false

    func validate() throws {
        if split != nil, splitFile != nil {
            throw ValidationError("give --split or --split-file, not both")
        }
    }

    private struct Summary: Encodable {
        let version: String
        let folder: String
        let report: PreparationReport
    }

    func run() throws {
        let settings = settings
        try PreparedDataset.requireAbsent(in: output)
        var preparation = try Preparation(settings: settings)
        let postsFolder = parentFolder(of: posts)
        let imagesFolder = try absolutePath(ofFolder: images ?? postsFolder)
        let inputs = try inputs(postsFolder)

        let progress = Progress()
        try readLines(of: posts, progress) { (line) throws(TrainingError) in
            try preparation.readPost(line.bytes, number: line.number)
        }
        if let views {
            try readLines(of: views, progress) { (line) throws(TrainingError) in
                preparation.readViews(line.bytes, number: line.number)
            }
        }
        if let splitFile { try preparation.readSplit(path: splitFile) }

        var hashed = 0
        let result = try preparation.finish { (path) throws(TrainingError) in
            hashed += 1
            if hashed % 100 == 0 { progress.show("\(hashed) images read") }
            do throws(ModelError) {
                return try MappedFile(path: "\(imagesFolder)/\(path)").sha256()
            } catch {
                guard case .unreadable(_, let reason) = error else { throw .invalid("\(error)") }
                throw .file(path: path, reason: reason)
            }
        }
        let version = try PreparedDataset.write(
            result, to: output, name: name ?? ownName(of: postsFolder), settings: settings,
            imagesFolder: imagesFolder, inputs: inputs)
        progress.clear()
        tell(result.report)
        say("made \(output): \(version)")
        try printJSON(Summary(version: version, folder: output, report: result.report))
    }

    private var settings: PreparationSettings {
        var settings = rules.settings
        if let english { settings.english = english }
        switch split {
        case .time: settings.split = .time
        case .authors: settings.split = .authors
        case nil: if splitFile != nil { settings.split = .file }
        }
        if let minimumWordCount { settings.minimumWordCount = minimumWordCount }
        if let minimumWords { settings.minimumWords = minimumWords }
        switch users {
        case .off: settings.users = nil
        case .most(let count): settings.users = count
        case nil: break
        }
        if let text {
            settings.text = PreparationSettings.TextField.allCases.filter(text.contains)
        }
        settings.minimumDays = minimumDays
        settings.horizonDays = horizonDays
        settings.observedAt = observedAt
        settings.requiresImage = requireImage
        settings.shuffle = shuffle
        settings.seed = seed
        return settings
    }

    private func inputs(_ postsFolder: String) throws -> [PreparedDataset.Input] {
        var inputs = [try PreparedDataset.Input(role: "posts", path: posts)]
        if let views { inputs.append(try .init(role: "views", path: views)) }
        if let splitFile { inputs.append(try .init(role: "split", path: splitFile)) }
        let gallery = "\(postsFolder)/gallery.json"
        if access(gallery, F_OK) == 0 { inputs.append(try .init(role: "gallery", path: gallery)) }
        return inputs
    }

    /// - Parameter read: answers why the line cannot be read; nil where it can.
    private func readLines(
        of path: String, _ progress: Progress,
        _ read: (LineReader.Line) throws(TrainingError) -> String?
    ) throws {
        let lines = try LineReader(path: path)
        while let line = try lines.next() {
            if let reason = try read(line), strict {
                throw TrainingError.line(path: path, line: line.number, reason: reason)
            }
            if line.number % 1000 == 0 { progress.show("\(path): \(line.number) lines") }
        }
    }

    // MARK: For people

    private func tell(_ report: PreparationReport) {
        func row(_ count: Int, _ text: String, _ examples: [String] = []) {
            let number = String(repeating: " ", count: max(0, 9 - "\(count)".count)) + "\(count)"
            let named = examples.prefix(3).joined(separator: ", ")
            say(
                "\(number)  \(text)\(named.isEmpty ? "" : "  (\(named)\(examples.count > 3 ? ", ..." : ""))")"
            )
        }
        func bad(_ lines: PreparationReport.BadLines, in path: String) {
            guard lines.lines > 0 else { return }
            row(lines.lines, "lines of \(path) could not be read:")
            for line in lines.first { say("           line \(line.line): \(line.reason)") }
        }
        row(report.postsRead, "posts read")
        bad(report.badPosts, in: posts)
        if let views { bad(report.badViews, in: views) }
        if report.strayViews.count > 0 {
            row(
                report.strayViews.count, "view counts of no post of that user",
                report.strayViews.examples)
        }
        if report.straySplit.count > 0 {
            row(
                report.straySplit.count, "lines of the split file name no post",
                report.straySplit.examples)
        }
        if report.unusableImages.count > 0 {
            row(report.unusableImages.count, "posts whose image cannot be used:")
            for example in report.unusableImages.examples { say("           \(example)") }
        }
        for dropped in report.dropped {
            row(dropped.posts, "dropped: \(dropped.filter.explanation)", dropped.examples)
        }
        if report.rareWords > 0 {
            row(report.rareWords, "of \(report.distinctWords) words dropped as rare")
        }
        for part in PreparedPost.Part.allCases {
            let counts = report[part]
            row(
                counts.posts,
                "\(part.rawValue): \(counts.users) users, \(counts.postsWithImage) with an image, "
                    + "\(counts.postsWithoutKnownWord) without a known word")
            if counts.posts == 0 { say("           an empty part: nothing can be said on it") }
        }
        say(
            "\(report.words) words, \(report.users) users to learn, \(report.distinctImages) images"
        )
    }

    private func ownName(of folder: String) throws -> String {
        let last = try absolutePath(ofFolder: folder).split(separator: "/").last
        return last.map(String.init) ?? "posts"
    }
}

extension PreparationSettings.English: ExpressibleByArgument {}
extension PreparationSettings.Shuffle: ExpressibleByArgument {}

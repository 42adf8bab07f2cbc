import ArgumentParser
import Drawing
import Glibc
import Model
import Pipeline
import Training

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Compare trained systems on posts that none of them has seen.",
        discussion: """
            All systems predict the test part of one dataset. The report has mean squared and \
            absolute errors and Spearman's rank correlation, over all posts, as means over users, \
            and by how many training posts a user has; with 95 % intervals by bootstrap over users, \
            and paired differences. table.md is for reading, table.json and predictions.jsonl for \
            programs, plot.png for a look. worst/ has the posts that UHAN was most wrong about, with \
            their attention drawn.

            On a synthetic gallery (uhan gallery) the irreducible error stands beside it, and the \
            pointing game is played: how often UHAN looks most at the thing that counts, against the \
            share of the picture that the thing takes; and the same with texts dealt anew among the \
            posts.

              uhan evaluate --data data --features features --models models --output report
              uhan evaluate --data data --models models --systems uhan,hisave --output report
            """)

    @Option(help: "The prepared dataset's folder.")
    var data: String

    @Option(help: "The folder of its images' features. (default: no image is read)")
    var features: String?

    @Option(help: "The folder that 'uhan train' made.")
    var models: String

    @Option(help: "What to compare, separated by commas; or 'all' that are there.")
    var systems = SystemList(SystemName.allCases)

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "So many of the worst posts are drawn, at most 100.")
    var worst = 12

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
        if !(0...100).contains(worst) { throw ValidationError("--worst is 0 to 100") }
    }

    func run() throws {
        let dataset = try PreparedDataset(folder: data)
        let store = try features.map { try FeatureStore.open(folder: $0) }
        let trainingData = try TrainingData(
            dataset, features: store, maximumWords: BundleConfiguration.Bounds.words.upperBound)
        let workers = Workers(count: threads)
        let trained = TrainedSystems(folder: models, data: trainingData, workers: workers)
        let posts = dataset.posts.filter { $0.part == .test }
        let progress = Progress()

        var entries: [Evaluation.System] = []
        var bestUHAN: TrainedSystems.Run?
        var missing: [SystemName] = []
        for system in systems.names {
            let runs = try trained.runs(of: system)
            guard let first = runs.first else {
                if systems.names.count < SystemName.allCases.count {
                    throw CommandError(
                        "\(models) has no finished \(system.rawValue); train it with 'uhan train "
                            + "--systems \(system.rawValue)'")
                }
                missing.append(system)
                continue
            }
            if system == .uhan { bestUHAN = first }
            let scores = try runs.map { run in
                progress.show("\(system.rawValue), seed \(run.seed)")
                return try trained.scores(run, of: posts)
            }
            entries.append(.init(name: system.rawValue, runs: scores))
        }
        progress.clear()
        guard !entries.isEmpty else {
            throw CommandError("\(models) has no trained system; 'uhan train' makes them")
        }
        if !missing.isEmpty {
            say("not there, left out: \(missing.map(\.rawValue).joined(separator: ", "))")
        }

        let gallery = try GalleryBehind(dataset)
        if let truth = gallery?.truth {
            entries.append(.init(name: "oracle", runs: [try truth.oracleScores(posts)]))
        }
        let evaluation = try Evaluation(
            posts: posts, historyLengths: dataset.historyLengths, systems: entries)
        let report = EvaluationReport(
            evaluation,
            dataset: .init(
                version: dataset.version, gallerySHA256: dataset.gallerySHA256,
                irreducible: gallery?.irreducible, settings: settings(dataset, store)))
        try report.write(to: output, predictionsOf: evaluation)
        try drawPlot(report)
        if let run = bestUHAN {
            if let truth = gallery?.truth, let store {
                try play(trained, run, posts, truth, store, progress)
            }
            try drawWorst(evaluation, run, dataset, store, workers, progress)
        }
        progress.clear()
        say(report.markdown)
        try printJSON(report)
    }

    /// A gallery's law stands beside its posts.
    private struct GalleryBehind {
        let truth: GalleryTruth
        let irreducible: EvaluationReport.IrreducibleError

        init?(_ dataset: PreparedDataset) throws {
            let file = "\(dataset.imagesFolder)/gallery.json"
            guard let expected = dataset.gallerySHA256, access(file, R_OK) == 0,
                try MappedFile(path: file).sha256() == expected
            else { return nil }
            truth = try GalleryTruth(path: "\(dataset.imagesFolder)/truth.jsonl")
            irreducible = try .init(galleryFile: file)
        }
    }

    private func settings(_ dataset: PreparedDataset, _ store: FeatureStore?) -> [String: String] {
        var settings = ["split": dataset.settings.split.rawValue]
        if let shuffle = dataset.settings.shuffle { settings["shuffled"] = shuffle.rawValue }
        if let identity = store?.identity {
            settings["backbone"] = "\(identity.backboneSHA256.prefix(12)), \(identity.blocks)"
            settings["side"] = "\(identity.side)"
            settings["instruction set"] = identity.instructionSet
        }
        return settings
    }

    private func drawPlot(_ report: EvaluationReport) throws {
        let plot = report.plot
        let png = try DotPlot(
            title: plot.title, xLabel: plot.axis,
            rows: plot.rows.filter { $0.name != "oracle" }.map { row in
                DotPlot.Row(
                    row.name, row.value, interval: row.interval.map { $0.low...$0.high },
                    isHighlighted: row.name == SystemName.uhan.rawValue)
            }, reference: plot.floor.map { .init("irreducible", $0) }
        ).png()
        try writePicture(png, to: "\(output)/plot.png")
    }

    // MARK: The pointing game

    private struct Pointing: Encodable {
        let run: String
        /// With the posts' own texts, and with texts dealt anew among them.
        let own_texts: PointingGame
        let shuffled_texts: PointingGame
    }

    private func play(
        _ trained: TrainedSystems, _ run: TrainedSystems.Run, _ posts: [PreparedPost],
        _ truth: GalleryTruth, _ store: FeatureStore, _ progress: Progress
    ) throws {
        let head = try trained.head(run)
        // Trained on text alone, it looks at nothing.
        guard head.bundle.configuration.headShape.parts.reads_image else { return }
        let pictured = posts.filter { post in
            post.imageSHA256.map { store.features(ofImage: $0) != nil } ?? false
        }
        let side = head.bundle.configuration.grid
        func game(_ texts: [PreparedPost]) throws -> PointingGame {
            progress.show("the pointing game on \(pictured.count) posts")
            let cases = zip(pictured, texts).compactMap { post, text -> PointingGame.Case? in
                guard let truth = truth[post.pid] else { return nil }
                var post = post
                (post.title, post.tags, post.description) = (
                    text.title, text.tags, text.description
                )
                let attention = trained.prediction(of: post, by: head).regions
                return PointingGame.Case(uid: post.uid, attention: attention, truth: truth)
            }
            return try PointingGame.play(cases, side: side)
        }
        // Far enough for another text, and the same every time.
        let half = pictured.count / 2
        let dealt = Array(pictured[half...] + pictured[..<half])
        try writeJSONFile(
            Pointing(
                run: run.folder, own_texts: game(pictured), shuffled_texts: game(dealt)),
            to: "\(output)/pointing.json")
    }

    // MARK: The worst posts

    private func drawWorst(
        _ evaluation: Evaluation, _ run: TrainedSystems.Run, _ dataset: PreparedDataset,
        _ store: FeatureStore?, _ workers: Workers, _ progress: Progress
    ) throws {
        guard worst > 0 else { return }
        let folder = "\(output)/worst"
        try makeFolder(folder)
        let scorer = try PostScorer(
            bundle: ModelBundle(folder: run.folder), workers: workers,
            nanoseconds: monotonicNanoseconds)
        let explainer = Explainer(scorer: scorer)
        let reader = scorer.imageReader()
        var sheet = ExplanationGrid()
        let misses = try evaluation.worstPosts(of: run.system.rawValue, count: worst)
        for (index, miss) in misses.enumerated() {
            progress.show("worst post \(index + 1) of \(misses.count)")
            guard let post = dataset.posts.first(where: { $0.pid == miss.pid }) else { continue }
            do {
                let image = store == nil ? nil : post.image
                let content = try content(
                    of: post, image: image.map { "\(dataset.imagesFolder)/\($0)" }, reader)
                var explanation = try explainer.explanation(of: content, for: [])
                explanation.title =
                    "[predicted \(rounded(Double(miss.score), 2)), was "
                    + "\(rounded(Double(miss.target), 2))] \(post.title)"
                let name = "\(index + 1)-of-\(misses.count)"
                try writePicture(
                    try ExplanationPage(explanation).html(), to: "\(folder)/\(name).html")
                try sheet.add(explanation, page: "\(name).html")
            } catch let failure as ReadPost.Failure {
                say("\(miss.pid) cannot be drawn: \(failure.text)")
            }
        }
        try writePicture(try sheet.png(), to: "\(output)/worst.png")
        try writePicture(try sheet.html(), to: "\(folder)/index.html")
    }

    /// A post as it was evaluated: one whose image cannot be decoded has none.
    private func content(
        of post: PreparedPost, image path: String?, _ reader: PostImageReader
    ) throws(ReadPost.Failure) -> ReadPost.Content {
        let event = PostEvent(
            pid: post.pid, uid: post.uid, title: post.title, tags: post.tags,
            description: post.description)
        do {
            let bytes = try path.map {
                try MappedFile(path: $0).contents(maximumBytes: ImageLimits().maximumBytes + 1)
            }
            return ReadPost.Content(
                post: event, image: try bytes.map { try reader.image(of: $0) }, imageBytes: bytes)
        } catch is ImageError {
            return ReadPost.Content(post: event, image: nil, imageBytes: nil)
        } catch {
            throw ReadPost.Failure(.imageUnavailable, "\(error)")
        }
    }
}

import ArgumentParser
import Drawing
import Model
import Pipeline
import Training

struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Show what learning from views would have been worth on recorded posts.",
        discussion: """
            Recorded posts and views go through the daemon's own pipeline, in the order of their \
            times and without Kafka: posts are scored, views become labels, each label judges the \
            score that had been published for its post, and then users' vectors learn from it. The \
            same input gives the same bits.

            Compared are the published score, the score that the model's vector (frozen) would have \
            given, the mean of the user's labels up to then (training included, where the model \
            knows it), and the mean of all labels up to then. Differences have a 95 % interval by \
            paired bootstrap over users.

            Posts are JSON lines as for 'uhan score', with postdate. Views are JSON lines of pid, \
            uid, views and observed_at, each at the time observed_at; without --views those in the \
            lines of the posts count. --delivery-delay-days D has each view come D days after its \
            post was made instead, whatever observed_at says. That is a fiction about the delay, \
            for data whose views were all counted on one day; the label is computed from \
            observed_at all the same.

            A model must not be judged by posts that it was trained on: --split-file and --parts, or \
            --from, say which posts are replayed.

            replay.json has settings, counts and figures, replay.md the same for reading, \
            judgements.jsonl a line for each label that judged, replay.png the error over time and \
            replay-labels.png by how many labels the user had.

              uhan replay --model model --posts posts.jsonl --views views.jsonl --from 1439000000 \
            --output report
              uhan replay --model model --posts posts.jsonl --split-file split.tsv --parts test \
            --delivery-delay-days 7 --output report

            Numbers of the update rule (--rule NAME=VALUE), with their defaults:

            \(UpdateRuleSetting.all.map { setting in
                "  \(setting.name) \(setting.text(in: UpdateRule())): \(setting.accepts). "
                    + setting.help
            }.joined(separator: "\n"))
            """)

    @Option(help: "The model bundle's folder.")
    var model: String

    @Option(help: "The posts, JSON lines.")
    var posts: String

    @Option(help: "View counts, JSON lines. (default: those in the posts)")
    var views: String?

    @Option(help: "The folder that the posts' images lie in. (default: the folder of --posts)")
    var images: String?

    @Option(help: "The folder of 'uhan features', to see no image twice. (default: none)")
    var features: String?

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "Only posts from then on, seconds since 1970.")
    var from: Double?

    @Option(
        help: "A file with the part of each post: lines of pid, tab, and a name. With --parts.")
    var splitFile: String?

    @Option(help: "The parts of --split-file that are replayed, by commas.")
    var parts: String?

    @Option(help: "Have views come so many days after posting. (default: when they were observed)")
    var deliveryDelayDays: Double?

    @Option(help: "When views were counted, seconds since 1970, where a post does not say so.")
    var observedAt: Double?

    @Flag(help: "Let no vector learn.")
    var frozen = false

    @Option(help: "A number of the update rule; may be given several times.")
    var rule: [String] = []

    @Option(help: "Memory for what is kept of posts that may yet teach, in MiB.")
    var encodingsMegabytes = 2_048

    @Option(help: "The seed of the bootstrap: a number from 0.")
    var seed: UInt64 = 1

    @Option(help: "Resamples of the bootstrap.")
    var resamples = UserBootstrap().resamples

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
        if !(1...1_000_000).contains(encodingsMegabytes) {
            throw ValidationError("--encodings-megabytes must be 1 to 1000000")
        }
        if !(1...1_000_000).contains(resamples) {
            throw ValidationError("--resamples must be 1 to 1000000")
        }
        if let deliveryDelayDays, !(0...36_525).contains(deliveryDelayDays) {
            throw ValidationError("--delivery-delay-days must be 0 to 36525")
        }
        if (splitFile == nil) != (parts == nil) {
            throw ValidationError("--split-file and --parts go together")
        }
        _ = try updateRule()
    }

    private func updateRule() throws -> UpdateRule {
        var updates = UpdateRule()
        for text in rule {
            let name = String(text.prefix { $0 != "=" })
            guard let setting = UpdateRuleSetting.named(name) else {
                throw ValidationError(
                    "--rule knows no '\(name)'; there are "
                        + UpdateRuleSetting.all.map(\.name).joined(separator: ", "))
            }
            guard let value = Double(text.dropFirst(name.count + 1)),
                setting.set(value, in: &updates)
            else { throw ValidationError("--rule \(name)= takes \(setting.accepts)") }
        }
        return updates
    }

    func run() throws {
        let bundle = try openModel(model)
        let updates = try updateRule()
        let progress = Progress()
        let events = try readEvents(progress)
        let interruption = Interruption()
        if bundle.isUntrained { say("untrained weights: these figures mean nothing") }
        if !bundle.users.hasHistories {
            say("the model does not say what its users were trained on: their means start empty")
        }

        let target = bundle.configuration.target
        let learning = LearnConfiguration(
            model: bundle.version,
            labels: LabelRule(
                horizon: target.horizon_days.map { $0 * 86_400 }, minimumDays: target.minimum_days),
            updates: updates)
        var replay = Replay<PostImage>(
            learning: learning, isFrozen: frozen, maximumEncodingBytes: encodingsMegabytes << 20,
            workers: try workers(bundle, updates))
        var counts = ReplayReport.Counts()
        counts.events = events.counts
        var validation = ProgressiveValidation()
        var judged: [ReplayReport.Judged] = []
        let ordered = events.inOrder
        for (index, event) in ordered.enumerated() {
            if interruption.hasCome {
                progress.clear()
                say("stopped after \(index) of \(ordered.count) events; nothing is written")
                throw ExitCode(Interruption.exitCode)
            }
            if index % 100 == 0 { progress.show("\(index) of \(ordered.count) events") }
            for report in replay.take(event) {
                counts.add(report)
                if case .learning(.judged(let joined)) = report,
                    let judgement = validation.judge(joined)
                {
                    judged.append(.init(joined, judgement, time: Double(event.time) / 1_000))
                }
            }
        }
        progress.show("\(judged.count) labels: intervals")
        var bootstrap = UserBootstrap()
        bootstrap.seed = seed
        bootstrap.resamples = resamples
        let report = try ReplayReport(
            model: bundle.version, settings: settings, rule: updates, counts: counts,
            judged: judged, bootstrap: bootstrap)
        try write(report, judged)
        progress.clear()
        say(report.markdown)
        try printJSON(report)
    }

    private var settings: [String: String] {
        var settings = ["posts": posts, "learning": frozen ? "frozen" : "on"]
        if let views { settings["views"] = views }
        if let parts { settings["parts"] = parts }
        if let from { settings["from"] = "\(from)" }
        if let deliveryDelayDays { settings["delivery delay, days"] = "\(deliveryDelayDays)" }
        return settings
    }

    // MARK: Reading

    private func readEvents(_ progress: Progress) throws -> RecordedEvents {
        var events = RecordedEvents(
            deliveryDelaySeconds: deliveryDelayDays.map { $0 * 86_400 }, observedAt: observedAt)
        let wanted = try wantedPosts()
        func tell(_ error: any Error, _ path: String, _ line: Int) {
            guard events.counts.unreadableLines <= 3 else { return }
            progress.clear()
            say("\(path), line \(line): \(error)")
        }
        let lines = try LineReader(path: posts)
        while let line = try lines.next() {
            do {
                try events.readPost(line.bytes, withViews: views == nil) { pid, postedAt in
                    postedAt >= from ?? 0 && wanted?.contains(CodePoints(pid)) ?? true
                }
            } catch { tell(error, posts, line.number) }
            if line.number % 1_000 == 0 { progress.show("\(posts): \(line.number) lines") }
        }
        if let views {
            let lines = try LineReader(path: views)
            while let line = try lines.next() {
                do { try events.readView(line.bytes) } catch { tell(error, views, line.number) }
                if line.number % 1_000 == 0 { progress.show("\(views): \(line.number) lines") }
            }
        }
        progress.clear()
        say(
            "\(events.counts.posts) posts and \(events.counts.views) views to replay, "
                + "\(events.counts.unreadableLines) lines could not be read")
        return events
    }

    private func wantedPosts() throws -> Set<CodePoints>? {
        guard let splitFile, let parts else { return nil }
        let names = Set(parts.split(separator: ",").map { CodePoints(String($0)) })
        var pids: Set<CodePoints> = []
        let lines = try LineReader(path: splitFile)
        while let line = try lines.next() {
            let cells = line.bytes.split(
                separator: UInt8(ascii: "\t"), maxSplits: 1, omittingEmptySubsequences: false)
            guard cells.count == 2 else {
                throw CommandError(
                    "\(splitFile), line \(line.number): a line is pid, tab and the name of a part")
            }
            var name = cells[1]
            if name.last == UInt8(ascii: "\r") { name = name.dropLast() }
            if names.contains(CodePoints(String(decoding: name, as: UTF8.self))) {
                pids.insert(CodePoints(String(decoding: cells[0], as: UTF8.self)))
            }
        }
        guard !pids.isEmpty else {
            throw CommandError("\(splitFile) has no post in \(parts); give other --parts")
        }
        return pids
    }

    // MARK: Working

    private func workers(
        _ bundle: ModelBundle, _ updates: UpdateRule
    ) throws -> Replay<PostImage>.Workers {
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: threads), nanoseconds: monotonicNanoseconds)
        let learner = UserLearner(
            bundle: bundle, rule: updates, workers: Workers(count: threads))
        let reader = scorer.imageReader()
        let folder = images ?? parentFolder(of: posts)
        let store = try features.map { try FeatureStore.open(folder: $0) }
        if let store {
            let backbone = bundle.configuration.backbone
            guard backbone.sha256 == store.identity.backboneSHA256,
                bundle.configuration.image.side == store.identity.side
            else {
                throw CommandError(
                    "the features in \(features ?? "") are of another backbone than the model's; "
                        + "leave out --features, or give those that it was trained on")
            }
        }
        return .init(
            prepare: { post in
                do {
                    if let path = post.relativeImagePath, let store,
                        let known = store.features(
                            ofImage: try MappedFile(path: "\(folder)/\(path)").sha256())
                    {
                        let image = PostImage.features(Array(known))
                        return .success(PreparedImage(image: image, byteCount: image.byteCount))
                    }
                    guard let picture = try ReadPost.picture(of: post, reader, in: folder) else {
                        return .failure(.permanent(.imageUnavailable, "the post has no image"))
                    }
                    return .success(
                        PreparedImage(image: picture.image, byteCount: picture.image.byteCount))
                } catch let error as EventError {
                    return .failure(.permanent(error.reason, "\(error)"))
                } catch let error as ImageError {
                    return .failure(.permanent(.imageUndecodable, "\(error)"))
                } catch {
                    return .failure(.permanent(.imageUnavailable, "\(error)"))
                }
            },
            score: { post, image, user in
                let seen = scorer.see(image)
                return .success(
                    scorer.head.score(post, seen: seen, learning: .init(user: user))
                        .scoring(of: bundle))
            },
            learn: { state, encodings in learner.learn(state, encodings: encodings) })
    }

    // MARK: Writing

    private func write(_ report: ReplayReport, _ judged: [ReplayReport.Judged]) throws {
        try makeFolder(output)
        try writeFile(
            try judged.flatMap { try jsonLine($0) }, to: "\(output)/judgements.jsonl")
        try writeFile(Array(report.markdown.utf8), to: "\(output)/replay.md")
        let (curves, window) = ReplayReport.errorOverTime(judged)
        try writePicture(
            LineChart(
                title: "\(report.model): \(judged.count) labels of \(report.users) users",
                xLabel: "days since the first label",
                yLabel: "mean squared error of the last \(window) labels",
                series: curves.map { LineChart.Series($0.name, $0.points) }
            ).png(), to: "\(output)/replay.png")
        try writePicture(
            LineChart(
                title: "\(report.model): error by what was known of the user",
                xLabel: "labels of the user when the post was scored (50: 50 or more)",
                yLabel: "mean squared error",
                series: ReplayReport.errorByLabels(judged).map {
                    LineChart.Series($0.name, $0.points)
                }
            ).png(), to: "\(output)/replay-labels.png")
        try writeJSONFile(report, to: "\(output)/replay.json")
    }
}

extension PostEvent {
    fileprivate var relativeImagePath: String? {
        if case .relativePath(let path) = image { path } else { nil }
    }
}

extension ReplayReport.Counts {
    fileprivate mutating func add<Image>(_ report: ScorePath<Image>.Report) {
        switch report {
        case .scored: scored += 1
        case .deadLettered(_, _, let reason, _): deadLetters[reason.rawValue, default: 0] += 1
        case .expired: deadLetters["expired", default: 0] += 1
        case .learning(.label(let outcome)): labels[outcome.rawValue, default: 0] += 1
        case .learning(.updated(_, let result)):
            updates[result.outcome.reason.rawValue, default: 0] += 1
            missingEncodings += result.missingEncodings
        default: break
        }
    }
}

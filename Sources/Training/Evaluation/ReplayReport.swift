import Model
import Pipeline

/// `replay.json`: what learning from views would have been worth, had it gone on while recorded
/// posts were scored.
package struct ReplayReport: Sendable, Codable, Equatable {
    /// One label and what judged it: a line of `judgements.jsonl`.
    package struct Judged: Sendable, Codable, Equatable {
        package var pid: String
        package var uid: String
        /// Seconds since 1970: when the post was made, and when its label came.
        package var postedAt: Double
        package var time: Double
        package var label: Float
        package var published: Float
        package var frozen: Float
        package var userMean: Float
        package var globalMean: Float
        /// Labels of the user that were known when the post was scored, those of training included.
        package var userLabels: Int
        /// Which vector scored: "bundle", "unknown", or "v3".
        package var userVector: String

        enum CodingKeys: String, CodingKey {
            case pid, uid, time, label, published, frozen
            case postedAt = "posted_at"
            case userMean = "user_mean"
            case globalMean = "global_mean"
            case userLabels = "user_labels"
            case userVector = "user_vector"
        }

        package init(
            _ joined: JoinedLabel, _ judgement: ProgressiveValidation.Judgement, time: Double
        ) {
            pid = joined.post.pid
            uid = joined.post.uid
            postedAt = joined.post.postedAt
            self.time = time
            label = judgement.label
            published = judgement.published
            frozen = judgement.frozen
            userMean = judgement.userMean
            globalMean = judgement.globalMean
            userLabels = joined.post.userLabels
            userVector = joined.post.userVector
        }
    }

    /// How often what happened, by name.
    package struct Counts: Sendable, Codable, Equatable {
        package var events = RecordedEvents.Counts()
        package var scored = 0
        /// By reason.
        package var deadLetters: [String: Int] = [:]
        /// What became of the views.
        package var labels: [String: Int] = [:]
        /// What became of the updates.
        package var updates: [String: Int] = [:]
        /// Posts that could not teach any more, their encodings being gone.
        package var missingEncodings = 0
        /// Judged, and the rest.
        package var judged = 0

        enum CodingKeys: String, CodingKey {
            case events, scored, labels, updates, judged
            case deadLetters = "dead_letters"
            case missingEncodings = "missing_encodings"
        }

        package init() {}
    }

    /// Posts whose user had so many labels when they were scored.
    package struct Bucket: Sendable, Codable, Equatable {
        package var userLabels: Evaluation.Bucket
        package var posts: Int
        package var users: Int
        /// MSE and MAE by name.
        package var systems: [String: [Metric: Evaluation.Figure]]

        enum CodingKeys: String, CodingKey {
            case posts, users, systems
            case userLabels = "user_labels"
        }
    }

    package static let names = ["published", "frozen", "user_mean", "global_mean"]

    package var format = "uhan-replay"
    package var formatVersion = 1
    /// The model's version.
    package var model: String
    /// Of the replay: name and value, for the reader.
    package var settings: [String: String]
    /// Of the update rule.
    package var rule: [String: Double]
    package var counts: Counts
    package var users: Int
    package var bootstrap: UserBootstrap
    package var systems: [EvaluationReport.System]
    /// Each less the frozen vector, and less the user's mean.
    package var differences: [EvaluationReport.Difference]
    package var byUserLabels: [Bucket]

    enum CodingKeys: String, CodingKey {
        case format, model, settings, rule, counts, users, bootstrap, systems, differences
        case formatVersion = "format_version"
        case byUserLabels = "by_user_labels"
    }

    /// - Throws: where no label judged.
    package init(
        model: String, settings: [String: String], rule: UpdateRule, counts: Counts,
        judged: [Judged], bootstrap: UserBootstrap = UserBootstrap()
    ) throws(TrainingError) {
        guard !judged.isEmpty else {
            throw .invalid(
                "no label judged anything: look at what became of the views (\(counts.labels))")
        }
        let evaluation = try Evaluation(
            posts: judged.map {
                // A pid is its user's own.
                PreparedPost(
                    pid: "\($0.uid)\n\($0.pid)", uid: $0.uid, part: .test, postedAt: $0.postedAt,
                    target: $0.label)
            },
            histories: judged.map(\.userLabels),
            systems: [
                .init(name: Self.names[0], runs: [judged.map(\.published)]),
                .init(name: Self.names[1], runs: [judged.map(\.frozen)]),
                .init(name: Self.names[2], runs: [judged.map(\.userMean)]),
                .init(name: Self.names[3], runs: [judged.map(\.globalMean)]),
            ], bootstrap: bootstrap)
        let report = EvaluationReport(
            evaluation, dataset: .init(version: model), references: [Self.names[1], Self.names[2]])
        self.model = model
        self.settings = settings
        self.rule = Dictionary(
            UpdateRuleSetting.all.map { ($0.name, $0.value(in: rule)) },
            uniquingKeysWith: { first, _ in first })
        self.counts = counts
        self.counts.judged = judged.count
        users = report.dataset.test_users
        self.bootstrap = bootstrap
        systems = report.systems
        differences = report.differences
        byUserLabels = report.by_history.map {
            Bucket(
                userLabels: $0.training_posts, posts: $0.posts, users: $0.users,
                systems: $0.systems)
        }
        markdown = Self.markdown(report, self.counts, settings, rule)
    }

    /// `replay.md`; empty in a report that was read.
    package private(set) var markdown = ""

    private static func markdown(
        _ report: EvaluationReport, _ counts: Counts, _ settings: [String: String],
        _ rule: UpdateRule
    ) -> String {
        func list(_ counts: [String: Int]) -> String {
            counts.sorted { $0.key < $1.key }.map { "\($0.key) \(grouped($0.value))" }
                .joined(separator: ", ")
        }
        var text = "# Replay\n\n"
        text += "\(grouped(counts.judged)) labels of \(grouped(report.dataset.test_users)) users, "
        text += "model `\(report.dataset.version)`. Each label judged what had been published for "
        text += "its post, and only then taught. The score is log2(views a day) + 1.\n"
        text += report.tables(history: "labels")
        text += "\n## Counts\n\n"
        text += "- posts scored: \(grouped(counts.scored))\n"
        if !counts.deadLetters.isEmpty { text += "- dead letters: \(list(counts.deadLetters))\n" }
        text += "- views: \(list(counts.labels))\n"
        text += "- updates: \(list(counts.updates))\n"
        text += "\n## Settings\n\n"
        for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
            text += "- \(name): \(value)\n"
        }
        for setting in UpdateRuleSetting.all {
            text += "- \(setting.name): \(setting.text(in: rule))\n"
        }
        return text
    }
}

// MARK: For plots

extension ReplayReport {
    /// A line of a plot.
    package typealias Curve = (name: String, points: [(x: Double, y: Double)])

    private static let lines: [(name: String, value: @Sendable (Judged) -> Float)] = [
        ("published", \.published), ("frozen vector", \.frozen), ("user's mean", \.userMean),
    ]

    /// The mean squared error over the last labels, by days since the first one.
    ///
    /// - Returns: the curves, and how many labels each point stands for.
    package static func errorOverTime(_ judged: [Judged]) -> (curves: [Curve], window: Int) {
        let window = min(judged.count, max(20, judged.count / 12))
        guard let first = judged.first, window > 0 else { return ([], 0) }
        // So many points that a line shows all there is.
        let every = max(1, judged.count / 400)
        let curves = lines.map { line -> Curve in
            let squares = judged.map { square(line.value($0), $0.label) }
            var sum = squares[..<window].reduce(0, +)
            var points: [(x: Double, y: Double)] = []
            for end in window...judged.count {
                if end > window { sum += squares[end - 1] - squares[end - 1 - window] }
                guard (end - window) % every == 0 || end == judged.count else { continue }
                points.append(((judged[end - 1].time - first.time) / 86_400, sum / Double(window)))
            }
            return (line.name, points)
        }
        return (curves, window)
    }

    /// The mean squared error by how many labels the user had, at most 50; each count with those
    /// around it as far as there are fewer than 30 labels.
    package static func errorByLabels(_ judged: [Judged]) -> [Curve] {
        let counts = judged.map { min($0.userLabels, 50) }
        return lines.map { line -> Curve in
            var points: [(x: Double, y: Double)] = []
            var (sum, posts, labels) = (0.0, 0, 0)
            for count in 0...50 {
                for (index, of) in counts.enumerated() where of == count {
                    sum += square(line.value(judged[index]), judged[index].label)
                    posts += 1
                    labels += count
                }
                guard posts >= 30 || count == 50, posts > 0 else { continue }
                points.append((Double(labels) / Double(posts), sum / Double(posts)))
                (sum, posts, labels) = (0, 0, 0)
            }
            return (line.name, points)
        }
    }

    private static func square(_ score: Float, _ label: Float) -> Double {
        let error = Double(score) - Double(label)
        return error * error
    }
}

import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// `table.json`: how well the systems predict, and all that is needed to believe it.
///
/// A figure that is undefined (the rank correlation of a constant) is absent; there is no NaN.
package struct EvaluationReport: Sendable, Codable, Equatable {
    package var format = "uhan-evaluation"
    package var format_version = 1
    package var dataset: Dataset
    package var bootstrap: UserBootstrap
    /// Of `macro_spearman`.
    package var minimum_posts_for_spearman = Evaluation.minimumPostsForSpearman
    package var systems: [System]
    /// Each system minus each reference.
    package var differences: [Difference]
    /// Without buckets that hold no post.
    package var by_history: [HistoryBucket]

    /// What the predictions were made on.
    package struct Dataset: Sendable, Codable, Equatable {
        package var version: String
        package var gallery_sha256: String?
        /// The error of the law behind a synthetic gallery, over all of its posts.
        package var irreducible: IrreducibleError?
        /// The split, the rules of preparation, the features: name and value, for the reader.
        package var settings: [String: String]
        package var test_posts: Int
        package var test_users: Int

        /// - Parameter settings: for instance ["split": "time", "backbone": "small, seed 1"].
        package init(
            version: String, gallerySHA256: String? = nil, irreducible: IrreducibleError? = nil,
            settings: [String: String] = [:]
        ) {
            self.version = version
            gallery_sha256 = gallerySHA256
            self.irreducible = irreducible
            self.settings = settings
            (test_posts, test_users) = (0, 0)
        }
    }

    package struct IrreducibleError: Sendable, Codable, Equatable {
        package var mse: Double
        package var mae: Double

        package init(mse: Double, mae: Double) {
            self.mse = mse
            self.mae = mae
        }
    }

    package struct System: Sendable, Codable, Equatable {
        package var name: String
        package var runs: Int
        package var metrics: [Metric: Evaluation.Figure]
        /// Users behind `macro_spearman`, in the first run.
        package var spearman_users: Int
        /// What was loaded: for instance SHA-256 of its files, by name.
        package var files: [String: String]
    }

    package struct Difference: Sendable, Codable, Equatable {
        package var system: String
        package var minus: String
        package var metrics: [Metric: Value]

        package struct Value: Sendable, Codable, Equatable {
            package var value: Double
            package var interval: UserBootstrap.Interval?
        }
    }

    package struct HistoryBucket: Sendable, Codable, Equatable {
        package var training_posts: Evaluation.Bucket
        package var posts: Int
        package var users: Int
        /// MSE and MAE by system name, the draws being of this bucket's users.
        package var systems: [String: [Metric: Evaluation.Figure]]
    }

    /// Which system the others are measured against, where it is there.
    package static let references = [SystemName.uhan.rawValue, SystemName.hisAve.rawValue]

    /// - Parameter files: checksums of what each system was loaded from, by system and file name.
    package init(
        _ evaluation: Evaluation, dataset: Dataset, files: [String: [String: String]] = [:],
        references: [String] = Self.references
    ) {
        let figures = evaluation.figures()
        self.dataset = dataset
        self.dataset.test_posts = figures.posts
        self.dataset.test_users = figures.users
        bootstrap = evaluation.bootstrap
        systems = evaluation.systems.enumerated().map { index, system in
            System(
                name: system.name, runs: system.runs.count, metrics: figures.systems[index],
                spearman_users: figures.spearmanUsers[index], files: files[system.name] ?? [:])
        }

        differences = []
        let names = evaluation.systems.map(\.name)
        for reference in references {
            guard let base = names.firstIndex(of: reference) else { continue }
            for index in names.indices where index != base {
                let metrics = figures.difference(index, minus: base).mapValues {
                    Difference.Value(value: $0.value, interval: $0.interval)
                }
                differences.append(
                    Difference(system: names[index], minus: reference, metrics: metrics))
            }
        }

        by_history = Evaluation.Bucket.all.compactMap { bucket in
            let indices = evaluation.posts.indices.filter {
                bucket.contains(evaluation.historyLengths[$0])
            }
            guard !indices.isEmpty else { return nil }
            let figures = evaluation.figures(ofPosts: indices)
            let errors = figures.systems.map { $0.filter { $0.key == .mse || $0.key == .mae } }
            return HistoryBucket(
                training_posts: bucket, posts: figures.posts, users: figures.users,
                systems: Dictionary(zip(names, errors), uniquingKeysWith: { first, _ in first }))
        }
    }
}

extension EvaluationReport.IrreducibleError {
    /// Takes `oracle` out of a gallery's gallery.json.
    package init(galleryFile path: String) throws(TrainingError) {
        struct Gallery: Decodable {
            var oracle: EvaluationReport.IrreducibleError
        }
        self = try readJSON(Gallery.self, at: path).oracle
    }
}

// MARK: Files

extension EvaluationReport {
    /// A line of `predictions.jsonl`: enough to compute every figure again.
    private struct Prediction: Encodable {
        var pid: String
        var uid: String
        var target: Float
        /// Training posts of the user.
        var history: Int
        /// By system, run by run.
        var scores: [String: [Float]]
    }

    /// Writes `predictions.jsonl`, `table.md` and, last, `table.json` into the folder.
    package func write(
        to folder: String, predictionsOf evaluation: Evaluation
    ) throws(TrainingError) {
        try asTrainingError { () throws(ModelError) in try makeFolder(folder) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var lines: [UInt8] = []
        do {
            for (index, post) in evaluation.posts.enumerated() {
                let scores = evaluation.systems.map { ($0.name, $0.runs.map { $0[index] }) }
                lines += try encoder.encode(
                    Prediction(
                        pid: post.pid, uid: post.uid, target: post.target,
                        history: evaluation.historyLengths[index],
                        scores: Dictionary(scores, uniquingKeysWith: { first, _ in first })))
                lines.append(UInt8(ascii: "\n"))
            }
        } catch {
            throw .file(path: "\(folder)/predictions.jsonl", reason: "\(error)")
        }
        for (name, bytes) in [("predictions.jsonl", lines), ("table.md", Array(markdown.utf8))] {
            try asTrainingError { () throws(ModelError) in
                try writeFile(bytes, to: "\(folder)/\(name)")
            }
        }
        try writeJSON(self, to: "\(folder)/table.json")
    }
}

// MARK: For a plot

/// A bar, or a point with its interval, for each system.
package struct PlotData: Sendable, Equatable {
    package struct Row: Sendable, Equatable {
        package var name: String
        package var value: Double
        package var interval: UserBootstrap.Interval?
    }

    package var title: String
    /// What the axis shows.
    package var axis: String
    package var rows: [Row]
    /// A line that no system can pass; nil where it is not known.
    package var floor: Double?
}

extension EvaluationReport {
    /// The mean squared error of every system, in their order.
    package var plot: PlotData {
        PlotData(
            title: "\(dataset.version), \(dataset.test_posts) test posts of "
                + "\(dataset.test_users) users",
            axis: "mean squared error, \(confidenceText) interval over users",
            rows: systems.compactMap { system in
                system.metrics[.mse].map {
                    PlotData.Row(name: system.name, value: $0.value, interval: $0.interval)
                }
            },
            floor: dataset.irreducible?.mse)
    }

    var confidenceText: String {
        let percent = bootstrap.confidence * 100
        return decimal(percent, percent == percent.rounded() ? 0 : 1) + " %"
    }
}

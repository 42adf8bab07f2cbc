import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Support vector regression on hand-made features (colour statistics, TF-IDF, averaged word
/// vectors, user statistics): the classical system that UHAN is compared with.
///
/// The groups of features, C, epsilon and the loss are those with the least squared error on the
/// validation part. The search is in two steps, 80 trainings at most:
/// 1. every combination of groups, squared loss, epsilon 0.1, C in 0.001, 0.01, 0.1, 1;
/// 2. for the best combination: squared loss with 0.3, 1 and 3 times the best C, absolute loss with
///    the four C, both with epsilon in 0, 0.1, 0.5.
package struct SVR: Sendable {
    typealias Group = SVRFeatures.Group

    package struct Settings: Sendable, Codable, Equatable {
        /// How word vectors are trained, where they are not read from a file.
        package var skipGram = SkipGram()
        /// A GloVe-format file to take the word vectors from.
        package var gloveFile: String?
        /// Which training posts of a user count for a post that is to be scored.
        package var userHistory = UserStatistics.Scope.all

        package init() {}

        private enum CodingKeys: String, CodingKey {
            case skipGram = "skip_gram"
            case gloveFile = "glove_file"
            case userHistory = "user_history"
        }
    }

    /// One combination that was tried.
    package struct Trial: Sendable, Codable, Equatable {
        package var groups: [String]
        package var loss: LinearSVR.Loss
        package var c: Double
        package var epsilon: Double
        package var validationMSE: Double
        package var validationMAE: Double

        private enum CodingKeys: String, CodingKey {
            case groups, loss, c, epsilon
            case validationMSE = "validation_mse"
            case validationMAE = "validation_mae"
        }
    }

    package enum Progress: Sendable, CustomStringConvertible {
        case images(done: Int, of: Int)
        case wordVectors(epoch: Int, of: Int)
        case trial(number: Int, best: Trial)

        package var description: String {
            switch self {
            case .images(let done, let all): "svr: colours of \(done) of \(all) posts"
            case .wordVectors(let epoch, let all): "svr: word vectors, epoch \(epoch) of \(all)"
            case .trial(let number, let best):
                "svr: \(number) combinations tried, best validation MSE \(best.validationMSE) with "
                    + best.groups.joined(separator: " + ")
            }
        }
    }

    /// A post's JPEG bytes; nil where it has none.
    package typealias Images = (PreparedPost) throws -> [UInt8]?

    package let settings: Settings
    package let chosen: Trial
    /// In the order in which they were tried.
    package let trials: [Trial]
    /// Training and validation posts whose picture is there but could not be decoded.
    package let unusableImages: Int

    private let words: [String]
    private let features: SVRFeatures
    private let groups: [Group]
    /// A weight a column of the chosen groups.
    private let weights: [Float]
    /// The bias, with the training mean that was taken from the targets.
    private let bias: Double

    // MARK: Training

    /// - Parameters:
    ///   - posts: of all parts; those of the test part are not looked at.
    ///   - vocabulary: in the order of the word ids.
    ///   - images: called once for each post with a picture.
    package static func train(
        posts: [PreparedPost], vocabulary words: [String], settings: Settings = Settings(),
        images: Images, progress: (Progress) -> Void = { _ in }
    ) throws -> SVR {
        let training = posts.filter { $0.part == .train }
        let validation = posts.filter { $0.part == .validation }
        guard training.count > 1, !validation.isEmpty else {
            throw TrainingError.invalid(
                "svr needs 2 training posts and a validation post, the dataset has "
                    + "\(training.count) and \(validation.count); prepare it with another split")
        }
        let vocabulary = try asTrainingError { () throws(ModelError) in
            try Vocabulary(words: words)
        }

        var unusable = 0
        let count = training.count + validation.count
        var colors: [[Float]?] = []
        for post in training + validation {
            if colors.count % 100 == 0 { progress(.images(done: colors.count, of: count)) }
            colors.append(try Self.colors(of: post, images: images, unusable: &unusable))
        }
        let texts = training.map { SVRFeatures.words(of: $0, in: vocabulary) }
        let wordVectors =
            if let path = settings.gloveFile {
                try WordVectors(gloveFile: path, vocabulary: vocabulary)
            } else {
                settings.skipGram.train(posts: texts, vocabularyCount: words.count) {
                    progress(.wordVectors(epoch: $0 + 1, of: settings.skipGram.epochs))
                }
            }
        let users = UserStatistics(trainingPosts: training, scope: settings.userHistory)
        let features = SVRFeatures(
            vocabulary: vocabulary,
            tfidf: TFIDF(posts: texts, vocabularyCount: words.count), wordVectors: wordVectors,
            users: users,
            color: .init(
                fitting: Array(colors.prefix(training.count)), width: ColorStatistics.count),
            text: .init(fitting: texts.map(wordVectors.mean), width: wordVectors.dimension),
            user: .init(fitting: training.map(users.values), width: UserStatistics.count))

        var search = Search(
            features: features,
            trainingRows: zip(training, colors).map { features.rows(of: $0, colors: $1) },
            trainingTargets: training.map { Double($0.target) },
            validationRows: zip(validation, colors.dropFirst(training.count)).map {
                features.rows(of: $0, colors: $1)
            },
            validationTargets: validation.map { Double($0.target) })
        let best = try search.run(progress: progress)
        return SVR(
            settings: settings, chosen: best.trial, trials: search.trials,
            unusableImages: unusable, words: words, features: features, groups: best.groups,
            weights: best.weights, bias: best.bias)
    }

    private static func colors(
        of post: PreparedPost, images: Images, unusable: inout Int
    ) throws -> [Float]? {
        guard post.image != nil, let bytes = try images(post) else { return nil }
        do throws(ImageError) {
            return ColorStatistics.values(
                of: try JPEG.decodeSquare(bytes, side: ColorStatistics.side))
        } catch {
            unusable += 1
            return nil
        }
    }

    // MARK: Scoring

    /// The scores of posts, in their order.
    package func scores(_ posts: [PreparedPost], images: Images) throws -> [Float] {
        var unusable = 0
        return try posts.map { post in
            let colors =
                groups.contains(.color)
                ? try Self.colors(of: post, images: images, unusable: &unusable) : nil
            let rows = features.rows(of: post, colors: colors)
            return Float(
                Self.score(features.joined(rows, groups: groups), weights: weights, bias: bias))
        }
    }

    fileprivate static func score(
        _ row: SVRFeatures.Row, weights: [Float], bias: Double
    ) -> Double {
        row.reduce(bias) { $0 + $1.value * Double(weights[$1.column]) }
    }
}

// MARK: The search

private struct Search {
    struct Candidate {
        var trial: SVR.Trial
        var groups: [SVR.Group]
        var weights: [Float]
        var bias: Double
    }

    static let costs = [0.001, 0.01, 0.1, 1]
    static let epsilons = [0, 0.1, 0.5]

    let features: SVRFeatures
    let trainingRows: [[SVR.Group: SVRFeatures.Row]]
    let trainingTargets: [Double]
    let validationRows: [[SVR.Group: SVRFeatures.Row]]
    let validationTargets: [Double]
    var trials: [SVR.Trial] = []
    private var best: Candidate?

    init(
        features: SVRFeatures, trainingRows: [[SVR.Group: SVRFeatures.Row]],
        trainingTargets: [Double], validationRows: [[SVR.Group: SVRFeatures.Row]],
        validationTargets: [Double]
    ) {
        self.features = features
        self.trainingRows = trainingRows
        self.trainingTargets = trainingTargets
        self.validationRows = validationRows
        self.validationTargets = validationTargets
    }

    mutating func run(progress: (SVR.Progress) -> Void) throws(TrainingError) -> Candidate {
        let usable = SVR.Group.allCases.filter { group in
            trainingRows.contains { $0[group]?.isEmpty == false }
        }
        guard !usable.isEmpty else {
            throw .invalid(
                "svr has nothing to learn from: no picture, no known word, and no user with posts "
                    + "on two days in the training part")
        }
        // Fewer groups come first, and win where another is no better.
        let subsets = (1..<1 << usable.count).sorted {
            ($0.nonzeroBitCount, $0) < ($1.nonzeroBitCount, $1)
        }
        for subset in subsets {
            let groups = usable.indices.filter { subset >> $0 & 1 == 1 }.map { usable[$0] }
            let rows = features.matrix(trainingRows, groups: groups)
            for c in Self.costs {
                try attempt(
                    rows, groups, LinearSVR.Settings(loss: .squared, c: c, epsilon: 0.1), progress)
            }
        }
        guard let first = best else { throw .invalid("svr gave no finite validation error") }
        let rows = features.matrix(trainingRows, groups: first.groups)
        for epsilon in Self.epsilons {
            for factor in [0.3, 1, 3] where factor != 1 || epsilon != 0.1 {
                let settings = LinearSVR.Settings(
                    loss: .squared, c: factor * first.trial.c, epsilon: epsilon)
                try attempt(rows, first.groups, settings, progress)
            }
            for c in Self.costs {
                let settings = LinearSVR.Settings(loss: .absolute, c: c, epsilon: epsilon)
                try attempt(rows, first.groups, settings, progress)
            }
        }
        return best ?? first
    }

    private mutating func attempt(
        _ rows: SparseRows, _ groups: [SVR.Group], _ settings: LinearSVR.Settings,
        _ progress: (SVR.Progress) -> Void
    ) throws(TrainingError) {
        // The bias is part of |w|^2: with the mean gone from the targets it has little to do.
        let mean = trainingTargets.reduce(0, +) / Double(trainingTargets.count)
        let solution = try LinearSVR.train(
            rows, targets: trainingTargets.map { $0 - mean }, settings: settings)
        let weights = solution.dropLast().map { Float($0) }
        let bias = mean + (solution.last ?? 0)
        var (squares, absolutes) = (0.0, 0.0)
        for (row, target) in zip(validationRows, validationTargets) {
            let score = SVR.score(
                features.joined(row, groups: groups), weights: weights, bias: bias)
            let difference = Double(Float(score)) - target
            squares += difference * difference
            absolutes += abs(difference)
        }
        let count = Double(validationTargets.count)
        let trial = SVR.Trial(
            groups: groups.map(\.rawValue), loss: settings.loss, c: settings.c,
            epsilon: settings.epsilon, validationMSE: squares / count,
            validationMAE: absolutes / count)
        trials.append(trial)
        if trial.validationMSE < best?.trial.validationMSE ?? .infinity {
            best = Candidate(trial: trial, groups: groups, weights: weights, bias: bias)
        }
        if let best { progress(.trial(number: trials.count, best: best.trial)) }
    }
}

// MARK: As a folder

extension SVR {
    /// `svr.json`; the numbers of every column are in `svr.safetensors`, the words in
    /// `vocabulary.txt`.
    private struct Record: Codable {
        var format = "uhan-svr"
        var format_version = 1
        var settings: Settings
        var chosen: Trial
        var trials: [Trial]
        var unusable_images: Int
        var bias: Double
        var word_vector_dimension: Int
        var global_mean: Double
        var prior_posts: Double
        var users: [UserStatistics.User]
        /// SHA-256 of each file.
        var files: [String: String]
    }

    /// Makes the folder; svr.json comes last, so a folder that has it is whole.
    package func save(to folder: String) throws(TrainingError) {
        try asTrainingError { () throws(ModelError) in try makeFolder(folder) }
        var tensors = SafetensorsWriter()
        for (name, values) in [
            ("weights", weights), ("idf", features.tfidf.idf),
            ("word_vectors", features.wordVectors.values),
            ("color.mean", features.color.mean), ("color.deviation", features.color.deviation),
            ("text.mean", features.text.mean), ("text.deviation", features.text.deviation),
            ("user.mean", features.user.mean), ("user.deviation", features.user.deviation),
        ] where !values.isEmpty {
            tensors.add(name, shape: [values.count], values)
        }
        var files: [String: String] = [:]
        for (name, bytes) in [
            ("svr.safetensors", tensors.bytes()),
            ("vocabulary.txt", Array(words.map { $0 + "\n" }.joined().utf8)),
        ] {
            try asTrainingError { () throws(ModelError) in
                try writeFile(bytes, to: "\(folder)/\(name)")
            }
            files[name] = sha256Hex(bytes)
        }
        try writeJSON(
            Record(
                settings: settings, chosen: chosen, trials: trials,
                unusable_images: unusableImages, bias: bias,
                word_vector_dimension: features.wordVectors.dimension,
                global_mean: features.users.globalMean, prior_posts: features.users.priorPosts,
                users: features.users.users, files: files), to: "\(folder)/svr.json")
    }

    package init(folder: String) throws(TrainingError) {
        let path = "\(folder)/svr.json"
        let record = try readJSON(Record.self, at: path)
        let groups = record.chosen.groups.compactMap(Group.init(rawValue:))
        guard record.format == "uhan-svr", record.format_version == 1,
            groups.count == record.chosen.groups.count, record.word_vector_dimension > 0
        else {
            throw .file(
                path: path,
                reason: "format \(record.format) \(record.format_version), expected uhan-svr 1; "
                    + "train svr anew")
        }
        func open(_ name: String) throws(ModelError) -> MappedFile {
            let file = try MappedFile(path: "\(folder)/\(name)")
            try file.requireChecksum(record.files[name] ?? "none")
            return file
        }
        self = try asTrainingError { () throws(ModelError) in
            let tensors = try Safetensors(file: open("svr.safetensors"))
            let words = try open("vocabulary.txt").lines(maximumCount: Vocabulary.maximumCount)
            func values(_ name: String, _ count: Int) throws(ModelError) -> [Float] {
                try count == 0 ? [] : tensors.tensor(name, shape: [count]).contents()
            }
            func standard(_ name: String, _ width: Int) throws(ModelError) -> SVRFeatures.Standard {
                try .init(
                    mean: values("\(name).mean", width),
                    deviation: values("\(name).deviation", width))
            }
            let dimension = record.word_vector_dimension
            let features = SVRFeatures(
                vocabulary: try Vocabulary(words: words),
                tfidf: TFIDF(idf: try values("idf", words.count)),
                wordVectors: WordVectors(
                    dimension: dimension,
                    values: try values("word_vectors", words.count * dimension)),
                users: UserStatistics(
                    scope: record.settings.userHistory, globalMean: record.global_mean,
                    priorPosts: record.prior_posts,
                    users: record.users),
                color: try standard("color", ColorStatistics.count),
                text: try standard("text", dimension),
                user: try standard("user", UserStatistics.count))
            return SVR(
                settings: record.settings, chosen: record.chosen, trials: record.trials,
                unusableImages: record.unusable_images, words: words, features: features,
                groups: groups,
                weights: try values("weights", groups.reduce(0) { $0 + features.width(of: $1) }),
                bias: record.bias)
        }
    }
}

import Glibc
import Model

/// Predictions of several systems on one test part, judged side by side.
///
/// Figures, intervals and paired differences all come from the same draws of users. A system with
/// several runs (seeds) has the mean of its runs' figures, never the figure of their mean: an
/// ensemble would be another system.
package struct Evaluation: Sendable {
    package struct System: Sendable {
        package var name: String
        /// A run a seed: a score for each post, in the posts' order.
        package var runs: [[Float]]

        package init(name: String, runs: [[Float]]) {
            self.name = name
            self.runs = runs
        }
    }

    /// A figure over the runs of a system.
    package struct Figure: Sendable, Codable, Equatable {
        /// Mean over the runs.
        package var value: Double
        /// Over users, the runs as they are; nil for a single user, or where too many draws leave
        /// the figure undefined.
        package var interval: UserBootstrap.Interval?
        /// Deviation between the runs (divided by n - 1); nil for a single run.
        package var spread: Double?
        /// Run by run, where there are several.
        package var runs: [Double]?
    }

    /// Posts by how many training posts their user has.
    package struct Bucket: Sendable, Codable, Equatable {
        package var from: Int
        /// nil: no end.
        package var through: Int?

        package static let all =
            [(0, 0), (1, 2), (3, 5), (6, 10), (11, 20), (21, 50)]
            .map { Bucket(from: $0.0, through: $0.1) } + [Bucket(from: 51, through: nil)]

        package var name: String {
            guard let through else { return "\(from)+" }
            return from == through ? "\(from)" : "\(from)-\(through)"
        }

        func contains(_ count: Int) -> Bool { count >= from && count <= through ?? .max }
    }

    /// Users with fewer test posts do not count in the macro-averaged Spearman correlation.
    package static let minimumPostsForSpearman = 5
    package static let maximumRuns = 100

    package let posts: [PreparedPost]
    package let systems: [System]
    package let bootstrap: UserBootstrap
    /// For each post.
    package let historyLengths: [Int]

    /// - Parameters:
    ///   - posts: the test part, pids all different.
    ///   - historyLengths: training posts of each user.
    /// - Throws: where predictions are missing or not finite, or names are there twice.
    package init(
        posts: [PreparedPost], historyLengths: [CodePoints: Int], systems: [System],
        bootstrap: UserBootstrap = UserBootstrap()
    ) throws(TrainingError) {
        try self.init(
            posts: posts, histories: posts.map { historyLengths[CodePoints($0.uid)] ?? 0 },
            systems: systems, bootstrap: bootstrap)
    }

    /// - Parameter histories: for each post, how much was known of its user.
    package init(
        posts: [PreparedPost], histories: [Int], systems: [System],
        bootstrap: UserBootstrap = UserBootstrap()
    ) throws(TrainingError) {
        guard !posts.isEmpty else {
            throw .invalid("there is no test post to evaluate on; prepare another split")
        }
        guard (1...1_000_000).contains(bootstrap.resamples), bootstrap.confidence > 0,
            bootstrap.confidence < 1
        else {
            throw .invalid("the bootstrap needs 1 to 1,000,000 resamples, confidence in 0 ... 1")
        }
        var pids: Set<CodePoints> = []
        for post in posts {
            guard pids.insert(CodePoints(post.pid)).inserted else {
                throw .invalid("the post \(post.pid) is there twice")
            }
            guard post.target.isFinite else {
                throw .invalid("the target of post \(post.pid) is \(post.target)")
            }
        }
        var names: Set<String> = []
        for system in systems {
            guard names.insert(system.name).inserted else {
                throw .invalid("the system \(system.name) is there twice")
            }
            guard (1...Self.maximumRuns).contains(system.runs.count) else {
                throw .invalid(
                    "\(system.name) has \(system.runs.count) runs, expected 1 to "
                        + "\(Self.maximumRuns)")
            }
            for (run, scores) in system.runs.enumerated() {
                guard scores.count == posts.count else {
                    throw .invalid(
                        "\(system.name), run \(run + 1): \(scores.count) scores for "
                            + "\(posts.count) posts")
                }
                if let bad = scores.firstIndex(where: { !$0.isFinite }) {
                    throw .invalid(
                        "\(system.name), run \(run + 1): the score of post \(posts[bad].pid) is "
                            + "\(scores[bad]); its training went wrong, look at its losses and "
                            + "train it anew")
                }
            }
        }
        self.posts = posts
        self.systems = systems
        self.bootstrap = bootstrap
        historyLengths = histories
    }

    /// The figures of all systems, and their differences, on some of the posts.
    package struct Figures: Sendable {
        /// By system, in their order; a metric that is undefined is absent.
        package let systems: [[Metric: Figure]]
        /// Users that count in the macro-averaged Spearman correlation, by system: at least 5 test
        /// posts, targets and the first run's scores not all alike.
        package let spearmanUsers: [Int]
        package let users: Int
        package let posts: Int
        /// By system and metric, draw by draw: mean over its runs.
        fileprivate let drawn: [[Metric: [Double?]]]
        fileprivate let bootstrap: UserBootstrap

        /// System `index` minus system `reference`, paired: the same users are drawn for both.
        package func difference(
            _ index: Int, minus reference: Int
        ) -> [Metric: (value: Double, interval: UserBootstrap.Interval?)] {
            var differences: [Metric: (value: Double, interval: UserBootstrap.Interval?)] = [:]
            for metric in Metric.allCases {
                guard let figure = systems[index][metric],
                    let other = systems[reference][metric]
                else { continue }
                let pairs = zip(drawn[index][metric] ?? [], drawn[reference][metric] ?? [])
                let values = pairs.map { pair in pair.0.flatMap { x in pair.1.map { x - $0 } } }
                differences[metric] = (
                    figure.value - other.value, users > 1 ? bootstrap.interval(of: values) : nil
                )
            }
            return differences
        }
    }

    /// - Parameter indices: of the posts that count; nil for all.
    package func figures(ofPosts indices: [Int]? = nil) -> Figures {
        let chosen = indices ?? Array(self.posts.indices)
        let users = Users(of: chosen.map { self.posts[$0].uid })
        let targets = chosen.map { self.posts[$0].target }
        let targetOrder = RankOrder(targets)
        let judged = systems.map { system in
            system.runs.map { scores in
                JudgedRun(
                    scores: chosen.map { scores[$0] }, targets: targets, targetOrder: targetOrder,
                    users: users)
            }
        }

        let everyUser = [Double](repeating: 1, count: users.count)
        let points = judged.map { runs in
            runs.map { $0.values(userWeights: everyUser, users: users) }
        }
        var drawn = systems.map { _ in [Metric: [Double?]]() }
        if users.count > 1 {
            bootstrap.forEachResample(users: users.count) { weights in
                for (system, runs) in judged.enumerated() {
                    let values = runs.map { $0.values(userWeights: weights, users: users) }
                    for metric in Metric.allCases {
                        drawn[system][metric, default: []].append(
                            Self.mean(values.map { $0[metric] }))
                    }
                }
            }
        }
        let figures = points.enumerated().map { system, runs in
            var figures: [Metric: Figure] = [:]
            for metric in Metric.allCases {
                let values = runs.map { $0[metric] }
                guard let mean = Self.mean(values) else { continue }
                figures[metric] = Figure(
                    value: mean, interval: drawn[system][metric].flatMap(bootstrap.interval),
                    spread: Self.spread(values.compactMap { $0 }),
                    runs: values.count > 1 ? values.compactMap { $0 } : nil)
            }
            return figures
        }
        return Figures(
            systems: figures, spearmanUsers: judged.map { $0[0].spearmanUsers },
            users: users.count, posts: chosen.count, drawn: drawn, bootstrap: bootstrap)
    }

    /// nil where one of them is.
    private static func mean(_ values: [Double?]) -> Double? {
        var sum = 0.0
        for value in values {
            guard let value else { return nil }
            sum += value
        }
        return sum / Double(values.count)
    }

    private static func spread(_ values: [Double]) -> Double? {
        guard values.count > 1 else { return nil }
        let mean = values.reduce(0, +) / Double(values.count)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (squares / Double(values.count - 1)).squareRoot()
    }

    // MARK: Error analysis

    /// A post that a system got wrong.
    package struct Miss: Sendable, Codable, Equatable {
        package var pid: String
        package var uid: String
        package var target: Float
        /// Mean over the system's runs.
        package var score: Float
        /// Training posts of the user.
        package var history: Int
    }

    /// The posts with the largest error, that of the runs' mean, the worst first.
    package func worstPosts(of name: String, count: Int) throws(TrainingError) -> [Miss] {
        guard let system = systems.first(where: { $0.name == name }) else {
            throw .invalid(
                "there is no system \(name); there are "
                    + systems.map(\.name).joined(separator: ", "))
        }
        let misses = posts.indices.map { index in
            let sum = system.runs.reduce(0) { $0 + Double($1[index]) }
            return Miss(
                pid: posts[index].pid, uid: posts[index].uid, target: posts[index].target,
                score: Float(sum / Double(system.runs.count)), history: historyLengths[index])
        }
        func error(_ miss: Miss) -> Float { abs(miss.score - miss.target) }
        let worstFirst = misses.sorted {
            error($0) != error($1)
                ? error($0) > error($1)
                : $0.pid.utf8.lexicographicallyPrecedes($1.pid.utf8)
        }
        return Array(worstFirst.prefix(max(0, count)))
    }
}

/// Posts by user, users by code point.
private struct Users {
    /// For each post its user's index.
    let ofPost: [Int]
    let posts: [[Int]]
    var count: Int { posts.count }

    init(of uids: [String]) {
        let keys = uids.map(CodePoints.init)
        let sorted = Set(keys).sorted {
            $0.string.utf8.lexicographicallyPrecedes($1.string.utf8)
        }
        let index = Dictionary(
            zip(sorted, sorted.indices), uniquingKeysWith: { first, _ in first })
        ofPost = keys.map { index[$0] ?? 0 }
        var posts = [[Int]](repeating: [], count: sorted.count)
        for (post, user) in ofPost.enumerated() { posts[user].append(post) }
        self.posts = posts
    }
}

/// One run with all that does not depend on who is drawn.
private struct JudgedRun {
    private let squares: [Double]
    private let absolutes: [Double]
    private let correlations: [Double?]
    private let order: RankOrder
    private let targetOrder: RankOrder

    var spearmanUsers: Int { correlations.count { $0 != nil } }

    init(scores: [Float], targets: [Float], targetOrder: RankOrder, users: Users) {
        let errors = zip(scores, targets).map { Double($0) - Double($1) }
        squares = users.posts.map { $0.reduce(0) { $0 + errors[$1] * errors[$1] } }
        absolutes = users.posts.map { $0.reduce(0) { $0 + abs(errors[$1]) } }
        correlations = users.posts.map { posts in
            guard posts.count >= Evaluation.minimumPostsForSpearman else { return nil }
            return RankOrder.correlation(posts.map { scores[$0] }, posts.map { targets[$0] })
        }
        order = RankOrder(scores)
        self.targetOrder = targetOrder
    }

    func values(userWeights weights: [Double], users: Users) -> [Metric: Double] {
        var (posts, squareSum, absoluteSum) = (0.0, 0.0, 0.0)
        var (userSum, macroSquares, macroAbsolutes) = (0.0, 0.0, 0.0)
        var (correlated, correlationSum) = (0.0, 0.0)
        for user in weights.indices where weights[user] > 0 {
            let weight = weights[user]
            let count = Double(users.posts[user].count)
            posts += weight * count
            squareSum += weight * squares[user]
            absoluteSum += weight * absolutes[user]
            userSum += weight
            macroSquares += weight * squares[user] / count
            macroAbsolutes += weight * absolutes[user] / count
            if let correlation = correlations[user] {
                correlated += weight
                correlationSum += weight * correlation
            }
        }
        var values: [Metric: Double] = [
            .mse: squareSum / posts, .mae: absoluteSum / posts,
            .macroMSE: macroSquares / userSum, .macroMAE: macroAbsolutes / userSum,
        ]
        values[.spearman] = RankOrder.correlation(
            order, targetOrder, weights: users.ofPost.map { weights[$0] })
        values[.macroSpearman] = correlated > 0 ? correlationSum / correlated : nil
        return values
    }
}

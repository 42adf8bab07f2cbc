/// `gallery.json`: what a gallery was made from, what it is worth and what it should be. It is
/// written last, so a folder that has it is whole.
package struct GalleryReport: Codable, Sendable, Equatable {
    package static let format = "uhan-gallery"
    /// Goes up when the same seed gives another gallery.
    package static let formatVersion = 1

    package var format = Self.format
    package var format_version = Self.formatVersion
    package var seed: UInt64
    package var posts: Int
    /// Without the new ones.
    package var users: Int
    package var taste_change: Gallery.TasteChange?
    package var new_users: Gallery.NewUsers?
    /// Of the lines "SHA-256, two blanks, path" of all files in the order posts.jsonl,
    /// truth.jsonl, users.jsonl, views.jsonl, images by path: what `sha256sum` prints.
    package var sha256: String
    package var files: [String: String]
    package var counts: Counts
    /// Of the observed score.
    package var mean: Double
    package var variance: Double
    /// The variance of each part as a part of the score's variance. They add up to about 1.
    package var shares: Shares
    /// The error of the law itself: noise, and views being whole numbers. Nobody can do better.
    package var oracle: ErrorFigures
    /// The error of one number for all posts, their mean.
    package var global_mean: ErrorFigures
    /// Of the new users' posts: the error of one who knows the law, and of the user only the posts
    /// before (`GalleryOracle`). Nil where there are no new users.
    package var new_users_oracle: [LearningFigures]?
    package var law: GalleryLaw

    package struct Counts: Codable, Sendable, Equatable {
        package var images = 0
        package var users_with_posts = 0
        package var without_text = 0
        package var with_subject_named = 0
        package var without_views = 0
    }

    package struct Shares: Codable, Sendable, Equatable {
        package var user: Double
        package var text: Double
        package var image: Double
        package var place: Double
        package var noise: Double
    }

    package struct ErrorFigures: Codable, Sendable, Equatable {
        package var mse: Double
        package var mae: Double
    }

    /// Of the posts whose users have had so many before, their scores all known by then.
    package struct LearningFigures: Codable, Sendable, Equatable {
        package var labels: Int
        package var posts: Int
        package var mse: Double
        /// What the mean squared error should be, with these posts and others like them.
        package var expected_mse: Double
    }
}

/// Adds up, post by post, what the report says about them.
struct GalleryTally {
    private(set) var counts = GalleryReport.Counts()
    private var seen: Set<String> = []
    private var observed: [Double] = []
    private var expected: [Double] = []
    private var parts: [GalleryPost.Parts] = []

    mutating func add(_ post: GalleryPost) {
        counts.images += post.picture == nil ? 0 : 1
        counts.without_text += post.title.isEmpty && post.tags.isEmpty ? 1 : 0
        counts.with_subject_named += post.isSubjectNamed ? 1 : 0
        counts.without_views += post.lastObservation.views == 0 ? 1 : 0
        if seen.insert(post.uid).inserted { counts.users_with_posts += 1 }
        observed.append(post.observedScore)
        expected.append(post.expectedScore)
        parts.append(post.parts)
    }

    var mean: Double { Self.mean(observed) }
    var variance: Double { Self.variance(observed) }

    var shares: GalleryReport.Shares {
        let whole = variance
        func share(_ part: KeyPath<GalleryPost.Parts, Double>) -> Double {
            ExactMath.rounded(Self.variance(parts.map { $0[keyPath: part] }) / whole)
        }
        return GalleryReport.Shares(
            user: share(\.user), text: share(\.text), image: share(\.image),
            place: share(\.place), noise: share(\.noise))
    }

    var oracle: GalleryReport.ErrorFigures {
        errors(zip(observed, expected).map { $0 - $1 })
    }

    var globalMean: GalleryReport.ErrorFigures {
        let mean = mean
        return errors(observed.map { $0 - mean })
    }

    private func errors(_ residuals: [Double]) -> GalleryReport.ErrorFigures {
        GalleryReport.ErrorFigures(
            mse: Self.mean(residuals.map { $0 * $0 }), mae: Self.mean(residuals.map(abs)))
    }

    private static func mean(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(values.count)
    }

    private static func variance(_ values: [Double]) -> Double {
        let mean = mean(values)
        return Self.mean(values.map { ($0 - mean) * ($0 - mean) })
    }
}

/// Adds up how well an oracle comes to know the new users.
struct NewUsersTally {
    private struct Sums {
        var posts = 0
        var squares = 0.0
        var variances = 0.0
    }

    private static let labelCounts = [0, 1, 2, 5, 10, 20]

    private let fresh: GalleryOracle
    private let newUsers: Set<String>
    private var oracles: [String: (labels: Int, oracle: GalleryOracle)] = [:]
    private var sums: [Int: Sums] = [:]

    init(_ gallery: Gallery) {
        fresh = GalleryOracle(law: gallery.law)
        newUsers = Set(gallery.users.dropFirst(gallery.regularUserCount).map(\.uid))
    }

    /// - Parameter post: in the order of their times.
    mutating func add(_ post: GalleryPost) {
        guard newUsers.contains(post.uid) else { return }
        var (labels, oracle) = oracles[post.uid] ?? (0, fresh)
        guard labels <= Self.labelCounts[Self.labelCounts.count - 1] else { return }
        if Self.labelCounts.contains(labels) {
            let expectation = oracle.expectation(of: post)
            let residual = post.observedScore - expectation.score
            sums[labels, default: Sums()].posts += 1
            sums[labels, default: Sums()].squares += residual * residual
            sums[labels, default: Sums()].variances += expectation.variance
        }
        oracle.learn(post, score: post.observedScore)
        oracles[post.uid] = (labels + 1, oracle)
    }

    /// Nil where there are no new users.
    var figures: [GalleryReport.LearningFigures]? {
        guard !newUsers.isEmpty else { return nil }
        return Self.labelCounts.compactMap { labels in
            sums[labels].map {
                GalleryReport.LearningFigures(
                    labels: labels, posts: $0.posts, mse: $0.squares / Double($0.posts),
                    expected_mse: $0.variances / Double($0.posts))
            }
        }
    }
}

import Glibc
import Model

/// What a user's training posts say about another post of the user.
///
/// Six values: the mean of their scores; the same drawn to the global mean by the ratio of the
/// variance within users to that between them, in posts (a mean of one post says little); their
/// deviation; log2(1 + number of posts); the last score (the mean over the last day's posts); and
/// log2(1 + days since).
package struct UserStatistics: Sendable {
    /// Which of the user's training posts count for a post of another part. For a training post
    /// itself it is always those of earlier days (UTC). Past-only, and not leave-one-out: within
    /// one user the mean of the others falls as the post's own score rises, so leave-one-out gives
    /// the answer away with the sign turned round; and it would know the future.
    package enum Scope: String, Codable, Sendable {
        /// Those of earlier days, as in training. Posts of one upload share their fate, and many
        /// sources know no more than the day: a post of the same day must teach nothing.
        case earlierDays = "earlier-days"
        /// All of them, which is what HisAve and a user's vector learn from.
        case all
    }

    package static let count = 6

    /// A user's training posts of some day and all days before.
    package struct Day: Codable, Sendable, Equatable {
        /// Since 1970, UTC.
        fileprivate var day: Int
        fileprivate var posts: Int
        fileprivate var sum: Double
        fileprivate var squares: Double
        /// Of this day alone.
        fileprivate var postsOfDay: Int
        fileprivate var sumOfDay: Double

        private enum CodingKeys: String, CodingKey {
            case day, posts, sum, squares
            case postsOfDay = "posts_of_day"
            case sumOfDay = "sum_of_day"
        }
    }

    package struct User: Codable, Sendable, Equatable {
        var uid: String
        /// In their order, one at least.
        var days: [Day]
    }

    package let scope: Scope
    package let globalMean: Double
    /// How many posts the global mean weighs in the drawn mean.
    package let priorPosts: Double
    private let days: [CodePoints: [Day]]

    /// - Parameter posts: the training part, at least one.
    package init(trainingPosts posts: [PreparedPost], scope: Scope) {
        self.scope = scope
        var days: [CodePoints: [Day]] = [:]
        let inOrder = posts.sorted {
            $0.postedAt != $1.postedAt
                ? $0.postedAt < $1.postedAt
                : $0.pid.utf8.lexicographicallyPrecedes($1.pid.utf8)
        }
        for post in inOrder {
            days[CodePoints(post.uid), default: []].add(
                Double(post.target), day: Self.day(of: post))
        }
        globalMean = posts.reduce(0) { $0 + Double($1.target) } / Double(posts.count)
        self.days = days
        priorPosts = Self.priorPosts(of: Self.sorted(days).compactMap(\.days.last))
    }

    package init(scope: Scope, globalMean: Double, priorPosts: Double, users: [User]) {
        self.scope = scope
        self.globalMean = globalMean
        self.priorPosts = priorPosts
        days = Dictionary(
            users.map { (CodePoints($0.uid), $0.days) }, uniquingKeysWith: { first, _ in first })
    }

    /// By code point of the uid.
    package var users: [User] { Self.sorted(days) }

    /// ``count`` values; nil where no training post of the user counts.
    package func values(for post: PreparedPost) -> [Float]? {
        let day = Self.day(of: post)
        let usesAll = scope == .all && post.part != .train
        guard
            let history = days[CodePoints(post.uid)]?.last(where: { usesAll || $0.day < day })
        else { return nil }
        let count = Double(history.posts)
        let mean = history.sum / count
        return [
            mean,
            (history.sum + priorPosts * globalMean) / (count + priorPosts),
            max(0, history.squares / count - mean * mean).squareRoot(),
            log2(1 + count),
            history.sumOfDay / Double(history.postsOfDay),
            log2(1 + Double(max(0, day - history.day))),
        ].map(Float.init)
    }

    /// The variance within users over that between them (analysis of variance with groups of
    /// unequal size); between 0 and 100.
    private static func priorPosts(of histories: [Day]) -> Double {
        let users = Double(histories.count)
        let posts = Double(histories.reduce(0) { $0 + $1.posts })
        guard users > 1, posts > users else { return 1 }
        let within =
            histories.reduce(0) { $0 + max(0, $1.squares - $1.sum * $1.sum / Double($1.posts)) }
            / (posts - users)
        let means = histories.map { $0.sum / Double($0.posts) }
        let center = means.reduce(0, +) / users
        let ofMeans = means.reduce(0) { $0 + ($1 - center) * ($1 - center) } / (users - 1)
        let between = ofMeans - within * histories.reduce(0) { $0 + 1 / Double($1.posts) } / users
        return between > within / 100 ? within / between : 100
    }

    private static func sorted(_ days: [CodePoints: [Day]]) -> [User] {
        days.map { User(uid: $0.key.string, days: $0.value) }
            .sorted { $0.uid.utf8.lexicographicallyPrecedes($1.uid.utf8) }
    }

    private static func day(of post: PreparedPost) -> Int {
        Int(min(max(post.postedAt / 86_400, -1e9), 1e9).rounded(.down))
    }
}

extension [UserStatistics.Day] {
    fileprivate mutating func add(_ target: Double, day: Int) {
        var next =
            last ?? .init(day: day, posts: 0, sum: 0, squares: 0, postsOfDay: 0, sumOfDay: 0)
        let isSameDay = last?.day == day
        next.day = day
        next.posts += 1
        next.sum += target
        next.squares += target * target
        next.postsOfDay = isSameDay ? next.postsOfDay + 1 : 1
        next.sumOfDay = isSameDay ? next.sumOfDay + target : target
        if isSameDay { removeLast() }
        append(next)
    }
}

import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The baseline that is hard to beat: a post will do as well as its user's training posts did.
package struct HisAve: Sendable, Equatable {
    /// Of all training posts: the score of a user without any.
    package let globalMean: Double
    private let means: [CodePoints: User]

    private struct User: Codable, Sendable, Equatable {
        var uid: String
        var posts: Int
        var mean: Double
    }

    private struct Record: Codable {
        var format = "uhan-hisave"
        var format_version = 1
        var global_mean: Double
        /// By code point of the uid.
        var users: [User]
    }

    /// Learns from the posts of the given parts; others are not looked at.
    ///
    /// - Parameter parts: with validation it knows more than systems that stop by validation; to be
    ///   reported as another system.
    package static func train(
        posts: [PreparedPost], parts: Set<PreparedPost.Part> = [.train]
    ) throws(TrainingError) -> HisAve {
        var sums: [CodePoints: (posts: Int, sum: Double)] = [:]
        var total = 0.0
        var count = 0
        for post in posts where parts.contains(post.part) {
            let target = Double(post.target)
            sums[CodePoints(post.uid), default: (0, 0)].posts += 1
            sums[CodePoints(post.uid), default: (0, 0)].sum += target
            total += target
            count += 1
        }
        guard count > 0 else {
            throw .invalid("the dataset has no training post; prepare it with another split")
        }
        let means = sums.map { uid, user in
            (uid, User(uid: uid.string, posts: user.posts, mean: user.sum / Double(user.posts)))
        }
        return HisAve(
            globalMean: total / Double(count),
            means: Dictionary(means, uniquingKeysWith: { first, _ in first }))
    }

    package func score(_ post: PreparedPost) -> Float {
        Float(means[CodePoints(post.uid)]?.mean ?? globalMean)
    }

    // MARK: As a file

    package func save(to path: String) throws(TrainingError) {
        let users = means.values.sorted {
            $0.uid.utf8.lexicographicallyPrecedes($1.uid.utf8)
        }
        try writeJSON(Record(global_mean: globalMean, users: users), to: path)
    }

    package init(path: String) throws(TrainingError) {
        let record = try readJSON(Record.self, at: path)
        guard record.format == "uhan-hisave", record.format_version == 1 else {
            throw .file(
                path: path,
                reason: "format \(record.format) \(record.format_version), expected uhan-hisave 1; "
                    + "train hisave anew")
        }
        globalMean = record.global_mean
        means = Dictionary(
            record.users.map { (CodePoints($0.uid), $0) }, uniquingKeysWith: { first, _ in first })
    }

    private init(globalMean: Double, means: [CodePoints: User]) {
        self.globalMean = globalMean
        self.means = means
    }
}

import Gallery
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Posts of the synthetic gallery that no model was trained on, with what is true of each.
struct GalleryPosts: Sendable {
    /// The gallery that quickstart's model is trained on has the posts before the first one here.
    private static let seed: UInt64 = 1
    private static let first = 20_000
    /// So many posts have nearly all words of the gallery.
    private static let sample = 1_000

    private let gallery = Gallery(seed: seed, posts: first)
    private var upcoming = first
    /// Whose posts are shown; nil: everybody's.
    private var shownUsers: Set<String>?

    /// Leaves out the posts of users that a model does not know, unless it knows none at all.
    mutating func show(users: [String]) {
        let known = Set(users).intersection(self.users)
        shownUsers = known.isEmpty ? nil : known
    }

    /// They never end.
    mutating func next() -> GalleryPost {
        while true {
            let post = gallery.post(upcoming)
            upcoming += 1
            if shownUsers?.contains(post.uid) ?? true { return post }
        }
    }

    /// The post that a score answers; nil where the id is none of the gallery's.
    func post(id: String) -> GalleryPost? {
        let digits = id.split(separator: "-").last.flatMap { Int($0) }
        guard let index = digits, index >= Self.first else { return nil }
        let post = gallery.post(index)
        return post.pid == id ? post : nil
    }

    var words: [String] {
        let words = (0..<Self.sample).flatMap { number in
            let post = gallery.post(Self.first + number)
            return Tokenizer.words("\(post.title) \(post.tags)")
        }
        return Set(words).sorted()
    }

    var users: [String] { gallery.users.map(\.uid) }
}

/// Squared errors, added up over the posts shown so far.
struct ErrorsSoFar {
    private var posts = 0
    private var model = 0.0
    private var law = 0.0

    mutating func add(score: Float, truth: GalleryPost) {
        posts += 1
        model += Self.square(Double(score) - truth.observedScore)
        law += Self.square(truth.expectedScore - truth.observedScore)
    }

    private static func square(_ value: Double) -> Double { value * value }

    /// Both against what came out: (of the scores, of one who knows the law); nil before the
    /// first post.
    var meanSquares: (model: Double, irreducible: Double)? {
        posts > 0 ? (model / Double(posts), law / Double(posts)) : nil
    }
}

import Model

/// Updates the vectors of one model's users, from the kept encodings of their posts.
///
/// The result follows from the model, the rule and the arguments, to the last bit: not from the
/// number of threads. One caller at a time.
package final class UserLearner {
    private let users: UserTable
    private let shape: HeadShape
    private let rule: UpdateRule
    private let gradient: UserGradient

    package init(bundle: ModelBundle, rule: UpdateRule, workers: Workers) {
        users = bundle.users
        shape = bundle.head.shape
        self.rule = rule
        gradient = UserGradient(weights: bundle.head, workers: workers)
    }

    /// - Parameters:
    ///   - state: of a user of this model; its vectors have d values.
    ///   - encodings: what is kept of a post, in the format of `KeptEncoding`; nil where nothing is.
    ///     A post whose encoding is not there, or not one of this model's shape, is left out.
    package func learn(
        _ state: LearnerState, encodings: (_ pid: String) -> [UInt8]?
    ) -> LearningResult {
        var posts: [LearnerState.LabelledPost] = []
        var kept: [KeptEncoding] = []
        for post in state.posts {
            guard let bytes = encodings(post.pid),
                let encoding = try? KeptEncoding(bytes: bytes, shape: shape)
            else { continue }
            posts.append(post)
            kept.append(encoding)
        }
        let trained = users.vector(of: state.uid)
        let prior = trained ?? users.unknownVector
        let outcome = rule.update(
            from: state.current?.values ?? prior, prior: prior,
            evidence: evidence(of: state.uid, isTrained: trained != nil), posts: posts,
            scores: EncodedPosts(posts: gradient.expand(kept), gradient: gradient))
        return LearningResult(
            outcome: outcome, missingEncodings: state.posts.count - posts.count)
    }
}

extension UserLearner {
    /// How many labels the prior stands for.
    private func evidence(of uid: String, isTrained: Bool) -> Double {
        guard isTrained else { return 0 }
        let posts = users.history(of: uid).map { Double($0.posts) } ?? rule.trainedUserEvidence
        return min(posts, rule.maximumEvidence)
    }
}

private struct EncodedPosts: UserScores {
    let posts: [PostEncoding]
    let gradient: UserGradient
    var count: Int { posts.count }
    /// All posts are the same user's.
    private var userOf: [Int] { [Int](repeating: 0, count: posts.count) }

    func scores(_ user: [Float]) -> [Float] {
        gradient.scores(posts, userOf: userOf, users: [user])
    }

    func gradient(
        _ user: [Float], back: ([Float]) -> [Float]
    ) -> (scores: [Float], gradient: [Float]) {
        let result = gradient.gradient(posts, userOf: userOf, users: [user], back: back)
        return (result.scores, result.gradients[0])
    }
}

/// What the learner is told, in the order of the lessons topic: a label that was joined with its
/// post, or a command about a user's vector. `schemas/lesson.v1.json` is the same in JSON Schema.
package enum Lesson: Equatable, Sendable {
    case label(JoinedLabel)
    /// Go back to an earlier vector, one of those that the user's record still carries.
    case rollback(uid: String, version: Int)
    /// Forget everything that was learnt about the user, and what is kept of the user's posts.
    case forget(uid: String)

    package var uid: String {
        switch self {
        case .label(let label): label.post.uid
        case .rollback(let uid, _), .forget(let uid): uid
        }
    }
}

/// A post, and what its views say.
package struct JoinedLabel: Equatable, Sendable {
    /// As it was scored; its `labels` are left out.
    package var post: ScoredPost
    /// Seconds after posting; nil where any age counts.
    package var horizon: Double?
    /// Labels of other horizons judge, and do not teach.
    package var teaches: Bool
    package var views: Int64
    /// Seconds since 1970.
    package var observedAt: Double
    /// log2(views / days) + 1.
    package var label: Float
    /// It replaces one that came before: it teaches, and does not judge again.
    package var isCorrection: Bool

    package init(
        post: ScoredPost, horizon: Double?, teaches: Bool, views: Int64, observedAt: Double,
        label: Float, isCorrection: Bool
    ) {
        self.post = post
        self.horizon = horizon
        self.teaches = teaches
        self.views = views
        self.observedAt = observedAt
        self.label = label
        self.isCorrection = isCorrection
    }
}

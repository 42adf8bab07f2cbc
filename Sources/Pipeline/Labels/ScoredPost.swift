/// What is remembered of a scored post until its views are known: when it was posted, what was
/// published for it and what others would have said at that moment, and the labels it has had.
package struct ScoredPost: Equatable, Sendable {
    /// An observation that counts as the post's label at one horizon.
    package struct Label: Equatable, Sendable {
        /// Seconds after posting; nil where any age counts.
        package var horizon: Double?
        package var views: Int64
        /// Seconds since 1970.
        package var observedAt: Double

        package init(horizon: Double?, views: Int64, observedAt: Double) {
            self.horizon = horizon
            self.views = views
            self.observedAt = observedAt
        }
    }

    package var pid: String
    package var uid: String
    /// The version of the model that scored it, and so of its encoding.
    package var model: String
    /// Seconds since 1970.
    package var postedAt: Double
    /// As published.
    package var score: Float
    /// As published: "bundle", "unknown" or a version ("v3").
    package var userVector: String
    /// What the frozen vector (the bundle's, or the unknown user's) gave, from the same encoding.
    package var frozenScore: Float
    /// The mean of the user's labels up to then; nil where there was none.
    package var userMean: Float?
    /// How many labels the user had then.
    package var userLabels: Int
    /// At most one a horizon.
    package var labels: [Label] = []

    package init(
        pid: String, uid: String, model: String, postedAt: Double, score: Float,
        userVector: String, frozenScore: Float, userMean: Float?, userLabels: Int
    ) {
        self.pid = pid
        self.uid = uid
        self.model = model
        self.postedAt = postedAt
        self.score = score
        self.userVector = userVector
        self.frozenScore = frozenScore
        self.userMean = userMean
        self.userLabels = userLabels
    }
}

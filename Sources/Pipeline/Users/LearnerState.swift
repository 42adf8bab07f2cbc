/// What was learnt about one user of one model: the last vectors, the last labelled posts and the
/// running mean of the labels. `schemas/user.v1.json` is the same in JSON Schema.
package struct LearnerState: Equatable, Sendable {
    package static let maximumVectors = 8
    package static let maximumPosts = 32

    package struct Vector: Equatable, Sendable {
        /// Counts up from 1 with every change; never used twice.
        package var version: Int
        /// d values.
        package var values: [Float]
        /// Seconds since 1970, in record time: when the label that led to it was observed.
        package var learnedAt: Double
        /// Labels that the user had had by then.
        package var labels: Int
        /// The earlier version that it is a copy of, where it is one.
        package var rolledBackTo: Int?

        package init(
            version: Int, values: [Float], learnedAt: Double, labels: Int,
            rolledBackTo: Int? = nil
        ) {
            self.version = version
            self.values = values
            self.learnedAt = learnedAt
            self.labels = labels
            self.rolledBackTo = rolledBackTo
        }
    }

    package struct LabelledPost: Equatable, Sendable {
        package var pid: String
        /// log2(views / days) + 1.
        package var label: Float
        package var postedAt: Double
        package var observedAt: Double
        /// Counts the user's labelled posts from 0: whether a post is held out follows from it.
        package var number: Int

        package init(
            pid: String, label: Float, postedAt: Double, observedAt: Double, number: Int
        ) {
            self.pid = pid
            self.label = label
            self.postedAt = postedAt
            self.observedAt = observedAt
            self.number = number
        }
    }

    package var uid: String
    /// The model's version.
    package var model: String
    /// The last `maximumVectors`, the oldest first; the last one counts. Empty as long as the
    /// bundle's (or the unknown user's) vector stands.
    package var vectors: [Vector] = []
    /// The last `maximumPosts`, in the order of their labels.
    package var posts: [LabelledPost] = []
    /// Labels taken so far, corrections aside, and their sum.
    package var labelCount = 0
    package var labelSum = 0.0
    /// Since the last update was tried.
    package var labelsSinceUpdate = 0
    /// `observedAt` of the label that led to it.
    package var updateTriedAt: Double?

    package init(uid: String, model: String) {
        self.uid = uid
        self.model = model
    }

    package var current: Vector? { vectors.last }
    package var labelMean: Float? { labelCount > 0 ? Float(labelSum / Double(labelCount)) : nil }
}

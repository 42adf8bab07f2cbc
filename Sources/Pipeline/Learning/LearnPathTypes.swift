// The words that learning adds to those of ScorePathTypes.swift.

/// How views become lessons and lessons become vectors.
package struct LearnConfiguration: Sendable {
    package var viewsTopic = "views"
    package var lessonsTopic = "lessons"
    package var usersTopic = "users"
    package var joinsTopic = "joins"
    /// nil: encodings stay where they were made, and a user whose partition moves learns from
    /// later posts alone.
    package var encodingsTopic: String?
    /// The version of the model that scores: only posts that it has scored teach.
    package var model: String
    package var labels: LabelRule
    package var updates: UpdateRule

    /// Views and lessons in hand at which their partitions are paused, and resumed.
    package var highWaterRecords = 256
    package var lowWaterRecords = 128
    /// Views that wait for their post, in each task; beyond, the oldest are given up.
    package var maximumEarlyViews = 10_000
    /// The same of one user, so that none takes the places of all.
    package var maximumEarlyViewsOfUser = 1_000
    /// In record time: how long a view waits for its post.
    package var earlyViewSeconds = 86_400.0

    package init(model: String, labels: LabelRule, updates: UpdateRule) {
        self.model = model
        self.labels = labels
        self.updates = updates
    }
}

/// What is to be looked up for a record, in the state of its task.
package enum Recall: Equatable, Sendable {
    case post(uid: String, pid: String)
    case learner(uid: String)
    /// All posts of the user, labelled or not, to forget them.
    case posts(uid: String)
}

package enum Recollection: Equatable, Sendable {
    case post(ScoredPost?)
    case learner(LearnerState?)
    case posts(pids: [String])
}

/// A view that waits for its post.
package struct EarlyView: Equatable, Sendable {
    package var view: ViewEvent
    /// Counts up within a task.
    package var number: Int

    package init(_ view: ViewEvent, number: Int) {
        self.view = view
        self.number = number
    }
}

/// What an update of a user's vector came to.
package struct LearningResult: Equatable, Sendable {
    package var outcome: UpdateOutcome
    /// Posts of the window whose encodings are not there any more.
    package var missingEncodings: Int

    package init(outcome: UpdateOutcome, missingEncodings: Int) {
        self.outcome = outcome
        self.missingEncodings = missingEncodings
    }
}

/// What has happened in learning, told when it is committed, so once.
package enum LearningReport: Equatable, Sendable {
    /// What became of an observation, at one horizon.
    case label(LabelOutcome)
    /// A label judges what was published.
    case judged(JoinedLabel)
    case updated(uid: String, LearningResult)
    case rolledBack(uid: String, version: Int)
    /// The user's record does not carry that version.
    case versionUnknown(uid: String, version: Int)
    case forgotten(uid: String, posts: Int)
}

/// What a record comes to, published and stored together.
struct Conclusion: Equatable, Sendable {
    var outputs: [OutputRecord] = []
    var changes: [StateChange] = []
    var reports: [LearningReport] = []

    var byteCount: Int { outputs.reduce(0) { $0 + $1.byteCount } }
}

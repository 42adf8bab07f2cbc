import Pipeline

typealias SimulatedPath = ScorePath<Int>

/// Mistakes that a driver or a score path could make. The simulation must find each of them.
enum PlantedBug: String, CaseIterable {
    /// Offsets are committed by themselves, before the transaction that holds the scores.
    case offsetsBeforeScores
    /// A rebalance in the middle of a transaction leaves it open, and the next batch joins it.
    case noAbortOnRevoke
    /// What is published again after a failure comes in another order.
    case retryThatReorders
    /// A transaction whose partitions were lost is committed all the same.
    case commitAfterLoss
    /// After a lost reply, memory is believed instead of the committed offsets.
    case memoryBelievedAfterLostReply
    /// Partitions are revoked, and nothing about them is forgotten.
    case revocationIgnored

    // In learning.
    /// Scoring sees a vector as soon as it is learnt.
    case vectorVisibleBeforeCommit
    /// A lesson's offset is committed, and the user's record is not.
    case labelLostAfterOffset
    /// Whether an update is made depends on the time of day.
    case updateFiredByTheClock
    /// Records of a task are taken before its state is there.
    case takenBeforeRestored
    /// A recall is answered before what was stored earlier.
    case recallOvertakesStore
    /// What a transaction of unknown fate has changed is not read back.
    case catchUpForgotten
    /// Views that wait for their post do not survive a move.
    case earlyViewsLost
    /// A task's state is read while a transaction of its last owner may still be committed.
    case restoredBeforeOffsets

    var isOfLearning: Bool {
        switch self {
        case .offsetsBeforeScores, .noAbortOnRevoke, .retryThatReorders, .commitAfterLoss,
            .memoryBelievedAfterLostReply, .revocationIgnored:
            false
        case .vectorVisibleBeforeCommit, .labelLostAfterOffset, .updateFiredByTheClock,
            .takenBeforeRestored, .recallOvertakesStore, .catchUpForgotten, .earlyViewsLost,
            .restoredBeforeOffsets:
            true
        }
    }
}

/// A score path with a bug at its seam: events and effects are bent on their way in and out, so
/// that the path itself holds no hooks for tests.
struct BuggyPath {
    private var path: SimulatedPath
    private let bug: PlantedBug?
    private var isTransactionOpen = false
    private var hasFailed = false
    private var swallowsAbort = false
    private var swallowsBegin = false
    private var commitsInsteadOfAborting = false

    init(_ configuration: ScorePathConfiguration, bug: PlantedBug?) {
        path = SimulatedPath(configuration: configuration)
        self.bug = bug
    }

    var load: SimulatedPath.Load { path.load }

    mutating func handle(_ event: SimulatedPath.Event, at now: Moment) -> [SimulatedPath.Effect] {
        guard let bug else { return path.handle(event, at: now) }
        var event = event
        switch (bug, event) {
        case (.noAbortOnRevoke, .revoked(let partitions)) where isTransactionOpen:
            swallowsAbort = true
            event = .lost(partitions)
        case (.commitAfterLoss, .lost) where isTransactionOpen:
            commitsInsteadOfAborting = true
        case (.revocationIgnored, .revoked(let partitions)):
            return [.confirmRevoked(partitions)]
        case (_, .published(.retry)), (_, .published(.abort)), (_, .published(.fatal)),
            (_, .published(.fenced)), (_, .published(.tooLarge)):
            hasFailed = true
        default:
            break
        }
        return path.handle(event, at: now).flatMap { bend($0, bug, at: now) }
    }

    private mutating func bend(
        _ effect: SimulatedPath.Effect, _ bug: PlantedBug, at now: Moment
    ) -> [SimulatedPath.Effect] {
        guard case .publish(let step) = effect else { return [effect] }
        switch step {
        case .begin: isTransactionOpen = true
        case .commit, .abort, .createProducer: isTransactionOpen = false
        default: break
        }
        switch (bug, step) {
        case (.offsetsBeforeScores, .sendOffsets(let offsets)):
            return [.publish(.commitOffsets(offsets))]
        case (.noAbortOnRevoke, .abort) where swallowsAbort:
            swallowsAbort = false
            swallowsBegin = true
            return handle(.published(.done), at: now)
        case (.noAbortOnRevoke, .begin) where swallowsBegin:
            swallowsBegin = false
            return handle(.published(.done), at: now)
        case (.noAbortOnRevoke, .createProducer):
            swallowsBegin = false
            return [effect]
        case (.labelLostAfterOffset, .produce(let records)):
            return [.publish(.produce(records.filter { $0.topic != "users" }))]
        case (.retryThatReorders, .produce(let records)) where hasFailed:
            return [.publish(.produce(records.reversed()))]
        case (.commitAfterLoss, .abort) where commitsInsteadOfAborting:
            commitsInsteadOfAborting = false
            return [.publish(.commit)]
        case (.memoryBelievedAfterLostReply, .readCommitted):
            return handle(.published(.committed([:])), at: now)
        default:
            return [effect]
        }
    }
}

import Metrics
import Pipeline
import Synchronization

/// How the daemon is doing, for whoever shows it: written by the polling thread, read anywhere.
package final class StatusBoard: Sendable {
    package struct Status: Sendable {
        package var scored = 0
        package var expired = 0
        package var deadLettered = 0
        package var batches = 0
        /// Records behind the last stable offset, over all partitions assigned.
        package var lag: Int64 = 0
        package var inFlight = 0
        package var isPaused = false
        package var images = FeatureCache.Counts()
        package var learning = LearningStatus()
    }

    private let state = Mutex(Status())
    private let validation = Mutex(ProgressiveValidation())
    private let errors = Mutex(PageHinkley())
    private let learningMetrics: LearningMetrics
    private let scoringMetrics: ScoringMetrics
    package let readiness: Readiness

    /// - Parameter metrics: Where all of it goes as metrics, too.
    package init(metrics: any MetricsFactory = MetricsSystem.factory) {
        learningMetrics = LearningMetrics(metrics)
        scoringMetrics = ScoringMetrics(metrics)
        readiness = Readiness(metrics)
    }

    package var status: Status { state.withLock { $0 } }
    /// How the published scores fare beside others, since the start.
    package var learning: ProgressiveValidation.Snapshot { validation.withLock { $0.snapshot } }
    package var drift: PageHinkley { errors.withLock { $0 } }

    func serving(model: String, delivery: Delivery) {
        scoringMetrics.serving(model: model, delivery: delivery)
    }

    func read(_ topic: String) { scoringMetrics.read(topic) }

    /// - Returns: whether the error of the published scores has just been found to rise.
    func record(_ report: ScoreLoop.Path.Report) -> Bool {
        scoringMetrics.count(report)
        if case .learning(let report) = report { return record(report) }
        state.withLock { status in
            switch report {
            case .scored: status.scored += 1
            case .expired: status.expired += 1
            case .deadLettered: status.deadLettered += 1
            case .batchPublished: status.batches += 1
            default: break
            }
        }
        return false
    }

    private func record(_ report: LearningReport) -> Bool {
        state.withLock { $0.learning.count(report) }
        learningMetrics.count(report)
        guard case .judged(let label) = report else { return false }
        guard let judgement = validation.withLock({ $0.judge(label) }), label.teaches else {
            return false
        }
        learningMetrics.show(learning)
        let error = Double(abs(judgement.published - judgement.label))
        return errors.withLock { $0.observe(error) }
    }

    func show(
        _ users: LearnedUsers.Metrics, lostEncodings: Int, updateMilliseconds: Milliseconds
    ) {
        state.withLock { status in
            status.learning.users = users.users
            status.learning.userBytes = users.bytes
            status.learning.lostEncodings = lostEncodings
            status.learning.updateMilliseconds = Double(updateMilliseconds)
        }
        scoringMetrics.show(
            users, lostEncodings: lostEncodings, updateMilliseconds: updateMilliseconds)
    }

    func show(_ images: FeatureCache.Counts) {
        state.withLock { $0.images = images }
        scoringMetrics.count(images)
    }

    func show(load: ScoreLoop.Path.Load, lag: [Partition: Int64]) {
        scoringMetrics.show(load, lag)
        state.withLock { status in
            status.lag = lag.values.reduce(0, +)
            status.inFlight = load.records
            status.isPaused = load.isPaused
        }
    }
}

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
    }

    private let state = Mutex(Status())

    package init() {}

    package var status: Status { state.withLock { $0 } }

    func record(_ report: ScoreLoop.Path.Report) {
        state.withLock { status in
            switch report {
            case .scored: status.scored += 1
            case .expired: status.expired += 1
            case .deadLettered: status.deadLettered += 1
            case .batchPublished: status.batches += 1
            default: break
            }
        }
    }

    func show(_ images: FeatureCache.Counts) {
        state.withLock { $0.images = images }
    }

    func show(load: ScoreLoop.Path.Load, lag: Int64) {
        state.withLock { status in
            status.lag = lag
            status.inFlight = load.records
            status.isPaused = load.isPaused
        }
    }
}

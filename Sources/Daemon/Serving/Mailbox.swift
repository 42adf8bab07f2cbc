import Glibc
import Pipeline
import Synchronization

/// Where worker threads leave their answers for the polling thread.
///
/// Bounded by what is asked for: `ScorePath` has a stated number of preparations and scores
/// outstanding, each answered once.
final class Mailbox: Sendable {
    private struct State {
        var events: [ScoreLoop.Event] = []
        /// Wakes the polling thread out of its wait.
        var wake: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())

    func post(_ event: ScoreLoop.Event) {
        let wake = state.withLock { state in
            state.events.append(event)
            return state.wake
        }
        wake?()
    }

    func take() -> [ScoreLoop.Event] {
        state.withLock { state in
            defer { state.events = [] }
            return state.events
        }
    }

    /// Returns when something is there or the time is up. For the rebalance callback, where the
    /// consumer's own wait, which `onPost` interrupts, is not to be had.
    func wait(milliseconds: Int) {
        for _ in 0..<milliseconds {
            if state.withLock({ !$0.events.isEmpty }) { return }
            usleep(1_000)
        }
    }

    func onPost(_ wake: (@Sendable () -> Void)?) {
        state.withLock { $0.wake = wake }
    }
}

import Dispatch
import Glibc
import Model
import NIOPosix
import Pipeline
import Synchronization

/// The thread that updates vectors, one after the other, where nobody else has need of the
/// processor: scoring goes first.
final class LearningThread: Sendable {
    /// Linux's SCHED_IDLE, which glibc's headers show to GNU sources alone.
    private static let idlePolicy: CInt = 5

    private let pool = NIOThreadPool(numberOfThreads: 1)
    /// Reads encodings, in a turn like any other: whoever holds the file's lock and does not get the
    /// processor would hold up scoring, which keeps encodings in the same file.
    private let reading = NIOThreadPool(numberOfThreads: 1)
    private let clock: Clock
    private let spent = Mutex<Milliseconds>(0)
    /// Touched by the pool's thread alone.
    private nonisolated(unsafe) var learner: UserLearner?
    private let bundle: ModelBundle
    private let rule: UpdateRule
    private let threads: Int
    private let state: LearningState

    /// - Parameter threads: that work on one update.
    init(
        bundle: ModelBundle, rule: UpdateRule, threads: Int, state: LearningState, clock: Clock
    ) {
        self.clock = clock
        self.bundle = bundle
        self.rule = rule
        self.threads = threads
        self.state = state
        pool.start()
        reading.start()
    }

    /// What updates have taken since the start, waits for the processor included.
    var milliseconds: Milliseconds { spent.withLock { $0 } }

    /// Answers once, unless the daemon stops meanwhile.
    func learn(
        _ learner: LearnerState, in task: Int32,
        answer: @escaping @Sendable (LearningResult) -> Void
    ) {
        reading.submit { [self] state in
            guard state == .active else { return }
            let encodings = learner.posts.reduce(into: [CodePoints: [UInt8]]()) { read, post in
                read[CodePoints(post.pid)] = self.state.encoding(
                    uid: learner.uid, pid: post.pid, in: task)
            }
            // No other user's are read meanwhile: a window of them takes some megabytes.
            let done = DispatchSemaphore(value: 0)
            pool.submit { [self] state in
                defer { done.signal() }
                guard state == .active else { return }
                let start = clock.now.uptime
                let result = ready().learn(learner) { encodings[CodePoints($0)] }
                spent.withLock { $0 += clock.now.uptime - start }
                answer(result)
            }
            done.wait()
        }
    }

    private func ready() -> UserLearner {
        if let learner { return learner }
        // The learner's team of workers inherits it. Where it is refused, learning is only less shy.
        var parameters = sched_param()
        sched_setscheduler(0, Self.idlePolicy, &parameters)
        let learner = UserLearner(bundle: bundle, rule: rule, workers: Workers(count: threads))
        self.learner = learner
        return learner
    }

    func shutdown() async {
        try? await reading.shutdownGracefully()
        try? await pool.shutdownGracefully()
    }
}

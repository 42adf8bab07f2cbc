import NIOPosix
import Synchronization

/// Threads for calls that block (name resolution, file system), away from Swift's own few threads.
final class BlockingCalls: Sendable {
    private let pool: NIOThreadPool

    init(threadCount: Int) {
        pool = NIOThreadPool(numberOfThreads: threadCount)
        pool.start()
    }

    /// Runs `work` on one of the threads. If the waiting task is cancelled the wait ends at once: a
    /// call already begun is left to end by itself, one that is still queued is skipped.
    func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value
    {
        let waiter = Waiter<Value>()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard waiter.begin(continuation) else { return }
                pool.submit { state in
                    guard waiter.isWaiting else { return }
                    waiter.resume(
                        with: state == .active
                            ? Result(catching: work) : .failure(CancellationError()))
                }
            }
        } onCancel: {
            waiter.resume(with: .failure(CancellationError()))
        }
    }

    /// Skips what is queued and does not wait for a call that hangs: its thread ends when the call
    /// returns.
    func shutdown() {
        pool.shutdownGracefully { _ in }
    }

    /// A continuation that the first of two (the call's end, the cancellation) resumes.
    private final class Waiter<Value: Sendable>: Sendable {
        private enum State {
            case idle
            case waiting(CheckedContinuation<Value, any Error>)
            case done
        }
        private let state = Mutex(State.idle)

        /// False if the task was cancelled before the wait began.
        func begin(_ continuation: CheckedContinuation<Value, any Error>) -> Bool {
            let isCancelled = state.withLock { state in
                if case .done = state { return true }
                state = .waiting(continuation)
                return false
            }
            if isCancelled { continuation.resume(throwing: CancellationError()) }
            return !isCancelled
        }

        var isWaiting: Bool {
            state.withLock { if case .waiting = $0 { true } else { false } }
        }

        func resume(with result: Result<Value, any Error>) {
            let continuation: CheckedContinuation<Value, any Error>? = state.withLock { state in
                defer { state = .done }
                guard case .waiting(let continuation) = state else { return nil }
                return continuation
            }
            continuation?.resume(with: result)
        }
    }
}

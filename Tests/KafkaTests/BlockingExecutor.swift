import Dispatch
import Testing

/// Kafka calls block, and most of a test's time is waiting. Suites with this trait run their tests
/// on threads of their own, a bounded number at a time, instead of on the few of Swift's pool.
struct Blocking: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(BlockingExecutor.shared) { try await function() }
    }
}

extension Trait where Self == Blocking {
    static var blocking: Self { Self() }
}

private final class BlockingExecutor: TaskExecutor {
    static let shared = BlockingExecutor()

    private let queue = DispatchQueue(label: "blocking tests", attributes: .concurrent)
    private let gate = DispatchSemaphore(value: 24)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { [self] in
            gate.wait()
            defer { gate.signal() }
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}

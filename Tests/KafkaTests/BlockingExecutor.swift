import Dispatch
import Glibc
import Synchronization
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

/// Threads of its own, not Dispatch's: Swift's pool shares those, and a test that blocks on one
/// could keep another from ever going on.
private final class BlockingExecutor: TaskExecutor {
    static let shared = BlockingExecutor(threads: 24)

    private let jobs = Mutex<[UnownedJob]>([])
    private let waiting = DispatchSemaphore(value: 0)

    init(threads: Int) {
        for _ in 0..<threads {
            var thread = pthread_t()
            pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    Unmanaged<BlockingExecutor>.fromOpaque(context).takeUnretainedValue().work()
                    return nil
                }, Unmanaged.passRetained(self).toOpaque())
        }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
        waiting.signal()
    }

    private func work() {
        while true {
            waiting.wait()
            let job = jobs.withLock { $0.removeFirst() }
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}

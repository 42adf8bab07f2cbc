import Glibc
import Synchronization

/// A fixed team of threads that share the tasks of one loop at a time.
///
/// Between the loops of one computation a thread looks out for the next one for a few
/// microseconds before it sleeps: waking a sleeping thread takes longer than many a loop. An idle
/// team sleeps.
///
/// The caller works too: a team of n has n - 1 threads of its own. Which thread runs a task is
/// left to chance, so a task must not depend on it; everything in this module then gives the same
/// bits for every team size. One caller at a time.
package final class Workers: Sendable {
    package let count: Int
    private let loop = SharedLoop()
    private let threads: [pthread_t]

    /// - Parameter count: threads including the caller's, at least 1.
    package init(count: Int) {
        self.count = max(1, count)
        let loop = loop
        threads = (1..<max(1, count)).compactMap { worker in
            let start = Unmanaged.passRetained(Start(loop: loop, worker: worker))
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
                    start.loop.serve(worker: start.worker)
                    return nil
                }, start.toOpaque())
            guard status == 0 else {
                start.release()  // fewer threads: slower, still right
                return nil
            }
            return thread
        }
    }

    deinit {
        loop.close()
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Runs `body(task, worker)` for every task in 0..<tasks and returns when all are done.
    /// `worker` is in 0..<count and belongs to one thread for the duration of a task: an index
    /// for scratch memory.
    package func run(tasks: Int, _ body: @escaping (_ task: Int, _ worker: Int) -> Void) {
        guard threads.count > 0, tasks > 1 else {
            for task in 0..<max(0, tasks) { body(task, 0) }
            return
        }
        loop.run(tasks: tasks, body)
    }

    private final class Start {
        let loop: SharedLoop
        let worker: Int
        init(loop: SharedLoop, worker: Int) {
            self.loop = loop
            self.worker = worker
        }
    }
}

/// The loop in hand, shared by the team's threads, which outlive `Workers` by a moment.
private final class SharedLoop: @unchecked Sendable {
    // Sendable: everything that changes is guarded by `mutex`.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    private var body: ((_ task: Int, _ worker: Int) -> Void)?
    private var next = 0
    private var end = 0
    private var unfinished = 0
    private var isClosing = false
    private var sleeping = 0

    // The same for those who look without the mutex: a hint, never the decision.
    private let loopsBegun = Atomic<Int>(0)
    private let loopsEnded = Atomic<Int>(0)

    /// About what waking a thread takes.
    private static let lookoutNanoseconds = 40_000

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(done, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(wake)
        pthread_cond_destroy(done)
        mutex.deallocate()
        wake.deallocate()
        done.deallocate()
    }

    func run(tasks: Int, _ body: @escaping (_ task: Int, _ worker: Int) -> Void) {
        pthread_mutex_lock(mutex)
        self.body = body
        next = 0
        end = tasks
        unfinished = tasks
        let loop = loopsBegun.wrappingAdd(1, ordering: .releasing).newValue
        if sleeping > 0 { pthread_cond_broadcast(wake) }
        takeTasks(worker: 0)
        if unfinished > 0 {
            pthread_mutex_unlock(mutex)
            lookOut { self.loopsEnded.load(ordering: .acquiring) == loop }
            pthread_mutex_lock(mutex)
        }
        while unfinished > 0 { pthread_cond_wait(done, mutex) }
        self.body = nil
        pthread_mutex_unlock(mutex)
    }

    func serve(worker: Int) {
        pthread_mutex_lock(mutex)
        while !isClosing {
            takeTasks(worker: worker)
            let seen = loopsBegun.load(ordering: .relaxed)
            pthread_mutex_unlock(mutex)
            lookOut { self.loopsBegun.load(ordering: .acquiring) != seen }
            pthread_mutex_lock(mutex)
            if next == end, !isClosing {
                sleeping += 1
                pthread_cond_wait(wake, mutex)
                sleeping -= 1
            }
        }
        pthread_mutex_unlock(mutex)
    }

    /// Returns when `isThere`, or after a moment.
    private func lookOut(_ isThere: () -> Bool) {
        let start = nanoseconds()
        while !isThere(), nanoseconds() - start < Self.lookoutNanoseconds {}
    }

    private func nanoseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    func close() {
        pthread_mutex_lock(mutex)
        isClosing = true
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
    }

    /// Called with the mutex held; returns with it held.
    private func takeTasks(worker: Int) {
        while next < end, let body {
            let task = next
            next += 1
            pthread_mutex_unlock(mutex)
            body(task, worker)
            pthread_mutex_lock(mutex)
            unfinished -= 1
            if unfinished == 0 {
                loopsEnded.store(loopsBegun.load(ordering: .relaxed), ordering: .releasing)
                pthread_cond_signal(done)
            }
        }
    }
}

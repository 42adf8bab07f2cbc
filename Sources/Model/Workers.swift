import Glibc

/// A fixed team of threads that share the tasks of one loop at a time.
///
/// The caller works too: a team of n has n - 1 threads of its own. Which thread runs a task is
/// left to chance, so a task must not depend on it; everything in this module then gives the same
/// bits for every team size. One caller at a time.
package final class Workers: @unchecked Sendable {
    // Sendable: every stored property is either constant or guarded by `mutex`.
    package let count: Int
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private let done: UnsafeMutablePointer<pthread_cond_t>
    private var threads: [pthread_t] = []

    private typealias Body = (_ task: Int, _ worker: Int) -> Void
    private var body: Body?
    private var next = 0
    private var end = 0
    private var unfinished = 0
    private var closing = false

    /// - Parameter count: threads including the caller's, at least 1.
    package init(count: Int) {
        self.count = max(1, count)
        mutex = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        done = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(done, nil)
        for worker in 1..<max(1, self.count) where self.count > 1 {
            var thread = pthread_t()
            // The thread holds the team unowned: deinit joins it before the memory goes.
            let start = Unmanaged.passRetained(Start(team: self, worker: worker))
            let status = pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
                    start.team.serve(worker: start.worker)
                    return nil
                }, start.toOpaque())
            if status == 0 {
                threads.append(thread)
            } else {
                start.release()  // fewer threads: slower, still right
            }
        }
    }

    deinit {
        pthread_mutex_lock(mutex)
        closing = true
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
        for thread in threads { pthread_join(thread, nil) }
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(wake)
        pthread_cond_destroy(done)
        mutex.deallocate()
        wake.deallocate()
        done.deallocate()
    }

    /// Runs `body(task, worker)` for every task in 0..<tasks and returns when all are done.
    /// `worker` is in 0..<count and belongs to one thread for the duration of a task: an index
    /// for scratch memory.
    package func run(tasks: Int, _ body: @escaping (_ task: Int, _ worker: Int) -> Void) {
        guard threads.count > 0, tasks > 1 else {
            for task in 0..<max(0, tasks) { body(task, 0) }
            return
        }
        pthread_mutex_lock(mutex)
        self.body = body
        next = 0
        end = tasks
        unfinished = tasks
        pthread_cond_broadcast(wake)
        takeTasks(worker: 0)
        while unfinished > 0 { pthread_cond_wait(done, mutex) }
        self.body = nil
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
            if unfinished == 0 { pthread_cond_signal(done) }
        }
    }

    private func serve(worker: Int) {
        pthread_mutex_lock(mutex)
        while !closing {
            takeTasks(worker: worker)
            if closing { break }
            pthread_cond_wait(wake, mutex)
        }
        pthread_mutex_unlock(mutex)
    }

    private final class Start {
        unowned let team: Workers
        let worker: Int
        init(team: Workers, worker: Int) {
            self.team = team
            self.worker = worker
        }
    }
}

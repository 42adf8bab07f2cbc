import Model
import Synchronization
import Testing

struct WorkersTests {
    @Test(arguments: [1, 2, 3, 8])
    func everyTaskRunsOnce(threads: Int) {
        let workers = Workers(count: threads)
        for tasks in [0, 1, 2, 7, 1_000] {
            let runs = Mutex([Int](repeating: 0, count: tasks))
            workers.run(tasks: tasks) { task, worker in
                #expect((0..<threads).contains(worker))
                runs.withLock { $0[task] += 1 }
            }
            #expect(runs.withLock { $0.allSatisfy { $0 == 1 } })
        }
    }

    /// A worker's scratch memory belongs to one task at a time.
    @Test func noTwoTasksShareAWorkerAtATime() {
        let workers = Workers(count: 4)
        let busy = Mutex([Bool](repeating: false, count: 4))
        let clashes = Mutex(0)
        workers.run(tasks: 2_000) { _, worker in
            let wasBusy = busy.withLock { busy in
                defer { busy[worker] = true }
                return busy[worker]
            }
            if wasBusy { clashes.withLock { $0 += 1 } }
            busy.withLock { $0[worker] = false }
        }
        #expect(clashes.withLock { $0 } == 0)
    }

    /// The team may go before its threads have begun.
    @Test func teamsComeAndGo() {
        for _ in 0..<500 {
            Workers(count: 3).run(tasks: 3) { _, _ in }
        }
    }
}

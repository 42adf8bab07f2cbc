import CKernels
import Synchronization

/// What this machine can do at most, measured: the floor of every benchmark.
package struct MachinePeak: Sendable {
    /// Multiply-adds on registers alone, all workers together; a multiply-add is two operations.
    package let operationsPerSecond: Double
    /// Reading memory far larger than any cache, all workers together.
    package let bytesPerSecond: Double

    /// Takes about half a second. The best of several tries counts: a floor must not depend on
    /// what else the machine happened to do.
    package static func measure(
        kernels: Kernels, workers: Workers, nanoseconds: @escaping () -> UInt64
    ) -> MachinePeak {
        let tries = 5
        let table = kernels.table
        func best(_ work: (_ worker: Int) -> Double) -> Double {
            withoutActuallyEscaping(work) { work in
                (0..<tries).map { _ in
                    let done = Mutex(0.0)
                    let start = nanoseconds()
                    workers.run(tasks: workers.count) { task, _ in
                        let amount = work(task)
                        done.withLock { $0 += amount }
                    }
                    return done.withLock { $0 } * 1e9 / Double(nanoseconds() - start)
                }.max() ?? 0
            }
        }
        let operations = best { _ in
            var result: Float = 0
            return table.pointee.peak(2_000_000, &result)
        }
        let each = (128 << 20) / 4
        let memory = FloatMemory(zeros: each * workers.count)
        let bytes = best { worker in
            _ = ck_sum(memory.start + worker * each, each)
            return Double(each * 4)
        }
        return MachinePeak(operationsPerSecond: operations, bytesPerSecond: bytes)
    }
}

import CKernels

/// How fast the weights of an LSTM come in that no second-level cache holds: the floor under a
/// word. For a benchmark to time.
package final class WeightReading {
    private static let units = 512

    private let kernels: Kernels
    private let workers: Workers
    /// For each thread: the weights of 512 units, 4 MB, and the vectors of a step.
    private let steps:
        [(weights: FloatMemory, vectors: FloatMemory, cell: FloatMemory, hidden: FloatMemory)]

    package init(kernels: Kernels, workers: Workers) {
        self.kernels = kernels
        self.workers = workers
        steps = (0..<workers.count).map { _ in
            (
                FloatMemory(zeros: Self.units * gates * Self.units),
                FloatMemory(zeros: max(Self.units, gates * kernels.panel)),
                FloatMemory(zeros: kernels.panel), FloatMemory(zeros: kernels.panel)
            )
        }
    }

    /// Two steps of every thread on weights of its own, to and fro.
    /// - Returns: the bytes read.
    package func run() -> Int {
        let (table, panel) = (kernels.table, kernels.panel)
        let (piece, pieces) = (Self.units * gates * panel, Self.units / panel)
        workers.run(tasks: workers.count) { [steps] task, _ in
            let (weights, vectors, cell, hidden) = steps[task]
            for turn in 0..<2 * pieces {
                let place = turn < pieces ? turn : 2 * pieces - 1 - turn
                table.pointee.lstm(
                    vectors.start, vectors.start, vectors.start, Self.units,
                    weights.start + place * piece, cell.start, hidden.start, 0)
            }
        }
        return workers.count * 2 * pieces * piece * 4
    }
}

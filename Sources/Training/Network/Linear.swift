import CKernels
import Model

typealias Floats = UnsafeMutablePointer<Float>

/// y = x W and its derivatives: the three products that training spends its time in.
///
/// All results are the same for every number of threads: how sums are cut up depends on the shapes
/// alone.
final class Linear {
    let inputs: Int
    /// Columns of y, filled up.
    let stride: Int
    /// Columns of x_back, filled up.
    let inputStride: Int
    private let parameters: Parameters
    private let slot: Parameters.Slot
    private let kernels: Kernels
    private let workers: Workers
    /// W and its transpose, packed.
    private let forward: FloatMemory
    private let backward: FloatMemory?
    /// For each thread: some rows of y_back, packed.
    private let packing: [FloatMemory]

    /// Rows whose outer products are added up before the sums go back to memory: a packed panel of
    /// them stays in the second-level cache.
    private static let rowsAtATime = 256
    /// Rows in a task of a product of many rows.
    private static let rowsOfTask = 192

    /// - Parameter givesInputBack: whether anybody asks for x_back.
    init(
        _ parameters: Parameters, _ slot: Parameters.Slot, givesInputBack: Bool, _ kernels: Kernels,
        _ workers: Workers
    ) {
        self.parameters = parameters
        self.slot = slot
        self.kernels = kernels
        self.workers = workers
        inputs = slot.rows
        stride = slot.stride
        inputStride = kernels.padded(slot.rows)
        forward = FloatMemory(count: slot.rows * slot.stride)
        backward = givesInputBack ? FloatMemory(count: slot.stride * inputStride) : nil
        packing = (0..<workers.count).map { _ in
            FloatMemory(count: Self.rowsAtATime * kernels.panel)
        }
    }

    private var panels: Int { stride / kernels.panel }
    private var table: UnsafePointer<ck_kernels> { kernels.table }

    /// To be called whenever the parameters have changed.
    func pack() {
        let weight = parameters.value(slot)
        let (panel, inputs, stride) = (kernels.panel, inputs, stride)
        let inputPanels = backward == nil ? 0 : inputStride / panel
        workers.run(tasks: panels + inputPanels) { task, _ in
            if task < self.panels {
                self.table.pointee.pack(
                    weight + task * panel, stride, inputs, panel,
                    self.forward.start + task * inputs * panel)
            } else if let backward = self.backward {
                let first = (task - self.panels) * panel
                self.table.pointee.pack_transposed(
                    weight + first * stride, stride, stride, min(panel, inputs - first),
                    backward.start + first * stride)
            }
        }
    }

    // MARK: y = x W

    /// y (rows, stride) = x (rows, inputs) W, by the calling thread.
    func apply(_ x: UnsafePointer<Float>, stride xStride: Int, rows: Int, into y: Floats) {
        apply(x, xStride, rows, panels: 0..<panels, into: y)
    }

    private func apply(
        _ x: UnsafePointer<Float>, _ xStride: Int, _ rows: Int, panels: Range<Int>, into y: Floats
    ) {
        for panel in panels {
            table.pointee.multiply(
                x, xStride, rows, forward.start + panel * inputs * kernels.panel, inputs,
                y + panel * kernels.panel, stride)
        }
    }

    /// The same by all threads.
    func multiply(_ x: UnsafePointer<Float>, stride xStride: Int, rows: Int, into y: Floats) {
        inParallel(rows: rows, panels: panels) { rows, panels in
            self.apply(
                x + rows.lowerBound * xStride, xStride, rows.count, panels: panels,
                into: y + rows.lowerBound * self.stride)
        }
    }

    /// Many rows are divided among the tasks, few rows' panels are.
    private func inParallel(
        rows: Int, panels: Int, _ body: @escaping (Range<Int>, Range<Int>) -> Void
    ) {
        guard rows > 0 else { return }
        let tasks = dividedUp(rows, Self.rowsOfTask)
        if tasks > 3 || panels == 1 {
            workers.run(tasks: tasks) { task, _ in
                body(rows * task / tasks..<rows * (task + 1) / tasks, 0..<panels)
            }
        } else {
            workers.run(tasks: panels) { panel, _ in body(0..<rows, panel..<panel + 1) }
        }
    }

    // MARK: x_back

    /// x_back (rows, inputStride) += y_back (rows, stride) W^T, by the calling thread.
    func addInputBack(_ yBack: UnsafePointer<Float>, rows: Int, into xBack: Floats) {
        addInputBack(yBack, rows, panels: 0..<inputStride / kernels.panel, into: xBack)
    }

    private func addInputBack(
        _ yBack: UnsafePointer<Float>, _ rows: Int, panels: Range<Int>, into xBack: Floats
    ) {
        guard let backward else { return }
        for panel in panels {
            table.pointee.multiply_add(
                yBack, stride, rows, backward.start + panel * stride * kernels.panel, stride,
                xBack + panel * kernels.panel, inputStride)
        }
    }

    /// The same by all threads.
    func inputBack(_ yBack: UnsafePointer<Float>, rows: Int, addedTo xBack: Floats) {
        inParallel(rows: rows, panels: inputStride / kernels.panel) { rows, panels in
            self.addInputBack(
                yBack + rows.lowerBound * self.stride, rows.count, panels: panels,
                into: xBack + rows.lowerBound * self.inputStride)
        }
    }

    // MARK: W_back

    /// W_back += x^T y_back.
    /// - Parameters:
    ///   - pieces: the rows of x, in the order of those of y_back, piece by piece.
    ///   - yBack: (rows of all pieces, stride).
    func weightBack(
        _ pieces: [(x: UnsafePointer<Float>, rows: Int)], stride xStride: Int,
        _ yBack: UnsafePointer<Float>
    ) {
        let (panel, inputs, stride) = (kernels.panel, inputs, stride)
        // A task has some panels of all inputs where there are many panels, or else some inputs of
        // one panel: enough tasks for the threads, while x is not read too often.
        let panelsOfTask = panels >= 8 ? 2 : 1
        let columns = dividedUp(panels, panelsOfTask)
        let rowTasks = max(1, min(dividedUp(8, columns), inputs / 24))
        let gradient = parameters.gradient(slot)
        workers.run(tasks: columns * rowTasks) { task, worker in
            let row = task % rowTasks
            let mine = inputs * row / rowTasks..<inputs * (row + 1) / rowTasks
            let first = task / rowTasks * panelsOfTask
            let packed = self.packing[worker].start
            var y = yBack
            for piece in pieces {
                for at in Swift.stride(from: 0, to: piece.rows, by: Self.rowsAtATime) {
                    let rows = min(Self.rowsAtATime, piece.rows - at)
                    for place in first..<min(first + panelsOfTask, self.panels) {
                        self.table.pointee.pack(y + place * panel, stride, rows, panel, packed)
                        self.table.pointee.multiply_transposed_add(
                            piece.x + at * xStride + mine.lowerBound, xStride, mine.count, packed,
                            rows, gradient + mine.lowerBound * stride + place * panel, stride)
                    }
                    y += rows * stride
                }
            }
        }
    }

    func weightBack(
        _ x: UnsafePointer<Float>, stride xStride: Int, rows: Int, _ yBack: UnsafePointer<Float>
    ) {
        weightBack([(x, rows)], stride: xStride, yBack)
    }
}

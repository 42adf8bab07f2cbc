import CKernels
import Model

/// H = LSTM(X) for the texts of a batch, and its way back through time. Equations: MODEL.md of the
/// Model module.
///
/// Rows are words, the texts one after the other. At each step all texts of a group that are still
/// going on are the rows of one product with the recurrent weights; groups are the tasks of the
/// threads, who need not wait for each other between the steps.
final class Recurrence {
    private static let textsOfGroup = 32
    private static let gateCount = 4

    private let width: Int
    private let input: Linear
    private let recurrent: Linear
    private let parameters: Parameters
    private let biasSlot: Parameters.Slot
    private let kernels: Kernels
    private let workers: Workers
    private let hard: Int32

    /// H: (rows, width).
    let hidden: FloatMemory
    /// The gates' values, then the derivatives by what is inside of them: (rows, 4 width).
    private let gates: FloatMemory
    private let cells: FloatMemory
    /// The hidden state of the step before; zeros at the first.
    private let before: FloatMemory
    private let scratch: [Scratch]
    private var groups: [[Range<Int>]] = []
    private var rows = 0

    private struct Scratch {
        let states: FloatMemory
        let gates: FloatMemory
        let cellBack: FloatMemory
        let hiddenBack: FloatMemory

        init(texts: Int, width: Int) {
            states = FloatMemory(zeros: texts * width)
            gates = FloatMemory(zeros: texts * gateCount * width)
            cellBack = FloatMemory(zeros: texts * width)
            hiddenBack = FloatMemory(zeros: texts * width)
        }
    }

    init(
        _ parts: NetworkParts, dimension: Int, gate: BundleConfiguration.Gate, maximumRows: Int
    ) throws(TrainingError) {
        parameters = parts.parameters
        kernels = parts.kernels
        workers = parts.workers
        width = kernels.padded(dimension)
        input = try parts.linear("lstm.W", true)
        recurrent = try parts.linear("lstm.U", true)
        biasSlot = try parts.slot("lstm.b")
        hard = gate == .hardSigmoid ? 1 : 0
        hidden = FloatMemory(zeros: maximumRows * width)
        cells = FloatMemory(zeros: maximumRows * width)
        before = FloatMemory(zeros: maximumRows * width)
        gates = FloatMemory(zeros: maximumRows * Self.gateCount * width)
        let width = width
        scratch = (0..<workers.count).map { _ in Scratch(texts: Self.textsOfGroup, width: width) }
    }

    /// - Parameters:
    ///   - x: (rows, width).
    ///   - texts: the rows of each text, at least one each, together all rows.
    func forward(_ x: Floats, texts: [Range<Int>]) {
        rows = texts.last?.upperBound ?? 0
        // The longest first, so that the texts still going on are the first ones of a group.
        let ordered = texts.sorted {
            ($1.count, $0.lowerBound) < ($0.count, $1.lowerBound)
        }
        groups = stride(from: 0, to: ordered.count, by: Self.textsOfGroup).map {
            Array(ordered[$0..<min(ordered.count, $0 + Self.textsOfGroup)])
        }
        input.multiply(x, stride: width, rows: rows, into: gates.start)
        workers.run(tasks: groups.count) { task, worker in
            self.remember(self.groups[task], self.scratch[worker])
        }
    }

    private func remember(_ texts: [Range<Int>], _ scratch: Scratch) {
        let gateWidth = Self.gateCount * width
        let bias = parameters.value(biasSlot)
        for step in 0..<(texts.first?.count ?? 0) {
            let going = texts.prefix { $0.count > step }
            for (index, text) in going.enumerated() {
                let before = before.start + (text.lowerBound + step) * width
                if step == 0 {
                    before.update(repeating: 0, count: width)
                } else {
                    before.update(from: stateBefore(hidden, text, step), count: width)
                    (scratch.states.start + index * width).update(from: before, count: width)
                }
            }
            if step > 0 {
                recurrent.apply(
                    scratch.states.start, stride: width, rows: going.count,
                    into: scratch.gates.start)
            }
            for (index, text) in going.enumerated() {
                let row = text.lowerBound + step
                let gates = gates.start + row * gateWidth
                if step > 0 {
                    kernels.table.pointee.add_scaled(
                        gates, scratch.gates.start + index * gateWidth, 1, gateWidth)
                }
                kernels.table.pointee.lstm_gates(
                    gates, bias, step > 0 ? stateBefore(cells, text, step) : nil,
                    cells.start + row * width, hidden.start + row * width, width, hard)
            }
        }
    }

    private func stateBefore(_ memory: FloatMemory, _ text: Range<Int>, _ step: Int) -> Floats {
        memory.start + (text.lowerBound + step - 1) * width
    }

    /// - Parameters:
    ///   - hiddenBack: (rows, width); is used up.
    ///   - xBack: (rows, width), added to.
    func backward(_ x: Floats, hiddenBack: Floats, addedTo xBack: Floats) {
        workers.run(tasks: groups.count) { task, worker in
            self.recall(self.groups[task], hiddenBack, self.scratch[worker])
        }
        input.weightBack(x, stride: width, rows: rows, gates.start)
        recurrent.weightBack(before.start, stride: width, rows: rows, gates.start)
        input.inputBack(gates.start, rows: rows, addedTo: xBack)
        let (panel, gateWidth) = (kernels.panel, Self.gateCount * width)
        let biasBack = parameters.gradient(biasSlot)
        workers.run(tasks: gateWidth / panel) { task, _ in
            self.kernels.table.pointee.add_column_sums(
                self.gates.start + task * panel, gateWidth, self.rows, panel,
                biasBack + task * panel)
        }
    }

    private func recall(_ texts: [Range<Int>], _ hiddenBack: Floats, _ scratch: Scratch) {
        let gateWidth = Self.gateCount * width
        scratch.cellBack.start.update(repeating: 0, count: texts.count * width)
        for step in (0..<(texts.first?.count ?? 0)).reversed() {
            let going = texts.prefix { $0.count > step }
            for (index, text) in going.enumerated() {
                let row = text.lowerBound + step
                if text.count > step + 1 {
                    kernels.table.pointee.add_scaled(
                        hiddenBack + row * width, scratch.hiddenBack.start + index * width, 1,
                        width)
                }
                let gates = gates.start + row * gateWidth
                kernels.table.pointee.lstm_gates_back(
                    gates, step > 0 ? stateBefore(cells, text, step) : nil,
                    cells.start + row * width, hiddenBack + row * width,
                    scratch.cellBack.start + index * width, width, hard)
                (scratch.gates.start + index * gateWidth).update(from: gates, count: gateWidth)
            }
            if step > 0 {
                scratch.hiddenBack.start.update(repeating: 0, count: going.count * width)
                recurrent.addInputBack(
                    scratch.gates.start, rows: going.count, into: scratch.hiddenBack.start)
            }
        }
    }
}

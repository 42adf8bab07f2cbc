import CKernels
import Glibc
import Model

/// How a network learns (MODEL.md of the Model module, "Training").
package struct LearningRule: Sendable, Equatable, Codable {
    package var rate = 1e-3
    package var beta1 = 0.9
    package var beta2 = 0.999
    package var epsilon = 1e-8
    /// Times the sum of squares of the embeddings of the batch's words and of the dense biases.
    package var penalty = 1e-4
    /// Gradients whose norm is above this are scaled down to it; nil leaves them.
    package var maximumNorm: Double?

    package init() {}
}

/// A network, and Adam's steps on it: the squared error's mean over a batch, and a penalty.
///
/// The penalty on word embeddings is on the words of the batch alone: on the whole table Adam, which
/// normalises every gradient to about the learning rate, would pull words that a batch does not
/// contain to 0 within some hundred steps. Moments go on for all rows, as in PyTorch's Adam.
package final class Learner {
    package enum Kind: Sendable, Equatable {
        /// UHAN with the parts that the shape names.
        case attention
        /// Deep multi-modal fusion.
        case fusion(usesUser: Bool)
    }

    package let rule: LearningRule
    package let shape: HeadShape
    private let network: any TrainableNetwork
    private let kernels: Kernels
    private let workers: Workers
    package private(set) var steps = 0
    private var wordsSlot: Parameters.Slot

    /// - Parameter users: rows of the user table.
    package init(
        _ kind: Kind, shape: HeadShape, users: Int, maximumPosts: Int, rule: LearningRule,
        kernels: Kernels, workers: Workers
    ) throws(TrainingError) {
        self.rule = rule
        self.shape = shape
        self.kernels = kernels
        self.workers = workers
        switch kind {
        case .attention:
            network = try UHANNetwork(
                shape, users: users, maximumPosts: maximumPosts, kernels, workers)
        case .fusion(let usesUser):
            network = try FusionNetwork(
                shape, users: users, usesUser: usesUser, maximumPosts: maximumPosts, kernels,
                workers)
        }
        guard let words = network.parameters.slot("word") else {
            throw .invalid("the network has no word embedding")
        }
        wordsSlot = words
    }

    // MARK: Tensors

    package enum State: String, CaseIterable, Sendable {
        case values, gradients, means, squares
    }

    package var tensors: [(name: String, shape: [Int])] {
        network.parameters.slots.map { ($0.name, $0.shape) }
    }

    package func tensor(_ name: String, _ state: State = .values) -> [Float]? {
        network.parameters.slot(name).map { network.parameters.tensor($0, in: memory(state)) }
    }

    /// To be followed by `ready`.
    package func setTensor(
        _ name: String, _ tensor: [Float], _ state: State = .values
    ) throws(TrainingError) {
        guard let slot = network.parameters.slot(name),
            tensor.count == slot.rows * slot.columns
        else { throw .invalid("the network has no parameter '\(name)' of \(tensor.count) values") }
        network.parameters.setTensor(tensor, slot, in: memory(state))
    }

    private func memory(_ state: State) -> FloatMemory {
        switch state {
        case .values: network.parameters.values
        case .gradients: network.parameters.gradients
        case .means: network.parameters.means
        case .squares: network.parameters.squares
        }
    }

    /// After parameters were set from outside.
    /// - Parameter steps: those done before.
    package func ready(steps: Int = 0) {
        self.steps = steps
        network.pack()
    }

    // MARK: Learning

    /// The posts' scores; nothing is dropped.
    package func scores(_ batch: [TrainingSample]) -> [Float] {
        network.forward(batch, masks: DropoutMasks())
    }

    /// Replaces the gradients by those of the loss of one batch.
    /// - Returns: the mean squared error, and the loss: that and the penalty.
    package func takeGradients(
        _ batch: [TrainingSample], masks: DropoutMasks = DropoutMasks()
    ) -> (error: Double, loss: Double, scores: [Float]) {
        let parameters = network.parameters
        fill(parameters.gradients, with: 0)
        let scores = network.forward(batch, masks: masks)
        let count = Double(batch.count)
        let residuals = zip(scores, batch).map { Double($0) - Double($1.target) }
        network.backward(residuals.map { Float(2 * $0 / count) })
        let error = residuals.reduce(0) { $0 + $1 * $1 } / count
        return (error, error + addPenalty(batch), scores)
    }

    private func addPenalty(_ batch: [TrainingSample]) -> Double {
        let parameters = network.parameters
        var sum = 0.0
        func penalise(_ slot: Parameters.Slot, row: Int) {
            let start = row * slot.stride
            let (values, gradients) = (
                parameters.value(slot) + start, parameters.gradient(slot) + start
            )
            for k in 0..<slot.columns {
                sum += Double(values[k]) * Double(values[k])
                gradients[k] += Float(2 * rule.penalty) * values[k]
            }
        }
        let words = shape.parts.reads_text ? Set(batch.flatMap(\.wordIDs)) : []
        for word in words.sorted() { penalise(wordsSlot, row: Int(word)) }
        for bias in network.penalisedBiases { penalise(bias, row: 0) }
        return rule.penalty * sum
    }

    /// One step of Adam on a batch.
    /// - Returns: the loss before it.
    /// - Throws: where the loss or the gradients' norm is not finite: nothing has changed then.
    package func learn(
        _ batch: [TrainingSample], masks: DropoutMasks = DropoutMasks()
    ) throws(TrainingError) -> (error: Double, loss: Double) {
        let (error, loss, _) = takeGradients(batch, masks: masks)
        let norm = gradientNorm()
        guard loss.isFinite, norm.isFinite else {
            throw .invalid(
                "the training error is not finite any more at step \(steps + 1); train with a "
                    + "smaller learning rate, or with a bound on the gradients' norm")
        }
        // As PyTorch's clip_grad_norm_ has it.
        let scale = rule.maximumNorm.map { min(1, $0 / (norm + 1e-6)) } ?? 1
        steps += 1
        takeStep(gradientScale: scale)
        network.pack()
        return (error, loss)
    }

    private func takeStep(gradientScale: Double) {
        let parameters = network.parameters
        // Of the numbers that the kernel has.
        let correction1 = 1 - pow(Double(Float(rule.beta1)), Double(steps))
        let correction2 = 1 - pow(Double(Float(rule.beta2)), Double(steps))
        let step = ck_adam(
            gradient_scale: Float(gradientScale), rate: Float(rule.rate / correction1),
            root_scale: Float(1 / correction2.squareRoot()), beta1: Float(rule.beta1),
            beta2: Float(rule.beta2), epsilon: Float(rule.epsilon))
        forEachPiece { range in
            withUnsafePointer(to: step) { step in
                self.kernels.table.pointee.adam(
                    parameters.values.start + range.lowerBound,
                    parameters.gradients.start + range.lowerBound,
                    parameters.means.start + range.lowerBound,
                    parameters.squares.start + range.lowerBound, range.count, step)
            }
        }
    }

    private func gradientNorm() -> Double {
        let gradients = network.parameters.gradients
        let sums = PieceSums(count: dividedUp(gradients.count, Self.piece))
        forEachPiece { range in
            var sum: Float = 0
            self.kernels.table.pointee.dots(
                gradients.start + range.lowerBound, 1, gradients.start + range.lowerBound, 1,
                range.count, &sum, 1)
            sums.values[range.lowerBound / Self.piece] = Double(sum)
        }
        return sums.total.squareRoot()
    }

    private static let piece = 1 << 15

    private func fill(_ memory: FloatMemory, with value: Float) {
        forEachPiece { range in
            (memory.start + range.lowerBound).update(repeating: value, count: range.count)
        }
    }

    /// All parameters, in pieces for the threads.
    private func forEachPiece(_ body: @escaping (Range<Int>) -> Void) {
        let count = network.parameters.count
        workers.run(tasks: dividedUp(count, Self.piece)) { task, _ in
            body(task * Self.piece..<min(count, (task + 1) * Self.piece))
        }
    }
}

/// Sums of pieces, added up in order whoever made them.
private final class PieceSums: @unchecked Sendable {
    // Sendable: each task writes a place of its own.
    let values: UnsafeMutableBufferPointer<Double>

    init(count: Int) {
        values = .allocate(capacity: count)
        values.initialize(repeating: 0)
    }

    deinit { values.deallocate() }

    var total: Double { values.reduce(0, +) }
}

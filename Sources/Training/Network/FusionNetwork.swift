import CKernels
import Model

/// Deep multi-modal fusion: the mean image feature and the last state of an LSTM over the words, side
/// by side, then dense layers; an option puts the user's vector beside them. No attention. What a
/// post does not have is zeros.
final class FusionNetwork: TrainableNetwork {
    let parameters: Parameters
    let maximumPosts: Int
    private let shape: HeadShape
    private let kernels: Kernels
    private let linears: [Linear]
    private let width: Int
    private let inputs: Int
    private let inputStride: Int

    private let words: Embedding
    /// The table of users and the unknown one; nil where no user is read.
    private let users: (known: Embedding, unknown: Embedding)?
    private let recurrence: Recurrence
    private let dense: DenseLayers
    private let x: FloatMemory
    private let xBack: FloatMemory
    private let statesBack: FloatMemory
    /// What the dense layers read: (posts, channels + d, or + 2 d).
    private let joined: FloatMemory
    private let joinedBack: FloatMemory
    private var batch: [TrainingSample] = []
    private var texts: [Range<Int>?] = []
    private var masks = DropoutMasks()

    private var rows: Int { texts.reduce(0) { $0 + ($1?.count ?? 0) } }

    static func shapes(
        _ shape: HeadShape, users: Int, usesUser: Bool
    ) -> [(name: String, shape: [Int], blocks: Int)] {
        let d = shape.dimension
        let userTables: [(name: String, shape: [Int], blocks: Int)] =
            usesUser ? [("user", [max(1, users), d], 1), ("unknown", [d], 1)] : []
        return userTables + [
            ("word", [max(1, shape.vocabulary), d], 1),
            ("lstm.W", [d, 4 * d], 4), ("lstm.U", [d, 4 * d], 4), ("lstm.b", [4 * d], 4),
        ]
            + UHANNetwork.denseShapes(
                [shape.channels + (usesUser ? 2 : 1) * d] + shape.dense + [1])
    }

    init(
        _ shape: HeadShape, users: Int, usesUser: Bool, maximumPosts: Int, _ kernels: Kernels,
        _ workers: Workers
    ) throws(TrainingError) {
        let parts = NetworkParts(
            Self.shapes(shape, users: users, usesUser: usesUser), kernels, workers)
        let rows = maximumPosts * shape.maximumWords
        self.shape = shape
        self.maximumPosts = maximumPosts
        self.kernels = kernels
        width = kernels.padded(shape.dimension)
        inputs = shape.channels + (usesUser ? 2 : 1) * shape.dimension
        inputStride = kernels.padded(inputs)
        parameters = parts.parameters
        words = try Embedding(parameters, parts.slot("word"), kernels)
        self.users =
            usesUser
            ? (
                try Embedding(parameters, parts.slot("user"), kernels),
                try Embedding(parameters, parts.slot("unknown"), kernels)
            ) : nil
        recurrence = try Recurrence(
            parts, dimension: shape.dimension, gate: shape.gate, maximumRows: rows)
        dense = try DenseLayers(parts, count: shape.dense.count + 1, maximumPosts: maximumPosts)
        linears = parts.linears
        x = FloatMemory(zeros: rows * width)
        xBack = FloatMemory(zeros: rows * width)
        statesBack = FloatMemory(zeros: rows * width)
        joined = FloatMemory(zeros: maximumPosts * inputStride)
        joinedBack = FloatMemory(zeros: maximumPosts * inputStride)
    }

    var penalisedBiases: [Parameters.Slot] { dense.biases }

    func pack() {
        for linear in linears { linear.pack() }
    }

    func forward(_ batch: [TrainingSample], masks: DropoutMasks) -> [Float] {
        precondition(!batch.isEmpty && batch.count <= maximumPosts)
        (self.batch, self.masks) = (batch, masks)
        var row = 0
        texts = batch.map { sample in
            guard !sample.wordIDs.isEmpty else { return nil }
            defer { row += sample.wordIDs.count }
            return row..<row + sample.wordIDs.count
        }
        if row > 0 {
            words.take(wordRows, mask: masks.words, into: x.start)
            recurrence.forward(x.start, texts: texts.compactMap { $0 })
        }
        joined.start.update(repeating: 0, count: batch.count * inputStride)
        for (post, sample) in batch.enumerated() {
            let to = joined.start + post * inputStride
            if let features = sample.features { addMean(of: features, into: to) }
            if let text = texts[post] {
                (to + shape.channels).update(
                    from: recurrence.hidden.start + (text.upperBound - 1) * width,
                    count: shape.dimension)
            }
            if let (slot, row) = userSlot(of: post) {
                let vector = parameters.value(slot) + row * slot.stride
                for k in 0..<shape.dimension {
                    to[shape.channels + shape.dimension + k] = vector[k] * userMask(post, k)
                }
            }
        }
        return dense.forward(joined.start, stride: inputStride, rows: batch.count)
    }

    private var wordRows: [Int] { batch.flatMap { $0.wordIDs.map(Int.init) } }

    private func addMean(of features: UnsafePointer<Float>, into mean: Floats) {
        let channels = shape.channels
        for region in 0..<shape.regions {
            for c in 0..<channels { mean[c] += features[region * channels + c] }
        }
        for c in 0..<channels { mean[c] /= Float(shape.regions) }
    }

    private func userSlot(of post: Int) -> (Parameters.Slot, row: Int)? {
        users.map { users in
            batch[post].user.map { (users.known.slot, $0) } ?? (users.unknown.slot, 0)
        }
    }

    private func userMask(_ post: Int, _ k: Int) -> Float {
        masks.users.map { $0[post * shape.dimension + k] } ?? 1
    }

    func backward(_ scoresBack: [Float]) {
        joinedBack.start.update(repeating: 0, count: batch.count * inputStride)
        dense.backward(joined.start, stride: inputStride, scoresBack, addedTo: joinedBack.start)
        statesBack.start.update(repeating: 0, count: rows * width)
        for post in batch.indices {
            let back = joinedBack.start + post * inputStride + shape.channels
            if let text = texts[post] {
                (statesBack.start + (text.upperBound - 1) * width).update(
                    from: back, count: shape.dimension)
            }
            if let (slot, row) = userSlot(of: post) {
                let gradient = parameters.gradient(slot) + row * slot.stride
                for k in 0..<shape.dimension {
                    gradient[k] += back[shape.dimension + k] * userMask(post, k)
                }
            }
        }
        guard rows > 0 else { return }
        xBack.start.update(repeating: 0, count: rows * width)
        recurrence.backward(x.start, hiddenBack: statesBack.start, addedTo: xBack.start)
        words.addBack(wordRows, mask: masks.words, xBack.start)
    }
}

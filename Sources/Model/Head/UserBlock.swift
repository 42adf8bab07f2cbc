import CKernels

/// A user's part of the attention, computed once: tanh(u C) ⊙ h for each modality,
/// tanh(u W_u) ⊙ w, and u W_r; d values each.
package struct UserProjection: Sendable {
    let values: [Float]
}

/// A post's states as right sides of matrix products.
struct PackedStates {
    let text: PackedMatrix?
    let image: PackedMatrix?
}

/// The part of the network that depends on the user, for some users at once: users are the rows of
/// matrix products, so that weights are read once for all of them.
///
/// Scratch memory for one thread; the results of the last call stay in it until the next.
final class UserBlock {
    /// Enough for the weights to come in unnoticed; its memory about fits the second-level cache.
    static let maximumUsers = 60

    private typealias Rows = UnsafeMutablePointer<Float>

    private let weights: PackedHead
    private let kernels: Kernels
    private let d: Int
    /// Columns of d values, filled up.
    private let width: Int
    private let memory: FloatMemory

    /// Users x width: the four parts of the users' projections; `residual` becomes o + u W_r.
    private let textGuide: Rows
    private let imageGuide: Rows
    private let interGuide: Rows
    private let residual: Rows
    /// Users x width: the weighted sums t1 and v1; and what is not needed for long.
    private let textSummary: Rows
    private let imageSummary: Rows
    private let passing: Rows
    /// Users x words, users x regions, users x {text, image}: first energies, then weights.
    private let words: Attention
    private let regions: Attention
    private let modalities: Attention
    /// Users x the widest dense layer.
    private let activations: [Rows]
    /// The last layer's, whose first column is the score.
    private let output: Rows
    private let outputStride: Int

    private struct Attention {
        let start: Rows
        /// Columns, filled up.
        let width: Int
    }

    init(_ weights: PackedHead) {
        let (kernels, shape, users) = (weights.kernels, weights.shape, Self.maximumUsers)
        let width = kernels.padded(shape.dimension)
        let wordsWidth = kernels.padded(shape.maximumWords)
        let regionsWidth = kernels.padded(shape.regions)
        let modalitiesWidth = kernels.padded(2)
        let widest = weights.dense.reduce(0) { max($0, $1.weight.stride) }
        // Zeros: where rows are filled up, nothing else is ever written.
        let memory = FloatMemory(
            zeros: users * (7 * width + wordsWidth + regionsWidth + modalitiesWidth + 2 * widest))
        var used = memory.start
        func take(_ columns: Int) -> Rows {
            defer { used += users * columns }
            return used
        }
        self.weights = weights
        self.kernels = kernels
        d = shape.dimension
        self.width = width
        self.memory = memory
        textGuide = take(width)
        imageGuide = take(width)
        interGuide = take(width)
        residual = take(width)
        textSummary = take(width)
        imageSummary = take(width)
        passing = take(width)
        words = Attention(start: take(wordsWidth), width: wordsWidth)
        regions = Attention(start: take(regionsWidth), width: regionsWidth)
        modalities = Attention(start: take(modalitiesWidth), width: modalitiesWidth)
        activations = [take(widest), take(widest)]
        output = activations[(weights.dense.count - 1) % 2]
        outputStride = kernels.padded(1)
    }

    // MARK: Projection

    func project(_ users: ArraySlice<[Float]>) {
        for (row, user) in users.enumerated() {
            precondition(user.count == d)
            (passing + row * width).update(from: user, count: d)
        }
        func project(_ matrix: PackedMatrix, into guide: Rows, _ factor: PackedHead.Vector) {
            if weights.shape.parts.user_in_attention {
                matrix.multiply(passing, stride: width, rows: users.count, into: guide)
                kernels.table.pointee.tanh(guide, users.count * width)
                kernels.table.pointee.scale_columns(guide, factor.start, users.count, width)
            } else {
                for user in 0..<users.count {
                    (guide + user * width).update(from: factor.start, count: width)
                }
            }
        }
        project(weights.text.c, into: textGuide, weights.text.h)
        project(weights.image.c, into: imageGuide, weights.image.h)
        project(weights.inter.user, into: interGuide, weights.inter.w)
        if weights.shape.parts.user_term {
            weights.userResidual.multiply(
                passing, stride: width, rows: users.count, into: residual)
        } else {
            residual.update(repeating: 0, count: users.count * width)
        }
    }

    private var parts: [Rows] { [textGuide, imageGuide, interGuide, residual] }

    func projection(_ row: Int) -> UserProjection {
        let values = [Float](unsafeUninitializedCapacity: 4 * d) { values, count in
            for (index, part) in parts.enumerated() {
                (values.baseAddress.unsafelyUnwrapped + index * d)
                    .initialize(from: part + row * width, count: d)
            }
            count = 4 * d
        }
        return UserProjection(values: values)
    }

    // MARK: Scoring

    func score(
        _ encoding: PostEncoding, _ states: PackedStates, _ users: ArraySlice<UserProjection>
    ) {
        for (row, user) in users.enumerated() {
            user.values.withUnsafeBufferPointer { values in
                for (index, part) in parts.enumerated() {
                    (part + row * width)
                        .update(from: values.baseAddress.unsafelyUnwrapped + index * d, count: d)
                }
            }
        }
        let rows = users.count
        if let text = encoding.text, let states = states.text {
            attend(text, states, rows, textGuide, words, into: textSummary)
        }
        if let image = encoding.image, let states = states.image {
            attend(image, states, rows, imageGuide, regions, into: imageSummary)
        }
        weighModalities(rows, text: encoding.text != nil, image: encoding.image != nil)
        for row in 0..<rows {
            for (index, summary) in [textSummary, imageSummary].enumerated() {
                let weight = modalities.start[row * modalities.width + index]
                guard weight != 0 else { continue }
                kernels.table.pointee.add_scaled(
                    residual + row * width, summary + row * width, weight, width)
            }
        }
        runDenseLayers(rows)
    }

    /// e = guides · gated, weights = softmax(e), summary = weights · states. Without attention all
    /// weights are equal.
    private func attend(
        _ modality: PostEncoding.Modality, _ states: PackedMatrix, _ users: Int, _ guide: Rows,
        _ attention: Attention, into summary: Rows
    ) {
        if weights.shape.parts.intra_attention {
            kernels.table.pointee.dots(
                guide, users, modality.gated.start, modality.gated.rows, width, attention.start,
                attention.width)
        } else {
            attention.start.update(repeating: 0, count: users * attention.width)
        }
        softmax(attention, users, modality.gated.rows)
        states.multiply(attention.start, stride: attention.width, rows: users, into: summary)
    }

    private func softmax(_ attention: Attention, _ users: Int, _ count: Int) {
        for user in 0..<users {
            let row = attention.start + user * attention.width
            (row + count).update(repeating: -.infinity, count: attention.width - count)
            kernels.table.pointee.softmax(row, attention.width)
        }
    }

    /// gamma: 1 for a modality that is alone, 0 for one that is absent; without attention between the
    /// modalities 1 for both.
    private func weighModalities(_ users: Int, text: Bool, image: Bool) {
        guard text, image, weights.shape.parts.inter_attention else {
            for user in 0..<users {
                modalities.start[user * modalities.width] = text ? 1 : 0
                modalities.start[user * modalities.width + 1] = image ? 1 : 0
            }
            return
        }
        let sides = [(textSummary, weights.inter.text), (imageSummary, weights.inter.image)]
        for (index, (summary, matrix)) in sides.enumerated() {
            matrix.multiply(summary, stride: width, rows: users, into: passing)
            kernels.table.pointee.tanh(passing, users * width)
            for user in 0..<users {
                kernels.table.pointee.dots(
                    interGuide + user * width, 1, passing + user * width, 1, width,
                    modalities.start + user * modalities.width + index, 1)
            }
        }
        softmax(modalities, users, 2)
    }

    private func runDenseLayers(_ users: Int) {
        var (input, stride) = (residual, width)
        for (index, layer) in weights.dense.enumerated() {
            let to = activations[index % 2]
            if index < weights.dense.count - 1 {
                layer.weight.multiplyReLU(
                    input, stride: stride, rows: users, bias: layer.bias.start, into: to)
            } else {
                layer.weight.multiply(input, stride: stride, rows: users, into: to)
                for user in 0..<users { to[user * layer.weight.stride] += layer.bias.start[0] }
            }
            (input, stride) = (to, layer.weight.stride)
        }
    }

    // MARK: Results

    func score(_ row: Int) -> Float { output[row * outputStride] }

    func prediction(_ row: Int, _ encoding: PostEncoding) -> Prediction {
        func weights(_ attention: Attention, _ modality: PostEncoding.Modality?) -> [Float] {
            let row = attention.start + row * attention.width
            return Array(UnsafeBufferPointer(start: row, count: modality?.states.rows ?? 0))
        }
        let gamma = modalities.start + row * modalities.width
        return Prediction(
            score: score(row), words: weights(words, encoding.text),
            regions: weights(regions, encoding.image),
            modalities: .init(text: gamma[0], image: gamma[1]))
    }
}

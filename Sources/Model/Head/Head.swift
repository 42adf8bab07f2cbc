import CKernels
import COpenBLAS
import Glibc

/// The network behind the backbone (equations and notation: MODEL.md of this module):
/// features and words become a post's *encoding*, which knows no user; an encoding and a user
/// become a score. The first costs 0.2 G multiply-adds, the second 3 M, so a known post is scored
/// for another user almost for nothing.
///
/// Vectors are rows, `x W` is a row times a matrix. Immutable after loading; safe to share.
package final class Head: Sendable {
    package let dimension: Int
    package let channels: Int
    package let regions: Int
    package let hardGate: Bool

    private let word: Tensor
    private let lstmInput: Tensor
    private let lstmRecurrent: Tensor
    private let lstmBias: Tensor
    private let imageProjection: Tensor
    private let userResidual: Tensor
    private let text: IntraAttention
    private let image: IntraAttention
    private let inter: InterAttention
    private let dense: [Dense]

    /// Guided attention within one modality: A sees the modality, B the other one, C the user.
    private struct IntraAttention: Sendable {
        let a: Tensor
        let b: Tensor
        let c: Tensor
        let h: Tensor

        init(_ name: String, _ d: Int, in file: Safetensors) throws(ModelError) {
            a = try file.tensor("\(name).A", shape: [d, d])
            b = try file.tensor("\(name).B", shape: [d, d])
            c = try file.tensor("\(name).C", shape: [d, d])
            h = try file.tensor("\(name).h", shape: [d])
        }
    }

    /// Attention between the modalities, guided by the user.
    private struct InterAttention: Sendable {
        let text: Tensor
        let image: Tensor
        let user: Tensor
        let w: Tensor

        init(_ d: Int, in file: Safetensors) throws(ModelError) {
            text = try file.tensor("inter.W_text", shape: [d, d])
            image = try file.tensor("inter.W_image", shape: [d, d])
            user = try file.tensor("inter.W_u", shape: [d, d])
            w = try file.tensor("inter.w", shape: [d])
        }
    }

    private struct Dense: Sendable {
        let weight: Tensor
        let bias: Tensor

        init(_ index: Int, _ inputs: Int, _ outputs: Int, in file: Safetensors) throws(ModelError) {
            weight = try file.tensor("dense\(index).W", shape: [inputs, outputs])
            bias = try file.tensor("dense\(index).b", shape: [outputs])
        }
    }

    package init(
        weights file: Safetensors, configuration: BundleConfiguration
    ) throws(ModelError) {
        let d = configuration.dimension
        dimension = d
        channels = configuration.channels
        regions = configuration.regions
        hardGate = configuration.lstm_gate == .hardSigmoid
        // A vocabulary of nothing keeps one unused row: a tensor cannot be empty.
        word = try file.tensor("word", shape: [max(1, configuration.vocabulary.count), d])
        lstmInput = try file.tensor("lstm.W", shape: [d, 4 * d])
        lstmRecurrent = try file.tensor("lstm.U", shape: [d, 4 * d])
        lstmBias = try file.tensor("lstm.b", shape: [4 * d])
        imageProjection = try file.tensor("W_img", shape: [configuration.channels, d])
        userResidual = try file.tensor("W_r", shape: [d, d])
        text = try IntraAttention("text", d, in: file)
        image = try IntraAttention("image", d, in: file)
        inter = try InterAttention(d, in: file)
        let widths = [d] + configuration.dense + [1]
        var dense: [Dense] = []
        for index in 1..<widths.count {
            dense.append(try Dense(index, widths[index - 1], widths[index], in: file))
        }
        self.dense = dense
    }

    // MARK: Everything that does not depend on the user

    /// - Parameters:
    ///   - features: regions x channels from the backbone; nil where there is no usable image.
    ///   - wordIDs: rows of the word embedding, at most 50; empty where no word is known.
    package func encode(features: [Float]?, wordIDs: [Int32]) -> PostEncoding {
        let hidden = wordIDs.isEmpty ? nil : hiddenStates(wordIDs)
        let visual = features.map(visualStates)
        let t0 = hidden?.rowMean
        let v0 = visual?.rowMean
        return PostEncoding(
            text: hidden.map { modality($0, text, guide: v0) },
            image: visual.map { modality($0, image, guide: t0) })
    }

    /// H = LSTM(X): all hidden states, words x d.
    package func hiddenStates(_ wordIDs: [Int32]) -> Matrix {
        let d = dimension
        var inputs = Matrix(rows: wordIDs.count, columns: d)
        for (row, id) in wordIDs.enumerated() {
            inputs.values.replaceSubrange(row * d..<(row + 1) * d, with: word.row(Int(id)))
        }
        // All words' input terms in one product; only the recurrence is one word at a time.
        var preactivations = inputs.times(lstmInput)
        preactivations.addToEveryRow(lstmBias)
        var cell = [Float](repeating: 0, count: d)
        var hidden = Matrix(rows: wordIDs.count, columns: d)
        preactivations.values.withUnsafeMutableBufferPointer { z in
            hidden.values.withUnsafeMutableBufferPointer { h in
                guard let z = z.baseAddress, let h = h.baseAddress else { return }
                for t in 0..<wordIDs.count {
                    let now = z + t * 4 * d
                    if t > 0 {
                        cblas_sgemv(
                            CblasRowMajor, CblasTrans, Int32(d), Int32(4 * d), 1,
                            lstmRecurrent.pointer, Int32(4 * d), h + (t - 1) * d, 1, 1, now, 1)
                    }
                    ck_lstm_step(now, &cell, h + t * d, d, hardGate ? 1 : 0)
                }
            }
        }
        return hidden
    }

    /// V = tanh(F W_img): regions x d.
    package func visualStates(_ features: [Float]) -> Matrix {
        precondition(features.count == regions * channels)
        var states = Matrix(rows: regions, columns: channels, values: features)
            .times(imageProjection)
        states.tanh()
        return states
    }

    /// tanh(X A) ⊙ tanh(guide B); an absent guide is left out, never tanh(0) = 0.
    private func modality(
        _ states: Matrix, _ attention: IntraAttention, guide: [Float]?
    ) -> PostEncoding.Modality {
        var gated = states.times(attention.a)
        gated.tanh()
        if let guide {
            gated.scaleColumns(by: row(guide, times: attention.b, activation: .tanh))
        }
        return PostEncoding.Modality(states: states, gated: gated)
    }

    // MARK: What depends on the user

    /// The user's four projections, worth keeping with the user.
    package func project(user u: [Float]) -> UserProjection {
        precondition(u.count == dimension)
        func guide(_ matrix: Tensor, _ weights: Tensor) -> [Float] {
            var gate = row(u, times: matrix, activation: .tanh)
            for k in gate.indices { gate[k] *= weights.values[k] }
            return gate
        }
        return UserProjection(
            text: guide(text.c, text.h), image: guide(image.c, image.h),
            inter: guide(inter.user, inter.w), residual: row(u, times: userResidual))
    }

    package func predict(_ encoding: PostEncoding, user: UserProjection) -> Prediction {
        let t = encoding.text.map { attend($0, user.text) }
        let v = encoding.image.map { attend($0, user.image) }

        var o = [Float](repeating: 0, count: dimension)
        var modalities = Prediction.Modalities(text: 0, image: 0)
        switch (t, v) {
        case (let t?, let v?):
            var c = [
                dot(row(t.summary, times: inter.text, activation: .tanh), user.inter),
                dot(row(v.summary, times: inter.image, activation: .tanh), user.inter),
            ]
            ck_softmax(&c, 2)
            modalities = .init(text: c[0], image: c[1])
            for k in o.indices { o[k] = c[0] * t.summary[k] + c[1] * v.summary[k] }
        case (let t?, nil):
            modalities.text = 1
            o = t.summary
        case (nil, let v?):
            modalities.image = 1
            o = v.summary
        case (nil, nil):
            break
        }

        var z = o
        for k in z.indices { z[k] += user.residual[k] }
        for (index, layer) in dense.enumerated() {
            let last = index == dense.count - 1
            z = row(z, times: layer.weight, bias: layer.bias, activation: last ? .none : .relu)
        }
        return Prediction(
            score: z[0], words: t?.weights ?? [], regions: v?.weights ?? [],
            modalities: modalities)
    }

    /// e = gated · guide, weights = softmax(e), summary = weights · states.
    private func attend(
        _ modality: PostEncoding.Modality, _ guide: [Float]
    ) -> (weights: [Float], summary: [Float]) {
        let (rows, d) = (modality.states.rows, dimension)
        var weights = [Float](repeating: 0, count: rows)
        cblas_sgemv(
            CblasRowMajor, CblasNoTrans, Int32(rows), Int32(d), 1, modality.gated.values, Int32(d),
            guide, 1, 0, &weights, 1)
        ck_softmax(&weights, rows)
        var summary = [Float](repeating: 0, count: d)
        cblas_sgemv(
            CblasRowMajor, CblasTrans, Int32(rows), Int32(d), 1, modality.states.values, Int32(d),
            weights, 1, 0, &summary, 1)
        return (weights, summary)
    }

    // MARK: Rows times matrices

    private enum Activation { case none, tanh, relu }

    private func row(
        _ x: [Float], times matrix: Tensor, bias: Tensor? = nil, activation: Activation = .none
    ) -> [Float] {
        let (inputs, outputs) = (matrix.shape[0], matrix.shape[1])
        precondition(x.count == inputs)
        var y = bias.map { Array($0.values) } ?? [Float](repeating: 0, count: outputs)
        cblas_sgemv(
            CblasRowMajor, CblasTrans, Int32(inputs), Int32(outputs), 1, matrix.pointer,
            Int32(outputs), x, 1, 1, &y, 1)
        switch activation {
        case .none: break
        case .tanh: ck_tanh(&y, outputs)
        case .relu: for k in y.indices { y[k] = max(0, y[k]) }
        }
        return y
    }

    private func dot(_ x: [Float], _ y: [Float]) -> Float {
        cblas_sdot(Int32(x.count), x, 1, y, 1)
    }
}

/// A post without its user: what `Head.encode` makes and `Head.predict` reads.
package struct PostEncoding: Sendable {
    package struct Modality: Sendable {
        /// H (words x d) or V (regions x d).
        package let states: Matrix
        /// tanh(H A) ⊙ tanh(v0 B), or tanh(V A') ⊙ tanh(t0 B').
        package let gated: Matrix
    }
    /// Nil where no word is known.
    package let text: Modality?
    /// Nil where there is no usable image.
    package let image: Modality?
}

/// A user's part of the attention: tanh(u C) ⊙ h for each modality, tanh(u W_u) ⊙ w, u W_r.
package struct UserProjection: Sendable {
    package let text: [Float]
    package let image: [Float]
    package let inter: [Float]
    package let residual: [Float]
}

package struct Prediction: Sendable, Equatable {
    package struct Modalities: Sendable, Equatable {
        package var text: Float
        package var image: Float
    }
    /// log2(views / days) + 1.
    package let score: Float
    /// alpha: one weight a word, summing to 1; empty without text.
    package let words: [Float]
    /// beta: one weight a region, row-major, summing to 1; empty without an image.
    package let regions: [Float]
    /// gamma: both 0 where both are absent.
    package let modalities: Modalities

    /// 2^(score - 1): typical (median) views a day, not the expected number.
    package static func viewsPerDay(score: Float) -> Double { exp2(Double(score) - 1) }
}

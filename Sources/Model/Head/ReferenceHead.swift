import Glibc

/// The specification of the head: MODEL.md's equations line by line, float64, plain loops. The
/// fast `Head` is compared with it. It reads the same file, not the same code.
package struct ReferenceHead {
    package struct Result {
        package var score = 0.0
        package var words: [Double] = []
        package var regions: [Double] = []
        package var modalities = (text: 0.0, image: 0.0)
    }

    private typealias Rows = [[Double]]
    private let file: Safetensors
    private let shape: HeadShape

    package init(weights file: Safetensors, shape: HeadShape) {
        self.file = file
        self.shape = shape
    }

    /// - Parameters:
    ///   - features: regions x channels, or nil.
    ///   - user: d values.
    package func score(
        features: [Double]?, wordIDs: [Int32], user u: [Double]
    ) throws(ModelError) -> Result {
        let (d, parts) = (shape.dimension, shape.parts)
        let wordIDs = parts.reads_text ? wordIDs : []
        let features = parts.reads_image ? features : nil
        var result = Result()

        var hidden: Rows?
        if !wordIDs.isEmpty {
            let embedding = try matrix("word", max(1, shape.vocabulary), d)
            hidden = try lstm(wordIDs.map { embedding[Int($0)] })
        }
        var visual: Rows?
        if let features {
            let channels = shape.channels
            let projection = try matrix("W_img", channels, d)
            visual = (0..<shape.regions).map { region in
                multiply(Array(features[region * channels..<(region + 1) * channels]), projection)
                    .map(tanh)
            }
        }
        let t0 = hidden.map(mean)
        let v0 = visual.map(mean)

        var t1: [Double]?
        if let hidden {
            result.words = try attention("text", hidden, guide: v0, user: u)
            t1 = weighted(hidden, result.words)
        }
        var v1: [Double]?
        if let visual {
            result.regions = try attention("image", visual, guide: t0, user: u)
            v1 = weighted(visual, result.regions)
        }

        var o = [Double](repeating: 0, count: d)
        switch (t1, v1) {
        case (let t1?, let v1?) where !parts.inter_attention:
            result.modalities = (1, 1)
            o = zip(t1, v1).map(+)
        case (let t1?, let v1?):
            let userGate =
                parts.user_in_attention
                ? multiply(u, try matrix("inter.W_u", d, d)).map(tanh)
                : [Double](repeating: 1, count: d)
            let w = try vector("inter.w", d)
            func energy(_ x: [Double], _ name: String) throws(ModelError) -> Double {
                let gate = multiply(x, try matrix(name, d, d)).map(tanh)
                return (0..<d).reduce(0) { $0 + gate[$1] * userGate[$1] * w[$1] }
            }
            let gamma = softmax([
                try energy(t1, "inter.W_text"), try energy(v1, "inter.W_image"),
            ])
            result.modalities = (gamma[0], gamma[1])
            o = (0..<d).map { gamma[0] * t1[$0] + gamma[1] * v1[$0] }
        case (let t1?, nil):
            result.modalities = (1, 0)
            o = t1
        case (nil, let v1?):
            result.modalities = (0, 1)
            o = v1
        case (nil, nil):
            break
        }

        var z = o
        if parts.user_term { z = zip(z, multiply(u, try matrix("W_r", d, d))).map(+) }
        let widths = [d] + shape.dense + [1]
        for index in 1..<widths.count {
            let weight = try matrix("dense\(index).W", widths[index - 1], widths[index])
            let bias = try vector("dense\(index).b", widths[index])
            z = zip(multiply(z, weight), bias).map(+)
            if index < widths.count - 1 { z = z.map { max(0, $0) } }
        }
        result.score = z[0]
        return result
    }

    private func lstm(_ inputs: Rows) throws(ModelError) -> Rows {
        let d = shape.dimension
        let (input, recurrent) = (try matrix("lstm.W", d, 4 * d), try matrix("lstm.U", d, 4 * d))
        let bias = try vector("lstm.b", 4 * d)
        let gate: (Double) -> Double =
            switch shape.gate {
            case .logistic: { 1 / (1 + exp(-$0)) }
            case .hardSigmoid: { min(1, max(0, 0.2 * $0 + 0.5)) }
            }
        var hidden = [Double](repeating: 0, count: d)
        var cell = hidden
        var states: Rows = []
        for x in inputs {
            let (fromInput, fromState) = (multiply(x, input), multiply(hidden, recurrent))
            let z = (0..<4 * d).map { fromInput[$0] + fromState[$0] + bias[$0] }
            for k in 0..<d {
                let (i, f, o) = (gate(z[k]), gate(z[d + k]), gate(z[3 * d + k]))
                cell[k] = f * cell[k] + i * tanh(z[2 * d + k])
                hidden[k] = o * tanh(cell[k])
            }
            states.append(hidden)
        }
        return states
    }

    /// softmax over rows x of [tanh(x A) ⊙ tanh(guide B) ⊙ tanh(u C)] · h.
    private func attention(
        _ name: String, _ states: Rows, guide: [Double]?, user: [Double]
    ) throws(ModelError) -> [Double] {
        guard shape.parts.intra_attention else {
            return [Double](repeating: 1 / Double(states.count), count: states.count)
        }
        let d = shape.dimension
        let a = try matrix("\(name).A", d, d)
        var factor = try vector("\(name).h", d)
        if shape.parts.user_in_attention {
            factor = zip(factor, multiply(user, try matrix("\(name).C", d, d)).map(tanh)).map(*)
        }
        if let guide {
            let other = multiply(guide, try matrix("\(name).B", d, d)).map(tanh)
            factor = zip(factor, other).map(*)
        }
        return softmax(
            states.map { x in
                zip(multiply(x, a).map(tanh), factor).reduce(0) { $0 + $1.0 * $1.1 }
            })
    }

    // MARK: Arithmetic

    private func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(ModelError) -> Rows {
        let tensor = try file.tensor(name, shape: [rows, columns])
        return (0..<rows).map { tensor.row($0).map(Double.init) }
    }

    private func vector(_ name: String, _ count: Int) throws(ModelError) -> [Double] {
        try file.tensor(name, shape: [count]).values.map(Double.init)
    }

    private func multiply(_ x: [Double], _ matrix: Rows) -> [Double] {
        var y = [Double](repeating: 0, count: matrix[0].count)
        for (value, row) in zip(x, matrix) {
            for k in y.indices { y[k] += value * row[k] }
        }
        return y
    }

    private func mean(_ rows: Rows) -> [Double] {
        weighted(rows, [Double](repeating: 1 / Double(rows.count), count: rows.count))
    }

    private func weighted(_ rows: Rows, _ weights: [Double]) -> [Double] {
        multiply(weights, rows)
    }

    private func softmax(_ x: [Double]) -> [Double] {
        let top = x.max() ?? 0
        let powers = x.map { exp($0 - top) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}

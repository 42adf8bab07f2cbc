import Glibc

/// One weight for each region of a picture, row by row, summing to 1.
package struct AttentionMap: Sendable, Equatable {
    package let rows: Int
    package let columns: Int
    package let weights: [Float]

    package init(rows: Int, columns: Int, weights: [Float]) {
        precondition(weights.count == rows * columns, "\(rows) x \(columns) weights")
        self.rows = rows
        self.columns = columns
        self.weights = weights
    }

    /// Every region's weight where attention is flat.
    var even: Double { 1 / Double(max(1, rows * columns)) }

    var maximum: Double { weights.reduce(0) { max($0, $1.isFinite ? Double($1) : 0) } }

    /// The weight that the brightest colour stands for: the largest weight, yet at least twice the
    /// even one, so that attention that is almost flat looks flat.
    var brightest: Double { max(maximum, 2 * even) }

    /// Weights in the proportions of a picture, in `brightest`, 0 ... 1: Catmull-Rom splines through
    /// the weights at the regions' centres, which keeps every maximum where it is; what they
    /// overshoot is cut.
    ///
    /// - Returns: width x height, row by row.
    func levels(width: Int, height: Int) -> [Float] {
        let across = Self.taps(from: columns, to: width)
        let down = Self.taps(from: rows, to: height)
        let scale = Float(1 / brightest)
        let clean = weights.map { $0.isFinite ? $0 * scale : 0 }
        var stretched = [Float](repeating: 0, count: rows * width)
        for row in 0..<rows {
            for x in 0..<width {
                var sum: Float = 0
                for (index, weight) in across[x] { sum += clean[row * columns + index] * weight }
                stretched[row * width + x] = sum
            }
        }
        var levels = [Float](repeating: 0, count: width * height)
        for y in 0..<height {
            for (index, weight) in down[y] {
                for x in 0..<width {
                    levels[y * width + x] += stretched[index * width + x] * weight
                }
            }
        }
        return levels.map { min(1, max(0, $0)) }
    }

    /// For each of `count` places the four neighbours among `cells`, and their weights.
    private static func taps(from cells: Int, to count: Int) -> [[(index: Int, weight: Float)]] {
        (0..<count).map { place in
            let centre = (Double(place) + 0.5) * Double(cells) / Double(count) - 0.5
            let first = floor(centre)
            let t = centre - first
            let weights = [
                ((2 - t) * t - 1) * t / 2, ((3 * t - 5) * t * t + 2) / 2,
                ((4 - 3 * t) * t + 1) * t / 2, (t - 1) * t * t / 2,
            ]
            return weights.enumerated().map { offset, weight in
                (min(cells - 1, max(0, Int(first) - 1 + offset)), Float(weight))
            }
        }
    }
}

/// What a prediction is judged by; the names are those of the report.
package enum Metric: String, Sendable, Codable, CaseIterable, CodingKeyRepresentable {
    case mse, mae, spearman
    case macroMSE = "macro_mse"
    case macroMAE = "macro_mae"
    case macroSpearman = "macro_spearman"

    /// Whether more is better.
    package var isGain: Bool { self == .spearman || self == .macroSpearman }
}

/// Values in rising order, ties known: ranks under any weights in one pass.
package struct RankOrder: Sendable {
    /// Indices of the values in rising order.
    private let order: [Int32]
    /// For each of `order` whether its value is that of the one before.
    private let isTied: [Bool]

    package init(_ values: [Float]) {
        let order = values.indices.sorted { (values[$0], $0) < (values[$1], $1) }
        isTied = order.indices.map { $0 > 0 && values[order[$0]] == values[order[$0 - 1]] }
        self.order = order.map(Int32.init)
    }

    /// Average ranks, as if value i were there weights[i] times.
    fileprivate func ranks(weights: [Double]) -> [Double] {
        var ranks = [Double](repeating: 0, count: order.count)
        var below = 0.0
        var start = 0
        while start < order.count {
            var end = start
            var weight = 0.0
            repeat {
                weight += weights[Int(order[end])]
                end += 1
            } while end < order.count && isTied[end]
            for place in start..<end { ranks[Int(order[place])] = below + (weight + 1) / 2 }
            below += weight
            start = end
        }
        return ranks
    }

    /// Spearman's rank correlation of two sets of values, average ranks for ties.
    ///
    /// - Parameter weights: how many times each pair is there, whole numbers.
    /// - Returns: nil where it is undefined: fewer than two pairs, or all values alike on one side.
    package static func correlation(
        _ left: RankOrder, _ right: RankOrder, weights: [Double]
    ) -> Double? {
        let (first, second) = (left.ranks(weights: weights), right.ranks(weights: weights))
        let total = weights.reduce(0, +)
        // The mean rank, whatever the ties.
        let mean = (total + 1) / 2
        var (products, firstSquares, secondSquares) = (0.0, 0.0, 0.0)
        for index in weights.indices {
            let (x, y) = (first[index] - mean, second[index] - mean)
            products += weights[index] * x * y
            firstSquares += weights[index] * x * x
            secondSquares += weights[index] * y * y
        }
        guard firstSquares > 0, secondSquares > 0 else { return nil }
        return max(-1, min(1, products / (firstSquares * secondSquares).squareRoot()))
    }

    package static func correlation(_ left: [Float], _ right: [Float]) -> Double? {
        correlation(
            RankOrder(left), RankOrder(right), weights: [Double](repeating: 1, count: left.count))
    }
}

import Glibc
import Model

/// Weights to start training from (MODEL.md of the Model module, "Training"): Glorot normal for the
/// attention, uniform ±0.05 for word embeddings, Glorot uniform for dense and the LSTM's input
/// weights, orthogonal for its recurrent ones, forget bias 1. The last bias is the mean of the
/// training targets, so that learning begins at the best constant and not at 0.
///
/// All users start around one vector, that of the unknown user, which is drawn wider (`userScale`):
/// the user's factor stands in every attention, and where each user starts with small random
/// values of their own, what the attention learns from one user is no help for the next.
/// Tests/Benchmarks/TRAINING.md has the figures.
struct Initialisation {
    private var generator: SplitMix64
    private let seed: UInt64
    private let meanTarget: Float
    private let userScale: Double

    /// - Parameter userScale: the unknown user's vector is uniform in its plus and minus.
    init(seed: UInt64, meanTarget: Float, userScale: Double) {
        generator = SplitMix64(seed: seed)
        self.seed = seed
        self.meanTarget = meanTarget
        self.userScale = userScale
    }

    /// The same whenever it is asked for.
    private func unknownUser(columns: Int) -> [Float] {
        var own = Initialisation(seed: ~seed, meanTarget: 0, userScale: 0)
        return own.uniform(columns, limit: userScale)
    }

    mutating func tensor(_ name: String, shape: [Int], lastDense: Int) -> [Float] {
        let (rows, columns) = shape.count == 2 ? (shape[0], shape[1]) : (shape[0], 1)
        let count = shape.reduce(1, *)
        switch name {
        case "word":
            return uniform(count, limit: 0.05)
        case "unknown":
            return unknownUser(columns: count)
        case "user":
            let center = unknownUser(columns: shape[1])
            return uniform(count, limit: 0.05).enumerated().map {
                $0.element + center[$0.offset % shape[1]]
            }
        case "lstm.U":
            // Each gate's block is orthogonal.
            let blocks = (0..<columns / rows).map { _ in orthogonal(rows) }
            return (0..<rows).flatMap { row in
                blocks.flatMap { $0[row * rows..<(row + 1) * rows] }
            }
        case "lstm.W":
            return uniform(count, limit: (6 / Double(rows + columns / 4)).squareRoot())
        case "lstm.b":
            let d = count / 4
            return (0..<count).map { (d..<2 * d).contains($0) ? 1 : 0 }
        case "dense\(lastDense).b":
            return [meanTarget]
        case _ where name.hasPrefix("dense") && name.hasSuffix(".b"):
            return [Float](repeating: 0, count: count)
        case _ where name.hasPrefix("dense"):
            return uniform(count, limit: (6 / Double(rows + columns)).squareRoot())
        default:
            let deviation = (2 / Double(rows + columns)).squareRoot()
            return (0..<count).map { _ in Float(normal() * deviation) }
        }
    }

    /// In [0, 1).
    private mutating func unit() -> Double { Double(generator.next() >> 11) * 0x1p-53 }

    private mutating func uniform(_ count: Int, limit: Double) -> [Float] {
        (0..<count).map { _ in Float((2 * unit() - 1) * limit) }
    }

    /// Box and Muller's.
    private mutating func normal() -> Double {
        (-2 * log(1 - unit())).squareRoot() * cos(2 * .pi * unit())
    }

    /// The rows of a random square matrix, made orthonormal one after the other (Gram and Schmidt, twice
    /// for accuracy).
    private mutating func orthogonal(_ size: Int) -> [Float] {
        var rows: [[Double]] = []
        while rows.count < size {
            var row = (0..<size).map { _ in normal() }
            for _ in 0..<2 {
                for other in rows {
                    var dot = 0.0
                    for k in 0..<size { dot += row[k] * other[k] }
                    for k in 0..<size { row[k] -= dot * other[k] }
                }
            }
            let norm = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
            if norm > 1e-6 { rows.append(row.map { $0 / norm }) }
        }
        return rows.flatMap { $0.map(Float.init) }
    }
}

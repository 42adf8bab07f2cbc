import COpenBLAS

/// How well a linear classifier tells classes apart by features: what is in reach of a network's
/// head, before any head is judged.
///
/// Ridge regression on one-hot labels (Alain, Bengio: "Understanding intermediate layers using
/// linear classifier probes", 2016, use logistic regression; ridge has a closed form). Features
/// are standardised by the training samples; the penalty is the one of five that does best on the
/// last quarter of the training samples.
package struct LinearProbe: Sendable {
    package struct Sample: Sendable {
        package let features: [Float]
        /// 0 ..< classes.
        package let label: Int

        package init(features: [Float], label: Int) {
            self.features = features
            self.label = label
        }
    }

    package struct Result: Sendable, Codable, Equatable {
        package var classes: Int
        package var train_samples: Int
        package var test_samples: Int
        /// The part of the test samples whose class is told right.
        package var accuracy: Double
        /// The same for one who always names the class that is most frequent in training.
        package var chance: Double
        package var penalty: Double
    }

    /// Of the samples' number, which is a standardised feature's sum of squares.
    private static let penalties = [0.003, 0.03, 0.3, 3, 30]

    /// - Parameters:
    ///   - train: at least 8 samples, all with features of the same length.
    ///   - test: at least 1.
    package static func run(
        train: [Sample], test: [Sample], classes: Int
    ) throws(TrainingError) -> Result {
        guard train.count >= 8, test.count >= 1, let width = train.first?.features.count,
            (train + test).allSatisfy({
                $0.features.count == width && (0..<classes).contains($0.label)
            })
        else {
            throw .invalid(
                "a probe needs at least 8 samples to learn from and 1 to be tested on, and got "
                    + "\(train.count) and \(test.count); give it more posts")
        }
        let split = train.count * 3 / 4
        let part = Self(train: Array(train[..<split]), classes: classes)
        var best = (penalty: penalties[0], accuracy: -1.0)
        for penalty in penalties {
            let weights = part.weights(penalty: penalty)
            let accuracy = part.accuracy(of: weights, on: Array(train[split...]))
            if accuracy > best.accuracy { best = (penalty, accuracy) }
        }
        let whole = Self(train: train, classes: classes)
        let weights = whole.weights(penalty: best.penalty)
        let frequent = (0..<classes).max { a, b in
            train.count { $0.label == a } < train.count { $0.label == b }
        }
        return Result(
            classes: classes, train_samples: train.count, test_samples: test.count,
            accuracy: whole.accuracy(of: weights, on: test),
            chance: Double(test.count { $0.label == frequent }) / Double(test.count),
            penalty: best.penalty)
    }

    // MARK: Ridge regression

    private let width: Int
    private let classes: Int
    private let count: Int
    private let means: [Double]
    /// 1 over the standard deviation; 0 for a feature that never moves.
    private let scales: [Double]
    private let shares: [Double]
    /// X^T X of the standardised features, width x width, the lower triangle.
    private let gram: [Double]
    /// X^T (Y - shares), classes x width.
    private let products: [Double]

    private init(train: [Sample], classes: Int) {
        let width = train[0].features.count
        let count = Double(train.count)
        var means = [Double](repeating: 0, count: width)
        var squares = means
        for sample in train {
            for (i, value) in sample.features.enumerated() { means[i] += Double(value) / count }
        }
        for sample in train {
            for (i, value) in sample.features.enumerated() {
                squares[i] += (Double(value) - means[i]) * (Double(value) - means[i]) / count
            }
        }
        let scales = squares.map { $0 > 1e-12 ? 1 / $0.squareRoot() : 0 }
        let shares = (0..<classes).map { label in
            Double(train.count { $0.label == label }) / count
        }
        var products = [Double](repeating: 0, count: width * classes)
        var rows: [Double] = []
        rows.reserveCapacity(train.count * width)
        for sample in train {
            let row = Self.standardized(sample.features, means, scales)
            for c in 0..<classes {
                let target = (sample.label == c ? 1 : 0) - shares[c]
                for i in 0..<width { products[c * width + i] += row[i] * target }
            }
            rows += row
        }
        var gram = [Double](repeating: 0, count: width * width)
        // One thread: another would look out for work, at the expense of whatever runs beside it.
        openblas_set_num_threads(1)
        cblas_dsyrk(
            CblasRowMajor, CblasLower, CblasTrans, Int32(width), Int32(train.count), 1, rows,
            Int32(width), 0, &gram, Int32(width))
        self.width = width
        self.classes = classes
        self.count = train.count
        self.means = means
        self.scales = scales
        self.shares = shares
        self.gram = gram
        self.products = products
    }

    private static func standardized(
        _ features: [Float], _ means: [Double], _ scales: [Double]
    ) -> [Double] {
        features.indices.map { (Double(features[$0]) - means[$0]) * scales[$0] }
    }

    /// (X^T X + penalty n I)^-1 X^T Y by Cholesky's decomposition: classes x width. The penalty makes
    /// it positive definite.
    private func weights(penalty: Double) -> [Double] {
        var factor = gram
        for i in 0..<width { factor[i * width + i] += penalty * Double(count) }
        var solution = products
        // A lower triangle by rows is LAPACK's upper one by columns.
        var (triangle, order, rights) = (CChar(UInt8(ascii: "U")), Int32(width), Int32(classes))
        var (leading, status) = (Int32(width), Int32(0))
        dposv_(&triangle, &order, &rights, &factor, &leading, &solution, &order, &status)
        return solution
    }

    private func accuracy(of weights: [Double], on samples: [Sample]) -> Double {
        let right = samples.count { sample in
            let row = Self.standardized(sample.features, means, scales)
            var scores = shares
            for i in 0..<width {
                for c in 0..<classes { scores[c] += row[i] * weights[c * width + i] }
            }
            return scores.indices.max { scores[$0] < scores[$1] } == sample.label
        }
        return Double(right) / Double(max(1, samples.count))
    }
}

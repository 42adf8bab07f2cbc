import Model

/// Everything that decides how a network is trained: with the same settings, data and features, and
/// on the same kind of processor, training ends with the same bits.
package struct TrainingSettings: Sendable, Equatable, Codable {
    package var system: SystemName
    package var seed: UInt64 = 1
    package var dimension: Int
    package var dense: [Int]
    package var gate = BundleConfiguration.Gate.logistic
    package var maximumWords = 50
    package var batch = 128
    package var rule = LearningRule()
    /// The unknown user's vector, around which all start, is drawn from plus and minus this.
    package var userScale = 0.3
    /// Shares of values that are dropped from X, V and u.
    package var dropout = Dropout()
    /// The share of training samples whose user is replaced by the unknown one, which so learns
    /// what to say of a user never seen.
    package var unknownUsers = 0.05
    /// The validation error is measured every so many batches.
    package var batchesOfCheck = 64
    /// Training stops after so many checks without a better one.
    package var patience = 20
    /// And after so many passes over the data at the latest.
    package var maximumEpochs = 200

    package struct Dropout: Sendable, Equatable, Codable {
        package var words = 0.0
        package var regions = 0.0
        package var users = 0.0

        package init(words: Double = 0, regions: Double = 0, users: Double = 0) {
            self.words = words
            self.regions = regions
            self.users = users
        }
    }

    package init(system: SystemName, dimension: Int, dense: [Int]) {
        self.system = system
        self.dimension = dimension
        self.dense = dense
    }

    package func check() throws(TrainingError) {
        func require(_ holds: Bool, _ reason: String) throws(TrainingError) {
            guard holds else { throw .invalid(reason) }
        }
        try require(
            BundleConfiguration.Bounds.dimension.contains(dimension),
            "the dimension \(dimension) is not in \(BundleConfiguration.Bounds.dimension)")
        try require((1...4096).contains(batch), "the batch \(batch) is not in 1...4096")
        try require(
            (0...10).contains(userScale), "the users' scale is at least 0 and at most 10")
        try require(
            rule.rate.isFinite && rule.rate > 0, "the learning rate must be above 0")
        try require(
            rule.penalty.isFinite && rule.penalty >= 0, "the penalty must be at least 0")
        try require(
            rule.maximumNorm.map { $0.isFinite && $0 > 0 } ?? true,
            "the bound on the gradients' norm must be above 0")
        for share in [dropout.words, dropout.regions, dropout.users, unknownUsers] {
            try require(
                (0..<1).contains(share), "a share of dropout is at least 0 and below 1")
        }
        for count in [batchesOfCheck, patience, maximumEpochs] {
            try require(
                (1...1_000_000).contains(count),
                "batches of a check, patience and epochs are 1 to 1000000")
        }
    }
}

/// Draws that belong to a step of training alone, so that training which was interrupted goes on with
/// the same ones.
struct StepRandom {
    private var generator: SplitMix64

    enum Purpose: UInt64 {
        case order = 1
        case unknownUsers, words, regions, users
    }

    init(seed: UInt64, _ purpose: Purpose, _ number: Int) {
        var mixed = SplitMix64(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ purpose.rawValue)
        generator = SplitMix64(seed: mixed.next() &+ UInt64(number) &* 0xBF58_476D_1CE4_E5B9)
    }

    /// In [0, 1).
    mutating func unit() -> Double { Double(generator.next() >> 11) * 0x1p-53 }

    /// Fisher and Yates.
    mutating func permutation(_ count: Int) -> [Int] {
        var order = Array(0..<count)
        for index in order.indices.reversed() {
            order.swapAt(index, Int(generator.next() % UInt64(index + 1)))
        }
        return order
    }

    /// 0, or 1 over the share that is kept.
    mutating func mask(_ count: Int, dropped: Double) -> [Float] {
        let limit = UInt64(dropped * 0x1p32)
        let kept = Float(1 / (1 - dropped))
        return [Float](unsafeUninitializedCapacity: count) { mask, used in
            for index in 0..<count {
                mask[index] = generator.next() >> 32 < limit ? 0 : kept
            }
            used = count
        }
    }
}

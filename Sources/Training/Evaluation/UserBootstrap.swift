import Model

/// How intervals are made: users are drawn with replacement, all posts of a user with them, since
/// posts of one user are alike; the interval lies between percentiles of the drawn figures.
package struct UserBootstrap: Sendable, Codable, Equatable {
    package var resamples = 2_000
    package var confidence = 0.95
    package var seed: UInt64 = 1

    package init() {}

    package struct Interval: Sendable, Codable, Equatable {
        package var low: Double
        package var high: Double

        package init(low: Double, high: Double) {
            self.low = low
            self.high = high
        }

        package var excludesZero: Bool { low > 0 || high < 0 }
    }

    /// Hands `body` for each resample how many times each user was drawn. The same users and seed
    /// give the same draws, so figures of several systems are paired draw by draw.
    package func forEachResample(users: Int, _ body: (_ weights: [Double]) -> Void) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<resamples {
            var weights = [Double](repeating: 0, count: users)
            for _ in 0..<users { weights[random.below(users)] += 1 }
            body(weights)
        }
    }

    /// Between the percentiles (linear between neighbours, as numpy's default).
    ///
    /// - Parameter values: one a resample; nil where the figure was undefined.
    /// - Returns: nil where more than 5 % are undefined.
    package func interval(of values: [Double?]) -> Interval? {
        let sorted = values.compactMap { $0 }.sorted()
        guard !sorted.isEmpty, sorted.count * 20 >= values.count * 19 else { return nil }
        func percentile(_ share: Double) -> Double {
            let place = share * Double(sorted.count - 1)
            let below = Int(place)
            let above = min(below + 1, sorted.count - 1)
            return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
        }
        let outside = (1 - confidence) / 2
        return Interval(low: percentile(outside), high: percentile(1 - outside))
    }
}

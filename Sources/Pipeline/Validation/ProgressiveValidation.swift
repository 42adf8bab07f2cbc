/// What learning is worth, measured all the time: every label first judges what had been published
/// for its post, beside what others would have said, and only then teaches (Dawid: "Present position
/// and potential developments: the prequential approach", 1984).
///
/// Four answers are compared, on the very same labels:
/// the published score; the frozen vector's, from the same encoding; the mean of the user's labels
/// when the post was scored, or the global mean where there was none; and the global mean, of the
/// labels judged so far. Each horizon is judged apart. Its first label only starts its global mean.
///
/// Figures are per label. Those per user, intervals and rank correlations need every label at hand:
/// `judge` gives each one back to those who keep them. Memory is bounded: horizons, buckets and the
/// window are.
package struct ProgressiveValidation: Sendable {
    /// Horizons that are judged; labels of others are refused.
    package static let maximumHorizons = 16

    /// One label, and what the four answers would have been.
    package struct Judgement: Equatable, Sendable {
        package var label: Float
        package var published: Float
        package var frozen: Float
        package var userMean: Float
        package var globalMean: Float

        package init(
            label: Float, published: Float, frozen: Float, userMean: Float, globalMean: Float
        ) {
            self.label = label
            self.published = published
            self.frozen = frozen
            self.userMean = userMean
            self.globalMean = globalMean
        }
    }

    /// Labels in the window of the newest ones.
    package let windowCount: Int
    private var horizons: [Horizon] = []
    private var refused = 0

    /// - Parameter windowCount: above 0.
    package init(windowCount: Int = 1_000) {
        precondition(windowCount > 0)
        self.windowCount = windowCount
    }

    /// - Returns: nil where the label does not judge: corrections, the first label of a horizon, and
    ///   what is refused.
    @discardableResult
    package mutating func judge(_ joined: JoinedLabel) -> Judgement? {
        let post = joined.post
        guard !joined.isCorrection else { return nil }
        guard let label = LearnerState.bounded(joined.label), post.score.isFinite,
            post.frozenScore.isFinite, post.userMean?.isFinite ?? true,
            let horizon = index(ofHorizon: joined.horizon)
        else {
            refused += 1
            return nil
        }
        defer { horizons[horizon].labels.add(Double(label)) }
        guard let globalMean = horizons[horizon].labels.mean else { return nil }
        let judgement = Judgement(
            label: label, published: post.score, frozen: post.frozenScore,
            userMean: post.userMean ?? Float(globalMean), globalMean: Float(globalMean))
        horizons[horizon].add(
            judgement, userLabels: post.userLabels, windowCount: windowCount)
        return judgement
    }

    private mutating func index(ofHorizon seconds: Double?) -> Int? {
        if let index = horizons.firstIndex(where: { $0.seconds == seconds }) { return index }
        guard horizons.count < Self.maximumHorizons, seconds?.isFinite ?? true else { return nil }
        horizons.append(Horizon(seconds: seconds))
        return horizons.count - 1
    }

    package var snapshot: Snapshot {
        Snapshot(
            horizons: horizons.map { horizon in
                var window = Sums()
                for judgement in horizon.window { window.add(judgement) }
                return Snapshot.Horizon(
                    seconds: horizon.seconds, overall: horizon.overall.figures,
                    window: window.figures,
                    byUserLabels: zip(Self.buckets, horizon.buckets).map { bucket, sums in
                        Snapshot.Bucket(
                            from: bucket.lowerBound,
                            through: bucket.upperBound == .max ? nil : bucket.upperBound,
                            figures: sums.figures)
                    })
            }, refused: refused)
    }

    // MARK: Sums

    /// How many labels the user had when the post was scored.
    private static let buckets = [0...0, 1...1, 2...2, 3...5, 6...10, 11...20, 21...Int.max]

    private struct Horizon {
        let seconds: Double?
        var labels = Mean()
        var overall = Sums()
        var buckets = [Sums](repeating: Sums(), count: ProgressiveValidation.buckets.count)
        /// A ring.
        var window: [Judgement] = []

        mutating func add(_ judgement: Judgement, userLabels: Int, windowCount: Int) {
            if window.count < windowCount {
                window.append(judgement)
            } else {
                window[overall.labels % windowCount] = judgement
            }
            overall.add(judgement)
            if let bucket = ProgressiveValidation.buckets.firstIndex(
                where: { $0.contains(userLabels) })
            {
                buckets[bucket].add(judgement)
            }
        }
    }

    private struct Mean {
        var count = 0
        var sum = 0.0
        var mean: Double? { count > 0 ? sum / Double(count) : nil }

        mutating func add(_ value: Double) {
            count += 1
            sum += value
        }
    }

    private struct Sums {
        private struct Errors {
            var squared = 0.0
            var absolute = 0.0

            mutating func add(_ score: Float, _ label: Float) {
                let error = Double(score) - Double(label)
                squared += error * error
                absolute += abs(error)
            }

            func over(_ count: Int) -> Snapshot.Errors {
                Snapshot.Errors(mse: squared / Double(count), mae: absolute / Double(count))
            }
        }

        private(set) var labels = 0
        private var published = Errors()
        private var frozen = Errors()
        private var userMean = Errors()
        private var globalMean = Errors()

        mutating func add(_ judgement: Judgement) {
            labels += 1
            published.add(judgement.published, judgement.label)
            frozen.add(judgement.frozen, judgement.label)
            userMean.add(judgement.userMean, judgement.label)
            globalMean.add(judgement.globalMean, judgement.label)
        }

        var figures: Snapshot.Figures {
            guard labels > 0 else { return Snapshot.Figures(labels: 0) }
            let published = published.over(labels)
            let frozen = frozen.over(labels)
            let userMean = userMean.over(labels)
            return Snapshot.Figures(
                labels: labels, published: published, frozen: frozen, userMean: userMean,
                globalMean: globalMean.over(labels), gainOverFrozen: frozen - published,
                gainOverUserMean: userMean - published)
        }
    }

    // MARK: Snapshot

    /// The figures at one moment. As JSON its names are in snake case.
    package struct Snapshot: Codable, Equatable, Sendable {
        package struct Errors: Codable, Equatable, Sendable {
            package var mse: Double
            package var mae: Double

            package init(mse: Double, mae: Double) {
                self.mse = mse
                self.mae = mae
            }

            static func - (left: Errors, right: Errors) -> Errors {
                Errors(mse: left.mse - right.mse, mae: left.mae - right.mae)
            }
        }

        /// Errors are nil where there are no labels.
        package struct Figures: Codable, Equatable, Sendable {
            package var labels: Int
            package var published: Errors?
            package var frozen: Errors?
            package var userMean: Errors?
            package var globalMean: Errors?
            /// The frozen vector's errors less the published score's: above 0, learning helps.
            package var gainOverFrozen: Errors?
            /// Likewise of the user's running mean: above 0, the model is worth having.
            package var gainOverUserMean: Errors?

            enum CodingKeys: String, CodingKey {
                case labels, published, frozen
                case userMean = "user_mean"
                case globalMean = "global_mean"
                case gainOverFrozen = "gain_over_frozen"
                case gainOverUserMean = "gain_over_user_mean"
            }
        }

        /// Posts whose user had `from` to `through` labels when they were scored; nil: no end.
        package struct Bucket: Codable, Equatable, Sendable {
            package var from: Int
            package var through: Int?
            package var figures: Figures
        }

        package struct Horizon: Codable, Equatable, Sendable {
            /// After posting; nil where any age counts.
            package var seconds: Double?
            package var overall: Figures
            /// The newest labels alone.
            package var window: Figures
            package var byUserLabels: [Bucket]

            enum CodingKeys: String, CodingKey {
                case seconds, overall, window
                case byUserLabels = "by_user_labels"
            }
        }

        /// In the order of their first labels.
        package var horizons: [Horizon]
        /// Labels or scores that were not finite numbers, and labels of too many horizons.
        package var refused: Int

        package init(horizons: [Horizon], refused: Int) {
            self.horizons = horizons
            self.refused = refused
        }
    }
}

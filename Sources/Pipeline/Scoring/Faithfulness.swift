import Model

/// Whether attention points at what the score rests on: how far the score moves when what was
/// attended most is taken away, against as much drawn at random.
///
/// Attention is no proof of that by itself. Words are left out of the list of ids; a region's
/// features are replaced by the mean of the features of all regions that stay.
package struct Faithfulness: Sendable, Equatable {
    package struct Part: Sendable, Equatable {
        /// Regions or words taken away at a time, of how many.
        package var removed: Int
        package var of: Int
        /// The score without the most attended, less the score with everything.
        package var change: Float
        /// |change| over the random draws: its mean and standard deviation.
        package var randomMean: Float
        package var randomDeviation: Float
        package var draws: Int
        /// Draws that moved the score less than the most attended did.
        package var weakerDraws: Int

        package init(
            removed: Int, of: Int, change: Float, randomMean: Float, randomDeviation: Float,
            draws: Int, weakerDraws: Int
        ) {
            self.removed = removed
            self.of = of
            self.change = change
            self.randomMean = randomMean
            self.randomDeviation = randomDeviation
            self.draws = draws
            self.weakerDraws = weakerDraws
        }

        /// |change| over the mean of the random ones: about 1 where attention says nothing. Nil
        /// where random removal does not move the score at all.
        package var ratio: Float? { randomMean > 0 ? abs(change) / randomMean : nil }
    }

    /// Nil without an image, or with fewer than `minimumCount` regions.
    package var regions: Part?
    /// Nil with fewer than `minimumCount` known words.
    package var words: Part?

    package init(regions: Part?, words: Part?) {
        self.regions = regions
        self.words = words
    }

    /// Of less there is no telling the most attended from a random draw.
    package static let minimumCount = 4
    package static let draws = 20
    /// Percent that are taken away, rounded up: 10 of 196 regions, 1 of up to 10 words.
    package static let regionPercent = 5
    package static let wordPercent = 10
    fileprivate static let seed: UInt64 = 1
}

extension Faithfulness.Part {
    /// - Parameters:
    ///   - weights: of attention; among equals the first counts as more.
    ///   - percent: of them are taken away, rounded up; at most 50.
    ///   - score: with everything.
    ///   - scoreWithout: the score without the elements of these indices, which come in order.
    ///     Called `draws` + 1 times.
    package init?(
        weights: [Float], percent: Int, score: Float, draws: Int = Faithfulness.draws,
        seed: UInt64, scoreWithout: ([Int]) -> Float
    ) {
        let count = weights.count
        guard count >= Faithfulness.minimumCount else { return nil }
        let removed = (count * percent + 99) / 100
        let order = weights.indices.sorted {
            weights[$0] > weights[$1] || (weights[$0] == weights[$1] && $0 < $1)
        }
        let change = scoreWithout(order.prefix(removed).sorted()) - score

        var generator = SplitMix64(seed: seed)
        var sum = 0.0
        var squares = 0.0
        var weaker = 0
        for _ in 0..<draws {
            // The first steps of a Fisher-Yates shuffle.
            var deck = Array(weights.indices)
            for place in 0..<removed {
                let other = place + Int(generator.next() % UInt64(count - place))
                deck.swapAt(place, other)
            }
            let moved = abs(scoreWithout(deck.prefix(removed).sorted()) - score)
            sum += Double(moved)
            squares += Double(moved) * Double(moved)
            if moved < abs(change) { weaker += 1 }
        }
        let mean = sum / Double(draws)
        self.init(
            removed: removed, of: count, change: change, randomMean: Float(mean),
            randomDeviation: Float(max(0, squares / Double(draws) - mean * mean).squareRoot()),
            draws: draws, weakerDraws: weaker)
    }
}

extension PostHead {
    /// Encodes the post anew for each removal, 42 times in all: under a second for the paper's
    /// sizes.
    ///
    /// - Parameter result: what `score` gave for this post.
    package func faithfulness(of post: PostEvent, _ result: PostScorer.Result) -> Faithfulness {
        let ids = bundle.vocabulary.encode(
            title: post.title, tags: post.tags, description: post.description,
            maximumWords: bundle.configuration.maximum_words
        ).ids
        let prediction = result.prediction
        let regions = result.features.flatMap { features in
            Faithfulness.Part(
                weights: prediction.regions, percent: Faithfulness.regionPercent,
                score: prediction.score, seed: Faithfulness.seed
            ) { removed in
                let rest = Self.replacing(
                    removed, of: features, regions: prediction.regions.count)
                return self.prediction(features: rest, wordIDs: ids, uid: post.uid).score
            }
        }
        let words = Faithfulness.Part(
            weights: prediction.words, percent: Faithfulness.wordPercent, score: prediction.score,
            seed: Faithfulness.seed
        ) { removed in
            let rest = ids.indices.filter { !removed.contains($0) }.map { ids[$0] }
            return self.prediction(features: result.features, wordIDs: rest, uid: post.uid).score
        }
        return Faithfulness(regions: regions, words: words)
    }

    /// The features of `removed` regions replaced by the mean of the others'.
    package static func replacing(
        _ removed: [Int], of features: [Float], regions: Int
    ) -> [Float] {
        let channels = features.count / regions
        let isRemoved = Set(removed)
        var sums = [Double](repeating: 0, count: channels)
        for region in 0..<regions where !isRemoved.contains(region) {
            for channel in 0..<channels {
                sums[channel] += Double(features[region * channels + channel])
            }
        }
        let mean = sums.map { Float($0 / Double(regions - isRemoved.count)) }
        var replaced = features
        for region in removed {
            replaced.replaceSubrange(region * channels..<(region + 1) * channels, with: mean)
        }
        return replaced
    }
}

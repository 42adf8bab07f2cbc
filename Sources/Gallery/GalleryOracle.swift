/// The best that can be said about the posts of a user of whom nothing is known but some posts and
/// how they did, by one who knows the law: exact Bayesian inference over who the user may be.
///
/// What is unknown of a user is the group, the warm topics, the size of the audience and the own
/// taste for each colour. Given the group and the topics, a score is linear in the other five, and
/// these are normal (the audience's size a mixture of eight normal variates): so the posterior is
/// a mixture of normal distributions, one for each group (4), set of warm topics (17 in a group)
/// and size (8). With each score every part is moved by Kalman's update and weighed by Bayes' rule.
/// Figures are in units of the score.
///
/// Two things are taken a little more simply than they are: the twelve added even numbers of
/// `SceneRandom.gaussian` as normal, and the users of one block as independent of each other.
package struct GalleryOracle: Sendable {
    package struct Expectation: Sendable, Equatable {
        package let score: Double
        /// Of the post's score, noise and all, around `score`: the squared error to be expected.
        package let variance: Double
    }

    private struct Kind {
        let group: Int
        let warm: [GalleryTopic]
    }

    /// A user who may be, of one kind and with a size drawn around one of the eight.
    private struct Candidate {
        /// An index into `kinds`.
        let kind: Int
        /// Of the audience, then of the own taste for each colour; the rest is 0.
        var mean: SIMD8<Double>
        /// The binary logarithm, but for a constant.
        var weight: Double
    }

    /// What of a post's score is known for users of one kind, and what each unknown value counts.
    private struct Equation {
        let group: Int
        let known: Double
        let factors: SIMD8<Double>
    }

    private static let unknowns = 1 + GalleryColor.allCases.count
    private static let binaryLogarithmOfE = 1.442_695_040_888_963_4

    private let law: GalleryLaw
    private var kinds: [Kind] = []
    private var candidates: [Candidate] = []
    /// By group: the rows of the unknown values' covariance. It depends on the posts alone, not on
    /// their scores, and of who the user may be only on the group.
    private var covariances: [[SIMD8<Double>]]

    /// Before the first score.
    package init(law: GalleryLaw) {
        self.law = law
        func square(_ value: Double) -> Double { value * value }
        let variances =
            [square(GalleryUser.audienceDeviation * GalleryUser.sizeDeviation)]
            + GalleryColor.allCases.map { _ in square(GalleryUser.colorDeviation) }
        let prior = variances.enumerated().map { place, variance in
            var row = SIMD8<Double>.zero
            row[place] = variance
            return row
        }
        covariances = law.groups.map { _ in prior }
        for (group, tastes) in law.groups.enumerated() {
            for (warm, probability) in Self.warmSets(tastes.warm) {
                for size in GalleryUser.sizes {
                    var mean = SIMD8<Double>.zero
                    mean[0] = GalleryUser.audienceDeviation * size
                    candidates.append(
                        Candidate(
                            kind: kinds.count, mean: mean, weight: ExactMath.log2(probability)))
                }
                kinds.append(Kind(group: group, warm: warm))
            }
        }
    }

    /// What may be warm to a user of a group, and how probable that is.
    private static func warmSets(
        _ groups: [GalleryTopic]
    ) -> [(topics: [GalleryTopic], probability: Double)] {
        let cold = GalleryTopic.allCases.filter { !groups.contains($0) }
        let own = Double(GalleryUser.ownTopicPercent) / 100
        var sets = [(topics: groups, probability: 1 - own)]
        for place in groups.indices {
            for topic in cold {
                var warm = groups
                warm[place] = topic
                sets.append((warm, own / Double(groups.count * cold.count)))
            }
        }
        return sets
    }

    /// What is to be expected of a post of the user, after the scores learnt so far.
    package func expectation(of post: GalleryPost) -> Expectation {
        let largest = candidates.map(\.weight).max() ?? 0
        let variances = law.groups.indices.map { variance(of: post, group: $0) }
        let equations = kinds.map { equation(of: post, for: $0) }
        var (sum, first, second) = (0.0, 0.0, 0.0)
        for candidate in candidates where candidate.weight > largest - 60 {
            let weight = ExactMath.exp2(candidate.weight - largest)
            let equation = equations[candidate.kind]
            let score = equation.known + (equation.factors * candidate.mean).sum()
            sum += weight
            first += weight * score
            second += weight * (variances[equation.group] + score * score)
        }
        let score = first / sum
        return Expectation(score: score, variance: second / sum - score * score)
    }

    /// Takes in how a post of the user did.
    package mutating func learn(_ post: GalleryPost, score: Double) {
        let variances = law.groups.indices.map { variance(of: post, group: $0) }
        let equations = kinds.map { equation(of: post, for: $0) }
        let gains = law.groups.indices.map { group in
            let factors = factors(of: post, group: group)
            var gain = SIMD8<Double>.zero
            for place in 0..<Self.unknowns {
                gain[place] = (covariances[group][place] * factors).sum() / variances[group]
            }
            return gain
        }
        for place in candidates.indices {
            let candidate = candidates[place]
            let equation = equations[candidate.kind]
            let (variance, gain) = (variances[equation.group], gains[equation.group])
            let surprise =
                score - equation.known - (equation.factors * candidate.mean).sum()
            candidates[place].mean += gain * surprise
            candidates[place].weight -=
                (surprise * surprise / variance * Self.binaryLogarithmOfE
                    + ExactMath.log2(variance)) / 2
        }
        for group in law.groups.indices {
            for place in 0..<Self.unknowns {
                covariances[group][place] -=
                    gains[group] * (gains[group][place] * variances[group])
            }
        }
    }

    // MARK: A post's equation

    /// Of the score, where the group is known: noise and what is not known of the user.
    private func variance(of post: GalleryPost, group: Int) -> Double {
        let factors = factors(of: post, group: group)
        var variance = law.noiseDeviation * law.noiseDeviation
        for place in 0..<Self.unknowns {
            variance += factors[place] * (covariances[group][place] * factors).sum()
        }
        return variance
    }

    /// 1 for the audience, and how far each colour counts.
    private func factors(of post: GalleryPost, group: Int) -> SIMD8<Double> {
        var factors = SIMD8<Double>.zero
        factors[0] = 1
        let objects = post.picture?.objects ?? []
        let subject = law.subject(of: objects, isNamed: post.isSubjectNamed, to: group)
        for (place, color) in GalleryColor.allCases.enumerated() {
            for (index, object) in objects.enumerated() where object.color == color {
                factors[1 + place] +=
                    subject.map { $0 == index ? 1 : 0 } ?? 1 / Double(objects.count)
            }
        }
        return factors
    }

    private func equation(of post: GalleryPost, for kind: Kind) -> Equation {
        let factors = factors(of: post, group: kind.group)
        var known = law.base + law.effect(of: post.picture)
        for (place, color) in GalleryColor.allCases.enumerated() {
            known += factors[1 + place] * law.appeal(of: color, to: kind.group)
        }
        let warm = post.words.filter { kind.warm.contains($0.topic) }
        for word in warm {
            known +=
                law.appeal(of: word.word, about: word.topic, to: kind.group)
                / Double(warm.count)
        }
        return Equation(group: kind.group, known: known, factors: factors)
    }
}

import Model
import Pipeline

/// Records of learning with whatever they may hold, from a seed.
struct RandomState {
    private var generator: SplitMix64

    init(seed: UInt64) {
        generator = SplitMix64(seed: seed)
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int {
        Int.random(in: range, using: &generator)
    }

    /// Any finite value, the smallest and the largest included.
    mutating func float() -> Float {
        while true {
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
            if value.isFinite { return value }
        }
    }

    mutating func seconds() -> Double {
        switch number(0...3) {
        case 0: Double(number(0...253_402_300_799))
        case 1: 0
        default: Double.random(in: 0...2e9, using: &generator)
        }
    }

    /// A post's time may be its record's timestamp, which producers set as they like.
    mutating func postedAt() -> Double {
        number(0...3) == 0 ? Double(number(Int.min...Int.max)) / 1_000 : seconds()
    }

    mutating func label() -> Float {
        Float.random(in: LabelRule.labels, using: &generator)
    }

    mutating func identifier() -> String {
        let pieces = [
            "a", "25893@N22", "\"", "\\", "\u{0}", "\n", "\u{7F}", "é", "e\u{301}", "가",
            "\u{1F600}",
            ",", "]", "null", " ",
        ]
        return (0..<number(1...20)).map { _ in pieces[number(0...pieces.count - 1)] }.joined()
    }

    private mutating func maybe<Value>(_ value: Value) -> Value? {
        number(0...1) == 0 ? nil : value
    }

    mutating func scoredPost() -> ScoredPost {
        var post = ScoredPost(
            pid: identifier(), uid: identifier(), model: identifier(), postedAt: postedAt(),
            score: float(), userVector: identifier(), frozenScore: float(),
            userMean: maybe(float()), userLabels: number(0...Int.max))
        for place in 0..<number(0...ScoredPost.maximumLabels) {
            post.labels.append(
                ScoredPost.Label(
                    horizon: place == 0 ? nil : Double(place) + 1 / (1 + seconds()),
                    views: Int64(number(0...1_000_000_000_000)), observedAt: seconds()))
        }
        return post
    }

    mutating func joinedLabel() -> JoinedLabel {
        var post = scoredPost()
        post.labels = []
        return JoinedLabel(
            post: post, horizon: maybe(1 + seconds() / 1_000), teaches: number(0...1) == 0,
            views: Int64(number(0...1_000_000_000_000)), observedAt: seconds(), label: label(),
            isCorrection: number(0...1) == 0)
    }

    mutating func learner(dimension: Int? = nil, full: Bool = false) -> LearnerState {
        let dimension = dimension ?? number(1...64)
        var state = LearnerState(uid: identifier(), model: identifier())
        var version = 0
        for _ in 0..<(full ? LearnerState.maximumVectors : number(0...8)) {
            version += number(1...1_000)
            state.vectors.append(
                LearnerState.Vector(
                    version: version, values: (0..<dimension).map { _ in float() },
                    learnedAt: seconds(), labels: number(0...1_000_000),
                    rolledBackTo: version > 1 ? maybe(number(1...version - 1)) : nil))
        }
        for _ in 0..<(full ? LearnerState.maximumPosts : number(0...32)) {
            state.posts.append(
                LearnerState.LabelledPost(
                    pid: identifier(), label: label(), postedAt: postedAt(), observedAt: seconds(),
                    number: number(0...Int.max)))
        }
        state.labelCount = number(0...Int.max)
        state.labelSum = Double.random(in: -1e9...1e9, using: &generator)
        state.labelsSinceUpdate = number(0...100)
        state.updateTriedAt = maybe(seconds())
        return state
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }
}

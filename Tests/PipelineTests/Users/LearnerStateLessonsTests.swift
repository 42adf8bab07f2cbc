import Pipeline
import Testing

@Suite struct LearnerStateLessonsTests {
    private static func label(
        _ pid: String, _ value: Float, at time: Double = 0, isCorrection: Bool = false
    ) -> JoinedLabel {
        JoinedLabel(
            post: ScoredPost(
                pid: pid, uid: "u", model: "m", postedAt: time - 100, score: 0,
                userVector: "unknown", frozenScore: 0, userMean: nil, userLabels: 0),
            horizon: nil, teaches: true, views: 1, observedAt: time, label: value,
            isCorrection: isCorrection)
    }

    @Test func theWindowHoldsTheLast32PostsAndTheMeanGoesOverAll() {
        var state = LearnerState(uid: "u", model: "m")
        var dropped: [String] = []
        for number in 0..<40 {
            let gone = state.take(Self.label("p\(number)", Float(number), at: Double(number)))
            if let gone { dropped.append(gone) }
        }
        #expect(dropped == (0..<8).map { "p\($0)" })
        #expect(state.posts.map(\.pid) == (8..<40).map { "p\($0)" })
        #expect(state.posts.map(\.number) == Array(8..<40))
        #expect(state.posts[0].postedAt == -92)
        #expect(state.labelCount == 40)
        #expect(state.labelMean == 19.5)
        #expect(state.labelsSinceUpdate == 40)
    }

    @Test func aCorrectionTakesThePlaceOfThePostsLabel() {
        var state = LearnerState(uid: "u", model: "m")
        for number in 0..<3 { state.take(Self.label("p\(number)", 2, at: Double(number))) }
        state.updateTried(at: 2)
        #expect(state.take(Self.label("p1", 8, at: 1.5, isCorrection: true)) == nil)
        #expect(state.posts.map(\.pid) == ["p0", "p1", "p2"])
        #expect(state.posts.map(\.label) == [2, 8, 2])
        #expect(state.posts.map(\.number) == [0, 1, 2])
        #expect(state.posts[1].observedAt == 1.5)
        #expect(state.labelCount == 3)
        #expect(state.labelMean == 4)
        #expect(state.labelsSinceUpdate == 1)
        #expect(state.updateTriedAt == 2)
    }

    @Test func aCorrectionOfAPostThatHasLeftTheWindowChangesNothing() {
        var state = LearnerState(uid: "u", model: "m")
        for number in 0..<33 { state.take(Self.label("p\(number)", 1)) }
        let before = state
        #expect(state.take(Self.label("p0", 9, isCorrection: true)) == nil)
        #expect(state == before)
    }

    @Test func postsAreToldApartByCodePoints() {
        var state = LearnerState(uid: "u", model: "m")
        state.take(Self.label("\u{AC00}", 1))
        state.take(Self.label("\u{1100}\u{1161}", 3))
        #expect(state.posts.map(\.label) == [1, 3])
    }

    @Test(
        arguments: [
            (Float.nan, nil), (.infinity, nil), (-.infinity, nil), (1e9, 45), (-1e9, -20), (3, 3),
        ] as [(Float, Float?)])
    func labelsAreBounded(label: Float, taken: Float?) {
        var state = LearnerState(uid: "u", model: "m")
        state.take(Self.label("p", label))
        #expect(state.posts.map(\.label) == (taken.map { [$0] } ?? []))
        #expect(state.labelMean == taken)
        // As a correction, too.
        var corrected = LearnerState(uid: "u", model: "m")
        corrected.take(Self.label("p", 7))
        corrected.take(Self.label("p", label, isCorrection: true))
        #expect(corrected.labelMean == taken ?? 7)
    }

    @Test func theLastEightVectorsAreCarriedAndVersionsNeverRepeat() {
        var state = LearnerState(uid: "u", model: "m")
        #expect(state.current == nil)
        for value in 1...10 {
            state.take(Self.label("p\(value)", 0))
            state.adopt([Float(value)], at: Double(value))
        }
        #expect(state.vectors.map(\.version) == Array(3...10))
        #expect(
            state.current
                == .init(version: 10, values: [10], learnedAt: 10, labels: 10))

        #expect(state.rollBack(to: 2, at: 11) == false)
        #expect(state.rollBack(to: 11, at: 11) == false)
        #expect(state.current?.version == 10)

        // The oldest of eight: its copy stays although it goes itself.
        #expect(state.rollBack(to: 3, at: 11) == true)
        #expect(
            state.current
                == .init(
                    version: 11, values: [3], learnedAt: 11, labels: 10, rolledBackTo: 3))
        #expect(state.rollBack(to: 3, at: 12) == false)
        state.adopt([12], at: 12)
        #expect(state.vectors.map(\.version) == Array(5...12))
        #expect(state.vectors.map(\.rolledBackTo) == [nil, nil, nil, nil, nil, nil, 3, nil])
    }
}

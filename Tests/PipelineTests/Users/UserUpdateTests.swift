import Pipeline
import Testing

@Suite struct UserUpdateTests {
    /// Nothing but the objective: no Huber, no bounds, nobody held out, and time to get there.
    private static var plain: UpdateRule {
        var rule = UpdateRule()
        (rule.huberDelta, rule.steps) = (1_000, 3_000)
        (rule.maximumStep, rule.maximumUnprovenStep, rule.maximumDistanceFromPrior) = (99, 99, 99)
        rule.minimumPostsToHoldOut = .max
        return rule
    }

    private static let zero = [Float](repeating: 0, count: 6)

    // MARK: Where a step leads

    /// residual -10, Huber 2: the gradient is -2, and so are Adam's first mean and root.
    @Test func oneStepByHand() throws {
        var rule = Self.plain
        (rule.huberDelta, rule.steps, rule.priorPull) = (2, 1, 0)
        (rule.learningRate, rule.epsilon) = (0.05, 0.5)
        let outcome = rule.update(
            from: [0], prior: [0], evidence: 0, posts: window([10]), scores: ToyScores(x: [[1]]))
        let vector = try #require(outcome.vector)
        #expect(abs(vector[0] - 0.05 * 2 / 2.5) < 1e-6)
        #expect(outcome.stepNorm == vector[0])
        #expect(outcome.training.before == 2 * (10 - 1))
        #expect(abs(outcome.training.after - 2 * (9.96 - 1)) < 1e-5)
        #expect(outcome.heldOut == .init(posts: 0, before: 0, after: 0))
    }

    /// score = u, prior 1, labels 4 and 6: sum of (u - y)^2 / 2 + pull (u - 1)^2 is smallest at
    /// u = (4 + 6 + 2 pull) / (2 + 2 pull). A prior that stands for 3 labels pulls four times.
    @Test(arguments: [(0, 11.0 / 3), (3, 14.0 / 6)])
    func itGoesToTheLeastSquaresSolution(evidence: Double, optimum: Double) throws {
        let outcome = Self.plain.update(
            from: [1], prior: [1], evidence: evidence, posts: window([4, 6]),
            scores: ToyScores(x: [[1], [1]]))
        #expect(abs(Double(try #require(outcome.vector)[0]) - optimum) < 1e-3)
    }

    /// At the optimum of many features the gradient of the objective is 0, wherever one came from.
    @Test func itGoesThereFromAnywhere() throws {
        var random = NormalNumbers(seed: 1)
        let x = (0..<12).map { _ in random.features(6) }
        let posts = window(x.map { _ in 3 * random.next() })
        let prior = Self.zero.map { _ in random.next() }
        var ends: [[Float]] = []
        for _ in 0..<3 {
            let start = Self.zero.map { _ in random.next() }
            let outcome = Self.plain.update(
                from: start, prior: prior, evidence: 1, posts: posts, scores: ToyScores(x: x))
            let end = try #require(outcome.vector)
            for index in end.indices {
                let slope = posts.indices.reduce(Float(0)) {
                    $0 + (dot(x[$1], end) - posts[$1].label) * x[$1][index]
                }
                #expect(abs(slope + 2 * 0.5 * 2 * (end[index] - prior[index])) < 1e-2)
            }
            ends.append(end)
        }
        #expect(distance(ends[0], ends[1]) < 1e-3 && distance(ends[0], ends[2]) < 1e-3)
    }

    @Test func thePullWeakensWithEveryPost() throws {
        let shares = try [1, 2, 4, 8, 16].map { count in
            let outcome = Self.plain.update(
                from: [0], prior: [0], evidence: 0,
                posts: window([Float](repeating: 5, count: count)),
                scores: ToyScores(x: [[Float]](repeating: [1], count: count)))
            return try #require(outcome.vector)[0] / 5
        }
        // n / (n + 2 pull)
        for (share, expected) in zip(shares, [0.5, 2 / 3, 0.8, 8 / 9, 16 / 17] as [Float]) {
            #expect(abs(share - expected) < 1e-3)
        }
    }

    @Test func aLabelThatWasPredictedWellChangesLittle() throws {
        func step(_ label: Float) -> Float {
            UpdateRule().update(
                from: Self.zero, prior: Self.zero, evidence: 0, posts: window([label]),
                scores: ToyScores(x: [[1, 0, 0, 0, 0, 0]])
            ).stepNorm
        }
        #expect(step(0.01) < 0.01)
        #expect(step(2) > 0.2)
    }

    // MARK: Bounds

    @Test func stepAndDistanceAreBounded() throws {
        var random = NormalNumbers(seed: 2)
        var rule = UpdateRule()
        (rule.learningRate, rule.maximumUnprovenStep) = (0.3, 0.4)
        (rule.maximumDistanceFromPrior, rule.minimumPostsToHoldOut) = (0.9, .max)
        let x = (0..<20).map { _ in random.features(6) }
        let posts = window([Float](repeating: 45, count: 20))
        var (user, norms): ([Float], [Float]) = (Self.zero, [])
        for _ in 0..<8 {
            let outcome = rule.update(
                from: user, prior: Self.zero, evidence: 0, posts: posts, scores: ToyScores(x: x))
            guard let vector = outcome.vector else { break }
            #expect(distance(vector, user) <= 0.4 * 1.00001)
            #expect(distance(vector, Self.zero) <= 0.9 * 1.00001)
            user = vector
            norms.append(outcome.stepNorm)
        }
        #expect(abs(try #require(norms.first) - 0.4) < 1e-5)
        #expect(abs(distance(user, Self.zero) - 0.9) < 1e-4)
        // The rule has become narrower: back inside, a bounded step at a time.
        rule.maximumDistanceFromPrior = 0.3
        let outcome = rule.update(
            from: user, prior: Self.zero, evidence: 0,
            posts: window([-45] + posts.map { _ in -20 }),
            scores: ToyScores(x: [random.features(6)] + x))
        let vector = try #require(outcome.vector)
        #expect(distance(vector, user) <= 0.4 * 1.00001)
        #expect(distance(vector, Self.zero) < 0.9)
    }

    // MARK: Poison

    /// The objective is strongly convex here, so one label moves its optimum by no more than what it
    /// adds to the gradient, over twice the pull; Huber bounds that by delta |x| each way.
    @Test(arguments: [Float.nan, .infinity, -.infinity, 1e9, -1e9, .greatestFiniteMagnitude])
    func oneWildLabelPullsNoHarderThanABoundedOne(wild: Float) throws {
        var rule = Self.plain
        rule.huberDelta = 2
        var random = NormalNumbers(seed: 3)
        let x = (0..<16).map { _ in random.features(6) }
        var labels = x.map { dot($0, [3, -1, 1, 0, 0, 0]) + random.next() / 10 }
        func learn() -> UpdateOutcome {
            rule.update(
                from: Self.zero, prior: Self.zero, evidence: 0, posts: window(labels),
                scores: ToyScores(x: x))
        }
        let honest = try #require(learn().vector)
        labels[4] = wild
        let outcome = learn()
        let poisoned = try #require(outcome.vector)
        #expect(outcome.training.posts == (wild.isFinite ? 16 : 15))
        let bound = 2 * rule.huberDelta * distance(x[4], Self.zero) / (2 * rule.priorPull)
        #expect(distance(honest, poisoned) <= bound)
        #expect(poisoned[0] > 1.5)
        // Beyond the range of labels it makes no difference how far.
        if wild.isFinite {
            labels[4] = wild > 0 ? 45 : -20
            #expect(learn() == outcome)
        }
    }

    /// Thousands of wild labels move a user to the end of what is allowed; as many honest ones as the
    /// window holds, and some more, bring the user back.
    @Test func aFloodIsBoundedAndForgotten() {
        let rule = UpdateRule()
        var user = LearningUser(dimension: 6, rule: rule)
        var random = NormalNumbers(seed: 4)
        for _ in 0..<2_000 { user.label(random.features(6), 1e9) }
        #expect(distance(user.vector, Self.zero) <= rule.maximumDistanceFromPrior * 1.0001)
        #expect(distance(user.vector, Self.zero) > 0.9 * rule.maximumDistanceFromPrior)
        for _ in 0..<150 { user.label(random.features(6), random.next() / 10) }
        #expect(distance(user.vector, Self.zero) < 0.3)
    }

    @Test func nothingThatIsNotFiniteIsAccepted() {
        struct Broken: UserScores {
            let count = 3
            let value: Float
            func scores(_ user: [Float]) -> [Float] { [1, value, 1] }
            func gradient(
                _ user: [Float], back: ([Float]) -> [Float]
            ) -> (scores: [Float], gradient: [Float]) {
                _ = back(scores(user))
                return (scores(user), [value])
            }
        }
        for value in [Float.nan, .infinity, -.infinity] {
            let outcome = UpdateRule().update(
                from: [0], prior: [0], evidence: 0, posts: window([1, 2, 3]),
                scores: Broken(value: value))
            #expect(outcome.reason == .noStep && outcome.vector == nil)
        }
    }

    @Test func withoutPostsThereIsNothingToLearnFrom() {
        for labels in [[], [Float.nan]] {
            let outcome = UpdateRule().update(
                from: [0], prior: [0], evidence: 0, posts: window(labels),
                scores: ToyScores(x: labels.map { _ in [1] }))
            #expect(outcome.reason == .noEncodings && outcome.vector == nil)
        }
    }

    // MARK: Acceptance

    /// Seven posts say "higher"; the newest, which is alike, says "lower".
    @Test func aStepThatMakesHeldOutPostsWorseIsRefused() {
        let scores = ToyScores(x: [[Float]](repeating: [1], count: 8))
        func learn(_ newest: Float) -> UpdateOutcome {
            UpdateRule().update(
                from: [0], prior: [0], evidence: 0,
                posts: window([Float](repeating: 3, count: 7) + [newest]), scores: scores)
        }
        let refused = learn(-3)
        #expect(refused.reason == .heldOutWorse && refused.vector == nil)
        #expect(refused.training.after < refused.training.before)
        #expect(refused.heldOut.after > refused.heldOut.before)
        #expect(learn(3).reason == .accepted)
    }

    /// Labels that are chance: much is learnt by heart, but never at the cost of the held-out posts.
    @Test func whatIsAcceptedNeverMadeHeldOutPostsWorse() {
        var reasons: [UpdateOutcome.Reason: Int] = [:]
        var random = NormalNumbers(seed: 5)
        for _ in 0..<300 {
            let x = (0..<12).map { _ in random.features(6) }
            let outcome = UpdateRule().update(
                from: Self.zero, prior: Self.zero, evidence: 0,
                posts: window(x.map { _ in 2 * random.next() }), scores: ToyScores(x: x))
            reasons[outcome.reason, default: 0] += 1
            #expect((outcome.reason == .accepted) == (outcome.vector != nil))
            if outcome.reason == .accepted {
                #expect(outcome.heldOut.after <= outcome.heldOut.before)
                #expect(outcome.training.after < outcome.training.before)
            }
        }
        #expect(reasons[.accepted, default: 0] > 75)
        #expect(reasons[.heldOutWorse, default: 0] > 75)
    }

    /// Every label judges before it teaches: what is held out has not been trained on in any earlier
    /// update, however far apart updates are.
    @Test(arguments: 1...8)
    func heldOutPostsWereNeverTrainedOn(labelsBetweenUpdates: Int) {
        let rule = UpdateRule()
        var trainedUpTo = 0
        for labels in stride(from: 1, through: 200, by: labelsBetweenUpdates) {
            let posts = max(0, labels - LearnerState.maximumPosts)..<labels
            let heldOut = posts.suffix(rule.heldOutCount(ofPosts: posts.count))
            #expect(heldOut.first.map { $0 >= trainedUpTo } ?? true)
            if labels >= 4 { #expect((1...4).contains(heldOut.count)) }
            trainedUpTo = labels - heldOut.count
        }
    }

    @Test func sameInputSameBits() {
        var random = NormalNumbers(seed: 6)
        let x = (0..<32).map { _ in random.features(64) }
        let posts = window(x.map { _ in 2 * random.next() })
        let start = [Float](repeating: 0.1, count: 64)
        let outcomes = (0..<3).map { _ in
            UpdateRule().update(
                from: start, prior: start, evidence: 2, posts: posts, scores: ToyScores(x: x))
        }
        #expect(outcomes[0].training.before > 0)
        #expect(outcomes[0] == outcomes[1] && outcomes[1] == outcomes[2])
    }

    // MARK: When

    @Test func newUsersLearnAtEveryLabelAndOthersLessOften() {
        var user = LearningUser(dimension: 1, rule: UpdateRule())
        for _ in 0..<120 { user.label([1], 0) }
        let gaps = zip(user.updatedAtLabel.dropFirst(), user.updatedAtLabel).map { $0 - $1 }
        #expect(user.updatedAtLabel.prefix(10) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12])
        #expect(gaps == gaps.sorted())
        #expect(gaps.last == 8)
    }

    @Test func recordTimeMakesAnUpdateDueToo() {
        let rule = UpdateRule()
        var state = LearnerState(uid: "u", model: "m")
        (state.labelCount, state.labelsSinceUpdate, state.updateTriedAt) = (64, 1, 1_000)
        func newest(_ time: Double) -> LearnerState.LabelledPost {
            .init(pid: "p", label: 1, postedAt: 0, observedAt: time, number: 63)
        }
        state.posts = [newest(87_399), newest(500)]
        #expect(!rule.isDue(state))
        state.posts = [newest(87_400), newest(500)]
        #expect(rule.isDue(state))
        state.labelsSinceUpdate = 0
        #expect(!rule.isDue(state))
    }

    // MARK: What it is worth

    /// 200 users with tastes of their own and noisy labels: how far scores are, in the mean over all
    /// posts there could be, from what they should be.
    @Test func usersWhoAreNewAreUnderstoodBetterWithEveryLabel() {
        var random = NormalNumbers(seed: 7)
        var errors = [Float](repeating: 0, count: 21)
        for _ in 0..<200 {
            let taste = Self.zero.map { _ in 1.5 * random.next() }
            var user = LearningUser(dimension: 6, rule: UpdateRule())
            for count in 0...20 {
                if count > 0 {
                    let x = random.features(6)
                    user.label(x, dot(x, taste) + random.next())
                }
                // The first feature is 1, the others have variance 1/4.
                let off = zip(user.vector, taste).map { $0 - $1 }
                errors[count] += (dot(off, off) + 3 * off[0] * off[0]) / 4 / 200
            }
        }
        #expect(errors[1] < 0.95 * errors[0] && errors[2] < 0.95 * errors[1])
        #expect(errors[5] < 0.7 * errors[0])
        #expect(errors[10] < 0.5 * errors[0] && errors[20] < 0.25 * errors[0])
    }
}

/// A user whose labels come one after another, as the daemon takes them.
private struct LearningUser {
    let rule: UpdateRule
    let prior: [Float]
    private(set) var state = LearnerState(uid: "u", model: "m")
    private(set) var updatedAtLabel: [Int] = []
    private var features: [String: [Float]] = [:]
    var vector: [Float] { state.current?.values ?? prior }

    init(dimension: Int, rule: UpdateRule) {
        self.rule = rule
        prior = [Float](repeating: 0, count: dimension)
    }

    mutating func label(_ x: [Float], _ label: Float) {
        let pid = "p\(state.labelCount)"
        let time = Double(state.labelCount)
        features[pid] = x
        let dropped = state.take(
            JoinedLabel(
                post: ScoredPost(
                    pid: pid, uid: "u", model: "m", postedAt: time, score: 0, userVector: "unknown",
                    frozenScore: 0, userMean: nil, userLabels: 0),
                horizon: nil, teaches: true, views: 1, observedAt: time, label: label,
                isCorrection: false))
        if let dropped { features[dropped] = nil }
        guard rule.isDue(state) else { return }
        updatedAtLabel.append(state.labelCount)
        state.updateTried(at: time)
        let outcome = rule.update(
            from: vector, prior: prior, evidence: 0, posts: state.posts,
            scores: ToyScores(x: state.posts.compactMap { features[$0.pid] }))
        if let vector = outcome.vector { state.adopt(vector, at: time) }
    }
}

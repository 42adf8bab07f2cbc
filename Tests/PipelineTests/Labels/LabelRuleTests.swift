import Model
import Pipeline
import Testing

@Suite struct LabelRuleTests {
    private static let day = 86_400.0
    private static let posted = 1_700_000_000.0

    private func post() -> ScoredPost {
        ScoredPost(
            pid: "p", uid: "u", model: "m", postedAt: Self.posted, score: 3, userVector: "v1",
            frozenScore: 2, userMean: 2.5, userLabels: 4)
    }

    private func view(_ views: Int64, days: Double) -> ViewEvent {
        ViewEvent(pid: "p", uid: "u", views: views, observedAt: Self.posted + days * Self.day)
    }

    // MARK: What views say

    @Test func aLabelIsTheLogarithmOfViewsADay() {
        let rule = LabelRule(horizon: nil, minimumDays: 1)
        func label(_ views: Int64, days: Double) -> Float {
            rule.label(
                views: views, postedAt: Self.posted, observedAt: Self.posted + days * Self.day)
        }
        #expect(label(8, days: 2) == 3)
        #expect(abs(label(876, days: 190) - 3.2) < 0.01)
        // No views count as one, and an hour as a day.
        #expect(label(0, days: 4) == -1)
        #expect(label(4, days: 1.0 / 24) == 3)
        #expect(label(4, days: 0) == 3)
    }

    @Test func noUsableRuleLeavesTheBoundsOfLabels() {
        for minimumDays in [1e-6, 1, 3_652.5] {
            let rule = LabelRule(horizon: nil, minimumDays: minimumDays)
            #expect(rule.problem == nil)
            for views in [0, ViewEvent.maximumViews] {
                for observedAt in [0, 253_402_300_799.0] {
                    let label = rule.label(views: views, postedAt: 0, observedAt: observedAt)
                    #expect(LabelRule.labels.contains(label))
                }
            }
        }
    }

    @Test(arguments: [
        (LabelRule(horizon: 0, minimumDays: 1), "0.0 seconds cannot be a horizon"),
        (LabelRule(horizon: .nan, minimumDays: 1), "nan seconds cannot be a horizon"),
        (LabelRule(horizon: nil, trackedHorizons: [1e9], minimumDays: 1), "1000000000.0 seconds"),
        (LabelRule(horizon: 60, trackedHorizons: [60], minimumDays: 1), "a horizon is given twice"),
        (
            LabelRule(horizon: 60, trackedHorizons: [1, 2, 3, 4, 5, 6, 7, 8], minimumDays: 1),
            "8 horizons are tracked; leave at most 7"
        ),
        (LabelRule(horizon: nil, minimumDays: 0), "0.0 cannot be the minimum of days"),
        (LabelRule(horizon: nil, minimumDays: .infinity), "inf cannot be the minimum of days"),
    ])
    func saysWhatIsWrongWithARule(_ rule: LabelRule, _ start: String) {
        #expect(rule.problem?.hasPrefix(start) == true)
    }

    // MARK: Which views are a label

    @Test func aPostOfOneHorizon() throws {
        let rule = LabelRule(horizon: Self.day, minimumDays: 1)
        var post = post()
        func outcome(_ views: Int64, days: Double) -> LabelOutcome? {
            rule.join(view(views, days: days), with: &post).first?.outcome
        }
        #expect(outcome(5, days: -0.001) == .beforePost)
        #expect(outcome(5, days: 0) == .tooEarly)
        #expect(outcome(5, days: 0.999) == .tooEarly)
        #expect(outcome(90, days: 1.2501) == .tooLate)
        #expect(post.labels.isEmpty)

        #expect(outcome(80, days: 1.25) == .taken)
        #expect(outcome(80, days: 1.25) == .repeated)
        #expect(outcome(81, days: 1.25) == .correction)
        #expect(outcome(64, days: 1.0) == .correction)
        #expect(outcome(70, days: 1.1) == .farther)
        #expect(outcome(81, days: 1.25) == .farther)
        #expect(
            post.labels == [
                .init(horizon: Self.day, views: 64, observedAt: Self.posted + Self.day)
            ])
    }

    @Test func theLearnerIsToldOfLabelsAndCorrections() throws {
        let rule = LabelRule(horizon: Self.day, minimumDays: 1)
        var known = post()
        let first = rule.join(view(128, days: 1.25), with: &known)
        var expected = JoinedLabel(
            post: post(), horizon: Self.day, teaches: true, views: 128,
            observedAt: Self.posted + 1.25 * Self.day,
            label: rule.label(
                views: 128, postedAt: Self.posted, observedAt: Self.posted + 1.25 * Self.day),
            isCorrection: false)
        #expect(first.map(\.lesson) == [expected])

        let second = rule.join(view(64, days: 1), with: &known)
        expected.views = 64
        expected.observedAt = Self.posted + Self.day
        expected.label = 7
        expected.isCorrection = true
        #expect(second.map(\.lesson) == [expected])
        #expect(rule.join(view(64, days: 1), with: &known).map(\.lesson) == [nil])
    }

    @Test func whereAnyAgeCountsTheFirstToArriveStays() {
        let rule = LabelRule(horizon: nil, minimumDays: 1)
        var post = post()
        func outcome(_ views: Int64, days: Double) -> LabelOutcome? {
            rule.join(view(views, days: days), with: &post).first?.outcome
        }
        #expect(outcome(5, days: -1) == .beforePost)
        #expect(outcome(876, days: 190) == .taken)
        #expect(outcome(5, days: 1) == .alreadyLabelled)
        #expect(outcome(900, days: 191) == .alreadyLabelled)
        #expect(outcome(876, days: 190) == .repeated)
        #expect(outcome(877, days: 190) == .correction)
        #expect(post.labels.map(\.views) == [877])
    }

    @Test func trackedHorizonsJudgeAndDoNotTeach() throws {
        let rule = LabelRule(
            horizon: Self.day, trackedHorizons: [Self.day / 24, 1.2 * Self.day], minimumDays: 1)
        var post = post()
        let joins = rule.join(view(64, days: 1.2), with: &post)
        #expect(joins.map(\.horizon) == [Self.day, Self.day / 24, 1.2 * Self.day])
        #expect(joins.map(\.outcome) == [.taken, .tooLate, .taken])
        #expect(joins.map { $0.lesson?.teaches } == [true, nil, false])
        #expect(post.labels.map(\.horizon) == [Self.day, 1.2 * Self.day])
    }

    @Test func aPostKeepsTheLabelsOfTheHorizonsOfToday() throws {
        var post = post()
        func join(_ tracked: [Double]) -> [LabelOutcome] {
            let rule = LabelRule(horizon: Self.day, trackedHorizons: tracked, minimumDays: 1)
            return rule.join(view(1, days: 1.2), with: &post).map(\.outcome)
        }
        let before = (1...7).map { Self.day + Double($0) }
        #expect(join(before) == Array(repeating: .taken, count: 8))
        #expect(join([1.1 * Self.day, 1.2 * Self.day]) == [.repeated, .taken, .taken])
        #expect(post.labels.count == ScoredPost.maximumLabels)
        #expect(
            post.labels.map(\.horizon)
                == [Self.day] + before[2...] + [1.1 * Self.day, 1.2 * Self.day])
        #expect(try ScoredPost(parsing: post.json) == post)
    }

    // MARK: A thousand streams

    /// A thousand random streams: times that fall on each other and on the windows' edges.
    private func eachStream(
        _ check: (inout SplitMix64, LabelRule, [ViewEvent]) throws -> Void
    ) rethrows {
        for seed in 0..<1_000 {
            var generator = SplitMix64(seed: UInt64(seed))
            let rule = LabelRule(
                horizon: Self.day, trackedHorizons: [Self.day / 2, 1.125 * Self.day],
                minimumDays: 1)
            let views = (0..<Int.random(in: 1...30, using: &generator)).map { _ in
                view(
                    Int64.random(in: 0...3, using: &generator),
                    days: Double(Int.random(in: -1...24, using: &generator)) / 16)
            }
            try check(&generator, rule, views)
        }
    }

    private func labels(_ rule: LabelRule, _ views: [ViewEvent]) -> [ScoredPost.Label] {
        var post = post()
        for view in views { _ = rule.join(view, with: &post) }
        return post.labels.sorted { $0.horizon ?? 0 < $1.horizon ?? 0 }
    }

    @Test func theOrderOfArrivalDoesNotChangeTheLabel() {
        var found = 0
        eachStream { generator, rule, views in
            // Words on the same moment correct each other, so these keep their order.
            let moments = views.map(\.observedAt).shuffled(using: &generator)
            var byMoment = Dictionary(grouping: views, by: \.observedAt).mapValues { $0[...] }
            let shuffled = moments.compactMap { byMoment[$0]?.popFirst() }
            #expect(shuffled.count == views.count)
            let labels = labels(rule, views)
            #expect(self.labels(rule, shuffled) == labels)
            found += labels.count

            // And it is the one that the rule's sentence names.
            for horizon in [Self.day / 2, Self.day, 1.125 * Self.day] {
                let window = views.filter {
                    horizon...(1.25 * horizon) ~= $0.observedAt - Self.posted
                }
                let first = window.map(\.observedAt).min()
                let word = window.last { $0.observedAt == first }
                #expect(labels.first { $0.horizon == horizon }?.views == word?.views)
                #expect(labels.first { $0.horizon == horizon }?.observedAt == first)
            }
        }
        #expect(found > 2_000)
    }

    @Test func joiningAgainChangesNothing() {
        eachStream { _, rule, views in
            var post = post()
            for view in views {
                _ = rule.join(view, with: &post)
                let before = post
                #expect(rule.join(view, with: &post).allSatisfy { $0.lesson == nil })
                #expect(post == before)
            }
            // All of it again, where no moment was corrected.
            let moments = Dictionary(grouping: views, by: \.observedAt)
            let uncorrected = views.filter { moments[$0.observedAt]?.count == 1 }
            var known = self.post()
            for view in uncorrected { _ = rule.join(view, with: &known) }
            for view in uncorrected {
                #expect(rule.join(view, with: &known).allSatisfy { $0.lesson == nil })
            }
        }
    }

    @Test func aLabelJudgesOnceAndTheLastLessonIsTheLabel() {
        eachStream { _, rule, views in
            var post = post()
            var told: [Double: [JoinedLabel]] = [:]
            for view in views {
                for join in rule.join(view, with: &post) {
                    if let lesson = join.lesson { told[join.horizon ?? 0, default: []] += [lesson] }
                }
            }
            #expect(told.count == post.labels.count)
            for label in post.labels {
                let lessons = told[label.horizon ?? 0] ?? []
                #expect(
                    lessons.map(\.isCorrection) == lessons.indices.map { $0 > 0 })
                #expect(lessons.last?.views == label.views)
                #expect(lessons.last?.observedAt == label.observedAt)
            }
        }
    }
}

import Glibc
import Model
import Pipeline
import Testing

/// Recorded events led through the pipeline, with a scorer and a learner whose vectors say which
/// labels they have seen.
@Suite struct ReplayTests {
    private static let day = 86_400.0

    private struct Post {
        var number: Int
        var uid: String
        var postedAt: Double
        var pid: String { "p\(number)" }

        var event: RecordedEvent {
            let line = #"{"uid":"\#(uid)","pid":"\#(pid)","postdate":\#(postedAt)}"#
            return RecordedEvent(
                time: Milliseconds(postedAt * 1_000), .post(Array(line.utf8), uid: uid))
        }

        func view(_ views: Int64, at time: Double, deliveredAt: Double? = nil) -> RecordedEvent {
            RecordedEvent(
                time: Milliseconds((deliveredAt ?? time) * 1_000),
                .view(ViewEvent(pid: pid, uid: uid, views: views, observedAt: time)))
        }
    }

    /// What scoring saw: the post, and the labels that its user's vector had learnt from.
    private final class Witness {
        var seen: [(pid: String, labels: Set<Int>, version: Int)] = []
        var learned: [(pids: [String], encodings: [[UInt8]?])] = []
    }

    private static func replay(
        _ witness: Witness, posts: Int, isFrozen: Bool = false, maximumEncodingBytes: Int = 1 << 20,
        horizon: Double? = nil
    ) -> Replay<String> {
        var rule = UpdateRule()
        rule.maximumLabelsBetweenUpdates = 1
        let loss = UpdateOutcome.Loss(posts: 0, before: 0, after: 0)
        return Replay<String>(
            learning: LearnConfiguration(
                model: "m", labels: LabelRule(horizon: horizon, minimumDays: 1), updates: rule),
            isFrozen: isFrozen, maximumEncodingBytes: maximumEncodingBytes,
            workers: .init(
                prepare: { _ in .failure(.permanent(.imageUnavailable, "none here")) },
                score: { post, _, user in
                    let vector = user?.vector ?? []
                    witness.seen.append(
                        (
                            post.pid, Set(vector.indices.filter { vector[$0] > 0 }),
                            user?.version ?? 0
                        ))
                    var scoring = Scoring(
                        score: vector.reduce(3, +), model: "m",
                        userVector: user?.version == nil ? "unknown" : "v\(user?.version ?? 0)",
                        flags: [],
                        attention: ScoreAttention(
                            words: [], image: nil, textWeight: 0, imageWeight: 0))
                    scoring.learning = Scoring.Learning(
                        frozenScore: 3, userMean: user?.labelMean,
                        userLabels: user?.labelCount ?? 0, encoding: Array(post.pid.utf8))
                    return .success(scoring)
                },
                learn: { state, encodings in
                    var vector = state.current?.values ?? [Float](repeating: 0, count: posts)
                    for post in state.posts {
                        if let number = Int(post.pid.dropFirst()) { vector[number] = post.label }
                    }
                    witness.learned.append(
                        (state.posts.map(\.pid), state.posts.map { encodings($0.pid) }))
                    return LearningResult(
                        outcome: UpdateOutcome(
                            reason: .accepted, vector: vector, stepNorm: 0, training: loss,
                            heldOut: loss), missingEncodings: 0)
                }))
    }

    private static func judged(_ reports: [ScorePath<String>.Report]) -> [JoinedLabel] {
        reports.compactMap {
            if case .learning(.judged(let label)) = $0 { label } else { nil }
        }
    }

    private static func outcomes(_ reports: [ScorePath<String>.Report]) -> [LabelOutcome] {
        reports.compactMap {
            if case .learning(.label(let outcome)) = $0 { outcome } else { nil }
        }
    }

    // MARK: One after the other

    @Test func aLabelJudgesFirstAndThenTeaches() {
        let witness = Witness()
        var replay = Self.replay(witness, posts: 3)
        let posts = (0..<3).map { Post(number: $0, uid: "u", postedAt: Double($0) * Self.day) }
        var reports = replay.take(posts[0].event)
        #expect(witness.seen[0].labels == [])
        reports = replay.take(posts[0].view(800, at: Self.day))
        let first = Self.judged(reports)
        #expect(first.map(\.post.pid) == ["p0"])
        #expect(first.first?.post.score == 3 && first.first?.label == log2(800) + 1)
        #expect(first.first?.post.userVector == "v0" || first.first?.post.userVector == "unknown")
        #expect(witness.learned.map(\.pids) == [["p0"]])
        #expect(witness.learned.first?.encodings == [Array("p0".utf8)])
        _ = replay.take(posts[1].event)
        #expect(witness.seen[1].labels == [0] && witness.seen[1].version == 1)
        reports = replay.take(posts[1].view(100, at: 2 * Self.day))
        #expect(Self.judged(reports).first?.post.userVector == "v1")
        #expect(Self.judged(reports).first?.post.userLabels == 1)
        #expect(replay.learned("u")?.current?.version == 2)
    }

    @Test func aCorrectionTeachesAndDoesNotJudgeAgain() {
        let witness = Witness()
        var replay = Self.replay(witness, posts: 1)
        let post = Post(number: 0, uid: "u", postedAt: 0)
        var reports = replay.take(post.event)
        reports += replay.take(post.view(800, at: Self.day))
        reports += replay.take(post.view(900, at: Self.day))
        reports += replay.take(post.view(900, at: Self.day))
        #expect(Self.outcomes(reports) == [.taken, .correction, .repeated])
        #expect(Self.judged(reports).count == 1)
        #expect(witness.learned.count == 2)
        #expect(replay.learned("u")?.posts.map(\.label) == [log2(900) + 1])
        #expect(replay.learned("u")?.labelCount == 1)
    }

    @Test func frozenItJudgesAndTeachesNothing() {
        let witness = Witness()
        var replay = Self.replay(witness, posts: 2, isFrozen: true)
        let post = Post(number: 0, uid: "u", postedAt: 0)
        var reports = replay.take(post.event)
        reports += replay.take(post.view(800, at: Self.day))
        #expect(Self.judged(reports).count == 1 && witness.learned.isEmpty)
        #expect(replay.learned("u")?.labelCount == 1)
        #expect(replay.learned("u")?.current == nil)
    }

    @Test func aViewThatComesBeforeItsPostWaitsForIt() {
        let witness = Witness()
        var replay = Self.replay(witness, posts: 1)
        let post = Post(number: 0, uid: "u", postedAt: 1_000)
        var reports = replay.take(post.view(5, at: 2_000, deliveredAt: 900))
        #expect(Self.outcomes(reports) == [.postUnknownWaiting])
        reports = replay.take(post.event)
        #expect(Self.outcomes(reports) == [.taken] && Self.judged(reports).count == 1)
        #expect(witness.learned.count == 1)
    }

    @Test func keptEncodingsAreBoundedAndTheOldestGo() {
        let witness = Witness()
        var replay = Self.replay(witness, posts: 4, maximumEncodingBytes: 4)  // two of "p0"
        let posts = (0..<4).map { Post(number: $0, uid: "u", postedAt: Double($0)) }
        for post in posts { _ = replay.take(post.event) }
        for post in posts { _ = replay.take(post.view(1, at: Self.day)) }
        #expect(witness.learned.last?.pids == ["p0", "p1", "p2", "p3"])
        #expect(
            witness.learned.last?.encodings == [nil, nil, Array("p2".utf8), Array("p3".utf8)])
    }

    // MARK: Many

    /// A few users' posts on whole days, so that many events share a moment; views hours to days
    /// later, some twice with another count, some of them late.
    private static func stream(seed: UInt64) -> (posts: [Post], lines: [(Post, [ViewEvent])]) {
        var random = SplitMix64(seed: seed)
        var posts: [Post] = []
        var lines: [(Post, [ViewEvent])] = []
        for number in 0..<120 {
            let post = Post(
                number: number, uid: "u\(random.number(below: 4))",
                postedAt: Double(random.number(below: 30)) * day)
            posts.append(post)
            var views: [ViewEvent] = []
            for _ in 0..<1 + random.number(below: 2) {
                views.append(
                    ViewEvent(
                        pid: post.pid, uid: post.uid, views: Int64(random.number(below: 5_000)),
                        observedAt: post.postedAt + Double(1 + random.number(below: 3)) * day))
            }
            lines.append((post, views))
        }
        return (posts, lines)
    }

    private static func events(
        _ stream: (posts: [Post], lines: [(Post, [ViewEvent])])
    ) throws -> RecordedEvents {
        var events = RecordedEvents()
        for (post, _) in stream.lines {
            guard case .post(let line, _) = post.event.content else { continue }
            try events.readPost(line, withViews: false)
        }
        for (_, views) in stream.lines { for view in views { try events.readView(view.json) } }
        return events
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func noPostIsScoredByAVectorThatHasSeenItsOwnOrALaterLabel(seed: UInt64) throws {
        let stream = Self.stream(seed: seed)
        let events = try Self.events(stream).inOrder
        let witness = Witness()
        var replay = Self.replay(witness, posts: stream.posts.count)
        var judged: [String: Int] = [:]
        for event in events {
            for label in Self.judged(replay.take(event)) { judged[label.post.pid, default: 0] += 1 }
        }
        #expect(witness.seen.count == stream.posts.count)
        var hadSome = false
        for (pid, labels, _) in witness.seen {
            let number = try #require(Int(pid.dropFirst()))
            #expect(!labels.contains(number))
            for earlier in labels {
                hadSome = true
                let first = try #require(stream.lines[earlier].1.map(\.observedAt).min())
                #expect(first < stream.posts[number].postedAt, "\(earlier) taught \(number)")
                #expect(stream.posts[earlier].uid == stream.posts[number].uid)
            }
        }
        #expect(hadSome)
        #expect(judged.count == stream.posts.count && judged.values.allSatisfy { $0 == 1 })
    }

    @Test func allThatCouldHaveTaughtHasTaught() throws {
        let stream = Self.stream(seed: 9)
        let witness = Witness()
        var replay = Self.replay(witness, posts: stream.posts.count)
        for event in try Self.events(stream).inOrder { _ = replay.take(event) }
        for (pid, labels, _) in witness.seen {
            let post = stream.posts[try #require(Int(pid.dropFirst()))]
            let known = stream.lines.filter { other, views in
                other.uid == post.uid
                    && (views.map(\.observedAt).min() ?? .infinity) < post.postedAt
            }.map(\.0.number)
            #expect(labels == Set(known))
        }
    }

    @Test func theSameEventsGiveTheSameReports() throws {
        let events = try Self.events(Self.stream(seed: 3)).inOrder
        func reports() -> [ScorePath<String>.Report] {
            var replay = Self.replay(Witness(), posts: 120)
            return events.flatMap { replay.take($0) }
        }
        let once = reports()
        #expect(once == reports() && Self.judged(once).count == 120)
    }
}

/// Files of posts and views, put into one order.
@Suite struct RecordedEventsTests {
    private func line(_ pid: String, _ members: String) -> [UInt8] {
        Array(#"{"uid":"u","pid":"\#(pid)",\#(members)}"#.utf8)
    }

    private func describe(_ events: RecordedEvents) -> [String] {
        events.inOrder.map { event in
            switch event.content {
            case .post(_, let uid): "\(event.time) post of \(uid)"
            case .view(let view): "\(event.time) \(view.pid) \(view.views)"
            }
        }
    }

    @Test func viewsComeWhenTheyWereObservedAndAfterThePostsOfTheirMoment() throws {
        var events = RecordedEvents()
        try events.readPost(
            line("a", #""postdate":"100","views":"7","observed_at":"200""#), withViews: true)
        try events.readPost(line("b", #""postdate":200"#), withViews: true)
        #expect(describe(events) == ["100000 post of u", "200000 post of u", "200000 a 7"])
    }

    @Test func aDelayMovesTheDeliveryAndNotTheObservation() throws {
        var events = RecordedEvents(deliveryDelaySeconds: 10, observedAt: 5_000)
        try events.readPost(line("a", #""postdate":100,"views":7"#), withViews: true)
        #expect(describe(events) == ["100000 post of u", "110000 a 7"])
        guard case .view(let view) = events.inOrder.last?.content else {
            Issue.record("no view")
            return
        }
        #expect(view.observedAt == 5_000)
    }

    @Test func whatIsLeftOutIsCounted() throws {
        var events = RecordedEvents()
        let posts = [
            line("a", #""postdate":100,"views":7"#), line("b", #""views":7"#),
            line("c", #""postdate":300,"views":1,"observed_at":400"#),
        ]
        for post in posts {
            try events.readPost(post, withViews: true) { pid, postedAt in
                pid != "c" && postedAt > 0
            }
        }
        try events.readView(line("c", #""views":1,"observed_at":500"#))
        #expect(throws: EventError.self) { try events.readView(Array("{}".utf8)) }
        #expect(throws: EventError.self) { try events.readPost([1], withViews: true) }
        var expected = RecordedEvents.Counts()
        (expected.posts, expected.unreadableLines, expected.postsLeftOut) = (1, 2, 1)
        (expected.postsWithoutTime, expected.viewsWithoutTime, expected.viewsOfNoPost) = (1, 1, 1)
        #expect(events.counts == expected)
        #expect(describe(events) == ["100000 post of u"])
    }
}

/// The one list of what can be set of an update rule.
@Suite struct UpdateRuleSettingTests {
    @Test func everySettingReadsWhatItWrites() {
        for setting in UpdateRuleSetting.all {
            var rule = UpdateRule()
            #expect(setting.range.contains(setting.value(in: rule)), "\(setting.name)")
            let other = setting.isWhole ? setting.range.lowerBound + 1 : 2.5
            #expect(setting.set(other, in: &rule) && setting.value(in: rule) == other)
            #expect(!setting.set(setting.range.upperBound * 2, in: &rule))
            #expect(!setting.set(.nan, in: &rule))
            #expect(setting.value(in: rule) == other && rule != UpdateRule())
        }
        #expect(Set(UpdateRuleSetting.all.map(\.name)).count == UpdateRuleSetting.all.count)
    }

    @Test func wholeNumbersStayWhole() throws {
        let steps = try #require(UpdateRuleSetting.named("steps"))
        var rule = UpdateRule()
        #expect(!steps.set(2.5, in: &rule) && rule == UpdateRule())
        #expect(steps.accepts == "a whole number from 1 to 100")
    }
}

extension SplitMix64 {
    fileprivate mutating func number(below bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

import Model
import Pipeline
import Testing

/// One user sends what views should never be. It may cost that user's vector something, within
/// bounds, and nobody else anything.
@Suite struct PoisonedLabelTests {
    private static let posts = 12

    @Test(arguments: Poison.allCases)
    func costsNobodyElseAnything(_ poison: Poison) throws {
        var clean = SmallDaemon()
        var poisoned = SmallDaemon()
        for part in 0..<Self.posts {
            poisoned.take(poison.records(part: part, of: Self.posts))
            for uid in ["good", "w"] {
                // Some come before their post, and wait meanwhile.
                let records = [
                    SmallDaemon.view("\(part)", of: uid, views: 3 << Int64(part % 6)),
                    SmallDaemon.post("\(part)", of: uid),
                ]
                let ordered = part % 3 == 0 ? records : records.reversed()
                clean.take(Array(ordered.prefix(1)))
                poisoned.take(Array(ordered.prefix(1)))
                poisoned.take(poison.records(part: part, of: Self.posts, round: 1))
                clean.take(Array(ordered.suffix(1)))
                poisoned.take(Array(ordered.suffix(1)))
            }
        }
        for uid in ["good", "w"] {
            let state = try #require(clean.users[uid])
            #expect(state.labelCount == Self.posts && state.current != nil)
            #expect(poisoned.users[uid] == state, "to the last bit")
        }

        // The user's own vector.
        let rule = UpdateRule()
        let bad = poisoned.users["bad"]
        if poison.isBelieved { #expect(bad?.current != nil) }
        for vector in bad?.vectors ?? [] {
            #expect(vector.values.allSatisfy { $0.isFinite })
            #expect(
                distance(vector.values, SmallDaemon.prior) <= rule.maximumDistanceFromPrior + 1e-3)
        }
        #expect((bad?.posts.count ?? 0) <= LearnerState.maximumPosts)
        if let mean = bad?.labelMean { #expect(LearnerState.labelRange.contains(mean)) }

        // What is written and kept.
        #expect(poisoned.mostOutputs <= 6 + SmallDaemon.maximumEarlyViewsOfUser)
        #expect(poisoned.largestOutput < 16_384)
        #expect(poisoned.earlyViews <= SmallDaemon.maximumEarlyViewsOfUser)
        #expect(poisoned.path.load.bytes == 0 && poisoned.path.load.learningRecords == 0)
    }

    enum Poison: String, CaseIterable {
        case notNumbers, hugeCounts, noViews, viewsOfOnePost, manyPosts, unknownPosts, farFuture
        case farPast, alternating

        /// It is nothing but labels, so it teaches.
        var isBelieved: Bool {
            switch self {
            case .hugeCounts, .noViews, .viewsOfOnePost, .manyPosts, .alternating: true
            case .notNumbers, .unknownPosts, .farFuture, .farPast: false
            }
        }

        /// - Parameter round: 0 in between of posts, 1 between a post and its views.
        func records(part: Int, of parts: Int, round: Int = 0) -> [SmallDaemon.Input] {
            func view(_ pid: String, _ views: Int64, age: Double = 1_100) -> SmallDaemon.Input {
                SmallDaemon.view(pid, of: "bad", views: views, age: age)
            }
            func post(_ pid: String) -> SmallDaemon.Input { SmallDaemon.post(pid, of: "bad") }
            let name = "bad\(part)-\(round)"
            switch self {
            case .notNumbers:
                let wrong = [
                    "NaN", "\"NaN\"", "Infinity", "-1", "1e999", "1e300", "\"-0x1p3\"", "0.5", "[]",
                    "1000000000001", "null",
                ]
                return [post(name)]
                    + wrong.map {
                        SmallDaemon.raw(
                            "{\"uid\":\"bad\",\"pid\":\"\(name)\",\"views\":\($0),"
                                + "\"observed_at\":\(LearningStory.postedAt + 1_100)}")
                    }
                    + ["NaN", "1e300", "-1e300", "\"soon\""].map {
                        SmallDaemon.raw(
                            "{\"uid\":\"bad\",\"pid\":\"\(name)\",\"views\":1,"
                                + "\"observed_at\":\($0)}")
                    }
            case .hugeCounts: return [post(name), view(name, ViewEvent.maximumViews)]
            case .noViews: return [post(name), view(name, 0)]
            case .alternating:
                return [post(name), view(name, part % 2 == 0 ? ViewEvent.maximumViews : 0)]
            case .viewsOfOnePost:
                // Each nearer to the horizon than the last, so each is a correction.
                return (part == 0 && round == 0 ? [post("one")] : [])
                    + (0..<80).map {
                        let number = 80 * (2 * part + round) + $0
                        return view("one", Int64(number) << 20, age: 1_240 - Double(number) / 10)
                    }
            case .manyPosts:
                return (0..<20).flatMap { number in
                    [post("\(name)-\(number)"), view("\(name)-\(number)", 1 << Int64(number))]
                }
            case .unknownPosts:
                return (0..<100).map { view("\(name)-\($0)", 9, age: Double($0) * 1e5) }
            case .farFuture: return [post(name), view(name, 9, age: 250_000_000_000)]
            case .farPast: return [post(name), view(name, 9, age: -LearningStory.postedAt)]
            }
        }
    }
}

/// One task of a daemon in which everything goes well, with a toy model of two features.
struct SmallDaemon {
    typealias Path = ScorePath<Int>
    struct Input {
        var topic: String
        var key: String
        var value: [UInt8]
    }

    static let prior: [Float] = [0.5, -0.25, 1, 0]
    static let maximumEarlyViewsOfUser = 20

    private(set) var path: Path
    /// What is committed.
    private(set) var users: [String: LearnerState] = [:]
    private var posts: [String: ScoredPost] = [:]
    private(set) var earlyViews = 0
    /// Of one record: how many records it has led to, and the largest of them.
    private(set) var mostOutputs = 0
    private(set) var largestOutput = 0
    private let updates: UpdateRule
    private var uptime: Milliseconds = 0
    private var offsets: [String: Int64] = [:]
    private var lessons: [OutputRecord] = []

    init() {
        updates = UpdateRule()
        var configuration = ScorePathConfiguration()
        configuration.commitIntervalMilliseconds = 0
        var learning = LearnConfiguration(
            model: "m", labels: LabelRule(horizon: 1_000, minimumDays: 1e-3), updates: updates)
        learning.maximumEarlyViews = 3 * Self.maximumEarlyViewsOfUser
        learning.maximumEarlyViewsOfUser = Self.maximumEarlyViewsOfUser
        learning.earlyViewSeconds = 1e12
        configuration.learning = learning
        path = Path(configuration: configuration)
        tell(.start)
        tell(.assigned(LearningStory.partitions([0])))
    }

    static func post(_ pid: String, of uid: String) -> Input {
        let value =
            "{\"uid\":\"\(uid)\",\"pid\":\"\(pid)\",\"postdate\":\(LearningStory.postedAt)}"
        return Input(topic: "posts", key: uid, value: Array(value.utf8))
    }

    static func view(
        _ pid: String, of uid: String, views: Int64, age: Double = 1_100
    ) -> Input {
        let view = ViewEvent(
            pid: pid, uid: uid, views: views, observedAt: LearningStory.postedAt + age)
        return Input(topic: "views", key: uid, value: view.json)
    }

    static func raw(_ value: String) -> Input {
        Input(topic: "views", key: "bad", value: Array(value.utf8))
    }

    /// Takes the records, one after the other, and the lessons that follow from each.
    mutating func take(_ inputs: [Input]) {
        for input in inputs {
            take(input.topic, Array(input.key.utf8), input.value)
            while !lessons.isEmpty {
                let lesson = lessons.removeFirst()
                take("lessons", lesson.key, lesson.value)
            }
        }
    }

    private mutating func take(_ topic: String, _ key: [UInt8]?, _ value: [UInt8]?) {
        let offset = offsets[topic, default: 0]
        offsets[topic] = offset + 1
        tell(
            .record(
                Record(
                    partition: Partition(topic: topic, number: 0), offset: offset, key: key,
                    value: value, timestamp: Milliseconds(LearningStory.postedAt * 1_000))))
        uptime += 1
        tell(.tick)
    }

    private mutating func tell(_ event: Path.Event) {
        var events = [event]
        while !events.isEmpty {
            let event = events.removeFirst()
            for effect in path.handle(event, at: Moment(uptime: uptime, epoch: uptime)) {
                if let answer = answer(effect) { events.append(answer) }
            }
        }
    }

    private mutating func answer(_ effect: Path.Effect) -> Path.Event? {
        switch effect {
        case .publish(.readCommitted): return .published(.committed([:]))
        case .publish(.produce(let records)):
            mostOutputs = max(mostOutputs, records.count)
            largestOutput = max(largestOutput, records.map { $0.value?.count ?? 0 }.max() ?? 0)
            lessons += records.filter { $0.topic == "lessons" }
            return .published(.done)
        case .publish: return .published(.done)
        case .restore(let task, let generation):
            return .restored(task, generation: generation, [])
        case .score(let ticket, let post, _, _):
            var scoring = Scoring(
                score: 3, model: "m", userVector: "bundle", flags: [],
                attention: ScoreAttention(words: [], image: nil, textWeight: 0, imageWeight: 1))
            scoring.learning = Scoring.Learning(
                frozenScore: 3, userMean: users[post.uid]?.labelMean,
                userLabels: users[post.uid]?.labelCount ?? 0)
            return .scored(ticket, .success(scoring))
        case .recall(let ticket, _, .post(let uid, let pid)):
            return .recalled(ticket, .post(posts["\(uid) \(pid)"]))
        case .recall(let ticket, _, .learner(let uid)):
            return .recalled(ticket, .learner(users[uid]))
        case .learn(let ticket, _, let state): return .learned(ticket, learn(state))
        case .store(_, let changes):
            for change in changes { store(change) }
            return nil
        default: return nil
        }
    }

    private mutating func store(_ change: StateChange) {
        switch change {
        case .user(let state): users[state.uid] = state
        case .post(let post): posts["\(post.uid) \(post.pid)"] = post
        case .earlyView: earlyViews += 1
        case .forgottenEarlyView: earlyViews -= 1
        default: break
        }
    }

    private func learn(_ state: LearnerState) -> LearningResult {
        let features = state.posts.map { post in
            var numbers = NormalNumbers(seed: post.pid.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
            return numbers.features(Self.prior.count)
        }
        let outcome = updates.update(
            from: state.current?.values ?? Self.prior, prior: Self.prior, evidence: 0,
            posts: state.posts, scores: ToyScores(x: features, z: features))
        return LearningResult(outcome: outcome, missingEncodings: 0)
    }
}

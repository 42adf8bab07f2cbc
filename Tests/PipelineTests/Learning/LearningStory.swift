import Model
import Pipeline
import Testing

/// Leads one score path that learns through a story: says what happens, and returns what is to be
/// done, as short lines. Its users are of the tasks 0 and 1, and all posts are made at `postedAt`.
struct LearningStory {
    typealias Path = ScorePath<Int>

    static let postedAt = 1_700_000_000.0
    static let horizon = 1_000.0

    private(set) var path: Path
    private(set) var now = Moment(uptime: 0, epoch: 1_700_000_000_000)
    private(set) var reports: [LearningReport] = []
    /// Reasons, in the order of the dead letters.
    private(set) var deadLetters: [DeadLetterReason] = []
    /// What the last transaction was given.
    private(set) var produced: [OutputRecord] = []
    /// What was last handed to the store.
    private(set) var stored: [StateChange] = []
    /// The last state that is to be learnt from.
    private(set) var learning: LearnerState?
    /// Its generation, of the last restore.
    private(set) var generation = 0
    private var offsets: [Partition: Int64] = [:]
    private var lastTicket: UInt64 = 0
    /// The step whose answer is waited for.
    private var step: String?
    private let commitInterval: Milliseconds

    init(
        isRestored: Bool = true, _ change: (inout ScorePathConfiguration) -> Void = { _ in }
    ) {
        var updates = UpdateRule()
        updates.labelsPerNewLabel = 1
        updates.maximumLabelsBetweenUpdates = 1
        var configuration = ScorePathConfiguration()
        configuration.idleIntervalMilliseconds = configuration.commitIntervalMilliseconds
        configuration.learning = LearnConfiguration(
            model: "m", labels: LabelRule(horizon: Self.horizon, minimumDays: 1e-3),
            updates: updates)
        configuration.learning?.encodingsTopic = "encodings"
        change(&configuration)
        commitInterval = configuration.commitIntervalMilliseconds
        path = Path(configuration: configuration)
        _ = tell(.start)
        _ = tell(.published(.done))
        _ = tell(.published(.committed([:])))
        _ = assign([0, 1])
        if isRestored {
            _ = tell(.restored(0, generation: 1, []))
            _ = tell(.restored(1, generation: 2, []))
        }
    }

    var load: Path.Load { path.load }

    static func partitions(_ tasks: [Int32]) -> [Partition] {
        tasks.flatMap { task in
            ["posts", "views", "lessons"].map { Partition(topic: $0, number: task) }
        }
    }

    /// What has happened since the last look.
    mutating func takeReports() -> [LearningReport] {
        defer { reports = [] }
        return reports
    }

    // MARK: - What happens

    mutating func tell(_ event: Path.Event) -> [String] {
        if case .published = event { step = nil }
        return path.handle(event, at: now).compactMap { effect in
            let line = describe(effect)
            if case .publish = effect { step = line }
            return line
        }
    }

    mutating func assign(_ tasks: [Int32]) -> [String] {
        tell(.assigned(Self.partitions(tasks)))
    }

    mutating func wait(_ milliseconds: Milliseconds) -> [String] {
        now.uptime += milliseconds
        now.epoch += milliseconds
        return tell(.tick)
    }

    mutating func take(
        _ topic: String, key: String, _ value: [UInt8]?, task: Int32 = 0,
        timestamp: Milliseconds? = Milliseconds(LearningStory.postedAt * 1_000)
    ) -> [String] {
        let partition = Partition(topic: topic, number: task)
        let offset = offsets[partition, default: 0]
        offsets[partition] = offset + 1
        lastTicket += 1
        return tell(
            .record(
                Record(
                    partition: partition, offset: offset, key: Array(key.utf8), value: value,
                    timestamp: timestamp)))
    }

    /// Records come again from the last committed offset.
    mutating func goBack(_ topic: String, task: Int32 = 0, to offset: Int64 = 0) {
        offsets[Partition(topic: topic, number: task)] = offset
    }

    /// Takes a post, looks it up and scores it.
    ///
    /// - Parameter before: what was remembered of it.
    mutating func post(
        _ pid: String, of uid: String = "u", task: Int32 = 0, score: Float = 3, model: String = "m",
        postdate: Double? = LearningStory.postedAt,
        timestamp: Milliseconds? = Milliseconds(LearningStory.postedAt * 1_000),
        before: ScoredPost? = nil
    ) -> [String] {
        let taken = takePost(
            pid, of: uid, task: task, postdate: postdate, timestamp: timestamp)
        return taken.filter { !$0.hasPrefix("recall") } + recalled(lastTicket, .post(before))
            + scored(lastTicket, pid, score: score, model: model)
    }

    mutating func takePost(
        _ pid: String, of uid: String = "u", task: Int32 = 0,
        postdate: Double? = LearningStory.postedAt,
        timestamp: Milliseconds? = Milliseconds(LearningStory.postedAt * 1_000)
    ) -> [String] {
        var value = "{\"uid\":\"\(uid)\",\"pid\":\"\(pid)\""
        if let postdate { value += ",\"postdate\":\(postdate)" }
        return take("posts", key: uid, Array("\(value)}".utf8), task: task, timestamp: timestamp)
    }

    mutating func scored(
        _ ticket: UInt64, _ pid: String, score: Float = 3, model: String = "m"
    ) -> [String] {
        var scoring = Scoring(
            score: score, model: model, userVector: "bundle", flags: [],
            attention: ScoreAttention(words: [], image: nil, textWeight: 0, imageWeight: 1))
        scoring.learning = Scoring.Learning(
            frozenScore: 1, userMean: nil, userLabels: 0, encoding: Array("e\(pid)".utf8))
        return tell(.scored(Ticket(number: ticket), .success(scoring)))
    }

    /// - Parameter age: of the post, in seconds, when the views were counted.
    mutating func view(
        _ pid: String, of uid: String = "u", views: Int64 = 8, age: Double = 1_100, task: Int32 = 0
    ) -> [String] {
        let view = ViewEvent(
            pid: pid, uid: uid, views: views, observedAt: Self.postedAt + age)
        return take("views", key: uid, view.json, task: task)
    }

    mutating func lesson(_ lesson: Lesson, task: Int32 = 0) -> [String] {
        take("lessons", key: lesson.uid, lesson.json, task: task)
    }

    static func label(
        _ pid: String, of uid: String = "u", views: Int64 = 8, model: String = "m",
        teaches: Bool = true, isCorrection: Bool = false
    ) -> Lesson {
        .label(
            JoinedLabel(
                post: remembered(pid, of: uid, model: model), horizon: horizon, teaches: teaches,
                views: views, observedAt: postedAt + 1_100,
                label: LabelRule.label(views: Double(views), seconds: 1_100, minimumDays: 1e-3),
                isCorrection: isCorrection))
    }

    static func remembered(
        _ pid: String, of uid: String = "u", model: String = "m"
    ) -> ScoredPost {
        ScoredPost(
            pid: pid, uid: uid, model: model, postedAt: postedAt, score: 3, userVector: "bundle",
            frozenScore: 1, userMean: nil, userLabels: 0)
    }

    mutating func recalled(_ ticket: UInt64, _ recollection: Recollection) -> [String] {
        tell(.recalled(Ticket(number: ticket), recollection))
    }

    /// An update is done; without a vector, it is refused.
    mutating func learned(_ ticket: UInt64, _ vector: [Float]?) -> [String] {
        let loss = UpdateOutcome.Loss(posts: 1, before: 1, after: 0)
        let outcome = UpdateOutcome(
            reason: vector == nil ? .noStep : .accepted, vector: vector, stepNorm: 1,
            training: loss, heldOut: loss)
        return tell(
            .learned(
                Ticket(number: ticket), LearningResult(outcome: outcome, missingEncodings: 0)))
    }

    // MARK: - Publishing

    /// Waits until a transaction is begun, and answers its steps as they should be answered.
    mutating func commit() -> [String] {
        publishing(until: "publish readCommitted")
    }

    private mutating func publishing(until last: String) -> [String] {
        var lines = wait(commitInterval)
        while let step, step != last { lines += tell(.published(.done)) }
        return lines.filter { !$0.hasPrefix("publish") || $0.hasPrefix("publish produce") }
    }

    /// Up to the commit, whose answer is not given.
    mutating func beginCommit() -> [String] {
        publishing(until: "publish commit")
    }

    // MARK: - Describing

    private mutating func describe(_ effect: Path.Effect) -> String? {
        switch effect {
        case .prepare(let ticket, _, _, _): return "prepare \(ticket)"
        case .score: return nil
        case .cancel(let ticket): return "cancel \(ticket)"
        case .publish(.produce(let records)):
            produced = records
            return "publish produce \(records.map(Self.describe).joined(separator: ", "))"
        case .publish(.sendOffsets): return "publish sendOffsets"
        case .publish(.commitOffsets): return "publish commitOffsets"
        case .publish(.readCommitted): return "publish readCommitted"
        case .publish(let step): return "publish \(step)"
        case .restore(let task, let generation):
            self.generation = generation
            return "restore \(task), generation \(generation)"
        case .recall(let ticket, let task, let recall):
            return "recall \(ticket) \(Self.describe(recall)) in \(task)"
        case .store(let task, let changes):
            stored = changes
            return "store in \(task): \(changes.map(Self.describe).joined(separator: ", "))"
        case .catchUp(let task): return "catch up \(task)"
        case .release(let task): return "release \(task)"
        case .learn(let ticket, let task, let state):
            learning = state
            let pids = state.posts.map(\.pid).joined(separator: " ")
            return "learn \(ticket) \(state.uid) from \(pids) in \(task)"
        case .pause(let partitions): return "pause \(Self.describe(partitions))"
        case .resume(let partitions): return "resume \(Self.describe(partitions))"
        case .confirmRevoked(let partitions):
            return "confirmRevoked \(Self.describe(partitions))"
        case .stopped(let reason): return "stopped \(reason)"
        case .report(.learning(let report)):
            reports.append(report)
            return nil
        case .report(.deadLettered(_, _, let reason, _)):
            deadLetters.append(reason)
            return nil
        case .report: return nil
        }
    }

    private static func describe(_ partitions: [Partition]) -> String {
        partitions.map { "\($0)" }.joined(separator: " ")
    }

    private static func describe(_ recall: Recall) -> String {
        switch recall {
        case .post(let uid, let pid): "post \(pid) of \(uid)"
        case .learner(let uid): "user \(uid)"
        case .posts(let uid): "posts of \(uid)"
        }
    }

    static func describe(_ change: StateChange) -> String {
        switch change {
        case .user(let state):
            "user \(state.uid) v\(state.current?.version ?? 0)"
        case .forgottenUser(let uid, _): "no user \(uid)"
        case .post(let post): "post \(post.pid) with \(post.labels.map(\.views))"
        case .forgottenPost(_, let pid): "no post \(pid)"
        case .earlyView(let view, let number): "early \(view.pid) \(number)"
        case .forgottenEarlyView(_, let pid, let number): "no early \(pid) \(number)"
        case .encoding(_, let pid, _, _): "encoding \(pid)"
        case .forgottenEncoding(_, let pid): "no encoding \(pid)"
        }
    }

    private static func describe(_ output: OutputRecord) -> String {
        let value = output.value ?? []
        switch output.topic {
        case "scores":
            return "score of " + ((try? ScoreEvent(parsing: value))?.pid ?? "nothing")
        case "lessons":
            guard case .label(let label) = try? Lesson(parsing: value) else { return "unreadable" }
            let kind = label.isCorrection ? "correction" : "label"
            return "\(kind) \(label.views) of \(label.post.pid)"
        case "users", "joins", "encodings":
            guard let key = output.key,
                let change = try? StateChange(key: key, value: output.value)
            else { return "unreadable" }
            return "\(output.topic)[\(output.partition.map { "\($0)" } ?? "")] \(describe(change))"
        default: return "dead letter"
        }
    }
}

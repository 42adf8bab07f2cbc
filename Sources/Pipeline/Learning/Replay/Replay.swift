import Model

/// Leads recorded events through a `ScorePath`, in the order of their times, and does at once what it
/// asks for: no broker, no disk, no thread, and the event's time on both clocks. So posts are scored,
/// views joined, lessons judged and vectors updated by the very decisions of the daemon, and the same
/// events give the same bits.
///
/// Every event is a transaction of its own, and what it leads to on the lessons topic is taken as soon
/// as that is committed. A vector is seen by scoring from its commit on, so by posts of later events
/// alone.
///
/// In memory are one small record for each post and for each user (its last vectors and labels), and
/// kept encodings up to a bound: beyond it those that have been there longest are given up.
package struct Replay<Image: Sendable> {
    /// Those who do the work, on the caller's thread.
    package struct Workers {
        /// Reads a post's image.
        package var prepare: (PostEvent) -> Result<PreparedImage<Image>, PreparationFailure>
        /// Scores a post with what was learnt about its user.
        package var score: (PostEvent, Image?, LearnedUser?) -> Result<Scoring, ScoringFailure>
        /// Updates a user's vector from kept encodings, by pid.
        package var learn: (LearnerState, (String) -> [UInt8]?) -> LearningResult

        package init(
            prepare: @escaping (PostEvent) -> Result<PreparedImage<Image>, PreparationFailure>,
            score: @escaping (PostEvent, Image?, LearnedUser?) -> Result<Scoring, ScoringFailure>,
            learn: @escaping (LearnerState, (String) -> [UInt8]?) -> LearningResult
        ) {
            self.prepare = prepare
            self.score = score
            self.learn = learn
        }
    }

    private typealias Path = ScorePath<Image>

    private let learning: LearnConfiguration
    private let workers: Workers
    private var path: Path
    private var store: ReplayStore
    private var now = Moment(uptime: 0, epoch: 0)
    private var nextOffset: [String: Int64] = [:]
    /// Of the transaction under way.
    private var produced: [OutputRecord] = []
    /// Committed, to be taken.
    private var lessons: [OutputRecord] = []

    private static var postsTopic: String { "posts" }

    /// - Parameters:
    ///   - isFrozen: labels judge, and no vector is updated.
    ///   - maximumEncodingBytes: for kept encodings.
    package init(
        learning: LearnConfiguration, isFrozen: Bool = false,
        maximumEncodingBytes: Int = 2 << 30, workers: Workers
    ) {
        self.learning = learning
        self.workers = workers
        store = ReplayStore(maximumEncodingBytes: maximumEncodingBytes)
        var configuration = ScorePathConfiguration()
        configuration.learning = learning
        configuration.postSource = .file
        // Nothing is in hand beside the one event: there is nothing to wait for.
        configuration.commitIntervalMilliseconds = 0
        path = Path(configuration: configuration)
        begin(isFrozen: isFrozen)
    }

    /// What was learnt about a user so far.
    package func learned(_ uid: String) -> LearnerState? { store.learner(uid) }

    /// Takes the next event: `time` is never before that of the one before.
    ///
    /// - Returns: what happened, in order.
    package mutating func take(_ event: RecordedEvent) -> [ScorePath<Image>.Report] {
        precondition(event.time >= now.epoch || nextOffset.isEmpty, "events in the order of time")
        now = Moment(uptime: event.time, epoch: event.time)
        var reports: [ScorePath<Image>.Report] = []
        switch event.content {
        case .post(let line, let uid):
            take(line, of: uid, from: Self.postsTopic, &reports)
        case .view(let view):
            take(view.json, of: view.uid, from: learning.viewsTopic, &reports)
        }
        while !lessons.isEmpty {
            let lesson = lessons.removeFirst()
            take(
                lesson.value ?? [], of: String(decoding: lesson.key ?? [], as: UTF8.self),
                from: learning.lessonsTopic, &reports)
        }
        return reports
    }

    private mutating func take(
        _ value: [UInt8], of uid: String, from topic: String,
        _ reports: inout [ScorePath<Image>.Report]
    ) {
        let offset = nextOffset[topic, default: 0]
        nextOffset[topic] = offset + 1
        tell(
            .record(
                Record(
                    partition: Partition(topic: topic, number: 0), offset: offset,
                    key: Array(uid.utf8), value: value, timestamp: now.epoch)), &reports)
    }

    // MARK: - Effects

    private mutating func begin(isFrozen: Bool) {
        var reports: [ScorePath<Image>.Report] = []
        tell(.start, &reports)
        let topics = [Self.postsTopic, learning.viewsTopic, learning.lessonsTopic]
        tell(.assigned(topics.map { Partition(topic: $0, number: 0) }), &reports)
        tell(.freeze(isFrozen), &reports)
    }

    /// Tells the path something, and does what it asks for until it asks for nothing more.
    private mutating func tell(
        _ event: Path.Event, _ reports: inout [ScorePath<Image>.Report]
    ) {
        var events = [event]
        while !events.isEmpty {
            var answers: [Path.Event] = []
            for effect in path.handle(events.removeFirst(), at: now) {
                switch effect {
                case .publish(let step):
                    // Answered before anything else is told.
                    events.insert(.published(publish(step)), at: 0)
                case .report(let report): reports.append(report)
                default:
                    if let answer = execute(effect) { answers.append(answer) }
                }
            }
            events += answers
        }
    }

    private mutating func publish(_ step: PublishStep) -> StepResult {
        switch step {
        case .begin: produced = []
        case .produce(let records): produced += records
        case .commit: lessons += produced.filter { $0.topic == learning.lessonsTopic }
        case .readCommitted: return .committed([:])
        case .createProducer, .sendOffsets, .abort, .flush, .commitOffsets: break
        }
        return .done
    }

    private mutating func execute(_ effect: Path.Effect) -> Path.Event? {
        switch effect {
        case .prepare(let ticket, let post, _, _):
            return .prepared(ticket, workers.prepare(post))
        case .score(let ticket, let post, let image, _):
            let result = workers.score(post, image, store.learner(post.uid).map(LearnedUser.init))
            if case .success(let scoring) = result, let encoding = scoring.learning?.encoding {
                store.keep(encoding, uid: post.uid, pid: post.pid)
            }
            return .scored(ticket, result)
        case .restore(let task, let generation):
            return .restored(task, generation: generation, [])
        case .recall(let ticket, _, let recall):
            return .recalled(ticket, store.recall(recall))
        case .learn(let ticket, _, let state):
            return .learned(
                ticket, workers.learn(state) { store.encoding(uid: state.uid, pid: $0) })
        case .store(_, let changes):
            for change in changes { store.apply(change) }
            return nil
        case .publish, .report, .cancel, .catchUp, .release, .pause, .resume, .confirmRevoked,
            .stopped:
            return nil
        }
    }
}

/// What is committed: the rows of the daemon's checkpoint, in memory.
private struct ReplayStore {
    private struct PostKey: Hashable {
        let uid: CodePoints
        let pid: CodePoints

        init(_ uid: String, _ pid: String) {
            (self.uid, self.pid) = (CodePoints(uid), CodePoints(pid))
        }
    }

    private let maximumEncodingBytes: Int
    private var learners: [CodePoints: LearnerState] = [:]
    private var posts: [CodePoints: [CodePoints: ScoredPost]] = [:]
    private var encodings: [PostKey: [UInt8]] = [:]
    private var encodingBytes = 0
    /// In the order in which they came; those that are gone are passed over.
    private var queue: [PostKey] = []
    private var oldest = 0

    init(maximumEncodingBytes: Int) {
        self.maximumEncodingBytes = maximumEncodingBytes
    }

    func learner(_ uid: String) -> LearnerState? { learners[CodePoints(uid)] }

    func encoding(uid: String, pid: String) -> [UInt8]? { encodings[PostKey(uid, pid)] }

    func recall(_ recall: Recall) -> Recollection {
        switch recall {
        case .post(let uid, let pid): .post(posts[CodePoints(uid)]?[CodePoints(pid)])
        case .learner(let uid): .learner(learner(uid))
        case .posts(let uid):
            .posts(
                pids: (posts[CodePoints(uid)] ?? [:]).keys.map(\.string)
                    .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
        }
    }

    mutating func apply(_ change: StateChange) {
        switch change {
        case .user(let state): learners[CodePoints(state.uid)] = state
        case .forgottenUser(let uid, _): learners[CodePoints(uid)] = nil
        case .post(let post):
            posts[CodePoints(post.uid), default: [:]][CodePoints(post.pid)] = post
        case .forgottenPost(let uid, let pid): posts[CodePoints(uid)]?[CodePoints(pid)] = nil
        case .encoding(let uid, let pid, _, let bytes): keep(bytes, uid: uid, pid: pid)
        case .forgottenEncoding(let uid, let pid): forget(PostKey(uid, pid))
        case .earlyView, .forgottenEarlyView: break  // the path has them in hand
        }
    }

    mutating func keep(_ bytes: [UInt8], uid: String, pid: String) {
        let key = PostKey(uid, pid)
        if encodings[key] == nil { queue.append(key) }
        encodingBytes += bytes.count - (encodings.updateValue(bytes, forKey: key)?.count ?? 0)
        while encodingBytes > maximumEncodingBytes, oldest < queue.count {
            forget(queue[oldest])
            oldest += 1
        }
        if oldest > 1_024, oldest > queue.count / 2 {
            queue.removeFirst(oldest)
            oldest = 0
        }
    }

    private mutating func forget(_ key: PostKey) {
        encodingBytes -= encodings.removeValue(forKey: key)?.count ?? 0
    }
}

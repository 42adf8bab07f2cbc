import Model

/// The way of a view from the views topic to a better vector, as decisions only. Like `ScorePath`,
/// which leads records here and publishes what they come to, it knows no broker, disk, clock or
/// thread.
///
///     view   -> read -> recall its post      -> join -> lesson, on the lessons topic
///     lesson -> read -> recall what was learnt of the user -> judge -> update the vector, if it
///               is due (on a worker) -> the user's record, on the users topic
///
/// A task is the partitions of one number: posts, views and lessons of the same users. In a task,
/// records are applied one after the other, each when all before it in its own partition have been;
/// `ScorePath` publishes them in that order. So whatever is committed can be recomputed from the
/// committed records alone, bit for bit: nothing depends on the clock, on threads or on batches.
///
/// State is changed in three places, one after the other: here, among the records in hand
/// (`Working`); on compacted topics, in the transaction that commits the record; and in the store,
/// which scoring reads, once that transaction is committed.
struct LearnPath: Sendable {
    struct UserKey: Hashable, Sendable {
        var task: Int32
        var uid: CodePoints

        init(_ uid: String, in task: Int32) {
            self.task = task
            self.uid = CodePoints(uid)
        }
    }

    struct PostKey: Hashable, Sendable {
        var user: UserKey
        var pid: CodePoints

        init(uid: String, pid: String, in task: Int32) {
            user = UserKey(uid, in: task)
            self.pid = CodePoints(pid)
        }
    }

    /// What a record in hand may change.
    enum Pin: Sendable {
        case post(PostKey)
        case learner(UserKey)
        case forgetting(UserKey)
    }

    /// What lessons in hand forget of a user. A recall is answered with what is stored, and may so
    /// miss a post that came while the lesson waited, or find one that the lesson has forgotten.
    private struct Forgetting: Sendable {
        /// Lessons that wait for their turn.
        var waiting = 0
        /// Lessons that have had it.
        var applied = 0
        /// Posts that were in hand while a lesson waited.
        var pids: Set<CodePoints> = []
    }

    private struct Task: Sendable {
        /// Tells an assignment from those before it.
        var generation: Int
        var isRestored = false
        var earlyViews: EarlyViews
    }

    let configuration: LearnConfiguration
    /// While it is set, labels are taken and judged, and no vector is updated.
    var isFrozen = false
    private var tasks: [Int32: Task] = [:]
    private var lastGeneration = 0
    private var posts = Working<PostKey, ScoredPost>()
    private var learners = Working<UserKey, LearnerState>()
    private var forgettings: [UserKey: Forgetting] = [:]

    init(configuration: LearnConfiguration) {
        self.configuration = configuration
    }

    // MARK: - Tasks

    /// The task is here: its state is to be restored before its records are taken.
    /// - Returns: the generation to restore; nil where it is here already.
    mutating func enter(_ number: Int32) -> Int? {
        guard tasks[number] == nil else { return nil }
        lastGeneration += 1
        tasks[number] = Task(
            generation: lastGeneration,
            earlyViews: earlyViews())
        return lastGeneration
    }

    /// - Returns: whether the task's records may be taken from now on.
    mutating func restored(_ number: Int32, generation: Int, _ early: [EarlyView]) -> Bool {
        guard let task = tasks[number], task.generation == generation, !task.isRestored else {
            return false
        }
        tasks[number]?.isRestored = true
        let waiting = earlyViews(early)
        tasks[number]?.earlyViews = waiting
        return true
    }

    private func earlyViews(_ views: [EarlyView] = []) -> EarlyViews {
        EarlyViews(
            maximumCount: configuration.maximumEarlyViews,
            ofUser: configuration.maximumEarlyViewsOfUser, views)
    }

    func isRestored(_ number: Int32) -> Bool { tasks[number]?.isRestored ?? false }

    mutating func leave(_ number: Int32) { tasks[number] = nil }

    // MARK: - Taking

    /// What is to be looked up for a lesson.
    static func recall(for lesson: Lesson) -> Recall {
        switch lesson {
        case .label, .rollback: .learner(uid: lesson.uid)
        case .forget: .posts(uid: lesson.uid)
        }
    }

    static func pin(for lesson: Lesson, in task: Int32) -> Pin {
        let user = UserKey(lesson.uid, in: task)
        return switch lesson {
        case .label, .rollback: .learner(user)
        case .forget: .forgetting(user)
        }
    }

    mutating func pin(_ pin: Pin) {
        switch pin {
        case .post(let key): posts.pin(key, isGone: (forgettings[key.user]?.applied ?? 0) > 0)
        case .learner(let key): learners.pin(key)
        case .forgetting(let user):
            learners.pin(user)
            let inHand = posts.keys.filter { $0.user == user }.map(\.pid)
            forgettings[user, default: Forgetting()].waiting += 1
            forgettings[user]?.pids.formUnion(inHand)
        }
    }

    /// - Parameter isApplied: the record has had its turn.
    mutating func unpin(_ pin: Pin, isApplied: Bool) {
        switch pin {
        case .post(let key): posts.unpin(key)
        case .learner(let key): learners.unpin(key)
        case .forgetting(let user):
            learners.unpin(user)
            guard var forgetting = forgettings[user] else { return }
            if isApplied { forgetting.applied -= 1 } else { forgetting.waiting -= 1 }
            if forgetting.waiting == 0 { forgetting.pids = [] }
            let isOver = forgetting.waiting == 0 && forgetting.applied == 0
            forgettings[user] = isOver ? nil : forgetting
        }
    }

    // MARK: - Posts and views: joining

    /// A post that was scored has its turn: it is remembered, and joined with the views that came
    /// before it. One that comes again does not take the place of the first, which its labels judge.
    mutating func remember(
        _ post: ScoredPost, recalled: ScoredPost?, encoding: [UInt8]?, in task: Int32
    ) -> Conclusion {
        var conclusion = Conclusion()
        let key = PostKey(uid: post.uid, pid: post.pid, in: task)
        if posts.value(key, recalled: recalled)?.model == post.model { return conclusion }
        var post = post
        for early in tasks[task]?.earlyViews.take(uid: post.uid, pid: post.pid) ?? [] {
            conclusion.changes.append(forgotten(early))
            join(early.view, with: &post, in: task, &conclusion)
        }
        conclusion.changes.append(.post(post))
        posts.set(key, post)
        if let forgetting = forgettings[key.user], forgetting.waiting > 0 {
            forgettings[key.user]?.pids.insert(key.pid)
        }
        if let encoding {
            conclusion.changes.append(
                .encoding(uid: post.uid, pid: post.pid, model: post.model, bytes: encoding))
        }
        return published(conclusion, in: task)
    }

    /// A view has its turn.
    ///
    /// - Parameter time: of its record, in seconds since 1970.
    mutating func join(
        _ view: ViewEvent, recalled: ScoredPost?, time: Double, in task: Int32
    ) -> Conclusion {
        var conclusion = Conclusion()
        let oldest = time - configuration.earlyViewSeconds
        for early in tasks[task]?.earlyViews.expire(observedBefore: oldest) ?? [] {
            conclusion.changes.append(forgotten(early))
            conclusion.reports.append(.label(.earlyViewExpired))
        }
        let key = PostKey(uid: view.uid, pid: view.pid, in: task)
        if var post = posts.value(key, recalled: recalled) {
            let before = post
            join(view, with: &post, in: task, &conclusion)
            if post != before {
                conclusion.changes.append(.post(post))
                posts.set(key, post)
            }
        } else if let (early, dropped) = tasks[task]?.earlyViews.wait(view) {
            conclusion.changes.append(.earlyView(early.view, number: early.number))
            conclusion.reports.append(.label(.postUnknownWaiting))
            if let dropped {
                conclusion.changes.append(forgotten(dropped))
                conclusion.reports.append(.label(.earlyViewsFull))
            }
        }
        return published(conclusion, in: task)
    }

    /// Adds the lessons that follow, and the labels to the post.
    private func join(
        _ view: ViewEvent, with post: inout ScoredPost, in task: Int32,
        _ conclusion: inout Conclusion
    ) {
        guard post.model == configuration.model else {
            conclusion.reports.append(.label(.otherModel))
            return
        }
        for join in configuration.labels.join(view, with: &post) {
            conclusion.reports.append(.label(join.outcome))
            guard let label = join.lesson else { continue }
            conclusion.outputs.append(
                OutputRecord(
                    topic: configuration.lessonsTopic, partition: task,
                    key: Array(post.uid.utf8), value: Lesson.label(label).json))
        }
    }

    private func forgotten(_ early: EarlyView) -> StateChange {
        .forgottenEarlyView(uid: early.view.uid, pid: early.view.pid, number: early.number)
    }

    // MARK: - Lessons: learning

    enum Step {
        case concluded(Conclusion)
        /// The vector is to be updated first, from this state; the conclusion then goes on.
        case learn(LearnerState, Conclusion)
    }

    /// A lesson has its turn.
    ///
    /// - Parameter time: of its record, in seconds since 1970.
    mutating func begin(
        _ lesson: Lesson, recalled: Recollection, time: Double, in task: Int32
    ) -> Step {
        switch (lesson, recalled) {
        case (.label(let label), .learner(let state)):
            return begin(label, state, in: task)
        case (.rollback(let uid, let version), .learner(let state)):
            return .concluded(rollBack(uid, to: version, state, at: time, in: task))
        case (.forget(let uid), .posts(let pids)):
            return .concluded(forget(uid, pids, in: task))
        case (.forget(let uid), _):
            return .concluded(forget(uid, [], in: task))
        case (.label, _), (.rollback, _):
            // An answer to another question: the driver's mistake must not cost a user's state.
            return .concluded(Conclusion())
        }
    }

    private mutating func begin(
        _ label: JoinedLabel, _ recalled: LearnerState?, in task: Int32
    ) -> Step {
        var conclusion = Conclusion()
        guard label.post.model == configuration.model else {
            conclusion.reports.append(.label(.otherModel))
            return .concluded(conclusion)
        }
        if !label.isCorrection { conclusion.reports.append(.judged(label)) }
        guard label.teaches else { return .concluded(conclusion) }
        var state = learner(label.post.uid, recalled, in: task)
        if let dropped = state.take(label) {
            conclusion.changes.append(.forgottenEncoding(uid: state.uid, pid: dropped))
        }
        if !isFrozen, configuration.updates.isDue(state) {
            state.updateTried(at: label.observedAt)
            return .learn(state, conclusion)
        }
        return .concluded(keep(state, conclusion, in: task))
    }

    /// The update that `begin` asked for is done.
    mutating func conclude(
        _ state: LearnerState, _ conclusion: Conclusion, _ result: LearningResult, in task: Int32
    ) -> Conclusion {
        var (state, conclusion) = (state, conclusion)
        conclusion.reports.append(.updated(uid: state.uid, result))
        if let vector = result.outcome.vector, let at = state.updateTriedAt {
            state.adopt(vector, at: at)
        }
        return keep(state, conclusion, in: task)
    }

    private mutating func rollBack(
        _ uid: String, to version: Int, _ recalled: LearnerState?, at time: Double,
        in task: Int32
    ) -> Conclusion {
        var conclusion = Conclusion()
        var state = learner(uid, recalled, in: task)
        guard state.rollBack(to: version, at: time) else {
            conclusion.reports.append(.versionUnknown(uid: uid, version: version))
            return conclusion
        }
        conclusion.reports.append(.rolledBack(uid: uid, version: version))
        return keep(state, conclusion, in: task)
    }

    private mutating func forget(
        _ uid: String, _ pids: [String], in task: Int32
    ) -> Conclusion {
        var conclusion = Conclusion()
        let user = UserKey(uid, in: task)
        conclusion.changes.append(.forgottenUser(uid: uid, model: configuration.model))
        // Labelled posts may be older than those that still wait for views.
        let labelled = (learners.value(user, recalled: nil)?.posts ?? []).map { CodePoints($0.pid) }
        learners.set(user, nil)
        for key in posts.keys.filter({ $0.user == user }) { posts.set(key, nil) }
        var forgetting = forgettings[user] ?? Forgetting()
        let all = Set(pids.map { CodePoints($0) }).union(forgetting.pids).union(labelled)
        forgetting.waiting -= 1
        forgetting.applied += 1
        forgetting.pids = []
        forgettings[user] = forgetting
        for pid in all.map(\.string).sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            conclusion.changes.append(.forgottenPost(uid: uid, pid: pid))
            conclusion.changes.append(.forgottenEncoding(uid: uid, pid: pid))
        }
        for early in tasks[task]?.earlyViews.take(uid: uid) ?? [] {
            conclusion.changes.append(forgotten(early))
        }
        conclusion.reports.append(.forgotten(uid: uid, posts: all.count))
        return published(conclusion, in: task)
    }

    private func learner(
        _ uid: String, _ recalled: LearnerState?, in task: Int32
    ) -> LearnerState {
        learners.value(UserKey(uid, in: task), recalled: recalled)
            ?? LearnerState(uid: uid, model: configuration.model)
    }

    private mutating func keep(
        _ state: LearnerState, _ conclusion: Conclusion, in task: Int32
    ) -> Conclusion {
        learners.set(UserKey(state.uid, in: task), state)
        var conclusion = conclusion
        conclusion.changes.append(.user(state))
        return published(conclusion, in: task)
    }

    // MARK: - Publishing

    /// Every change is a record of its topic, in the task's partition.
    private func published(_ conclusion: Conclusion, in task: Int32) -> Conclusion {
        var conclusion = conclusion
        for change in conclusion.changes {
            let record = change.record
            let topic: String? =
                switch record.topic {
                case .users: configuration.usersTopic
                case .joins: configuration.joinsTopic
                case .encodings: configuration.encodingsTopic
                }
            guard let topic else { continue }
            conclusion.outputs.append(
                OutputRecord(
                    topic: topic, partition: task, key: record.key, value: record.value))
        }
        return conclusion
    }
}

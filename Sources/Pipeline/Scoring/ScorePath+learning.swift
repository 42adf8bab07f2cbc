import Model

// How views and lessons go through a ScorePath: taken, looked up, applied in their turn by LearnPath.

extension ScorePath {
    // MARK: - Taking

    mutating func takeView(_ record: Record) {
        do throws(EventError) {
            let view = try ViewEvent(
                parsing: try value(of: record, "a view"), limits: configuration.eventLimits)
            try checkKey(of: record, view.uid)
            let task = record.partition.number
            takeForLearning(
                record, .view(view),
                .post(LearnPath.PostKey(uid: view.uid, pid: view.pid, in: task)),
                .post(uid: view.uid, pid: view.pid))
        } catch {
            takeUnreadable(record, error, isOfLearning: true)
        }
    }

    mutating func takeLesson(_ record: Record) {
        do throws(EventError) {
            let lesson = try Lesson(parsing: try value(of: record, "a lesson"))
            try checkKey(of: record, lesson.uid)
            takeForLearning(
                record, .lesson(lesson), LearnPath.pin(for: lesson, in: record.partition.number),
                LearnPath.recall(for: lesson))
        } catch {
            takeUnreadable(record, error, isOfLearning: true)
        }
    }

    /// A post may have been there before: that is looked up while it is scored.
    mutating func recall(_ post: PostEvent, _ ticket: Ticket, _ record: Record) {
        guard learning != nil else { return }
        let task = record.partition.number
        let pin = LearnPath.Pin.post(LearnPath.PostKey(uid: post.uid, pid: post.pid, in: task))
        held.update(ticket) { $0.pin = pin }
        learning?.pin(pin)
        effects.append(.recall(ticket, task: task, .post(uid: post.uid, pid: post.pid)))
    }

    mutating func takeForLearning(
        _ record: Record, _ content: Entry.Content, _ pin: LearnPath.Pin, _ recall: Recall
    ) {
        var entry = Entry(record: record, content: content, takenAt: now.uptime, stage: .recalling)
        entry.isOfLearning = true
        entry.pin = pin
        learning?.pin(pin)
        let ticket = held.take(entry)
        effects.append(.recall(ticket, task: record.partition.number, recall))
    }

    mutating func recalled(_ ticket: Ticket, _ recollection: Recollection) {
        guard let entry = held[ticket] else { return }
        if case .recalling = entry.stage {
            held.update(ticket) { $0.stage = .recalled(recollection) }
        } else {
            held.update(ticket) { $0.recollection = recollection }
        }
        advance(entry.record.partition)
    }

    // MARK: - Applying, in the record's turn

    /// What is remembered of a post that was scored; nil where no label could come of it.
    mutating func remembered(
        _ post: PostEvent, _ record: Record, _ scoring: Scoring
    ) -> ScoredPost? {
        guard learning != nil, let learning = scoring.learning else { return nil }
        guard let postedAt = post.postedAt ?? record.timestamp.map({ Double($0) / 1_000 }) else {
            effects.append(.report(.learning(.label(.noPostTime))))
            return nil
        }
        return ScoredPost(
            pid: post.pid, uid: post.uid, model: scoring.model, postedAt: postedAt,
            score: scoring.score, userVector: scoring.userVector,
            frozenScore: learning.frozenScore, userMean: learning.userMean,
            userLabels: learning.userLabels)
    }

    /// Where encodings are published as well as kept.
    func encodingToPublish(_ scoring: Scoring) -> [UInt8]? {
        configuration.learning?.encodingsTopic == nil ? nil : scoring.learning?.encoding
    }

    /// What a post comes to: its answer, and what learning makes of it; nil until it is known whether
    /// it was there before.
    mutating func conclude(
        _ entry: Entry, _ outputs: [OutputRecord], _ remembered: ScoredPost?, _ encoding: [UInt8]?
    ) -> Conclusion? {
        var conclusion = Conclusion()
        if let remembered, learning != nil {
            guard case .post(let before) = entry.recollection else { return nil }
            conclusion =
                learning?.remember(
                    remembered, recalled: before, encoding: encoding,
                    in: entry.record.partition.number) ?? conclusion
        }
        conclusion.outputs.insert(contentsOf: outputs, at: 0)
        return conclusion
    }

    /// What a view or a lesson comes to; nil where a vector is to be updated first.
    mutating func apply(
        _ ticket: Ticket, _ entry: Entry, _ recollection: Recollection
    ) -> Conclusion? {
        let task = entry.record.partition.number
        let time = entry.record.timestamp.map { Double($0) / 1_000 }
        switch (entry.content, recollection) {
        case (.view(let view), .post(let post)):
            return learning?.join(
                view, recalled: post, time: time ?? view.observedAt, in: task)
        case (.lesson(let lesson), _):
            switch learning?.begin(lesson, recalled: recollection, time: time ?? 0, in: task) {
            case .concluded(let conclusion): return conclusion
            case .learn(let state, let conclusion):
                held.update(ticket) { $0.stage = .learning(state, conclusion) }
                effects.append(.learn(ticket, task: task, state))
                return nil
            case nil: return Conclusion()
            }
        default:
            return Conclusion()
        }
    }

    mutating func learned(_ ticket: Ticket, _ result: LearningResult) {
        guard let entry = held[ticket], case .learning(let state, let conclusion) = entry.stage,
            let concluded = learning?.conclude(
                state, conclusion, result, in: entry.record.partition.number)
        else { return }
        finish(ticket, concluded)
        advance(entry.record.partition)
    }

    // MARK: - State

    /// Everything below is committed: told, and handed to the store, in the order of publishing.
    mutating func store(below offsets: [Partition: Int64]) {
        guard learning != nil else { return }
        var changes: [Int32: [StateChange]] = [:]
        for (partition, conclusion) in held.conclusions(below: offsets) {
            changes[partition.number, default: []] += conclusion.changes
            effects += conclusion.reports.map { .report(.learning($0)) }
        }
        for (task, changes) in changes.sorted(by: { $0.key < $1.key }) where !changes.isEmpty {
            effects.append(.store(task: task, changes))
        }
    }

    /// Something below may be committed, by a transaction whose end was not heard of, or by another
    /// member: then the topics know what it was, and memory need not be believed.
    mutating func catchUp(below offsets: [Partition: Int64]) {
        guard learning != nil else { return }
        var tasks: Set<Int32> = []
        for (partition, conclusion) in held.conclusions(below: offsets) {
            tasks.insert(partition.number)
            effects += conclusion.reports.map { .report(.learning($0)) }
        }
        effects += tasks.sorted().map { .catchUp($0) }
    }

    // MARK: - Tasks

    func isOfLearning(_ partition: Partition) -> Bool {
        guard let learning = configuration.learning else { return false }
        return partition.topic == learning.viewsTopic || partition.topic == learning.lessonsTopic
    }

    func isRestored(_ partition: Partition) -> Bool {
        learning?.isRestored(partition.number) ?? true
    }

    mutating func enterTask(of partition: Partition) {
        guard let generation = learning?.enter(partition.number) else { return }
        effects.append(.restore(partition.number, generation: generation))
    }

    mutating func restored(_ task: Int32, _ generation: Int, _ early: [EarlyView]) {
        guard learning?.restored(task, generation: generation, early) == true else { return }
        let resuming = held.partitions.filter {
            $0.key.number == task && !$0.value.isLeaving && mayFlow($0.key)
        }
        if !resuming.isEmpty { effects.append(.resume(resuming.keys.sorted())) }
    }

    mutating func leaveTasks(of partitions: [Partition]) {
        guard learning != nil else { return }
        let staying = Set(held.partitions.keys.map(\.number))
        for task in Set(partitions.map(\.number)).subtracting(staying).sorted() {
            learning?.leave(task)
            effects.append(.release(task))
        }
    }
}

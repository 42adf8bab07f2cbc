import Model
import Pipeline

/// Recomputes, from committed records alone and one after the other, what was to be learnt, and
/// compares it with what the daemons have left behind.
struct LearningReferee {
    let configuration: LearnConfiguration
    let publishesEncodings: Bool
    /// Committed, in their order, by task.
    let views: [Int32: [Record]]
    let broker: SimulatedBroker
    /// Views may be given up for want of room or time.
    let mayGiveUpViews: Bool

    func judge(_ task: Int32) -> Violation? {
        let lessons = read("lessons", task).compactMap { record in
            record.value.flatMap { try? Lesson(parsing: $0) }
        }
        return judgeVectors(lessons, in: task) ?? judgeLabels(lessons, in: task)
            ?? judgeForgetting(task)
    }

    /// The last record of each key.
    func state(_ topic: String, _ task: Int32) -> [[UInt8]: [UInt8]] {
        var rows: [[UInt8]: [UInt8]] = [:]
        for record in read(topic, task) {
            if let key = record.key { rows[key] = record.value }
        }
        return rows
    }

    private func read(_ topic: String, _ task: Int32) -> [OutputRecord] {
        broker.visibleRecords(of: Partition(topic: topic, number: task))
    }

    // MARK: - Vectors

    private func judgeVectors(_ lessons: [Lesson], in task: Int32) -> Violation? {
        var states: [CodePoints: LearnerState] = [:]
        var forgotten: Set<CodePoints> = []
        for lesson in lessons {
            recompute(lesson, &states)
            if case .forget(let uid) = lesson { forgotten.insert(CodePoints(uid)) }
        }
        var found: [CodePoints: LearnerState] = [:]
        for (key, value) in state("users", task) {
            guard case .user(let state) = try? StateChange(key: key, value: value) else {
                return Violation(kind: .learning, text: "unreadable: \(key)")
            }
            found[CodePoints(state.uid)] = state
        }
        // Of a forgotten user's posts there may still have been lessons, but no encodings.
        for uid in forgotten {
            found[uid]?.vectors.withoutEncodings()
            states[uid]?.vectors.withoutEncodings()
        }
        guard found != states else { return nil }
        let wrong = Set(found.keys).union(states.keys).filter { found[$0] != states[$0] }
        let uid = wrong.min { $0.string < $1.string }
        return Violation(
            kind: .learning,
            text:
                "\(uid?.string ?? ""): found \(uid.flatMap { found[$0] }.map { "\($0)" } ?? "nothing")"
                + ", recomputed \(uid.flatMap { states[$0] }.map { "\($0)" } ?? "nothing")")
    }

    private func recompute(_ lesson: Lesson, _ states: inout [CodePoints: LearnerState]) {
        let uid = CodePoints(lesson.uid)
        var state =
            states[uid] ?? LearnerState(uid: lesson.uid, model: configuration.model)
        switch lesson {
        case .forget:
            states[uid] = nil
            return
        case .rollback(_, let version):
            guard state.rollBack(to: version, at: World.recordTime) else { return }
        case .label(let label):
            guard label.teaches else { return }
            state.take(label)
            if configuration.updates.isDue(state) {
                state.updateTried(at: label.observedAt)
                let result = ToyLearner.learn(state, usesEncodings: publishesEncodings) {
                    ToyLearner.encoding(pid: $0)
                }
                if let vector = result.outcome.vector {
                    state.adopt(vector, at: label.observedAt)
                }
            }
        }
        states[uid] = state
    }

    // MARK: - Forgetting

    /// Nothing that was there of a user is left by the transaction that forgets the user, and none of
    /// it comes back.
    private func judgeForgetting(_ task: Int32) -> Violation? {
        /// Uids by key, of the joins and encodings that are there.
        var there: [[UInt8]: String] = [:]
        for records in broker.committed {
            let scored = Set(records.compactMap { scoredPost($0, task) })
            var leaving: Set<[UInt8]> = []
            for record in records where record.partition == task && record.topic != "lessons" {
                guard let key = record.key,
                    let change = try? StateChange(key: key, value: record.value)
                else { continue }
                switch change {
                case .forgottenUser(let uid, _):
                    leaving.formUnion(there.filter { $0.value == uid }.keys)
                case .post(let post):
                    guard there[key] != nil || scored.contains([post.uid, post.pid]) else {
                        return Violation(
                            kind: .learning, text: "\(post) was forgotten, and came back")
                    }
                    there[key] = post.uid
                case .earlyView(let view, _): there[key] = view.uid
                case .encoding(let uid, _, _, _): there[key] = uid
                case .forgottenPost, .forgottenEarlyView, .forgottenEncoding:
                    there[key] = nil
                    leaving.remove(key)
                case .user: break
                }
            }
            if let key = leaving.first {
                return Violation(
                    kind: .learning, text: "not forgotten: \(String(decoding: key, as: UTF8.self))")
            }
        }
        return nil
    }

    /// User and post, where the record is the score of a post of the task.
    private func scoredPost(_ record: OutputRecord, _ task: Int32) -> [String]? {
        guard record.topic == "scores", let value = record.value,
            let event = try? ScoreEvent(parsing: value), event.origin.partition == task
        else { return nil }
        return [event.uid, event.pid]
    }

    // MARK: - Labels

    /// For each post that was scored, its views in their order give these labels and no others.
    private func judgeLabels(_ lessons: [Lesson], in task: Int32) -> Violation? {
        var told: [[String]: [JoinedLabel]] = [:]
        var forgotten: Set<String> = []
        for lesson in lessons {
            switch lesson {
            case .label(let label):
                told[[label.post.uid, label.post.pid], default: []].append(label)
            case .forget(let uid): forgotten.insert(uid)
            case .rollback: break
            }
        }
        var seen: [[String]: [ViewEvent]] = [:]
        for record in views[task] ?? [] {
            guard let value = record.value, record.key != nil,
                let view = try? ViewEvent(parsing: value, limits: EventLimits()),
                record.key == Array(view.uid.utf8)
            else { continue }
            seen[[view.uid, view.pid], default: []].append(view)
        }
        for (id, scores) in scoredPosts(task) where !forgotten.contains(id[0]) {
            // A post that came again is scored again; its views judge the first.
            guard let score = scores.first else { continue }
            if let wrong = (told[id] ?? []).first(where: { $0.post.score != score }) {
                return Violation(
                    kind: .learning, text: "\(id) judged by \(wrong.post.score), not \(score)")
            }
            guard !mayGiveUpViews else { continue }
            var post = ScoredPost(
                pid: id[1], uid: id[0], model: configuration.model, postedAt: World.recordTime,
                score: score, userVector: "", frozenScore: 0, userMean: nil, userLabels: 0)
            let expected = (seen[id] ?? []).flatMap { view in
                configuration.labels.join(view, with: &post).compactMap(\.lesson)
            }
            let same = expected.map(brief) == (told[id] ?? []).map(brief)
            guard same else {
                return Violation(
                    kind: .learning,
                    text: "\(id): told \((told[id] ?? []).map(brief)), expected "
                        + "\(expected.map(brief))")
            }
        }
        return nil
    }

    private func brief(_ label: JoinedLabel) -> [Double] {
        [
            label.horizon ?? -1, Double(label.views), label.observedAt,
            label.isCorrection ? 1 : 0, Double(label.label),
        ]
    }

    /// Scores by user and post, of the task's posts.
    private func scoredPosts(_ task: Int32) -> [[String]: [Float]] {
        var scores: [[String]: [Float]] = [:]
        for partition in broker.logs.keys where partition.topic == "scores" {
            for record in broker.visibleRecords(of: partition) {
                guard let value = record.value, let event = try? ScoreEvent(parsing: value),
                    event.origin.partition == task, case .scored(let scored) = event.outcome
                else { continue }
                scores[[event.uid, event.pid], default: []].append(scored.score)
            }
        }
        return scores
    }
}

extension [LearnerState.Vector] {
    fileprivate mutating func withoutEncodings() {
        for index in indices { self[index].values[2] = 0 }
    }
}

import Model
import Pipeline

/// What one machine keeps on disk; processes of the same name find it there again.
struct SimulatedDisk {
    /// The checkpoint of one task.
    struct Checkpoint {
        /// The last value of each key of the changelogs.
        var rows: [[UInt8]: [UInt8]] = [:]
        /// How far of each changelog it reaches.
        var reached: [String: Int] = [:]

        mutating func apply(key: [UInt8], value: [UInt8]?) {
            rows[key] = value
        }

        var changes: [StateChange] {
            rows.keys.sorted { $0.lexicographicallyPrecedes($1) }
                .compactMap { key in rows[key].flatMap { try? StateChange(key: key, value: $0) } }
        }
    }

    /// The incarnation that has it: one at a time, the last to be started.
    var holder = 0
    var tasks: [Int32: Checkpoint] = [:]
    /// By user and post.
    var encodings: [[String]: [UInt8]] = [:]
}

/// The learning state around one path: what the daemon's store does, one thing after the other, and
/// the vectors that scoring sees.
struct SimulatedState {
    private enum Work {
        case restore(generation: Int)
        case recall(Ticket, Recall)
        case store([StateChange], reached: [String: Int])
        case catchUp
        case release
    }

    private let disk: String
    private let incarnation: Int
    private let bug: PlantedBug?
    private var queues: [Int32: [Work]] = [:]
    /// What scoring sees, by task and user.
    private(set) var visible: [Int32: [CodePoints: LearnerState]] = [:]
    /// After the last transaction: how far its records reach.
    private var produced: [Partition: Int] = [:]

    init(disk: String, incarnation: Int, bug: PlantedBug?) {
        self.disk = disk
        self.incarnation = incarnation
        self.bug = bug
    }

    var isIdle: Bool { queues.values.allSatisfy(\.isEmpty) }

    mutating func transactionBegan() { produced = [:] }

    mutating func produced(_ records: [OutputRecord], _ world: World) {
        for record in records {
            guard let number = record.partition else { continue }
            let partition = Partition(topic: record.topic, number: number)
            produced[partition] = world.broker.logs[partition]?.count ?? 0
        }
    }

    // MARK: - Effects

    mutating func restore(_ task: Int32, generation: Int) {
        queues[task, default: []].append(.restore(generation: generation))
    }

    mutating func recall(_ task: Int32, _ ticket: Ticket, _ recall: Recall) {
        let work = Work.recall(ticket, recall)
        if bug == .recallOvertakesStore {
            queues[task, default: []].insert(work, at: 0)
        } else {
            queues[task, default: []].append(work)
        }
    }

    mutating func store(_ task: Int32, _ changes: [StateChange]) {
        show(changes, in: task)
        let reached = produced.filter { $0.key.number == task }
        queues[task, default: []].append(
            .store(
                changes,
                reached: Dictionary(uniqueKeysWithValues: reached.map { ($0.key.topic, $0.value) }))
        )
    }

    mutating func catchUp(_ task: Int32) {
        guard bug != .catchUpForgotten else { return }
        queues[task, default: []].append(.catchUp)
    }

    mutating func release(_ task: Int32) {
        visible[task] = nil
        queues[task, default: []].append(.release)
    }

    /// What a toy learner makes of it; a real one would take its time.
    mutating func learn(
        _ task: Int32, _ state: LearnerState, _ world: World
    ) -> LearningResult {
        if bug == .updateFiredByTheClock, world.now.uptime % 2 == 0 {
            return LearningResult(outcome: ToyLearner.nothing, missingEncodings: 0)
        }
        let encodings = world.disks[disk]?.encodings ?? [:]
        let result = ToyLearner.learn(state, usesEncodings: world.publishesEncodings) { pid in
            encodings[[state.uid, pid]]
        }
        if bug == .vectorVisibleBeforeCommit, let vector = result.outcome.vector {
            var early = state
            early.adopt(vector, at: 0)
            show([.user(early)], in: task)
        }
        return result
    }

    // MARK: - Work

    /// Does the next thing of one task. - Returns: what the path is told.
    mutating func work(_ world: inout World) -> SimulatedPath.Event? {
        let tasks = queues.keys.filter { queues[$0]?.isEmpty == false }.sorted()
        guard world.disks[disk]?.holder == incarnation, let task = world.pick(tasks),
            let work = queues[task]?.first
        else { return nil }
        switch work {
        case .restore(let generation):
            if bug != .takenBeforeRestored {
                // Records may be on their way, of a transaction that holds offsets already.
                let inputs = world.partitions.filter { $0.number == task }
                guard bug == .restoredBeforeOffsets || world.broker.readCommitted(inputs) != nil,
                    readOn(task, &world)
                else { return nil }
            }
            queues[task]?.removeFirst()
            world.happened("restored")
            let changes = world.disks[disk]?.tasks[task]?.changes ?? []
            show(changes, in: task)
            let early = changes.compactMap { change in
                if case .earlyView(let view, let number) = change {
                    EarlyView(view, number: number)
                } else {
                    nil
                }
            }
            return .restored(
                task, generation: generation, bug == .earlyViewsLost ? [] : early)
        case .recall(let ticket, let recall):
            queues[task]?.removeFirst()
            return .recalled(ticket, self.recall(recall, in: task, world))
        case .store(let changes, let reached):
            queues[task]?.removeFirst()
            for change in changes { put(change, in: task, &world) }
            world.disks[disk]?.tasks[task, default: .init()].reached
                .merge(reached) { max($0, $1) }
        case .catchUp:
            guard readOn(task, &world) else { return nil }
            queues[task]?.removeFirst()
            world.happened("caught up")
            show(world.disks[disk]?.tasks[task]?.changes ?? [], in: task)
        case .release:
            queues[task]?.removeFirst()
        }
        return nil
    }

    /// Reads the changelogs on to their ends.
    ///
    /// - Returns: false where an open transaction is in the way.
    private func readOn(_ task: Int32, _ world: inout World) -> Bool {
        let checkpoint = world.disks[disk]?.tasks[task] ?? .init()
        var read: [(topic: String, records: [OutputRecord], end: Int)] = []
        for topic in ["users", "joins", "encodings"] {
            let partition = Partition(topic: topic, number: task)
            let from = checkpoint.reached[topic] ?? 0
            guard let found = world.broker.readToEnd(partition, from: from) else { return false }
            read.append((topic, found.records, found.end))
        }
        world.disks[disk]?.tasks[task, default: .init()].reached = [:]
        for (topic, records, end) in read {
            for record in records {
                guard let key = record.key,
                    let change = try? StateChange(key: key, value: record.value)
                else { continue }
                put(change, in: task, &world)
            }
            world.disks[disk]?.tasks[task, default: .init()].reached[topic] = end
        }
        return true
    }

    private func put(_ change: StateChange, in task: Int32, _ world: inout World) {
        switch change {
        case .encoding(let uid, let pid, _, let bytes):
            world.disks[disk]?.encodings[[uid, pid]] = bytes
        case .forgottenEncoding(let uid, let pid):
            world.disks[disk]?.encodings[[uid, pid]] = nil
        default:
            let record = change.record
            world.disks[disk]?.tasks[task, default: .init()]
                .apply(key: record.key, value: record.value)
        }
    }

    private mutating func show(_ changes: [StateChange], in task: Int32) {
        for change in changes {
            switch change {
            case .user(let state): visible[task, default: [:]][CodePoints(state.uid)] = state
            case .forgottenUser(let uid, _): visible[task]?[CodePoints(uid)] = nil
            default: break
            }
        }
    }

    private func recall(_ recall: Recall, in task: Int32, _ world: World) -> Recollection {
        let changes = world.disks[disk]?.tasks[task]?.changes ?? []
        switch recall {
        case .post(let uid, let pid):
            for case .post(let post) in changes where post.uid == uid && post.pid == pid {
                return .post(post)
            }
            return .post(nil)
        case .learner(let uid):
            for case .user(let state) in changes where state.uid == uid {
                return .learner(state)
            }
            return .learner(nil)
        case .posts(let uid):
            return .posts(
                pids: changes.compactMap {
                    if case .post(let post) = $0, post.uid == uid { post.pid } else { nil }
                })
        }
    }
}

/// A learner whose vector depends on everything that it should, and on its order.
enum ToyLearner {
    static let nothing = outcome(.noStep, nil)

    static func encoding(pid: String) -> [UInt8] { Array("e\(pid)".utf8) }

    static func learn(
        _ state: LearnerState, usesEncodings: Bool, encoding: (String) -> [UInt8]?
    ) -> LearningResult {
        guard !state.posts.isEmpty else {
            return LearningResult(outcome: nothing, missingEncodings: 0)
        }
        var vector = state.current?.values ?? [0, 0, 0]
        vector[0] = vector[0] * 0.5 + state.posts.reduce(0) { $0 * 0.5 + $1.label }
        vector[1] = Float(state.labelSum)
        let encodings = usesEncodings ? state.posts.compactMap { encoding($0.pid) } : []
        let sum = encodings.joined().reduce(0) { $0 + Int($1) }
        vector[2] = vector[2] * 0.25 + Float(sum)
        return LearningResult(
            outcome: outcome(.accepted, vector),
            missingEncodings: state.posts.count - encodings.count)
    }

    private static func outcome(_ reason: UpdateOutcome.Reason, _ vector: [Float]?) -> UpdateOutcome
    {
        let loss = UpdateOutcome.Loss(posts: 0, before: 0, after: 0)
        return UpdateOutcome(
            reason: reason, vector: vector, stepNorm: 0, training: loss, heldOut: loss)
    }
}

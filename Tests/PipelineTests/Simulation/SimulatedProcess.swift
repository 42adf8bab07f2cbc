import Model
import Pipeline

/// One running daemon: a score path, and around it what its driver, its workers and its Kafka
/// client would do. Each call of `act` is one thing that such a process does between two moments
/// at which the world may change or the process may die.
struct SimulatedProcess {
    struct Death: Error {
        var text: String
    }

    private struct Work {
        var ticket: Ticket
        var due: Milliseconds
        var answer: SimulatedPath.Event
    }

    private struct Producer {
        var epoch: Int
        var isInTransaction = false
        var hasSent = false
        /// Handed over, and on their way to the brokers.
        var unsent: [OutputRecord] = []
        /// The delivery of a record has failed, which a later step says.
        var hasFailedDelivery = false
    }

    /// Also its transactional id; a successor has the same.
    let name: String
    /// Tells this process from its predecessors of the same name.
    let incarnation: Int
    private(set) var path: BuggyPath
    private let delivery: Delivery
    /// What is learnt, beside the path.
    private(set) var state: SimulatedState
    private var restored: Set<Int32> = []
    private var effects: [SimulatedPath.Effect] = []
    private var nextEffect = 0
    private var works: [Work] = []
    private var producer: Producer?
    /// At least once: handed over and not yet sent.
    private var producerQueue: [OutputRecord] = []
    private var hasFailedDelivery = false

    private(set) var member: Int?
    private var generation = 0
    private var assigned: [Partition] = []
    private var positions: [Partition: Int64] = [:]
    private var paused: Set<Partition> = []
    /// Set inside the rebalance callback.
    private var callback: Callback?
    private enum Callback { case revoked, lost }
    private(set) var stopReason: SimulatedPath.StopReason?
    private var stopAsked: Milliseconds?
    private(set) var longestStop: Milliseconds = 0

    /// Does nothing until then: a long pause of the machine.
    var frozenUntil: Milliseconds = 0
    /// Another process has its names; the next poll says so.
    var isReplaced = false

    init(
        name: String, incarnation: Int, configuration: ScorePathConfiguration, bug: PlantedBug?
    ) {
        self.name = name
        self.incarnation = incarnation
        delivery = configuration.delivery
        path = BuggyPath(configuration, bug: bug)
        state = SimulatedState(disk: name, incarnation: incarnation, bug: bug)
    }

    /// It has the task, and has not to learn yet that it has lost it.
    func hasRestored(_ task: Int32, _ world: World) -> Bool {
        restored.contains(task) && assigned.contains { $0.number == task }
            && world.broker.group.accepts(
                member.map { SimulatedGroup.Membership(member: $0, generation: generation) })
    }

    /// It knows that all is published, and has stored it.
    var isQuiet: Bool {
        isIdle && state.isIdle && path.load.records == 0 && path.load.learningRecords == 0
    }

    private mutating func doStateWork(_ world: inout World) {
        guard let event = state.work(&world) else { return }
        if case .restored(let task, _, _) = event { restored.insert(task) }
        tell(event, &world)
    }

    var preparationsUnderWay: Int {
        works.count { if case .prepared = $0.answer { true } else { false } }
    }
    var scoringsUnderWay: Int {
        works.count { if case .scored = $0.answer { true } else { false } }
    }
    /// A step has failed in the middle of a transaction and waits to be asked for again.
    /// Offsets are with the brokers, and records that belong to them are not.
    var isHalfSent: Bool { producer?.hasSent == true && producer?.unsent.isEmpty == false }
    var isBetweenSteps: Bool { isIdle && producer?.isInTransaction == true }
    var isIdle: Bool { nextEffect >= effects.count && callback == nil }

    mutating func start(_ world: inout World) {
        tell(.start, &world)
        member = world.broker.withGroup { $0.join() }
    }

    mutating func askToStop(_ world: inout World) {
        guard stopAsked == nil, isIdle, frozenUntil <= world.now.uptime else { return }
        stopAsked = world.now.uptime
        tell(.stop, &world)
    }

    mutating func freeze(until time: Milliseconds) {
        frozenUntil = max(frozenUntil, time)
        // A stop cannot keep its time in a frozen process.
        stopAsked = stopAsked.map { _ in frozenUntil }
    }

    /// - Throws: `Death` where the process ends, by itself or by a crash.
    mutating func act(_ world: inout World) throws(Death) {
        if nextEffect < effects.count {
            let effect = effects[nextEffect]
            nextEffect += 1
            if nextEffect == effects.count {
                effects.removeAll(keepingCapacity: true)
                nextEffect = 0
            }
            try execute(effect, &world)
        } else if callback != nil {
            if world.chance(300) { doStateWork(&world) } else { tell(.tick, &world) }
        } else if stopReason != nil {
            try close(&world)
        } else {
            switch world.random(8) {
            case 0: tell(.tick, &world)
            case 1...2: finishSomeWork(&world)
            case 3...4 where !state.isIdle: doStateWork(&world)
            case 3: finishSomeWork(&world)
            default: try poll(&world)
            }
        }
    }

    private mutating func tell(_ event: SimulatedPath.Event, _ world: inout World) {
        world.trace { "\(name).\(incarnation) <- \(event)" }
        effects += path.handle(event, at: world.now)
        let steps = effects[nextEffect...].count { if case .publish = $0 { true } else { false } }
        if steps > 1 { world.fail(.twoSteps, "\(effects[nextEffect...])") }
        world.check(self)
    }

    // MARK: - Effects

    private mutating func execute(
        _ effect: SimulatedPath.Effect, _ world: inout World
    ) throws(Death) {
        world.trace { "\(name).\(incarnation) -> \(effect)" }
        switch effect {
        case .prepare(let ticket, let post, let attempt, let deadline):
            // Workers should answer by the deadline; some do not.
            let answer = world.now.uptime + world.latency()
            let due = world.chance(900) ? min(answer, deadline) : answer
            works.append(
                Work(
                    ticket: ticket, due: due,
                    answer: .prepared(ticket, world.preparation(of: post, attempt))))
        case .score(let ticket, let post, let image, let task):
            let learner = state.visible[task]?[CodePoints(post.uid)]
            if world.publishesEncodings {
                world.disks[name]?.encodings[[post.uid, post.pid]] = ToyLearner.encoding(
                    pid: post.pid)
            }
            works.append(
                Work(
                    ticket: ticket, due: world.now.uptime + world.latency(),
                    answer: .scored(ticket, world.scoring(of: post, image, learner, task: task))))
        case .restore(let task, let generation): state.restore(task, generation: generation)
        case .recall(let ticket, let task, let recall): state.recall(task, ticket, recall)
        case .store(let task, let changes): state.store(task, changes)
        case .catchUp(let task): state.catchUp(task)
        case .release(let task):
            restored.remove(task)
            state.release(task)
        case .learn(let ticket, let task, let learner):
            works.append(
                Work(
                    ticket: ticket, due: world.now.uptime + world.latency(),
                    answer: .learned(ticket, state.learn(task, learner, world))))
        case .cancel(let ticket):
            // The worker may notice at once or go on to its end; it answers either way.
            if world.chance(50), let index = works.firstIndex(where: { $0.ticket == ticket }) {
                works[index].due = world.now.uptime
            }
        case .publish(let step):
            try publish(step, &world)
        case .pause(let partitions):
            paused.formUnion(partitions)
            world.happened("paused")
        case .resume(let partitions): paused.subtract(partitions)
        case .confirmRevoked(let partitions): confirmRevoked(partitions, &world)
        case .stopped(let reason):
            stopReason = reason
            if case .failed(let text) = reason {
                world.happened("path failed for good")
                if text.hasPrefix("another instance") { world.happened("fenced for good") }
            }
            if let stopAsked { longestStop = world.now.uptime - stopAsked }
        case .report(.learning(let report)): world.happened(report.happening)
        case .report(.expired): world.happened("post expired")
        case .report(.deadLettered): world.happened("dead letter")
        case .report(.givenUp): world.happened("post given up")
        case .report(.batchAborted): world.happened("batch aborted")
        case .report(.producerLost): world.happened("producer lost")
        case .report(.imageUnusable): world.happened("image left out")
        case .report(.deadLettersReduced): world.happened("dead letters reduced")
        case .report(.offsetReset): world.happened("offset reset")
        case .report(.scored), .report(.retryingImage), .report(.batchPublished),
            .report(.stepRetried):
            break
        }
    }

    private mutating func finishSomeWork(_ world: inout World) {
        let due = works.indices.filter { works[$0].due <= world.now.uptime }
        guard let index = world.pick(due) else { return }
        tell(works.remove(at: index).answer, &world)
    }

    // MARK: - The producer, between faults

    private mutating func publish(_ step: PublishStep, _ world: inout World) throws(Death) {
        let fault = world.fault(for: step)
        world.cover(step, fault)
        switch fault {
        case .crashBefore: throw Death(text: "crash before \(step.name)")
        case .requestLost: tell(.published(.retry("the request was lost")), &world)
        case .refused: tell(.published(.abort("refused")), &world)
        case .broken: tell(.published(.fatal("broken")), &world)
        case .none, .crashAfter, .replyLost, .brokenAfter:
            var result = perform(step, &world)
            switch fault {
            case .crashAfter: throw Death(text: "crash after \(step.name)")
            case .replyLost where result == .done: result = .retry("the reply was lost")
            case .brokenAfter where result == .done: result = .fatal("the reply was lost")
            default: break
            }
            tell(.published(result), &world)
        }
    }

    private mutating func perform(_ step: PublishStep, _ world: inout World) -> StepResult {
        do throws(SimulatedBroker.Failure) {
            return try call(step, &world)
        } catch {
            switch error {
            case .fenced: return .fenced("\(error)")
            case .invalidState: return .fatal("\(error)")
            case .staleGeneration: return .abort("\(error)")
            }
        }
    }

    private mutating func call(
        _ step: PublishStep, _ world: inout World
    ) throws(SimulatedBroker.Failure) -> StepResult {
        let now = world.now.uptime
        // Taken fresh for each call, as the client library asks for.
        let membership = member.map {
            SimulatedGroup.Membership(member: $0, generation: generation)
        }
        switch step {
        case .createProducer:
            producerQueue = []
            hasFailedDelivery = false
            producer = Producer(epoch: world.broker.initializeProducer(name))
        case .readCommitted(let partitions):
            guard let offsets = world.broker.readCommitted(partitions) else {
                return .retry("offsets are pending")
            }
            return .committed(offsets)
        case .commitOffsets(let offsets):
            try world.broker.commitOffsets(offsets, member: membership)
        case .produce(let records) where delivery == .atLeastOnce:
            producerQueue += records
        case .flush:
            let count = world.chance(10) ? world.random(producerQueue.count + 1) : Int.max
            let sent = producerQueue.prefix(count)
            producerQueue.removeFirst(sent.count)
            let accepted = sent.filter(SimulatedBroker.accepts)
            world.broker.produceAtOnce(accepted)
            if accepted.count < sent.count { hasFailedDelivery = true }
            if !producerQueue.isEmpty { return .retry("not all are acknowledged") }
            if hasFailedDelivery {
                hasFailedDelivery = false
                return .tooLarge("a record is too large")
            }
        case .begin:
            // Local to the client. A repeated call finds the transaction begun.
            guard producer != nil else { throw .invalidState }
            state.transactionBegan()
            producer?.isInTransaction = true
            producer?.hasSent = false
            producer?.unsent = []
            producer?.hasFailedDelivery = false
        case .produce(let records):
            guard let producer, producer.isInTransaction else { throw .invalidState }
            let accepted = records.filter(SimulatedBroker.accepts)
            let isRefused = accepted.count < records.count
            // Either the client knows the limit, or the broker says it when others are in.
            if isRefused, world.chance(200) { return .tooLarge("a record is too large") }
            self.producer?.unsent = accepted
            if world.chance(500) { try send(&world) }
            self.producer?.hasFailedDelivery = isRefused
        case .sendOffsets(let offsets):
            guard let producer, producer.isInTransaction else { throw .invalidState }
            if producer.hasFailedDelivery, world.chance(300) {
                return .tooLarge("a record is too large")
            }
            try world.broker.sendOffsets(
                offsets, id: name, epoch: producer.epoch, member: membership, at: now)
            self.producer?.hasSent = true
        case .commit:
            if producer?.hasFailedDelivery == true { return .tooLarge("a record is too large") }
            try send(&world)
            try end(.committed, &world)
        case .abort: try end(.aborted, &world)
        }
        return .done
    }

    private mutating func send(_ world: inout World) throws(SimulatedBroker.Failure) {
        guard let producer, !producer.unsent.isEmpty else { return }
        try world.broker.produce(
            producer.unsent, id: name, epoch: producer.epoch, at: world.now.uptime)
        state.produced(producer.unsent, world)
        self.producer?.hasSent = true
        self.producer?.unsent = []
    }

    private mutating func end(
        _ outcome: SimulatedBroker.TransactionState, _ world: inout World
    ) throws(SimulatedBroker.Failure) {
        guard let producer else { throw .invalidState }
        if producer.hasSent {
            try world.broker.endTransaction(outcome, id: name, epoch: producer.epoch)
        }
        self.producer?.isInTransaction = false
    }

    // MARK: - The consumer

    private mutating func poll(_ world: inout World) throws(Death) {
        if isReplaced { throw Death(text: "another process has the same group.instance.id") }
        guard let member else {
            self.member = world.broker.withGroup { $0.join() }
            return
        }
        switch world.broker.withGroup({ $0.poll(member) }) {
        case .nothing: fetch(&world)
        case .rebalance: leave(.revoked, &world)
        case .unknownMember: leave(.lost, &world)
        case .assigned(let partitions, let generation):
            self.generation = generation
            assigned = partitions
            positions = [:]
            paused = []
            tell(.assigned(partitions), &world)
        }
    }

    private mutating func leave(_ callback: Callback, _ world: inout World) {
        self.callback = callback
        guard !assigned.isEmpty else {
            confirmRevoked([], &world)
            return
        }
        switch callback {
        case .revoked: tell(.revoked(assigned), &world)
        case .lost: tell(.lost(assigned), &world)
        }
    }

    private mutating func confirmRevoked(_ partitions: [Partition], _ world: inout World) {
        assigned.removeAll { partitions.contains($0) }
        switch callback {
        case .revoked: if let member { world.broker.withGroup { $0.rejoin(member) } }
        case .lost: member = nil
        case nil: break
        }
        callback = nil
    }

    private mutating func fetch(_ world: inout World) {
        let unpaused = assigned.filter { !paused.contains($0) }
        guard let partition = world.pick(unpaused) else { return }
        guard let position = positions[partition] else {
            guard let offsets = world.broker.readCommitted([partition]) else { return }
            positions[partition] = offsets[partition] ?? 0
            return
        }
        guard let record = world.input(partition, from: position) else { return }
        positions[partition] = record.offset + 1
        tell(.record(record), &world)
    }

    /// Closing the consumer revokes what it has, and leaves the group.
    private mutating func close(_ world: inout World) throws(Death) {
        if !assigned.isEmpty, callback == nil {
            callback = .revoked
            tell(.revoked(assigned), &world)
            return
        }
        if let member { world.broker.withGroup { $0.remove(member) } }
        throw Death(text: "stopped: \(stopReason.map { "\($0)" } ?? "")")
    }
}

extension LearningReport {
    fileprivate var happening: String {
        switch self {
        case .label(.taken): "label taken"
        case .label(.correction): "label corrected"
        case .label(.postUnknownWaiting): "view came early"
        case .label(.earlyViewsFull), .label(.earlyViewExpired): "early view given up"
        case .label(let outcome): "label \(outcome.rawValue)"
        case .judged: "judged"
        case .updated(_, let result):
            result.outcome.vector == nil ? "not updated" : "vector updated"
        case .rolledBack: "rolled back"
        case .versionUnknown: "version unknown"
        case .forgotten: "user forgotten"
        }
    }
}

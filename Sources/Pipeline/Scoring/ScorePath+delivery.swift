// How what records come to is published, and how partitions come and go.

extension ScorePath {
    // MARK: - Publishing

    /// Before the next step is asked for: a batch is given up instead of its next step.
    mutating func giveUpLateBatch() {
        react(to: publisher.timePassed(at: now.uptime))
        if let revocation, now.uptime >= revocation.deadline,
            publisher.isBusy(with: revocation.partitions)
        {
            react(to: publisher.giveUp("the rebalance cannot wait longer", at: now.uptime))
        }
        if let stopping, stopping.mayPublish, now.uptime >= stopping.publishUntil {
            self.stopping?.mayPublish = false
            react(to: publisher.giveUp("the daemon stops", at: now.uptime))
        }
    }

    mutating func publish() {
        if isBatchDue, publisher.canPublish(at: now.uptime) {
            let batch = held.nextBatch(
                maximumPosts: configuration.maximumBatchRecords,
                maximumBytes: configuration.maximumBatchBytes)
            publisher.publish(batch, at: now.uptime)
            lastBatchBegan = now.uptime
        }
        askForStep()
    }

    mutating func askForStep() {
        guard !hasEnded,
            let step = publisher.nextStep(at: now.uptime, assigned: held.partitions.keys.sorted())
        else { return }
        effects.append(.publish(step))
    }

    var nextBatchAt: Milliseconds {
        lastBatchBegan + configuration.commitIntervalMilliseconds
    }

    /// Waiting is for sharing a transaction: where no other post is in hand there is little to wait
    /// for.
    var isBatchDue: Bool {
        guard held.publishableCount > 0, let batchDue else { return false }
        return now.uptime >= batchDue
            || held.publishablePostCount > 0 && held.publishablePostCount == held.postCount
                && now.uptime >= lastFinished + configuration.idleIntervalMilliseconds
            || held.publishablePostCount >= configuration.maximumBatchRecords
            || held.publishableBytes >= configuration.maximumBatchBytes
            || stopping?.mayPublish == true
            || isLeavingPublishable
    }

    /// A rebalance waits for outputs that can still be published.
    var isLeavingPublishable: Bool {
        guard let revocation, revocation.mayPublish else { return false }
        return revocation.partitions.contains { (held.partitions[$0]?.finished ?? 0) > 0 }
    }

    mutating func stepEnded(_ result: StepResult) {
        if case .tooLarge = result, let batch = publisher.batch {
            let count = held.reduceDeadLetters(in: batch, topic: configuration.deadLetterTopic)
            if count > 0 { effects.append(.report(.deadLettersReduced(records: count))) }
        }
        react(to: publisher.answered(result, at: now.uptime))
    }

    mutating func react(to outcome: Publisher.Outcome?) {
        switch outcome {
        case nil: break
        case .published(let batch, let milliseconds):
            let latencies = held.timestampsOfScores(below: batch.offsets)
                .map { $0.map { now.epoch - $0 } }
            store(below: batch.offsets)
            forget(below: batch.offsets)
            effects.append(
                .report(
                    .batchPublished(
                        records: batch.recordCount, milliseconds: milliseconds,
                        latencies: latencies)))
        case .committed(let offsets):
            catchUp(below: offsets)
            forget(below: offsets)
        case .batchAborted(let text):
            revocation?.mayPublish = false
            effects.append(.report(.batchAborted(text)))
        case .producerLost(let text):
            revocation?.mayPublish = false
            effects.append(.report(.producerLost(text)))
        case .stepRetried(let text):
            effects.append(.report(.stepRetried(text)))
        case .failed(let text):
            end(.failed(text))
        }
    }

    /// These are published and committed.
    mutating func forget(below offsets: [Partition: Int64]) {
        for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            guard let assigned = held.partitions[partition] else { continue }
            drop(partition, 0..<held.count(of: partition, below: offset))
            held.partitions[partition]?.nextOffset = max(assigned.nextOffset, offset)
        }
        if held.publishableCount > 0 { batchDue = max(now.uptime, nextBatchAt) }
    }

    /// Removes records from memory, published or given up; work under way on them is cancelled.
    mutating func drop(_ partition: Partition, _ range: Range<Int>) {
        for (ticket, entry) in held.remove(partition, range) {
            if let pin = entry.pin { learning?.unpin(pin, isApplied: entry.finished != nil) }
            switch entry.stage {
            case .waiting:
                waiting.removeAll { $0 == ticket }
            case .prepared(let image):
                prepared.remove(ticket)
                if image != nil { imageSlots.remove(ticket) }
            case .preparing, .scoring, .learning:
                effects.append(.cancel(ticket))
            case .answered, .recalling, .recalled, .finished:
                break
            }
        }
        if held.publishableCount == 0 { batchDue = nil }
    }

    // MARK: - Rebalancing

    mutating func assign(_ added: [Partition]) {
        for partition in added where held.partitions[partition] == nil {
            held.partitions[partition] = .init()
            enterTask(of: partition)
        }
        let pausing = added.filter { !mayFlow($0) }
        if !pausing.isEmpty { effects.append(.pause(pausing)) }
    }

    /// What is finished may still be published, within a bounded time; the rest is given up to
    /// the next owner.
    mutating func beginRevocation(of leaving: [Partition]) {
        for partition in leaving {
            held.partitions[partition]?.isLeaving = true
            giveUpUnfinished(partition)
        }
        revocation = Revocation(
            partitions: (revocation?.partitions ?? []) + leaving,
            deadline: now.uptime + configuration.revokeBudgetMilliseconds)
    }

    mutating func continueRevocation() {
        guard let revocation else { return }
        let isBusy = publisher.isBusy(with: revocation.partitions)
        guard !isBusy || now.uptime >= revocation.deadline else { return }
        confirm(revocation.partitions)
        self.revocation = nil
    }

    mutating func lose(_ lost: [Partition]) {
        react(to: publisher.abandon(lost, at: now.uptime))
        askForStep()
        confirm(lost)
    }

    mutating func confirm(_ leaving: [Partition]) {
        for partition in leaving {
            giveUp(partition, from: 0)
            held.partitions[partition] = nil
        }
        leaveTasks(of: leaving)
        effects.append(.confirmRevoked(leaving))
    }

    mutating func giveUpUnfinished(_ partition: Partition) {
        giveUp(partition, from: held.partitions[partition]?.finished ?? 0)
    }

    mutating func giveUp(_ partition: Partition, from start: Int) {
        guard let assigned = held.partitions[partition], start < assigned.tickets.count else {
            return
        }
        effects.append(.report(.givenUp(records: assigned.tickets.count - start)))
        drop(partition, start..<assigned.tickets.count)
    }

    // MARK: - Stopping

    mutating func beginStop() {
        guard stopping == nil else { return }
        let budget = configuration.stopBudgetMilliseconds
        stopping = Stopping(
            publishUntil: now.uptime + budget * 3 / 4, deadline: now.uptime + budget)
        let assigned = held.partitions.keys.sorted()
        if !assigned.isEmpty {
            effects.append(.pause(assigned))
        }
        for partition in assigned {
            giveUpUnfinished(partition)
        }
    }

    mutating func continueStop() {
        guard let stopping else { return }
        if now.uptime >= stopping.deadline {
            end(.unfinished)
        } else if !publisher.isBusy {
            if held.isEmpty {
                end(.clean)
            } else if now.uptime >= stopping.publishUntil {
                end(.unfinished)
            }
        }
    }

    mutating func end(_ reason: StopReason) {
        guard !hasEnded else { return }
        hasEnded = true
        for partition in held.partitions.keys.sorted() {
            giveUp(partition, from: 0)
        }
        held.partitions = [:]
        if let revocation {
            effects.append(.confirmRevoked(revocation.partitions))
            self.revocation = nil
        }
        effects.append(.stopped(reason))
    }

    // MARK: - Backpressure

    mutating func limitFlow() {
        guard !hasEnded, stopping == nil else { return }
        let isFull =
            held.postCount >= configuration.highWaterRecords
            || held.byteCount >= configuration.highWaterBytes
        let isLow =
            held.postCount <= configuration.lowWaterRecords
            && held.byteCount <= configuration.lowWaterBytes
        if isPaused ? isLow : isFull {
            isPaused.toggle()
            pauseOrResume(isPaused, ofLearning: false)
        }
        guard let learning = configuration.learning else { return }
        let count = held.count - held.postCount
        // What learning holds in memory counts as well: without it posts alone could not flow.
        let isLearningFull = count >= learning.highWaterRecords || isPaused
        let isLearningLow = count <= learning.lowWaterRecords && !isPaused
        if isLearningPaused ? isLearningLow : isLearningFull {
            isLearningPaused.toggle()
            pauseOrResume(isLearningPaused, ofLearning: true)
        }
    }

    /// Pauses or resumes the partitions that may flow but for the marks.
    mutating func pauseOrResume(_ pauses: Bool, ofLearning: Bool) {
        let partitions = held.partitions.filter {
            isOfLearning($0.key) == ofLearning && !$0.value.isLeaving && isRestored($0.key)
        }.keys.sorted()
        guard !partitions.isEmpty else { return }
        effects.append(pauses ? .pause(partitions) : .resume(partitions))
    }

    func mayFlow(_ partition: Partition) -> Bool {
        stopping == nil && isRestored(partition)
            && !(isOfLearning(partition) ? isLearningPaused : isPaused)
    }
}

extension ScorePath {
    /// A rebalance callback that waits for `confirmRevoked`.
    struct Revocation {
        var partitions: [Partition]
        var deadline: Milliseconds
        /// Until the first failure.
        var mayPublish = true
    }

    struct Stopping {
        var publishUntil: Milliseconds
        var deadline: Milliseconds
        var mayPublish = true
    }
}

/// The way of a post from the posts topic to its score, as decisions only: events and time go
/// in, effects come out. It knows no broker, no network, no clock and no thread, so a seeded
/// simulation can lead it through every crash and rebalance.
///
///     record -> read and check -> wait for a slot -> prepare (fetch, decode; many at a time,
///     retried) -> score (in order, a few handed over ahead) -> finished -> published, in offset
///     order, in one transaction with the offsets
///
/// Each record ends as exactly one output: a score, an "expired" answer or a dead letter. A
/// partition's outputs and offsets are published only as far as everything before is finished,
/// so they keep the order of the input, and a committed offset never passes an unpublished
/// record. A finished output stays in memory until its transaction is known to be committed;
/// after an abort the same bytes are published again, so nothing is fetched or scored twice and
/// the consumer is never rewound.
///
/// Memory is bounded: records in hand by `highWaterRecords`; what they hold (value, post, image,
/// output) by `highWaterBytes`, beyond which come at most one record, `maximumPreparedPosts`
/// images, `maximumScoringPosts` that are with the scorer and a score of a few KB for each record;
/// ids by `rememberedPosts`; work given up but not yet answered by `maximumPreparedPosts` +
/// `maximumScoringPosts`.
///
/// Where posts come faster than they can be scored, they wait on the topic, in their order. A post
/// that says by when its score is wanted (`score_by`) and cannot have it by then is answered as
/// expired at once, which costs next to nothing: so what is scored is scored in time.
///
/// `Image` is whatever the preparation makes for the scorer; it is only carried.
package struct ScorePath<Image: Sendable>: Sendable {
    private let configuration: ScorePathConfiguration
    private var now = Moment(uptime: 0, epoch: 0)
    /// Collected during one `handle`.
    private var effects: [Effect] = []

    private typealias Entry = HeldRecords<Image>.Entry
    private var held = HeldRecords<Image>()

    /// Tickets in ascending order: posts whose image is to be prepared, now or after a delay.
    private var waiting: [Ticket] = []
    /// One for each image asked of the workers and not answered, cancelled or not, and for each
    /// that is ready and not yet with the scorer.
    private var imageSlots: Set<Ticket> = []
    /// Ready to be scored, with an image or without.
    private var prepared: Set<Ticket> = []
    /// Asked of the scorer and not answered, cancelled or not.
    private var scoring: Set<Ticket> = []
    private var pace = ScoringPace()

    /// Uptime by which what is publishable now is published; nil when nothing is.
    private var batchDue: Milliseconds?
    private var lastBatchBegan: Milliseconds = 0
    /// Uptime at which the last record was finished.
    private var lastFinished: Milliseconds = 0
    private var publisher: Publisher

    private var recentPosts: RecentPosts
    private var isPaused = false
    private var revocation: Revocation?
    private var stopping: Stopping?
    private var hasEnded = false

    package init(configuration: ScorePathConfiguration) {
        self.configuration = configuration
        publisher = Publisher(configuration: configuration)
        recentPosts = RecentPosts(capacity: configuration.rememberedPosts)
    }

    package var load: Load {
        var load = Load()
        load.records = held.count
        load.bytes = held.byteCount
        load.waiting = waiting.count
        load.preparing = imageSlots.count { !isImageReady($0) }
        load.prepared = prepared.count
        load.publishable = held.publishableCount
        load.isPaused = isPaused
        return load
    }

    /// Tells what happened and when, and returns what is to be done, in order.
    package mutating func handle(_ event: Event, at moment: Moment) -> [Effect] {
        if hasEnded {
            return afterTheEnd(event)
        }
        now = moment
        switch event {
        case .start: publisher.start(at: now.uptime)
        case .assigned(let partitions): assign(partitions)
        case .revoked(let partitions): beginRevocation(of: partitions)
        case .lost(let partitions): lose(partitions)
        case .record(let record): take(record)
        case .prepared(let ticket, let result): preparationEnded(ticket, result)
        case .scored(let ticket, let result): scoringEnded(ticket, result)
        case .published(let result): stepEnded(result)
        case .tick: endLatePreparations()
        case .stop: beginStop()
        }
        startScoring()
        startPreparations()
        giveUpLateBatch()
        publish()
        continueRevocation()
        continueStop()
        limitFlow()
        defer { effects = [] }
        return effects
    }

    /// Closing the consumer revokes its partitions once more.
    private func afterTheEnd(_ event: Event) -> [Effect] {
        switch event {
        case .revoked(let partitions), .lost(let partitions): [.confirmRevoked(partitions)]
        default: []
        }
    }

    // MARK: - Taking records

    private mutating func take(_ record: Record) {
        guard stopping == nil, let assigned = held.partitions[record.partition],
            !assigned.isLeaving
        else { return }
        guard record.offset >= assigned.nextOffset else {
            return skip(record, assigned)
        }
        do throws(EventError) {
            let post = try read(record)
            let isRepeat = recentPosts.isRepeat(post.pid, in: record)
            let ticket = held.take(
                Entry(record: record, post: post, isRepeat: isRepeat, takenAt: now.uptime))
            if post.image == nil {
                becomePrepared(ticket, nil)
            } else {
                waiting.append(ticket)
            }
        } catch {
            let ticket = held.take(
                Entry(record: record, post: nil, isRepeat: false, takenAt: now.uptime))
            deadLetter(ticket, error.reason, error.description)
        }
    }

    /// Nobody seeks, and a new assignment forgets `nextOffset`: a record below it means that the
    /// log was reset, and the client went where `auto.offset.reset` says. To take the record would
    /// not be safe. It may be of a log that lost only its end, and published long ago; and the
    /// group's committed offset is still the old one, which after the next failure would be read
    /// back and believed: what is below it would count as published. To skip it is safe, as it
    /// commits nothing: once the group's offsets are reset, everything is read again.
    private mutating func skip(_ record: Record, _ assigned: HeldRecords<Image>.AssignedPartition) {
        guard !assigned.isBehind else { return }
        held.partitions[record.partition]?.isBehind = true
        effects.append(
            .report(
                .offsetReset(record.partition, from: assigned.nextOffset, to: record.offset)))
    }

    private func read(_ record: Record) throws(EventError) -> PostEvent {
        guard let value = record.value else {
            throw EventError(.emptyValue, found: "no value (a tombstone)", expected: "a post")
        }
        let post = try PostEvent(parsing: value, from: .topic, limits: configuration.eventLimits)
        guard record.key == Array(post.uid.utf8) else {
            let found = record.key.map { "\"\(String(decoding: $0, as: UTF8.self).clipped)\"" }
            throw EventError(
                .keyMismatch, field: "key", found: found ?? "no key",
                expected: "the event's uid, \"\(post.uid)\": produce with the user id as key")
        }
        return post
    }

    // MARK: - Preparing images

    private mutating func startPreparations() {
        guard !waiting.isEmpty else { return }
        var stillWaiting: [Ticket] = []
        for (index, ticket) in waiting.enumerated() {
            guard imageSlots.count < configuration.maximumPreparedPosts else {
                stillWaiting += waiting[index...]
                break
            }
            guard let entry = held[ticket], let post = entry.post else { continue }
            if isTooLate(post, behind: scoring.count + imageSlots.count) {
                expire(ticket, post)
            } else if now.uptime < entry.notBefore {
                stillWaiting.append(ticket)
            } else {
                startPreparation(ticket, post)
            }
        }
        waiting = stillWaiting
    }

    private mutating func startPreparation(_ ticket: Ticket, _ post: PostEvent) {
        guard let entry = held[ticket] else { return }
        let attempt = entry.attempts + 1
        let deadline = entry.deadline ?? now.uptime + configuration.retryBudgetMilliseconds
        held.update(ticket) { entry in
            entry.attempts = attempt
            entry.deadline = deadline
            entry.stage = .preparing
        }
        imageSlots.insert(ticket)
        effects.append(.prepare(ticket, post, attempt: attempt, deadline: deadline))
    }

    private mutating func preparationEnded(
        _ ticket: Ticket, _ result: Result<PreparedImage<Image>, PreparationFailure>
    ) {
        guard let entry = held[ticket], case .preparing = entry.stage else {
            imageSlots.remove(ticket)
            return
        }
        switch result {
        case .success(let image):
            becomePrepared(ticket, image)
        case .failure(.permanent(let reason, let text)):
            imageSlots.remove(ticket)
            goOnWithoutImage(ticket, reason, text)
        case .failure(.transient(let text, let retryAfter)):
            imageSlots.remove(ticket)
            retryPreparation(ticket, entry, text, after: retryAfter ?? 0)
        }
    }

    private mutating func retryPreparation(
        _ ticket: Ticket, _ entry: Entry, _ text: String, after least: Milliseconds
    ) {
        let doubled =
            configuration.firstRetryDelayMilliseconds << Milliseconds(min(entry.attempts - 1, 20))
        let delay = max(
            min(doubled, configuration.maximumRetryDelayMilliseconds),
            min(least, configuration.retryBudgetMilliseconds))
        guard let deadline = entry.deadline, now.uptime + delay < deadline else {
            goOnWithoutImage(
                ticket, .imageUnavailable, "\(text) (gave up after \(entry.attempts) attempts)")
            return
        }
        let notBefore = now.uptime + delay
        held.update(ticket) { entry in
            entry.stage = .waiting
            entry.notBefore = notBefore
        }
        waiting.insert(ticket, at: waiting.firstIndex { $0 > ticket } ?? waiting.endIndex)
        effects.append(
            .report(
                .retryingImage(
                    entry.record.partition, offset: entry.record.offset, attempt: entry.attempts,
                    delay: delay, text)))
    }

    /// The bound on retries holds even where a worker does not answer.
    private mutating func endLatePreparations() {
        for ticket in imageSlots.sorted() {
            guard let entry = held[ticket], case .preparing = entry.stage,
                let deadline = entry.deadline, now.uptime > deadline
            else { continue }
            effects.append(.cancel(ticket))
            goOnWithoutImage(
                ticket, .imageUnavailable,
                "no answer within \(configuration.retryBudgetMilliseconds) ms "
                    + "(\(entry.attempts) attempts)")
        }
    }

    /// The image is given up. Its slot is not freed here: the worker may still be at it.
    private mutating func goOnWithoutImage(
        _ ticket: Ticket, _ reason: DeadLetterReason, _ text: String
    ) {
        guard let record = held[ticket]?.record else { return }
        switch configuration.unusableImage {
        case .deadLetter:
            deadLetter(ticket, reason, text)
        case .scoreWithout:
            effects.append(
                .report(.imageUnusable(record.partition, offset: record.offset, reason, text)))
            becomePrepared(ticket, nil)
        }
    }

    private func isImageReady(_ ticket: Ticket) -> Bool {
        if case .prepared(_?) = held[ticket]?.stage { true } else { false }
    }

    private mutating func becomePrepared(_ ticket: Ticket, _ image: PreparedImage<Image>?) {
        held.update(ticket) { $0.stage = .prepared(image) }
        prepared.insert(ticket)
    }

    // MARK: - Scoring

    private mutating func startScoring() {
        while scoring.count < configuration.maximumScoringPosts, let ticket = prepared.min() {
            prepared.remove(ticket)
            if isImageReady(ticket) { imageSlots.remove(ticket) }
            guard let entry = held[ticket], let post = entry.post,
                case .prepared(let image) = entry.stage
            else { continue }
            if isTooLate(post, behind: scoring.count) {
                expire(ticket, post)
                continue
            }
            var timings = ScoreEvent.Timings()
            timings.fetch = image?.fetchMilliseconds ?? 0
            timings.decode = image?.decodeMilliseconds ?? 0
            timings.queue = max(
                0, Float(now.uptime - entry.takenAt) - timings.fetch - timings.decode)
            held.update(ticket) { $0.stage = .scoring(timings) }
            scoring.insert(ticket)
            effects.append(.score(ticket, post, image: image?.image))
        }
    }

    private mutating func scoringEnded(
        _ ticket: Ticket, _ result: Result<Scoring, ScoringFailure>
    ) {
        scoring.remove(ticket)
        if case .success(let scoring) = result { pace.add(scoring) }
        guard let entry = held[ticket], let post = entry.post,
            case .scoring(let timings) = entry.stage
        else { return }
        switch result {
        case .failure(let failure):
            deadLetter(ticket, .scoringFailed, failure.text)
        case .success(let scoring):
            let scored = ScoreEvent.Scored(scoring, isRepeat: entry.isRepeat, timings: timings)
            guard scored.score.isFinite, scored.viewsPerDay.isFinite,
                scored.expectedViewsPerDay?.isFinite ?? true
            else {
                deadLetter(
                    ticket, .scoringFailed,
                    "the model \(scored.model) gave \(scored.score): check its weights")
                return
            }
            guard answer(ticket, entry, post, .scored(scored)) else { return }
            effects.append(
                .report(
                    .scored(
                        entry.record.partition, offset: entry.record.offset, flags: scored.flags)))
        }
    }

    /// The deadline is past, or could not be met: by the pace of late the posts before it and its
    /// own score take longer, and the commit interval comes on top.
    ///
    /// Without the outlook, posts under overload would be scored just as their deadline passes,
    /// each too late. A post that nothing is before is scored as long as there is time: a pace that
    /// was measured wrongly is put right by scoring alone.
    private func isTooLate(_ post: PostEvent, behind others: Int) -> Bool {
        guard let scoreBy = post.scoreBy else { return false }
        var ready = Double(now.epoch)
        if others > 0 {
            ready += Double(others + 1) * pace.milliseconds
            ready += Double(configuration.commitIntervalMilliseconds)
        }
        return ready > scoreBy * 1_000
    }

    // MARK: - Finishing: one output for each record

    private mutating func expire(_ ticket: Ticket, _ post: PostEvent) {
        guard let entry = held[ticket], let scoreBy = post.scoreBy else { return }
        guard answer(ticket, entry, post, .expired(scoreBy: scoreBy)) else { return }
        effects.append(
            .report(.expired(entry.record.partition, offset: entry.record.offset)))
    }

    /// - Returns: false where the answer is too large to be produced, so it is a dead letter.
    private mutating func answer(
        _ ticket: Ticket, _ entry: Entry, _ post: PostEvent, _ outcome: ScoreEvent.Outcome
    ) -> Bool {
        let event = ScoreEvent(
            pid: post.pid, uid: post.uid, outcome: outcome, eventTime: entry.record.timestamp,
            scoredAt: now.epoch,
            origin: ScoreEvent.Origin(
                topic: entry.record.partition.topic, partition: entry.record.partition.number,
                offset: entry.record.offset))
        let output = OutputRecord(
            topic: configuration.scoresTopic, key: Array(post.uid.utf8), value: event.json)
        guard output.byteCount <= configuration.maximumOutputBytes else {
            deadLetter(
                ticket, .scoringFailed,
                "the answer has \(output.byteCount) bytes, the producer takes "
                    + "\(configuration.maximumOutputBytes): raise its message.max.bytes")
            return false
        }
        finish(ticket, output)
        return true
    }

    private mutating func deadLetter(
        _ ticket: Ticket, _ reason: DeadLetterReason, _ text: String
    ) {
        guard let record = held[ticket]?.record else { return }
        let letter = DeadLetter(record: record, reason: reason, error: text)
        finish(
            ticket,
            letter.output(
                to: configuration.deadLetterTopic,
                maximumBytes: configuration.maximumOutputBytes))
        effects.append(
            .report(.deadLettered(record.partition, offset: record.offset, reason, text)))
    }

    private mutating func finish(_ ticket: Ticket, _ output: OutputRecord) {
        guard held[ticket] != nil else { return }
        lastFinished = now.uptime
        held.finish(ticket, output)
        if held.publishableCount > 0, batchDue == nil {
            batchDue = max(now.uptime, nextBatchAt)
        }
    }

    // MARK: - Publishing

    /// Before the next step is asked for: a batch is given up instead of its next step.
    private mutating func giveUpLateBatch() {
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

    private mutating func publish() {
        if isBatchDue, publisher.canPublish(at: now.uptime) {
            let batch = held.nextBatch(
                maximumRecords: configuration.maximumBatchRecords,
                maximumBytes: configuration.maximumBatchBytes)
            publisher.publish(batch, at: now.uptime)
            lastBatchBegan = now.uptime
        }
        askForStep()
    }

    private mutating func askForStep() {
        guard !hasEnded,
            let step = publisher.nextStep(at: now.uptime, assigned: held.partitions.keys.sorted())
        else { return }
        effects.append(.publish(step))
    }

    private var nextBatchAt: Milliseconds {
        lastBatchBegan + configuration.commitIntervalMilliseconds
    }

    /// Waiting is for sharing a transaction: where nothing else is in hand there is little to wait
    /// for.
    private var isBatchDue: Bool {
        guard held.publishableCount > 0, let batchDue else { return false }
        return now.uptime >= batchDue
            || held.publishableCount == held.count
                && now.uptime >= lastFinished + configuration.idleIntervalMilliseconds
            || held.publishableCount >= configuration.maximumBatchRecords
            || held.publishableBytes >= configuration.maximumBatchBytes
            || stopping?.mayPublish == true
            || isLeavingPublishable
    }

    /// A rebalance waits for outputs that can still be published.
    private var isLeavingPublishable: Bool {
        guard let revocation, revocation.mayPublish else { return false }
        return revocation.partitions.contains { (held.partitions[$0]?.finished ?? 0) > 0 }
    }

    private mutating func stepEnded(_ result: StepResult) {
        if case .tooLarge = result, let batch = publisher.batch {
            let count = held.reduceDeadLetters(in: batch, topic: configuration.deadLetterTopic)
            if count > 0 { effects.append(.report(.deadLettersReduced(records: count))) }
        }
        react(to: publisher.answered(result, at: now.uptime))
    }

    private mutating func react(to outcome: Publisher.Outcome?) {
        switch outcome {
        case nil: break
        case .published(let batch, let milliseconds):
            forget(below: batch.offsets)
            effects.append(
                .report(
                    .batchPublished(records: batch.outputs.count, milliseconds: milliseconds)))
        case .committed(let offsets):
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
    private mutating func forget(below offsets: [Partition: Int64]) {
        for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            guard let assigned = held.partitions[partition] else { continue }
            drop(partition, 0..<held.count(of: partition, below: offset))
            held.partitions[partition]?.nextOffset = max(assigned.nextOffset, offset)
        }
        if held.publishableCount > 0 { batchDue = max(now.uptime, nextBatchAt) }
    }

    /// Removes records from memory, published or given up; work under way on them is cancelled.
    private mutating func drop(_ partition: Partition, _ range: Range<Int>) {
        for (ticket, entry) in held.remove(partition, range) {
            switch entry.stage {
            case .waiting:
                waiting.removeAll { $0 == ticket }
            case .prepared(let image):
                prepared.remove(ticket)
                if image != nil { imageSlots.remove(ticket) }
            case .preparing, .scoring:
                effects.append(.cancel(ticket))
            case .finished:
                break
            }
        }
        if held.publishableCount == 0 { batchDue = nil }
    }

    // MARK: - Rebalancing

    private mutating func assign(_ added: [Partition]) {
        for partition in added where held.partitions[partition] == nil {
            held.partitions[partition] = .init()
        }
        if isPaused || stopping != nil, !added.isEmpty {
            effects.append(.pause(added))
        }
    }

    /// What is finished may still be published, within a bounded time; the rest is given up to
    /// the next owner.
    private mutating func beginRevocation(of leaving: [Partition]) {
        for partition in leaving {
            held.partitions[partition]?.isLeaving = true
            giveUpUnfinished(partition)
        }
        revocation = Revocation(
            partitions: (revocation?.partitions ?? []) + leaving,
            deadline: now.uptime + configuration.revokeBudgetMilliseconds)
    }

    private mutating func continueRevocation() {
        guard let revocation else { return }
        let isBusy = publisher.isBusy(with: revocation.partitions)
        guard !isBusy || now.uptime >= revocation.deadline else { return }
        confirm(revocation.partitions)
        self.revocation = nil
    }

    private mutating func lose(_ lost: [Partition]) {
        react(to: publisher.abandon(lost, at: now.uptime))
        askForStep()
        confirm(lost)
    }

    private mutating func confirm(_ leaving: [Partition]) {
        for partition in leaving {
            giveUp(partition, from: 0)
            held.partitions[partition] = nil
        }
        effects.append(.confirmRevoked(leaving))
    }

    private mutating func giveUpUnfinished(_ partition: Partition) {
        giveUp(partition, from: held.partitions[partition]?.finished ?? 0)
    }

    private mutating func giveUp(_ partition: Partition, from start: Int) {
        guard let assigned = held.partitions[partition], start < assigned.tickets.count else {
            return
        }
        effects.append(.report(.givenUp(records: assigned.tickets.count - start)))
        drop(partition, start..<assigned.tickets.count)
    }

    // MARK: - Stopping

    private mutating func beginStop() {
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

    private mutating func continueStop() {
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

    private mutating func end(_ reason: StopReason) {
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

    private mutating func limitFlow() {
        guard !hasEnded, stopping == nil else { return }
        let isFull =
            held.count >= configuration.highWaterRecords
            || held.byteCount >= configuration.highWaterBytes
        let isLow =
            held.count <= configuration.lowWaterRecords
            && held.byteCount <= configuration.lowWaterBytes
        guard isPaused ? isLow : isFull else { return }
        isPaused.toggle()
        let staying = held.partitions.filter { !$0.value.isLeaving }.keys.sorted()
        if !staying.isEmpty {
            effects.append(isPaused ? .pause(staying) : .resume(staying))
        }
    }
}

extension ScorePath {
    /// A rebalance callback that waits for `confirmRevoked`.
    private struct Revocation {
        var partitions: [Partition]
        var deadline: Milliseconds
        /// Until the first failure.
        var mayPublish = true
    }

    private struct Stopping {
        var publishUntil: Milliseconds
        var deadline: Milliseconds
        var mayPublish = true
    }
}

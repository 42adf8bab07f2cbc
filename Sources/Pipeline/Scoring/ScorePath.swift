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
/// With learning, views and lessons are records too (`LearnPath`): taken, applied in their order, and
/// published in the same transactions. They have bounds of their own, so that no backlog of them
/// holds up a post.
///
/// `Image` is whatever the preparation makes for the scorer; it is only carried.
package struct ScorePath<Image: Sendable>: Sendable {
    let configuration: ScorePathConfiguration
    var now = Moment(uptime: 0, epoch: 0)
    /// Collected during one `handle`.
    var effects: [Effect] = []

    typealias Entry = HeldRecords<Image>.Entry
    var held = HeldRecords<Image>()

    /// Tickets in ascending order: posts whose image is to be prepared, now or after a delay.
    var waiting: [Ticket] = []
    /// One for each image asked of the workers and not answered, cancelled or not, and for each
    /// that is ready and not yet with the scorer.
    var imageSlots: Set<Ticket> = []
    /// Ready to be scored, with an image or without.
    var prepared: Set<Ticket> = []
    /// Asked of the scorer and not answered, cancelled or not.
    var scoring: Set<Ticket> = []
    var pace = ScoringPace()

    /// Uptime by which what is publishable now is published; nil when nothing is.
    var batchDue: Milliseconds?
    var lastBatchBegan: Milliseconds = 0
    /// Uptime at which the last record was finished.
    var lastFinished: Milliseconds = 0
    var publisher: Publisher

    var recentPosts: RecentPosts
    /// Where learning is on.
    var learning: LearnPath?
    var isPaused = false
    var isLearningPaused = false
    var revocation: Revocation?
    var stopping: Stopping?
    var hasEnded = false

    package init(configuration: ScorePathConfiguration) {
        self.configuration = configuration
        publisher = Publisher(configuration: configuration)
        recentPosts = RecentPosts(capacity: configuration.rememberedPosts)
        learning = configuration.learning.map { LearnPath(configuration: $0) }
    }

    package var load: Load {
        var load = Load()
        load.records = held.postCount
        load.learningRecords = held.count - held.postCount
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
        case .restored(let task, let generation, let early): restored(task, generation, early)
        case .recalled(let ticket, let recollection): recalled(ticket, recollection)
        case .learned(let ticket, let result): learned(ticket, result)
        case .freeze(let isFrozen): learning?.isFrozen = isFrozen
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
    func afterTheEnd(_ event: Event) -> [Effect] {
        switch event {
        case .revoked(let partitions), .lost(let partitions): [.confirmRevoked(partitions)]
        default: []
        }
    }

    // MARK: - Taking records

    mutating func take(_ record: Record) {
        guard stopping == nil, let assigned = held.partitions[record.partition],
            !assigned.isLeaving
        else { return }
        guard record.offset >= assigned.nextOffset else {
            return skip(record, assigned)
        }
        switch record.partition.topic {
        case configuration.learning?.viewsTopic: takeView(record)
        case configuration.learning?.lessonsTopic: takeLesson(record)
        default: takePost(record)
        }
    }

    mutating func takePost(_ record: Record) {
        do throws(EventError) {
            let post = try PostEvent(
                parsing: try value(of: record, "a post"), from: configuration.postSource,
                limits: configuration.eventLimits)
            try checkKey(of: record, post.uid)
            let isRepeat = recentPosts.isRepeat(post.pid, in: record)
            let ticket = held.take(
                Entry(
                    record: record, content: .post(post, isRepeat: isRepeat), takenAt: now.uptime,
                    stage: .waiting))
            recall(post, ticket, record)
            if post.image == nil {
                becomePrepared(ticket, nil)
            } else {
                waiting.append(ticket)
            }
        } catch {
            takeUnreadable(record, error, isOfLearning: false)
        }
    }

    mutating func takeUnreadable(_ record: Record, _ error: EventError, isOfLearning: Bool) {
        var entry = Entry(
            record: record, content: .nothing, takenAt: now.uptime, stage: .waiting)
        entry.isOfLearning = isOfLearning
        deadLetter(held.take(entry), error.reason, error.description)
    }

    func value(of record: Record, _ expected: String) throws(EventError) -> [UInt8] {
        guard let value = record.value else {
            throw EventError(.emptyValue, found: "no value (a tombstone)", expected: expected)
        }
        return value
    }

    func checkKey(of record: Record, _ uid: String) throws(EventError) {
        guard record.key == Array(uid.utf8) else {
            let found = record.key.map { "\"\(String(decoding: $0, as: UTF8.self).clipped)\"" }
            throw EventError(
                .keyMismatch, field: "key", found: found ?? "no key",
                expected: "the event's uid, \"\(uid)\": produce with the user id as key")
        }
    }

    /// Nobody seeks, and a new assignment forgets `nextOffset`: a record below it means that the
    /// log was reset, and the client went where `auto.offset.reset` says. To take the record would
    /// not be safe. It may be of a log that lost only its end, and published long ago; and the
    /// group's committed offset is still the old one, which after the next failure would be read
    /// back and believed: what is below it would count as published. To skip it is safe, as it
    /// commits nothing: once the group's offsets are reset, everything is read again.
    mutating func skip(_ record: Record, _ assigned: HeldRecords<Image>.AssignedPartition) {
        guard !assigned.isBehind else { return }
        held.partitions[record.partition]?.isBehind = true
        effects.append(
            .report(
                .offsetReset(record.partition, from: assigned.nextOffset, to: record.offset)))
    }

    // MARK: - Preparing images

    mutating func startPreparations() {
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

    mutating func startPreparation(_ ticket: Ticket, _ post: PostEvent) {
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

    mutating func preparationEnded(
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

    mutating func retryPreparation(
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
    mutating func endLatePreparations() {
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
    mutating func goOnWithoutImage(
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

    func isImageReady(_ ticket: Ticket) -> Bool {
        if case .prepared(_?) = held[ticket]?.stage { true } else { false }
    }

    mutating func becomePrepared(_ ticket: Ticket, _ image: PreparedImage<Image>?) {
        held.update(ticket) { $0.stage = .prepared(image) }
        prepared.insert(ticket)
    }

    // MARK: - Scoring

    mutating func startScoring() {
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
            effects.append(
                .score(ticket, post, image: image?.image, task: entry.record.partition.number))
        }
    }

    mutating func scoringEnded(
        _ ticket: Ticket, _ result: Result<Scoring, ScoringFailure>
    ) {
        scoring.remove(ticket)
        if case .success(let scoring) = result { pace.add(scoring) }
        guard let entry = held[ticket], case .post(let post, let isRepeat) = entry.content,
            case .scoring(let timings) = entry.stage
        else { return }
        switch result {
        case .failure(let failure):
            deadLetter(ticket, .scoringFailed, failure.text)
        case .success(let scoring):
            let scored = ScoreEvent.Scored(scoring, isRepeat: isRepeat, timings: timings)
            guard scored.score.isFinite, scored.viewsPerDay.isFinite,
                scored.expectedViewsPerDay?.isFinite ?? true
            else {
                deadLetter(
                    ticket, .scoringFailed,
                    "the model \(scored.model) gave \(scored.score): check its weights")
                return
            }
            let remembered = remembered(post, entry.record, scoring)
            guard
                answer(
                    ticket, entry, post, .scored(scored), remembered: remembered,
                    encoding: encodingToPublish(scoring))
            else { return }
            held.update(ticket) { $0.isScored = true }
            effects.append(
                .report(
                    .scored(
                        entry.record.partition, offset: entry.record.offset, flags: scored.flags,
                        scored.timings)))
        }
    }

    /// The deadline is past, or could not be met: by the pace of late the posts before it and its
    /// own score take longer, and the commit interval comes on top.
    ///
    /// Without the outlook, posts under overload would be scored just as their deadline passes,
    /// each too late. A post that nothing is before is scored as long as there is time: a pace that
    /// was measured wrongly is put right by scoring alone.
    func isTooLate(_ post: PostEvent, behind others: Int) -> Bool {
        guard let scoreBy = post.scoreBy else { return false }
        var ready = Double(now.epoch)
        if others > 0 {
            ready += Double(others + 1) * pace.milliseconds
            ready += Double(configuration.commitIntervalMilliseconds)
        }
        return ready > scoreBy * 1_000
    }

    // MARK: - Answering: one output for each post

    mutating func expire(_ ticket: Ticket, _ post: PostEvent) {
        guard let entry = held[ticket], let scoreBy = post.scoreBy else { return }
        guard answer(ticket, entry, post, .expired(scoreBy: scoreBy)) else { return }
        effects.append(
            .report(.expired(entry.record.partition, offset: entry.record.offset)))
    }

    /// - Parameter remembered: until the post's views are known.
    /// - Returns: false where the answer is too large to be produced, so it is a dead letter.
    mutating func answer(
        _ ticket: Ticket, _ entry: Entry, _ post: PostEvent, _ outcome: ScoreEvent.Outcome,
        remembered: ScoredPost? = nil, encoding: [UInt8]? = nil
    ) -> Bool {
        let event = ScoreEvent(
            pid: post.pid, uid: post.uid, outcome: outcome, eventTime: entry.record.timestamp,
            scoredAt: now.epoch,
            origin: ScoreEvent.Origin(
                topic: entry.record.partition.topic, partition: entry.record.partition.number,
                offset: entry.record.offset))
        let output = OutputRecord(
            topic: configuration.scoresTopic, key: Array(post.uid.utf8), value: event.json,
            headers: TraceContext.headers(of: entry.record))
        guard output.byteCount <= configuration.maximumOutputBytes else {
            deadLetter(
                ticket, .scoringFailed,
                "the answer has \(output.byteCount) bytes, the producer takes "
                    + "\(configuration.maximumOutputBytes): raise its message.max.bytes")
            return false
        }
        answered(ticket, [output] + latest(output, of: post), remembered, encoding)
        return true
    }

    /// The same once more where the last answer to each post is kept.
    func latest(_ output: OutputRecord, of post: PostEvent) -> [OutputRecord] {
        guard let topic = configuration.latestTopic else { return [] }
        var latest = output
        latest.topic = topic
        latest.key = post.key
        return [latest]
    }

    mutating func deadLetter(
        _ ticket: Ticket, _ reason: DeadLetterReason, _ text: String
    ) {
        guard let record = held[ticket]?.record else { return }
        let letter = DeadLetter(record: record, reason: reason, error: text)
        answered(
            ticket,
            [
                letter.output(
                    to: configuration.deadLetterTopic,
                    maximumBytes: configuration.maximumOutputBytes)
            ])
        effects.append(
            .report(.deadLettered(record.partition, offset: record.offset, reason, text)))
    }

    /// What is published for the record is known; its turn comes after those before it.
    mutating func answered(
        _ ticket: Ticket, _ outputs: [OutputRecord], _ remembered: ScoredPost? = nil,
        _ encoding: [UInt8]? = nil
    ) {
        guard let partition = held[ticket]?.record.partition else { return }
        held.letGo(ticket)
        held.update(ticket) { $0.stage = .answered(outputs, remembered, encoding: encoding) }
        advance(partition)
    }

    // MARK: - Finishing, in the order of the records

    /// Finishes the records of a partition whose turn it is, as far as it is known what they come
    /// to.
    mutating func advance(_ partition: Partition) {
        while let ticket = held.next(in: partition), let entry = held[ticket] {
            let conclusion: Conclusion?
            switch entry.stage {
            case .answered(let outputs, let remembered, let encoding):
                conclusion = conclude(entry, outputs, remembered, encoding)
            case .recalled(let recollection):
                conclusion = apply(ticket, entry, recollection)
            case .waiting, .preparing, .prepared, .scoring, .recalling, .learning, .finished:
                return
            }
            guard let conclusion else { return }
            finish(ticket, conclusion)
        }
    }

    mutating func finish(_ ticket: Ticket, _ conclusion: Conclusion) {
        lastFinished = now.uptime
        held.finish(ticket, conclusion)
        if batchDue == nil { batchDue = max(now.uptime, nextBatchAt) }
    }
}

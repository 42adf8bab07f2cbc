/// Outputs of finished records and, per partition, the offset after the last of them.
struct Batch: Equatable, Sendable {
    var recordCount = 0
    var outputs: [OutputRecord] = []
    var offsets: [Partition: Int64] = [:]
}

/// Publishes one batch after another, each with its offsets: in a transaction, or (at least
/// once) outputs first.
///
/// One rule keeps "exactly once" true through failures: after a transaction did not end with
/// `commit` answered by `done`, nobody's memory is believed. It may have been committed and only
/// the answer lost, so the group's committed offsets are read back, and what lies below them
/// counts as published, before anything is published again.
struct Publisher: Sendable {
    /// What an answer or the passing of time decided.
    enum Outcome: Equatable {
        case published(Batch, milliseconds: Milliseconds)
        /// Read back after a failure: everything below these is published.
        case committed([Partition: Int64])
        /// The batch in hand is not (known to be) published. What follows is already under way.
        case batchAborted(String)
        case producerLost(String)
        case stepRetried(String)
        /// Given up for good.
        case failed(String)
    }

    private enum Phase: Equatable {
        /// Before `start`, and after `failed`.
        case off
        case creatingProducer
        case readingCommitted
        case idle
        case publishing(Batch)
        case aborting
    }

    private let configuration: ScorePathConfiguration
    private var phase = Phase.off
    /// The step to ask for next, or whose answer is awaited; nil when idle or off.
    private var step: PublishStep?
    private var isAwaitingAnswer = false
    /// Uptimes: when the phase began, and before which no step is asked for.
    private var phaseBegan: Milliseconds = 0
    private var notBefore: Milliseconds = 0
    private var stepRetries = 0
    private var consecutiveAborts = 0
    private var consecutiveLostProducers = 0
    /// Uptimes, within the last `fencingWindowMilliseconds`.
    private var fencings: [Milliseconds] = []

    init(configuration: ScorePathConfiguration) {
        self.configuration = configuration
    }

    /// A batch may be given to `publish`.
    func canPublish(at uptime: Milliseconds) -> Bool {
        phase == .idle && uptime >= notBefore
    }

    /// A batch's fate is open: it is being published or aborted.
    var isBusy: Bool {
        switch phase {
        case .publishing, .aborting: true
        case .off, .creatingProducer, .readingCommitted, .idle: false
        }
    }

    /// The batch that is being published.
    var batch: Batch? {
        if case .publishing(let batch) = phase { batch } else { nil }
    }

    /// The batch whose fate is open may hold records of these.
    func isBusy(with partitions: [Partition]) -> Bool {
        switch phase {
        case .publishing(let batch): partitions.contains { batch.offsets[$0] != nil }
        case .aborting: true
        case .off, .creatingProducer, .readingCommitted, .idle: false
        }
    }

    mutating func start(at uptime: Milliseconds) {
        guard phase == .off else { return }
        enter(.creatingProducer, .createProducer, at: uptime)
    }

    mutating func publish(_ batch: Batch, at uptime: Milliseconds) {
        guard canPublish(at: uptime) else { return }
        switch configuration.delivery {
        case .exactlyOnce: enter(.publishing(batch), .begin, at: uptime)
        case .atLeastOnce: enter(.publishing(batch), .produce(batch.outputs), at: uptime)
        }
    }

    /// The step that is due now, to be asked for; nil while an answer or a delay is awaited.
    mutating func nextStep(
        at uptime: Milliseconds, assigned: @autoclosure () -> [Partition]
    ) -> PublishStep? {
        guard let step, !isAwaitingAnswer, uptime >= notBefore else { return nil }
        if case .readCommitted = step {
            let assigned = assigned()
            guard !assigned.isEmpty else {
                becomeIdle()
                return nil
            }
            self.step = .readCommitted(assigned)
        }
        isAwaitingAnswer = true
        return self.step
    }

    mutating func answered(_ result: StepResult, at uptime: Milliseconds) -> Outcome? {
        guard let step, isAwaitingAnswer else { return nil }
        isAwaitingAnswer = false
        switch (phase, result) {
        case (.off, _), (.idle, _):
            return nil

        case (_, .fenced(let text)):
            return fenced("\(step.name): \(text)", at: uptime)
        case (_, .fatal(let text)):
            return loseProducer("\(step.name): \(text)", at: uptime)

        case (.publishing, .retry(let text)) where step.isProduce:
            // Which of the records were taken is not known, so they cannot be handed over again.
            return abortBatch("\(step.name): \(text)", at: uptime)
        case (_, .retry(let text)):
            return retryStep("\(step.name): \(text)", at: uptime)

        case (.publishing(let batch), .done):
            return stepSucceeded(step, of: batch, at: uptime)
        case (.publishing, .abort(let text)), (.publishing, .tooLarge(let text)):
            return abortBatch("\(step.name): \(text)", at: uptime)

        case (.creatingProducer, .done):
            enter(.readingCommitted, .readCommitted([]), at: uptime)
            return nil
        case (.aborting, .done):
            enter(.readingCommitted, .readCommitted([]), at: uptime)
            return nil
        case (.readingCommitted, .committed(let offsets)):
            becomeIdle()
            notBefore = uptime + delay(consecutiveAborts)
            return .committed(offsets)

        case (.publishing, _), (.creatingProducer, _), (.aborting, _), (.readingCommitted, _):
            return loseProducer("\(step.name): answered by \(result)", at: uptime)
        }
    }

    /// Gives up the batch in hand if it is not finished within its budget.
    mutating func timePassed(at uptime: Milliseconds) -> Outcome? {
        guard isBusy, !isAwaitingAnswer,
            uptime - phaseBegan > configuration.transactionBudgetMilliseconds
        else { return nil }
        return giveUp("not finished within its time", at: uptime)
    }

    /// Ends the batch in hand, published or not: the rebalance or the stop cannot wait longer.
    mutating func giveUp(_ text: String, at uptime: Milliseconds) -> Outcome? {
        switch phase {
        case .off, .idle, .creatingProducer, .readingCommitted:
            return nil
        case .publishing where step != .commit:
            return abortBatch(text, at: uptime)
        case .publishing, .aborting:
            // A commit under way cannot be aborted by the client; a new producer makes the
            // broker finish it one way or the other.
            return loseProducer(text, at: uptime)
        }
    }

    /// Another member may have these already: a batch that holds records of theirs must not be
    /// committed. (A commit that was asked for may end either way: its offsets were accepted
    /// while the partitions were ours, and the next owner waits for it before it reads them.)
    mutating func abandon(_ partitions: [Partition], at uptime: Milliseconds) -> Outcome? {
        guard case .publishing(let batch) = phase, step != .commit,
            partitions.contains(where: { batch.offsets[$0] != nil })
        else { return nil }
        return abortBatch("its partitions were lost", at: uptime)
    }

    // MARK: - Transitions

    private mutating func enter(_ phase: Phase, _ step: PublishStep, at uptime: Milliseconds) {
        self.phase = phase
        self.step = step
        isAwaitingAnswer = false
        phaseBegan = uptime
        stepRetries = 0
    }

    private mutating func becomeIdle() {
        phase = .idle
        step = nil
        isAwaitingAnswer = false
    }

    private mutating func stepSucceeded(
        _ step: PublishStep, of batch: Batch, at uptime: Milliseconds
    ) -> Outcome? {
        stepRetries = 0
        switch (configuration.delivery, step) {
        case (.exactlyOnce, .begin): self.step = .produce(batch.outputs)
        case (.exactlyOnce, .produce): self.step = .sendOffsets(batch.offsets)
        case (.exactlyOnce, .sendOffsets): self.step = .commit
        case (.atLeastOnce, .produce): self.step = .flush
        case (.atLeastOnce, .flush): self.step = .commitOffsets(batch.offsets)
        default:
            consecutiveAborts = 0
            consecutiveLostProducers = 0
            becomeIdle()
            return .published(batch, milliseconds: uptime - phaseBegan)
        }
        return nil
    }

    private mutating func retryStep(_ text: String, at uptime: Milliseconds) -> Outcome {
        stepRetries += 1
        notBefore = uptime + delay(stepRetries)
        return .stepRetried(text)
    }

    private mutating func abortBatch(_ text: String, at uptime: Milliseconds) -> Outcome {
        consecutiveAborts += 1
        guard consecutiveAborts <= configuration.maximumConsecutiveAborts else {
            consecutiveAborts = 0
            return loseProducer("too many aborts in a row, the last: \(text)", at: uptime)
        }
        switch configuration.delivery {
        case .exactlyOnce:
            enter(.aborting, .abort, at: uptime)
            notBefore = uptime
        case .atLeastOnce:
            becomeIdle()
            notBefore = uptime + delay(consecutiveAborts)
        }
        return .batchAborted(text)
    }

    private mutating func fenced(_ text: String, at uptime: Milliseconds) -> Outcome {
        fencings.removeAll { uptime - $0 >= configuration.fencingWindowMilliseconds }
        fencings.append(uptime)
        guard fencings.count < configuration.maximumFencings else {
            return fail(
                "another instance uses the same transactional id (or transactions outlast the "
                    + "brokers' timeout): fenced \(fencings.count) times within "
                    + "\(configuration.fencingWindowMilliseconds / 1_000) s, the last time \(text)")
        }
        return loseProducer(text, at: uptime)
    }

    private mutating func fail(_ text: String) -> Outcome {
        phase = .off
        step = nil
        return .failed(text)
    }

    private mutating func loseProducer(_ text: String, at uptime: Milliseconds) -> Outcome {
        consecutiveLostProducers += 1
        guard consecutiveLostProducers <= configuration.maximumConsecutiveLostProducers else {
            return fail(text)
        }
        enter(.creatingProducer, .createProducer, at: uptime)
        notBefore = uptime + delay(consecutiveLostProducers)
        return .producerLost(text)
    }

    /// Doubles with each failure in a row, from the first delay to the largest.
    private func delay(_ failures: Int) -> Milliseconds {
        guard failures > 0 else { return 0 }
        let doubled =
            configuration.firstStepDelayMilliseconds << Milliseconds(min(failures - 1, 20))
        return min(doubled, configuration.maximumStepDelayMilliseconds)
    }
}

extension PublishStep {
    fileprivate var isProduce: Bool {
        if case .produce = self { true } else { false }
    }

    /// For error texts.
    package var name: String {
        switch self {
        case .createProducer: "creating the producer"
        case .begin: "beginning the transaction"
        case .produce(let records): "producing \(records.count) records"
        case .sendOffsets: "sending offsets to the transaction"
        case .commit: "committing the transaction"
        case .abort: "aborting the transaction"
        case .flush: "flushing"
        case .commitOffsets: "committing offsets"
        case .readCommitted: "reading committed offsets"
        }
    }
}

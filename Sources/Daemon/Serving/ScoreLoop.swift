import Kafka
import Logging
import Model
import Pipeline

/// The thread that polls Kafka and drives `ScorePath`: everything that touches the consumer or
/// the producer happens here, one thing at a time.
///
///     poll ──record──▶ ScorePath ──effects──▶ prepare (tasks), score (threads), publish (here)
///                          ▲                        │
///                          └────── mailbox ◀────────┘
final class ScoreLoop {
    typealias Path = ScorePath<PostImage>
    typealias Event = Path.Event

    /// A score is asked for at most this long after its post is ready, should a wake-up be lost.
    private static let pollMilliseconds = 50
    private static let statusIntervalMilliseconds: Milliseconds = 1_000
    private static let statusLogIntervalMilliseconds: Milliseconds = 60_000

    /// The learning half, where it is on.
    struct Learning {
        let state: LearningState
        let thread: LearningThread
    }

    private let topics: [String]
    private let topicCheck: TopicCheck
    private let consumerConfiguration: ClientConfiguration
    private let publisher: KafkaPublisher
    private let preparer: ImagePreparer
    private let scoring: ScoringThreads
    private let learning: Learning?
    private let mailbox: Mailbox
    private let clock: Clock
    private let reports: ReportLog
    private let status: StatusBoard

    private var path: Path
    private var stopReason: Path.StopReason?
    /// Partitions whose revocation the path has not confirmed yet.
    private var unconfirmed: Set<Partition> = []
    private var lastStatus: Milliseconds = 0
    private var lastStatusLog: Milliseconds

    init(
        configuration: ScorePathConfiguration, topics: [String], topicCheck: TopicCheck,
        consumer: ClientConfiguration, publisher: KafkaPublisher, preparer: ImagePreparer,
        scoring: ScoringThreads, learning: Learning?,
        mailbox: Mailbox, clock: Clock, reports: ReportLog, status: StatusBoard
    ) {
        path = Path(configuration: configuration)
        lastStatusLog = clock.now.uptime
        self.topics = topics
        self.topicCheck = topicCheck
        consumerConfiguration = consumer
        self.publisher = publisher
        self.preparer = preparer
        self.scoring = scoring
        self.learning = learning
        self.mailbox = mailbox
        self.clock = clock
        self.reports = reports
        self.status = status
    }

    /// Runs until the path has stopped.
    /// - Throws: where the consumer can do no more (fenced, refused).
    func run() throws -> Path.StopReason {
        let consumer = try Consumer(configuration: consumerConfiguration) {
            [unowned self] consumer, change in
            self.rebalance(change, consumer)
            return [:]
        }
        mailbox.onPost(consumer.makeWaker())
        defer { mailbox.onPost(nil) }

        var isServing = false
        while stopReason == nil {
            if !isServing, try topicCheck.passes(at: clock.now.uptime) {
                isServing = true
                status.readiness.topics(waiting: nil)
                try consumer.subscribe(topics: topics)
                handle(.start, consumer)
                reports.serving(topics)
            }
            if !isServing, let waiting = topicCheck.waiting {
                status.readiness.topics(waiting: waiting)
            }
            if let message = try consumer.poll(timeoutMilliseconds: Self.pollMilliseconds) {
                status.read(message.topicPartition.topic)
                handle(.record(Record(message)), consumer)
            }
            drainMailbox(consumer)
            handle(.tick, consumer)
            showStatus(consumer)
            if let failure = learning?.state.failure { throw failure }
        }
        try consumer.close(timeoutMilliseconds: 2_000)
        status.show(scoring.cacheCounts)
        recordStatus()
        return stopReason ?? .clean
    }

    /// One event through the path, and everything that follows from it at once: effects are
    /// executed in their order, answers of publish steps handed in before anything else.
    private func handle(_ event: Event, _ consumer: Consumer) {
        var events = [event]
        while let event = events.popLast() {
            for effect in path.handle(event, at: clock.now) {
                if let answer = execute(effect, consumer) { events.append(answer) }
            }
        }
    }

    /// - Returns: the answer to a publish step, of which there is one at a time.
    private func execute(_ effect: Path.Effect, _ consumer: Consumer) -> Event? {
        switch effect {
        case .prepare(let ticket, let post, _, let deadline):
            preparer.prepare(ticket, post, deadline: deadline) { [mailbox] result in
                mailbox.post(.prepared(ticket, result))
            }
        case .score(let ticket, let post, let image, let task):
            scoring.score(post, image: image, task: task) { [mailbox] result in
                mailbox.post(.scored(ticket, result))
            }
        case .cancel(let ticket):
            preparer.cancel(ticket)
        case .publish(let step):
            return .published(publisher.execute(step, consumer: consumer))
        case .restore(let task, let generation):
            status.readiness.restoring(task, generation: generation)
            learning?.state.restore(task, generation: generation) { [mailbox] early in
                mailbox.post(.restored(task, generation: generation, early))
            }
        case .recall(let ticket, let task, let recall):
            learning?.state.recall(recall, in: task) { [mailbox] recollection in
                mailbox.post(.recalled(ticket, recollection))
            }
        case .store(let task, let changes):
            learning?.state.store(changes, in: task, offsets: publisher.lastOffsets)
        case .catchUp(let task): learning?.state.catchUp(task)
        case .release(let task):
            status.readiness.released(task)
            learning?.state.release(task)
        case .learn(let ticket, let task, let state):
            learning?.thread.learn(state, in: task) { [mailbox] result in
                mailbox.post(.learned(ticket, result))
            }
        case .pause(let partitions):
            attempt("pause") { () throws(KafkaError) in
                try consumer.pause(partitions.map(TopicPartition.init))
            }
        case .resume(let partitions):
            attempt("resume") { () throws(KafkaError) in
                try consumer.resume(partitions.map(TopicPartition.init))
            }
        case .confirmRevoked(let partitions):
            unconfirmed.subtract(partitions)
        case .stopped(let reason):
            stopReason = reason
        case .report(let report):
            reports.record(report)
            if status.record(report) { reports.errorsHaveRisen(status.drift) }
        }
        return nil
    }

    /// Inside the rebalance callback: returns when the path has let go of the partitions.
    private func rebalance(_ change: Rebalance, _ consumer: Consumer) {
        reports.record(change)
        switch change {
        case .assigned(let partitions):
            handle(.assigned(partitions.map(Partition.init)), consumer)
            status.readiness.assigned()
        case .revoked(let partitions), .lost(let partitions):
            let partitions = partitions.map(Partition.init)
            unconfirmed = Set(partitions)
            if case .lost = change {
                handle(.lost(partitions), consumer)
            } else {
                handle(.revoked(partitions), consumer)
            }
            // Bounded by the path: it confirms within `revokeBudgetMilliseconds`.
            while !unconfirmed.isEmpty {
                mailbox.wait(milliseconds: 5)
                drainMailbox(consumer)
                handle(.tick, consumer)
            }
        }
    }

    private func drainMailbox(_ consumer: Consumer) {
        for event in mailbox.take() {
            if case .freeze(let isFrozen) = event { reports.frozen(isFrozen) }
            handle(event, consumer)
            if case .restored(let task, let generation, _) = event {
                status.readiness.restored(task, generation: generation)
            }
        }
    }

    private func showStatus(_ consumer: Consumer) {
        let now = clock.now.uptime
        guard now - lastStatus >= Self.statusIntervalMilliseconds else { return }
        lastStatus = now
        let lag = consumer.lag().map { (Partition($0.key), $0.value) }
        status.show(load: path.load, lag: Dictionary(uniqueKeysWithValues: lag))
        status.show(scoring.cacheCounts)
        if let learning {
            status.show(
                learning.state.users.metrics, lostEncodings: learning.state.lostEncodings,
                updateMilliseconds: learning.thread.milliseconds)
        }
        guard now - lastStatusLog >= Self.statusLogIntervalMilliseconds else { return }
        lastStatusLog = now
        recordStatus()
    }

    private func recordStatus() {
        reports.record(status.status)
        if learning != nil { reports.record(status.status.learning, status.learning) }
    }

    /// What can fail without harm: a pause or resume that did not take is asked for again by the
    /// next mark, or ends with the assignment.
    private func attempt(_ what: String, _ body: () throws(KafkaError) -> Void) {
        do {
            try body()
        } catch {
            reports.couldNot("\(what) partitions", error)
        }
    }
}

extension Record {
    init(_ message: ConsumedMessage) {
        self.init(
            partition: Partition(message.topicPartition), offset: message.offset,
            key: message.key, value: message.value,
            headers: message.headers.map { RecordHeader(key: $0.name, value: $0.value) },
            timestamp: message.timestampMilliseconds)
    }
}

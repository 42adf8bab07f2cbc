import Kafka
import Logging
import Model
import Pipeline
import ServiceLifecycle
import Synchronization
import UnixSignals

/// The daemon: posts from Kafka in, scores out, until it is told to stop.
package struct ScoreService: Service, CustomStringConvertible {
    package enum Failure: Error, CustomStringConvertible {
        case publishing(String)
        case threadNotStarted

        package var description: String {
            switch self {
            case .publishing(let text):
                "gave up publishing: \(text); put that right and start again: nothing is lost, "
                    + "what is unpublished is done anew"
            case .threadNotStarted:
                "the polling thread could not be started"
            }
        }
    }

    package var description: String { "score service" }

    /// After the path's own budget: for leaving the group and for librdkafka's threads to end.
    private static let closingMilliseconds = 1_000

    private let configuration: ServeConfiguration
    private let bundle: ModelBundle
    private let logger: Logger
    private let status: StatusBoard

    package init(
        configuration: ServeConfiguration, bundle: ModelBundle, logger: Logger,
        status: StatusBoard = StatusBoard()
    ) {
        self.configuration = configuration
        self.bundle = bundle
        self.logger = logger
        self.status = status
    }

    /// Returns after a graceful shutdown; throws where it cannot go on.
    package func run() async throws {
        let clock = Clock()
        let reports = ReportLog(logger)
        let mailbox = Mailbox()
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: configuration.threads),
            maximumCacheBytes: configuration.images.featureCacheBytes,
            nanoseconds: { clock.uptimeNanoseconds })

        var limits = ImageLimits()
        limits.maximumBytes = configuration.images.fetching.maximumBytes
        limits.maximumPixels = configuration.images.maximumPixels
        let fetcher = ImageFetcher(policy: configuration.images.fetching)
        let preparer = ImagePreparer(
            fetcher: fetcher, reader: scorer.imageReader(limits: limits), clock: clock,
            decodingThreads: max(1, configuration.threads / 2))
        let learning = try startLearning(clock, reports)
        let scoring = ScoringThreads(scorer: scorer, learning: learning?.state)
        await scoring.warmUp()
        status.serving(model: bundle.version, delivery: configuration.delivery)
        status.readiness.modelIsWarm()

        let ending = Ending()
        let freezing = learning.map { _ in freezeOnSignals(mailbox) }
        let result = await withTaskCancellationOrGracefulShutdownHandler {
            await runLoop(ending) {
                try serve(clock, reports, mailbox, scoring, learning, preparer)
            }
        } onCancelOrGracefulShutdown: {
            status.readiness.stopping()
            logger.info("stopping")
            mailbox.post(.stop)
            ending.limit(
                milliseconds: configuration.shutdown.budgetMilliseconds
                    + Self.closingMilliseconds)
        }
        await preparer.shutdown()
        await fetcher.shutdown()
        await scoring.shutdown()
        freezing?.cancel()
        await learning?.thread.shutdown()
        await learning?.state.shutdown()

        switch try result.get() {
        case .clean: logger.info("stopped")
        case .unfinished:
            // Nothing is lost: no offset was committed for it.
            logger.warning("stopped; what was not published yet is done again by the next start")
        case .failed(let text): throw Failure.publishing(text)
        }
    }

    private func startLearning(
        _ clock: Clock, _ reports: ReportLog
    ) throws -> ScoreLoop.Learning? {
        guard configuration.learning.isEnabled else { return nil }
        let state = try LearningState(
            LearningState.Settings(configuration, model: bundle),
            consumer: configuration.consumer { reports.record($0, client: "restorer") },
            clock: clock, reports: reports)
        return ScoreLoop.Learning(
            state: state,
            thread: LearningThread(
                bundle: bundle, rule: configuration.updates,
                threads: configuration.learning.threads,
                state: state, clock: clock))
    }

    /// SIGUSR1 freezes learning at once, SIGUSR2 lets it go on.
    private func freezeOnSignals(_ mailbox: Mailbox) -> Task<Void, Never> {
        if configuration.learning.isFrozen { mailbox.post(.freeze(true)) }
        return Task {
            for await signal in await UnixSignalsSequence(trapping: .sigusr1, .sigusr2) {
                mailbox.post(.freeze(signal == .sigusr1))
            }
        }
    }

    /// The loop on a thread of its own: it blocks in librdkafka, which Swift's threads must not.
    private func runLoop(
        _ ending: Ending, _ serve: @escaping @Sendable () throws -> ScoreLoop.Path.StopReason
    ) async -> Result<ScoreLoop.Path.StopReason, any Error> {
        await withCheckedContinuation { waiting in
            ending.begin(waiting)
            let started = startThread { ending.reached(Result { try serve() }) }
            if !started { ending.reached(.failure(Failure.threadNotStarted)) }
        }
    }

    /// Returns when both Kafka clients are gone, so that nothing of them is heard afterwards.
    private func serve(
        _ clock: Clock, _ reports: ReportLog, _ mailbox: Mailbox, _ scoring: ScoringThreads,
        _ learning: ScoreLoop.Learning?, _ preparer: ImagePreparer
    ) throws -> ScoreLoop.Path.StopReason {
        let loop = ScoreLoop(
            configuration: ScorePathConfiguration(configuration, model: bundle),
            topics: configuration.inputTopics,
            topicCheck: try TopicCheck(
                configuration.checkedTopics,
                configuration: configuration.admin { reports.record($0, client: "admin") },
                reports: reports),
            consumer: configuration.consumer { reports.record($0, client: "consumer") },
            publisher: KafkaPublisher(
                configuration: configuration.producer(
                    transactionalID: configuration.delivery == .exactlyOnce
                        ? configuration.kafka.transactionalID : nil
                ) { reports.record($0, client: "producer") },
                delivery: configuration.delivery),
            preparer: preparer, scoring: scoring, learning: learning, mailbox: mailbox,
            clock: clock, reports: reports, status: status)
        logger.info(
            "starting",
            metadata: [
                "model": "\(bundle.version)", "untrained": .stringConvertible(bundle.isUntrained),
                "topic": "\(configuration.topics.posts)",
                "delivery": "\(configuration.delivery.rawValue)",
            ])
        return try loop.run()
    }
}

/// The end of the polling thread, waited for without bound until a stop is asked for: librdkafka
/// does not keep to all of its timeouts where a broker is connected and silent.
private final class Ending: Sendable {
    typealias Outcome = Result<ScoreLoop.Path.StopReason, any Error>
    private let waiting = Mutex<CheckedContinuation<Outcome, Never>?>(nil)

    func begin(_ continuation: CheckedContinuation<Outcome, Never>) {
        waiting.withLock { $0 = continuation }
    }

    /// The first outcome counts.
    func reached(_ outcome: Outcome) {
        let continuation = waiting.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        continuation?.resume(returning: outcome)
    }

    /// From now on the thread has so long; then it is left behind, to end with the process.
    func limit(milliseconds: Int) {
        Task {
            try await Task.sleep(for: .milliseconds(milliseconds))
            reached(.success(.unfinished))
        }
    }
}

extension ScorePathConfiguration {
    init(_ configuration: ServeConfiguration, model bundle: ModelBundle) {
        self.init()
        if configuration.learning.isEnabled {
            learning = LearnConfiguration(configuration, model: bundle)
        }
        delivery = configuration.delivery
        scoresTopic = configuration.topics.scores
        latestTopic = configuration.topics.latest.isEmpty ? nil : configuration.topics.latest
        deadLetterTopic = configuration.topics.deadLetters
        maximumBatchRecords = configuration.batch.maximumPosts
        maximumBatchBytes = configuration.batch.maximumBytes
        commitIntervalMilliseconds = Milliseconds(configuration.batch.intervalMilliseconds)
        idleIntervalMilliseconds = Milliseconds(configuration.batch.idleMilliseconds)
        highWaterRecords = configuration.inFlight.highPosts
        lowWaterRecords = configuration.inFlight.lowPosts
        highWaterBytes = configuration.inFlight.highBytes
        lowWaterBytes = configuration.inFlight.lowBytes
        maximumPreparedPosts = configuration.images.fetching.maximumConcurrentFetches
        unusableImage = configuration.images.unusable
        let properties = configuration.kafka.properties.values
        if let bytes = properties["message.max.bytes"].flatMap({ Int($0) }) {
            maximumOutputBytes = bytes
        }
        if let timeout = properties["transaction.timeout.ms"].flatMap({ Milliseconds($0) }) {
            transactionBudgetMilliseconds = min(30_000, timeout / 2)
        }
        retryBudgetMilliseconds = Milliseconds(configuration.retry.budgetMilliseconds)
        firstRetryDelayMilliseconds = Milliseconds(configuration.retry.initialBackoffMilliseconds)
        maximumRetryDelayMilliseconds = Milliseconds(configuration.retry.maximumBackoffMilliseconds)
        stopBudgetMilliseconds = Milliseconds(configuration.shutdown.budgetMilliseconds)
    }
}

extension LearnConfiguration {
    init(_ configuration: ServeConfiguration, model bundle: ModelBundle) {
        self.init(
            model: bundle.version,
            labels: configuration.labels.rule(for: bundle.configuration.target),
            updates: configuration.updates)
        viewsTopic = configuration.topics.views
        lessonsTopic = configuration.topics.lessons
        usersTopic = configuration.topics.users
        joinsTopic = configuration.topics.joins
        encodingsTopic =
            configuration.topics.encodings.isEmpty ? nil : configuration.topics.encodings
        highWaterRecords = configuration.learning.inFlightHighRecords
        lowWaterRecords = configuration.learning.inFlightLowRecords
        maximumEarlyViews = configuration.learning.earlyViews
        earlyViewSeconds = Double(configuration.learning.earlyViewHours) * 3_600
    }
}

extension LearningState.Settings {
    /// Beyond a horizon's window, views may still be late by so much.
    private static let latenessSeconds = 30 * LabelRule.secondsPerDay

    init(_ configuration: ServeConfiguration, model bundle: ModelBundle) {
        let learn = LearnConfiguration(configuration, model: bundle)
        let longest = learn.labels.trackedHorizons.reduce(learn.labels.horizon ?? 0, max)
        self.init(
            folder: configuration.learning.stateFolder, group: configuration.kafka.groupID,
            model: bundle.version, dimension: bundle.head.shape.dimension,
            memoryBytes: configuration.learning.memoryBytes,
            encodingBytes: configuration.learning.encodingsBytes,
            checkpointBytes: configuration.learning.checkpointMaximumBytes,
            checkpointAgeSeconds: Double(configuration.learning.maximumCheckpointAgeHours) * 3_600,
            usersTopic: learn.usersTopic, joinsTopic: learn.joinsTopic,
            encodingsTopic: learn.encodingsTopic, inputTopics: configuration.inputTopics,
            stallMilliseconds: configuration.learning.restoreTimeoutMilliseconds,
            unlabelledSeconds: learn.labels.horizon.map { _ in
                longest * LabelRule.windowEnd + Self.latenessSeconds
            })
    }
}

extension ServeConfiguration {
    /// What the consumer reads.
    var inputTopics: [String] {
        learning.isEnabled ? [topics.posts, topics.views, topics.lessons] : [topics.posts]
    }

    fileprivate var checkedTopics: TopicCheck.Topics {
        var checked = TopicCheck.Topics(
            coPartitioned: inputTopics,
            others: [topics.scores, topics.deadLetters, topics.latest].filter { !$0.isEmpty })
        if learning.isEnabled {
            let aging = [topics.joins, topics.encodings].filter { !$0.isEmpty }
            checked.changelogs = [topics.users] + aging
            checked.aging = Set(aging)
            checked.coPartitioned += checked.changelogs
        }
        return checked
    }

    func consumer(log: @escaping @Sendable (LogLine) -> Void) -> ClientConfiguration {
        var properties = kafka.properties.values.filter { !Self.producerOnly.contains($0.key) }
        properties["group.id"] = kafka.groupID
        if !kafka.groupInstanceID.isEmpty {
            properties["group.instance.id"] = kafka.groupInstanceID
        }
        return ClientConfiguration(
            bootstrapServers: kafka.bootstrap, properties: properties, log: log)
    }

    /// - Parameter transactionalID: nil outside transactions.
    func producer(
        transactionalID: String?, log: @escaping @Sendable (LogLine) -> Void
    ) -> ClientConfiguration {
        var properties = kafka.properties.values.filter { !Self.consumerOnly.contains($0.key) }
        properties["transactional.id"] = transactionalID
        return ClientConfiguration(
            bootstrapServers: kafka.bootstrap, properties: properties, log: log)
    }

    func admin(log: @escaping @Sendable (LogLine) -> Void) -> ClientConfiguration {
        let properties = kafka.properties.values.filter {
            !Self.producerOnly.contains($0.key) && !Self.consumerOnly.contains($0.key)
        }
        return ClientConfiguration(
            bootstrapServers: kafka.bootstrap, properties: properties, log: log)
    }

    /// One map of properties serves all clients; each is spared what librdkafka would warn of.
    private static let producerOnly: Set = [
        "transaction.timeout.ms", "linger.ms", "queue.buffering.max.ms", "batch.size",
        "batch.num.messages", "queue.buffering.max.messages", "queue.buffering.max.kbytes",
        "compression.type", "compression.codec", "compression.level", "acks",
        "request.required.acks", "partitioner", "delivery.timeout.ms", "message.timeout.ms",
        "enable.idempotence",
    ]
    private static let consumerOnly: Set = [
        "group.id", "group.instance.id", "session.timeout.ms", "heartbeat.interval.ms",
        "max.poll.interval.ms", "partition.assignment.strategy", "auto.offset.reset",
        "fetch.min.bytes", "fetch.max.bytes", "fetch.wait.max.ms", "fetch.error.backoff.ms",
        "max.partition.fetch.bytes", "fetch.message.max.bytes", "queued.min.messages",
        "queued.max.messages.kbytes", "isolation.level", "check.crcs", "enable.partition.eof",
    ]
}

import Kafka
import Logging
import Model
import Pipeline
import ServiceLifecycle

/// The daemon: posts from Kafka in, scores out, until it is told to stop.
package struct ScoreService: Service {
    package enum Failure: Error, CustomStringConvertible {
        case unfinished
        case publishing(String)
        case threadNotStarted

        package var description: String {
            switch self {
            case .unfinished:
                "stopped before everything that was scored could be published; "
                    + "the next start does the rest again"
            case .publishing(let text):
                "gave up publishing: \(text); put that right and start again: nothing is lost, "
                    + "what is unpublished is done anew"
            case .threadNotStarted:
                "the polling thread could not be started"
            }
        }
    }

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

    /// Returns after a graceful shutdown; throws where it cannot go on or did not end cleanly.
    package func run() async throws {
        let clock = Clock()
        let reports = ReportLog(logger)
        let mailbox = Mailbox()
        let scoring = ScoringThread(
            scorer: try PostScorer(
                bundle: bundle, workers: Workers(count: configuration.threads),
                nanoseconds: { clock.uptimeNanoseconds }))
        await scoring.warmUp()

        var limits = ImageLimits()
        limits.maximumBytes = configuration.images.fetching.maximumBytes
        limits.maximumPixels = configuration.images.maximumPixels
        let fetcher = ImageFetcher(policy: configuration.images.fetching)
        let preparer = ImagePreparer(
            fetcher: fetcher, side: bundle.configuration.image.side, limits: limits,
            unusable: configuration.images.unusable, clock: clock,
            decodingThreads: max(1, configuration.threads / 2))

        let result = await withTaskCancellationOrGracefulShutdownHandler {
            await runLoop(clock, reports, mailbox, scoring, preparer)
        } onCancelOrGracefulShutdown: {
            logger.info("stopping")
            mailbox.post(.stop)
        }
        await preparer.shutdown()
        await fetcher.shutdown()
        await scoring.shutdown()

        switch try result.get() {
        case .clean: logger.info("stopped")
        case .unfinished: throw Failure.unfinished
        case .failed(let text): throw Failure.publishing(text)
        }
    }

    /// The loop on a thread of its own: it blocks in librdkafka, which Swift's threads must not.
    private func runLoop(
        _ clock: Clock, _ reports: ReportLog, _ mailbox: Mailbox, _ scoring: ScoringThread,
        _ preparer: ImagePreparer
    ) async -> Result<ScoreLoop.Path.StopReason, any Error> {
        await withCheckedContinuation { ended in
            let started = startThread {
                let loop = ScoreLoop(
                    configuration: ScorePathConfiguration(configuration),
                    topic: configuration.topics.posts,
                    consumer: configuration.consumer { reports.record($0, client: "consumer") },
                    publisher: KafkaPublisher(
                        configuration: configuration.producer {
                            reports.record($0, client: "producer")
                        }, delivery: configuration.delivery),
                    preparer: preparer, scoring: scoring, mailbox: mailbox, clock: clock,
                    reports: reports, status: status)
                logger.info(
                    "serving",
                    metadata: [
                        "model": "\(bundle.version)", "untrained": "\(bundle.isUntrained)",
                        "topic": "\(configuration.topics.posts)",
                        "delivery": "\(configuration.delivery.rawValue)",
                    ])
                ended.resume(returning: Result { try loop.run() })
            }
            if !started { ended.resume(returning: .failure(Failure.threadNotStarted)) }
        }
    }
}

extension ScorePathConfiguration {
    init(_ configuration: ServeConfiguration) {
        self.init()
        delivery = configuration.delivery
        scoresTopic = configuration.topics.scores
        deadLetterTopic = configuration.topics.deadLetters
        maximumBatchRecords = configuration.batch.maximumPosts
        maximumBatchBytes = configuration.batch.maximumBytes
        commitIntervalMilliseconds = Milliseconds(configuration.batch.intervalMilliseconds)
        highWaterRecords = configuration.inFlight.highPosts
        lowWaterRecords = configuration.inFlight.lowPosts
        highWaterBytes = configuration.inFlight.highBytes
        lowWaterBytes = configuration.inFlight.lowBytes
        maximumPreparedPosts = configuration.images.fetching.maximumConcurrentFetches
        retryBudgetMilliseconds = Milliseconds(configuration.retry.budgetMilliseconds)
        firstRetryDelayMilliseconds = Milliseconds(configuration.retry.initialBackoffMilliseconds)
        maximumRetryDelayMilliseconds = Milliseconds(configuration.retry.maximumBackoffMilliseconds)
        stopBudgetMilliseconds = Milliseconds(configuration.shutdown.budgetMilliseconds)
    }
}

extension ServeConfiguration {
    fileprivate func consumer(log: @escaping @Sendable (LogLine) -> Void) -> ClientConfiguration {
        var properties = kafka.properties.values.filter { !Self.producerOnly.contains($0.key) }
        properties["group.id"] = kafka.groupID
        if !kafka.groupInstanceID.isEmpty { properties["group.instance.id"] = kafka.groupInstanceID }
        return ClientConfiguration(
            bootstrapServers: kafka.bootstrap, properties: properties, log: log)
    }

    fileprivate func producer(log: @escaping @Sendable (LogLine) -> Void) -> ClientConfiguration {
        var properties = kafka.properties.values.filter { !Self.consumerOnly.contains($0.key) }
        if delivery == .exactlyOnce { properties["transactional.id"] = kafka.transactionalID }
        return ClientConfiguration(
            bootstrapServers: kafka.bootstrap, properties: properties, log: log)
    }

    /// One map of properties serves both clients; each is spared what librdkafka would warn of.
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

import Kafka
import Logging
import Pipeline

/// What happened, as log lines: one method a happening, one place for their words.
struct ReportLog: Sendable {
    private let logger: Logger

    init(_ logger: Logger) {
        self.logger = logger
    }

    func record(_ report: ScoreLoop.Path.Report) {
        switch report {
        case .scored(let partition, let offset, let flags, _):
            logger.debug(
                "scored",
                metadata: place(partition, offset).merging([
                    "flags": .array(flags.map { .string($0.rawValue) })
                ]) { $1 })
        case .expired(let partition, let offset):
            logger.info(
                "expired: its deadline is past or cannot be met", metadata: place(partition, offset)
            )
        case .deadLettered(let partition, let offset, let reason, let text):
            logger.warning(
                "dead letter",
                metadata: place(partition, offset).merging([
                    "reason": "\(reason.rawValue)", "error": "\(text)",
                ]) { $1 })
        case .imageUnusable(let partition, let offset, let reason, let text):
            logger.warning(
                "image unusable, scoring without it",
                metadata: place(partition, offset).merging([
                    "reason": "\(reason.rawValue)", "error": "\(text)",
                ]) { $1 })
        case .retryingImage(let partition, let offset, let attempt, let delay, let text):
            logger.info(
                "image not to be had, trying again",
                metadata: place(partition, offset).merging([
                    "attempt": .stringConvertible(attempt), "delay_ms": .stringConvertible(delay),
                    "error": "\(text)",
                ]) { $1 })
        case .batchPublished(let records, let milliseconds, _):
            logger.debug(
                "batch published",
                metadata: [
                    "records": .stringConvertible(records),
                    "milliseconds": .stringConvertible(milliseconds),
                ])
        case .learning(let report):
            record(report)
        case .stepRetried(let text):
            logger.info("publishing, trying again", metadata: ["error": "\(text)"])
        case .batchAborted(let text):
            logger.warning("batch aborted, doing it again", metadata: ["error": "\(text)"])
        case .deadLettersReduced(let records):
            logger.warning(
                "a broker found a record too large, dead letters go without the original value",
                metadata: ["records": .stringConvertible(records)])
        case .offsetReset(let partition, let from, let to):
            logger.error(
                "the consumer was set back and skips what it brings: reset the group's offsets",
                metadata: place(partition, to).merging(["next_offset": .stringConvertible(from)]) {
                    $1
                })
        case .producerLost(let text):
            logger.error("producer lost, making a new one", metadata: ["error": "\(text)"])
        case .givenUp(let records):
            logger.info(
                "records given up, for whoever has their partition next",
                metadata: ["records": .stringConvertible(records)])
        }
    }

    /// Now and then, and at the end.
    /// - Parameter learning: nil where it is off.
    func record(_ status: LearningStatus, _ learning: ProgressiveValidation.Snapshot) {
        var metadata: Logger.Metadata = [
            "labels": .dictionary(
                Dictionary(
                    uniqueKeysWithValues: status.labels.map {
                        ($0.key.rawValue, .stringConvertible($0.value))
                    })),
            "updates": .dictionary(
                Dictionary(
                    uniqueKeysWithValues: status.updates.map {
                        ($0.key.rawValue, .stringConvertible($0.value))
                    })),
            "judged": .stringConvertible(status.judged),
            "missing_encodings": .stringConvertible(status.missingEncodings),
            "lost_encodings": .stringConvertible(status.lostEncodings),
            "users_in_memory": .stringConvertible(status.users),
            "user_bytes": .stringConvertible(status.userBytes),
        ]
        if let figures = learning.horizons.first?.overall {
            let errors = [
                "mse_published": figures.published?.mse, "mse_frozen": figures.frozen?.mse,
                "mse_user_mean": figures.userMean?.mse,
                "learning_gain_mse": figures.gainOverFrozen?.mse,
            ]
            for case (let name, let value?) in errors {
                metadata[name] = .stringConvertible(value)
            }
        }
        logger.info("learning", metadata: metadata)
    }

    func record(_ status: StatusBoard.Status) {
        logger.info(
            "status",
            metadata: [
                "scored": .stringConvertible(status.scored),
                "expired": .stringConvertible(status.expired),
                "dead_lettered": .stringConvertible(status.deadLettered),
                "batches": .stringConvertible(status.batches),
                "lag": .stringConvertible(status.lag),
                "in_flight": .stringConvertible(status.inFlight),
                "image_cache_hits": .stringConvertible(status.images.hits),
                "image_cache_misses": .stringConvertible(status.images.misses),
                "image_cache_evictions": .stringConvertible(status.images.evictions),
                "image_cache_images": .stringConvertible(status.images.images),
                "image_cache_bytes": .stringConvertible(status.images.bytes),
            ])
    }

    func record(_ change: Rebalance) {
        switch change {
        case .assigned(let partitions):
            logger.info("partitions assigned", metadata: list(partitions))
        case .revoked(let partitions):
            logger.info("partitions revoked", metadata: list(partitions))
        case .lost(let partitions):
            logger.warning("partitions lost", metadata: list(partitions))
        }
    }

    func couldNot(_ what: String, _ error: any Error) {
        logger.warning("could not \(what)", metadata: ["error": "\(error)"])
    }

    func serving(_ topics: [String]) {
        logger.info("serving", metadata: ["topics": .array(topics.map { "\($0)" })])
    }

    func topicsMissing(_ topics: [String]) {
        logger.warning(
            "topics are missing: create them; waiting until they are there",
            metadata: ["topics": .array(topics.map { "\($0)" })])
    }

    func restoring(_ task: Int32, done: Int64, total: Int64) {
        logger.info(
            "reading the changelogs",
            metadata: [
                "partition": .stringConvertible(task), "done": .stringConvertible(done),
                "total": .stringConvertible(total),
            ])
    }

    func restored(_ task: Int32, milliseconds: Milliseconds) {
        logger.info(
            "learning state restored",
            metadata: [
                "partition": .stringConvertible(task),
                "milliseconds": .stringConvertible(milliseconds),
            ])
    }

    func frozen(_ isFrozen: Bool) {
        logger.notice(isFrozen ? "learning is frozen" : "learning goes on")
    }

    func errorsHaveRisen(_ drift: PageHinkley) {
        logger.warning(
            "the error of the published scores has risen",
            metadata: ["mean_absolute_error": .stringConvertible(drift.mean)])
    }

    private func record(_ report: LearningReport) {
        switch report {
        case .label(let outcome):
            logger.debug("view", metadata: ["outcome": "\(outcome.rawValue)"])
        case .judged(let label):
            logger.debug(
                "label",
                metadata: [
                    "uid": "\(label.post.uid)", "pid": "\(label.post.pid)",
                    "label": .stringConvertible(label.label),
                    "published": .stringConvertible(label.post.score),
                ])
        case .updated(let uid, let result):
            logger.debug(
                "update",
                metadata: [
                    "uid": "\(uid)", "outcome": "\(result.outcome.reason.rawValue)",
                    "step": .stringConvertible(result.outcome.stepNorm),
                ])
        case .rolledBack(let uid, let version):
            logger.notice(
                "rolled back",
                metadata: ["uid": "\(uid)", "version": .stringConvertible(version)])
        case .versionUnknown(let uid, let version):
            logger.warning(
                "cannot roll back: the user's record does not carry that version (any more)",
                metadata: ["uid": "\(uid)", "version": .stringConvertible(version)])
        case .forgotten(let uid, let posts):
            logger.notice(
                "forgotten", metadata: ["uid": "\(uid)", "posts": .stringConvertible(posts)])
        }
    }

    /// - Parameter allowed: parts of a policy; the first must be there.
    func changelogNotCompacted(_ topic: String, policy: String, allowed: [String]) {
        let wanted = allowed.count > 1 ? " or \(allowed.joined(separator: ","))" : ""
        logger.warning(
            "set the cleanup.policy of this topic to \(allowed[0])\(wanted)",
            metadata: ["topic": "\(topic)", "cleanup_policy": "\(policy)"])
    }

    func brokersAway(_ error: KafkaError) {
        logger.warning("the brokers do not answer, waiting", metadata: ["error": "\(error)"])
    }

    /// librdkafka's own lines; brokers that are away are among them.
    func record(_ line: LogLine, client: String) {
        let level: Logger.Level =
            switch line.level {
            case .emergency, .alert, .critical: .critical
            case .error: .error
            case .warning: .warning
            case .notice, .info: .info
            case .debug: .debug
            }
        var metadata: Logger.Metadata = ["client": "\(client)", "facility": "\(line.facility)"]
        if let name = line.errorName { metadata["error"] = "\(name)" }
        logger.log(level: level, "\(line.text)", metadata: metadata)
    }

    private func place(_ partition: Partition, _ offset: Int64) -> Logger.Metadata {
        [
            "topic": "\(partition.topic)", "partition": .stringConvertible(partition.number),
            "offset": .stringConvertible(offset),
        ]
    }

    private func list(_ partitions: [TopicPartition]) -> Logger.Metadata {
        ["partitions": .array(partitions.map { "\($0)" })]
    }
}

import Metrics
import Pipeline
import Synchronization

/// Scoring as metrics. Those that have few labels are there from the start, at 0, so that the first
/// event shows as an increase.
final class ScoringMetrics: Sendable {
    private struct Shown {
        var lag: [Partition: Gauge] = [:]
        var images = FeatureCache.Counts()
        var lostEncodings = 0
        var updateMilliseconds: Milliseconds = 0
    }

    private let factory: any MetricsFactory
    private let published: Counter
    private let expired: Counter
    private let imageRetries: Counter
    private let publishRetries: Counter
    private let givenUp: Counter
    private let latency: Recorder
    private let batchRecords: Recorder
    private let transactionSeconds: Recorder
    private let stages: [String: Recorder]
    /// What the last figures were: of totals the difference is counted.
    private let shown = Mutex(Shown())

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        published = Counter(label: "uhan_scores_published_total", factory: factory)
        expired = Counter(label: "uhan_posts_expired_total", factory: factory)
        imageRetries = Counter(label: "uhan_image_retries_total", factory: factory)
        publishRetries = Counter(label: "uhan_publish_retries_total", factory: factory)
        givenUp = Counter(label: "uhan_records_given_up_total", factory: factory)
        latency = Recorder(label: "uhan_event_to_score_seconds", factory: factory)
        batchRecords = Recorder(label: "uhan_batch_records", factory: factory)
        transactionSeconds = Recorder(label: "uhan_transaction_seconds", factory: factory)
        let names = ["queue", "fetch", "decode", "backbone", "encode", "score"]
        stages = Dictionary(
            uniqueKeysWithValues: names.map { name in
                let recorder = Recorder(
                    label: "uhan_stage_seconds", dimensions: [("stage", name)], factory: factory)
                return (name, recorder)
            })
        for reason in DeadLetterReason.allCases { deadLetters(reason).increment(by: 0) }
        for outcome in ["committed", "aborted", "producer_lost"] {
            transactions(outcome).increment(by: 0)
        }
        count(FeatureCache.Counts())
    }

    func serving(model: String, delivery: Delivery) {
        gauge("uhan_model_info", 1, [("version", model), ("delivery", delivery.rawValue)])
    }

    func read(_ topic: String) {
        Counter(
            label: "uhan_records_read_total", dimensions: [("topic", topic)], factory: factory
        ).increment()
    }

    func count(_ report: ScoreLoop.Path.Report) {
        switch report {
        case .scored(_, _, _, let timings): record(timings)
        case .expired: expired.increment()
        case .deadLettered(_, _, let reason, _): deadLetters(reason).increment()
        case .imageUnusable(_, _, let reason, _):
            Counter(
                label: "uhan_images_unusable_total", dimensions: [("reason", reason.rawValue)],
                factory: factory
            ).increment()
        case .retryingImage: imageRetries.increment()
        case .batchPublished(let records, let milliseconds, let latencies):
            transactions("committed").increment()
            batchRecords.record(records)
            transactionSeconds.record(Double(milliseconds) / 1_000)
            published.increment(by: latencies.count)
            // Clocks of two machines may differ by more than a score takes.
            for case let latency? in latencies {
                self.latency.record(Double(max(0, latency)) / 1_000)
            }
        case .batchAborted: transactions("aborted").increment()
        case .producerLost: transactions("producer_lost").increment()
        case .stepRetried: publishRetries.increment()
        case .givenUp(let records): givenUp.increment(by: records)
        case .learning, .deadLettersReduced, .offsetReset: break
        }
    }

    func show(_ load: ScoreLoop.Path.Load, _ lag: [Partition: Int64]) {
        gauge("uhan_records_in_flight", Double(load.records), [("kind", "posts")])
        gauge("uhan_records_in_flight", Double(load.learningRecords), [("kind", "learning")])
        gauge("uhan_bytes_in_flight", Double(load.bytes), [])
        gauge("uhan_reading_paused", load.isPaused ? 1 : 0, [])
        shown.withLock { shown in
            for (partition, records) in lag {
                let gauge =
                    shown.lag[partition]
                    ?? Gauge(
                        label: "uhan_consumer_lag_records",
                        dimensions: [
                            ("topic", partition.topic), ("partition", "\(partition.number)"),
                        ], factory: factory)
                gauge.record(records)
                shown.lag[partition] = gauge
            }
            // A partition that went is another instance's to tell of.
            for (partition, gauge) in shown.lag where lag[partition] == nil {
                gauge.destroy()
                shown.lag[partition] = nil
            }
        }
    }

    func count(_ images: FeatureCache.Counts) {
        let before = shown.withLock { shown in
            defer { shown.images = images }
            return shown.images
        }
        counter("uhan_image_cache_hits_total", images.hits - before.hits)
        counter("uhan_image_cache_misses_total", images.misses - before.misses)
        counter("uhan_image_cache_evictions_total", images.evictions - before.evictions)
        gauge("uhan_image_cache_images", Double(images.images), [])
        gauge("uhan_image_cache_bytes", Double(images.bytes), [])
    }

    func show(
        _ users: LearnedUsers.Metrics, lostEncodings: Int, updateMilliseconds: Milliseconds
    ) {
        gauge("uhan_learned_users", Double(users.users), [])
        gauge("uhan_learned_user_bytes", Double(users.bytes), [])
        let (lost, milliseconds) = shown.withLock { shown in
            defer {
                shown.lostEncodings = lostEncodings
                shown.updateMilliseconds = updateMilliseconds
            }
            return (
                lostEncodings - shown.lostEncodings, updateMilliseconds - shown.updateMilliseconds
            )
        }
        counter("uhan_encodings_lost_total", lost)
        FloatingPointCounter(label: "uhan_update_seconds_total", factory: factory)
            .increment(by: Double(milliseconds) / 1_000)
    }

    /// Stages that a post did not go through (no image, an image known) took no time.
    private func record(_ timings: ScoreEvent.Timings) {
        let times = [
            ("queue", timings.queue), ("fetch", timings.fetch), ("decode", timings.decode),
            ("backbone", timings.backbone), ("encode", timings.encode), ("score", timings.score),
        ]
        for (stage, milliseconds) in times where milliseconds > 0 || stage == "queue" {
            stages[stage]?.record(Double(milliseconds) / 1_000)
        }
    }

    private func deadLetters(_ reason: DeadLetterReason) -> Counter {
        Counter(
            label: "uhan_dead_letters_total", dimensions: [("reason", reason.rawValue)],
            factory: factory)
    }

    private func transactions(_ outcome: String) -> Counter {
        Counter(
            label: "uhan_transactions_total", dimensions: [("outcome", outcome)], factory: factory)
    }

    private func counter(_ label: String, _ amount: Int) {
        Counter(label: label, factory: factory).increment(by: amount)
    }

    private func gauge(_ label: String, _ value: Double, _ dimensions: [(String, String)]) {
        Gauge(label: label, dimensions: dimensions, factory: factory).record(value)
    }
}

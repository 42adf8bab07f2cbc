// The words that ScorePath is spoken to in: what comes in (events, time), what goes out (effects).

/// A span of time or an instant of a clock, in milliseconds.
package typealias Milliseconds = Int64

/// The two clocks of one instant. Waits are measured on the one that never jumps; only what the
/// outside world names in its own time (`score_by`, `scored_at`) is compared with the other.
package struct Moment: Equatable, Sendable {
    /// A monotonic clock with an arbitrary origin.
    package var uptime: Milliseconds
    /// Milliseconds since 1970-01-01 UTC; may jump either way.
    package var epoch: Milliseconds

    package init(uptime: Milliseconds, epoch: Milliseconds) {
        self.uptime = uptime
        self.epoch = epoch
    }
}

/// One partition of one topic.
package struct Partition: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var topic: String
    package var number: Int32

    package init(topic: String, number: Int32) {
        self.topic = topic
        self.number = number
    }

    package static func < (left: Partition, right: Partition) -> Bool {
        (left.topic, left.number) < (right.topic, right.number)
    }

    package var description: String { "\(topic)[\(number)]" }
}

/// A record's header. A header without a value is not one with an empty value.
package struct RecordHeader: Hashable, Sendable {
    package var key: String
    package var value: [UInt8]?

    package init(key: String, value: [UInt8]?) {
        self.key = key
        self.value = value
    }
}

/// A record as the consumer delivers it.
package struct Record: Equatable, Sendable {
    package var partition: Partition
    package var offset: Int64
    package var key: [UInt8]?
    package var value: [UInt8]?
    package var headers: [RecordHeader]
    /// Milliseconds since 1970; nil where the topic keeps none.
    package var timestamp: Milliseconds?

    package init(
        partition: Partition, offset: Int64, key: [UInt8]?, value: [UInt8]?,
        headers: [RecordHeader] = [], timestamp: Milliseconds? = nil
    ) {
        self.partition = partition
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp = timestamp
    }

    /// What the record holds in memory, about.
    var byteCount: Int {
        framedByteCount(key, value, headers)
    }
}

/// A record to be produced.
package struct OutputRecord: Equatable, Sendable {
    package var topic: String
    /// nil: it follows from the key.
    package var partition: Int32?
    package var key: [UInt8]?
    package var value: [UInt8]?
    package var headers: [RecordHeader]

    package init(
        topic: String, partition: Int32? = nil, key: [UInt8]?, value: [UInt8]?,
        headers: [RecordHeader] = []
    ) {
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
    }

    /// What the record takes in a request to the brokers, at most.
    var byteCount: Int {
        framedByteCount(key, value, headers)
    }
}

/// Lengths, attributes and the like are counted in, generously: a record of thousands of empty
/// headers is not small.
private func framedByteCount(_ key: [UInt8]?, _ value: [UInt8]?, _ headers: [RecordHeader]) -> Int {
    32 + (key?.count ?? 0) + (value?.count ?? 0)
        + headers.reduce(0) { $0 + 12 + $1.key.utf8.count + ($1.value?.count ?? 0) }
}

/// Names one taking of one record. Never used twice in the life of a `ScorePath`, so an answer
/// that comes after its record was given up (rebalance, stop) finds nobody and changes nothing.
package struct Ticket: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var number: UInt64

    package init(number: UInt64) {
        self.number = number
    }

    package static func < (left: Ticket, right: Ticket) -> Bool { left.number < right.number }
    package var description: String { "#\(number)" }
}

/// An image that is ready to be scored.
package struct PreparedImage<Image: Sendable>: Sendable {
    package var image: Image
    /// What `image` holds in memory.
    package var byteCount: Int
    package var fetchMilliseconds: Float
    package var decodeMilliseconds: Float

    package init(
        image: Image, byteCount: Int, fetchMilliseconds: Float = 0, decodeMilliseconds: Float = 0
    ) {
        self.image = image
        self.byteCount = byteCount
        self.fetchMilliseconds = fetchMilliseconds
        self.decodeMilliseconds = decodeMilliseconds
    }
}

/// Why an image is not ready.
package enum PreparationFailure: Error, Equatable, Sendable {
    /// May succeed later: asked for again until the retry budget is spent, and not before
    /// `retryAfterMilliseconds` where the image's host asks for that. Where the budget ends
    /// earlier, the image counts as unusable at once.
    case transient(String, retryAfterMilliseconds: Milliseconds? = nil)
    /// Will not succeed: the image counts as unusable now.
    case permanent(DeadLetterReason, String)
}

/// What becomes of a post whose image cannot be used: not to be had, refused, not what its checksum
/// says, or no picture.
package enum UnusableImage: String, CaseIterable, Sendable {
    case deadLetter = "dead_letter"
    /// The score is flagged `image_unusable`.
    case scoreWithout = "score_without"
}

/// The model could not score a post.
package struct ScoringFailure: Error, Equatable, Sendable {
    package var text: String

    package init(_ text: String) {
        self.text = text
    }
}

/// One call on the producer (or, for offsets at least once, on the consumer). One is asked for at
/// a time, and answered by one `StepResult`.
package enum PublishStep: Equatable, Sendable {
    /// Drop the producer, if there is one, create a new one and call init_transactions (exactly
    /// once). `retry` while the brokers cannot be reached: that is waited for without bound.
    case createProducer
    case begin
    /// Hand over all records, in this order. All or nothing: where the client's queue is full,
    /// wait a bounded time, then answer `abort`.
    case produce([OutputRecord])
    /// Per partition the offset *after* the last record of the batch, with group metadata taken
    /// fresh for this call. A stale generation is `abort`.
    case sendOffsets([Partition: Int64])
    /// Where a reply may have been lost, answer `retry` and the same call comes again.
    case commit
    case abort
    /// At least once: wait until every record that was handed over is acknowledged.
    case flush
    /// At least once: commit the offsets, without a transaction.
    case commitOffsets([Partition: Int64])
    /// Answer with `committed`: the group's committed offsets of these partitions, read so that
    /// offsets of unfinished transactions are waited for (`isolation.level=read_committed`).
    case readCommitted([Partition])
}

/// How a `PublishStep` ended.
package enum StepResult: Equatable, Sendable {
    case done
    /// Answers `readCommitted`. A partition without a committed offset is left out.
    case committed([Partition: Int64])
    /// Ask for the same step again.
    case retry(String)
    /// The transaction must be aborted and its batch published anew.
    case abort(String)
    /// As `abort`, because the producer or a broker finds one of the batch's records too large:
    /// at `produce`, or when its delivery has failed (`flush`, `sendOffsets`, `commit`).
    case tooLarge(String)
    /// Another producer has the transactional id now; this one is of no more use.
    case fenced(String)
    /// The producer is of no more use (in a state nobody understands).
    case fatal(String)
}

extension ScorePath {
    package enum Event: Sendable {
        /// The first event: nothing is published before it.
        case start
        /// More partitions (with an eager assignor: all of them). Records follow from each one's
        /// committed offset.
        case assigned([Partition])
        /// Inside the rebalance callback. Go on delivering `tick` and step results, and return
        /// from the callback when `confirmRevoked` comes.
        case revoked([Partition])
        /// Inside the rebalance callback: another member may have these already.
        case lost([Partition])
        case record(Record)
        /// Answers `prepare`; due exactly once for each, cancelled or not.
        case prepared(Ticket, Result<PreparedImage<Image>, PreparationFailure>)
        /// Answers `score`; due exactly once for each, cancelled or not.
        case scored(Ticket, Result<Scoring, ScoringFailure>)
        /// Answers `restore`.
        case restored(Int32, generation: Int, [EarlyView])
        /// Answers `recall`; due exactly once for each.
        case recalled(Ticket, Recollection)
        /// Answers `learn`; due exactly once for each, cancelled or not.
        case learned(Ticket, LearningResult)
        /// From now on no vector is updated, or they are again.
        case freeze(Bool)
        /// Answers `publish`.
        case published(StepResult)
        /// Time has passed: at least every 100 ms.
        case tick
        /// SIGTERM.
        case stop
    }

    /// Effects are executed in their order. A `publish` (there is at most one) is answered before
    /// any other event is handed in, so the consumer is not polled in between.
    package enum Effect: Sendable {
        /// Fetch and decode the post's image on a worker thread. Must answer by `deadline`
        /// (uptime); an answer after it comes too late.
        case prepare(Ticket, PostEvent, attempt: Int, deadline: Milliseconds)
        /// Score the post on the scoring thread; `image` is nil where there is none to use. Where
        /// learning is on, the answer comes when the post's encoding is kept.
        case score(Ticket, PostEvent, image: Image?, task: Int32)
        /// Nobody waits for this answer any more (it is still due, as soon as convenient).
        case cancel(Ticket)
        case publish(PublishStep)

        // The state of a task: `recall`, `store` and `catchUp` of one task are executed in their
        // order, beside everything else.
        /// The task is here: open its checkpoint, and bring it up to date from the topics. None of
        /// its records comes before the answer.
        case restore(Int32, generation: Int)
        /// Look something up.
        case recall(Ticket, task: Int32, Recall)
        /// These are committed: show them to scoring, and put them down.
        case store(task: Int32, [StateChange])
        /// Something may have been committed that was not told by `store`: read on from the topics.
        case catchUp(Int32)
        /// The task is elsewhere now: let go of its state.
        case release(Int32)
        /// Update the vector on a worker thread, from the encodings of the state's posts.
        case learn(Ticket, task: Int32, LearnerState)

        case pause([Partition])
        case resume([Partition])
        /// The rebalance callback may unassign these and return.
        case confirmRevoked([Partition])
        /// The last effect: close the consumer (which may revoke: still answered) and exit.
        case stopped(StopReason)
        /// Something happened that a log line or a metric should know.
        case report(Report)
    }

    package enum StopReason: Equatable, Sendable {
        /// Everything that had been scored is published and committed.
        case clean
        /// The time to stop was over before that; what was unpublished is done again by the next
        /// instance.
        case unfinished
        /// Publishing failed for good; the text says how.
        case failed(String)
    }

    package enum Report: Equatable, Sendable {
        case scored(Partition, offset: Int64, flags: [ScoreFlag], ScoreEvent.Timings)
        case expired(Partition, offset: Int64)
        case deadLettered(Partition, offset: Int64, DeadLetterReason, String)
        /// The image cannot be used, and `UnusableImage.scoreWithout` is the policy.
        case imageUnusable(Partition, offset: Int64, DeadLetterReason, String)
        /// A preparation failed and is tried again after `delay`.
        case retryingImage(Partition, offset: Int64, attempt: Int, delay: Milliseconds, String)
        /// `latencies` has, for each score of the batch, the time from the timestamp of the post's
        /// record to now; nil where it has none.
        case batchPublished(
            records: Int, milliseconds: Milliseconds, latencies: [Milliseconds?])
        /// The same step is asked for again.
        case stepRetried(String)
        case batchAborted(String)
        /// A record of the batch was too large for a broker, and so many of its dead letters now go
        /// without the original value and headers.
        case deadLettersReduced(records: Int)
        case producerLost(String)
        /// The consumer has gone back from `from`, the next offset to be taken, to `to`: the
        /// topic was created anew, or has lost its end. Everything below `from` is skipped, and
        /// nothing committed for it. To have it scored: stop all instances, reset the group's
        /// offsets of the partition, start again.
        case offsetReset(Partition, from: Int64, to: Int64)
        case learning(LearningReport)
        /// Records taken and given up because their partition moved or the daemon stops.
        case givenUp(records: Int)
    }

    /// How full the path is, for metrics.
    package struct Load: Equatable, Sendable {
        /// Posts.
        package var records = 0
        /// Views and lessons.
        package var learningRecords = 0
        package var bytes = 0
        package var waiting = 0
        package var preparing = 0
        package var prepared = 0
        package var publishable = 0
        package var isPaused = false

        package init() {}
    }
}

/// What a batch's outputs and offsets are worth together.
package enum Delivery: String, CaseIterable, Sendable {
    /// One transaction holds both.
    case exactlyOnce = "exactly_once"
    /// Outputs are flushed before offsets are committed; a crash between the two repeats them.
    case atLeastOnce = "at_least_once"
}

package struct ScorePathConfiguration: Sendable {
    package var delivery = Delivery.exactlyOnce
    package var scoresTopic = "scores"
    /// A compacted topic with the last answer to each post, where there is one.
    package var latestTopic: String?
    package var deadLetterTopic = "posts.dead-letter"
    package var eventLimits = EventLimits()
    /// Where the posts' records come from: a topic, or the lines of a file.
    package var postSource = PostEvent.Source.topic

    /// A batch is published when it has so many posts ...
    package var maximumBatchRecords = 100
    /// ... or so many bytes of output (one record more may exceed it) ...
    package var maximumBatchBytes = 4 << 20
    /// ... or when the one before began so long ago, so that no record waits longer ...
    package var commitIntervalMilliseconds: Milliseconds = 500
    /// ... or when nothing else is in hand and nothing has been finished for so long.
    package var idleIntervalMilliseconds: Milliseconds = 0

    /// Partitions are paused at the high-water marks, by records or bytes, and resumed when both
    /// are at or below the low ones. Two marks, because pausing drops the client's prefetch.
    package var highWaterRecords = 256
    package var lowWaterRecords = 128
    package var highWaterBytes = 64 << 20
    package var lowWaterBytes = 32 << 20
    /// Posts whose images are being fetched or decoded, or are decoded and wait to be scored.
    package var maximumPreparedPosts = 8
    /// Posts that the scorer has in hand: one that it works on and others that lie ready, so that it
    /// goes on while this side waits for a transaction to be committed.
    package var maximumScoringPosts = 4
    package var unusableImage = UnusableImage.deadLetter

    /// From a post's first attempt to its last answer.
    package var retryBudgetMilliseconds: Milliseconds = 30_000
    package var firstRetryDelayMilliseconds: Milliseconds = 250
    package var maximumRetryDelayMilliseconds: Milliseconds = 5_000

    /// A transaction that is not finished by then is aborted. The daemon sets it to the smaller of
    /// 30 s and half of the producer's `transaction.timeout.ms`, for after that timeout the brokers
    /// abort it themselves and fence the producer.
    package var transactionBudgetMilliseconds: Milliseconds = 30_000
    package var firstStepDelayMilliseconds: Milliseconds = 50
    package var maximumStepDelayMilliseconds: Milliseconds = 2_000
    /// Aborts in a row after which the producer is thought broken.
    package var maximumConsecutiveAborts = 10
    /// Producers lost in a row, without a commit between, after which the path gives up.
    package var maximumConsecutiveLostProducers = 8
    /// Fenced so often within so long, the path gives up: another instance has the same
    /// transactional id, and the two would fence each other for ever. (One left over from a
    /// restart fences once.)
    package var maximumFencings = 5
    package var fencingWindowMilliseconds: Milliseconds = 600_000

    /// How long a rebalance may be held up to publish what is scored.
    package var revokeBudgetMilliseconds: Milliseconds = 5_000
    /// How long a stop may take; publishing is given up at three quarters of it.
    package var stopBudgetMilliseconds: Milliseconds = 8_000

    /// nil: views are not read, and all vectors stay as they are in the bundle.
    package var learning: LearnConfiguration?

    /// Post ids remembered to mark repeats.
    package var rememberedPosts = 10_000
    /// The producer's `message.max.bytes`. A dead letter that would be larger goes without the
    /// original value (and, if need be, headers); a score that would be larger is a dead letter.
    package var maximumOutputBytes = 1_000_000

    package init() {}
}

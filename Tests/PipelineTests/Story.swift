import Pipeline
import Testing

/// Leads one score path through a story: says what happens, and returns what is to be done, as
/// short lines. Reports are kept apart.
struct Story {
    typealias Path = ScorePath<String>

    private var path: Path
    private(set) var now = Moment(uptime: 0, epoch: 1_700_000_000_000)
    private(set) var reports: [Path.Report] = []
    /// What was last asked to be produced.
    private(set) var produced: [OutputRecord] = []
    /// The ticket of the last post that `takeAndScore` took.
    private var lastScored: UInt64 = 0

    init(_ change: (inout ScorePathConfiguration) -> Void = { _ in }) {
        var configuration = ScorePathConfiguration()
        // Told one at a time, a story is easier to follow.
        configuration.maximumScoringPosts = 1
        configuration.idleIntervalMilliseconds = configuration.commitIntervalMilliseconds
        change(&configuration)
        path = Path(configuration: configuration)
    }

    /// A path that has its producer and the partitions 0 and 1.
    static func underWay(_ change: (inout ScorePathConfiguration) -> Void = { _ in }) -> Story {
        var story = Story(change)
        _ = story.tell(.start)
        _ = story.answer(.done)
        _ = story.tell(.assigned([Story.posts(0), Story.posts(1)]))
        return story
    }

    static func posts(_ number: Int32) -> Partition { Partition(topic: "posts", number: number) }

    var load: Path.Load { path.load }

    mutating func tell(_ event: Path.Event) -> [String] {
        let lines = path.handle(event, at: now).compactMap { describe($0) }
        #expect(lines.count { $0.hasPrefix("publish") } <= 1, "one step at a time")
        return lines
    }

    mutating func wait(_ milliseconds: Milliseconds) -> [String] {
        now.uptime += milliseconds
        now.epoch += milliseconds
        return tell(.tick)
    }

    mutating func passTime(_ milliseconds: Milliseconds) {
        now.uptime += milliseconds
    }

    mutating func moveWallClock(by milliseconds: Milliseconds) {
        now.epoch += milliseconds
    }

    mutating func answer(_ result: StepResult) -> [String] {
        tell(.published(result))
    }

    /// Answers `done` until nothing more is asked of the producer; all that was said meanwhile.
    mutating func answerAll() -> [String] {
        var lines: [String] = []
        while true {
            let more = answer(.done)
            lines += more
            if !more.contains(where: { $0.hasPrefix("publish") }) { return lines }
        }
    }

    /// Takes a post without an image and scores it.
    mutating func takeAndScore(
        _ pid: String, partition: Int32 = 0, offset: Int64
    ) -> [String] {
        let lines = take(pid, partition: partition, offset: offset, image: false)
        lastScored += 1
        return lines + scored(lastScored)
    }

    /// A post of user "u" with an image.
    mutating func take(
        _ pid: String, partition: Int32 = 0, offset: Int64, image: Bool = true,
        scoreBy: Double? = nil
    ) -> [String] {
        var value = "{\"uid\":\"u\",\"pid\":\"\(pid)\""
        if image { value += ",\"image_url\":\"http://h/\(pid)\"" }
        if let scoreBy { value += ",\"score_by\":\(scoreBy)" }
        return take(key: "u", value: value + "}", partition: partition, offset: offset)
    }

    mutating func take(
        key: String?, value: String?, partition: Int32 = 0, offset: Int64
    ) -> [String] {
        tell(
            .record(
                Record(
                    partition: Story.posts(partition), offset: offset,
                    key: key.map { Array($0.utf8) }, value: value.map { Array($0.utf8) },
                    timestamp: 1_699_999_999_000)))
    }

    mutating func prepared(_ number: UInt64) -> [String] {
        tell(
            .prepared(
                Ticket(number: number),
                .success(PreparedImage(image: "pixels \(number)", byteCount: 1_000))))
    }

    mutating func preparationFailed(_ number: UInt64, _ failure: PreparationFailure) -> [String] {
        tell(.prepared(Ticket(number: number), .failure(failure)))
    }

    mutating func scored(
        _ number: UInt64, score: Float = 3, milliseconds: Float = 0
    ) -> [String] {
        let scoring = Scoring(
            score: score, model: "m", userVector: "bundle", flags: [],
            attention: ScoreAttention(words: [], image: nil, textWeight: 0, imageWeight: 1),
            backboneMilliseconds: milliseconds)
        return tell(.scored(Ticket(number: number), .success(scoring)))
    }

    private mutating func describe(_ effect: Path.Effect) -> String? {
        switch effect {
        case .prepare(let ticket, let post, let attempt, let deadline):
            return "prepare \(ticket) \(post.pid), attempt \(attempt), by \(deadline)"
        case .score(let ticket, let post, let image, _):
            return "score \(ticket) \(post.pid) with \(image ?? "no image")"
        case .cancel(let ticket): return "cancel \(ticket)"
        case .publish(.produce(let records)):
            produced = records
            return "publish produce \(records.map(Self.describe).joined(separator: ", "))"
        case .publish(.sendOffsets(let offsets)): return "publish sendOffsets \(describe(offsets))"
        case .publish(.commitOffsets(let offsets)):
            return "publish commitOffsets \(describe(offsets))"
        case .publish(.readCommitted(let partitions)):
            return "publish readCommitted \(describe(partitions))"
        case .publish(let step): return "publish \(step)"
        case .restore(let task, let generation): return "restore \(task), generation \(generation)"
        case .recall(let ticket, _, let recall): return "recall \(ticket) \(recall)"
        case .store(let task, let changes): return "store \(changes.count) in \(task)"
        case .catchUp(let task): return "catch up \(task)"
        case .release(let task): return "release \(task)"
        case .learn(let ticket, _, let state): return "learn \(ticket) \(state.uid)"
        case .pause(let partitions): return "pause \(describe(partitions))"
        case .resume(let partitions): return "resume \(describe(partitions))"
        case .confirmRevoked(let partitions): return "confirmRevoked \(describe(partitions))"
        case .stopped(let reason): return "stopped \(reason)"
        case .report(let report):
            reports.append(report)
            return nil
        }
    }

    private func describe(_ partitions: [Partition]) -> String {
        partitions.map { "\($0.number)" }.joined(separator: " ")
    }

    private func describe(_ offsets: [Partition: Int64]) -> String {
        offsets.sorted { $0.key < $1.key }.map { "\($0.key.number):\($0.value)" }
            .joined(separator: " ")
    }

    private static func describe(_ output: OutputRecord) -> String {
        guard output.topic == "scores" else {
            let reason = output.headers.first { $0.key == DeadLetter.HeaderName.reason }?.value
            return String(decoding: reason ?? [], as: UTF8.self)
        }
        guard let value = output.value, let event = try? ScoreEvent(parsing: value) else {
            return "unreadable"
        }
        switch event.outcome {
        case .scored(let scored): return "\(event.pid)=\(scored.score)"
        case .expired: return "\(event.pid) expired"
        }
    }
}

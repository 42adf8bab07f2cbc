import Model
import Pipeline

/// What must never happen, found.
struct Violation: Error, CustomStringConvertible {
    enum Kind: String {
        /// An offset was committed past a record whose output nobody can read.
        case lost
        /// Two outputs for one record.
        case duplicate
        /// Outputs of a partition, or of a key, out of the order of the input.
        case order
        /// A bound on records, bytes or work under way was exceeded.
        case memory
        /// After the faults ended, not everything came to its end.
        case stuck
        /// A second step was asked for before the first was answered.
        case twoSteps
        /// A stop took longer than its budget.
        case slowStop
        /// An output that belongs to no record, or is not what its record asks for.
        case wrongOutput
        /// What was learnt is not what follows from the committed records.
        case learning
        /// A score made with a vector that is not committed.
        case uncommitted
    }

    var kind: Kind
    var text: String
    var description: String { "\(kind.rawValue): \(text)" }
}

/// What can befall one call on the producer.
enum StepFault: String, CaseIterable {
    case none, crashBefore, crashAfter, requestLost, replyLost, refused, broken, brokenAfter
}

/// Which faults met which steps, over many seeds: shows that the simulation still goes where it
/// claims to go.
struct Coverage {
    struct Meeting: Hashable {
        var step: String
        var fault: StepFault
    }

    static let expectedHappenings = [
        "crash", "rebalance", "thrown out", "freeze", "replaced while frozen", "stop",
        "clock moved", "post expired", "dead letter", "post given up", "path failed for good",
        "batch aborted", "producer lost", "paused", "image left out", "dead letters reduced",
        "fenced for good", "restored", "caught up", "label taken", "label corrected",
        "view came early", "early view given up", "vector updated", "rolled back",
        "version unknown", "user forgotten",
    ]

    private(set) var meetings: [Meeting: Int] = [:]
    var happenings: [String: Int] = [:]

    mutating func count(_ step: PublishStep, _ fault: StepFault) {
        meetings[Meeting(step: step.kind, fault: fault), default: 0] += 1
    }

    mutating func add(_ other: Coverage) {
        meetings.merge(other.meetings, uniquingKeysWith: +)
        happenings.merge(other.happenings, uniquingKeysWith: +)
    }
}

extension PublishStep {
    static let kinds = [
        "createProducer", "begin", "produce", "sendOffsets", "commit", "abort", "flush",
        "commitOffsets", "readCommitted",
    ]

    var kind: String {
        switch self {
        case .createProducer: "createProducer"
        case .begin: "begin"
        case .produce: "produce"
        case .sendOffsets: "sendOffsets"
        case .commit: "commit"
        case .abort: "abort"
        case .flush: "flush"
        case .commitOffsets: "commitOffsets"
        case .readCommitted: "readCommitted"
        }
    }
}

/// Brokers, clocks, chance and the referee: everything outside of the processes.
struct World {
    private struct Input {
        var record: Record
        var available: Milliseconds
    }

    let configuration: ScorePathConfiguration
    private var generator: SplitMix64
    private let isTracing: Bool
    /// In seconds: that of every record. Views say themselves when they were observed.
    static let recordTime = 1_700_000_000.0

    var broker = SimulatedBroker()
    /// By the name of the processes that have it.
    var disks: [String: SimulatedDisk] = [:]
    /// Commands to the learner, and when they are given.
    private var commands: [(at: Milliseconds, task: Int32, lesson: Lesson)] = []
    private(set) var now = Moment(uptime: 1_000, epoch: 1_700_000_000_000)
    private var inputs: [Partition: [Input]] = [:]
    private var referee: Referee
    private(set) var violation: Violation?
    private(set) var coverage = Coverage()
    var hasFaults = true
    /// In a thousand.
    private let faultRate: Int
    let disturbanceRate: Int
    /// Until then no call on a producer comes to a good end.
    private var coordinatorAwayUntil: Milliseconds = 0

    var partitions: [Partition] { inputs.keys.sorted() }

    /// - Parameter learns: nil leaves it to the seed.
    init(seed: UInt64, learns: Bool?, isTracing: Bool) {
        var generator = SplitMix64(seed: seed)
        func random(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }

        var configuration = ScorePathConfiguration()
        configuration.delivery = random(5) == 0 ? .atLeastOnce : .exactlyOnce
        configuration.maximumBatchRecords = 1 + random(6)
        configuration.commitIntervalMilliseconds = Milliseconds(random(150))
        configuration.highWaterRecords = 2 + random(12)
        configuration.lowWaterRecords = random(configuration.highWaterRecords)
        configuration.highWaterBytes = random(2) == 0 ? 1 << 20 : 1_500
        configuration.lowWaterBytes = configuration.highWaterBytes / 2
        configuration.maximumPreparedPosts = 1 + random(4)
        configuration.maximumScoringPosts = 1 + random(4)
        configuration.idleIntervalMilliseconds = Milliseconds(random(2) * random(500))
        configuration.unusableImage = random(2) == 0 ? .deadLetter : .scoreWithout
        configuration.retryBudgetMilliseconds = 1_500
        configuration.firstRetryDelayMilliseconds = 20
        configuration.maximumRetryDelayMilliseconds = 300
        configuration.transactionBudgetMilliseconds = 600
        configuration.firstStepDelayMilliseconds = 5
        configuration.maximumStepDelayMilliseconds = 100
        configuration.maximumConsecutiveAborts = 3
        configuration.maximumConsecutiveLostProducers = 3
        configuration.maximumFencings = 1 + random(2)
        configuration.fencingWindowMilliseconds = 20_000
        configuration.revokeBudgetMilliseconds = Milliseconds(50 + random(300))
        configuration.stopBudgetMilliseconds = 800
        configuration.rememberedPosts = 1 + random(20)
        configuration.latestTopic = configuration.rememberedPosts % 2 == 0 ? "latest" : nil
        // At times more than the brokers take.
        configuration.maximumOutputBytes =
            random(2) == 0 ? SimulatedBroker.maximumRecordBytes : 1_000_000
        let draw = random(2) == 0
        if learns == true { configuration.delivery = .exactlyOnce }
        if configuration.delivery == .exactlyOnce, learns ?? draw {
            configuration.learning = Self.learning(random)
        }
        self.configuration = configuration
        self.isTracing = isTracing
        faultRate = [20, 50, 100, 250][random(4)]
        disturbanceRate = [1, 5, 15][random(3)]

        let partitionCount = 1 + random(3)
        let recordCount = 8 + random(25)
        var inputs: [Partition: [Input]] = [:]
        var referee = Referee(delivery: configuration.delivery)
        let (epoch, uptime) = (now.epoch, now.uptime)
        for number in 0..<partitionCount {
            inputs[Partition(topic: "posts", number: Int32(number))] = []
        }
        func input(_ record: Record, _ topic: String) {
            // Offsets have gaps where the producer of the records is transactional itself.
            let gap = Int64(random(10) == 0 ? random(3) : 0)
            var record = record
            record.offset = (inputs[record.partition]?.last?.record.offset ?? -1) + 1 + gap
            inputs[record.partition]?.append(
                Input(record: record, available: uptime + Milliseconds(random(2_500))))
            if topic == "posts" || !Self.isReadableView(record) { referee.expect(record) }
        }
        for index in 0..<recordCount {
            let user = random(5)
            let partition = Partition(topic: "posts", number: Int32(user % partitionCount))
            input(
                Self.post(index: index, user: user, partition, epoch: epoch, random), "posts")
        }
        if configuration.learning != nil {
            for number in 0..<partitionCount {
                inputs[Partition(topic: "views", number: Int32(number))] = []
                inputs[Partition(topic: "lessons", number: Int32(number))] = []
            }
            for _ in 0..<2 * recordCount {
                let user = random(5)
                let partition = Partition(topic: "views", number: Int32(user % partitionCount))
                input(
                    Self.view(
                        index: random(recordCount), user: user, partition, epoch: epoch, random),
                    "views")
            }
            for _ in 0..<random(4) {
                let user = random(5)
                let uid = "user\(user)"
                commands.append(
                    (
                        uptime + Milliseconds(random(3_000)), Int32(user % partitionCount),
                        random(3) == 0
                            ? .forget(uid: uid) : .rollback(uid: uid, version: 1 + random(3))
                    ))
            }
        }
        for partition in inputs.keys {
            // A record is there only when those before it are.
            var latest: Milliseconds = 0
            for index in (inputs[partition] ?? []).indices {
                latest = max(latest, inputs[partition]?[index].available ?? 0)
                inputs[partition]?[index].available = latest
            }
        }
        self.inputs = inputs
        self.referee = referee
        self.generator = generator
        let all = inputs.keys.sorted()
        broker.withGroup { $0.partitions = all }
    }

    private static func learning(_ random: (Int) -> Int) -> LearnConfiguration {
        var updates = UpdateRule()
        updates.labelsPerNewLabel = 1 + random(3)
        var learning = LearnConfiguration(
            model: "m",
            labels: LabelRule(
                horizon: random(3) == 0 ? nil : 1_000,
                trackedHorizons: random(2) == 0 ? [] : [1_200], minimumDays: 1e-3),
            updates: updates)
        learning.encodingsTopic = random(2) == 0 ? "encodings" : nil
        learning.highWaterRecords = 1 + random(10)
        learning.lowWaterRecords = random(learning.highWaterRecords)
        switch random(6) {
        case 0: learning.maximumEarlyViews = 1 + random(3)
        case 1: learning.earlyViewSeconds = -1_000
        default: break
        }
        return learning
    }

    var publishesEncodings: Bool { configuration.learning?.encodingsTopic != nil }

    private static func view(
        index: Int, user: Int, _ partition: Partition, epoch: Milliseconds,
        _ random: (Int) -> Int
    ) -> Record {
        let uid = "user\(user)"
        let ages = [-10, 500, 1_000, 1_010, 1_100, 1_200, 1_250, 1_300, 1_450, 1_600]
        let observedAt = Int(recordTime) + ages[random(ages.count)]
        let counts = ["0", "1", "5", "80", "80", "3000", "1000000000000"]
        let wrong = ["\"NaN\"", "-1", "1e300", "10000000000000", "null", "\"\""]
        let views = random(20) == 0 ? wrong[random(wrong.count)] : counts[random(counts.count)]
        let value =
            "{\"uid\":\"\(uid)\",\"pid\":\"\(index)\",\"views\":\(views),"
            + "\"observed_at\":\(observedAt)}"
        return Record(
            partition: partition, offset: 0,
            key: Array((random(30) == 0 ? "someone else" : uid).utf8),
            value: random(40) == 0 ? nil : Array(value.utf8), timestamp: epoch)
    }

    private static func isReadableView(_ record: Record) -> Bool {
        guard let value = record.value,
            let view = try? ViewEvent(parsing: value, limits: EventLimits())
        else { return false }
        return record.key == Array(view.uid.utf8)
    }

    private static func post(
        index: Int, user: Int, _ partition: Partition, epoch: Milliseconds,
        _ random: (Int) -> Int
    ) -> Record {
        let uid = "user\(user)"
        let pid = random(8) == 0 && index > 0 ? random(index) : index
        var fields = "\"uid\":\"\(uid)\",\"pid\":\"\(pid)\""
        switch random(6) {
        case 0: break
        case 1 where random(3) == 0: fields += ",\"image_url\":\"http://never/\(index).jpg\""
        default: fields += ",\"image_url\":\"http://host/\(index).jpg\""
        }
        if random(6) == 0 {
            fields += ",\"score_by\":\(Double(epoch / 1_000) + Double(random(3_000)) / 1_000)"
        }
        var record = Record(
            partition: partition, offset: 0, key: Array(uid.utf8),
            value: Array("{\(fields)}".utf8), timestamp: epoch)
        switch random(30) {
        case 0: record.value = nil
        case 1: record.value = Array("{\"uid\":".utf8)
        case 2: record.key = nil
        case 3: record.key = Array("someone else".utf8)
        case 4: record.value = [UInt8](repeating: 0x20, count: 3_000)
        case 5:
            record.value = Array("{".utf8)
            record.headers = [RecordHeader](
                repeating: RecordHeader(key: "h", value: nil), count: 1_000)
        default: break
        }
        return record
    }

    // MARK: - Chance

    mutating func random(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }

    /// True in so many of a thousand cases.
    mutating func chance(_ perMille: Int) -> Bool { random(1_000) < perMille }

    mutating func pick<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[random(elements.count)]
    }

    mutating func latency() -> Milliseconds {
        Milliseconds(chance(20) ? random(3_000) : random(60))
    }

    mutating func fault(for step: PublishStep) -> StepFault {
        guard hasFaults else { return .none }
        if now.uptime < coordinatorAwayUntil { return chance(500) ? .requestLost : .replyLost }
        guard chance(faultRate) else { return .none }
        if chance(200) { coordinatorAwayUntil = now.uptime + Milliseconds(random(1_000)) }
        switch random(12) {
        case 0: return .crashBefore
        case 1: return .crashAfter
        case 2...4: return .requestLost
        case 5...7: return .replyLost
        case 8, 9: return .refused
        case 10: return .broken
        default: return .brokenAfter
        }
    }

    mutating func preparation(
        of post: PostEvent, _ attempt: Int
    ) -> Result<PreparedImage<Int>, PreparationFailure> {
        if post.image == .url("http://never/\(post.pid).jpg") {
            return .failure(.transient("down"))
        }
        guard hasFaults else { return .success(PreparedImage(image: 1, byteCount: 100)) }
        switch random(20) {
        case 0, 1: return .failure(.transient("timeout"))
        case 2:
            let delay = Milliseconds(random(2_000))
            return .failure(.transient("busy", retryAfterMilliseconds: delay))
        case 3: return .failure(.permanent(.imageUndecodable, "no picture"))
        case 4: return .failure(.permanent(.imageRefused, "not there"))
        default: return .success(PreparedImage(image: 1, byteCount: 100))
        }
    }

    /// - Parameter learner: what scoring knows of the user.
    mutating func scoring(
        of post: PostEvent, _ image: Int?, _ learner: LearnerState?, task: Int32
    ) -> Result<Scoring, ScoringFailure> {
        if let learner, hasFaults { checkCommitted(learner, task) }
        if chance(20) { return .failure(ScoringFailure("no score")) }
        var scoring = Scoring(
            score: chance(20) ? .nan : Float(random(100)) / 10, model: "m",
            userVector: learner?.current.map { "v\($0.version)" } ?? "bundle",
            flags: image == nil ? [.noImage] : [],
            attention: ScoreAttention(words: [], image: nil, textWeight: 0, imageWeight: 1),
            backboneMilliseconds: Float(random(100)))
        if configuration.learning != nil {
            scoring.learning = Scoring.Learning(
                frozenScore: 1, userMean: learner?.labelMean, userLabels: learner?.labelCount ?? 0,
                encoding: publishesEncodings ? ToyLearner.encoding(pid: post.pid) : nil)
        }
        return .success(scoring)
    }

    private mutating func checkCommitted(_ learner: LearnerState, _ task: Int32) {
        let users = broker.visibleRecords(of: Partition(topic: "users", number: task))
        let isThere = users.contains { record in
            guard let key = record.key, let value = record.value,
                case .user(let state) = try? StateChange(key: key, value: value)
            else { return false }
            return state == learner
        }
        // A fenced instance that does not know it yet may see what a later transaction has replaced,
        // but never what none has written.
        if !isThere { fail(.uncommitted, "\(learner)") }
    }

    // MARK: - Time

    mutating func advance(by milliseconds: Milliseconds) {
        now.uptime += milliseconds
        now.epoch += milliseconds
        broker.abortOldTransactions(at: now.uptime)
        for command in commands where command.at <= now.uptime {
            broker.produceAtOnce([
                OutputRecord(
                    topic: "lessons", partition: command.task, key: Array(command.lesson.uid.utf8),
                    value: command.lesson.json)
            ])
        }
        commands.removeAll { $0.at <= now.uptime }
        reportNews()
    }

    mutating func moveWallClock() {
        now.epoch += Milliseconds(random(20_000) - 10_000)
        happened("clock moved")
    }

    // MARK: - Records

    func input(_ partition: Partition, from offset: Int64) -> Record? {
        if partition.topic == "lessons" {
            return broker.visibleRecord(of: partition, from: offset).map { offset, record in
                Record(
                    partition: partition, offset: offset, key: record.key, value: record.value,
                    timestamp: Milliseconds(Self.recordTime) * 1_000)
            }
        }
        return inputs[partition]?.first {
            $0.record.offset >= offset && $0.available <= now.uptime
        }?
        .record
    }

    // MARK: - The referee

    func trace(_ line: () -> String) {
        if isTracing { print("\(now.uptime) \(line())") }
    }

    mutating func happened(_ what: String) {
        trace { "-- \(what)" }
        coverage.happenings[what, default: 0] += 1
    }

    mutating func cover(_ step: PublishStep, _ fault: StepFault) {
        if fault != .none { trace { "-- \(fault) at \(step.kind)" } }
        coverage.count(step, fault)
    }

    mutating func fail(_ kind: Violation.Kind, _ text: String) {
        trace { "!! \(kind): \(text)" }
        if violation == nil { violation = Violation(kind: kind, text: text) }
    }

    mutating func check(_ process: SimulatedProcess) {
        reportNews()
        let load = process.path.load
        let largestRecord =
            inputs.values.joined()
            .map { SimulatedBroker.bytes($0.record.key, $0.record.value, $0.record.headers) }
            .max() ?? 0
        // One record (its headers count more in memory), the images that are ready, and an output
        // for each record may come on top.
        let slackBytes =
            200 + 5 * largestRecord + 100 * configuration.maximumPreparedPosts
            + (configuration.learning == nil ? 800 : 12_000)
            * (configuration.highWaterRecords + (configuration.learning?.highWaterRecords ?? 0) + 1)
        if load.records > configuration.highWaterRecords {
            fail(.memory, "\(load.records) records held")
        }
        // Besides, what was on its way when the partitions were paused.
        if load.learningRecords > (configuration.learning?.highWaterRecords ?? 0) {
            fail(.memory, "\(load.learningRecords) views and lessons held")
        }
        if load.bytes > configuration.highWaterBytes + slackBytes || load.bytes < 0 {
            fail(.memory, "\(load.bytes) bytes held")
        }
        if load.records == 0, load.learningRecords == 0,
            load.bytes != 0 || load.publishable != 0 || load.waiting != 0
        {
            fail(.memory, "something held for no record: \(load)")
        }
        if process.preparationsUnderWay > configuration.maximumPreparedPosts {
            fail(.memory, "\(process.preparationsUnderWay) preparations under way")
        }
        if process.scoringsUnderWay > configuration.maximumScoringPosts {
            fail(.memory, "\(process.scoringsUnderWay) scorings under way")
        }
    }

    mutating func checkStop(of process: SimulatedProcess) {
        if process.longestStop > configuration.stopBudgetMilliseconds + 200 {
            fail(.slowStop, "a stop took \(process.longestStop) ms")
        }
    }

    private mutating func reportNews() {
        guard !broker.news.isEmpty else { return }
        for news in broker.news {
            if let found = referee.judge(news) { fail(found.kind, found.text) }
        }
        broker.news = []
    }

    var isDrained: Bool {
        // A dead producer's transaction hides what follows it until it is aborted.
        guard referee.isComplete, !broker.hasOpenTransactions,
            let committed = broker.readCommitted(partitions)
        else { return false }
        return commands.isEmpty
            && inputs.allSatisfy { partition, inputs in
                if partition.topic == "lessons" {
                    return input(partition, from: committed[partition] ?? 0) == nil
                }
                return inputs.last.map { committed[partition] == $0.record.offset + 1 } ?? true
            }
    }

    var missing: String { referee.missing }

    /// What a reader of the output topics sees in the end.
    mutating func checkLogs() {
        var visible: [OutputRecord] = []
        for partition in broker.logs.keys.sorted() {
            let records = broker.visibleRecords(of: partition)
            if let found = referee.judgeOrder(ofLog: records) { fail(found.kind, found.text) }
            visible += records
        }
        if let found = referee.judgeCount(of: visible) { fail(found.kind, found.text) }
        if let found = referee.judgeLatest(of: visible) { fail(found.kind, found.text) }
    }

    /// What was learnt is what follows from the committed records, in the topics, on the disks and in
    /// the memory of the processes.
    mutating func checkLearning(_ processes: [SimulatedProcess]) {
        guard let learning = configuration.learning else { return }
        let referee = LearningReferee(
            configuration: learning, publishesEncodings: publishesEncodings,
            views: Dictionary(
                uniqueKeysWithValues: inputs.filter { $0.key.topic == "views" }
                    .map { ($0.key.number, $0.value.map(\.record)) }),
            broker: broker,
            mayGiveUpViews: learning.earlyViewSeconds < 0 || learning.maximumEarlyViews < 10)
        for task in Set(inputs.keys.map(\.number)).sorted() {
            if let found = referee.judge(task) { fail(found.kind, found.text) }
            let committed = referee.state("users", task)
            for process in processes where process.hasRestored(task, self) {
                let seen = (process.state.visible[task] ?? [:]).values.map { StateChange.user($0) }
                let rows = Dictionary(
                    uniqueKeysWithValues: seen.map { ($0.record.key, $0.record.value ?? []) })
                if rows != committed {
                    fail(.learning, "\(process.name) shows other vectors than the committed ones")
                }
                let checkpoint = disks[process.name]?.tasks[task]?.rows ?? [:]
                let both = committed.merging(referee.state("joins", task)) { $1 }
                if checkpoint != both {
                    fail(.learning, "\(process.name) has another checkpoint than the topics")
                }
            }
        }
    }
}

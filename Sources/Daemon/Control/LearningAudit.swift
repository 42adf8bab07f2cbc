import Dispatch
import Kafka
import Model
import Pipeline
import Synchronization

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Recomputes what was learnt of every user from the posts and lessons topics alone, one record after
/// the other, and compares it with the users topic bit for bit.
///
/// Nothing of the daemon's own state is used, and none of its order of work: what it looks up, when it
/// publishes, what it holds in memory and what happened to it in between must not show.
///
/// One partition after the other. In memory: the names of its labelled posts whose turn has not come
/// (some 200 bytes each). In the folder: its users' states twice, and the encodings of posts in users'
/// windows or with a label to come.
package final class LearningAudit: Sendable {
    package struct Difference: Encodable, Equatable, Sendable {
        package let uid: String
        package let partition: Int32
        /// What differs; names of the user's record.
        package let what: [String]
    }

    package struct Report: Encodable, Equatable, Sendable {
        package static let maximumDifferences = 20

        package var partitions = 0
        package var users = 0
        package var equal = 0
        /// At most `maximumDifferences` of them.
        package var different: [Difference] = []
        package var lessons = 0
        package var updates = 0
        /// Labelled posts that could not be encoded: not on the topic, or without their image.
        package var missing_posts = 0

        package init() {}

        mutating func add(_ difference: Difference) {
            guard different.count < Self.maximumDifferences else { return }
            different.append(difference)
        }
    }

    private static let chunkRecords = 4_096
    private static let requestMilliseconds = 10_000
    private static let maximumLooks = 20
    private static let scanStep = 1_024

    private let configuration: ServeConfiguration
    private let bundle: ModelBundle
    private let client: ClientConfiguration
    private let isCancelled: @Sendable () -> Bool
    private let show: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: the daemon's.
    ///   - isCancelled: asked often; then `run` throws `CancellationError`.
    ///   - show: how far it has come.
    ///   - say: what the Kafka clients have to tell.
    package init(
        _ configuration: ServeConfiguration, bundle: ModelBundle,
        isCancelled: @escaping @Sendable () -> Bool,
        show: @escaping @Sendable (String) -> Void, say: @escaping @Sendable (String) -> Void
    ) {
        self.configuration = configuration
        self.bundle = bundle
        self.isCancelled = isCancelled
        self.show = show
        client = configuration.consumer { if $0.level <= .warning { say("\($0)") } }
    }

    /// - Parameter partitions: of each topic.
    package func run(partitions: Int) async throws -> Report {
        let clock = Clock()
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
            decodingThreads: 1)
        let encoder = Encoder(configuration, scorer, preparer, clock)
        let result = await withCheckedContinuation { waiting in
            let started = startThread {
                waiting.resume(returning: Result { try self.audit(partitions, encoder) })
            }
            if !started {
                waiting.resume(returning: Result.failure(ControlError.threadNotStarted))
            }
        }
        await preparer.shutdown()
        await fetcher.shutdown()
        return try result.get()
    }

    private func audit(_ partitions: Int, _ encoder: Encoder) throws -> Report {
        var report = Report()
        report.partitions = partitions
        let learner = UserLearner(
            bundle: bundle, rule: configuration.updates,
            workers: Workers(count: configuration.threads))
        for number in 0..<Int32(partitions) {
            let folder = try TemporaryFolder()
            let task = try Partition(
                number, folder.path, encodingBytes: configuration.learning.encodingsBytes)
            let end = try readUsers(of: task)
            try recompute(task, lessonsBelow: end, encoder, learner, &report)
            try compare(task, &report)
            try task.close()
        }
        return report
    }

    // MARK: - One partition

    /// What is known of one partition.
    private final class Partition {
        let number: Int32
        /// As on the users topic, and as recomputed.
        let published: TaskStore
        let recomputed: TaskStore
        let encodings: EncodingStore

        init(_ number: Int32, _ path: String, encodingBytes: Int) throws {
            self.number = number
            func folder(_ name: String) throws -> StateFolder {
                try StateFolder(path: "\(path)/\(name)", group: "audit")
            }
            published = try TaskStore(in: folder("published"), task: number, now: 0)
            recomputed = try TaskStore(in: folder("recomputed"), task: number, now: 0)
            encodings = try EncodingStore(
                in: folder("encodings"), task: number, maximumBytes: encodingBytes)
        }

        func put(_ change: StateChange, in store: TaskStore) throws {
            store.apply([change], reached: nil)
            if store.isBehind { try store.flush() }
        }

        func close() throws {
            try published.close()
            try recomputed.close()
            try encodings.close()
        }
    }

    /// Takes down the users, and which lessons they follow from: the committed offset, where it was
    /// the same before and after.
    private func readUsers(of task: Partition) throws -> Int64 {
        let group = try Consumer(configuration: client) { _, _ in [:] }
        let lessons = place(configuration.topics.lessons, task)
        func committed() throws -> Int64? {
            try group.committed([lessons], timeoutMilliseconds: Self.requestMilliseconds)[lessons]
        }
        let users = place(configuration.topics.users, task)
        var next: Int64?
        var isEmpty = true
        for _ in 0..<Self.maximumLooks {
            let before = try committed()
            next = try read([users: next]) { message in
                guard let key = message.key else { return }
                let change = try StateChange(key: key, value: message.value)
                if case .user(let state) = change, state.model == bundle.version { isEmpty = false }
                try task.put(change, in: task.published)
            }[users]
            guard try committed() == before else { continue }
            guard before != nil || isEmpty else {
                throw ControlError.noOffsets("\(lessons)", group: configuration.kafka.groupID)
            }
            return before ?? 0
        }
        throw ControlError.busy("\(lessons)")
    }

    private func recompute(
        _ task: Partition, lessonsBelow end: Int64, _ encoder: Encoder, _ learner: UserLearner,
        _ report: inout Report
    ) throws {
        var awaited = try labelledPosts(in: task, below: end)
        let posts = place(configuration.topics.posts, task)
        var lessons = Lessons(self, task, end: end)
        var passed = 0
        var counted = report

        // A lesson has its turn when its post has been encoded, or will never be.
        func goOn(atEnd: Bool) throws {
            while let (lesson, time) = try lessons.first() {
                if !atEnd, let post = labelledPost(lesson), awaited.contains(post) { return }
                lessons.removeFirst()
                try take(lesson, at: time, task, learner, &counted)
                if counted.lessons % 100 == 0 { try tell(task, passed, counted) }
            }
        }

        try goOn(atEnd: false)
        if !awaited.isEmpty {
            do {
                _ = try read([posts: 0]) { message in
                    passed += 1
                    if passed % 100 == 0 { try tell(task, passed, counted) }
                    guard let post = encoder.post(message),
                        awaited.contains(PostName(post.uid, post.pid)),
                        let encoding = try encoder.encoding(of: post)
                    else { return }
                    awaited.remove(PostName(post.uid, post.pid))
                    try task.encodings.keep(
                        uid: post.uid, pid: post.pid, model: bundle.version, bytes: encoding)
                    guard task.encodings.metrics.evictedUnlabelled == 0 else {
                        throw ControlError.noRoom(bytes: task.encodings.maximumBytes)
                    }
                    try goOn(atEnd: false)
                    if awaited.isEmpty { throw Enough() }
                }
            } catch is Enough {}
        }
        counted.missing_posts += awaited.count
        try goOn(atEnd: true)
        report = counted
    }

    private func tell(_ task: Partition, _ posts: Int, _ report: Report) throws {
        if isCancelled() { throw CancellationError() }
        show(
            "partition \(task.number): \(posts) posts; \(report.lessons) lessons and "
                + "\(report.updates) updates in all")
    }

    /// What a lesson makes of its user. Said a second time on purpose: in the plainest order, with
    /// nothing in hand but the state.
    private func take(
        _ lesson: Lesson, at time: Double, _ task: Partition, _ learner: UserLearner,
        _ report: inout Report
    ) throws {
        report.lessons += 1
        let (uid, model) = (lesson.uid, bundle.version)
        var state =
            try task.recomputed.learner(uid: uid, model: model)
            ?? LearnerState(uid: uid, model: model)
        switch lesson {
        case .label(let label):
            guard label.teaches, label.post.model == model else { return }
            let dropped = state.take(label)
            if configuration.updates.isDue(state) {
                report.updates += 1
                state.updateTried(at: label.observedAt)
                let lost = Mutex<StoreError?>(nil)
                let result = learner.learn(state) { pid in
                    do throws(StoreError) {
                        return try task.encodings.bytes(uid: uid, pid: pid, model: model)
                    } catch {
                        lost.withLock { $0 = error }
                        return nil
                    }
                }
                if let error = lost.withLock({ $0 }) { throw error }
                if let vector = result.outcome.vector { state.adopt(vector, at: label.observedAt) }
            }
            if let dropped { try task.encodings.delete(uid: uid, pids: [dropped]) }
        case .rollback(_, let version):
            guard state.rollBack(to: version, at: time) else { return }
        case .forget:
            try task.encodings.delete(uid: uid, pids: state.posts.map(\.pid))
            return try task.put(.forgottenUser(uid: uid, model: model), in: task.recomputed)
        }
        try task.put(.user(state), in: task.recomputed)
    }

    // MARK: - Lessons

    private struct PostName: Hashable {
        let uid: CodePoints
        let pid: CodePoints

        init(_ uid: String, _ pid: String) {
            self.uid = CodePoints(uid)
            self.pid = CodePoints(pid)
        }
    }

    /// The post whose encoding the lesson needs.
    private func labelledPost(_ lesson: Lesson) -> PostName? {
        guard case .label(let label) = lesson, label.teaches, label.post.model == bundle.version
        else { return nil }
        return PostName(label.post.uid, label.post.pid)
    }

    private func labelledPosts(in task: Partition, below end: Int64) throws -> Set<PostName> {
        var posts: Set<PostName> = []
        guard end > 0 else { return posts }
        _ = try read([place(configuration.topics.lessons, task): 0]) { message in
            guard message.offset < end, let (lesson, _) = Self.lesson(message),
                let post = labelledPost(lesson)
            else { return }
            posts.insert(post)
        }
        return posts
    }

    /// As the daemon takes it; nil where it is a dead letter.
    private static func lesson(_ message: ConsumedMessage) -> (Lesson, time: Double)? {
        guard let value = message.value, let lesson = try? Lesson(parsing: value),
            message.key == Array(lesson.uid.utf8)
        else { return nil }
        return (lesson, message.timestampMilliseconds.map { Double($0) / 1_000 } ?? 0)
    }

    /// The lessons of a partition below an offset, a few thousand in memory.
    private struct Lessons {
        private let audit: LearningAudit
        private let place: TopicPartition
        private let end: Int64
        private var next: Int64 = 0
        private var chunk: [(Lesson, time: Double)] = []
        private var taken = 0

        init(_ audit: LearningAudit, _ task: Partition, end: Int64) {
            self.audit = audit
            self.end = end
            place = audit.place(audit.configuration.topics.lessons, task)
        }

        mutating func first() throws -> (Lesson, time: Double)? {
            while taken == chunk.count {
                guard next < end else { return nil }
                try readOn()
            }
            return chunk[taken]
        }

        mutating func removeFirst() { taken += 1 }

        private mutating func readOn() throws {
            (chunk, taken) = ([], 0)
            var (read, last): ([(Lesson, time: Double)], Int64) = ([], next)
            do {
                _ = try audit.read([place: next]) { message in
                    last = message.offset + 1
                    guard message.offset < end else { throw Enough() }
                    if let lesson = LearningAudit.lesson(message) { read.append(lesson) }
                    if read.count >= LearningAudit.chunkRecords { throw Enough() }
                }
                last = end
            } catch is Enough {}
            (chunk, next) = (read, last)
        }
    }

    // MARK: - Topics

    /// Ends a read before its end.
    private struct Enough: Error {}

    private func place(_ topic: String, _ task: Partition) -> TopicPartition {
        TopicPartition(topic: topic, partition: task.number)
    }

    /// Reads to the end, or until `take` throws.
    ///
    /// - Throws: `noLongerWhole` where what should be read from its beginning has lost it.
    private func read(
        _ starts: [TopicPartition: Int64?], _ take: (ConsumedMessage) throws -> Void
    ) throws -> [TopicPartition: Int64] {
        let outcome = try LogReader(configuration: client).read(
            starts,
            stallTimeoutMilliseconds: configuration.learning.restoreTimeoutMilliseconds
        ) { event in
            if isCancelled() { throw CancellationError() }
            switch event {
            case .startedAnew(let partition): throw ControlError.noLongerWhole("\(partition)")
            case .record(let message): try take(message)
            case .progress: break
            }
        }
        guard case .complete(let ends) = outcome else { throw CancellationError() }
        return ends
    }

    // MARK: - Posts

    /// From a post's record to its kept encoding, as the daemon makes it.
    private final class Encoder: @unchecked Sendable {
        // Unchecked: used by one thread at a time.
        private let configuration: ServeConfiguration
        private let scorer: PostScorer
        private let preparer: ImagePreparer
        private let clock: Clock
        private var lastTicket: UInt64 = 0

        init(
            _ configuration: ServeConfiguration, _ scorer: PostScorer, _ preparer: ImagePreparer,
            _ clock: Clock
        ) {
            self.configuration = configuration
            self.scorer = scorer
            self.preparer = preparer
            self.clock = clock
        }

        /// nil where the record is a dead letter.
        func post(_ message: ConsumedMessage) -> PostEvent? {
            guard let value = message.value,
                let post = try? PostEvent(parsing: value, from: .topic, limits: EventLimits()),
                message.key == Array(post.uid.utf8)
            else { return nil }
            return post
        }

        /// nil where its image cannot be used, and a post without counts as a dead letter.
        func encoding(of post: PostEvent) throws -> [UInt8]? {
            var image: PostImage?
            if post.image != nil {
                image = prepared(post)
                if image == nil, configuration.images.unusable == .deadLetter { return nil }
            }
            let result = scorer.head.score(
                post, seen: scorer.see(image), learning: PostHead.Learning(user: nil))
            return result.learning?.encoding
        }

        private func prepared(_ post: PostEvent) -> PostImage? {
            lastTicket += 1
            let answer = Answer()
            let done = DispatchSemaphore(value: 0)
            let deadline = clock.now.uptime + Milliseconds(configuration.retry.budgetMilliseconds)
            preparer.prepare(Ticket(number: lastTicket), post, deadline: deadline) { result in
                answer.image.withLock { $0 = try? result.get().image }
                done.signal()
            }
            done.wait()
            return answer.image.withLock { $0 }
        }

        private final class Answer: Sendable {
            let image = Mutex<PostImage?>(nil)
        }
    }

    // MARK: - Comparing

    private func compare(_ task: Partition, _ report: inout Report) throws {
        try task.published.flush()
        try task.recomputed.flush()
        let model = bundle.version
        try forEachUser(of: task.published) { uid in
            report.users += 1
            let published = try task.published.learner(uid: uid, model: model)
            let recomputed = try task.recomputed.learner(uid: uid, model: model)
            let what = Self.differences(published, recomputed)
            if what.isEmpty {
                report.equal += 1
            } else {
                report.add(Difference(uid: uid, partition: task.number, what: what))
            }
        }
        try forEachUser(of: task.recomputed) { uid in
            guard try task.published.learner(uid: uid, model: model) == nil else { return }
            report.users += 1
            report.add(Difference(uid: uid, partition: task.number, what: ["not on the topic"]))
        }
    }

    private func forEachUser(of store: TaskStore, _ body: (String) throws -> Void) throws {
        var after: Int64?
        repeat {
            if isCancelled() { throw CancellationError() }
            var uids: [String] = []
            after = try store.eachLearnedUser(
                model: bundle.version, after: after, limit: Self.scanStep
            ) { uid, _ in uids.append(uid) }
            for uid in uids { try body(uid) }
        } while after != nil
    }

    /// By the bytes of the record.
    private static func differences(
        _ published: LearnerState?, _ recomputed: LearnerState?
    ) -> [String] {
        guard let published else { return ["not on the topic"] }
        guard let recomputed else { return ["only on the topic"] }
        guard published.json != recomputed.json else { return [] }
        var what: [String] = []
        if published.vectors != recomputed.vectors { what.append("vectors") }
        if published.posts != recomputed.posts { what.append("posts") }
        if published.labelCount != recomputed.labelCount { what.append("label_count") }
        if published.labelSum != recomputed.labelSum { what.append("label_sum") }
        if published.labelsSinceUpdate != recomputed.labelsSinceUpdate {
            what.append("labels_since_update")
        }
        if published.updateTriedAt != recomputed.updateTriedAt { what.append("update_tried_at") }
        return what.isEmpty ? ["bits"] : what
    }
}

/// A folder of one partition's audit, gone with it.
private final class TemporaryFolder {
    let path: String

    init() throws(ControlError) {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("uhan-audit-\(UUID().uuidString)")
        do {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
        } catch {
            throw .folder("\(error)")
        }
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

import Dispatch
import Glibc
import Kafka
import NIOPosix
import Pipeline
import Synchronization

/// What `ScorePath` asks of the learning state, done: tasks are restored, things looked up, changes
/// put down. All that is asked about a task is done one thing after the other, so that what is looked
/// up is what was stored before; tasks do not wait for each other, but for reading topics. Scoring
/// reads vectors and keeps encodings beside it, and waits for none of this.
final class LearningState: Sendable {
    struct Settings: Sendable {
        var folder: String
        var group: String
        var model: String
        /// d of the model.
        var dimension: Int
        var memoryBytes: Int
        var encodingBytes: Int
        var checkpointBytes: Int
        var checkpointAgeSeconds: Double
        /// Changelog topics; encodings may stay unpublished.
        var usersTopic: String
        var joinsTopic: String
        var encodingsTopic: String?
        /// The topics whose committed offsets must be certain before a changelog is read.
        var inputTopics: [String]
        /// How long reading a changelog may come no further.
        var stallMilliseconds: Int
        /// How old a post may become, in record time, until no label of it is waited for any more; nil
        /// where any age counts.
        var unlabelledSeconds: Double?
    }

    /// One task, as long as it is here.
    private final class Task: Sendable {
        let number: Int32
        let store: TaskStore
        let encodings: EncodingStore
        /// The last look for posts that no label is waited for any more.
        let sweptAt = Mutex(0.0)

        init(_ number: Int32, _ store: TaskStore, _ encodings: EncodingStore) {
            self.number = number
            self.store = store
            self.encodings = encodings
        }
    }

    private static let sweepSeconds = 600.0
    private static let sweptPosts = 1_000

    let users: LearnedUsers
    private let settings: Settings
    private let folder: StateFolder
    private let consumer: ClientConfiguration
    private let reports: ReportLog
    private let clock: Clock
    private let loading = NIOThreadPool(numberOfThreads: 1)
    /// Topics are read for one task after the other: reading takes memory, and all the network gives.
    private let reading = DispatchQueue(label: "learning.reading")
    /// What is asked about tasks and not done yet.
    private let asked = DispatchGroup()

    private struct State {
        var tasks: [Int32: Task] = [:]
        /// The tasks that should be here, and the assignment that they came with.
        var wanted: [Int32: Int] = [:]
        /// For each task that has been here, what is asked about it.
        var queues: [Int32: DispatchQueue] = [:]
        var readers: [Int32: LogReader] = [:]
        var failure: (any Error)?
        var isStopping = false
        var lostEncodings = 0
        /// Work of a task that `store` must not overtake.
        var ahead: [Int32: Int] = [:]
    }
    private let state = Mutex(State())

    /// Opens and locks the state folder.
    init(
        _ settings: Settings, consumer: ClientConfiguration, clock: Clock, reports: ReportLog
    ) throws {
        self.settings = settings
        folder = try StateFolder(path: settings.folder, group: settings.group)
        users = LearnedUsers(model: settings.model, maximumBytes: settings.memoryBytes)
        self.consumer = consumer
        self.clock = clock
        self.reports = reports
        loading.start()
    }

    /// What makes it impossible to go on; the daemon ends with it.
    var failure: (any Error)? { state.withLock { $0.failure } }

    /// Encodings that could not be kept since the start: their posts judge, and do not teach.
    var lostEncodings: Int { state.withLock { $0.lostEncodings } }

    // MARK: - Tasks

    /// Brings the task's checkpoint up to date with the topics, then answers with the views that wait
    /// for their post.
    func restore(
        _ number: Int32, generation: Int, answer: @escaping @Sendable ([EarlyView]) -> Void
    ) {
        state.withLock { $0.wanted[number] = generation }
        read(number) { [self] in
            let early = persist("restore partition \(number)", of: number) {
                try waitForCertainOffsets(of: number)
                return try open(number)
            }
            if let early { answer(early) }
        }
    }

    func release(_ number: Int32) {
        let reader = state.withLock { state in
            state.wanted[number] = nil
            return state.readers[number]
        }
        reader?.cancel()
        inTurn(number) { [self] in close(number) }
    }

    /// Reads on from the topics, where it is not known what of late was committed.
    func catchUp(_ number: Int32) {
        ahead(number, read) { [self] in
            _ = persist("read on in partition \(number)", of: number) {
                guard let task = task(number) else { return }
                do {
                    try readOn(task)
                } catch is StartedAnew {
                    _ = try open(number)
                }
            }
        }
    }

    // MARK: - Looking up and putting down

    /// Answers exactly once, unless the task leaves meanwhile.
    func recall(
        _ recall: Recall, in number: Int32, answer: @escaping @Sendable (Recollection) -> Void
    ) {
        inTurn(number) { [self] in
            let found = persist("look something up in partition \(number)", of: number) {
                () -> Recollection? in
                guard let task = try task(number) ?? reopened(number) else { return nil }
                if task.store.isBehind { try task.store.flush() }
                do throws(StoreError) {
                    return try look(up: recall, task.store)
                } catch {
                    // Opened again it is begun anew, if it is damaged.
                    close(number)
                    throw error
                }
            }
            if let found = found ?? nil { answer(found) }
        }
    }

    private func look(up recall: Recall, _ store: TaskStore) throws(StoreError) -> Recollection {
        switch recall {
        case .post(let uid, let pid): .post(try store.post(uid: uid, pid: pid))
        case .learner(let uid):
            .learner(try store.learner(uid: uid, model: settings.model))
        case .posts(let uid):
            .posts(
                pids: try store.pids(of: uid)
                    + (store.learner(uid: uid, model: settings.model)?.posts ?? []).map(\.pid))
        }
    }

    /// These are committed: scoring sees them from here on, and the checkpoint follows.
    ///
    /// - Parameter offsets: of the transaction's last record in each partition.
    func store(_ changes: [StateChange], in number: Int32, offsets: [Partition: Int64]) {
        let (task, waits) = state.withLock { ($0.tasks[number], $0.ahead[number] != nil) }
        guard let task, !waits else {
            // Topics are being read that may hold older records of the same users, or these.
            return ahead(number, inTurn) { [self] in
                _ = persist("put changes down in partition \(number)", of: number) {
                    guard let task = try self.task(number) ?? reopened(number) else { return }
                    users.commit(changes, reached: nil, task: number)
                    putInOrder(changes, task, offsets)
                }
            }
        }
        users.commit(changes, reached: nil, task: number)
        inTurn(number) { [self] in putInOrder(changes, task, offsets) }
    }

    /// Not before the encodings are in order does the checkpoint reach beyond the changes: whatever
    /// ends the process in between, they are read again from the topics.
    private func putInOrder(
        _ changes: [StateChange], _ task: Task, _ offsets: [Partition: Int64]
    ) {
        settle(changes, task)
        task.store.apply([], reached: reached(task, offsets))
        forgetUnlabelled(task)
    }

    private func reached(_ task: Task, _ offsets: [Partition: Int64]) -> Reached? {
        guard var reached = task.store.reached else { return nil }
        func next(_ topic: String?) -> Int64? {
            topic.flatMap { offsets[Partition(topic: $0, number: task.number)] }.map { $0 + 1 }
        }
        reached.users = next(settings.usersTopic) ?? reached.users
        reached.joins = next(settings.joinsTopic) ?? reached.joins
        reached.encodings = next(settings.encodingsTopic) ?? reached.encodings
        reached.writtenAt = seconds
        return reached
    }

    // MARK: - Encodings

    /// Keeps a post's encoding. Called by the thread that scores, before the score is answered: so
    /// what is committed can be learnt from.
    func keep(encoding: [UInt8], uid: String, pid: String, in number: Int32) {
        guard let task = task(number) else { return }
        do throws(StoreError) {
            // A post that comes again does not take the place of the first.
            try task.encodings.keep(
                uid: uid, pid: pid, model: settings.model, bytes: encoding, replacing: false)
        } catch {
            state.withLock { $0.lostEncodings += 1 }
            reports.couldNot("keep an encoding", error)
        }
    }

    func encoding(uid: String, pid: String, in number: Int32) -> [UInt8]? {
        do throws(StoreError) {
            return try task(number)?.encodings.bytes(uid: uid, pid: pid, model: settings.model)
        } catch {
            reports.couldNot("read an encoding", error)
            return nil
        }
    }

    /// What a change means for the encodings.
    private func settle(_ changes: [StateChange], _ task: Task) {
        do throws(StoreError) {
            for change in changes {
                switch change {
                case .user(let state):
                    if let post = state.posts.last {
                        try task.encodings.markLabelled(uid: state.uid, pids: [post.pid])
                    }
                case .forgottenUser(let uid, _): try task.encodings.deleteAll(uid: uid)
                case .forgottenEncoding(let uid, let pid):
                    try task.encodings.delete(uid: uid, pids: [pid])
                case .encoding, .post, .forgottenPost, .earlyView, .forgottenEarlyView: break
                }
            }
        } catch {
            reports.couldNot("put encodings in order", error)
        }
    }

    private func forgetUnlabelled(_ task: Task) {
        do throws(StoreError) {
            guard let age = settings.unlabelledSeconds,
                let newest = try task.store.newestPost()
            else { return }
            // By the time of the posts, which may be of the past; but not of the future. (Their
            // encodings make room when room is needed.)
            let now = min(newest, seconds)
            let isDue = task.sweptAt.withLock { sweptAt in
                guard abs(now - sweptAt) > Self.sweepSeconds else { return false }
                sweptAt = now
                return true
            }
            guard isDue else { return }
            let expired = try task.store.deleteExpired(
                postedBefore: now - age, limit: Self.sweptPosts)
            // There may be more: at the next opportunity, as others wait for their turn.
            if expired.count == Self.sweptPosts { task.sweptAt.withLock { $0 = 0 } }
        } catch {
            reports.couldNot("forget posts without a label", error)
        }
    }

    // MARK: - Restoring

    private func task(_ number: Int32) -> Task? { state.withLock { $0.tasks[number] } }

    private func reopened(_ number: Int32) throws -> Task? {
        _ = try open(number)
        return task(number)
    }

    private func open(_ number: Int32) throws -> [EarlyView] {
        close(number)
        let start = clock.now.uptime
        var store = try openStore(number)
        let encodings = try EncodingStore(
            in: folder, task: number, maximumBytes: settings.encodingBytes)
        var task = Task(number, store, encodings)
        do {
            do {
                try readOn(task)
            } catch is StartedAnew {
                try store.discard()
                store = try openStore(number)
                task = Task(number, store, encodings)
                try readOn(task)
            }
            let early = try store.earlyViews().map { EarlyView($0.view, number: $0.number) }
            reports.restored(number, milliseconds: clock.now.uptime - start)
            // Where the task can be seen, its users can be looked up.
            users.add(store)
            state.withLock { $0.tasks[number] = task }
            warmUp(store)
            return early
        } catch {
            // What it has yet to write must not come after what the next try writes.
            closeFiles(of: task)
            throw error
        }
    }

    private func openStore(_ number: Int32) throws(StoreError) -> TaskStore {
        try TaskStore(
            in: folder, task: number, maximumFileBytes: settings.checkpointBytes,
            maximumAgeSeconds: settings.checkpointAgeSeconds, now: seconds)
    }

    /// Lookups read from the file what is not in memory yet.
    private func warmUp(_ store: TaskStore) {
        loading.submit { [users, reports] state in
            guard state == .active else { return }
            do throws(StoreError) {
                try users.load(store)
            } catch {
                reports.couldNot("read vectors into memory", error)
            }
        }
    }

    /// The changelog does not go back to where the checkpoint ends.
    private struct StartedAnew: Error {}

    /// Applies what the topics hold beyond the checkpoint.
    private func readOn(_ task: Task) throws {
        let reached = task.store.reached
        let isNew = reached == nil
        var starts: [TopicPartition: Int64?] = [
            TopicPartition(topic: settings.usersTopic, partition: task.number): reached?.users,
            TopicPartition(topic: settings.joinsTopic, partition: task.number): reached?.joins,
        ]
        if let topic = settings.encodingsTopic {
            starts[TopicPartition(topic: topic, partition: task.number)] = reached?.encodings
        }
        let reader = LogReader(configuration: consumer)
        let isWanted = state.withLock { state in
            state.readers[task.number] = reader
            return state.wanted[task.number] != nil && !state.isStopping
        }
        defer { state.withLock { $0.readers[task.number] = nil } }
        guard isWanted else { throw CancellationError() }

        var changes: [StateChange] = []
        func apply(_ reached: Reached?) throws(StoreError) {
            for case .encoding(let uid, let pid, let model, let bytes) in changes {
                try task.encodings.keep(uid: uid, pid: pid, model: model, bytes: bytes)
            }
            settle(changes, task)
            task.store.apply(changes, reached: reached)
            if self.task(task.number) != nil {
                users.show(changes, task: task.number)
            }
            if task.store.isBehind { try task.store.flush() }
            changes.removeAll(keepingCapacity: true)
        }
        let outcome = try reader.read(
            starts, stallTimeoutMilliseconds: settings.stallMilliseconds
        ) { event in
            switch event {
            case .startedAnew:
                if !isNew { throw StartedAnew() }
            case .record(let message):
                guard let key = message.key else { return }
                let change = try StateChange(key: key, value: message.value)
                try change.requireDimension(settings.dimension, of: settings.model)
                changes.append(change)
                if changes.count >= 1_000 { try apply(nil) }
            case .progress(let done, let total) where total > 0:
                reports.restoring(task.number, done: done, total: total)
            case .progress: break
            }
        }
        guard case .complete(let ends) = outcome else { throw CancellationError() }
        func end(_ topic: String) -> Int64? {
            ends[TopicPartition(topic: topic, partition: task.number)]
        }
        try apply(
            Reached(
                users: end(settings.usersTopic) ?? 0, joins: end(settings.joinsTopic) ?? 0,
                encodings: settings.encodingsTopic.flatMap { end($0) }, writtenAt: seconds))
    }

    /// Until the group's offsets are certain, a transaction of the last owner may still be on its way
    /// to its end, with records that are not in the changelogs yet.
    private func waitForCertainOffsets(of number: Int32) throws {
        let group = try Consumer(configuration: consumer) { _, _ in [:] }
        let inputs = settings.inputTopics.map { TopicPartition(topic: $0, partition: number) }
        _ = try group.committed(inputs, timeoutMilliseconds: 5_000)
    }

    private func close(_ number: Int32) {
        guard let task = state.withLock({ $0.tasks.removeValue(forKey: number) }) else { return }
        users.drop(task: number)
        closeFiles(of: task)
    }

    private func closeFiles(of task: Task) {
        do throws(StoreError) {
            try task.store.close()
        } catch {
            reports.couldNot("close the checkpoint of partition \(task.number)", error)
        }
        do throws(StoreError) {
            try task.encodings.close()
        } catch {
            reports.couldNot("close the encodings of partition \(task.number)", error)
        }
    }

    // MARK: - In turn

    private var seconds: Double { Double(clock.now.epoch) / 1_000 }

    private func queue(_ number: Int32) -> DispatchQueue {
        state.withLock { state in
            if let queue = state.queues[number] { return queue }
            let queue = DispatchQueue(label: "learning.\(number)")
            state.queues[number] = queue
            return queue
        }
    }

    /// After all that was asked about the task before.
    private func inTurn(_ number: Int32, _ work: @escaping @Sendable () -> Void) {
        asked.enter()
        queue(number).async { [asked] in
            work()
            asked.leave()
        }
    }

    /// The same where topics are read. What is asked about the task meanwhile waits.
    private func read(_ number: Int32, _ work: @escaping @Sendable () -> Void) {
        let queue = queue(number)
        inTurn(number) { [reading, asked] in
            asked.enter()
            queue.suspend()
            reading.async {
                work()
                queue.resume()
                asked.leave()
            }
        }
    }

    /// In turn, and before all that `store` is given from here on.
    private func ahead(
        _ number: Int32, _ turn: (Int32, @escaping @Sendable () -> Void) -> Void,
        _ work: @escaping @Sendable () -> Void
    ) {
        state.withLock { $0.ahead[number, default: 0] += 1 }
        turn(number) { [self] in
            work()
            state.withLock { state in
                let rest = (state.ahead[number] ?? 1) - 1
                state.ahead[number] = rest > 0 ? rest : nil
            }
        }
    }

    /// Tries until it is done, the task is elsewhere or trying does not help.
    private func persist<Value>(
        _ what: String, of number: Int32, _ body: () throws -> Value
    ) -> Value? {
        while state.withLock({ $0.wanted[number] != nil && !$0.isStopping && $0.failure == nil }) {
            do {
                return try body()
            } catch is CancellationError {
                // For another task's sake, or for good.
            } catch let error as KafkaError where error.action == .retry {
                reports.couldNot("\(what); trying again", error)
            } catch let error as StoreError where error.mayPass {
                reports.couldNot("\(what); trying again", error)
            } catch {
                state.withLock { $0.failure = error }
            }
            // Not at once: what is in the way takes its time.
            usleep(500_000)
        }
        return nil
    }

    func shutdown() async {
        let readers = state.withLock { state in
            state.isStopping = true
            return state.readers.values
        }
        for reader in readers { reader.cancel() }
        // What was committed is put in order; nothing else is begun.
        await withCheckedContinuation { done in
            asked.notify(queue: reading) { done.resume() }
        }
        try? await loading.shutdownGracefully()
        for number in state.withLock({ $0.tasks.keys.sorted() }) { close(number) }
    }
}

extension StoreError {
    /// Whether the same may succeed later.
    fileprivate var mayPass: Bool {
        switch self {
        case .full, .failed, .corrupt: true
        case .folder, .folderInUse, .otherGroup, .newerSchema, .tooLarge: false
        }
    }
}

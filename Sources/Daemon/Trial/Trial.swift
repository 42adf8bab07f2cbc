import Glibc
import Kafka
import Logging
import Model
import Pipeline
import ServiceLifecycle

/// The whole daemon in this process under a load that is known, for benchmarks: posts are published
/// to Kafka and their answers read from it, as any producer and any reader would.
package struct Trial: Sendable {
    package struct Options: Sendable {
        package var bundle: ModelBundle
        package var threads: Int
        package var posts: TrialPosts
        /// Brokers to use; nil: an embedded one.
        package var bootstrap: String?
        /// The embedded broker answers a fetch only when this time is up: its own share of a
        /// latency, and work for every answer. (Real ones answer as soon as there is something.)
        package var embeddedFetchWaitMilliseconds: Int
        /// Whether users' vectors learn from the views.
        package var isLearning: Bool

        package init(
            bundle: ModelBundle, threads: Int, posts: TrialPosts, bootstrap: String?,
            embeddedFetchWaitMilliseconds: Int, isLearning: Bool = false
        ) {
            self.bundle = bundle
            self.threads = threads
            self.posts = posts
            self.bootstrap = bootstrap
            self.embeddedFetchWaitMilliseconds = embeddedFetchWaitMilliseconds
            self.isLearning = isLearning
        }
    }

    package enum Failure: Error, CustomStringConvertible {
        case stalled(answered: Int, published: Int)
        case deadLetter(String)
        case threadNotStarted

        package var description: String {
            switch self {
            case .stalled(let answered, let published):
                "no answer for \(Trial.patienceMilliseconds / 1_000) s "
                    + "(\(answered) of \(published) posts): see the log above"
            case .deadLetter(let text): "a post could not be scored: \(text)"
            case .threadNotStarted: "a thread could not be started"
            }
        }
    }

    /// What became of one post.
    package struct Answer: Sendable {
        package var event: ScoreEvent
        /// When the post was due, when it was handed to the producer, when its answer was read: by
        /// a clock that never goes back.
        package var dueNanoseconds: UInt64
        package var publishedNanoseconds: UInt64
        package var readNanoseconds: UInt64

        package var scored: ScoreEvent.Scored? {
            if case .scored(let scored) = event.outcome { scored } else { nil }
        }
    }

    fileprivate static let patienceMilliseconds = 60_000
    private static let partitions = 4
    private static let topicTimeoutMilliseconds = 10_000

    private let options: Options
    private let topics: ServeConfiguration.Topics
    package let commitIntervalMilliseconds: Int

    package var isLearning: Bool { options.isLearning }

    package init(_ options: Options) {
        self.options = options
        // Several may follow each other in one process, on the same brokers.
        let name = "uhan-trial-\(getpid())-\(Clock().uptimeNanoseconds)"
        topics = ServeConfiguration.Topics(
            posts: "\(name)-posts", scores: "\(name)-scores", deadLetters: "\(name)-dead-letters",
            views: "\(name)-views", lessons: "\(name)-lessons", users: "\(name)-users",
            joins: "\(name)-joins")
        commitIntervalMilliseconds = ServeConfiguration.Batch().intervalMilliseconds
    }

    /// Runs `body`, which publishes posts and waits for their answers, on a thread of its own while
    /// the daemon serves.
    package func run<Result: Sendable>(
        _ body: @escaping @Sendable (Load) throws -> Result
    ) async throws -> Result {
        let embedded = try options.bootstrap == nil ? EmbeddedBroker() : nil
        let bootstrap = options.bootstrap ?? embedded?.bootstrapServers ?? ""
        try createTopics(embedded, bootstrap)
        let state = try temporaryDirectory(named: "uhan-trial-state")
        defer { removeDirectory(state) }
        let status = StatusBoard()
        let service = ScoreService(
            configuration: configuration(bootstrap, stateFolder: state),
            bundle: options.bundle, logger: Logger(label: "uhan"), status: status)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service)], logger: Logger(label: "uhan")))
        let (posts, topics) = (options.posts, topics)
        let properties = properties
        return try await withThrowingTaskGroup(of: Result?.self) { tasks in
            tasks.addTask {
                try await group.run()
                return nil
            }
            tasks.addTask {
                try await Self.onThread {
                    try body(
                        try Load(
                            bootstrap, topics: topics, posts: posts, properties, status: status))
                }
            }
            // Where the daemon ends first, its error is what is wrong.
            guard let result = try await tasks.next() ?? nil else {
                throw Failure.stalled(answered: 0, published: 0)
            }
            await group.triggerGracefulShutdown()
            _ = try await tasks.next()
            withExtendedLifetime(embedded) {}
            return result
        }
    }

    private static func onThread<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { waiting in
            let started = startThread {
                waiting.resume(with: Swift.Result { try body() })
            }
            if !started { waiting.resume(throwing: Failure.threadNotStarted) }
        }
    }

    private func createTopics(_ embedded: EmbeddedBroker?, _ bootstrap: String) throws {
        var names = [topics.posts, topics.scores, topics.deadLetters, topics.views]
        if options.isLearning { names += [topics.lessons, topics.users, topics.joins] }
        if let embedded {
            for name in names { try embedded.createTopic(name, partitions: Self.partitions) }
        } else {
            try Admin(configuration: ClientConfiguration(bootstrapServers: bootstrap)).createTopics(
                names.map { .init(name: $0, partitions: Self.partitions) },
                timeoutMilliseconds: Self.topicTimeoutMilliseconds)
        }
    }

    private func configuration(_ bootstrap: String, stateFolder: String) -> ServeConfiguration {
        var configuration = ServeConfiguration()
        configuration.threads = options.threads
        configuration.topics = topics
        configuration.kafka.bootstrap = bootstrap
        configuration.kafka.groupID = topics.posts
        configuration.kafka.groupInstanceID = topics.posts
        configuration.kafka.transactionalID = topics.posts
        configuration.kafka.properties.values = properties
        configuration.images.fetching.schemes = [.file]
        configuration.images.fetching.fileRoots = [options.posts.folder]
        configuration.learning.isEnabled = options.isLearning
        configuration.learning.stateFolder = stateFolder
        return configuration
    }

    private var properties: [String: String] {
        guard options.bootstrap == nil else { return [:] }
        return ["fetch.wait.max.ms": "\(options.embeddedFetchWaitMilliseconds)"]
    }
}

extension Trial {
    /// Publishes posts and reads their answers. Belongs to one thread.
    package final class Load {
        private let topics: ServeConfiguration.Topics
        private let posts: TrialPosts
        private let producer: Producer
        private let consumer: Consumer
        /// A post is viewed when so many after it are answered.
        private static let viewDistance = 8
        private let clock = Clock()
        private let status: StatusBoard
        /// Posts are taken from the front, each once.
        private var next = 0
        /// Posts that were answered.
        private var answered = 0
        /// Views published so far: each post is viewed once, in their order.
        package private(set) var views = 0

        fileprivate init(
            _ bootstrap: String, topics: ServeConfiguration.Topics, posts: TrialPosts,
            _ properties: [String: String], status: StatusBoard
        ) throws {
            self.topics = topics
            self.status = status
            self.posts = posts
            producer = try Producer(
                configuration: ClientConfiguration(
                    bootstrapServers: bootstrap, properties: ["linger.ms": "0"]))
            consumer = try Consumer(
                configuration: ClientConfiguration(
                    bootstrapServers: bootstrap,
                    properties: properties.merging(["group.id": "\(topics.scores)-reader"]) { $1 })
            ) { _, _ in [:] }
            try consumer.subscribe(topics: [topics.scores, topics.deadLetters])
        }

        /// As many posts as there are to be, as fast as they are answered.
        ///
        /// - Parameter maximumAhead: posts published and not answered.
        package func saturate(posts count: Int, maximumAhead: Int) throws -> [Answer] {
            try drive(
                due: [UInt64](repeating: clock.uptimeNanoseconds, count: count),
                maximumAhead: maximumAhead, deadlineMilliseconds: nil)
        }

        /// Posts at their times, whether those before are answered or not.
        ///
        /// - Parameters:
        ///   - arrivals: seconds from now, ascending.
        ///   - deadlineMilliseconds: from a post's time to its `score_by`; nil: it has none.
        ///   - views: seconds from now, ascending: when a post that was answered before is viewed.
        package func arrive(
            at arrivals: [Double], deadlineMilliseconds: Int?, views: [Double] = []
        ) throws -> [Answer] {
            let start = clock.uptimeNanoseconds
            return try drive(
                due: arrivals.map { start + UInt64($0 * 1e9) }, maximumAhead: .max,
                deadlineMilliseconds: deadlineMilliseconds,
                viewsDue: views.map { start + UInt64($0 * 1e9) })
        }

        /// All answered posts are viewed.
        package func viewAll() throws {
            while views < answered { try view() }
            try producer.flush(timeoutMilliseconds: Trial.patienceMilliseconds)
        }

        /// What learning has come to, once every view is judged and all that was due is learnt.
        package func learning() throws -> LearningStatus {
            let start = clock.uptimeNanoseconds
            while true {
                let learning = status.status.learning
                if learning.judged == views {
                    // The status is shown once a second: what updates took, too.
                    sleep(2)
                    return status.status.learning
                }
                guard (clock.uptimeNanoseconds - start) / 1_000_000 < Trial.patienceMilliseconds
                else { throw Failure.stalled(answered: learning.judged, published: views) }
                usleep(10_000)
            }
        }

        /// Views the next post.
        private func view() throws {
            let view = ViewEvent(
                pid: "\(views)", uid: posts.user(of: views), views: Int64(1 + 37 * views % 1_000),
                observedAt: Double(clock.now.epoch) / 1e3)
            try producer.produce(
                ProducerRecord(topic: topics.views, key: Array(view.uid.utf8), value: view.json))
            views += 1
        }

        private func drive(
            due: [UInt64], maximumAhead: Int, deadlineMilliseconds: Int?, viewsDue: [UInt64] = []
        ) throws -> [Answer] {
            var viewsDue = viewsDue[...]
            precondition(next + due.count <= posts.count)
            let first = next
            next += due.count
            var published: [UInt64] = []
            var read: [(value: [UInt8], nanoseconds: UInt64)] = []
            var lastHeard = clock.uptimeNanoseconds
            while read.count < due.count {
                var wait = 50
                while published.count < due.count, published.count - read.count < maximumAhead {
                    let now = clock.uptimeNanoseconds
                    let time = due[published.count]
                    guard time <= now else {
                        wait = min(wait, Int((time - now) / 1_000_000))
                        break
                    }
                    let scoreBy = deadlineMilliseconds.map { deadline in
                        // The wall clock's time of `due`, and the deadline from there.
                        Double(clock.now.epoch) / 1e3 - Double(now - time) / 1e9
                            + Double(deadline) / 1e3
                    }
                    let record = try posts.record(first + published.count, scoreBy: scoreBy)
                    try producer.produce(
                        ProducerRecord(topic: topics.posts, key: record.key, value: record.value))
                    published.append(now)
                    lastHeard = now
                }
                while let time = viewsDue.first {
                    let now = clock.uptimeNanoseconds
                    guard time <= now else {
                        wait = min(wait, Int((time - now) / 1_000_000))
                        break
                    }
                    // Answers of different partitions overtake each other, but not by that much.
                    if views < answered - Self.viewDistance { try view() }
                    viewsDue.removeFirst()
                }
                producer.poll()
                guard let message = try consumer.poll(timeoutMilliseconds: wait) else {
                    let silent = (clock.uptimeNanoseconds - lastHeard) / 1_000_000
                    guard silent < Trial.patienceMilliseconds else {
                        throw Failure.stalled(answered: read.count, published: published.count)
                    }
                    continue
                }
                lastHeard = clock.uptimeNanoseconds
                guard message.topicPartition.topic == topics.scores else {
                    let error = message.headers.first {
                        $0.name == DeadLetter.HeaderName.error
                    }?.value
                    throw Failure.deadLetter(String(decoding: error ?? [], as: UTF8.self))
                }
                read.append((message.value ?? [], lastHeard))
                answered += 1
            }
            // Parsed when nothing is under way any more.
            return try read.map { answer in
                let event = try ScoreEvent(parsing: answer.value)
                let index = (Int(event.pid) ?? first) - first
                return Answer(
                    event: event, dueNanoseconds: due[index],
                    publishedNanoseconds: published[index], readNanoseconds: answer.nanoseconds)
            }
        }
    }
}

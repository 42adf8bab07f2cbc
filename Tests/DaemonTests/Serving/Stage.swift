import Daemon
import Foundation
import Kafka
import Logging
import Model
import Pipeline
import ServiceLifecycle
import Testing

/// Longer than anything here takes on a slow machine; what reaches it fails.
let patience: TimeInterval = 60

/// A broker, the whole daemon against it, and a peer that writes posts and reads answers.
struct Stage: Sendable {
    static let topics = ServeConfiguration(hostName: "test", coreCount: 1).topics

    let broker: EmbeddedBroker
    let bundle: ModelBundle
    let folder: Folder
    let metrics = MetricsRegistry()
    let status: StatusBoard
    /// What the daemon says.
    let log = LogLines()
    var configuration: ServeConfiguration

    init(partitions: Int = 2) throws {
        status = StatusBoard(metrics: metrics)
        broker = try EmbeddedBroker()
        for topic in [Self.topics.posts, Self.topics.scores] {
            try broker.createTopic(topic, partitions: partitions)
        }
        try broker.createTopic(Self.topics.deadLetters, partitions: 1)
        bundle = try TinyModel.shared.get()
        folder = try Folder()
        configuration = ServeConfiguration(hostName: "test", coreCount: 1)
        configuration.kafka.bootstrap = broker.bootstrapServers
        configuration.kafka.transactionalID = "test"
        configuration.kafka.properties.values = Self.quick
        configuration.batch.intervalMilliseconds = 50
        configuration.images.fetching.schemes = [.http, .file]
        configuration.images.fetching.fileRoots = [folder.path]
    }

    /// The embedded broker answers a fetch only when its time is up; the rest makes clients notice
    /// soon that a broker is back.
    static let quick = [
        "fetch.wait.max.ms": "20", "reconnect.backoff.ms": "20", "reconnect.backoff.max.ms": "200",
        "topic.metadata.refresh.interval.ms": "500", "session.timeout.ms": "6000",
        "heartbeat.interval.ms": "300",
    ]

    func peer() async throws -> Peer {
        try await Peer(bootstrap: broker.bootstrapServers)
    }

    /// Runs the daemon while `body` runs, then stops it as SIGTERM would.
    func whileServing<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let service = ScoreService(
            configuration: configuration, bundle: bundle, logger: log.logger, status: status)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service)],
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })))
        return try await withThrowingTaskGroup(of: Result?.self) { tasks in
            tasks.addTask {
                try await group.run()
                return nil
            }
            tasks.addTask { try await body() }
            // Where the daemon fails first, its error is what is wrong.
            guard let result = try await tasks.next() ?? nil else { throw StoppedByItself() }
            await group.triggerGracefulShutdown()
            _ = try await tasks.next()
            return result
        }
    }

    struct StoppedByItself: Error {}

    /// What the one scorer gives for the same post, directly.
    func expectation(for post: Post) throws -> PostScorer.Result {
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: 1), nanoseconds: { 0 })
        let event = try PostEvent(parsing: post.json, from: .topic)
        let image = try post.picture.map { try scorer.imageReader().image(of: $0) }
        return scorer.score(event, image: image)
    }
}

/// A model so small that a score takes milliseconds.
enum TinyModel {
    static let knownUsers = ["anna", "ben", "carla"]

    static let shared = Result {
        var bundle = SeededBundle(seed: 1)
        bundle.name = "tiny"
        bundle.dimension = 16
        bundle.dense = [16, 16]
        bundle.side = 64
        bundle.blocks = [[4], [8], [8], [8], [8]]
        bundle.users = knownUsers
        let folder = try Folder()
        _ = try bundle.write(
            to: folder.file("model"), workers: Workers(count: 1), progress: { _ in })
        // Mapped: the files may go with the folder.
        return try ModelBundle(folder: folder.file("model"))
    }
}

/// A folder of a test's own, gone when the test is.
final class Folder: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("uhan-tests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    }

    func url(_ name: String) -> String { "file://\(file(name))" }
}

/// Waits until `condition` holds; fails the test if it never does.
func eventually(
    _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let start = Date.now
    while try await !condition() {
        try #require(
            Date.now.timeIntervalSince(start) < patience, what, sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(10))
    }
}

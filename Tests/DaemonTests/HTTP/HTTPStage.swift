import Daemon
import Logging
import ServiceLifecycle
import Testing

/// An HTTP server on a port of its own, alone or beside a whole daemon.
struct HTTPStage: Sendable {
    static let token = "0123456789abcdef-._~+/="

    let metrics: MetricsRegistry
    let status: StatusBoard
    let log = LogLines()
    var settings: ServeConfiguration.HTTP
    /// The daemon, if there is one.
    var score: ScoreService?

    /// Alone: never ready, as there is no daemon.
    init() {
        metrics = MetricsRegistry()
        status = StatusBoard(metrics: metrics)
        settings = ServeConfiguration(hostName: "test", coreCount: 1).http
    }

    init(beside stage: Stage) {
        metrics = stage.metrics
        status = stage.status
        settings = stage.configuration.http
        score = ScoreService(
            configuration: stage.configuration, bundle: stage.bundle, logger: stage.log.logger,
            status: stage.status)
    }

    func service(
        port: Int = 0, onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws -> HTTPService {
        try HTTPService(
            settings, port: port, readiness: status.readiness, metrics: metrics,
            logger: log.logger, onListening: onListening)
    }

    /// Runs the services as `uhan serve` does while `body` runs, then stops them as SIGTERM would.
    func whileAnswering(
        _ body:
            @escaping @Sendable (HTTPClient, _ stop: @escaping @Sendable () async -> Void)
            async throws -> Void
    ) async throws {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let http = try service { listening.yield($0) }
        let services: [any Service] = [http] + (score.map { [$0] } ?? [])
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services,
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                defer { listening.finish() }
                try await group.run()
            }
            for await port in ports {
                try await body(HTTPClient(port: port)) { await group.triggerGracefulShutdown() }
                await group.triggerGracefulShutdown()
            }
            try await tasks.waitForAll()
        }
    }
}

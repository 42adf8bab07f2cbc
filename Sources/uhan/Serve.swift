import ArgumentParser
import Daemon
import Logging
import Metrics
import Model
import ServiceLifecycle

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Score posts from Kafka, until told to stop.",
        discussion: """
            Reads post events from one topic, publishes scores to a second and what cannot be \
            scored to a third; each record is answered exactly once. Stops on SIGTERM or Ctrl-C \
            within 10 seconds. Logs go to stderr.

            With learning.enabled it reads observed view counts from a topic of their own as well, \
            and fine-tunes its users' vectors with them. SIGUSR1 freezes that at once, SIGUSR2 lets \
            it go on. What was learnt is kept on compacted topics.

            With http.port it answers HTTP: /livez, /readyz (whether posts are being scored, and \
            else what that waits for) and /metrics (for Prometheus).

            Every setting can stand in the YAML file, in the environment (kafka.group_id is \
            UHAN_KAFKA_GROUP_ID) or in a flag (--kafka-group-id=x); a flag wins over the \
            environment, that over the file.

              uhan config show --defaults > uhan.yaml     (settings and defaults)
              uhan config check --config uhan.yaml
              uhan serve --config uhan.yaml
              uhan serve --model model --kafka-bootstrap localhost:9092
            """)

    @Option(help: "A YAML file of settings.")
    var config: String?

    @Argument(
        parsing: .allUnrecognized, help: "Settings as flags: --name=value or --name value.")
    var settings: [String] = []

    func run() async throws {
        let configuration = try ServeConfiguration.load(
            file: config, environment: ProcessInfo.processInfo.environment, arguments: settings)
        bootstrapLogging(configuration.log)
        let logger = Logger(label: "uhan")
        logger.debug("settings in force", metadata: ["settings": "\(configuration.yaml)"])

        let bundle = try openModel(configuration.model)
        if bundle.isUntrained {
            logger.warning(
                "untrained weights: scores mean nothing", metadata: ["model": "\(bundle.version)"])
        }
        let metrics = MetricsRegistry()
        MetricsSystem.bootstrap(metrics)
        let status = StatusBoard()
        var services: [any Service] = [
            ScoreService(
                configuration: configuration, bundle: bundle, logger: logger, status: status)
        ]
        if let port = configuration.http.port {
            // The first to start is the last to stop: it tells that the other is stopping.
            services.insert(
                try HTTPService(
                    configuration.http, port: port, readiness: status.readiness, metrics: metrics,
                    logger: logger), at: 0)
        }
        let group = ServiceGroupConfiguration(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await ServiceGroup(configuration: group).run()
    }
}

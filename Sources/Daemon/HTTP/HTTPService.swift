import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import Synchronization

/// The daemon's HTTP server: probes and metrics. It runs beside the score service and outlives it, so
/// that a probe is told that the daemon is stopping for as long as that takes.
package struct HTTPService: Service, CustomStringConvertible {
    package enum Failure: Error, CustomStringConvertible {
        /// The key of the setting, and what is wrong with what it names.
        case setting(String, String)
        case notListening(address: String, String)

        package var description: String {
            switch self {
            case .setting(let key, let text): "\(key): \(text)"
            case .notListening(let address, let text):
                "cannot listen on \(address): \(text); set http.host and http.port to an address "
                    + "that is free here"
            }
        }
    }

    package var description: String { "HTTP service" }

    private static let maximumHeadBytes = 16 << 10
    private static let maximumHeaderFields = 100
    private static let maximumFileBytes = 64 << 10

    private let settings: ServeConfiguration.HTTP
    private let port: Int
    private let responder: HTTPRoutes
    private let server: HTTPServerBuilder
    private let logger: Logger
    private let onListening: @Sendable (Int) -> Void

    /// Reads what the settings name: the token's file, certificate and key.
    ///
    /// - Parameters:
    ///   - port: 0: any free one.
    ///   - onListening: told the port once connections are accepted.
    package init(
        _ settings: ServeConfiguration.HTTP, port: Int, readiness: Readiness,
        metrics: MetricsRegistry, logger: Logger,
        onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws(Failure) {
        self.settings = settings
        self.port = port
        self.logger = logger
        self.onListening = onListening
        responder = HTTPRoutes(
            Self.routes(readiness, metrics), token: try Self.token(settings),
            maximumBodyBytes: settings.maximumBodyBytes, metrics: metrics)
        server = try Self.server(settings)
    }

    /// Returns after a graceful shutdown: what is under way then has half a second.
    package func run() async throws {
        let isListening = Atomic(false)
        let address = "\(settings.host):\(port)"
        // The server's own lines are not the daemon's: only what goes wrong.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            responder: responder, server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(settings.host, port: port),
                availableConnectionsDelegate: .maximum(
                    settings.maximumConnections, logger: quiet)),
            onServerRunning: { channel in
                isListening.store(true, ordering: .relaxed)
                let port = channel.localAddress?.port ?? port
                logger.info(
                    "answering HTTP",
                    metadata: [
                        "host": "\(settings.host)", "port": .stringConvertible(port),
                        "tls": .stringConvertible(settings.hasTLS),
                    ])
                if !settings.isLoopback, !settings.hasTLS {
                    logger.warning(
                        "HTTP without TLS: whoever is on the network's path can read the token")
                }
                onListening(port)
            }, logger: quiet)
        do {
            try await application.run()
        } catch {
            guard isListening.load(ordering: .relaxed) || error is CancellationError else {
                throw Failure.notListening(address: address, "\(error)")
            }
            throw error
        }
    }

    private static func routes(
        _ readiness: Readiness, _ metrics: MetricsRegistry
    ) -> [HTTPRoute] {
        [
            HTTPRoute(method: .get, path: "/livez", isOpen: true) { _ in
                .json(.ok, #""status":"alive""#)
            },
            HTTPRoute(method: .get, path: "/readyz", isOpen: true) { _ in
                let waits = readiness.waits
                guard !waits.isEmpty else { return .json(.ok, #""status":"ready""#) }
                let list = waits.map { jsonString($0) }.joined(separator: ",")
                return .json(
                    .serviceUnavailable, #""status":"not_ready","waiting_for":[\#(list)]"#)
            },
            HTTPRoute(method: .get, path: "/metrics") { _ in
                .text(.ok, PrometheusText.contentType, metrics.prometheusText())
            },
        ]
    }

    private static func server(
        _ settings: ServeConfiguration.HTTP
    ) throws(Failure) -> HTTPServerBuilder {
        let timeout = TimeAmount.milliseconds(Int64(settings.requestTimeoutMilliseconds))
        let plain = HTTPServerBuilder.http1(
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [RequestDeadline(timeout: timeout)],
                idleTimeout: .milliseconds(Int64(settings.idleTimeoutMilliseconds)),
                httpDecoderConfiguration: HTTP1Channel.Configuration.DecoderConfiguration(
                    maxHeaderFieldSize: maximumHeadBytes, maxHeaderListSize: maximumHeadBytes,
                    maxHeaderFieldCount: maximumHeaderFields)))
        guard settings.hasTLS else { return plain }
        let certificates: [NIOSSLCertificate]
        let key: NIOSSLPrivateKey
        do {
            certificates = try NIOSSLCertificate.fromPEMFile(settings.tlsCertificate)
            guard !certificates.isEmpty else {
                throw Failure.setting("http.tls_certificate", "the file has no certificate")
            }
        } catch {
            throw .setting(
                "http.tls_certificate", "\(settings.tlsCertificate) is no PEM file: \(error)")
        }
        do {
            key = try NIOSSLPrivateKey(file: settings.tlsKey, format: .pem)
        } catch {
            throw .setting("http.tls_key", "\(settings.tlsKey) is no PEM file: \(error)")
        }
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        tls.minimumTLSVersion = .tlsv12
        do {
            // Whether the two belong together is known here, not at the first connection.
            _ = try NIOSSLContext(configuration: tls)
            return try .tls(plain, tlsConfiguration: tls)
        } catch {
            throw .setting("http.tls_key", "does not go with http.tls_certificate: \(error)")
        }
    }

    private static func token(_ settings: ServeConfiguration.HTTP) throws(Failure) -> BearerToken? {
        var (key, text) = ("http.token", settings.token.text)
        if !settings.tokenFile.isEmpty {
            (key, text) = ("http.token_file", try contents(of: settings.tokenFile))
            while let last = text.last, last.isWhitespace { text.removeLast() }
        } else if text.isEmpty {
            return nil
        }
        guard let token = BearerToken(text) else {
            throw .setting(key, "a token is \(BearerToken.accepts)")
        }
        return token
    }

    private static func contents(of file: String) throws(Failure) -> String {
        guard let stream = fopen(file, "re") else {
            throw .setting(
                "http.token_file", "\(file) cannot be opened: \(String(cString: strerror(errno)))")
        }
        defer { fclose(stream) }
        var bytes = [UInt8](repeating: 0, count: maximumFileBytes)
        let count = fread(&bytes, 1, maximumFileBytes, stream)
        guard ferror(stream) == 0 else {
            throw .setting(
                "http.token_file", "\(file) cannot be read: \(String(cString: strerror(errno)))")
        }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

import AsyncHTTPClient
import NIOCore
import NIOPosix
import NIOSSL

/// HTTP clients that are each tied to one checked address of one host, so that connections can be
/// reused and none can lead anywhere else.
///
/// The tie is AsyncHTTPClient's `dnsOverride`: the connection goes to the address, while Host
/// field, TLS server name and certificate check keep the name. Clients unused for a minute are
/// dropped; beyond the capacity the one unused for longest is.
actor ClientCache {
    private struct Key: Hashable {
        let host: String
        let address: IPAddress
    }
    private struct Entry {
        let client: HTTPClient
        var leases: Int
        var lastUsed: NIODeadline
    }

    private static let idleTime = TimeAmount.seconds(60)

    private let configuration: HTTPClient.Configuration
    private let eventLoopGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let capacity: Int
    private var entries: [Key: Entry] = [:]
    private var isShutDown = false

    init(policy: FetchPolicy, trustRoots: NIOSSLTrustRoots) {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = trustRoots
        tls.minimumTLSVersion = .tlsv12

        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls,
            redirectConfiguration: .disallow,
            timeout: .init(connect: .milliseconds(Int64(policy.connectTimeoutMilliseconds))),
            decompression: .disabled)
        configuration.httpVersion = .http1Only
        configuration.connectionPool.idleTimeout = .seconds(15)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit =
            policy.maximumConcurrentFetches
        configuration.connectionPool.retryConnectionEstablishment = false
        self.configuration = configuration
        // A fetch holds one lease at a time, so there is always one to drop.
        capacity = max(32, 2 * policy.maximumConcurrentFetches)
    }

    /// Lends a client whose every connection to `host` goes to `address`, for the time of `body`.
    func withClient<Value: Sendable>(
        host: String, address: IPAddress,
        _ body: @Sendable (HTTPClient) async throws -> Value
    ) async throws -> Value {
        guard !isShutDown else { throw CancellationError() }
        let key = Key(host: host, address: address)
        let client = entries[key]?.client ?? makeClient(key)
        entries[key, default: Entry(client: client, leases: 0, lastUsed: .now())].leases += 1
        defer {
            entries[key]?.leases -= 1
            entries[key]?.lastUsed = .now()
        }
        await dropUnused()
        return try await body(client)
    }

    func shutdown() async {
        isShutDown = true
        let clients = entries.values.map(\.client)
        entries = [:]
        for client in clients { try? await client.shutdown() }
        try? await eventLoopGroup.shutdownGracefully()
    }

    private func makeClient(_ key: Key) -> HTTPClient {
        var configuration = configuration
        configuration.dnsOverride = [key.host: key.address.description]
        return HTTPClient(
            eventLoopGroupProvider: .shared(eventLoopGroup), configuration: configuration)
    }

    private func dropUnused() async {
        let unused = entries.filter { $0.value.leases == 0 }.sorted {
            $0.value.lastUsed < $1.value.lastUsed
        }
        let excess = entries.count - capacity
        var dropped: [HTTPClient] = []
        for (index, (key, entry)) in unused.enumerated()
        where index < excess || NIODeadline.now() - entry.lastUsed > Self.idleTime {
            entries[key] = nil
            dropped.append(entry.client)
        }
        for client in dropped { try? await client.shutdown() }
    }
}

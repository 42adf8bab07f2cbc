import AsyncHTTPClient
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Fetches images by URL within a policy: http and https with every address checked before it is
/// connected to, and files below allowed folders.
///
/// - Each hop (the URL of the event, then every redirect) is checked anew: scheme, host, port, and
///   every address its name resolves to. The connection goes to an address that passed, not to the
///   name, so a name that resolves differently a moment later gains nothing. A redirect from https
///   to http or to a file is refused.
/// - Nothing is decompressed; the body is counted while it comes, whatever its length was said to
///   be.
/// - No retries (beyond a host's second and third address): `FetchError.isTransient` says whether
///   another try makes sense.
package final class ImageFetcher: Sendable {
    private let policy: FetchPolicy
    private let resolver: HostResolver
    private let clients: ClientCache
    private let files: AllowedFiles
    private let slots: FetchSlots
    /// A thread for each fetch: a look-up that hangs, as of a dead domain, holds one for long.
    private let resolving: BlockingCalls
    private let reading = BlockingCalls(threadCount: 2)

    /// A host with many addresses is tried at no more than these.
    private static let maximumAddressesTried = 3

    /// `trustRoots` are the certificate authorities that https hosts must be vouched for by.
    package init(
        policy: FetchPolicy,
        resolver: @escaping HostResolver = resolveWithSystem,
        trustRoots: NIOSSLTrustRoots = .default
    ) {
        self.policy = policy
        self.resolver = resolver
        clients = ClientCache(policy: policy, trustRoots: trustRoots)
        files = AllowedFiles(roots: policy.fileRoots, maximumBytes: policy.maximumBytes)
        slots = FetchSlots(count: policy.maximumConcurrentFetches)
        resolving = BlockingCalls(threadCount: policy.maximumConcurrentFetches)
    }

    /// The bytes behind `url`, at most `policy.maximumBytes`.
    ///
    /// - Parameters:
    ///   - expectedSHA256: 64 hexadecimal digits that the bytes must hash to, if known.
    ///   - timeoutMilliseconds: What the caller has left, if that is bounded; unlike
    ///     `policy.totalTimeoutMilliseconds` it covers the wait for a free slot as well.
    package func fetch(
        _ url: String, expectedSHA256: String? = nil, timeoutMilliseconds: Int? = nil
    ) async throws(FetchError) -> [UInt8] {
        let url = try ImageURL(url)
        let expected = try expectedSHA256.map(Self.checksum(_:))

        let attempt = { @Sendable () async throws -> [UInt8] in
            try await self.slots.acquire()
            defer { self.slots.release() }
            return try await self.within(
                milliseconds: self.policy.totalTimeoutMilliseconds,
                orFail:
                    "\(Self.shown(url)) did not come in time (images.total_timeout_milliseconds)"
            ) { try await self.bytes(of: url) }
        }
        let bytes: [UInt8]
        do {
            if let timeoutMilliseconds {
                bytes = try await within(
                    milliseconds: timeoutMilliseconds,
                    orFail: "\(Self.shown(url)) did not come within the post's time", attempt)
            } else {
                bytes = try await attempt()
            }
        } catch let error as FetchError {
            throw error
        } catch {
            throw .unavailable("the fetch was cancelled: the fetcher is shutting down")
        }

        if let expected {
            let found = sha256Hex(bytes)
            guard found == expected else {
                throw FetchError(
                    .checksumMismatch,
                    "\(Self.shown(url)) has SHA-256 \(found) (\(bytes.count) bytes), "
                        + "the event says \(expected)"
                )
            }
        }
        return bytes
    }

    /// Ends all connections and threads; required before the fetcher is let go. Fetches still in
    /// flight end with a transient error. Does not wait for a name look-up that hangs.
    package func shutdown() async {
        await clients.shutdown()
        resolving.shutdown()
        reading.shutdown()
    }

    // MARK: One fetch, hop by hop

    private func bytes(of url: ImageURL) async throws -> [UInt8] {
        switch url {
        case .file(let path):
            guard policy.schemes.contains(.file) else {
                throw FetchError.refused("scheme file is not allowed (images.schemes)")
            }
            return try await reading.run { [files] in try files.read(path) }
        case .web(var url):
            for _ in 0...policy.maximumRedirects {
                switch try await answer(to: url) {
                case .image(let bytes): return bytes
                case .redirect(let next): url = next
                }
            }
            throw FetchError.refused(
                "more than \(policy.maximumRedirects) redirects (images.maximum_redirects), "
                    + "the last to \(url)"
            )
        }
    }

    private enum Answer {
        case image([UInt8])
        case redirect(WebURL)
    }

    private func answer(to url: WebURL) async throws -> Answer {
        try policy.check(url)
        // The client falls back to resolving by itself if it reads another host out of the URL.
        guard let read = URL(string: url.string),
            read.host() == url.host || read.host() == "[\(url.host)]"
        else {
            throw FetchError.refused("\(url) is ambiguous: its host can be read in two ways")
        }
        var failure = FetchError.unavailable("\(url): no address answered")
        for address in try await permittedAddresses(of: url).prefix(Self.maximumAddressesTried) {
            do {
                return try await clients.withClient(host: url.host, address: address) { client in
                    try await self.answer(to: url, from: client)
                }
            } catch let error as FetchError {
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                failure = try Self.failure(error, url, address)
            }
        }
        throw failure
    }

    /// The addresses of the URL's host that the policy lets us connect to, in order of preference.
    private func permittedAddresses(of url: WebURL) async throws -> [IPAddress] {
        let addresses: [IPAddress]
        if let literal = IPAddress(url.host) {
            addresses = [literal]
        } else {
            addresses = try await within(
                milliseconds: policy.connectTimeoutMilliseconds,
                orFail:
                    "host \(url.host) was not resolved in time "
                    + "(images.connect_timeout_milliseconds)"
            ) { [resolving, resolver] in
                try await resolving.run { try resolver(url.host) }
            }
        }
        guard let first = addresses.first else {
            throw FetchError.refused("host \(url.host) has no address")
        }
        let permitted = addresses.filter { policy.objection(to: $0) == nil }
        guard permitted.isEmpty, let objection = policy.objection(to: first) else {
            return permitted
        }
        throw FetchError.refused(
            "\(url): address \(first) is \(objection); "
                + "requests to it are not allowed (images.allow_private)"
        )
    }

    private func answer(to url: WebURL, from client: HTTPClient) async throws -> Answer {
        var request = HTTPClientRequest(url: url.string)
        request.headers = [
            "Accept": "image/jpeg, image/*;q=0.5",
            "Accept-Encoding": "identity",
            "User-Agent": "uhan",
        ]
        // The time of the whole fetch is bounded further out, by cancelling it.
        let response = try await client.execute(request, deadline: .distantFuture)

        switch response.status.code {
        case 200:
            return .image(try await body(of: response, url))
        case 301, 302, 303, 307, 308:
            guard let location = response.headers.first(name: "location") else {
                throw FetchError.refused(
                    "\(url) answers \(response.status) but does not say where to")
            }
            return .redirect(try redirect(from: url, to: location))
        case 408, 425, 429, 500...:
            throw FetchError(
                .unavailable, "\(url) answers \(response.status)",
                retryAfterMilliseconds: Self.retryAfterMilliseconds(response.headers))
        default:
            throw FetchError.refused("\(url) answers \(response.status)")
        }
    }

    private func redirect(from url: WebURL, to location: String) throws(FetchError) -> WebURL {
        guard case .web(let next) = try url.resolving(location: location) else {
            throw .refused("\(url) redirects to a file")
        }
        guard !(url.scheme == .https && next.scheme == .http) else {
            throw .refused("\(url) redirects from https to \(next)")
        }
        return next
    }

    private func body(of response: HTTPClientResponse, _ url: WebURL) async throws -> [UInt8] {
        if let encoding = response.headers.first(name: "content-encoding"),
            encoding.lowercased() != "identity"
        {
            throw FetchError.refused("\(url) is sent compressed although we accept only identity")
        }
        let tooLarge = "allowed are \(policy.maximumBytes) (images.maximum_bytes)"
        if let declared = response.headers.first(name: "content-length").flatMap(Int.init),
            declared > policy.maximumBytes
        {
            throw FetchError.refused("\(url) has \(declared) bytes, \(tooLarge)")
        }
        var bytes: [UInt8] = []
        for try await chunk in response.body {
            guard chunk.readableBytes <= policy.maximumBytes - bytes.count else {
                throw FetchError.refused("\(url) sends more bytes, \(tooLarge)")
            }
            bytes.append(contentsOf: chunk.readableBytesView)
        }
        return bytes
    }

    /// What a failed connection or exchange means. Cancellation is passed on as such.
    private static func failure(_ error: any Error, _ url: WebURL, _ address: IPAddress) throws
        -> FetchError
    {
        if let error = error as? HTTPClientError {
            if error == .cancelled || error == .alreadyShutdown { throw CancellationError() }
            return .unavailable("\(url) (at \(address)): \(error.shortDescription)")
        }
        if (error as? NIOSSLExtraError) == .failedToValidateHostname {
            return .refused("\(url) (at \(address)): the certificate is for another host name")
        }
        if case .handshakeFailed(let reason) = error as? NIOSSLError,
            "\(reason)".contains("CERTIFICATE_VERIFY_FAILED")
        {
            return .refused("\(url) (at \(address)): the certificate is not trusted")
        }
        return .unavailable("\(url) (at \(address)): \(error)")
    }

    /// Retry-After in seconds; its other form, a date, is rare for images and ignored.
    private static func retryAfterMilliseconds(_ headers: HTTPHeaders) -> Int? {
        guard let seconds = headers.first(name: "retry-after").flatMap(Int.init), seconds >= 0
        else {
            return nil
        }
        return min(seconds, 3600) * 1000
    }

    // MARK: Time

    /// Runs `body`, which must heed cancellation, for at most the time given.
    private func within<Value: Sendable>(
        milliseconds: Int, orFail message: String,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value.self) { group in
            defer { group.cancelAll() }
            group.addTask(operation: body)
            group.addTask {
                try await Task.sleep(for: .milliseconds(milliseconds))
                throw FetchError.unavailable("\(message): \(milliseconds) ms")
            }
            guard let value = try await group.next() else { throw CancellationError() }
            return value
        }
    }

    // MARK: Texts

    private static func shown(_ url: ImageURL) -> String {
        switch url {
        case .web(let url): url.description
        case .file(let path): "file \(path)"
        }
    }

    private static func checksum(_ text: String) throws(FetchError) -> String {
        guard text.utf8.count == 64,
            text.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit })
        else {
            throw .refused("the SHA-256 of the event is not 64 hexadecimal digits")
        }
        return text.lowercased()
    }
}

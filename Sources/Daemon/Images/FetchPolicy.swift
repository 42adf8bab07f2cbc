/// Where images may be fetched from, and how much that may cost.
package struct FetchPolicy: Hashable, Sendable {
    package enum Scheme: String, Sendable, CaseIterable {
        case https, http, file

        /// nil for `file`.
        package var defaultPort: Int? {
            switch self {
            case .https: 443
            case .http: 80
            case .file: nil
            }
        }
    }

    package var schemes: [Scheme]
    /// Allowed host names. Empty: every host with a public address.
    package var hosts: [HostPattern]
    /// Allowed TCP ports.
    package var ports: [Int]
    /// Special-purpose addresses (loopback, private, ...) that may be connected to all the same.
    package var allowedPrivateRanges: [AddressRange]
    /// Folders below which `file:` URLs may point, symbolic links resolved.
    package var fileRoots: [String]
    package var maximumBytes: Int
    /// One TCP connection with its TLS handshake; also one look-up of a name.
    package var connectTimeoutMilliseconds: Int
    /// From the first look-up to the last byte, redirects included; waiting for a free slot is not.
    package var totalTimeoutMilliseconds: Int
    package var maximumRedirects: Int
    package var maximumConcurrentFetches: Int

    package init(
        schemes: [Scheme] = [.https, .http],
        hosts: [HostPattern] = [],
        ports: [Int] = [443, 80],
        allowedPrivateRanges: [AddressRange] = [],
        fileRoots: [String] = [],
        maximumBytes: Int = 16 << 20,
        connectTimeoutMilliseconds: Int = 3_000,
        totalTimeoutMilliseconds: Int = 10_000,
        maximumRedirects: Int = 3,
        maximumConcurrentFetches: Int = 8
    ) {
        self.schemes = schemes
        self.hosts = hosts
        self.ports = ports
        self.allowedPrivateRanges = allowedPrivateRanges
        self.fileRoots = fileRoots
        self.maximumBytes = maximumBytes
        self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
        self.totalTimeoutMilliseconds = totalTimeoutMilliseconds
        self.maximumRedirects = maximumRedirects
        self.maximumConcurrentFetches = maximumConcurrentFetches
    }

    func check(_ url: WebURL) throws(FetchError) {
        guard schemes.contains(url.scheme) else {
            throw .refused(
                "\(url): scheme \(url.scheme.rawValue) is not allowed "
                    + "(images.schemes: \(list(schemes.map(\.rawValue))))"
            )
        }
        guard hosts.isEmpty || hosts.contains(where: { $0.matches(url.host) }) else {
            throw .refused("\(url): host \(url.host) is not allowed (images.hosts: \(list(hosts)))")
        }
        guard ports.contains(url.port) else {
            throw .refused("\(url): port \(url.port) is not allowed (images.ports: \(list(ports)))")
        }
    }

    /// nil if `address` may be connected to, else what kind of address it is.
    func objection(to address: IPAddress) -> String? {
        guard let purpose = address.specialPurpose,
            !allowedPrivateRanges.contains(where: { $0.contains(address) })
        else { return nil }
        return purpose
    }

    private func list(_ values: [some CustomStringConvertible]) -> String {
        values.map(\.description).joined(separator: ", ")
    }
}

/// `photos.example.com` (that name alone) or `*.example.com` (every name below it, but not
/// `example.com` itself); letter case and a trailing dot do not matter.
package struct HostPattern: Hashable, Sendable, CustomStringConvertible {
    private let host: String
    private let coversSubdomains: Bool

    /// nil if `text` is neither a host name, an address, nor `*.` and a host name.
    package init?(_ text: String) {
        coversSubdomains = text.hasPrefix("*.")
        guard
            let host = try? WebURL.canonicalHost(
                coversSubdomains ? String(text.dropFirst(2)) : text),
            !(coversSubdomains && IPAddress(host) != nil)
        else { return nil }
        self.host = host
    }

    /// `name` is canonical: lower case, no trailing dot.
    package func matches(_ name: String) -> Bool {
        coversSubdomains ? name.hasSuffix("." + host) : name == host
    }

    package var description: String { coversSubdomains ? "*." + host : host }
}

import Glibc

/// Finds the addresses of a host name. It may block: the fetcher calls it on threads of its own and
/// waits no longer than the connect timeout.
package typealias HostResolver = @Sendable (_ host: String) throws(FetchError) -> [IPAddress]

/// The system's resolver (`getaddrinfo`: hosts file, DNS), in the order of preference it gives.
package func resolveWithSystem(_ host: String) throws(FetchError) -> [IPAddress] {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)

    var list: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, nil, &hints, &list)
    guard status == 0 else {
        let text = "host \(host) cannot be resolved: \(String(cString: gai_strerror(status)))"
        throw isFinal(status) ? .refused(text) : .unavailable(text)
    }
    defer { freeaddrinfo(list) }

    var addresses: [IPAddress] = []
    var next = list
    while let entry = next?.pointee {
        switch entry.ai_addr?.pointee.sa_family {
        case sa_family_t(AF_INET):
            entry.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                addresses.append(IPAddress($0.pointee.sin_addr))
            }
        case sa_family_t(AF_INET6):
            entry.ai_addr.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                addresses.append(IPAddress($0.pointee.sin6_addr))
            }
        default: break
        }
        next = entry.ai_next
    }
    return addresses
}

/// Whether the answer is that there is no such host, rather than that nobody could be asked.
private func isFinal(_ status: Int32) -> Bool {
    // From glibc's netdb.h, which Swift's Glibc module does not show.
    let EAI_NODATA: Int32 = -5
    let EAI_ADDRFAMILY: Int32 = -9
    return [EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY].contains(status)
}

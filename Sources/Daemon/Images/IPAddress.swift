import Glibc

/// An IPv4 or IPv6 address as a number, so that ranges are compared bit by bit and never as text.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    package enum Family: Sendable {
        case v4, v6

        /// 32 or 128.
        package var bitCount: Int { self == .v4 ? 32 : 128 }
    }

    package let family: Family
    /// The address in host order; an IPv4 address fills the low 32 bits.
    package let bits: UInt128

    package init(family: Family, bits: UInt128) {
        self.family = family
        self.bits = bits
    }

    /// Reads the one strict notation of each family (`inet_pton`): "192.0.2.1", "2001:db8::1".
    /// Shortened or hexadecimal IPv4 ("127.1", "0x7f000001") and zone ids give nil.
    package init?(_ text: String) {
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, text, &v4) == 1 {
            self.init(v4)
        } else if inet_pton(AF_INET6, text, &v6) == 1 {
            self.init(v6)
        } else {
            return nil
        }
    }

    init(_ address: in_addr) {
        self.init(family: .v4, bits: UInt128(UInt32(bigEndian: address.s_addr)))
    }

    init(_ address: in6_addr) {
        let bits = withUnsafeBytes(of: address) { bytes in
            bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        }
        self.init(family: .v6, bits: bits)
    }

    package var description: String {
        switch family {
        case .v4:
            return [24, 16, 8, 0].map { String(bits >> UInt128($0) & 0xff) }.joined(separator: ".")
        case .v6:
            var network = bits.bigEndian
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            guard inet_ntop(AF_INET6, &network, &text, socklen_t(text.count)) != nil else {
                return String(bits, radix: 16)
            }
            return String(
                decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }
}

/// A block of addresses in CIDR notation, such as 10.0.0.0/8; a bare address is a block of one.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    package let base: IPAddress
    package let prefixLength: Int

    /// nil if `text` is no address, its prefix is out of range, or bits are set beyond the prefix
    /// (10.0.0.1/8 is a slip of the pen: it may mean one host or sixteen million).
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let base = IPAddress(String(parts[0])) else { return nil }
        var prefixLength = base.family.bitCount
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...base.family.bitCount).contains(given) else {
                return nil
            }
            prefixLength = given
        }
        self.base = base
        self.prefixLength = prefixLength
        guard base.bits & hostMask == 0 else { return nil }
    }

    package func contains(_ address: IPAddress) -> Bool {
        address.family == base.family && address.bits & ~hostMask == base.bits
    }

    private var hostMask: UInt128 {
        (UInt128(1) << UInt128(base.family.bitCount - prefixLength)) &- 1
    }

    package var description: String { "\(base)/\(prefixLength)" }
}

extension IPAddress {
    /// Why a request from outside must not reach this address ("loopback", "private", ...), or nil
    /// if it is an ordinary address of the public internet.
    ///
    /// Source: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its
    /// updates). IPv6 addresses that carry an IPv4 address inside are refused whatever they carry:
    /// a gateway would reach the inner address, which nobody has checked.
    package var specialPurpose: String? {
        for (range, purpose) in Self.specialPurposes where range.contains(self) {
            return purpose
        }
        if family == .v6, !Self.globalUnicast.contains(self) {
            return "outside the global unicast range 2000::/3"
        }
        return nil
    }

    private static let globalUnicast = range("2000::/3")

    private static let specialPurposes: [(AddressRange, String)] = [
        (range("0.0.0.0/8"), "unspecified"),
        (range("10.0.0.0/8"), "private"),
        (range("100.64.0.0/10"), "shared by a carrier (CGNAT)"),
        (range("127.0.0.0/8"), "loopback"),
        (range("168.63.129.16"), "a cloud platform's own service"),
        (range("169.254.0.0/16"), "link-local (cloud metadata)"),
        (range("172.16.0.0/12"), "private"),
        (range("192.0.0.0/24"), "reserved for protocols"),
        (range("192.0.2.0/24"), "reserved for documentation"),
        (range("192.88.99.0/24"), "a 6to4 relay"),
        (range("192.168.0.0/16"), "private"),
        (range("198.18.0.0/15"), "reserved for benchmarks"),
        (range("198.51.100.0/24"), "reserved for documentation"),
        (range("203.0.113.0/24"), "reserved for documentation"),
        (range("224.0.0.0/4"), "multicast"),
        (range("255.255.255.255"), "broadcast"),
        (range("240.0.0.0/4"), "reserved"),
        (range("::"), "unspecified"),
        (range("::1"), "loopback"),
        (range("::ffff:0:0/96"), "an IPv4 address inside IPv6 (mapped)"),
        (range("::ffff:0:0:0/96"), "an IPv4 address inside IPv6 (translated)"),
        (range("::/96"), "an IPv4 address inside IPv6 (compatible)"),
        (range("64:ff9b::/96"), "an IPv4 address inside IPv6 (NAT64)"),
        (range("64:ff9b:1::/48"), "an IPv4 address inside IPv6 (NAT64)"),
        (range("100::/64"), "discarded by routers"),
        (range("2001::/32"), "an IPv4 address inside IPv6 (Teredo)"),
        (range("2001::/23"), "reserved for protocols"),
        (range("2001:db8::/32"), "reserved for documentation"),
        (range("2002::/16"), "an IPv4 address inside IPv6 (6to4)"),
        (range("3fff::/20"), "reserved for documentation"),
        (range("fc00::/7"), "private (unique local)"),
        (range("fe80::/10"), "link-local"),
        (range("fec0::/10"), "private (site-local)"),
        (range("ff00::/8"), "multicast"),
    ]

    private static func range(_ literal: StaticString) -> AddressRange {
        guard let range = AddressRange("\(literal)") else {
            preconditionFailure("\(literal) in the table above is no address range")
        }
        return range
    }
}

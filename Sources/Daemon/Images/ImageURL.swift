import Glibc

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The URL of an image, read strictly and kept in one canonical form.
///
/// Two readers that disagree on where the host begins are how forbidden hosts are reached; so what
/// is ambiguous is refused here, and what goes to the HTTP client is rebuilt from checked parts.
package enum ImageURL: Hashable, Sendable {
    case web(WebURL)
    /// An absolute path, percent-decoded, without "." or ".." components.
    case file(path: String)

    package static let maximumLength = 4096

    package init(_ text: String) throws(FetchError) {
        guard text.utf8.count <= Self.maximumLength else {
            throw .refused(
                "the image URL has \(text.utf8.count) bytes, allowed are \(Self.maximumLength)")
        }
        // Browsers read a backslash as a slash, most libraries do not.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") }) else {
            throw .refused("the image URL contains a space, a backslash or a control character")
        }
        guard let colon = text.firstIndex(of: ":") else {
            throw .refused(
                "the image URL has no scheme: it must begin with https://, http:// or file:///")
        }
        let name = text[..<colon].lowercased()
        guard let scheme = FetchPolicy.Scheme(rawValue: name) else {
            throw .refused(
                "an image URL cannot have the scheme \(shown(name)): use https, http or file")
        }
        let rest = text[text.index(after: colon)...]
        guard rest.hasPrefix("//") else {
            throw .refused("the image URL must begin with \(scheme.rawValue)://")
        }
        if scheme == .file {
            self = .file(path: try Self.filePath(rest.dropFirst(2)))
        } else {
            self = .web(try WebURL(scheme: scheme, afterSlashes: rest.dropFirst(2)))
        }
    }

    /// `rest` follows "file://".
    private static func filePath(_ rest: Substring) throws(FetchError) -> String {
        guard let slash = rest.firstIndex(of: "/"),
            ["", "localhost"].contains(rest[..<slash].lowercased())
        else {
            throw .refused("a file: URL names no host: write file:///absolute/path")
        }
        let encoded = rest[slash...]
        guard !encoded.contains("?"), !encoded.contains("#") else {
            throw .refused("a file: URL has no query or fragment: write ? as %3F and # as %23")
        }
        guard let bytes = percentDecoded(encoded.utf8),
            let path = String(validating: bytes, as: UTF8.self)
        else {
            throw .refused("the path of the file: URL is not percent-encoded UTF-8")
        }
        guard !bytes.contains(0) else {
            throw .refused("the path of the file: URL contains a NUL byte")
        }
        // An encoded slash hides a component from whoever looked at the URL before us.
        guard !encoded.lowercased().contains("%2f") else {
            throw .refused("the path of the file: URL contains an encoded slash")
        }
        let components = path.split(separator: "/")
        guard !components.contains(".."), !components.contains(".") else {
            throw .refused("the path of the file: URL contains \"..\" or \".\"")
        }
        return path
    }

    private static func percentDecoded(_ text: Substring.UTF8View) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] == UInt8(ascii: "%") {
                guard let byte = escapedByte(text[index...]) else { return nil }
                bytes.append(byte)
                index = text.index(index, offsetBy: 3)
            } else {
                bytes.append(text[index])
                index = text.index(after: index)
            }
        }
        return bytes
    }
}

/// An http or https URL in canonical form: ASCII, host in lower case, port known.
package struct WebURL: Hashable, Sendable, CustomStringConvertible {
    package let scheme: FetchPolicy.Scheme
    /// A name in lower case without a trailing dot, a dotted quad, or an IPv6 address without
    /// brackets.
    package let host: String
    package let port: Int
    /// Path and query, beginning with "/".
    package let target: String

    /// `text` follows the two slashes.
    init(scheme: FetchPolicy.Scheme, afterSlashes text: Substring) throws(FetchError) {
        let end = text.firstIndex { "/?#".contains($0) } ?? text.endIndex
        let authority = text[..<end]
        guard !authority.contains("@") else {
            throw .refused("the image URL carries a user name or password; these are not sent")
        }
        var hostText = authority
        var portText: Substring = ""
        let afterBracket = authority.lastIndex(of: "]") ?? authority.startIndex
        if let colon = authority[afterBracket...].firstIndex(of: ":") {
            hostText = authority[..<colon]
            portText = authority[authority.index(after: colon)...]
        }
        self.scheme = scheme
        host = try Self.canonicalHost(String(hostText))
        if portText.isEmpty {
            port = scheme.defaultPort ?? 0
        } else {
            guard portText.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
                let number = Int(portText), (1...65535).contains(number)
            else {
                throw .refused(
                    "the image URL has the port \(shown(portText)): allowed are 1 to 65535")
            }
            port = number
        }
        // The fragment is for the reader of a document and is never sent.
        let afterHost = text[end...].prefix { $0 != "#" }
        target = Self.canonicalTarget(
            afterHost.hasPrefix("/") ? String(afterHost) : "/" + afterHost)
    }

    /// The whole URL, as it is sent.
    package var string: String { origin + target }

    /// What people may see: no query.
    package var description: String {
        let path = target.prefix { $0 != "?" }
        let visible = path.utf8.count > 200 ? path.prefix(200) + "..." : path
        return origin + visible + (path.utf8.count < target.utf8.count ? "?..." : "")
    }

    private var origin: String {
        let bracketed = host.contains(":") ? "[\(host)]" : host
        return "\(scheme.rawValue)://\(bracketed)" + (port == scheme.defaultPort ? "" : ":\(port)")
    }

    /// The target of a redirect (the Location field), read relative to this URL and as strictly.
    func resolving(location: String) throws(FetchError) -> ImageURL {
        guard location.utf8.count <= ImageURL.maximumLength,
            let resolved = URL(string: location, relativeTo: URL(string: string))?.absoluteURL
        else {
            throw .refused("\(self) redirects to something that is no URL")
        }
        do {
            return try ImageURL(resolved.absoluteString)
        } catch {
            throw .refused("\(self) redirects to a refused URL: \(error.message)")
        }
    }

    /// Lower case, no trailing dot; every notation of an address that `inet_aton` knows (127.1,
    /// 0x7f000001, 017700000001, 2130706433) becomes a dotted quad, so that it is checked as one.
    static func canonicalHost(_ text: String) throws(FetchError) -> String {
        if text.hasPrefix("[") {
            guard text.hasSuffix("]"), let address = IPAddress(String(text.dropFirst().dropLast())),
                address.family == .v6
            else {
                throw .refused(
                    "the image URL has the host \(shown(text)), which is no IPv6 address")
            }
            return address.description
        }
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw .refused(
                "the image URL has a host with letters beyond ASCII: write it in Punycode (xn--...)"
            )
        }
        var host = text.lowercased()
        if host.hasSuffix(".") { host.removeLast() }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        let isNameLike = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.utf8.allSatisfy(isLabelByte)
                && !label.hasPrefix("-") && !label.hasSuffix("-")
        }
        guard host.utf8.count <= 253, isNameLike, let last = labels.last else {
            throw .refused("the image URL has the host \(shown(text)), which is no host name")
        }
        guard isNumber(last) else { return host }
        var address = in_addr()
        guard inet_aton(host, &address) == 1 else {
            throw .refused("the image URL has the host \(shown(text)), which is no IPv4 address")
        }
        return IPAddress(address).description
    }

    /// Escapes what RFC 3986 does not allow in a path or query, and stray percent signs.
    private static func canonicalTarget(_ text: String) -> String {
        var result = ""
        var index = text.utf8.startIndex
        var inQuery = false
        while index < text.utf8.endIndex {
            let byte = text.utf8[index]
            let isEscape = byte == UInt8(ascii: "%") && escapedByte(text.utf8[index...]) != nil
            let isQuestionMark = byte == UInt8(ascii: "?")
            inQuery = inQuery || isQuestionMark
            if isEscape || isQuestionMark || isTargetByte(byte) {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                result += byte < 16 ? "%0" : "%"
                result += String(byte, radix: 16, uppercase: true)
            }
            index = text.utf8.index(after: index)
        }
        return result
    }

    private static func isTargetByte(_ byte: UInt8) -> Bool {
        UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte || isLabelByte(byte)
            || ".~!$&'()*+,;=:@/".utf8.contains(byte)
    }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// Whether a last label makes readers of URLs take the whole host for an IPv4 address.
    private static func isNumber(_ label: Substring) -> Bool {
        if label.hasPrefix("0x") {
            return label.dropFirst(2).allSatisfy(\.isHexDigit)
        }
        return label.allSatisfy(\.isWholeNumber)
    }
}

/// The byte that "%41" at the start of `text` stands for.
private func escapedByte(_ text: Substring.UTF8View) -> UInt8? {
    let digits = text.dropFirst().prefix(2).compactMap { byte in
        Character(Unicode.Scalar(byte)).hexDigitValue
    }
    return digits.count == 2 ? UInt8(digits[0] << 4 | digits[1]) : nil
}

/// A piece of a URL for an error text: short, and nothing in it that could break a line.
private func shown(_ text: some StringProtocol) -> String {
    let printable = text.unicodeScalars.prefix(60).filter { $0.value > 0x20 && $0.value != 0x7f }
    return "\"" + String(String.UnicodeScalarView(printable)) + "\""
}

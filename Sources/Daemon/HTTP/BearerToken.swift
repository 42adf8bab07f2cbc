import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The token that a request must bring (RFC 6750). Only its digest is kept, so that the comparison
/// takes the same time whatever was sent, its length included.
struct BearerToken: Sendable {
    /// Shorter ones can be guessed.
    static let minimumLength = 16
    static let maximumLength = 4_096
    static let accepts =
        "\(minimumLength) to \(maximumLength) letters, digits or any of -._~+/="

    private let digest: SHA256.Digest

    /// nil where the text is no such token.
    init?(_ text: String) {
        let allowed = Set("-._~+/=".utf8)
        guard (Self.minimumLength...Self.maximumLength).contains(text.utf8.count),
            text.utf8.allSatisfy({ byte in
                allowed.contains(byte) || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                    || UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte
                    || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
            })
        else { return nil }
        digest = Self.digest(of: text[...])
    }

    /// - Parameter authorization: the value of the request's Authorization field.
    func isIn(_ authorization: String) -> Bool {
        guard let space = authorization.firstIndex(of: " "),
            authorization[..<space].lowercased() == "bearer"
        else { return false }
        return Self.digest(of: authorization[authorization.index(after: space)...]) == digest
    }

    private static func digest(of text: Substring) -> SHA256.Digest {
        SHA256.hash(data: Array(text.utf8))
    }
}

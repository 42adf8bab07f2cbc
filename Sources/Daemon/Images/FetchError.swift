/// Why an image could not be had.
///
/// Texts name the URL as scheme, host, port and path. Its query (where signatures and tokens are
/// carried), its user information and its fragment are never shown.
package struct FetchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The raw values are the reasons of dead-letter records.
    package enum Reason: String, Sendable {
        /// The image may come on another try: the host is down, slow, overloaded or not resolvable.
        case unavailable = "image_unavailable"
        /// Another try gives the same answer: it is against the policy, or the host has no such
        /// image.
        case refused = "image_refused"
        /// The bytes came, but they are not the ones the event speaks of.
        case checksumMismatch = "image_checksum_mismatch"
    }

    package let reason: Reason
    package let message: String
    /// How long the host asked us to stay away (Retry-After), at most one hour.
    package let retryAfterMilliseconds: Int?

    package init(_ reason: Reason, _ message: String, retryAfterMilliseconds: Int? = nil) {
        self.reason = reason
        self.message = message
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }

    /// Whether to try again later. The fetcher itself never does: the caller knows the budget.
    package var isTransient: Bool { reason == .unavailable }

    package var description: String { "\(reason.rawValue): \(message)" }

    static func unavailable(_ message: String) -> FetchError { FetchError(.unavailable, message) }
    static func refused(_ message: String) -> FetchError { FetchError(.refused, message) }
}

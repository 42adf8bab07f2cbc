/// Why a record could not be used. The set is closed: consumers of the dead-letter topic may
/// switch over it, and a new reason is a new version of `schemas/dead-letter.v1.json`.
package enum DeadLetterReason: String, CaseIterable, Sendable {
    /// The record has no value (a tombstone) or an empty one.
    case emptyValue = "empty_value"
    /// The value is larger than `EventLimits.maximumEventBytes`, or of a view or a lesson
    /// `maximumViewBytes`.
    case eventTooLarge = "event_too_large"
    /// The value is not JSON, or a field is missing, of the wrong type or out of bounds.
    case malformedEvent = "malformed_event"
    /// The record's key is missing or is not the event's `uid`.
    case keyMismatch = "key_mismatch"
    /// The image could not be had within the retry budget: host down, timeout, or an answer that
    /// says to try again later.
    case imageUnavailable = "image_unavailable"
    /// The image will not be had: scheme, host, address, size or path is against the policy, or
    /// the host says that it has no such image or does not give it.
    case imageRefused = "image_refused"
    /// The image's bytes do not decode to a picture, or are beyond the decoder's limits.
    case imageUndecodable = "image_undecodable"
    /// The image's bytes do not have the SHA-256 that the event gives.
    case imageChecksumMismatch = "image_checksum_mismatch"
    /// The model could not give this post a finite score, or the score event is larger than the
    /// producer takes.
    case scoringFailed = "scoring_failed"
}

/// What is wrong with one event: the field, what was found there, what is expected.
package struct EventError: Error, Equatable, Sendable, CustomStringConvertible {
    package var reason: DeadLetterReason
    /// The field at fault; nil when the event as a whole is.
    package var field: String?
    package var found: String
    package var expected: String

    package init(
        _ reason: DeadLetterReason = .malformedEvent, field: String? = nil, found: String,
        expected: String
    ) {
        self.reason = reason
        self.field = field
        self.found = found
        self.expected = expected
    }

    package var description: String {
        let place = field.map { "field \"\($0)\": " } ?? ""
        return "\(place)found \(found), expected \(expected)"
    }
}

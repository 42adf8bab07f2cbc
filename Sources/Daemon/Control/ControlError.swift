/// Why a user's state could not be looked at or changed from outside the daemon.
package enum ControlError: Error, Equatable, Sendable, CustomStringConvertible {
    case topicMissing(String)
    /// Its first records are gone.
    case noLongerWhole(String)
    /// The daemon applies lessons faster than their results can be read.
    case busy(String)
    /// There are records, and no committed offset says which lessons they follow from.
    case noOffsets(String, group: String)
    case noRoom(bytes: Int)
    case folder(String)
    case threadNotStarted

    package var description: String {
        switch self {
        case .topicMissing(let topic):
            "there is no topic '\(topic)': give the settings that the daemon runs with"
        case .noLongerWhole(let partition):
            "\(partition) no longer begins at offset 0: what was learnt from the records that are "
                + "gone cannot be recomputed. Keep posts and lessons for as long as you want to "
                + "audit (retention.ms)"
        case .busy(let partition):
            "\(partition) does not come to rest: stop the daemon, or what writes views, and try "
                + "again"
        case .noOffsets(let partition, let group):
            "group '\(group)' has no committed offset of \(partition), but there are users in it: "
                + "give the settings that the daemon runs with (kafka.group_id)"
        case .noRoom(let bytes):
            "the users of one partition need more than \(bytes) bytes of encodings: raise "
                + "learning.encodings_bytes"
        case .folder(let text):
            "cannot make a temporary folder: \(text). Set TMPDIR to one with room"
        case .threadNotStarted:
            "a thread could not be started"
        }
    }
}

import GRDB

/// What can go wrong with the files that learning state is kept in.
package enum StoreError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The state folder cannot be made or written.
    case folder(path: String, reason: String)
    /// Another process works with it.
    case folderInUse(path: String)
    /// The file belongs to another consumer group.
    case otherGroup(path: String, found: String, expected: String)
    /// A newer uhan wrote it.
    case newerSchema(path: String, found: Int, known: Int)
    /// Damaged: it is begun anew when it is opened next.
    case corrupt(path: String, reason: String)
    /// No room, on the disk or within the file's stated bound.
    case full(path: String)
    case tooLarge(pid: String, byteCount: Int, maximumBytes: Int)
    case failed(path: String, reason: String)

    package var description: String {
        switch self {
        case .folder(let path, let reason):
            "the state folder \(path) cannot be used: \(reason). Name one that this user may "
                + "write to"
        case .folderInUse(let path):
            "the state folder \(path) is in use by another process: give each its own"
        case .otherGroup(let path, let found, let expected):
            "\(path) is the state of consumer group '\(found)', not of '\(expected)': name "
                + "another state folder, or delete the file if that group is gone"
        case .newerSchema(let path, let found, let known):
            "\(path) was written by a newer uhan (schema \(found); this one knows \(known)): run "
                + "that one, or delete the file; it is made anew from the changelog"
        case .corrupt(let path, let reason):
            "\(path) is damaged (\(reason)): it is made anew from the changelog when its "
                + "partition is taken up next"
        case .full(let path):
            "no room to write \(path): learning waits until there is; free some space"
        case .tooLarge(let pid, let byteCount, let maximumBytes):
            "the encoding of post '\(pid)' takes \(byteCount) bytes, more than \(maximumBytes)"
        case .failed(let path, let reason):
            "\(path): \(reason)"
        }
    }

    init(_ error: any Error, path: String) {
        switch error {
        case let error as StoreError: self = error
        case let error as DatabaseError:
            let reason = error.message ?? "\(error.resultCode)"
            self =
                switch error.resultCode {
                case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT:
                    .corrupt(path: path, reason: reason)
                case .SQLITE_FULL: .full(path: path)
                default: .failed(path: path, reason: reason)
                }
        default: self = .failed(path: path, reason: "\(error)")
        }
    }
}

import Glibc

/// The folder of one daemon's learning state: `users-<n>.sqlite` and `encodings-<n>.sqlite` for
/// each task n. It is a cache of the changelog topics: lost files are made anew from them.
package final class StateFolder: Sendable {
    package let path: String
    /// The consumer group whose offsets the files speak of.
    package let group: String
    private let lock: Int32

    /// Makes the folder where it is missing and locks it for this process: two daemons would take
    /// each other's rows for their own.
    package init(path: String, group: String) throws(StoreError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw .folder(path: path, reason: String(cString: strerror(errno)))
        }
        let lock = open(path + "/lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        if lock < 0 { throw .folder(path: path, reason: String(cString: strerror(errno))) }
        if flock(lock, LOCK_EX | LOCK_NB) != 0 {
            close(lock)
            throw .folderInUse(path: path)
        }
        self.path = path
        self.group = group
        self.lock = lock
    }

    deinit { close(lock) }
}

import Glibc

/// Reads regular files below allowed folders. Blocking: call it on a thread that may wait.
struct AllowedFiles: Sendable {
    let roots: [String]
    let maximumBytes: Int

    /// From Linux's fcntl.h, which Swift's Glibc module does not show.
    private static let O_PATH: Int32 = 0o10000000

    /// What is checked is what is read: the file is first opened as a mere reference (O_PATH, which
    /// neither waits on a FIFO nor touches a device), the kernel is asked what was opened and where
    /// it lies, and only that reference is opened for reading. Nothing swapped in between is
    /// followed.
    func read(_ path: String) throws(FetchError) -> [UInt8] {
        let reference = open(path, Self.O_PATH | O_CLOEXEC)
        guard reference >= 0 else { throw failure("cannot be opened", path, errno) }
        defer { close(reference) }
        let link = "/proc/self/fd/\(reference)"

        guard let realPath = target(of: link) else {
            throw failure("cannot be located (is /proc mounted?)", path, errno)
        }
        guard roots.contains(where: { isBelow(root: $0, realPath) }) else {
            throw .refused("file \(path) is not below an allowed folder (images.file_roots)")
        }
        var status = stat()
        guard fstat(reference, &status) == 0 else {
            throw failure("cannot be inspected", path, errno)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .refused("\(path) is not a regular file")
        }
        guard status.st_size <= maximumBytes else {
            throw .refused(
                "file \(path) has \(status.st_size) bytes, "
                    + "allowed are \(maximumBytes) (images.maximum_bytes)"
            )
        }

        let file = open(link, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure("cannot be opened", path, errno) }
        defer { close(file) }
        return try contents(of: file, path, expectedBytes: Int(status.st_size))
    }

    private func contents(of file: Int32, _ path: String, expectedBytes: Int) throws(FetchError)
        -> [UInt8]
    {
        var bytes = [UInt8](repeating: 0, count: expectedBytes)
        var count = 0
        while count < expectedBytes {
            let got = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress.map { $0 + count }, expectedBytes - count)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw failure("cannot be read", path, errno) }
            guard got > 0 else {
                throw .unavailable("file \(path) became shorter while it was read")
            }
            count += got
        }
        return bytes
    }

    private func isBelow(root: String, _ realPath: String) -> Bool {
        guard let resolved = realpath(root, nil) else { return false }
        defer { free(resolved) }
        let realRoot = String(cString: resolved)
        return realPath.hasPrefix(realRoot == "/" ? "/" : realRoot + "/")
    }

    private func target(of link: String) -> String? {
        let capacity = Int(PATH_MAX) + 1
        var buffer = [CChar](repeating: 0, count: capacity)
        let count = readlink(link, &buffer, capacity)
        guard count > 0, count < capacity else { return nil }
        return String(validating: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Missing or forbidden files stay so; anything else (I/O error, too many open files) may pass.
    private func failure(_ what: String, _ path: String, _ code: Int32) -> FetchError {
        let text = "file \(path) \(what): \(String(cString: strerror(code)))"
        switch code {
        case ENOENT, ENOTDIR, EACCES, EPERM, ELOOP, ENAMETOOLONG, ENXIO: return .refused(text)
        default: return .unavailable(text)
        }
    }
}

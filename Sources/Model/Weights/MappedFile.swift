import Crypto
import Glibc

/// A read-only memory-mapped file. Pages come in when they are touched and are shared between
/// processes that map the same file.
package final class MappedFile: @unchecked Sendable {
    // Sendable: the mapping is private, read-only and constant until deinit.
    package let path: String
    /// Valid as long as this object lives: whoever keeps the pointer keeps the file.
    let bytes: UnsafeRawBufferPointer

    package init(path: String) throws(ModelError) {
        self.path = path
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)  // a FIFO must not hang us
        guard descriptor >= 0 else {
            throw .unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .unreadable(path: path, reason: "not a regular file")
        }
        let size = Int(status.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0),
            start != MAP_FAILED
        else {
            throw .unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        bytes = UnsafeRawBufferPointer(start: start, count: size)
    }

    deinit {
        if let start = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
        }
    }

    /// A copy of the first `maximumBytes` bytes.
    package func contents(maximumBytes: Int = .max) -> [UInt8] {
        withExtendedLifetime(self) { Array(bytes.prefix(maximumBytes)) }
    }

    /// Lower-case hex of the SHA-256 of the whole file.
    package func sha256() -> String {
        withExtendedLifetime(self) {
            var hash = SHA256()
            hash.update(bufferPointer: bytes)
            return hexadecimal(hash.finalize())
        }
    }

    package func requireChecksum(_ expected: String) throws(ModelError) {
        let found = sha256()
        guard found == expected else {
            throw .checksum(path: path, expected: expected, found: found)
        }
    }

    package func absolutePath() throws(ModelError) -> String {
        guard let resolved = realpath(path, nil) else {
            throw .unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// The lines of a UTF-8 text, ended by LF; the last one may lack it.
    package func lines(maximumCount: Int) throws(ModelError) -> [String] {
        let bytes = contents()
        guard !bytes.starts(with: [0xEF, 0xBB, 0xBF]) else {
            throw .malformed(path: path, reason: "it starts with a byte order mark")
        }
        var lines = bytes.split(
            separator: UInt8(ascii: "\n"), maxSplits: maximumCount + 1,
            omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var texts: [String] = []
        texts.reserveCapacity(lines.count)
        for line in lines {
            guard let text = String(validating: line, as: UTF8.self) else {
                throw .malformed(path: path, reason: "line \(texts.count + 1) is not UTF-8")
            }
            texts.append(text)
        }
        return texts
    }
}

/// Writes a file whole or not at all: it has another name until it is complete.
package func writeFile(_ bytes: [UInt8], to path: String) throws(ModelError) {
    let part = "\(path).part"
    let file = fopen(part, "we")
    let isWritten = file.map { fwrite(bytes, 1, bytes.count, $0) == bytes.count } ?? false
    let isClosed = file.map { fclose($0) == 0 } ?? false
    guard isWritten, isClosed, rename(part, path) == 0 else {
        let reason = String(cString: strerror(errno))
        unlink(part)
        throw .invalid("cannot write \(path): \(reason)")
    }
}

/// Makes a folder, its parents first: "a", "a/b", "a/b/c". One that is there already is fine.
package func makeFolder(_ folder: String) throws(ModelError) {
    var path = folder.hasPrefix("/") ? "/" : ""
    for part in folder.split(separator: "/") {
        path += "\(part)/"
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
            throw .invalid("cannot make the folder \(path): \(String(cString: strerror(errno)))")
        }
    }
}

package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

package func sha256Hex(_ bytes: [UInt8]) -> String {
    hexadecimal(SHA256.hash(data: bytes))
}

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
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
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
        Array(bytes.prefix(maximumBytes))
    }

    /// Lower-case hex of the SHA-256 of the whole file.
    package func sha256() -> String {
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        return hexadecimal(hash.finalize())
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

    package func text() throws(ModelError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .malformed(path: path, reason: "not UTF-8")
        }
        return text
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

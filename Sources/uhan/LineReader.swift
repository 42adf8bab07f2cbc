import Glibc
import Pipeline

/// The lines of a file or of stdin ("-"), one at a time, without the newline. Empty lines are
/// passed over.
final class LineReader {
    struct Line {
        /// Counted from 1.
        let number: Int
        /// At most `maximumLineBytes`.
        let bytes: [UInt8]
    }

    /// One byte more than an event may have: a longer line comes cut, and is refused as too large.
    static let maximumLineBytes = EventLimits().maximumEventBytes + 1

    private let path: String
    private let file: UnsafeMutablePointer<FILE>
    private var number = 0

    init(path: String) throws {
        guard let file = path == "-" ? fdopen(STDIN_FILENO, "r") : fopen(path, "re") else {
            throw CommandError("cannot read \(path): \(String(cString: strerror(errno)))")
        }
        self.path = path
        self.file = file
        var status = stat()
        guard fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            throw CommandError("cannot read \(path): it is a folder; give a file of JSON lines")
        }
    }

    deinit {
        fclose(file)
    }

    /// nil at the end of the file.
    func next() throws -> Line? {
        while true {
            var bytes: [UInt8] = []
            var byte = getc_unlocked(file)
            if byte == EOF {
                guard ferror(file) == 0 else {
                    throw CommandError(
                        "cannot read on in \(path) after line \(number): "
                            + String(cString: strerror(errno)))
                }
                return nil
            }
            number += 1
            while byte != EOF, byte != Int32(UInt8(ascii: "\n")) {
                if bytes.count < Self.maximumLineBytes {
                    bytes.append(UInt8(truncatingIfNeeded: byte))
                }
                byte = getc_unlocked(file)
            }
            if bytes.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) {
                return Line(number: number, bytes: bytes)
            }
        }
    }
}

/// An error of the command line's own, already worded for the person who typed it.
struct CommandError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

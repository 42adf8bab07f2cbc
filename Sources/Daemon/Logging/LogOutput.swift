import Glibc
import Synchronization

/// Where log lines go: each is handed to the system in one write, one line at a time.
package final class LogOutput: Sendable {
    package static let standardError = LogOutput(fileDescriptor: STDERR_FILENO)

    /// A person is watching, and has not asked for no colours (NO_COLOR, TERM=dumb).
    package let showsColors: Bool

    private let fileDescriptor: Int32
    private let lock = Mutex(())

    package init(fileDescriptor: Int32) {
        self.fileDescriptor = fileDescriptor
        let noColor = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
        let terminal = getenv("TERM").map { String(cString: $0) } ?? "dumb"
        showsColors = isatty(fileDescriptor) == 1 && !noColor && terminal != "dumb"
    }

    /// Writes `line`, which ends with a newline. What the system does not take (a closed pipe, a
    /// full disk) is lost: there is nowhere left to report it.
    func write(_ line: String) {
        var line = line
        lock.withLock { _ in
            line.withUTF8 { bytes in
                var rest = UnsafeRawBufferPointer(bytes)[...]
                while !rest.isEmpty {
                    let count = Glibc.write(
                        fileDescriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                        rest.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { return }
                    rest = rest.dropFirst(count)
                }
            }
        }
    }
}

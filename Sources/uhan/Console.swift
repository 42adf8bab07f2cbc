import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A line for people, on stderr.
func say(_ line: String) {
    var bytes = Array(line.utf8)
    bytes.append(UInt8(ascii: "\n"))
    writeAll(bytes, to: STDERR_FILENO)
}

/// A value as one line of JSON on stdout.
func printJSON(_ value: some Encodable) throws {
    writeAll(try jsonLine(value), to: STDOUT_FILENO)
}

/// Bytes on stdout, as they are.
func printBytes(_ bytes: [UInt8]) {
    writeAll(bytes, to: STDOUT_FILENO)
}

/// Whether somebody is there to answer.
var canAsk: Bool { isatty(STDIN_FILENO) == 1 }

/// A value as one line of JSON, with its end.
func jsonLine(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
}

/// A value as indented JSON in a file of its own.
func writeJSONFile(_ value: some Encodable, to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try writeFile(Array(try encoder.encode(value)) + [UInt8(ascii: "\n")], to: path)
}

/// Writes everything; a reader that went away (`| head`) ends the program quietly.
private func writeAll(_ bytes: [UInt8], to descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if written > 0 {
            rest = rest.dropFirst(written)
        } else if errno != EINTR {
            let code = errno
            if code == EPIPE { exit(0) }
            if descriptor == STDOUT_FILENO {
                say("Error: cannot write to stdout: \(String(cString: strerror(code)))")
            }
            exit(1)
        }
    }
}

/// One changing line on a terminal; nothing where stderr is not one.
struct Progress {
    private let isTerminal = isatty(STDERR_FILENO) == 1

    func show(_ text: String) {
        guard isTerminal else { return }
        writeAll(Array("\r\u{1B}[2K\(text)".utf8), to: STDERR_FILENO)
    }

    func clear() {
        show("")
    }
}

func rounded(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let text = "\((value * scale).rounded() / scale)"
    return digits == 0 ? String(text.prefix { $0 != "." }) : text
}

func onlineCores() -> Int {
    max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
}

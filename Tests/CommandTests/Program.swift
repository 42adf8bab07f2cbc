import Foundation
import Testing

/// The program as a person runs it: the built binary, its exit status, stdout and stderr.
struct Program {
    /// Longer than anything here takes on a slow machine; then the program is killed.
    static let patience: TimeInterval = 60

    struct Ending: CustomStringConvertible {
        /// The exit status; negative: the number of the signal that ended it.
        var status: Int32
        var output: String
        var errors: String

        var outputLines: [String] { output.split(separator: "\n").map(String.init) }
        var errorLines: [String] { errors.split(separator: "\n").map(String.init) }
        var description: String { "status \(status)\n--- stdout\n\(output)\n--- stderr\n\(errors)" }
    }

    /// The binary lies beside the test bundle.
    static let path: String = {
        let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().appendingPathComponent("uhan").path
    }()

    static func run(
        _ arguments: String..., input: String = "", environment: [String: String] = [:]
    ) async throws -> Ending {
        try await run(arguments, input: input, environment: environment)
    }

    static func run(
        _ arguments: [String], input: String = "", environment: [String: String] = [:]
    ) async throws -> Ending {
        let program = try RunningProgram(path, arguments, environment: environment)
        program.write(input)
        return try await program.ended()
    }

    /// A line of shell, in which `$UHAN` is the binary.
    static func shell(_ line: String) async throws -> Ending {
        let program = try RunningProgram(
            "/bin/bash", ["-c", line], environment: ["UHAN": path])
        program.write("")
        return try await program.ended()
    }
}

/// A program under way.
final class RunningProgram: Sendable {
    private let process: Process
    private let input = Pipe()
    private let output: Collector
    private let errors: Collector
    private let exit: AsyncStream<Void>

    init(_ path: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        // Only what is needed: settings of the person who runs the tests are not meant.
        let inherited = ProcessInfo.processInfo.environment.filter {
            ["PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR"].contains($0.key)
        }
        process.environment = inherited.merging(environment) { $1 }
        let (outputPipe, errorPipe) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = outputPipe
        process.standardError = errorPipe
        let (exit, ended) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in ended.finish() }
        try process.run()
        output = Collector(outputPipe.fileHandleForReading)
        errors = Collector(errorPipe.fileHandleForReading)
        self.process = process
        self.exit = exit
    }

    /// A test that failed in between leaves nothing running.
    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    /// All of its stdin.
    func write(_ text: String) {
        try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        try? input.fileHandleForWriting.close()
    }

    func send(_ signal: Int32) {
        kill(process.processIdentifier, signal)
    }

    /// Waits until stderr holds `text`.
    func says(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let start = Date.now
        while !errors.text.contains(text) {
            try #require(
                Date.now.timeIntervalSince(start) < Program.patience && process.isRunning,
                "never said '\(text)', but: \(errors.text)", sourceLocation: sourceLocation)
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func ended(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Program.Ending {
        let guardian = Task { [process] in
            try await Task.sleep(for: .seconds(Program.patience))
            kill(process.processIdentifier, SIGKILL)
            Issue.record("hung: \(process.arguments ?? [])", sourceLocation: sourceLocation)
        }
        for await _ in exit {}
        guardian.cancel()
        let status =
            process.terminationReason == .exit
            ? process.terminationStatus : -process.terminationStatus
        return await Program.Ending(
            status: status, output: output.all(), errors: errors.all())
    }

    /// Takes in a pipe while it fills.
    private final class Collector: @unchecked Sendable {
        // Unchecked: the bytes are guarded by the lock.
        private let lock = NSLock()
        private var bytes = Data()
        private let end: AsyncStream<Void>

        init(_ handle: FileHandle) {
            let (end, ended) = AsyncStream.makeStream(of: Void.self)
            self.end = end
            Thread.detachNewThread { [self] in
                // By hand: FileHandle ends the whole test run where a signal interrupts a read.
                var chunk = [UInt8](repeating: 0, count: 1 << 16)
                while true {
                    let count = read(handle.fileDescriptor, &chunk, chunk.count)
                    if count > 0 {
                        lock.withLock { bytes += chunk.prefix(count) }
                    } else if count == 0 || errno != EINTR {
                        break
                    }
                }
                ended.finish()
            }
        }

        var text: String { lock.withLock { String(decoding: bytes, as: UTF8.self) } }

        func all() async -> String {
            for await _ in end {}
            return text
        }
    }
}

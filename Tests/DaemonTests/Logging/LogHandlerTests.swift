import Daemon
import Dispatch
import Glibc
import Logging
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite("Log lines")
struct LogHandlerTests {
    // MARK: JSON

    @Test("A line is one JSON object with its fields in a stated order")
    func shape() throws {
        let lines = try captured { output in
            var logger = Logger(label: "uhan.kafka") { label in
                JSONLogHandler(label: label, level: .info, output: output, clock: { fixedTime })
            }
            logger[metadataKey: "member"] = "host-1"
            logger.info(
                "assigned",
                metadata: [
                    "partition": ["topic": "posts", "number": .stringConvertible(3)],
                    "lag": .stringConvertible(12.5), "paused": .stringConvertible(true),
                    "brokers": ["a:1", "b:1"], "level": "mine",
                ])
            logger.debug("not written")
        }
        #expect(
            lines == [
                #"{"ts":"2026-11-23T14:03:27.045Z","level":"info","msg":"assigned","logger":"uhan.kafka","#
                    + #""brokers":["a:1","b:1"],"lag":12.5,"metadata.level":"mine","member":"host-1","#
                    + #""partition.number":3,"partition.topic":"posts","paused":true}"#
            ])
    }

    @Test(
        "Every text comes back out of the JSON, and takes one line",
        arguments: [
            "", "plain", "quotes \" and \\ slashes /", "line\nbreak\r\n\ttab",
            "\u{0}\u{1}\u{8}\u{c}\u{1b}[31m\u{1f}\u{7f}",
            "ä € 😀 \u{2028}\u{2029} e\u{301} \u{fffd}",
        ])
    func escaping(_ text: String) throws {
        let lines = try captured { output in
            let logger = Logger(label: text) {
                JSONLogHandler(label: $0, level: .info, output: output)
            }
            logger.info("\(text)", metadata: ["key\(text)": "\(text)", "list": ["\(text)"]])
        }
        try #require(lines.count == 1)
        struct Line: Decodable {
            let ts, level, msg, logger: String
            let list: [String]
        }
        let line = try JSONDecoder().decode(Line.self, from: Data(lines[0].utf8))
        #expect(Array(line.msg.unicodeScalars) == Array(text.unicodeScalars))
        #expect(line.logger == text)
        #expect(line.list == [text])
        let all = try JSONDecoder().decode([String: Either].self, from: Data(lines[0].utf8))
        #expect(all["key\(text)"]?.text == text)
        #expect(lines[0].unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f })
        #expect(line.ts.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
    }

    @Test(
        "The event's metadata win over the provider's, and these over the logger's; an error is shown"
    )
    func metadataPrecedence() throws {
        struct Broken: Error, CustomStringConvertible { let description = "broker gone" }
        let lines = try captured { output in
            let provider = Logger.MetadataProvider { ["a": "provider", "b": "provider"] }
            var logger = Logger(label: "l") { label in
                JSONLogHandler(
                    label: label, level: .info, metadataProvider: provider, output: output)
            }
            logger[metadataKey: "a"] = "logger"
            logger[metadataKey: "c"] = "logger"
            logger.warning("m", error: Broken(), metadata: ["b": "event"])
        }
        #expect(
            lines.first?.contains(
                #""a":"provider","b":"event","c":"logger","error":"broker gone"}"#) == true)
    }

    @Test("Very long texts are cut, and the line stays whole")
    func bounded() throws {
        let lines = try captured { output in
            let logger = Logger(label: "l") {
                JSONLogHandler(label: $0, level: .info, output: output)
            }
            logger.info(
                "\(String(repeating: "ä", count: 100_000))",
                metadata: ["k": "\(String(repeating: "x", count: 9000))"])
        }
        try #require(lines.count == 1)
        #expect(lines[0].utf8.count < 20_000)
        let line = try JSONDecoder().decode([String: String].self, from: Data(lines[0].utf8))
        #expect(line["msg"]?.hasSuffix("... (200000 bytes)") == true)
        #expect(line["k"]?.hasSuffix("... (9000 bytes)") == true)
    }

    // MARK: Text

    @Test("For people: short time, level, name, message, values; no colour where nobody looks")
    func text() throws {
        let lines = try captured { output in
            let logger = Logger(label: "kafka") { label in
                TextLogHandler(label: label, level: .trace, output: output, clock: { fixedTime })
            }
            logger.warning(
                "two lines\nand \u{1b}[31mred",
                metadata: ["n": .stringConvertible(3), "why": "say \"no\"", "e": ""])
            logger.critical("end")
        }
        try #require(lines.count == 2)
        #expect(
            lines[0].dropFirst(12)
                == #" WARNING kafka: two lines\nand \u{1b}[31mred e="" n=3 why="say \"no\"""#)
        #expect(lines[1].dropFirst(12) == " CRITICAL kafka: end")
        #expect(lines[0].prefix(12).wholeMatch(of: /\d\d:\d3:27\.045|\d\d:\d\d:27\.045/) != nil)
    }

    // MARK: The stream

    @Test("Lines written by many tasks at once do not mix, however long")
    func noInterleaving() async throws {
        let lines = try await capturedThroughPipe { output in
            await withTaskGroup { group in
                for task in 0..<8 {
                    group.addTask {
                        let logger = Logger(label: "l") {
                            JSONLogHandler(label: $0, level: .info, output: output)
                        }
                        for _ in 0..<50 {
                            logger.info("\(String(repeating: "\(task)", count: 6000))")
                        }
                    }
                }
            }
        }
        #expect(lines.count == 400)
        for line in lines {
            let message =
                try JSONDecoder().decode([String: String].self, from: Data(line.utf8))["msg"] ?? ""
            #expect(message.count == 6000 && Set(message).count == 1)
        }
    }

    @Test("A reader that has gone does not stop the one who logs")
    func brokenPipe() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        let output = LogOutput(fileDescriptor: ends[1])
        let logger = Logger(label: "l") { JSONLogHandler(label: $0, level: .info, output: output) }
        logger.info("into the void")
        close(ends[1])
    }
}

// MARK: -

/// 2026-11-23T14:03:27.0459Z
private let fixedTime = timespec(tv_sec: 1_795_442_607, tv_nsec: 45_900_000)

private enum Either: Decodable {
    case string(String)
    case other

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        self = (try? value.decode(String.self)).map(Either.string) ?? .other
    }

    var text: String? {
        if case .string(let text) = self { text } else { nil }
    }
}

/// The lines that `body` writes, through a pipe that holds less than a line: writers must wait in
/// the middle of one, when others may come between.
private func capturedThroughPipe(_ body: (LogOutput) async -> Void) async throws -> [String] {
    var ends: [Int32] = [0, 0]
    try #require(pipe(&ends) == 0)
    let (readEnd, writeEnd) = (ends[0], ends[1])
    // From Linux's fcntl.h, which Swift's Glibc module does not show.
    let F_SETPIPE_SZ: Int32 = 1031
    try #require(fcntl(writeEnd, F_SETPIPE_SZ, 4096) == 4096)
    async let text = withCheckedContinuation { continuation in
        // A queue of its own has a thread of its own; the global one shares those of the writers.
        DispatchQueue(label: "reader").async {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 1000)
            while true {
                let count = read(readEnd, &buffer, 1000)
                guard count > 0 else { break }
                bytes += buffer.prefix(count)
            }
            continuation.resume(returning: String(decoding: bytes, as: UTF8.self))
        }
    }
    await body(LogOutput(fileDescriptor: writeEnd))
    close(writeEnd)
    defer { close(readEnd) }
    return await text.split(separator: "\n").map(String.init)
}

/// The lines that `body` writes.
private func captured(_ body: (LogOutput) throws -> Void) throws -> [String] {
    let file = try TemporaryFile()
    try body(LogOutput(fileDescriptor: file.descriptor))
    return try file.lines()
}

private final class TemporaryFile {
    private let path: String
    let descriptor: Int32

    init() throws {
        var template = Array("/tmp/uhan-log-XXXXXX".utf8CString)
        descriptor = mkstemp(&template)
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        try #require(descriptor >= 0)
    }

    func lines() throws -> [String] {
        let text = String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
        #expect(text.isEmpty || text.utf8.last == UInt8(ascii: "\n"))
        return text.split(separator: "\n").map(String.init)
    }

    deinit {
        close(descriptor)
        unlink(path)
    }
}

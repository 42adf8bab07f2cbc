import Glibc
import Logging

/// Sends everything that is logged to standard error, as configured. Call once, before any logger
/// is made.
package func bootstrapLogging(_ log: ServeConfiguration.Log) {
    LoggingSystem.bootstrap(
        { label, metadataProvider in
            switch log.format {
            case .json:
                JSONLogHandler(label: label, level: log.level, metadataProvider: metadataProvider)
            case .text:
                TextLogHandler(label: label, level: log.level, metadataProvider: metadataProvider)
            }
        }, metadataProvider: nil)
}

/// One JSON object per line:
/// `{"ts":"2026-11-23T14:03:27.123Z","level":"info","msg":"...","logger":"...", metadata}`.
///
/// Metadata follow in the order of their names, nested ones with dots ("partition.offset"); numbers
/// and Booleans stay such. One that is named like a field above gets "metadata." in front.
package struct JSONLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level
    private let label: String
    private let output: LogOutput
    private let clock: @Sendable () -> timespec

    package init(
        label: String, level: Logger.Level, metadataProvider: Logger.MetadataProvider? = nil,
        output: LogOutput = .standardError, clock: @escaping @Sendable () -> timespec = systemTime
    ) {
        self.label = label
        self.logLevel = level
        self.metadataProvider = metadataProvider
        self.output = output
        self.clock = clock
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = "{\"ts\":\"\(universalTime(clock()))\",\"level\":\"\(event.level)\""
        line += ",\"msg\":\(jsonString(bounded(event.message.description)))"
        line += ",\"logger\":\(jsonString(label))"
        for (name, value) in flattened(allMetadata(of: event)) {
            let isTaken = ["ts", "level", "msg", "logger"].contains(name)
            line += ",\(jsonString(isTaken ? "metadata." + name : name)):\(json(value))"
        }
        output.write(line + "}\n")
    }

    private func json(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): return jsonString(bounded(text))
        case .stringConvertible(let value):
            if let isTrue = value as? Bool { return "\(isTrue)" }
            if let integer = value as? any BinaryInteger { return "\(integer)" }
            if let number = value as? Double, number.isFinite { return "\(number)" }
            if let number = value as? Float, number.isFinite { return "\(number)" }
            return jsonString(bounded(value.description))
        case .array(let values): return "[" + values.map(json).joined(separator: ",") + "]"
        case .dictionary(let values):
            let fields = flattened(values).map { "\(jsonString($0)):\(json($1))" }
            return "{" + fields.joined(separator: ",") + "}"
        }
    }
}

/// One line for people: `14:03:27.123 INFO    kafka: message name=value other="two words"`, in
/// local time, coloured on a terminal. Control characters are escaped: a message stays one line and
/// cannot drive the terminal.
package struct TextLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level
    private let label: String
    private let output: LogOutput
    private let clock: @Sendable () -> timespec

    package init(
        label: String, level: Logger.Level, metadataProvider: Logger.MetadataProvider? = nil,
        output: LogOutput = .standardError, clock: @escaping @Sendable () -> timespec = systemTime
    ) {
        self.label = label
        self.logLevel = level
        self.metadataProvider = metadataProvider
        self.output = output
        self.clock = clock
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let level = event.level.rawValue.uppercased()
        let padding = String(repeating: " ", count: max(0, 7 - level.count) + 1)
        var line = dim(localTime(clock())) + " " + colored(level, event.level) + padding
        line += "\(label): \(printable(bounded(event.message.description)))"
        for (name, value) in flattened(allMetadata(of: event)) {
            line += " " + dim("\(printable(name))=") + quoted(bounded("\(value)"))
        }
        output.write(line + "\n")
    }

    /// As it is, or in quotes where its end would not be seen.
    private func quoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.allSatisfy { !$0.isWhitespace && $0 != "\"" && $0 != "=" }
        return isPlain
            ? printable(text) : "\"" + printable(text).replacing("\"", with: "\\\"") + "\""
    }

    private func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else {
            return text
        }
        return text.unicodeScalars.map { scalar in
            switch scalar {
            case "\n": "\\n"
            case "\t": "\\t"
            case _ where scalar.properties.generalCategory == .control:
                "\\u{\(String(scalar.value, radix: 16))}"
            default: String(scalar)
            }
        }.joined()
    }

    private func dim(_ text: String) -> String {
        output.showsColors ? "\u{1b}[2m\(text)\u{1b}[0m" : text
    }

    private func colored(_ text: String, _ level: Logger.Level) -> String {
        guard output.showsColors else { return text }
        let color =
            switch level {
            case .trace, .debug: 90
            case .info: 32
            case .notice: 36
            case .warning: 33
            case .error, .critical: 31
            }
        return "\u{1b}[\(color)m\(text)\u{1b}[0m"
    }
}

// MARK: - What both share

extension LogHandler {
    /// The event's metadata over the provider's over the handler's own; an error becomes `error`.
    fileprivate func allMetadata(of event: LogEvent) -> Logger.Metadata {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        if let own = event.metadata { all.merge(own) { $1 } }
        return all
    }
}

/// Sorted by name; what is nested gets the outer name and a dot in front.
private func flattened(_ metadata: Logger.Metadata) -> [(name: String, value: Logger.MetadataValue)]
{
    metadata.sorted { $0.key < $1.key }.flatMap { name, value in
        guard case .dictionary(let inner) = value else { return [(name, value)] }
        return flattened(inner).map { ("\(name).\($0.name)", $0.value) }
    }
}

/// A value of at most 8 KiB; what is cut off is said.
private func bounded(_ text: String) -> String {
    let limit = 8 << 10
    guard text.utf8.count > limit else { return text }
    return String(decoding: text.utf8.prefix(limit), as: UTF8.self)
        + "... (\(text.utf8.count) bytes)"
}

/// `text` as a JSON string, in quotes (RFC 8259, section 7).
func jsonString(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case "\u{0}"..<" ", "\u{7f}":
            let digits = String(scalar.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}

package func systemTime() -> timespec {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return time
}

/// RFC 3339 with milliseconds: "2026-11-23T14:03:27.123Z".
private func universalTime(_ time: timespec) -> String {
    var seconds = time.tv_sec
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let date = [
        digits(Int(parts.tm_year) + 1900, 4), digits(parts.tm_mon + 1), digits(parts.tm_mday),
    ].joined(separator: "-")
    return "\(date)T\(clockFace(parts, time))Z"
}

/// "14:03:27.123"
private func localTime(_ time: timespec) -> String {
    var seconds = time.tv_sec
    var parts = tm()
    localtime_r(&seconds, &parts)
    return clockFace(parts, time)
}

private func clockFace(_ parts: tm, _ time: timespec) -> String {
    let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { digits($0) }
    return clock.joined(separator: ":") + "." + digits(time.tv_nsec / 1_000_000, 3)
}

private func digits(_ number: some BinaryInteger, _ count: Int = 2) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, count - text.count)) + text
}

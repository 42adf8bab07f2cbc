import Glibc
import Kafka
import Pipeline

/// A score event drawn for a terminal: words shaded by attention beside a heat map of the picture;
/// plain text where stderr is no terminal.
struct ScoreView: Sendable {
    private let hasColour: Bool
    /// Columns of the terminal.
    private let width: Int

    init() {
        hasColour = isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == nil
        var size = winsize()
        let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        width = isKnown ? Int(size.ws_col) : 100
    }

    func score(_ json: [UInt8], number: Int, lag: Int64, inFlight: Int) -> String {
        let event: ScoreEvent
        do throws(JSONError) {
            event = try ScoreEvent(parsing: json)
        } catch {
            return "\n#\(number)  a score that cannot be read: \(error)"
        }
        let origin = "\(printable(event.uid)), post \(printable(event.pid))"
        guard case .scored(let scored) = event.outcome else {
            return "\n#\(number)  expired: too late for a score   \(origin)"
        }
        let attention = scored.attention
        let map = hasColour ? attention.image.map(heatMap) : nil
        let indent = map == nil ? 4 : (attention.image?.columns ?? 0) + 4
        let title =
            "#\(number)  score \(decimal(scored.score, places: 2)), "
            + "\(decimal(Float(scored.viewsPerDay), places: 1)) views a day"
        let timings = scored.timings
        let stages: [(String, Float)] = [
            ("queue", timings.queue), ("fetch", timings.fetch), ("decode", timings.decode),
            ("backbone", timings.backbone), ("encode", timings.encode), ("score", timings.score),
        ]
        let lines =
            [
                "\(bold(title))   \(origin)   "
                    + scored.flags.map(\.rawValue).joined(separator: ", ")
            ] + words(attention.words, width: max(20, width - indent)) + [
                "attention: text \(percent(attention.textWeight)), "
                    + "image \(percent(attention.imageWeight))",
                stages.map { "\($0) \(decimal($1, places: 0))" }.joined(separator: ", ")
                    + " ms; lag \(lag), in flight \(inFlight)",
            ]
        guard let map else {
            return "\n" + lines.joined(separator: "\n    ")
        }
        let margin = String(repeating: " ", count: indent)
        return (0..<max(map.count, lines.count)).reduce("") { drawing, row in
            let left = row < map.count ? "  \(map[row])  " : margin
            return drawing + "\n" + left + (row < lines.count ? lines[row] : "")
        }
    }

    func deadLetter(_ message: ConsumedMessage, number: Int) -> String {
        func header(_ name: String) -> String {
            let value = message.headers.last { $0.name == name }?.value ?? []
            return printable(String(decoding: value, as: UTF8.self))
        }
        return "\n#\(number)  dead letter: \(header(DeadLetter.HeaderName.reason)): "
            + header(DeadLetter.HeaderName.error)
    }

    // MARK: Drawing

    /// The words, shaded or with their share, in lines of at most `width` columns.
    private func words(_ words: [ScoreAttention.Word], width: Int) -> [String] {
        guard !words.isEmpty else { return ["(no known word)"] }
        let largest = words.map(\.weight).max() ?? 1
        var lines: [String] = []
        var line = ""
        var columns = 0
        for word in words {
            let text = printable(word.text)
            let plain = hasColour ? " \(text) " : "\(text) \(percent(word.weight))  "
            let taken = Self.columns(of: plain)
            if columns > 0, columns + taken > width {
                lines.append(line)
                (line, columns) = ("", 0)
            }
            line += hasColour ? shaded(plain, word.weight / largest) : plain
            columns += taken
        }
        return lines + [line]
    }

    /// East Asian characters and emoji take two columns.
    private static func columns(of text: String) -> Int {
        text.unicodeScalars.reduce(0) { columns, scalar in
            switch scalar.value {
            case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF,
                0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1FAFF,
                0x20000...0x3FFFD:
                columns + 2
            default:
                scalar.properties.generalCategory == .nonspacingMark ? columns : columns + 1
            }
        }
    }

    /// Two rows of regions a line: the upper half block has one colour, what is behind it another.
    private func heatMap(_ image: ScoreAttention.Grid) -> [String] {
        func colour(_ row: Int, _ column: Int) -> Int {
            guard row < image.rows else { return Self.ramp[0] }
            return Self.colour(Float(image.levels[row * image.columns + column]) / 255)
        }
        return stride(from: 0, to: image.rows, by: 2).map { row in
            (0..<image.columns).map { column in
                "\u{1B}[38;5;\(colour(row, column))m\u{1B}[48;5;\(colour(row + 1, column))m▀"
            }.joined() + "\u{1B}[0m"
        }
    }

    /// From black through red and orange to white, in the 256-colour palette.
    private static let ramp = [16, 52, 88, 124, 160, 166, 202, 208, 214, 220, 227, 230, 231]

    private static func colour(_ level: Float) -> Int {
        ramp[min(ramp.count - 1, max(0, Int(level * Float(ramp.count))))]
    }

    private func shaded(_ text: String, _ level: Float) -> String {
        let ink = level > 0.6 ? 16 : 231
        return "\u{1B}[48;5;\(Self.colour(level * 0.85))m\u{1B}[38;5;\(ink)m\(text)\u{1B}[0m"
    }

    private func bold(_ text: String) -> String {
        hasColour ? "\u{1B}[1m\(text)\u{1B}[0m" : text
    }

    private func percent(_ share: Float) -> String { "\(decimal(share * 100, places: 0)) %" }

    private func decimal(_ value: Float, places: Int) -> String {
        guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
        let scale = pow(10, Double(places))
        let scaled = Int((Double(abs(value)) * scale).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard places > 0 else { return "\(sign)\(scaled)" }
        let (whole, fraction) = scaled.quotientAndRemainder(dividingBy: Int(scale))
        let digits = String(fraction)
        let zeros = String(repeating: "0", count: places - digits.count)
        return "\(sign)\(whole).\(zeros)\(digits)"
    }

    /// Text from outside cannot drive the terminal.
    private func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
                    default: scalar
                    }
                }))
    }
}

import Glibc
import Kafka
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A score event drawn for a terminal: words shaded by attention beside a heat map of the picture;
/// plain text where stderr is no terminal.
struct ScoreView: Sendable {
    /// As much of `score.v1.json` as is shown.
    private struct Event: Decodable {
        struct Attention: Decodable {
            struct Word: Decodable {
                let text: String
                let weight: Double

                init(from decoder: any Decoder) throws {
                    var pair = try decoder.unkeyedContainer()
                    text = try pair.decode(String.self)
                    weight = try pair.decode(Double.self)
                }
            }
            struct Image: Decodable {
                let grid: [Int]
                let weights: Data
            }
            struct Modality: Decodable {
                let text: Double
                let image: Double
            }
            let words: [Word]
            let image: Image?
            let modality: Modality
        }
        let status: String
        let pid: String
        let uid: String
        let score: Double?
        let views_per_day: Double?
        let flags: [String]?
        let attention: Attention?
        let timings_ms: [String: Double]?
    }

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
        guard let event = try? JSONDecoder().decode(Event.self, from: Data(json)) else {
            return "#\(number) a score that cannot be read: \(String(decoding: json, as: UTF8.self))"
        }
        guard let score = event.score, let attention = event.attention else {
            return "#\(number) \(printable(event.uid)), post \(printable(event.pid)): \(event.status)"
        }
        let views = event.views_per_day ?? 0
        let flags = (event.flags ?? []).joined(separator: ", ")
        let stages = ["queue", "fetch", "decode", "backbone", "encode", "score"].map {
            "\($0) \(decimal(event.timings_ms?[$0] ?? 0, places: 0))"
        }
        let map = hasColour ? attention.image.flatMap(heatMap) : nil
        let indent = map == nil ? 4 : (attention.image?.grid.last ?? 0) + 4
        let title =
            "#\(number)  score \(decimal(score, places: 2)), \(decimal(views, places: 1)) views a day"
        let lines =
            ["\(bold(title))   \(printable(event.uid)), post \(printable(event.pid))   \(flags)"]
            + words(attention.words, width: max(20, width - indent)) + [
                "attention: text \(percent(attention.modality.text)), "
                    + "image \(percent(attention.modality.image))",
                "\(stages.joined(separator: ", ")) ms; lag \(lag), in flight \(inFlight)",
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
    private func words(_ words: [Event.Attention.Word], width: Int) -> [String] {
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
    private func heatMap(_ image: Event.Attention.Image) -> [String]? {
        guard image.grid.count == 2, image.grid[0] > 0, image.grid[1] > 0,
            image.weights.count == image.grid[0] * image.grid[1]
        else { return nil }
        let (rows, columns) = (image.grid[0], image.grid[1])
        func level(_ row: Int, _ column: Int) -> Int {
            guard row < rows else { return Self.ramp[0] }
            return Self.colour(Double(image.weights[image.weights.startIndex + row * columns + column]) / 255)
        }
        return stride(from: 0, to: rows, by: 2).map { row in
            (0..<columns).map { column in
                "\u{1B}[38;5;\(level(row, column))m\u{1B}[48;5;\(level(row + 1, column))m▀"
            }.joined() + "\u{1B}[0m"
        }
    }

    /// From black through red and orange to white, in the 256-colour palette.
    private static let ramp = [16, 52, 88, 124, 160, 166, 202, 208, 214, 220, 227, 230, 231]

    private static func colour(_ level: Double) -> Int {
        ramp[min(ramp.count - 1, max(0, Int(level * Double(ramp.count))))]
    }

    private func shaded(_ text: String, _ level: Double) -> String {
        let ink = level > 0.6 ? 16 : 231
        return "\u{1B}[48;5;\(Self.colour(level * 0.85))m\u{1B}[38;5;\(ink)m\(text)\u{1B}[0m"
    }

    private func bold(_ text: String) -> String {
        hasColour ? "\u{1B}[1m\(text)\u{1B}[0m" : text
    }

    private func percent(_ share: Double) -> String { "\(decimal(share * 100, places: 0)) %" }

    private func decimal(_ value: Double, places: Int) -> String {
        guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
        let scale = pow(10, Double(places))
        let scaled = (abs(value) * scale).rounded()
        let whole = Int(scaled / scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard places > 0 else { return "\(sign)\(whole)" }
        let fraction = String(Int(scaled) - whole * Int(scale))
        return "\(sign)\(whole)." + String(repeating: "0", count: places - fraction.count) + fraction
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

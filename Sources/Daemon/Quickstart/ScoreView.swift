import Gallery
import Glibc
import Kafka
import Model
import Pipeline

/// A score event drawn for a terminal: words shaded by attention beside a heat map of the picture;
/// plain text where stderr is no terminal. A post of the gallery takes at most eight lines, with
/// what is true of it.
struct ScoreView: Sendable {
    let isOnTerminal: Bool
    private let hasColour: Bool
    /// Columns of the terminal.
    private let width: Int
    private var errors = ErrorsSoFar()

    init() {
        isOnTerminal = isatty(STDERR_FILENO) == 1
        hasColour = isOnTerminal && getenv("NO_COLOR") == nil
        var size = winsize()
        let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        width = isKnown ? Int(size.ws_col) : 100
    }

    /// - Parameter truth: what is true of the post of an id, where that is known.
    mutating func score(
        _ json: [UInt8], number: Int, lag: Int64, inFlight: Int,
        truth: (_ pid: String) -> GalleryPost?
    ) -> String {
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
        let title =
            "#\(number)  score \(decimal(scored.score, places: 2)), "
            + "\(decimal(Float(scored.viewsPerDay), places: 1)) views a day"
        let load = "lag \(lag), in flight \(inFlight)"
        if let truth = truth(event.pid) {
            errors.add(score: scored.score, truth: truth)
            // The line below a post parts it from the next.
            return (number == 1 ? "\n" : "") + drawing(scored, title: title, truth: truth) + "\n"
                + soFar(load)
        }

        let attention = scored.attention
        let map = hasColour ? attention.image.map(heatMap) : nil
        let indent = map == nil ? 4 : (attention.image?.columns ?? 0) + 4
        let lines =
            [
                "\(bold(title))   \(origin)   "
                    + scored.flags.map(\.rawValue).joined(separator: ", ")
            ] + words(attention.words, width: max(20, width - indent)) + [
                "attention: text \(percent(attention.textWeight)), "
                    + "image \(percent(attention.imageWeight))",
                "\(stages(scored.timings)); \(load)",
            ]
        return "\n" + beside(map, lines, indent: indent)
    }

    private func stages(_ timings: ScoreEvent.Timings) -> String {
        let stages: [(String, Float)] = [
            ("queue", timings.queue), ("fetch", timings.fetch), ("decode", timings.decode),
            ("backbone", timings.backbone), ("encode", timings.encode), ("score", timings.score),
        ]
        return stages.map { "\($0) \(decimal($1, places: 0))" }.joined(separator: ", ") + " ms"
    }

    /// Lines of text to the right of a map, where there is one.
    private func beside(_ map: [String]?, _ lines: [String], indent: Int) -> String {
        guard let map else {
            return lines.joined(separator: "\n    ")
        }
        let margin = String(repeating: " ", count: indent)
        return (0..<max(map.count, lines.count)).map { row in
            let left = row < map.count ? "  \(map[row])  " : margin
            return left + (row < lines.count ? lines[row] : "")
        }.joined(separator: "\n")
    }

    // MARK: Beside the truth

    /// Columns that a line about a post of the gallery takes, nearly always.
    private static let usualColumns = 62
    private static let maximumWordLines = 2

    /// Seven lines: the attention and, where there is room, the picture itself as small as the
    /// attention; to the right of them the score, the truth, the words and what counts.
    private func drawing(
        _ scored: ScoreEvent.Scored, title: String, truth: GalleryPost
    ) -> String {
        var map = hasColour ? scored.attention.image.map(heatMap) : nil
        var indent = 4
        if let attention = map, let grid = scored.attention.image {
            indent = grid.columns + 4
            if let picture = truth.picture, width - indent - grid.columns - 2 >= Self.usualColumns {
                indent += grid.columns + 2
                map = zip(attention, thumbnail(picture, grid)).map { "\($0)  \($1)" }
            }
        }
        let room = max(20, width - indent)
        func fitted(_ line: String) -> String {
            isOnTerminal ? String(line.prefix(room)) : line
        }
        let flags = scored.flags.map(\.rawValue)
        let origin = ([truth.uid] + flags + [truth.pid]).joined(separator: "   ")
        let text = "text \(percent(scored.attention.textWeight)):  "
        var words = words(scored.attention.words, width: room, startingAt: text.count)
        if words.count > Self.maximumWordLines {
            words = Array(words.prefix(Self.maximumWordLines))
            words[words.count - 1] += "…"
        }
        words[0] = text + words[0]
        let image = "image \(percent(scored.attention.imageWeight)):  "
        return beside(
            map,
            [bold(title) + fitted("\(title)   \(origin)").dropFirst(title.count)]
                + [fitted(came(truth))] + words
                + [
                    fitted("words that matter: \(wordsThatMatter(truth))"),
                    fitted(image + thingsThatCount(truth, scored.attention.image)),
                    fitted(stages(scored.timings)),
                ], indent: indent)
    }

    private func came(_ truth: GalleryPost) -> String {
        let last = truth.lastObservation
        let days = Int((Double(last.observedAt - truth.postedAt) / 86_400).rounded())
        return "truth \(decimal(Float(truth.expectedScore), places: 2)) without noise; "
            + "\(last.views) views after \(days) days say "
            + decimal(Float(truth.observedScore), places: 2)
    }

    private func wordsThatMatter(_ truth: GalleryPost) -> String {
        let words = truth.words.filter(\.warm).sorted {
            abs($0.contribution) > abs($1.contribution)
        }
        guard !words.isEmpty else { return "none" }
        return words.map { "\($0.word) \(signed($0.contribution))" }.joined(separator: ", ")
    }

    /// What of the picture counts, and how much of the attention lies on it.
    private func thingsThatCount(_ truth: GalleryPost, _ grid: ScoreAttention.Grid?) -> String {
        guard let picture = truth.picture else { return "no picture" }
        let subject = truth.subject.map { picture.objects[$0] }
        let boxes = (subject.map { [$0] } ?? picture.objects).map { picture.parts(of: $0.box) }
        let what =
            if let subject {
                "counts: the \(subject.color.rawValue) \(subject.kind.rawValue)"
                    + (truth.isSubjectNamed ? "" : " (unnamed)")
            } else {
                "counts: all things alike"
            }
        let share = grid.map {
            ", \(percent($0.share(inside: boxes))) \(subject == nil ? "on them" : "on it")"
        }
        return "\(what) \(signed(truth.parts.image))\(share ?? "")"
    }

    private func soFar(_ load: String) -> String {
        guard let errors = errors.meanSquares else { return load }
        let line =
            "so far: mean squared error \(decimal(Float(errors.model), places: 2)), "
            + "irreducible \(decimal(Float(errors.irreducible), places: 2)); \(load)"
        return hasColour ? "\u{1B}[2m── \(line)\u{1B}[0m" : "-- \(line)"
    }

    /// The picture itself, a pixel to a region of the attention.
    private func thumbnail(
        _ picture: GalleryPicture, _ grid: ScoreAttention.Grid
    ) -> [String] {
        let pixels = picture.render()
        func level(_ channel: Int, _ row: Int, _ column: Int) -> Int {
            let rows = row * pixels.height / grid.rows..<(row + 1) * pixels.height / grid.rows
            let columns =
                column * pixels.width / grid.columns..<(column + 1) * pixels.width / grid.columns
            var sum = 0
            for y in rows {
                for x in columns { sum += Int(pixels.rgb[(y * pixels.width + x) * 3 + channel]) }
            }
            let mean = sum / max(1, rows.count * columns.count)
            // The palette's cube of 6 x 6 x 6 colours: 0, 95, 135, 175, 215, 255.
            return mean < 48 ? 0 : max(1, (mean - 35) / 40)
        }
        return halfBlocks(rows: grid.rows, columns: grid.columns) { row, column in
            16 + 36 * level(0, row, column) + 6 * level(1, row, column) + level(2, row, column)
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
    private func words(
        _ words: [ScoreAttention.Word], width: Int, startingAt start: Int = 0
    ) -> [String] {
        guard !words.isEmpty else { return ["(no known word)"] }
        let largest = words.map(\.weight).max() ?? 1
        var lines: [String] = []
        var line = ""
        var columns = start
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

    private func heatMap(_ image: ScoreAttention.Grid) -> [String] {
        halfBlocks(rows: image.rows, columns: image.columns) { row, column in
            Self.colour(Float(image.levels[row * image.columns + column]) / 255)
        }
    }

    /// Two rows of cells a line: the upper half block has one colour, what is behind it another.
    private func halfBlocks(
        rows: Int, columns: Int, colour: (_ row: Int, _ column: Int) -> Int
    ) -> [String] {
        stride(from: 0, to: rows, by: 2).map { row in
            (0..<columns).map { column in
                let lower = row + 1 < rows ? colour(row + 1, column) : Self.ramp[0]
                return "\u{1B}[38;5;\(colour(row, column))m\u{1B}[48;5;\(lower)m▀"
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

    private func signed(_ value: Double) -> String {
        (value < 0 ? "" : "+") + decimal(Float(value), places: 2)
    }

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

extension ScoreAttention.Grid {
    /// How much of the attention lies inside boxes that do not overlap: a region that is cut counts
    /// with the part inside.
    ///
    /// - Parameter boxes: x0, y0, x1, y1 as parts of the picture's width and height.
    fileprivate func share(inside boxes: [[Double]]) -> Float {
        func overlap(_ low: Double, _ high: Double, _ index: Int, of count: Int) -> Double {
            let (from, to) = (low * Double(count), high * Double(count))
            return max(0, min(to, Double(index + 1)) - max(from, Double(index)))
        }
        let whole = levels.reduce(0) { $0 + Double($1) }
        var inside = 0.0
        for box in boxes where box.count == 4 {
            for row in 0..<rows {
                for column in 0..<columns {
                    inside +=
                        Double(levels[row * columns + column])
                        * overlap(box[0], box[2], column, of: columns)
                        * overlap(box[1], box[3], row, of: rows)
                }
            }
        }
        return Float(inside / max(whole, 1))
    }
}

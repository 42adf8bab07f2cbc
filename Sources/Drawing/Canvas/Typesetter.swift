import CCairo

/// Text to glyphs: DejaVu Sans, and for characters that it lacks the first font of a list that has
/// them. Where a font is not installed, fontconfig gives its nearest.
///
/// No shaping: Arabic letters stay unjoined, and a text from right to left is only set in that
/// order. (Pages leave text to the browser, which does all of it.)
struct Typesetter {
    /// A line ready to be shown.
    struct Line {
        struct Run {
            let family: Int
            let text: String
            let width: Double
        }
        let font: Canvas.Font
        let runs: [Run]
        let width: Double
    }

    private static let families = [
        "DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Color Emoji",
    ]
    /// Longer texts are cut: nothing drawn has room for them.
    private static let maximumCharacters = 2_000
    /// Shown where no font has a character.
    private static let substitute: Character = "\u{25A1}"

    /// The first font that has a character.
    private var coverage: [Character: Int?] = [:]
    private static let maximumCoverage = 20_000

    mutating func line(_ text: String, _ font: Canvas.Font, _ context: OpaquePointer?) -> Line {
        let text = Self.visual(String(Self.printable(text).prefix(Self.maximumCharacters)))
        var runs: [(family: Int, text: String)] = []
        if Self.covers(0, text, font, context) {
            runs = [(0, text)]
        } else {
            for character in text {
                let found = family(of: character, font, context)
                let (family, character) = found.map { ($0, character) } ?? (0, Self.substitute)
                if runs.last?.family == family {
                    runs[runs.count - 1].text.append(character)
                } else {
                    runs.append((family, String(character)))
                }
            }
        }
        let measured = runs.map { run in
            Line.Run(
                family: run.family, text: run.text,
                width: Self.width(run.family, run.text, font, context))
        }
        return Line(font: font, runs: measured, width: measured.reduce(0) { $0 + $1.width })
    }

    func show(_ line: Line, x: Double, y: Double, _ context: OpaquePointer?) {
        var x = x
        for run in line.runs {
            Self.select(run.family, line.font, context)
            cairo_move_to(context, x, y)
            cairo_show_text(context, run.text)
            x += run.width
        }
        cairo_new_path(context)
    }

    private mutating func family(
        of character: Character, _ font: Canvas.Font, _ context: OpaquePointer?
    ) -> Int? {
        if let known = coverage[character] { return known }
        let family = Self.families.indices.first {
            Self.covers($0, String(character), font, context)
        }
        if coverage.count < Self.maximumCoverage { coverage[character] = .some(family) }
        return family
    }

    private static func select(
        _ family: Int, _ font: Canvas.Font, _ context: OpaquePointer?
    ) {
        cairo_select_font_face(
            context, families[family], CAIRO_FONT_SLANT_NORMAL,
            font.isBold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL)
        cairo_set_font_size(context, font.size)
    }

    /// Glyph 0 of every font stands for what it lacks.
    private static func covers(
        _ family: Int, _ text: String, _ font: Canvas.Font, _ context: OpaquePointer?
    ) -> Bool {
        select(family, font, context)
        var glyphs: UnsafeMutablePointer<cairo_glyph_t>?
        var count: Int32 = 0
        let status = cairo_scaled_font_text_to_glyphs(
            cairo_get_scaled_font(context), 0, 0, text, Int32(text.utf8.count), &glyphs, &count,
            nil, nil, nil)
        guard status == CAIRO_STATUS_SUCCESS else { return false }
        defer { cairo_glyph_free(glyphs) }
        return UnsafeBufferPointer(start: glyphs, count: Int(count)).allSatisfy { $0.index != 0 }
    }

    private static func width(
        _ family: Int, _ text: String, _ font: Canvas.Font, _ context: OpaquePointer?
    ) -> Double {
        select(family, font, context)
        var extents = cairo_text_extents_t()
        cairo_text_extents(context, text, &extents)
        return extents.x_advance
    }

    /// Without what has no picture of its own: controls, marks of direction, joiners, selectors.
    private static func printable(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: scalars.append(" ")
            case .format: break
            default: if !(0xFE00...0xFE0F ~= scalar.value) { scalars.append(scalar) }
            }
        }
        return String(scalars)
    }

    /// Turns stretches that are read from right to left.
    private static func visual(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isRightToLeft) else { return text }
        var shown = ""
        var stretch: [Character] = []
        var blanks: [Character] = []
        for character in text {
            if character.unicodeScalars.contains(where: isRightToLeft) {
                stretch += blanks + [character]
                blanks = []
            } else if character == " ", !stretch.isEmpty {
                blanks.append(character)
            } else {
                shown += String(stretch.reversed()) + String(blanks) + String(character)
                (stretch, blanks) = ([], [])
            }
        }
        return shown + String(stretch.reversed()) + String(blanks)
    }

    private static func isRightToLeft(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x590...0x8FF, 0xFB1D...0xFDFF, 0xFE70...0xFEFF: true
        default: false
        }
    }
}

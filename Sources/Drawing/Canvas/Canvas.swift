import CCairo
import Model

/// Draws on a surface: the owner of one `cairo_t`. Lengths in pixels from the upper left corner.
///
/// Cairo keeps the first error of a drawing and ignores what comes after it; `finish` reports it.
final class Canvas {
    struct Font: Hashable {
        var size: Double
        var isBold = false
    }
    enum Alignment { case left, centre, right }

    let surface: Surface
    private let context: OpaquePointer?
    private var typesetter = Typesetter()

    var width: Double { Double(surface.width) }
    var height: Double { Double(surface.height) }

    init(width: Int, height: Int, ground: Colour = .white) throws(DrawingError) {
        surface = try Surface(width: width, height: height)
        context = cairo_create(surface.handle)
        try check(cairo_status(context))
        fill(0, 0, self.width, self.height, ground)
    }

    deinit {
        cairo_destroy(context)
    }

    func finish() throws(DrawingError) -> Surface {
        try check(cairo_status(context))
        return surface
    }

    // MARK: Shapes

    func fill(
        _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ colour: Colour,
        opacity: Double = 1, radius: Double = 0
    ) {
        outline(x, y, width, height, radius: radius)
        use(colour, opacity)
        cairo_fill(context)
    }

    func dot(_ x: Double, _ y: Double, radius: Double, _ colour: Colour, opacity: Double = 1) {
        cairo_new_path(context)
        cairo_arc(context, x, y, radius, 0, 2 * .pi)
        use(colour, opacity)
        cairo_fill(context)
    }

    func ring(_ x: Double, _ y: Double, radius: Double, _ colour: Colour, thickness: Double) {
        cairo_new_path(context)
        cairo_arc(context, x, y, radius, 0, 2 * .pi)
        use(colour, 1)
        cairo_set_line_width(context, thickness)
        cairo_stroke(context)
    }

    /// - Parameter dashes: lengths of dash and gap; empty for a whole line.
    func line(
        through points: [(x: Double, y: Double)], _ colour: Colour, thickness: Double = 1,
        dashes: [Double] = []
    ) {
        guard points.count > 1 else { return }
        cairo_new_path(context)
        for point in points { cairo_line_to(context, point.x, point.y) }
        use(colour, 1)
        cairo_set_line_width(context, thickness)
        cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND)
        cairo_set_dash(context, dashes, Int32(dashes.count), 0)
        cairo_stroke(context)
        cairo_set_dash(context, nil, 0, 0)
    }

    /// Inside the rectangle only.
    func clipped(
        to x: Double, _ y: Double, _ width: Double, _ height: Double, radius: Double = 0,
        _ draw: () -> Void
    ) {
        cairo_save(context)
        outline(x, y, width, height, radius: radius)
        cairo_clip(context)
        draw()
        cairo_restore(context)
    }

    /// `picture`, stretched to the rectangle.
    func paint(
        _ picture: Surface, _ x: Double, _ y: Double, _ width: Double, _ height: Double
    ) {
        cairo_save(context)
        cairo_translate(context, x, y)
        cairo_scale(
            context, width / Double(picture.width), height / Double(picture.height))
        cairo_set_source_surface(context, picture.handle, 0, 0)
        // Averages what it makes smaller, and does not mix the edge with nothing.
        cairo_pattern_set_filter(cairo_get_source(context), CAIRO_FILTER_GOOD)
        cairo_pattern_set_extend(cairo_get_source(context), CAIRO_EXTEND_PAD)
        cairo_rectangle(context, 0, 0, Double(picture.width), Double(picture.height))
        cairo_fill(context)
        cairo_restore(context)
    }

    private func use(_ colour: Colour, _ opacity: Double) {
        cairo_set_source_rgba(context, colour.red, colour.green, colour.blue, opacity)
    }

    private func outline(
        _ x: Double, _ y: Double, _ width: Double, _ height: Double, radius: Double
    ) {
        cairo_new_path(context)
        let radius = min(radius, width / 2, height / 2)
        guard radius > 0 else {
            cairo_rectangle(context, x, y, width, height)
            return
        }
        let (right, bottom) = (x + width, y + height)
        cairo_arc(context, right - radius, y + radius, radius, -.pi / 2, 0)
        cairo_arc(context, right - radius, bottom - radius, radius, 0, .pi / 2)
        cairo_arc(context, x + radius, bottom - radius, radius, .pi / 2, .pi)
        cairo_arc(context, x + radius, y + radius, radius, .pi, 3 * .pi / 2)
        cairo_close_path(context)
    }

    // MARK: Text

    func width(of text: String, _ font: Font) -> Double {
        typesetter.line(text, font, context).width
    }

    /// - Parameter y: of the line that letters stand on.
    func text(
        _ text: String, _ x: Double, _ y: Double, _ font: Font, _ colour: Colour = .ink,
        _ alignment: Alignment = .left
    ) {
        let line = typesetter.line(text, font, context)
        let start =
            switch alignment {
            case .left: x
            case .centre: x - line.width / 2
            case .right: x - line.width
            }
        use(colour, 1)
        typesetter.show(line, x: start, y: y, context)
    }

    /// Read from below.
    func uprightText(
        _ text: String, _ x: Double, _ y: Double, _ font: Font, _ colour: Colour = .ink
    ) {
        cairo_save(context)
        cairo_translate(context, x, y)
        cairo_rotate(context, -.pi / 2)
        self.text(text, 0, 0, font, colour, .centre)
        cairo_restore(context)
    }

    /// `text` in lines of at most `width`, broken at blanks and, where a word is wider than a line,
    /// within it; an ellipsis where it goes on beyond `maximumLines`.
    func lines(of text: String, _ font: Font, width: Double, maximumLines: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        var rest = text.split(whereSeparator: \.isWhitespace)[...]
        while let word = rest.first, lines.count < maximumLines {
            let longer = line.isEmpty ? String(word) : "\(line) \(word)"
            if self.width(of: longer, font) <= width {
                line = longer
                rest.removeFirst()
            } else if line.isEmpty {
                let head = fitting(word, font, width: width)
                lines.append(String(head))
                rest[rest.startIndex] = word[head.endIndex...]
            } else {
                lines.append(line)
                line = ""
            }
        }
        if !line.isEmpty, lines.count < maximumLines {
            lines.append(line)
        } else if !line.isEmpty {
            rest = [""]
        }
        if !rest.isEmpty, let last = lines.popLast() {
            lines.append(clipped("\(last)…", font, width: width, isCut: true))
        }
        return lines
    }

    /// `text`, with an ellipsis in place of what does not fit.
    func clipped(
        _ text: String, _ font: Font, width: Double, isCut: Bool = false
    ) -> String {
        guard self.width(of: text, font) > width else { return text }
        var kept = fitting(text[...], font, width: width - self.width(of: "…", font))
        while kept.last?.isWhitespace == true { kept.removeLast() }
        return "\(kept)…"
    }

    /// As many characters from the front as fit, at least one.
    private func fitting(_ text: Substring, _ font: Font, width: Double) -> Substring {
        var (fits, tooLong) = (1, text.count + 1)
        while tooLong - fits > 1 {
            let count = (fits + tooLong) / 2
            if self.width(of: String(text.prefix(count)), font) <= width {
                fits = count
            } else {
                tooLong = count
            }
        }
        return text.prefix(fits)
    }
}

import Glibc
import Model
import Pipeline

/// An explanation as one picture: the photo beside the photo with its heat map, score, what text
/// and picture weigh, words shaded by attention, faithfulness; for several users a column each.
package struct ExplanationCard: Sendable {
    private let explanation: Explanation

    package init(_ explanation: Explanation) {
        self.explanation = explanation
    }

    package func png() throws(DrawingError) -> [UInt8] {
        try surface().png()
    }

    private static let margin = 32.0
    private static let gap = 28.0
    /// What is drawn is shorter; the rest is cut off.
    private static let maximumHeight = 3_600

    package func surface() throws(DrawingError) -> Surface {
        let isSingle = explanation.readings.count == 1
        let column = isSingle ? 580.0 : 400.0
        let columns = Double(explanation.readings.count + 1)
        let width = 2 * Self.margin + columns * column + (columns - 1) * Self.gap
        let canvas = try Canvas(width: Int(width), height: Self.maximumHeight)
        var bottom = try CardPainter(
            canvas: canvas, explanation: explanation, margin: Self.margin, gap: Self.gap,
            column: column
        ).draw()
        bottom = min(bottom + Self.margin - 8, canvas.height)
        let drawn = try canvas.finish()
        let card = try Canvas(width: Int(width), height: max(1, Int(bottom)))
        card.paint(drawn, 0, 0, canvas.width, canvas.height)
        return try card.finish()
    }
}

/// Draws from above to below; each part begins at `y` and gives back where it ends.
private struct CardPainter {
    let canvas: Canvas
    let explanation: Explanation
    let margin: Double
    let gap: Double
    let column: Double

    private static let caption = Canvas.Font(size: 15, isBold: true)
    private static let body = Canvas.Font(size: 15)
    private static let small = Canvas.Font(size: 13)

    func draw() throws(DrawingError) -> Double {
        let top = head()
        let right = margin + column + gap
        if explanation.readings.count == 1 {
            let reading = explanation.readings[0]
            var left = caption("The photo", margin, top)
            left = try photo(margin, left)
            left = score(reading, margin, max(left, legendRoom(left)))
            left = shares(reading, margin, left)
            var other = caption("Where the model looked", right, top)
            other = try heatMap(reading, right, other)
            other = words(reading, right, other)
            return check(reading, x: margin, max(left, other) + 4, columns: 2)
        }
        var left = caption("The photo", margin, top)
        left = try photo(margin, left)
        var bottom = differences(left)
        for (index, reading) in explanation.readings.enumerated() {
            let x = right + Double(index) * (column + gap)
            var y = caption(
                "For \(reading.uid)", x, top, flags: explanation.ownFlags(reading))
            y = try heatMap(reading, x, y)
            y = score(reading, x, y)
            y = shares(reading, x, y)
            y = words(reading, x, y)
            y = check(reading, x: x, y, columns: 1)
            bottom = max(bottom, y)
        }
        return bottom
    }

    private func head() -> Double {
        let width = canvas.width - 2 * margin
        let font = Canvas.Font(size: 26, isBold: true)
        var y = 48.0
        for line in canvas.lines(
            of: explanation.heading, font, width: width, maximumLines: 2)
        {
            canvas.text(line, margin, y, font)
            y += 34
        }
        canvas.text(
            canvas.clipped(explanation.origin, Self.small, width: width), margin, y - 6,
            Self.small, .faint)
        y = flags(explanation.commonFlags, margin, y + 8, width: width)
        return y + 18
    }

    /// Pills.
    private func flags(
        _ flags: [ScoreFlag], _ x: Double, _ y: Double, width: Double
    ) -> Double {
        guard !flags.isEmpty else { return y }
        var (left, top) = (x, y)
        for flag in flags {
            let text = Explanation.text(flag)
            let pill = canvas.width(of: text, Self.small) + 22
            if left + pill > x + width, left > x { (left, top) = (x, top + 30) }
            canvas.fill(left, top, pill, 25, .warningGround, radius: 12)
            canvas.text(text, left + 11, top + 17, Self.small, .warning)
            left += pill + 8
        }
        return top + 38
    }

    /// With its flags at the right of the column.
    private func caption(
        _ text: String, _ x: Double, _ y: Double, flags: [ScoreFlag] = []
    ) -> Double {
        var room = column
        if !flags.isEmpty {
            let flags = flags.map(Explanation.text).joined(separator: ", ")
            let pill = canvas.width(of: flags, Self.small) + 18
            canvas.fill(x + column - pill, y - 12, pill, 22, .warningGround, radius: 11)
            canvas.text(flags, x + column - pill + 9, y + 4, Self.small, .warning)
            room -= pill + 10
        }
        if room > 40 {
            canvas.text(
                canvas.clipped(text, Self.caption, width: room), x, y + 4, Self.caption, .faint)
        }
        return y + 16
    }

    private var photoSize: (width: Double, height: Double) {
        explanation.photo?.size(within: column, column * 0.9) ?? (column, column * 0.4)
    }

    private func photo(_ x: Double, _ y: Double) throws(DrawingError) -> Double {
        let size = photoSize
        if let photo = explanation.photo {
            let picture = try photo.upright(maximumSide: Int(max(size.width, size.height)))
            canvas.clipped(to: x, y, size.width, size.height, radius: 6) {
                canvas.paint(picture, x, y, size.width, size.height)
            }
        } else {
            noPicture("no picture", x, y, size)
        }
        return y + size.height + 30
    }

    private func noPicture(
        _ text: String, _ x: Double, _ y: Double, _ size: (width: Double, height: Double)
    ) {
        canvas.fill(x, y, size.width, size.height, .panel, radius: 6)
        canvas.text(
            text, x + size.width / 2, y + size.height / 2 + 5, Self.body, .faint, .centre)
    }

    /// Below the photo as much is left free as the legend takes beside it.
    private func legendRoom(_ y: Double) -> Double {
        explanation.readings[0].regions == nil ? y : y + 30
    }

    private func heatMap(
        _ reading: Explanation.Reading, _ x: Double, _ y: Double
    ) throws(DrawingError) -> Double {
        let size = photoSize
        guard let photo = explanation.photo, let regions = reading.regions else {
            noPicture("nothing to look at", x, y, size)
            return y + size.height + 30
        }
        let picture = try HeatMap(photo: photo, attention: regions)
            .surface(maximumSide: Int(max(size.width, size.height)))
        canvas.clipped(to: x, y, size.width, size.height, radius: 6) {
            canvas.paint(picture, x, y, size.width, size.height)
        }
        return legend(regions, x, y + size.height + 12, width: max(260, size.width))
    }

    private func legend(
        _ regions: AttentionMap, _ x: Double, _ y: Double, width: Double
    ) -> Double {
        let steps = Int(width)
        for step in 0..<steps {
            let colour = Inferno.colour(Double(step) / Double(max(1, steps - 1)))
            canvas.fill(x + Double(step), y, 1, 10, colour)
        }
        let even = x + width * regions.even / regions.brightest
        canvas.line(through: [(even, y - 3), (even, y + 13)], .ink, thickness: 1.5)
        let baseline = y + 27
        let most =
            "\(Numbers.percent(regions.brightest)), "
            + "\(Numbers.decimal(regions.brightest / regions.even, places: 1)) × even"
        canvas.text("0", x, baseline, Self.small, .faint)
        canvas.text(most, x + width, baseline, Self.small, .faint, .right)
        let middle = "even \(Numbers.percent(regions.even))"
        let half = canvas.width(of: middle, Self.small) / 2
        let free = x + width - canvas.width(of: most, Self.small) - 10 - half
        canvas.text(
            middle, min(max(even, x + 16 + half), free), baseline, Self.small, .faint, .centre)
        return y + 56
    }

    private func score(
        _ reading: Explanation.Reading, _ x: Double, _ y: Double
    ) -> Double {
        let font = Canvas.Font(size: 46, isBold: true)
        let baseline = y + 36
        canvas.text(reading.scoreText, x, baseline, font)
        let after = x + canvas.width(of: reading.scoreText, font) + 16
        canvas.text("score", after, baseline - 22, Self.small, .faint)
        let room = x + column - after
        let views = Canvas.Font(size: 19, isBold: true)
        canvas.text(
            canvas.clipped(reading.views, views, width: room), after, baseline, views)
        var bottom = baseline + 24
        for line in canvas.lines(
            of: Explanation.scale, Self.small, width: column, maximumLines: 2)
        {
            canvas.text(line, x, bottom, Self.small, .faint)
            bottom += 18
        }
        return bottom + 20
    }

    private func shares(
        _ reading: Explanation.Reading, _ x: Double, _ y: Double
    ) -> Double {
        canvas.text("What counted how much", x, y + 4, Self.caption, .faint)
        var top = y + 18
        for (name, share, colour) in [
            ("Text", reading.textWeight, Colour.textBar),
            ("Picture", reading.imageWeight, Colour.imageBar),
        ] {
            let left = x + 70
            let full = column - 70 - 62
            canvas.text(name, x, top + 15, Self.body)
            canvas.fill(left, top, full, 20, .panel, radius: 4)
            let part = share.isFinite ? Double(min(1, max(0, share))) : 0
            if part > 0 { canvas.fill(left, top, max(2, full * part), 20, colour, radius: 4) }
            canvas.text(
                Numbers.percent(part), x + column, top + 15, Self.body, .ink, .right)
            top += 28
        }
        return top + 24
    }

    private static let maximumLinesOfWords = 9

    private func words(
        _ reading: Explanation.Reading, _ x: Double, _ y: Double
    ) -> Double {
        canvas.text("Which words it read closely", x, y + 4, Self.caption, .faint)
        var (left, top) = (x, y + 18)
        guard !reading.words.isEmpty else {
            canvas.text("no word that the model knows", left, top + 18, Self.body, .faint)
            return top + 44
        }
        let font = Canvas.Font(size: 16)
        var line = 1
        // The strongest three say how much.
        let leading = Set(
            reading.words.indices.sorted {
                (-reading.words[$0].weight, $0) < (-reading.words[$1].weight, $1)
            }.prefix(3))
        for (index, word) in reading.words.enumerated() {
            let text = canvas.clipped(word.text, font, width: column - 90)
            let share =
                leading.contains(index) ? Numbers.percent(Double(word.weight)) : ""
            let inner = canvas.width(of: text, font)
            let extra = share.isEmpty ? 0 : canvas.width(of: share, Self.small) + 7
            let box = inner + extra + 14
            if left + box > x + column, left > x {
                line += 1
                (left, top) = (x, top + 33)
            }
            guard line <= Self.maximumLinesOfWords else {
                canvas.text(
                    "and \(reading.words.count - index) more", x, top + 14, Self.small, .faint)
                break
            }
            let strength = min(1, Double(word.weight) / reading.strongestWord)
            canvas.fill(left, top, box, 28, .textBar, opacity: 0.06 + 0.84 * strength, radius: 5)
            let ink: Colour = strength > 0.85 ? .white : .ink
            canvas.text(text, left + 7, top + 20, font, ink)
            canvas.text(share, left + 14 + inner, top + 20, Self.small, ink)
            left += box + 6
        }
        return top + 58
    }

    private func differences(_ y: Double) -> Double {
        var bottom = y + 8
        canvas.text("What the user changes", margin, bottom, Self.caption, .faint)
        bottom += 30
        let font = Canvas.Font(size: 17, isBold: true)
        for difference in explanation.differences {
            for line in canvas.lines(of: difference, font, width: column, maximumLines: 5) {
                canvas.text(line, margin, bottom, font)
                bottom += 25
            }
            bottom += 10
        }
        return bottom
    }

    /// Faithfulness: a bar for the most attended, one for the random draws, and what it means.
    private func check(
        _ reading: Explanation.Reading, x: Double, _ y: Double, columns: Int
    ) -> Double {
        canvas.line(
            through: [(x, y - 14), (x + Double(columns) * (column + gap) - gap, y - 14)], .line)
        canvas.text(
            canvas.clipped(
                "Does the score rest on what was looked at?", Self.caption, width: column), x,
            y + 10, Self.caption, .faint)
        let top = y + 26
        guard !reading.evidence.isEmpty else {
            var bottom = top + 14
            for line in canvas.lines(
                of: Explanation.Reading.noEvidence, Self.body, width: column, maximumLines: 3)
            {
                canvas.text(line, x, bottom, Self.body)
                bottom += 21
            }
            return bottom
        }
        var bottom = top
        for (index, evidence) in reading.evidence.enumerated() {
            let left = columns == 1 ? x : x + Double(index) * (column + gap)
            let end = self.evidence(evidence, left, columns == 1 ? bottom : top)
            bottom = max(bottom, end)
        }
        return bottom
    }

    private func evidence(_ evidence: Evidence, _ x: Double, _ y: Double) -> Double {
        let part = evidence.part
        let longest = max(
            Double(abs(part.change)), Double(part.randomMean + part.randomDeviation), 1e-9)
        let left = x + 130
        let full = column - 130 - 90
        canvas.text(evidence.title, x, y + 14, Self.caption)
        var top = y + 24
        let colour = evidence.title == "Text" ? Colour.textBar : Colour.imageBar
        for (name, size, colour, deviation) in [
            ("most attended", abs(part.change), colour, Float?.none),
            ("random", part.randomMean, Colour(0xA6AEB6), part.randomDeviation),
        ] {
            canvas.text(name, x, top + 13, Self.small)
            let length = full * Double(size) / longest
            canvas.fill(left, top, max(1.5, length), 16, colour, radius: 3)
            if let deviation {
                let reach = full * Double(deviation) / longest
                let ends = (max(left, left + length - reach), left + length + reach)
                canvas.line(
                    through: [(ends.0, top + 8), (ends.1, top + 8)], .ink, thickness: 1.5)
            }
            canvas.text(
                Numbers.decimal(Double(size), places: 3), x + column, top + 13, Self.small, .ink,
                .right)
            top += 22
        }
        top += 20
        canvas.text(
            evidence.ratio, x, top + 6, .init(size: 20, isBold: true),
            evidence.verdict == .nothing ? .faint : .ink)
        let indent = max(70, canvas.width(of: evidence.ratio, .init(size: 20, isBold: true)) + 14)
        var bottom = top
        for (text, font, colour, count) in [
            (evidence.meaning, Canvas.Font(size: 15, isBold: true), Colour.ink, 3),
            (evidence.finding, Self.small, Colour.faint, 5),
        ] {
            for line in canvas.lines(
                of: text, font, width: column - indent, maximumLines: count)
            {
                canvas.text(line, x + indent, bottom, font, colour)
                bottom += 20
            }
            bottom += 2
        }
        return bottom + 16
    }
}

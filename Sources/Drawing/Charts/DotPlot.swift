/// One value a row with its interval, such as systems by their error: the plot for comparing.
///
/// Rows come in the order given. What is not finite is written as such in place of its dot.
package struct DotPlot: Sendable {
    package struct Row: Sendable {
        package var name: String
        package var value: Double
        package var interval: ClosedRange<Double>?
        /// In the second colour.
        package var isHighlighted: Bool

        package init(
            _ name: String, _ value: Double, interval: ClosedRange<Double>? = nil,
            isHighlighted: Bool = false
        ) {
            self.name = name
            self.value = value
            self.interval = interval
            self.isHighlighted = isHighlighted
        }
    }
    package struct Reference: Sendable {
        package var name: String
        package var value: Double

        package init(_ name: String, _ value: Double) {
            self.name = name
            self.value = value
        }
    }

    package var title: String
    /// With its unit, and what the intervals are.
    package var xLabel: String
    package var rows: [Row]
    package var reference: Reference?

    package init(title: String, xLabel: String, rows: [Row], reference: Reference? = nil) {
        self.title = title
        self.xLabel = xLabel
        self.rows = rows
        self.reference = reference
    }

    /// - Parameters: in pixels; without a height the rows have the room they need.
    package func png(width: Int = 1_200, height: Int? = nil) throws(DrawingError) -> [UInt8] {
        try surface(width: width, height: height).png()
    }

    package func surface(
        width: Int = 1_200, height: Int? = nil
    ) throws(DrawingError) -> Surface {
        let unit = Double(width) / 900
        let needed = (150 + 34 * Double(max(1, rows.count))) * unit
        let canvas = try Canvas(width: width, height: height ?? Int(needed))
        draw(on: canvas, unit)
        return try canvas.finish()
    }

    private func draw(on canvas: Canvas, _ unit: Double) {
        var values = rows.map(\.value)
        for row in rows {
            if let interval = row.interval { values += [interval.lowerBound, interval.upperBound] }
        }
        if let reference { values.append(reference.value) }
        let axis = Axis(values, maximumTicks: 7)
        let frame = ChartFrame(canvas: canvas, unit: unit, title: title)
        let plot = frame.drawRows(x: axis, xLabel: xLabel, names: rows.map(\.name))
        func x(_ value: Double) -> Double? {
            axis.place(value).map { plot.x + $0 * plot.width }
        }

        let label = Canvas.Font(size: 13 * unit)
        let rowHeight = (plot.height - 20 * unit) / Double(max(1, rows.count))
        if let reference, let at = x(reference.value) {
            canvas.line(
                through: [(at, plot.y + 4 * unit), (at, plot.y + plot.height)], Colour.series[2],
                thickness: 2 * unit, dashes: [6 * unit, 4 * unit])
            let text = "\(reference.name) \(Numbers.decimal(reference.value, places: 3))"
            let isRight = at < plot.x + plot.width * 0.6
            canvas.text(
                text, at + (isRight ? 6 : -6) * unit, plot.y + 12 * unit, label,
                Colour.series[2], isRight ? .left : .right)
        }
        for (index, row) in rows.enumerated() {
            let y = plot.y + 20 * unit + (Double(index) + 0.5) * rowHeight
            let name = Canvas.Font(size: 14 * unit, isBold: row.isHighlighted)
            canvas.text(
                canvas.clipped(row.name, name, width: plot.x - 36 * unit), plot.x - 14 * unit,
                y + 5 * unit, name, .ink, .right)
            let colour = Colour.series[row.isHighlighted ? 1 : 0]
            guard let at = x(row.value) else {
                canvas.text(
                    Numbers.decimal(row.value, places: 3), plot.x + 8 * unit, y + 5 * unit, label,
                    .warning)
                continue
            }
            var (left, right) = (at, at)
            if let interval = row.interval, let from = x(interval.lowerBound),
                let to = x(interval.upperBound)
            {
                (left, right) = (min(from, at), max(to, at))
                canvas.line(through: [(from, y), (to, y)], colour, thickness: 2.5 * unit)
                for end in [from, to] {
                    canvas.line(
                        through: [(end, y - 5 * unit), (end, y + 5 * unit)], colour,
                        thickness: 2 * unit)
                }
            }
            canvas.dot(at, y, radius: 5.5 * unit, colour)
            let value = Numbers.decimal(row.value, places: 3)
            let width = canvas.width(of: value, label)
            let fits = right + 10 * unit + width < plot.x + plot.width + 34 * unit
            let start = fits ? right + 9 * unit : left - 9 * unit - width
            canvas.fill(
                start - 2 * unit, y - 9 * unit, width + 4 * unit, 18 * unit, .white, opacity: 0.8)
            canvas.text(value, start, y + 5 * unit, label, .ink)
        }
        if rows.isEmpty {
            canvas.text(
                "nothing to compare", plot.x + plot.width / 2, plot.y + plot.height / 2,
                .init(size: 16 * unit), .faint, .centre)
        }
    }
}

/// Values over a common x, such as the losses of a training.
///
/// What is not finite breaks a line; a single point is a dot; a series without points stands in the
/// legend as such. The y axis turns logarithmic where a few large values would crush the others.
package struct LineChart: Sendable {
    package struct Series: Sendable {
        package var name: String
        package var points: [(x: Double, y: Double)]
        /// The index of a point to be marked with its value, such as the best.
        package var marked: Int?

        package init(_ name: String, _ points: [(x: Double, y: Double)], marked: Int? = nil) {
            self.name = name
            self.points = points
            self.marked = marked
        }
    }

    package var title: String
    /// With its unit.
    package var xLabel: String
    package var yLabel: String
    package var series: [Series]

    package init(title: String, xLabel: String, yLabel: String, series: [Series]) {
        self.title = title
        self.xLabel = xLabel
        self.yLabel = yLabel
        self.series = series
    }

    /// - Parameters: in pixels; the letters grow with the width.
    package func png(width: Int = 1_200, height: Int = 720) throws(DrawingError) -> [UInt8] {
        try surface(width: width, height: height).png()
    }

    package func surface(width: Int, height: Int) throws(DrawingError) -> Surface {
        let canvas = try Canvas(width: width, height: height)
        draw(on: canvas)
        return try canvas.finish()
    }

    private func draw(on canvas: Canvas) {
        let unit = canvas.width / 900
        let frame = ChartFrame(
            canvas: canvas, unit: unit, title: title,
            legend: series.enumerated().map { index, series in
                let hasPoints = series.points.contains { $0.x.isFinite && $0.y.isFinite }
                return ChartFrame.Key(
                    text: hasPoints ? series.name : "\(series.name) (no data)",
                    colour: Self.colour(index), dashes: Self.dashes(index, unit))
            })
        let points = series.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
        let xAxis = Axis(points.map(\.x), maximumTicks: 8)
        let yAxis = Axis.fitting(points.map(\.y), maximumTicks: 6)
        let plot = frame.drawAxes(
            x: xAxis, xLabel: xLabel, y: yAxis,
            yLabel: yAxis.isLogarithmic ? "\(yLabel), logarithmic" : yLabel)

        func place(_ point: (x: Double, y: Double)) -> (x: Double, y: Double)? {
            guard let x = xAxis.place(point.x), let y = yAxis.place(point.y) else { return nil }
            return (plot.x + x * plot.width, plot.y + (1 - y) * plot.height)
        }
        for (index, series) in series.enumerated() {
            let colour = Self.colour(index)
            var stretch: [(x: Double, y: Double)] = []
            func end() {
                if stretch.count == 1 {
                    canvas.dot(stretch[0].x, stretch[0].y, radius: 3 * unit, colour)
                } else {
                    canvas.line(
                        through: stretch, colour, thickness: 2 * unit,
                        dashes: Self.dashes(index, unit))
                }
                stretch = []
            }
            for point in series.points {
                if let place = place(point) { stretch.append(place) } else { end() }
            }
            end()
        }
        // Above all lines.
        for (index, series) in series.enumerated() {
            guard let marked = series.marked, series.points.indices.contains(marked),
                let place = place(series.points[marked])
            else { continue }
            let point = series.points[marked]
            mark(canvas, place, plot, unit, Self.colour(index), value: point.y, x: point.x)
        }
        if points.isEmpty {
            canvas.text(
                "no data yet", plot.x + plot.width / 2, plot.y + plot.height / 2,
                .init(size: 16 * unit), .faint, .centre)
        }
    }

    private func mark(
        _ canvas: Canvas, _ place: (x: Double, y: Double), _ plot: ChartFrame.Plot,
        _ unit: Double, _ colour: Colour, value: Double, x: Double
    ) {
        canvas.dot(place.x, place.y, radius: 6 * unit, .white)
        canvas.ring(place.x, place.y, radius: 5 * unit, colour, thickness: 2.5 * unit)
        let font = Canvas.Font(size: 13 * unit, isBold: true)
        let text = "best \(Numbers.decimal(value, places: 3))"
        let half = canvas.width(of: text, font) / 2 + 4 * unit
        let centre = min(max(place.x, plot.x + half), plot.x + plot.width - half)
        // Above the point, unless there is no room.
        let above = place.y - 14 * unit
        let baseline = above - 14 * unit < plot.y ? place.y + 24 * unit : above
        canvas.fill(
            centre - half, baseline - 13 * unit, 2 * half, 18 * unit, .white, opacity: 0.85,
            radius: 4 * unit)
        canvas.text(text, centre, baseline, font, colour, .centre)
    }

    private static func colour(_ index: Int) -> Colour {
        Colour.series[index % Colour.series.count]
    }

    /// Colours that come again are dashed.
    private static func dashes(_ index: Int, _ unit: Double) -> [Double] {
        let round = index / Colour.series.count
        return round == 0 ? [] : [8 * unit / Double(round), 4 * unit]
    }
}

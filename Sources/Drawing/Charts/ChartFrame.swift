/// What charts have in common: title, legend, grid, axes.
struct ChartFrame {
    struct Key {
        let text: String
        let colour: Colour
        let dashes: [Double]
    }
    /// Where the values go.
    struct Plot {
        let x: Double
        let y: Double
        let width: Double
        let height: Double
    }

    let canvas: Canvas
    /// The measure of all lengths.
    let unit: Double
    let title: String
    var legend: [Key] = []

    static let titleSize = 19.0
    static let labelSize = 13.0

    /// - Returns: the lower edge of title and legend.
    private func drawHead() -> Double {
        let margin = 22 * unit
        let font = Canvas.Font(size: Self.titleSize * unit, isBold: true)
        var y = 36 * unit
        for line in canvas.lines(
            of: title, font, width: canvas.width - 2 * margin, maximumLines: 2)
        {
            canvas.text(line, margin, y, font)
            y += 26 * unit
        }
        guard !legend.isEmpty else { return y - 8 * unit }
        let label = Canvas.Font(size: Self.labelSize * unit)
        var x = margin
        for key in legend {
            let text = canvas.clipped(key.text, label, width: canvas.width - 2 * margin - 40 * unit)
            let width = canvas.width(of: text, label) + 54 * unit
            if x + width > canvas.width, x > margin {
                x = margin
                y += 20 * unit
            }
            canvas.line(
                through: [(x, y - 4 * unit), (x + 24 * unit, y - 4 * unit)], key.colour,
                thickness: 3 * unit, dashes: key.dashes)
            canvas.text(text, x + 31 * unit, y, label)
            x += width
        }
        return y + 12 * unit
    }

    func drawAxes(x: Axis, xLabel: String, y: Axis, yLabel: String) -> Plot {
        let top = drawHead() + 6 * unit
        let label = Canvas.Font(size: Self.labelSize * unit)
        let widest = y.ticks.map { canvas.width(of: $0.text, label) }.max() ?? 0
        let left = 22 * unit + 24 * unit + widest
        let plot = Plot(
            x: left, y: top, width: max(1, canvas.width - left - 30 * unit),
            height: max(1, canvas.height - top - 62 * unit))
        for tick in y.ticks {
            guard let place = y.place(tick.value) else { continue }
            let at = (plot.y + (1 - place) * plot.height).rounded() + 0.5
            canvas.line(
                through: [(plot.x, at), (plot.x + plot.width, at)], .grid, thickness: unit)
            canvas.text(tick.text, plot.x - 9 * unit, at + 4.5 * unit, label, .faint, .right)
        }
        let font = Canvas.Font(size: Self.labelSize * unit)
        canvas.uprightText(yLabel, 24 * unit, plot.y + plot.height / 2, font, .ink)
        drawHorizontalAxis(x, xLabel, plot)
        return plot
    }

    func drawRows(x: Axis, xLabel: String, names: [String]) -> Plot {
        let top = drawHead() + 6 * unit
        let label = Canvas.Font(size: (Self.labelSize + 1) * unit)
        let widest = names.map { canvas.width(of: $0, label) }.max() ?? 0
        let left = 22 * unit + min(widest, canvas.width * 0.3) + 14 * unit
        let plot = Plot(
            x: left, y: top, width: max(1, canvas.width - left - 40 * unit),
            height: max(1, canvas.height - top - 62 * unit))
        drawHorizontalAxis(x, xLabel, plot)
        return plot
    }

    private func drawHorizontalAxis(_ axis: Axis, _ text: String, _ plot: Plot) {
        let label = Canvas.Font(size: Self.labelSize * unit)
        let bottom = plot.y + plot.height
        for tick in axis.ticks {
            guard let place = axis.place(tick.value) else { continue }
            let at = (plot.x + place * plot.width).rounded() + 0.5
            canvas.line(through: [(at, plot.y), (at, bottom)], .grid, thickness: unit)
            canvas.text(tick.text, at, bottom + 20 * unit, label, .faint, .centre)
        }
        canvas.line(
            through: [(plot.x, bottom), (plot.x + plot.width, bottom)], .faint, thickness: unit)
        canvas.text(
            text, plot.x + plot.width / 2, bottom + 46 * unit, label, .ink, .centre)
    }
}

import Model
import Pipeline

/// Many posts at once, heat maps with their scores: a contact sheet.
package struct ExplanationGrid: Sendable {
    package struct Cell: Sendable {
        package let heading: String
        package let reading: String
        /// At most `side` pixels a side.
        package let thumbnail: Pixels?
        /// The page that shows more, relative to the sheet.
        package let page: String
        let isUntrained: Bool
    }

    package static let side = 240
    /// Of the picture; the page lists all.
    package static let maximumPictured = 100

    package private(set) var cells: [Cell] = []

    package init() {}

    var isUntrained: Bool { cells.contains(where: \.isUntrained) }

    var caption: String {
        isUntrained
            ? Explanation.text(.untrained)
            : "Bright: most attention. Below: score and typical views a day."
    }

    package mutating func add(
        _ explanation: Explanation, page: String
    ) throws(DrawingError) {
        let reading = explanation.readings[0]
        var thumbnail: Pixels?
        if let photo = explanation.photo {
            if let regions = reading.regions {
                thumbnail = try HeatMap(photo: photo, attention: regions)
                    .surface(maximumSide: Self.side).pixels()
            } else {
                thumbnail = try photo.upright(maximumSide: Self.side).pixels()
            }
        }
        let scores = explanation.readings.map(\.scoreText).joined(separator: " | ")
        cells.append(
            Cell(
                heading: explanation.heading,
                reading: explanation.readings.count > 1
                    ? scores : "\(scores) · \(reading.views)",
                thumbnail: thumbnail, page: page,
                isUntrained: reading.flags.contains(.untrained)))
    }

    /// - Returns: a sheet of the first `maximumPictured` posts, five in a row.
    package func png() throws(DrawingError) -> [UInt8] {
        let pictured = cells.prefix(Self.maximumPictured)
        let side = Double(Self.side)
        let (gap, margin, text) = (20.0, 28.0, 52.0)
        let columns = max(1, min(5, pictured.count))
        let rows = max(1, (pictured.count + columns - 1) / columns)
        let width = max(520, 2 * margin + Double(columns) * (side + gap) - gap)
        let height = 96 + Double(rows) * (side + text + gap) - gap + margin
        let canvas = try Canvas(width: Int(width), height: Int(height))
        canvas.text(
            "Where the model looked", margin, 46, .init(size: 24, isBold: true))
        canvas.text(
            caption, margin, 70, .init(size: 13),
            isUntrained ? .warning : .faint)
        for (index, cell) in pictured.enumerated() {
            let x = margin + Double(index % columns) * (side + gap)
            let y = 92 + Double(index / columns) * (side + text + gap)
            canvas.fill(x, y, side, side, .panel, radius: 6)
            if let thumbnail = cell.thumbnail {
                let picture = try Surface(thumbnail)
                let (width, height) = (Double(picture.width), Double(picture.height))
                canvas.paint(
                    picture, x + ((side - width) / 2).rounded(),
                    y + ((side - height) / 2).rounded(), width, height)
            } else {
                canvas.text(
                    "no picture", x + side / 2, y + side / 2, .init(size: 14), .faint, .centre)
            }
            let bold = Canvas.Font(size: 15, isBold: true)
            canvas.text(
                canvas.clipped(cell.reading, bold, width: side), x, y + side + 21, bold)
            let small = Canvas.Font(size: 13)
            canvas.text(
                canvas.clipped(cell.heading, small, width: side), x, y + side + 41, small, .faint)
        }
        return try canvas.finish().png()
    }
}

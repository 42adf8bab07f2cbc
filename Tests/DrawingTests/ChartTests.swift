import Drawing
import Model
import Testing

/// Charts hold what they are given, and stand what they should not be given.
struct ChartTests {
    private let pngSignature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

    /// Pixels of exactly this colour.
    private func count(_ colour: Colour, in surface: Surface) -> Int {
        let (pixels, parts) = (surface.pixels(), [colour.red, colour.green, colour.blue])
        let wanted = parts.map { UInt8(($0 * 255).rounded()) }
        return stride(from: 0, to: pixels.rgb.count, by: 3).count {
            pixels.rgb[$0] == wanted[0] && pixels.rgb[$0 + 1] == wanted[1]
                && pixels.rgb[$0 + 2] == wanted[2]
        }
    }

    private func curves(_ series: [LineChart.Series]) -> LineChart {
        LineChart(
            title: "Training", xLabel: "batches", yLabel: "squared error", series: series)
    }

    private func falling(_ from: Double) -> [(x: Double, y: Double)] {
        (0..<50).map { (Double($0), from / Double($0 + 1)) }
    }

    @Test func aLineChartHoldsEverySeriesInItsColour() throws {
        let chart = curves([
            .init("training loss", falling(3)), .init("validation", falling(4), marked: 49),
        ])
        let surface = try chart.surface(width: 900, height: 540)
        #expect(surface.width == 900 && surface.height == 540)
        // A legend's line alone has fewer.
        #expect(count(Colour.series[0], in: surface) > 300)
        #expect(count(Colour.series[1], in: surface) > 300)
        #expect(count(Colour.series[2], in: surface) == 0)
    }

    @Test func theSameValuesGiveTheSameBytes() throws {
        let chart = curves([.init("loss", falling(3))])
        let png = try chart.png()
        #expect(png.starts(with: pngSignature))
        #expect(try chart.png() == png)
    }

    @Test func theLineFallsWhereTheValuesFall() throws {
        let surface = try curves([.init("loss", [(0, 1), (1, 0)])])
            .surface(width: 600, height: 400)
        let pixels = surface.pixels()
        func rows(_ columns: Range<Int>) -> [Int] {
            (100..<340).filter { y in
                columns.contains { x in
                    Array(pixels.rgb[3 * (y * 600 + x)..<3 * (y * 600 + x) + 3]) == [0, 0x72, 0xB2]
                }
            }
        }
        let left = try #require(rows(90..<150).max())
        let right = try #require(rows(500..<560).min())
        #expect(left < right)
    }

    /// Empty, of one point, with holes, with nothing but holes, without end, or far apart.
    @Test(
        arguments: [
            [], [LineChart.Series("nothing", [])], [LineChart.Series("one", [(3, 2)], marked: 0)],
            [
                LineChart.Series(
                    "holes", [(0, 1), (1, .nan), (2, 3), (3, .infinity), (4, 2)], marked: 1)
            ],
            [LineChart.Series("all holes", [(.nan, .nan), (1, .nan)])],
            [LineChart.Series("flat", [(0, 0), (1, 0)]), .init("same place", [(5, 5), (5, 5)])],
            [LineChart.Series("huge", [(0, 1e-9), (1, 1e300), (2, -1e300)], marked: 7)],
            [LineChart.Series("spike", [(0, 9_000), (1, 2), (2, 1.5), (3, 1.2)])],
            [LineChart.Series(String(repeating: "long <name> ", count: 60), [(0, 1), (1, 2)])],
        ] as [[LineChart.Series]])
    func aLineChartStandsWhatItShouldNotBeGiven(_ series: [LineChart.Series]) throws {
        #expect(try curves(series).png(width: 640, height: 400).starts(with: pngSignature))
        #expect(try curves(series).png(width: 20, height: 20).starts(with: pngSignature))
    }

    @Test func onePointIsADot() throws {
        let surface = try curves([.init("one", [(3, 2)])]).surface(width: 900, height: 540)
        let nothing = try curves([.init("one", [])]).surface(width: 900, height: 540)
        let colour = Colour.series[0]
        #expect(count(colour, in: surface) > count(colour, in: nothing))
    }

    @Test func sizesThatCannotBeAreRefused() {
        for (width, height) in [(0, 10), (10, -1), (100_000, 10)] {
            #expect(throws: DrawingError.size(width: width, height: height)) {
                try curves([]).png(width: width, height: height)
            }
        }
    }

    @Test func aDotPlotHoldsItsRowsItsReferenceAndWhatIsNotANumber() throws {
        var plot = DotPlot(
            title: "Systems", xLabel: "MSE with 95 % intervals",
            rows: [
                .init("UHAN", 1.2, interval: 1.1...1.3, isHighlighted: true),
                .init("HisAve", 2.1, interval: 1.9...2.4),
            ])
        let without = try plot.surface()
        #expect(count(Colour.series[0], in: without) > 100)
        #expect(count(Colour.series[1], in: without) > 100)
        #expect(count(Colour.series[2], in: without) == 0)
        plot.reference = .init("irreducible", 0.8)
        #expect(count(Colour.series[2], in: try plot.surface()) > 100)

        plot.rows = [.init("diverged", .nan), .init("one", 1), .init("endless", .infinity)]
        #expect(try plot.png().starts(with: pngSignature))
        plot.rows = []
        plot.reference = nil
        #expect(try plot.png().starts(with: pngSignature))
    }

    @Test func aPictureIsWrittenWholeOrNotAtAll() {
        #expect(throws: DrawingError.self) {
            try writePicture([1, 2, 3], to: "/nowhere/at/all.png")
        }
    }
}

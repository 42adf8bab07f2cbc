import Drawing
import Model
import Testing

/// Bright is where attention is, in the photo's own proportions.
struct HeatMapTests {
    private func grey(_ width: Int, _ height: Int) -> Photo {
        let side = 64
        return Photo(
            square: Pixels(
                width: side, height: side,
                rgb: [UInt8](repeating: 128, count: side * side * 3)),
            width: width, height: height)
    }

    private func luminance(_ pixels: Pixels, _ index: Int) -> Int {
        2 * Int(pixels.rgb[3 * index]) + 7 * Int(pixels.rgb[3 * index + 1])
            + Int(pixels.rgb[3 * index + 2])
    }

    @Test(arguments: [(3, 10), (0, 0), (13, 13), (7, 2)])
    func theBrightestPixelLiesInTheMostAttendedRegion(_ row: Int, _ column: Int) throws {
        var generator = SplitMix64(seed: 5)
        var weights = (0..<196).map { _ in Float(generator.next() % 100) / 40_000 }
        weights[row * 14 + column] = 0.05
        let map = HeatMap(
            photo: grey(1_500, 1_000),
            attention: AttentionMap(rows: 14, columns: 14, weights: weights))
        let pixels = try map.surface(maximumSide: 420).pixels()
        #expect(pixels.width == 420 && pixels.height == 280)
        let brightest = try #require(
            (0..<420 * 280).max { luminance(pixels, $0) < luminance(pixels, $1) })
        #expect(brightest % 420 / 30 == column)
        #expect(brightest / 420 / 20 == row)
    }

    /// Not stretched to black and white, which would make something of nothing.
    @Test func flatAttentionLooksFlat() throws {
        let map = HeatMap(
            photo: grey(300, 300),
            attention: AttentionMap(
                rows: 14, columns: 14,
                weights: (0..<196).map { 1 / 196 + Float($0 % 2) / 100_000 }))
        let pixels = try map.surface(maximumSide: 140).pixels()
        let values = (0..<140 * 140).map { luminance(pixels, $0) }
        #expect(try #require(values.max()) - #require(values.min()) < 25)
        // Half way up the scale: neither dark nor bright.
        #expect(try (500...1_800).contains(#require(values.max())))
    }

    /// Unlike sides, a single cell, no number, all zero, and pictures like threads.
    @Test func strangeGridsAndProportionsAreDrawn() throws {
        let grids = [
            AttentionMap(rows: 2, columns: 5, weights: (0..<10).map { Float($0) / 45 }),
            AttentionMap(rows: 1, columns: 1, weights: [1]),
            AttentionMap(rows: 2, columns: 2, weights: [.nan, 0.5, .infinity, 0.5]),
            AttentionMap(rows: 2, columns: 2, weights: [0, 0, 0, 0]),
        ]
        for grid in grids {
            for (width, height) in [(10_000, 1), (1, 10_000), (1, 1), (0, 0)] {
                let surface = try HeatMap(photo: grey(width, height), attention: grid)
                    .surface(maximumSide: 100)
                #expect(max(surface.width, surface.height) == 100)
                #expect(min(surface.width, surface.height) >= 25)
            }
        }
    }

    @Test func aJPEGTellsItsProportionsUpright() throws {
        let jpeg = try JPEG.encode(SampleScene(seed: 1).render(width: 96, height: 64), quality: 80)
        let stored = try #require(JPEG.uprightSize(of: jpeg))
        #expect(stored == (96, 64))
        // The camera was held upright: orientation 6.
        let exif: [UInt8] =
            [0xFF, 0xE1, 0, 34] + Array("Exif\0\0".utf8) + Array("II*\0".utf8)
            + [8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]
        let turned = try #require(JPEG.uprightSize(of: jpeg[..<2] + exif + jpeg[2...]))
        #expect(turned == (64, 96))
        #expect(JPEG.uprightSize(of: []) == nil)
        for length in 0..<40 { _ = JPEG.uprightSize(of: Array(jpeg.prefix(length))) }
    }
}

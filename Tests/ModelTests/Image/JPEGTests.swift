import Model
import Testing

@Suite struct JPEGTests {
    /// Grey, RGB, YCbCr, CMYK and YCCK, each subsampling, progressive, odd and tiny sizes, every
    /// DCT scale, every EXIF orientation.
    @Test(arguments: try ImageGolden.samples())
    func decodesToTheVeryPixelsOfPillow(_ sample: ImageGolden.Sample) throws {
        let pixels = try JPEG.decodeSquare(try sample.jpeg, side: sample.side)

        #expect(pixels.width == sample.side && pixels.height == sample.side)
        let differences = zip(pixels.rgb, try sample.rgb).count { $0 != $1 }
        #expect(differences == 0)
    }

    @Test func theGoldenDataHoldsEveryKind() throws {
        let names = try ImageGolden.samples().map(\.name)
        #expect(names.count >= 29)
        #expect(names.filter { $0.hasPrefix("orientation-") }.count == 8)
    }

    @Test func whatIsEncodedDecodesToNearlyTheSame() throws {
        let scene = SampleScene(seed: 3).render(width: 96, height: 96)
        let bytes = try JPEG.encode(scene, quality: 95)
        let decoded = try JPEG.decodeSquare(bytes, side: 96)

        let error = zip(scene.rgb, decoded.rgb).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
        #expect(error / scene.rgb.count < 8, "mean difference of \(error) over all values")
        #expect(try JPEG.encode(scene, quality: 30).count < bytes.count)
    }

    /// 300 KB, so that the encoder's buffer has to grow.
    @Test func encodesPicturesLargerThanItsFirstBuffer() throws {
        var random = SplitMix64(seed: 1)
        let noise = (0..<(400 * 300 * 3)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let bytes = try JPEG.encode(Pixels(width: 400, height: 300, rgb: noise), quality: 100)

        #expect(bytes.count > 128 << 10)
        #expect(throws: Never.self) { try JPEG.decodeSquare(bytes, side: 64) }
    }

    @Test func refusesToEncodeWhatIsNoPicture() {
        let empty = Pixels(width: 0, height: 0, rgb: [])
        let pixel = Pixels(width: 1, height: 1, rgb: [1, 2, 3])
        for (pixels, quality) in [(empty, 90), (pixel, 0), (pixel, 101)] {
            let error = #expect(throws: ImageError.self) {
                try JPEG.encode(pixels, quality: quality)
            }
            #expect(error?.reason == "cannot_encode")
        }
    }
}

@Suite struct OrientationTests {
    /// A JPEG of one quadrant brighter than the next, with this Exif segment put in.
    private func pixels(exif: [UInt8]) throws -> Pixels {
        var bytes = try JPEG.encode(quadrants, quality: 90)
        let size = exif.count + 2
        bytes.insert(
            contentsOf: [0xFF, 0xE1, UInt8(size >> 8), UInt8(size & 0xFF)] + exif, at: 2)
        return try JPEG.decodeSquare(bytes, side: 16)
    }

    private let quadrants: Pixels = {
        let rgb = (0..<(32 * 32)).flatMap { index -> [UInt8] in
            let quadrant = (index / 32 / 16) * 2 + index % 32 / 16
            return [UInt8](repeating: UInt8(30 + 60 * quadrant), count: 3)
        }
        return Pixels(width: 32, height: 32, rgb: rgb)
    }()

    private func exif(type: UInt8 = 3, count: UInt8 = 1, value: UInt8) -> [UInt8] {
        Array("Exif\0\0II*\0".utf8) + [8, 0, 0, 0]
            + [1, 0, 0x12, 0x01, type, 0, count, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0]
    }

    @Test func aPictureLyingOnItsSideIsTurned() throws {
        let stored = try JPEG.decodeSquare(try JPEG.encode(quadrants, quality: 90), side: 16)
        let turned = try pixels(exif: exif(value: 6))

        #expect(turned != stored)
        // Clockwise: what was at the bottom left is now at the top left.
        #expect(turned.rgb[0] == stored.rgb[15 * 16 * 3])
        #expect(try pixels(exif: exif(type: 4, value: 6)) == turned)
    }

    @Test func senselessMetadataLeavesThePictureAsItIsStored() throws {
        let stored = try JPEG.decodeSquare(try JPEG.encode(quadrants, quality: 90), side: 16)
        var farDirectory = exif(value: 6)
        farDirectory.replaceSubrange(10..<14, with: [0xFF, 0xFF, 0xFF, 0xFF])
        var manyEntries = exif(value: 6)
        manyEntries.replaceSubrange(14..<18, with: [0xFF, 0xFF, 0x13, 0x01])

        let senseless = [
            exif(value: 0), exif(value: 9), exif(value: 255), exif(type: 7, value: 6),
            exif(count: 0, value: 6), exif(count: 200, value: 6), farDirectory, manyEntries,
            Array("Exif\0\0".utf8), Array("Exif\0\0II*".utf8), Array("Exif\0\0XX*\0".utf8), [],
        ]
        for exif in senseless {
            #expect(try pixels(exif: exif) == stored)
        }
    }

    @Test func metadataCutOffAnywhereIsHarmless() throws {
        let whole = exif(value: 6)
        let stored = try pixels(exif: [])
        let turned = try pixels(exif: whole)
        for length in 0..<whole.count {
            let result = try pixels(exif: Array(whole.prefix(length)))
            #expect(result == stored || result == turned)
        }
    }

    @Test func mutatedMetadataOnlyEverTurnsThePicture() throws {
        let upright = try (1...8).map { try pixels(exif: exif(value: $0)) }
        var random = SplitMix64(seed: 20)
        var results = Set<Int>()
        for _ in 0..<4000 {
            var mutated = exif(value: UInt8(random.next() % 10))
            for _ in 0...(random.next() % 3) {
                let index = Int(random.next() % UInt64(mutated.count))
                mutated[index] = UInt8(truncatingIfNeeded: random.next())
            }
            let result = upright.firstIndex(of: try pixels(exif: mutated))
            results.insert(try #require(result))
        }
        #expect(results.count == 8)
    }
}

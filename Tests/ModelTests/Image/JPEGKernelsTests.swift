import Model
import Testing

/// Each instruction set's loops against plain ones and libjpeg's own Huffman decoding. Those that
/// this machine cannot run are not run.
@Suite struct JPEGKernelsTests {
    private static func noise(width: Int, height: Int, seed: Int) -> Pixels {
        var random = SplitMix64(seed: UInt64(seed))
        let rgb = (0..<(width * height * 3)).map { _ in
            // Often at the ends of the range, where sums have to be cut off.
            let value = UInt8(truncatingIfNeeded: random.next())
            return value < 64 ? 0 : value > 192 ? 255 : value
        }
        return Pixels(width: width, height: height, rgb: rgb)
    }

    private func expectThePixelsOfTheReference(
        _ bytes: [UInt8], sides: some Sequence<Int>, _ kernels: JPEGKernels
    ) throws {
        for side in sides {
            let expected = try JPEG.decodeSquare(bytes, side: side, kernels: .reference)
            let pixels = try JPEG.decodeSquare(bytes, side: side, kernels: kernels)
            #expect(pixels == expected, "\(kernels.name), side \(side)")
        }
    }

    /// Widths and sides that leave every remainder after groups of 4 and 16 pixels and 64 bytes;
    /// enlarged, shrunk, and shrunk a lot in one direction.
    @Test(arguments: JPEGKernels.available)
    func everySizeIsResampledAsByThePlainLoops(_ kernels: JPEGKernels) throws {
        for width in 1...70 {
            let picture = Self.noise(width: width, height: 1 + width * 37 % 70, seed: width)
            let bytes = try JPEG.encode(picture, quality: 95)
            try expectThePixelsOfTheReference(bytes, sides: 1...70, kernels)
        }
        for (width, height) in [(5000, 40), (40, 5000), (16, 3001), (3001, 16)] {
            let picture = Self.noise(width: width, height: height, seed: width)
            let bytes = try JPEG.encode(picture, quality: 50)
            try expectThePixelsOfTheReference(bytes, sides: [1, 2, 3, 5, 8, 13, 40], kernels)
        }
    }

    /// From a few long runs of zeros to coefficients of every size, in every code length.
    @Test(arguments: JPEGKernels.available)
    func everyQualityIsDecodedAsByLibjpeg(_ kernels: JPEGKernels) throws {
        let noise = Self.noise(width: 203, height: 150, seed: 1)
        let scene = SampleScene(seed: 5).render(width: 203, height: 150)
        for quality in [1, 2, 5, 10, 30, 50, 75, 90, 95, 98, 100] {
            for picture in [noise, scene] {
                let bytes = try JPEG.encode(picture, quality: quality)
                try expectThePixelsOfTheReference(bytes, sides: [100, 150], kernels)
            }
        }
    }

    @Test(arguments: JPEGKernels.available)
    func everyKindIsDecodedAsByPillow(_ kernels: JPEGKernels) throws {
        for sample in try ImageGolden.samples() {
            let pixels = try JPEG.decodeSquare(
                try sample.jpeg, side: sample.side, kernels: kernels)
            #expect(pixels.rgb == (try sample.rgb), "\(sample.name)")
        }
    }

    /// The verdict on a damaged file, and its words, are libjpeg's; the pixels where it has none.
    @Test(arguments: JPEGKernels.available)
    func damageIsJudgedAsByLibjpeg(_ kernels: JPEGKernels) throws {
        var random = SplitMix64(seed: 8)
        var pictures = 0
        var errors = 0
        for name in ["420-odd-size", "444", "cmyk", "grey", "restart-markers"] {
            let whole = try ImageGolden.jpeg(name)
            let scan = try #require(
                whole.indices.dropLast().last { whole[$0] == 0xFF && whole[$0 + 1] == 0xDA })
            for _ in 0..<600 {
                var bytes = whole
                for _ in 0...(random.next() % 2) {
                    let index = scan + Int(random.next() % UInt64(whole.count - scan))
                    switch random.next() % 4 {
                    case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
                    case 1: bytes[index] ^= 1 << UInt8(random.next() % 8)
                    case 2: bytes[index] = 0xFF
                    default: bytes.insert(contentsOf: [0xFF, 0], at: index)
                    }
                }
                let expected = Result {
                    try JPEG.decodeSquare(bytes, side: 16, kernels: .reference)
                }
                let result = Result { try JPEG.decodeSquare(bytes, side: 16, kernels: kernels) }
                switch (expected, result) {
                case (.success(let expected), .success(let pixels)):
                    #expect(expected == pixels)
                    pictures += 1
                case (.failure(let expected as ImageError), .failure(let error as ImageError)):
                    #expect(expected == error)
                    errors += 1
                default:
                    Issue.record("a picture here, an error there")
                }
            }
        }
        #expect(pictures > 0 && errors > 0)
    }

    @Test func setsAreNamedBestFirst() {
        let names = JPEGKernels.available.map(\.name)
        #expect(names.last == "portable")
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { ["avx512", "avx2", "neon", "portable"].contains($0) })
        #expect(names.contains(JPEGKernels.chosen.name))
    }
}

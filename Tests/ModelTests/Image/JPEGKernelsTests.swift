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

    /// Codes of every length for runs and values of every length, and any bits in the scan: what no
    /// encoder would write.
    @Test(arguments: JPEGKernels.available)
    func everyCodeIsReadAsByLibjpeg(_ kernels: JPEGKernels) throws {
        var random = SplitMix64(seed: 12)
        var pictures = 0
        for _ in 0..<4000 {
            let bytes = GreyJPEG.ofAnyBits(&random)
            let expected = try? JPEG.decodeSquare(bytes, side: 16, kernels: .reference)
            let pixels = try? JPEG.decodeSquare(bytes, side: 16, kernels: kernels)
            #expect(pixels == expected)
            pictures += expected == nil ? 0 : 1
        }
        #expect(pictures > 400)
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

/// Sequential grey JPEGs of 16 x 16 pixels, with Huffman tables of one's own.
private enum GreyJPEG {
    static func ofAnyBits(_ random: inout SplitMix64) -> [UInt8] {
        // Constants: no difference, or values of 1 to 6 bits.
        let constants = (0...6).map { UInt8($0) }.shuffled(using: &random)
        // Values of up to 10 bits after up to 15 zeros, often the ends of both; end of block.
        let others = (0..<(3 + random.next() % 60)).map { _ in
            let zeros = [0, 0, 1, 14, 15, random.next() % 16].randomElement(using: &random)!
            let length = [0, 1, 2, 7, 8, random.next() % 11].randomElement(using: &random)!
            return UInt8(zeros << 4 | length)
        }
        var bytes: [UInt8] = [0xFF, 0xD8]
        bytes += segment(0xDB, [0] + [UInt8](repeating: 1, count: 64))
        bytes += segment(0xC0, [8, 0, 16, 0, 16, 1, 1, 0x11, 0])
        bytes += segment(0xC4, [0x00] + code(for: constants, &random))
        bytes += segment(0xC4, [0x10] + code(for: [0x00] + others, &random))
        bytes += segment(0xDA, [1, 1, 0x00, 0, 63, 0])
        for _ in 0..<800 {
            let byte = UInt8(truncatingIfNeeded: random.next())
            bytes += byte == 0xFF ? [0xFF, 0x00] : [byte]
        }
        return bytes + [0xFF, 0xD9]
    }

    /// How many codes there are of each length, at random, and what they stand for.
    private static func code(for symbols: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var lengths: [UInt8] = []
        var left = symbols.count
        var unused = 1
        for length in 1...16 {
            unused *= 2
            // One code stays unused: it would be all ones. The longest take what is left.
            let most = min(unused - 1, left)
            let isShort = length < 16 && (1 << (16 - length)) * (unused - most) > left
            let count = isShort ? Int(random.next() % UInt64(most + 1)) / 2 : most
            lengths.append(UInt8(count))
            left -= count
            unused -= count
        }
        return lengths + symbols
    }

    private static func segment(_ marker: UInt8, _ content: [UInt8]) -> [UInt8] {
        let size = content.count + 2
        return [0xFF, marker, UInt8(size >> 8), UInt8(size & 0xFF)] + content
    }
}

import Model
import Testing

/// Files that are damaged, deceitful, expensive, or something else altogether.
@Suite struct HostileImageTests {
    private func error(
        _ bytes: [UInt8], limits: ImageLimits = ImageLimits()
    ) -> ImageError? {
        do throws(ImageError) {
            _ = try JPEG.decodeSquare(bytes, side: 16, limits: limits)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Damage

    @Test(arguments: ["420-odd-size", "progressive-grey", "cmyk", "restart-markers"])
    func aFileCutOffAnywhereIsNeverAPicture(_ name: String) throws {
        let whole = try ImageGolden.jpeg(name)
        #expect(error(whole) == nil)
        for length in 0..<whole.count {
            let reason = error(Array(whole.prefix(length)))?.reason
            #expect(reason == (length < 2 ? "not_jpeg" : "corrupt"), "cut after \(length) bytes")
        }
    }

    @Test(arguments: ["420-odd-size", "progressive-tall", "cmyk", "ycck", "grey"])
    func flippedBitsEndInAPictureOrAnError(_ name: String) throws {
        let whole = try ImageGolden.jpeg(name)
        var random = SplitMix64(seed: UInt64(whole.count))
        var pictures = 0
        var reasons = Set<String>()
        for _ in 0..<1500 {
            var bytes = whole
            for _ in 0...(random.next() % 4) {
                let bit = Int(random.next() % UInt64(8 * bytes.count))
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            }
            let first = Result { try JPEG.decodeSquare(bytes, side: 16) }
            let second = Result { try JPEG.decodeSquare(bytes, side: 16) }
            switch (first, second) {
            case (.success(let pixels), .success(let again)):
                #expect(pixels == again)
                pictures += 1
            case (.failure(let error as ImageError), .failure(let again as ImageError)):
                #expect(error == again)
                reasons.insert(error.reason)
            default:
                Issue.record("once a picture, once an error")
            }
        }
        #expect(pictures > 0)
        #expect(reasons.contains("corrupt"))
        #expect(!reasons.contains("out_of_memory") && !reasons.contains("cannot_encode"))
    }

    @Test func missingDataIsToldInTheDecodersWords() throws {
        let whole = try ImageGolden.jpeg("444")

        #expect(error(whole.dropLast(2)) == .corrupt("Premature end of JPEG file"))
        // Every pixel is there, but the file does not end where it says it goes on.
        let comment: [UInt8] = [0xFF, 0xFE, 0, 4, 0x68, 0x69]
        #expect(error(whole.dropLast(2) + comment) == .corrupt("Premature end of JPEG file"))
        // An end marker in the midst of the picture: libjpeg would fill the rest with grey.
        let endedEarly = Array(whole.prefix(whole.count * 2 / 3)) + [0xFF, 0xD9]
        #expect(error(endedEarly) == .corrupt("Corrupt JPEG data: premature end of data segment"))
    }

    @Test func swappedRestartMarkersAreDamage() throws {
        var bytes = try ImageGolden.jpeg("restart-markers")
        let markers = bytes.indices.dropLast().filter {
            bytes[$0] == 0xFF && (0xD0...0xD7).contains(bytes[$0 + 1])
        }
        try #require(markers.count > 4)
        bytes.swapAt(markers[1] + 1, markers[3] + 1)

        #expect(error(bytes)?.reason == "corrupt")
    }

    @Test func odditiesThatLeaveThePixelsAloneAreAccepted() throws {
        let plain = try ImageGolden.jpeg("420-odd-size")
        let pixels = try JPEG.decodeSquare(plain, side: 16)
        try #require(plain[6..<10].elementsEqual("JFIF".utf8))

        var junkBeforeMarker = plain
        junkBeforeMarker.insert(contentsOf: [1, 2, 3], at: 20)
        var futureJFIF = plain
        futureJFIF[11] = 9
        let trailingBytes = plain + [UInt8](repeating: 0xAB, count: 1000)
        for oddity in [junkBeforeMarker, futureJFIF, trailingBytes] {
            #expect(try JPEG.decodeSquare(oddity, side: 16) == pixels)
        }

        var unknownTransform = try ImageGolden.jpeg("ycck")
        let ycck = try JPEG.decodeSquare(unknownTransform, side: 16)
        let adobe = try #require(
            unknownTransform.indices.first { unknownTransform[$0...].starts(with: "Adobe".utf8) })
        unknownTransform[adobe + 11] = 77
        #expect(try JPEG.decodeSquare(unknownTransform, side: 16) == ycck)
    }

    // MARK: Kinds that are not read

    @Test func kindsOfJPEGThatAreNotReadAreNamed() throws {
        let plain = try ImageGolden.jpeg("444")
        let frame = try #require(
            plain.indices.dropLast().first { plain[$0] == 0xFF && plain[$0 + 1] == 0xC0 })
        func changed(_ offset: Int, to value: UInt8) -> [UInt8] {
            var bytes = plain
            bytes[frame + offset] = value
            return bytes
        }

        #expect(error(changed(1, to: 0xC9)) == .unsupported("it is arithmetic-coded"))
        #expect(error(changed(1, to: 0xC3))?.reason == "unsupported")  // lossless
        #expect(error(changed(4, to: 12))?.reason == "unsupported")  // 12 bits
        let twoComponents = HandmadeJPEG(width: 8, height: 8, components: 2)
        #expect(
            error(twoComponents.claim)
                == .unsupported("it has 2 colour components"))
    }

    private static func mediaBox(_ brands: String) -> [UInt8] {
        [0, 0, 0, UInt8(8 + brands.utf8.count)] + Array("ftyp".utf8) + Array(brands.utf8)
    }

    /// How a file begins, and what it is called.
    private static let otherFiles: [(bytes: [UInt8], name: String)] = [
        ([], "an empty file"),
        ([0x89] + Array("PNG\r\n\u{1A}\n\0\0\0\rIHDR".utf8), "a PNG"),
        (Array("GIF89a\u{1}\0".utf8), "a GIF"),
        (Array("RIFF\u{10}\0\0\0WEBPVP8 ".utf8), "a WebP"),
        (Array("RIFF\u{10}\0\0\0AVI LIST".utf8), "an AVI video"),
        (mediaBox("heic\0\0\0\0mif1heic"), "a HEIC"),
        (mediaBox("mif1\0\0\0\0mif1avif"), "an AVIF"),
        (mediaBox("isom\0\0\u{2}\0isomiso2"), "an MP4 video"),
        (mediaBox("qt  \0\0\0\0qt  "), "a QuickTime video"),
        (Array("MM\0*\0\0\0\u{8}".utf8), "a TIFF or a camera's raw file"),
        (Array("BM\u{36}\0\0\0\0\0\0\0".utf8), "a BMP"),
        (Array("%PDF-1.7\n".utf8), "a PDF"),
        (Array("\n <!DOCTYPE html><html>Not found</html>".utf8), "an HTML page"),
        ([0xEF, 0xBB, 0xBF] + Array("<HTML><body>".utf8), "an HTML page"),
        (Array("<?xml version=\"1.0\"?><svg xmlns=\"\">".utf8), "an SVG"),
        (Array("{\"error\": \"gone\"}".utf8), "JSON"),
        (Array("data:image/jpeg;base64,/9j/4AAQ".utf8), "a data URL"),
        (Array("/9j/4AAQSkZJRgABAQ".utf8), "a JPEG in base64, encoded once too often"),
        (Array("no such picture".utf8), "plain text"),
        ([0xD8, 0xFF, 0x00, 0x07], "data of an unknown kind that begins with d8 ff 00 07"),
    ]

    @Test func aFileThatIsNoJPEGIsNamedForWhatItIs() {
        for (bytes, name) in Self.otherFiles {
            #expect(error(bytes) == .notJPEG(found: name))
            let text = error(bytes).map(String.init(describing:))
            #expect(text == "the image is not a JPEG but \(name); send it as JPEG")
        }
    }

    // MARK: Limits

    @Test func anAbsurdSizeIsRefusedByItsHeader() {
        #expect(
            error(HandmadeJPEG(width: 65500, height: 65500).claim)
                == .tooLarge("it declares 65500 x 65500 pixels; the limit is 67108864 in all"))
    }

    @Test func memoryIsKnownBeforeItIsTaken() {
        // 8000 x 8000 x 3 coefficients of 2 bytes, were it to begin.
        let progressive = HandmadeJPEG(width: 8000, height: 8000, components: 3)
        let refusal = error(progressive.claim)
        #expect(refusal?.reason == "too_large")
        #expect(refusal?.description.contains("MiB of memory; the limit is 256 MiB") == true)
    }

    @Test func bytesAreCounted() throws {
        let bytes = try ImageGolden.jpeg("444")
        var limits = ImageLimits()
        limits.maximumBytes = bytes.count
        #expect(error(bytes, limits: limits) == nil)
        limits.maximumBytes -= 1
        #expect(
            error(bytes, limits: limits)
                == .tooLarge("it has \(bytes.count) bytes; the limit is \(bytes.count - 1)"))
    }

    @Test func scansAreCounted() throws {
        let each = (1...63).map { HandmadeJPEG.Scan(first: $0, last: $0, from: 0, to: 1) }
        let again = (1...63).map { HandmadeJPEG.Scan(first: $0, last: $0, from: 1, to: 0) }
        let picture = HandmadeJPEG(width: 40, height: 24)

        let allowed = picture.bytes(scans: [.constant] + each + again.prefix(36))
        let grey = try JPEG.decodeSquare(allowed, side: 16)
        #expect(grey.rgb.allSatisfy { $0 == 128 })

        let tooMany = picture.bytes(scans: [.constant] + each + again.prefix(37))
        #expect(error(tooMany) == .tooManyScans("it has more than 100 scans"))
    }

    /// A scan of 20 bytes makes the decoder look at every coefficient of the picture.
    @Test func theWorkOfScansIsCounted() {
        let bands = (0..<12).map {
            HandmadeJPEG.Scan(first: 1, last: 63, from: 12 - $0, to: 11 - $0)
        }
        let first = HandmadeJPEG.Scan(first: 1, last: 63, from: 0, to: 12)
        let bomb = HandmadeJPEG(width: 2048, height: 2048).bytes(scans: [.constant, first] + bands)
        #expect(bomb.count < 10_000)

        var limits = ImageLimits()
        limits.maximumCoefficientVisits = 20_000_000
        #expect(
            error(bomb, limits: limits)
                == .tooManyScans(
                    "its first 6 scans visit more than 20 million coefficients"))
        #expect(error(bomb) == nil)
    }
}

import ArgumentParser
import Model

struct BenchDecode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode",
        abstract: "JPEG bytes in memory to the 448 x 448 pixels that the network looks at.",
        discussion: """
            One thread, whatever --threads says: a picture is decoded by one, several pictures side \
            by side. floor_ms is libjpeg's own decoding at the same scale, without resampling; \
            fraction_of_floor is above 1 where ours is faster, since the Huffman decoding of \
            pictures in one scan is not libjpeg's.
            """)

    enum Part: String, ExpressibleByArgument {
        case load
    }

    @OptionGroup var options: BenchOptions

    @Option(help: "A JPEG file.")
    var image: String

    @Option(help: "load: to the pixels that the network looks at.")
    var part = Part.load

    @Option(help: "Side of the square of pixels.")
    var side = 448

    private struct Result: Encodable {
        let benchmark = "decode"
        let part: String
        let median_ms: Double
        let min_ms: Double
        let runs: Int
        let floor_ms: Double
        let fraction_of_floor: Double
        let reference_ms: Double
        let bytes: Int
        let side: Int
        let instruction_set: String
        let same_pixels: Bool
    }

    func validate() throws {
        if !(1...4096).contains(side) { throw ValidationError("--side is 1 to 4096") }
    }

    func run() throws {
        // Refuses a name that is wrong, as serving does; JPEGKernels would take the best set.
        _ = try Kernels.chosen()
        let kernels = JPEGKernels.chosen
        let bytes = try MappedFile(path: image).contents()
        func decode(_ kernels: JPEGKernels) throws -> Pixels {
            try JPEG.decodeSquare(bytes, side: side, kernels: kernels)
        }
        let samePixels = try decode(kernels) == decode(.reference)
        let timing = try options.measure { _ = try decode(kernels) }
        var shorter = options
        shorter.seconds /= 4
        let floor = try shorter.measure { _ = try decode(.libjpegAlone) }
        let reference = try shorter.measure { _ = try decode(.reference) }
        try options.report(
            Result(
                part: part.rawValue, median_ms: timing.median, min_ms: timing.minimum,
                runs: timing.runs, floor_ms: floor.median,
                fraction_of_floor: floor.median / timing.median, reference_ms: reference.median,
                bytes: bytes.count, side: side, instruction_set: kernels.name,
                same_pixels: samePixels),
            [
                "decode: \(rounded(timing.median, 2)) ms a picture (median of \(timing.runs)), "
                    + "\(kernels.name); pixels \(samePixels ? "as" : "NOT as") the reference's",
                "libjpeg alone, at the same scale and without resampling: "
                    + "\(rounded(floor.median, 2)) ms; plain loops \(rounded(reference.median, 2)) ms",
            ])
    }
}

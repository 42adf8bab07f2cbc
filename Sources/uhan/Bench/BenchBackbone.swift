import ArgumentParser
import Model

struct BenchBackbone: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backbone",
        abstract: "VGG16's convolutions, one picture at a time.",
        discussion: """
            From a normalised 448 x 448 picture in memory to 196 x 512 features. Weights and input \
            are noise from a seed, or are read from safetensors files: features.N.weight \
            (out, in, 3, 3), features.N.bias, and image (1, 3, 448, 448). The arithmetic is the same.
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: "A safetensors file with VGG16's weights under torchvision's names.")
    var weights: String?

    @Option(help: "A safetensors file with the input; needs --weights.")
    var input: String?

    @Option(help: "The input's name in that file.")
    var tensor = "image"

    @Option(help: "Write the features there: safetensors, 'features' (196, 512).")
    var output: String?

    @Flag(
        help: """
            Write every layer's output, too, as 'layer.N' (height, width, channels), N being \
            torchvision's number; pooled where a pool follows.
            """)
    var layers = false

    private struct Result: Encodable {
        struct Layer: Encodable {
            let layer: Int
            let median_ms: Double
        }
        let benchmark = "backbone"
        let median_ms: Double
        let min_ms: Double
        let runs: Int
        let threads: Int
        let instruction_set: String
        let load_ms: Double
        let packed_bytes: Int
        let operations: Int
        let peak_gflops: Double
        let memory_gb_per_second: Double
        let floor_ms: Double
        let floor_fraction: Double
        let layers: [Layer]
        let output: String?
    }

    func validate() throws {
        if input != nil, weights == nil { throw ValidationError("--input needs --weights") }
        if layers, output == nil { throw ValidationError("--layers needs --output") }
    }

    func run() throws {
        let (side, blocks) = (448, VGGShape.vgg16)
        let workers = Workers(count: options.threads)
        let kernels = try Kernels.chosen()
        let peak = MachinePeak.measure(
            kernels: kernels, workers: workers, nanoseconds: monotonicNanoseconds)

        let start = monotonicNanoseconds()
        let packed =
            if let weights {
                try PackedVGG(
                    Safetensors(path: weights), blocks: blocks, side: side, kernels: kernels,
                    workers: workers)
            } else {
                try PackedVGG(blocks: blocks, side: side, kernels: kernels, workers: workers) {
                    noise($0)
                }
            }
        let loadMilliseconds = Double(monotonicNanoseconds() - start) / 1e6
        let backbone = VGG16(weights: packed, normalization: .raw, workers: workers)
        let picture = try picture(side: side)

        var milliseconds = [[Double]](repeating: [], count: packed.shape.layers.count)
        let timing = options.measure {
            var last = monotonicNanoseconds()
            _ = backbone.features(normalized: picture) { layer, _ in
                let now = monotonicNanoseconds()
                milliseconds[layer].append(Double(now - last) / 1e6)
                last = now
            }
        }
        if let output { try write(backbone, picture, to: output) }

        // Weights are read once at least, and pictures are small beside them.
        let floor =
            1e3
            * max(
                Double(packed.operations) / peak.operationsPerSecond,
                Double(packed.bytes) / peak.bytesPerSecond)
        let layers = zip(packed.shape.layers, milliseconds).filter { !$1.isEmpty }.map {
            Result.Layer(layer: $0.index, median_ms: Timing(milliseconds: $1).median)
        }
        try options.report(
            Result(
                median_ms: timing.median, min_ms: timing.minimum, runs: timing.runs,
                threads: options.threads, instruction_set: kernels.name,
                load_ms: loadMilliseconds, packed_bytes: packed.bytes,
                operations: packed.operations, peak_gflops: peak.operationsPerSecond / 1e9,
                memory_gb_per_second: peak.bytesPerSecond / 1e9, floor_ms: floor,
                floor_fraction: floor / timing.median, layers: layers, output: output),
            [
                "\(rounded(timing.median, 1)) ms a picture (median of \(timing.runs)), "
                    + "\(options.threads) threads, \(kernels.name)",
                "least possible \(rounded(floor, 1)) ms (\(rounded(100 * floor / timing.median, 0)) % "
                    + "reached): \(rounded(Double(packed.operations) / 1e9, 1)) G operations at "
                    + "\(rounded(peak.operationsPerSecond / 1e9, 0)) G/s, "
                    + "\(packed.bytes >> 20) MB of weights at "
                    + "\(rounded(peak.bytesPerSecond / 1e9, 0)) GB/s",
                "weights read and packed in \(rounded(loadMilliseconds, 0)) ms",
                "by layer (the first goes with the second): "
                    + layers.map { "\($0.layer): \(rounded($0.median_ms, 1))" }
                    .joined(separator: ", "),
            ])
    }

    private func write(_ backbone: VGG16, _ picture: [Float], to path: String) throws {
        var file = SafetensorsWriter()
        let shape = backbone.shape
        let features = backbone.features(normalized: picture) { layer, output in
            let side = shape.layers[...layer].reduce(backbone.side) { $1.endsBlock ? $0 / 2 : $0 }
            let layer = shape.layers[layer]
            if layers {
                file.add("layer.\(layer.index)", shape: [side, side, layer.outputs], output())
            }
        }
        file.add("features", shape: [backbone.regions, backbone.channels], features)
        try writeFile(file.bytes(), to: path)
    }

    /// He-scaled noise: activations neither die nor explode, all zeros and ones are mixed.
    private func noise(_ layer: VGGShape.Layer) -> (weight: [Float], bias: [Float]) {
        var generator = SplitMix64(seed: UInt64(layer.index))
        func values(_ count: Int, deviation: Float) -> [Float] {
            (0..<count).map { _ in
                (Float(generator.next() >> 40) / 16_777_216 - 0.5) * deviation * 3.4641
            }
        }
        let fan = Float(9 * layer.inputs)
        return (
            values(layer.outputs * layer.inputs * 9, deviation: (2 / fan).squareRoot()),
            values(layer.outputs, deviation: 0.05)
        )
    }

    private func picture(side: Int) throws -> [Float] {
        guard let input else {
            var generator = SplitMix64(seed: 11)
            return (0..<side * side * 3).map { _ in Float(generator.next() >> 40) / 4_194_304 - 2 }
        }
        let planes = try Safetensors(path: input).tensor(tensor, shape: [1, 3, side, side])
            .contents()
        let pixels = side * side
        return (0..<pixels * 3).map { planes[$0 % 3 * pixels + $0 / 3] }
    }
}

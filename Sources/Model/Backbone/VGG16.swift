import CKernels
import Synchronization

/// The layers of a VGG network without its top: 3x3 convolutions with padding 1 and ReLU, a 2x2
/// max-pool after each block (Simonyan, Zisserman 2014; configuration D is VGG16).
package struct VGGShape: Sendable, Equatable {
    package static let vgg16 = [
        [64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512],
    ]

    package struct Layer: Sendable, Equatable {
        /// torchvision's `features.N`, which numbers convolution, ReLU and pool alike.
        package let index: Int
        package let inputs: Int
        package let outputs: Int
        package let endsBlock: Bool
        package var weightName: String { "features.\(index).weight" }
        package var biasName: String { "features.\(index).bias" }
    }

    package let layers: [Layer]

    package init(blocks: [[Int]]) {
        var layers: [Layer] = []
        var index = 0
        var inputs = 3
        for block in blocks {
            for (position, outputs) in block.enumerated() {
                layers.append(
                    Layer(
                        index: index, inputs: inputs, outputs: outputs,
                        endsBlock: position == block.count - 1))
                index += 2
                inputs = outputs
            }
            index += 1
        }
        self.layers = layers
    }
}

/// The weights of a VGG network, transformed and packed for one instruction set and one picture
/// size: several times as large as on disk, so bundles with the same backbone share them.
package final class PackedVGG: Sendable {
    package let shape: VGGShape
    package let side: Int
    package let kernels: Kernels
    package let convolutions: [Convolution]
    package var bytes: Int { convolutions.reduce(0) { $0 + $1.bytes } }

    /// Floating-point operations of the products for one picture (a multiply-add is two), without
    /// those of the transforms.
    package var operations: Int {
        var (total, width) = (0, side)
        for (layer, convolution) in zip(shape.layers, convolutions) {
            total += convolution.operations(side: width)
            if layer.endsBlock { width /= 2 }
        }
        return total
    }

    /// - Parameter weights: a layer's weight (outputs, inputs, 3, 3), as torchvision keeps it, and
    ///   bias (outputs).
    package init(
        blocks: [[Int]], side: Int, kernels: Kernels, workers: Workers,
        weights: (VGGShape.Layer) throws(ModelError) -> (weight: [Float], bias: [Float])
    ) throws(ModelError) {
        shape = VGGShape(blocks: blocks)
        self.side = side
        self.kernels = kernels
        var convolutions: [Convolution] = []
        var width = side
        for layer in shape.layers {
            let (weight, bias) = try weights(layer)
            convolutions.append(
                Convolution(
                    weight: weight, bias: bias, inputs: layer.inputs,
                    method: Self.method(layer, side: width), kernels: kernels, workers: workers))
            if layer.endsBlock { width /= 2 }
        }
        self.convolutions = convolutions
    }

    /// From a file with torchvision's names.
    package convenience init(
        _ file: Safetensors, blocks: [[Int]], side: Int, kernels: Kernels, workers: Workers
    ) throws(ModelError) {
        try self.init(blocks: blocks, side: side, kernels: kernels, workers: workers) {
            (layer) throws(ModelError) in
            let weight = try file.tensor(
                layer.weightName, shape: [layer.outputs, layer.inputs, 3, 3])
            let bias = try file.tensor(layer.biasName, shape: [layer.outputs])
            return (weight.contents(), bias.contents())
        }
    }

    // MARK: Sharing

    /// What the packed weights depend on.
    struct Key: Hashable, Sendable {
        let sha256: String
        let side: Int
        let instructionSet: String
    }
    private struct Weak { weak var packed: PackedVGG? }
    private static let inUse = Mutex<[Key: Weak]>([:])

    /// The packed weights of that key, made where nobody has them at the moment. Others wait
    /// meanwhile: two copies at once would be the larger evil.
    static func shared(
        key: Key, make: () throws(ModelError) -> PackedVGG
    ) throws(ModelError) -> PackedVGG {
        try inUse.withLock { (inUse) throws(ModelError) in
            if let packed = inUse[key]?.packed { return packed }
            inUse = inUse.filter { $0.value.packed != nil }
            let packed = try make()
            inUse[key] = Weak(packed: packed)
            return packed
        }
    }

    // MARK: Choice

    /// How a layer is computed. Measured with `uhan bench backbone` on two Zen 5 cores (1 MB of L2
    /// each, 32 MB of L3), with AVX-512; other sets take the same choice untuned.
    /// Tests/Benchmarks/BENCHMARKS.md has the rest.
    ///
    /// - The first layer has 27 products an output: Winograd would save nothing.
    /// - Wide images go a few tiles at a time: with 14 tiles the weights are read too often, from
    ///   about 50 on the transforms wait for memory; between 21 and 42 the difference is noise.
    /// - Images of at most 56 x 56 have 67 MB of weights a layer: read once, by both cores
    ///   together, they take 8.5 ms where two groups of tiles a core take 8.8 to 9.5.
    package static func method(_ layer: VGGShape.Layer, side: Int) -> ConvolutionMethod {
        if layer.index == 0 { return .direct }
        return side <= 56 ? .winogradInSteps : .winograd(tilesAtATime: 28)
    }
}

/// A VGG network ready to run: shared weights, and scratch memory allocated once. One caller at a
/// time.
package final class VGG16 {
    package let side: Int
    package let normalization: Normalization
    /// Networks that bundles with the same backbone make for one picture size share them.
    package let weights: PackedVGG
    private let workers: Workers
    private let steps: [Step]
    private let picture: FloatMemory
    private let activations: [FloatMemory]
    private let scratch: FloatMemory

    package var shape: VGGShape { weights.shape }
    package var channels: Int { shape.layers.last?.outputs ?? 0 }
    package var grid: Int { shape.layers.reduce(side) { $1.endsBlock ? $0 / 2 : $0 } }
    package var regions: Int { grid * grid }

    package init(weights: PackedVGG, normalization: Normalization, workers: Workers) {
        side = weights.side
        self.weights = weights
        self.normalization = normalization
        self.workers = workers
        picture = FloatMemory(count: side * side * 3)
        steps = Self.steps(weights)
        var (largest, scratch) = (0, 0)
        for step in steps {
            let channels = Convolution.padded(step.convolution.outputs, weights.kernels)
            largest = max(largest, step.outputSide * step.outputSide * channels)
            scratch = max(
                scratch,
                step.convolution.scratchFloats(
                    side: step.side, pool: step.pools, workers: workers.count, after: step.first))
        }
        activations = [FloatMemory(count: largest), FloatMemory(count: largest)]
        self.scratch = FloatMemory(count: scratch)
    }

    /// One convolution, with the pool that follows it, and the first convolution where that is
    /// computed along with the second.
    private struct Step {
        let layer: Int
        let convolution: Convolution
        let first: Convolution?
        let side: Int
        let pools: Bool
        var outputSide: Int { pools ? side / 2 : side }
    }

    private static func steps(_ weights: PackedVGG) -> [Step] {
        var steps: [Step] = []
        var side = weights.side
        var first: Convolution?
        for (index, layer) in weights.shape.layers.enumerated() {
            let convolution = weights.convolutions[index]
            let next = weights.convolutions.dropFirst(index + 1).first
            if convolution.method == .direct, !layer.endsBlock, let next,
                case .winograd = next.method
            {
                first = convolution
                continue
            }
            steps.append(
                Step(
                    layer: index, convolution: convolution, first: first, side: side,
                    pools: layer.endsBlock))
            first = nil
            if layer.endsBlock { side /= 2 }
        }
        return steps
    }

    /// The features of a picture of side x side pixels: regions x channels, row-major over the
    /// picture.
    package func features(_ pixels: Pixels) -> [Float] {
        precondition(pixels.width == side && pixels.height == side)
        withUnsafeBytes(of: normalization.scale) { scale in
            withUnsafeBytes(of: normalization.shift) { shift in
                ck_normalize_rgb(
                    pixels.rgb, side * side,
                    scale.assumingMemoryBound(to: Float.self).baseAddress,
                    shift.assumingMemoryBound(to: Float.self).baseAddress,
                    normalization.readsBGR ? 1 : 0, picture.start)
            }
        }
        return run()
    }

    /// Likewise from a picture that is normalised already: (side, side, 3).
    ///
    /// - Parameter afterLayer: called after each layer (its index in `shape.layers`), with a way to
    ///   see its output, pooled where a pool follows: (side, side, channels). The first layer is
    ///   left out where it is computed together with the second.
    package func features(
        normalized: [Float], afterLayer: ((_ layer: Int, _ output: () -> [Float]) -> Void)? = nil
    ) -> [Float] {
        precondition(normalized.count == side * side * 3)
        _ = picture.buffer.update(fromContentsOf: normalized)
        return run(afterLayer)
    }

    private func run(_ afterLayer: ((Int, () -> [Float]) -> Void)? = nil) -> [Float] {
        var input = picture
        var output = activations[0]
        for step in steps {
            step.convolution.run(
                input.start, after: step.first, side: step.side, pool: step.pools,
                output: output.start, scratch: scratch.start, workers: workers)
            input = output
            output = output === activations[0] ? activations[1] : activations[0]
            afterLayer?(step.layer) { dense(input, step) }
        }
        return steps.last.map { dense(input, $0) } ?? []
    }

    private func dense(_ output: FloatMemory, _ step: Step) -> [Float] {
        step.convolution.dense(output, pixels: step.outputSide * step.outputSide)
    }
}

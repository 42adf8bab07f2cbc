import CKernels

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

/// A VGG network ready to run: weights packed once, scratch memory allocated once. One caller at
/// a time.
package final class VGG16 {
    package let side: Int
    package let shape: VGGShape
    package let normalization: Normalization
    private let workers: Workers
    private let convolutions: [Convolution]
    private let activations: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>)
    private let scratch: UnsafeMutablePointer<Float>
    private let scratchStride: Int

    package var channels: Int { shape.layers.last?.outputs ?? 0 }
    package var grid: Int { shape.layers.reduce(side) { $1.endsBlock ? $0 / 2 : $0 } }
    package var regions: Int { grid * grid }

    /// - Parameter weights: torchvision's names, (outputs, inputs, 3, 3) and (outputs).
    package init(
        weights: Safetensors, blocks: [[Int]], side: Int, normalization: Normalization,
        workers: Workers
    ) throws(ModelError) {
        self.side = side
        self.normalization = normalization
        self.workers = workers
        shape = VGGShape(blocks: blocks)

        var convolutions: [Convolution] = []
        var width = side
        var largest = side * side * 3
        for layer in shape.layers {
            let weight = try weights.tensor(
                layer.weightName, shape: [layer.outputs, layer.inputs, 3, 3])
            let bias = try weights.tensor(layer.biasName, shape: [layer.outputs])
            convolutions.append(
                Convolution(weight: weight.values, bias: bias.values, inputs: layer.inputs))
            largest = max(largest, width * width * layer.outputs)
            if layer.endsBlock { width /= 2 }
        }
        self.convolutions = convolutions
        activations = (allocateFloats(largest), allocateFloats(largest))
        scratchStride = convolutions.map(\.scratchFloats).max() ?? 0
        scratch = allocateFloats(scratchStride * workers.count)
    }

    deinit {
        activations.0.deallocate()
        activations.1.deallocate()
        scratch.deallocate()
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
                    normalization.readsBGR ? 1 : 0, activations.0)
            }
        }
        var (input, output) = activations
        var width = side
        for (layer, convolution) in zip(shape.layers, convolutions) {
            convolution.run(
                input, side: width, output: output, scratch: scratch,
                scratchStride: scratchStride, workers: workers)
            swap(&input, &output)
            if layer.endsBlock {
                let channels = layer.outputs
                let half = width / 2
                let (from, to, full) = (input, output, width)
                workers.run(tasks: half) { y, _ in
                    ck_maxpool_2x2(from, full, channels, y, 1, to + y * half * channels)
                }
                swap(&input, &output)
                width = half
            }
        }
        return Array(UnsafeBufferPointer(start: input, count: width * width * channels))
    }
}

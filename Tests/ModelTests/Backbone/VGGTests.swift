import Model
import Testing

struct VGGTests {
    /// VGG16's thirteen layers on a small picture, every layer against float64: an error that
    /// grew from layer to layer would show.
    @Test(arguments: Kernels.available)
    func everyLayerAgreesWithTheReadableNetwork(_ kernels: Kernels) throws {
        let network = try RandomNetwork(blocks: VGGShape.vgg16, side: 64, kernels: kernels)
        let expected = Self.expectedVGG16
        var seen: [Int] = []
        _ = network.features { layer, output in
            seen.append(layer)
            #expect(relativeError(output, expected[layer]) < 2e-5, "layer \(layer)")
        }
        #expect(seen == Array(1...12), "the first layer goes with the second")
    }

    private static let expectedVGG16 = RandomNetwork.expected(blocks: VGGShape.vgg16, side: 64)

    /// Networks of other shapes: one layer before the first pool, channels that fill no vector,
    /// sides that do not divide.
    @Test(
        arguments: Kernels.available,
        [([[8]], 9), ([[8], [16]], 32), ([[5, 7], [9]], 47), ([[4, 4], [8, 8], [16]], 101)])
    func otherShapesAgreeToo(_ kernels: Kernels, _ shape: ([[Int]], Int)) throws {
        let (blocks, side) = shape
        let network = try RandomNetwork(blocks: blocks, side: side, kernels: kernels)
        let expected = RandomNetwork.expected(blocks: blocks, side: side)
        let features = network.features()
        #expect(relativeError(features, expected.last ?? []) < 2e-5)
        #expect(network.features() == features, "a second time, with used memory")
    }
}

private struct RandomNetwork {
    let backbone: VGG16
    let picture: [Float]

    init(blocks: [[Int]], side: Int, kernels: Kernels) throws {
        let workers = Workers(count: 2)
        let packed = try PackedVGG(blocks: blocks, side: side, kernels: kernels, workers: workers) {
            Self.weights($0)
        }
        backbone = VGG16(weights: packed, normalization: .raw, workers: workers)
        picture = Self.picture(side: side)
    }

    func features(
        afterLayer: ((Int, [Float]) -> Void)? = nil
    ) -> [Float] {
        backbone.features(normalized: picture) { layer, output in afterLayer?(layer, output()) }
    }

    /// Every layer's output, pooled where a pool follows.
    static func expected(blocks: [[Int]], side: Int) -> [[Double]] {
        let workers = Workers(count: 2)
        var (image, side) = (picture(side: side).map(Double.init), side)
        return VGGShape(blocks: blocks).layers.map { layer in
            let (weight, bias) = weights(layer)
            image = ReferenceVGG.relu(
                ReferenceVGG.convolve(
                    image, side: side, inputs: layer.inputs, weight: weight.map(Double.init),
                    bias: bias.map(Double.init), workers: workers))
            if layer.endsBlock {
                image = ReferenceVGG.pool(image, side: side, channels: layer.outputs)
                side /= 2
            }
            return image
        }
    }

    private static func picture(side: Int) -> [Float] {
        noise(side * side * 3, seed: 99, deviation: 1)
    }

    private static func weights(_ layer: VGGShape.Layer) -> (weight: [Float], bias: [Float]) {
        let deviation = (2 / Float(9 * layer.inputs)).squareRoot()
        return (
            noise(layer.outputs * layer.inputs * 9, seed: layer.index, deviation: deviation),
            noise(layer.outputs, seed: 1000 + layer.index, deviation: 0.05)
        )
    }

    private static func noise(_ count: Int, seed: Int, deviation: Float) -> [Float] {
        var generator = SplitMix64(seed: UInt64(seed))
        return (0..<count).map { _ in
            (Float(generator.next() >> 40) / 16_777_216 - 0.5) * 3.4641 * deviation
        }
    }
}

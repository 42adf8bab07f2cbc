import Model
import Testing

struct ConvolutionTests {
    @Test func thereAreGoldenLayers() {
        #expect(ModelGolden.layers.count == 13)
    }

    /// Each real layer shape of VGG16, input and weights from integers, against PyTorch float64.
    @Test(arguments: ModelGolden.layers)
    func realLayerAgreesWithPyTorch(_ layer: ModelGolden.Layer) {
        var generator = SplitMix64(seed: layer.seed)
        func values(_ count: Int, shift: Int) -> [Float] {
            let scale = 1 / Float(1 << shift)
            return (0..<count).map { _ in
                (Float(generator.next() >> 40) / 16_777_216 - 0.5) * scale
            }
        }
        let (inputs, outputs) = (layer.input_channels, layer.output_channels)
        let image = values(layer.side * layer.side * inputs, shift: 0)
        let weight = values(outputs * inputs * 9, shift: layer.weight_shift)
        let bias = values(outputs, shift: layer.bias_shift)
        #expect(Array(image.prefix(3)) == layer.first_input)
        #expect(Array(weight.prefix(3)) == layer.first_weight)
        #expect(Array(bias.prefix(3)) == layer.first_bias)

        let convolution = weight.withUnsafeBufferPointer { weight in
            bias.withUnsafeBufferPointer { Convolution(weight: weight, bias: $0, inputs: inputs) }
        }
        let output = convolution.run(image, side: layer.side, workers: Workers(count: 2))

        let norm = output.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(norm - layer.l2_norm) < 1e-6 * layer.l2_norm)
        let found = layer.samples.map { sample in
            output[(sample.y * layer.side + sample.x) * outputs + sample.channel]
        }
        #expect(relativeError(found, layer.samples.map(\.value)) < 2e-6)
    }

    /// The fast path against the readable one at sizes that leave every kind of rest: tiles of
    /// pixels, odd sides, few channels.
    @Test(arguments: [1, 2, 3, 7, 15, 16, 17, 31], [(1, 1), (3, 5), (4, 16), (17, 9)])
    func fastAgreesWithReadable(side: Int, channels: (Int, Int)) {
        var generator = SplitMix64(seed: UInt64(side))
        func values(_ count: Int) -> [Float] {
            (0..<count).map { _ in Float(generator.next() >> 40) / 16_777_216 - 0.5 }
        }
        let (inputs, outputs) = channels
        let image = values(side * side * inputs)
        let weight = values(outputs * inputs * 9)
        let bias = values(outputs)
        let workers = Workers(count: 2)

        let expected = ReferenceVGG.relu(
            ReferenceVGG.convolve(
                image.map(Double.init), side: side, inputs: inputs, weight: weight.map(Double.init),
                bias: bias.map(Double.init), workers: workers))
        let found = weight.withUnsafeBufferPointer { weight in
            bias.withUnsafeBufferPointer { Convolution(weight: weight, bias: $0, inputs: inputs) }
        }.run(image, side: side, workers: workers)
        #expect(largestDifference(found, expected) < 1e-5)
    }
}

import Model
import Testing

struct ConvolutionTests {
    @Test func thereAreGoldenLayers() {
        #expect(ModelGolden.layers.count == 13)
    }

    /// Each real layer shape of VGG16, input and weights from integers, against PyTorch float64.
    @Test(arguments: ModelGolden.layers, Kernels.available)
    func realLayerAgreesWithPyTorch(
        _ layer: ModelGolden.Layer, _ kernels: Kernels
    ) throws {
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

        let workers = Workers(count: 2)
        let shape = try #require(
            VGGShape(blocks: VGGShape.vgg16).layers.first {
                $0.inputs == inputs && $0.outputs == outputs
            })
        let output = Convolution(
            weight: weight, bias: bias, inputs: inputs,
            method: PackedVGG.method(shape, side: layer.side), kernels: kernels, workers: workers
        ).run(image, side: layer.side, pool: false, workers: workers)

        let norm = output.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(norm - layer.l2_norm) < 1e-5 * layer.l2_norm)
        let found = layer.samples.map { sample in
            output[(sample.y * layer.side + sample.x) * outputs + sample.channel]
        }
        #expect(relativeError(found, layer.samples.map(\.value)) < 2e-5)
    }

    /// Sides that leave every kind of rest (tiles of 6 that stick out by 0 to 5 pixels, odd sides
    /// to pool), channels that do and do not fill a vector or a panel.
    @Test(
        arguments: Kernels.available,
        [
            ConvolutionMethod.direct, .winograd(tilesAtATime: 1), .winograd(tilesAtATime: 7),
            .winogradInSteps,
        ])
    func allSizesAgreeWithTheReadableConvolution(
        _ kernels: Kernels, _ method: ConvolutionMethod
    ) {
        let channels = [(1, 1), (3, 5), (4, 16), (17, 9), (33, 65)]
        for side in Array(1...14) + [17, 24, 31] {
            for (inputs, outputs) in channels {
                let layer = RandomLayer(side: side, inputs: inputs, outputs: outputs)
                for pool in [false, true] where !pool || side > 1 {
                    let found = layer.run(method, kernels, pool: pool)
                    let expected = layer.expected(pool: pool)
                    #expect(
                        largestDifference(found, expected) < 1e-5 * Double(1 + inputs),
                        "side \(side), \(inputs) to \(outputs), pool \(pool)")
                }
            }
        }
    }

    /// So many tiles at a time as leave every rest of rows in the matrix product.
    @Test(arguments: Kernels.available)
    func everyNumberOfTilesAtATimeGivesTheSame(_ kernels: Kernels) {
        let layer = RandomLayer(side: 40, inputs: 19, outputs: 24)
        let expected = layer.expected(pool: false)
        let inSteps = layer.run(.winogradInSteps, kernels, pool: false)
        #expect(largestDifference(inSteps, expected) < 2e-4)
        for tiles in 1...49 {
            #expect(layer.run(.winograd(tilesAtATime: tiles), kernels, pool: false) == inSteps)
        }
    }

    @Test(arguments: Kernels.available)
    func theNumberOfThreadsDoesNotChangeABit(_ kernels: Kernels) {
        let layer = RandomLayer(side: 37, inputs: 8, outputs: 24)
        for method in [ConvolutionMethod.direct, .winograd(tilesAtATime: 5), .winogradInSteps] {
            let one = layer.run(method, kernels, pool: true, threads: 1)
            for threads in 2...4 {
                #expect(layer.run(method, kernels, pool: true, threads: threads) == one)
            }
        }
    }
}

/// Noise, and what the readable convolution makes of it.
private struct RandomLayer {
    let side: Int
    let inputs: Int
    let outputs: Int
    let image: [Float]
    let weight: [Float]
    let bias: [Float]

    init(side: Int, inputs: Int, outputs: Int) {
        var generator = SplitMix64(seed: UInt64(side))
        func values(_ count: Int) -> [Float] {
            (0..<count).map { _ in Float(generator.next() >> 40) / 16_777_216 - 0.5 }
        }
        self.side = side
        self.inputs = inputs
        self.outputs = outputs
        image = values(side * side * inputs)
        weight = values(outputs * inputs * 9)
        bias = values(outputs)
    }

    func run(
        _ method: ConvolutionMethod, _ kernels: Kernels, pool: Bool, threads: Int = 2
    ) -> [Float] {
        let workers = Workers(count: threads)
        return Convolution(
            weight: weight, bias: bias, inputs: inputs, method: method, kernels: kernels,
            workers: workers
        ).run(image, side: side, pool: pool, workers: workers)
    }

    func expected(pool: Bool) -> [Double] {
        let convolved = ReferenceVGG.relu(
            ReferenceVGG.convolve(
                image.map(Double.init), side: side, inputs: inputs,
                weight: weight.map(Double.init), bias: bias.map(Double.init),
                workers: Workers(count: 1)))
        return pool ? ReferenceVGG.pool(convolved, side: side, channels: outputs) : convolved
    }
}

import Glibc

/// Weights from a seed: the same numbers on every machine, since they are made of integers, exact
/// IEEE operations and sums in one fixed order.
///
/// They stand in where trained weights are not to be had. They are untrained: scores made with
/// them mean nothing, but every part of the network does its work.
package struct SeededWeights {
    private var generator: SplitMix64

    package init(seed: UInt64) {
        generator = SplitMix64(seed: seed)
    }

    /// Uniform in [-limit, limit), from the generator's top 24 bits.
    private mutating func uniform(_ count: Int, limit: Double) -> [Float] {
        (0..<count).map { _ in
            let unit = Double(generator.next() >> 40) / Double(1 << 23) - 1
            return Float(unit * limit)
        }
    }

    // MARK: Backbone

    /// How well the seeded backbone tells pictures apart.
    package struct BackboneReport: Sendable {
        /// Mean cosine between the pooled features of different pictures; 1 is blindness.
        package let meanCosine: Double
        /// Mean share of channels that are above 0 somewhere in a picture.
        package let activeChannels: Double
    }

    /// A VGG backbone: uniform He weights, each layer then normalised on calibration pictures.
    ///
    /// Plain He weights make all pictures look alike after 13 layers: the mean of the
    /// pre-activations, common to all pictures, outgrows their differences. So every channel is
    /// centred and scaled to mean 0 and deviation 1 over the pictures (as batch normalisation
    /// would, once, and folded into weight and bias); means and deviations are kept in the file
    /// as `calibration.N.mean` and `.deviation`.
    package mutating func backbone(
        blocks: [[Int]], pictures: [Pixels], normalization: Normalization, workers: Workers,
        progress: (String) -> Void
    ) -> (file: SafetensorsWriter, report: BackboneReport) {
        var file = SafetensorsWriter()
        var side = pictures.first?.width ?? 0
        var images = pictures.map { ReferenceVGG.normalize($0, normalization) }
        let shape = VGGShape(blocks: blocks)
        for (number, layer) in shape.layers.enumerated() {
            progress("calibrating layer \(number + 1) of \(shape.layers.count)")
            let (inputs, outputs) = (layer.inputs, layer.outputs)
            let fanIn = 9 * inputs
            var weight = uniform(outputs * fanIn, limit: (6 / Double(fanIn)).squareRoot())

            let zero = [Double](repeating: 0, count: outputs)
            let raw = images.map {
                ReferenceVGG.convolve(
                    $0, side: side, inputs: inputs, weight: weight.map(Double.init), bias: zero,
                    workers: workers)
            }
            let (means, deviations) = Self.statistics(raw, channels: outputs)
            var bias = [Float](repeating: 0, count: outputs)
            for o in 0..<outputs {
                for k in o * fanIn..<(o + 1) * fanIn {
                    weight[k] = Float(Double(weight[k]) / deviations[o])
                }
                bias[o] = Float(-means[o] / deviations[o])
            }
            file.add(layer.weightName, shape: [outputs, inputs, 3, 3], weight)
            file.add(layer.biasName, shape: [outputs], bias)
            file.add("calibration.\(layer.index).mean", shape: [outputs], means.map(Float.init))
            file.add(
                "calibration.\(layer.index).deviation", shape: [outputs],
                deviations.map(Float.init))

            images = raw.map { image in
                var image = image
                for i in image.indices {
                    let o = i % outputs
                    image[i] = max(0, (image[i] - means[o]) / deviations[o])
                }
                return image
            }
            if layer.endsBlock {
                images = images.map { ReferenceVGG.pool($0, side: side, channels: outputs) }
                side /= 2
            }
        }
        return (file, Self.report(images, channels: shape.layers.last?.outputs ?? 1))
    }

    private static func statistics(
        _ images: [[Double]], channels: Int
    ) -> (means: [Double], deviations: [Double]) {
        let count = Double(images.reduce(0) { $0 + $1.count } / channels)
        var means = [Double](repeating: 0, count: channels)
        for image in images {
            for i in image.indices { means[i % channels] += image[i] }
        }
        for c in means.indices { means[c] /= count }
        var squares = [Double](repeating: 0, count: channels)
        for image in images {
            for i in image.indices {
                let difference = image[i] - means[i % channels]
                squares[i % channels] += difference * difference
            }
        }
        // A channel that never moves keeps its scale.
        let deviations = squares.map { $0 > 1e-12 ? ($0 / count).squareRoot() : 1 }
        return (means, deviations)
    }

    private static func report(_ images: [[Double]], channels: Int) -> BackboneReport {
        let pooled = images.map { image in
            var mean = [Double](repeating: 0, count: channels)
            for i in image.indices { mean[i % channels] += image[i] }
            return mean
        }
        func cosine(_ a: [Double], _ b: [Double]) -> Double {
            func dot(_ x: [Double], _ y: [Double]) -> Double {
                zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
            }
            return dot(a, b) / max(1e-30, (dot(a, a) * dot(b, b)).squareRoot())
        }
        var cosines: [Double] = []
        for i in pooled.indices {
            for j in pooled.indices where j > i { cosines.append(cosine(pooled[i], pooled[j])) }
        }
        let active = pooled.map { picture in
            Double(picture.count { $0 > 0 }) / Double(channels)
        }
        return BackboneReport(
            meanCosine: cosines.isEmpty ? 1 : cosines.reduce(0, +) / Double(cosines.count),
            activeChannels: active.isEmpty ? 0 : active.reduce(0, +) / Double(active.count))
    }

    // MARK: Head

    /// The network behind the backbone. Matrices are Glorot uniform; embeddings and the attention
    /// vectors h and w are drawn wide, so that attention is far from flat and users differ.
    package mutating func head(
        dimension d: Int, channels: Int, dense: [Int], vocabulary: Int
    ) -> SafetensorsWriter {
        var file = SafetensorsWriter()
        func glorot(_ rows: Int, _ columns: Int) -> Double {
            (6 / Double(rows + columns)).squareRoot()
        }
        func matrix(_ name: String, _ rows: Int, _ columns: Int, limit: Double? = nil) {
            file.add(
                name, shape: [rows, columns],
                uniform(rows * columns, limit: limit ?? glorot(rows, columns)))
        }
        func vector(_ name: String, _ count: Int, limit: Double) {
            file.add(name, shape: [count], uniform(count, limit: limit))
        }
        matrix("word", max(1, vocabulary), d, limit: 1)
        matrix("lstm.W", d, 4 * d)
        matrix("lstm.U", d, 4 * d)
        vector("lstm.b", 4 * d, limit: 0.1)
        matrix("W_img", channels, d)
        matrix("W_r", d, d)
        for name in ["text", "image"] {
            for part in ["A", "B", "C"] { matrix("\(name).\(part)", d, d) }
            vector("\(name).h", d, limit: name == "text" ? 2 : 4)
        }
        for part in ["W_text", "W_image", "W_u"] { matrix("inter.\(part)", d, d) }
        vector("inter.w", d, limit: 0.5)
        let widths = [d] + dense + [1]
        for index in 1..<widths.count {
            matrix("dense\(index).W", widths[index - 1], widths[index])
            let last = index == widths.count - 1
            // An untrained score near 4, eight views a day, looks like one.
            file.add(
                "dense\(index).b", shape: [widths[index]],
                [Float](repeating: last ? 4 : 0, count: widths[index]))
        }
        return file
    }

    package mutating func users(count: Int, dimension: Int) -> SafetensorsWriter {
        var file = SafetensorsWriter()
        if count > 0 {
            file.add(
                "user", shape: [count, dimension], uniform(count * dimension, limit: 1))
        }
        file.add("unknown", shape: [dimension], uniform(dimension, limit: 0.25))
        return file
    }
}

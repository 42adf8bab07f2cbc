import CKernels

/// The specification of the backbone: plain loops in float64, one fixed order of summation, the
/// same bits on every machine. Fast paths are compared with it, and seeded weights are
/// calibrated by it.
package struct ReferenceVGG {
    /// One convolution with bias, before its ReLU.
    ///
    /// - Parameters:
    ///   - image: (side, side, inputs).
    ///   - weight: (outputs, inputs, 3, 3).
    /// - Returns: (side, side, outputs).
    package static func convolve(
        _ image: [Double], side: Int, inputs: Int, weight: [Double], bias: [Double],
        workers: Workers
    ) -> [Double] {
        let outputs = bias.count
        precondition(image.count == side * side * inputs && weight.count == outputs * inputs * 9)
        var transposed = [Double](repeating: 0, count: weight.count)
        for o in 0..<outputs {
            for k in 0..<inputs * 9 { transposed[k * outputs + o] = weight[o * inputs * 9 + k] }
        }
        var result = [Double](repeating: 0, count: side * side * outputs)
        image.withUnsafeBufferPointer { image in
            transposed.withUnsafeBufferPointer { weight in
                bias.withUnsafeBufferPointer { bias in
                    result.withUnsafeMutableBufferPointer { result in
                        nonisolated(unsafe) let (image, weight, bias, out) = (
                            image.baseAddress, weight.baseAddress, bias.baseAddress,
                            result.baseAddress
                        )
                        workers.run(tasks: side) { y, _ in
                            ck_reference_conv_3x3(
                                image, side, side, inputs, weight, bias, outputs, y, 1,
                                out.map { $0 + y * side * outputs })
                        }
                    }
                }
            }
        }
        return result
    }

    package static func relu(_ x: [Double]) -> [Double] { x.map { max(0, $0) } }

    /// 2x2 max-pool of (side, side, channels).
    package static func pool(_ image: [Double], side: Int, channels: Int) -> [Double] {
        let half = side / 2
        var result = [Double](repeating: 0, count: half * half * channels)
        for y in 0..<half {
            for x in 0..<half {
                for c in 0..<channels {
                    func at(_ dy: Int, _ dx: Int) -> Double {
                        image[((2 * y + dy) * side + 2 * x + dx) * channels + c]
                    }
                    result[(y * half + x) * channels + c] =
                        max(max(at(0, 0), at(0, 1)), max(at(1, 0), at(1, 1)))
                }
            }
        }
        return result
    }

    /// A picture's normalised values, (y, x, channel).
    package static func normalize(_ pixels: Pixels, _ normalization: Normalization) -> [Double] {
        let (scale, shift) = (normalization.scale, normalization.shift)
        let scales = [scale.0, scale.1, scale.2].map(Double.init)
        let shifts = [shift.0, shift.1, shift.2].map(Double.init)
        return pixels.rgb.indices.map { i in
            let channel = i % 3
            let source = normalization.readsBGR ? i - channel + 2 - channel : i
            return Double(pixels.rgb[source]) * scales[channel] + shifts[channel]
        }
    }
}

import Glibc
import Model

/// What colours a picture has, as numbers: the image part of the hand-made features.
///
/// Of the picture stretched to 64 x 64 pixels (``side``), channels as parts of 1; in this order:
///
/// - mean, deviation and skewness of R, G, B, then of H, S, V ("colour moments", Stricker and
///   Orengo 1995; hue in turns, 0 where there is none), 18 values;
/// - the shares of pixels in 4 x 4 x 4 boxes of RGB, red slowest, 64 values;
/// - colourfulness (Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003): with
///   rg = R - G and yb = (R + G) / 2 - B, the length of their deviations plus 0.3 times the length
///   of their means;
/// - brightness and contrast: mean and deviation of the luma 0.299 R + 0.587 G + 0.114 B;
/// - sharpness: the variance of the luma's Laplacian (4 neighbours) over the inner pixels.
///
/// Deviations are those of the whole (divided by n); a skewness without deviation is 0.
package enum ColorStatistics {
    package static let side = 64
    package static let count = 18 + 64 + 1 + 2 + 1

    /// - Parameter pixels: at least 3 x 3.
    /// - Returns: ``count`` values.
    package static func values(of pixels: Pixels) -> [Float] {
        let count = pixels.width * pixels.height
        // Channels one after the other: R, G, B, H, S, V.
        var channels = [[Double]](repeating: [Double](repeating: 0, count: count), count: 6)
        var histogram = [Double](repeating: 0, count: 64)
        var redGreen = [Double](repeating: 0, count: count)
        var yellowBlue = redGreen
        var luma = redGreen
        for pixel in 0..<count {
            let (r, g, b) = (
                pixels.rgb[3 * pixel], pixels.rgb[3 * pixel + 1], pixels.rgb[3 * pixel + 2]
            )
            histogram[Int(r >> 6) * 16 + Int(g >> 6) * 4 + Int(b >> 6)] += 1 / Double(count)
            let (red, green, blue) = (Double(r) / 255, Double(g) / 255, Double(b) / 255)
            let hsv = hueSaturationValue(red, green, blue)
            for (channel, value) in [red, green, blue, hsv.0, hsv.1, hsv.2].enumerated() {
                channels[channel][pixel] = value
            }
            redGreen[pixel] = red - green
            yellowBlue[pixel] = (red + green) / 2 - blue
            luma[pixel] = 0.299 * red + 0.587 * green + 0.114 * blue
        }

        var values: [Double] = []
        for channel in channels {
            let moments = Moments(channel)
            values += [moments.mean, moments.variance.squareRoot(), moments.skewness]
        }
        values += histogram
        let (rg, yb) = (Moments(redGreen), Moments(yellowBlue))
        values.append(
            (rg.variance + yb.variance).squareRoot()
                + 0.3 * (rg.mean * rg.mean + yb.mean * yb.mean).squareRoot())
        let brightness = Moments(luma)
        values += [brightness.mean, brightness.variance.squareRoot()]
        values.append(
            Moments(laplacian(luma, width: pixels.width, height: pixels.height)).variance)
        return values.map(Float.init)
    }

    private static func hueSaturationValue(
        _ red: Double, _ green: Double, _ blue: Double
    ) -> (Double, Double, Double) {
        let value = max(red, green, blue)
        let range = value - min(red, green, blue)
        guard range > 0 else { return (0, 0, value) }
        let sixths: Double
        if value == red {
            sixths = (green - blue) / range + (green < blue ? 6 : 0)
        } else if value == green {
            sixths = (blue - red) / range + 2
        } else {
            sixths = (red - green) / range + 4
        }
        return (sixths / 6, range / value, value)
    }

    private static func laplacian(_ plane: [Double], width: Int, height: Int) -> [Double] {
        var values: [Double] = []
        values.reserveCapacity((width - 2) * (height - 2))
        for y in 1..<height - 1 {
            for x in 1..<width - 1 {
                let at = y * width + x
                values.append(
                    plane[at - 1] + plane[at + 1] + plane[at - width] + plane[at + width]
                        - 4 * plane[at])
            }
        }
        return values
    }
}

private struct Moments {
    let mean: Double
    let variance: Double
    let skewness: Double

    init(_ values: [Double]) {
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        var (squares, cubes) = (0.0, 0.0)
        for value in values {
            let difference = value - mean
            squares += difference * difference
            cubes += difference * difference * difference
        }
        self.mean = mean
        variance = squares / count
        // A channel of one value has a rounding error for a variance.
        skewness = variance > 1e-20 ? cubes / count / (variance * variance.squareRoot()) : 0
    }
}

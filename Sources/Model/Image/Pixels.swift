/// A picture of 8-bit RGB pixels.
package struct Pixels: Sendable, Equatable {
    package let width: Int
    package let height: Int

    /// Interleaved R, G, B, rows top down: width x height x 3 bytes.
    package var rgb: [UInt8]

    package init(width: Int, height: Int, rgb: [UInt8]) {
        precondition(rgb.count == width * height * 3, "\(width) x \(height) RGB pixels")
        self.width = width
        self.height = height
        self.rgb = rgb
    }
}

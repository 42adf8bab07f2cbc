import Model

/// A photo, upright, in its own proportions, kept as the square that a decoder stretched it to.
package struct Photo: Sendable {
    package let square: Pixels
    /// Of the picture as the camera took it.
    package let width: Int
    package let height: Int

    /// - Parameters: width and height give the proportions; extreme ones count as 4 : 1.
    package init(square: Pixels, width: Int, height: Int) {
        self.square = square
        self.width = width
        self.height = height
    }

    /// The largest size in the photo's proportions that fits, at least a pixel a side.
    func size(within maximumWidth: Double, _ maximumHeight: Double) -> (
        width: Double, height: Double
    ) {
        let proportion = min(4, max(0.25, Double(max(1, width)) / Double(max(1, height))))
        let across = min(maximumWidth, maximumHeight * proportion)
        return (max(1, across.rounded()), max(1, (across / proportion).rounded()))
    }

    /// In its proportions, at most `maximumSide` pixels wide and high.
    func upright(maximumSide: Int) throws(DrawingError) -> Surface {
        let size = size(within: Double(maximumSide), Double(maximumSide))
        let canvas = try Canvas(width: Int(size.width), height: Int(size.height))
        canvas.paint(try Surface(square), 0, 0, size.width, size.height)
        return try canvas.finish()
    }
}

/// Attention laid over the photo that it belongs to: bright is where the model looked.
///
/// The photo loses its colours, so that colour means attention alone; each pixel is then mixed with
/// Inferno's colour of its weight, the more the higher it is. The grid lies over the whole photo,
/// in the photo's proportions, as the model saw the photo stretched to a square.
package struct HeatMap: Sendable {
    package let photo: Photo
    package let attention: AttentionMap

    package init(photo: Photo, attention: AttentionMap) {
        self.photo = photo
        self.attention = attention
    }

    /// - Parameter maximumSide: of the picture in pixels.
    package func surface(maximumSide: Int) throws(DrawingError) -> Surface {
        let surface = try photo.upright(maximumSide: maximumSide)
        let (width, height) = (surface.width, surface.height)
        let levels = attention.levels(width: width, height: height)
        var pixels = surface.pixels()
        pixels.rgb.withUnsafeMutableBufferPointer { rgb in
            for index in 0..<width * height {
                let (red, green, blue) = (rgb[3 * index], rgb[3 * index + 1], rgb[3 * index + 2])
                let mixed = Self.mix(red, green, blue, level: Double(levels[index]))
                rgb[3 * index] = mixed.0
                rgb[3 * index + 1] = mixed.1
                rgb[3 * index + 2] = mixed.2
            }
        }
        return try Surface(pixels)
    }

    private static func mix(
        _ red: UInt8, _ green: UInt8, _ blue: UInt8, level: Double
    ) -> (UInt8, UInt8, UInt8) {
        let grey = 0.2126 * Double(red) + 0.7152 * Double(green) + 0.0722 * Double(blue)
        let opacity = 0.5 + 0.25 * level
        let colour = Inferno.colour(level)
        func part(_ colour: Double) -> UInt8 {
            UInt8(min(255, max(0, grey * (1 - opacity) + 255 * colour * opacity)))
        }
        return (part(colour.red), part(colour.green), part(colour.blue))
    }
}

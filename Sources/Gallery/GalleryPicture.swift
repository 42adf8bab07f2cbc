import Model

/// What a thing in a picture is: it has an outline and a texture of its own.
package enum GalleryKind: String, Sendable, Codable, CaseIterable {
    case kite, flag, quilt, balloon

    /// The word that names it in a text.
    package var word: String { rawValue }
}

package enum GalleryColor: String, Sendable, Codable, CaseIterable {
    case red, yellow, green, blue

    package var rgb: [Int] {
        switch self {
        case .red: [216, 28, 36]
        case .yellow: [250, 206, 0]
        case .green: [30, 150, 40]
        case .blue: [34, 56, 214]
        }
    }
}

/// A rectangle of pixels: columns left ..< right, rows top ..< bottom.
package struct GalleryBox: Sendable, Equatable {
    package let left: Int
    package let top: Int
    package let right: Int
    package let bottom: Int

    package var width: Int { right - left }
    package var height: Int { bottom - top }

    func isApart(from other: GalleryBox, by gap: Int) -> Bool {
        right + gap <= other.left || other.right + gap <= left
            || bottom + gap <= other.top || other.bottom + gap <= top
    }
}

package struct GalleryObject: Sendable, Equatable {
    package let kind: GalleryKind
    package let color: GalleryColor
    package let box: GalleryBox
}

/// The picture of a post: a landscape with 2 or 3 things in it, all of different kinds and colours.
package struct GalleryPicture: Sendable {
    package let width: Int
    package let height: Int
    package let place: ScenePlace
    package let light: SceneLight
    package let objects: [GalleryObject]
    private let seed: UInt64

    /// Landscapes, squares and portraits of about the same area.
    static let sizes = [(320, 240), (336, 224), (352, 198), (280, 280), (240, 320), (224, 336)]
    /// Of the picture's area, in thousandths; with the rounding below it is never above 50.
    private static let area = 46...49
    private static let gap = 6
    private static let quality = 85

    init(place: ScenePlace, light: SceneLight, using random: inout SceneRandom) {
        (width, height) = random.pick([0, 0, 1, 1, 2, 3, 4, 5].map { Self.sizes[$0] })
        self.place = place
        self.light = light
        seed = random.next()
        let kinds = random.shuffled(GalleryKind.allCases)
        let colors = random.shuffled(GalleryColor.allCases)
        let count = random.number(in: 2...3)
        var objects: [GalleryObject] = []
        for (kind, color) in zip(kinds, colors).prefix(count) {
            guard
                let box = Self.freeBox(
                    among: objects, width: width, height: height, using: &random)
            else {
                break
            }
            objects.append(GalleryObject(kind: kind, color: color, box: box))
        }
        self.objects = objects
    }

    /// A box at a random place that touches no other. Three boxes and what they keep free of
    /// others take less than half of the picture, so that an attempt fails seldom.
    private static func freeBox(
        among objects: [GalleryObject], width: Int, height: Int, using random: inout SceneRandom
    ) -> GalleryBox? {
        let pixels = width * height * random.number(in: area) / 1000
        // A little wider than high, or the other way round.
        let boxWidth = Int(
            (Double(pixels) * Double(random.number(in: 85...115)) / 100).squareRoot())
        let boxHeight = pixels / boxWidth
        for _ in 0..<1000 {
            let left = random.number(in: 0...(width - boxWidth))
            let top = random.number(in: 0...(height - boxHeight))
            let box = GalleryBox(
                left: left, top: top, right: left + boxWidth, bottom: top + boxHeight)
            if objects.allSatisfy({ $0.box.isApart(from: box, by: gap) }) { return box }
        }
        return nil
    }

    package func jpeg() throws(ImageError) -> [UInt8] {
        try JPEG.encode(render(), quality: Self.quality)
    }

    package func render() -> Pixels {
        var pixels = landscape()
        for object in objects { object.paint(on: &pixels) }
        return pixels
    }

    /// The picture without its things, its colours faded so that things stand out.
    package func landscape() -> Pixels {
        var pixels = SampleScene.landscape(
            place, under: light, seed: seed, width: width, height: height)
        for start in stride(from: 0, to: pixels.rgb.count, by: 3) {
            let red = Int(pixels.rgb[start])
            let green = Int(pixels.rgb[start + 1])
            let blue = Int(pixels.rgb[start + 2])
            let grey = (77 * red + 151 * green + 28 * blue) / 256
            pixels.rgb[start] = UInt8(clamping: red + (grey - red) * 2 / 5)
            pixels.rgb[start + 1] = UInt8(clamping: green + (grey - green) * 2 / 5)
            pixels.rgb[start + 2] = UInt8(clamping: blue + (grey - blue) * 2 / 5)
        }
        return pixels
    }
}

/// What ``SampleScene`` draws with. All arithmetic is on integers, so that every machine draws the
/// same pixels.
///
/// Lengths are in scene units, 1024 of them to the shorter side of the picture; `at` below is a
/// point in them, from the top left corner.
struct SampleCanvas {
    let width: Int
    let height: Int
    private let shorterSide: Int
    private(set) var rgb: [UInt8]

    init(width: Int, height: Int) {
        self.width = width
        self.height = height
        shorterSide = min(width, height)
        rgb = [UInt8](repeating: 0, count: width * height * 3)
    }

    var widthInUnits: Int { width * 1024 / shorterSide }
    var heightInUnits: Int { height * 1024 / shorterSide }

    /// Colours each pixel by the scene's point at its centre.
    mutating func paint(_ color: (_ at: ScenePoint) -> SceneColor) {
        for y in 0..<height {
            for x in 0..<width {
                let at = ScenePoint(
                    (2 * x + 1) * 512 / shorterSide, (2 * y + 1) * 512 / shorterSide)
                set(color(at), x, y)
            }
        }
    }

    /// Fills a shape, its edges smoothed by 16 samples a pixel.
    ///
    /// - Parameter opacity: 0 ... 256.
    mutating func fill(_ shape: SceneShape, _ paint: ScenePaint, opacity: Int = 256) {
        // Whole numbers fine enough for the samples: 8 steps to a pixel.
        let fine = shape.scaled { $0 * shorterSide * 8 / 1024 }
        let bounds = fine.bounds
        let rows = max(0, bounds.top / 8)..<max(0, min(height, bounds.bottom / 8 + 1))
        let columns = max(0, bounds.left / 8)..<max(0, min(width, bounds.right / 8 + 1))
        for y in rows where !columns.isEmpty {
            let depth = min(256, max(0, (8 * y + 4 - bounds.top) * 256 / bounds.height))
            let color = paint.top.mixed(with: paint.bottom, depth)
            for x in columns {
                var samples = 0
                for sample in 0..<16 {
                    let point = ScenePoint(8 * x + 2 * (sample & 3) + 1, 8 * y + sample / 4 * 2 + 1)
                    samples += fine.contains(point) ? 1 : 0
                }
                if samples > 0 {
                    blend(color, x, y, weight: opacity * samples / 16)
                }
            }
        }
    }

    /// A light that fades with the distance from its centre.
    mutating func glow(at center: ScenePoint, radius: Int, _ color: SceneColor, strength: Int) {
        let radiusSquared = radius * radius
        for y in 0..<height {
            for x in 0..<width {
                let dx = (2 * x + 1) * 512 / shorterSide - center.x
                let dy = (2 * y + 1) * 512 / shorterSide - center.y
                let distanceSquared = dx * dx + dy * dy
                if distanceSquared < radiusSquared {
                    let near = (radiusSquared - distanceSquared) * 256 / radiusSquared
                    blend(color, x, y, weight: near * near * strength / 65536)
                }
            }
        }
    }

    private mutating func set(_ color: SceneColor, _ x: Int, _ y: Int) {
        let offset = 3 * (y * width + x)
        rgb[offset] = UInt8(clamping: color.red)
        rgb[offset + 1] = UInt8(clamping: color.green)
        rgb[offset + 2] = UInt8(clamping: color.blue)
    }

    private mutating func blend(_ color: SceneColor, _ x: Int, _ y: Int, weight: Int) {
        let offset = 3 * (y * width + x)
        let below = SceneColor(Int(rgb[offset]), Int(rgb[offset + 1]), Int(rgb[offset + 2]))
        set(below.mixed(with: color, weight), x, y)
    }
}

struct ScenePoint {
    var x: Int
    var y: Int

    init(_ x: Int, _ y: Int) {
        self.x = x
        self.y = y
    }
}

struct SceneColor {
    var red: Int
    var green: Int
    var blue: Int

    init(_ red: Int, _ green: Int, _ blue: Int) {
        self.red = red
        self.green = green
        self.blue = blue
    }

    /// - Parameter weight: of the other colour, 0 ... 256.
    func mixed(with other: SceneColor, _ weight: Int) -> SceneColor {
        SceneColor(
            red + (other.red - red) * weight / 256, green + (other.green - green) * weight / 256,
            blue + (other.blue - blue) * weight / 256)
    }

    func lighter(by amount: Int) -> SceneColor {
        SceneColor(red + amount, green + amount, blue + amount)
    }

    /// - Parameter light: 256 leaves the colour as it is.
    func lit(by light: SceneColor) -> SceneColor {
        SceneColor(red * light.red / 256, green * light.green / 256, blue * light.blue / 256)
    }
}

/// A colour that changes from the top of what is painted to its bottom.
struct ScenePaint {
    var top: SceneColor
    var bottom: SceneColor

    init(_ top: SceneColor, _ bottom: SceneColor) {
        self.top = top
        self.bottom = bottom
    }

    init(_ color: SceneColor) {
        self.init(color, color)
    }

    func lit(by light: SceneColor) -> ScenePaint {
        ScenePaint(top.lit(by: light), bottom.lit(by: light))
    }
}

enum SceneShape {
    case ellipse(center: ScenePoint, radiusX: Int, radiusY: Int)
    case polygon([ScenePoint])

    var bounds: (left: Int, top: Int, right: Int, bottom: Int, height: Int) {
        switch self {
        case .ellipse(let center, let radiusX, let radiusY):
            return (
                center.x - radiusX, center.y - radiusY, center.x + radiusX, center.y + radiusY,
                max(1, 2 * radiusY)
            )
        case .polygon(let corners):
            let xs = corners.map(\.x)
            let ys = corners.map(\.y)
            let top = ys.min() ?? 0
            let bottom = ys.max() ?? 0
            return (xs.min() ?? 0, top, xs.max() ?? 0, bottom, max(1, bottom - top))
        }
    }

    func scaled(_ length: (Int) -> Int) -> SceneShape {
        switch self {
        case .ellipse(let center, let radiusX, let radiusY):
            return .ellipse(
                center: ScenePoint(length(center.x), length(center.y)),
                radiusX: max(1, length(radiusX)), radiusY: max(1, length(radiusY)))
        case .polygon(let corners):
            return .polygon(corners.map { ScenePoint(length($0.x), length($0.y)) })
        }
    }

    func contains(_ point: ScenePoint) -> Bool {
        switch self {
        case .ellipse(let center, let radiusX, let radiusY):
            let dx = (point.x - center.x) * radiusY
            let dy = (point.y - center.y) * radiusX
            return dx * dx + dy * dy <= radiusX * radiusX * radiusY * radiusY
        case .polygon(let corners):
            // A ray to the right crosses the outline an odd number of times.
            var isInside = false
            var previous = corners.count - 1
            for index in corners.indices {
                let a = corners[index]
                let b = corners[previous]
                previous = index
                guard (a.y > point.y) != (b.y > point.y) else {
                    continue
                }
                let cross = (b.x - a.x) * (point.y - a.y) - (point.x - a.x) * (b.y - a.y)
                if (b.y > a.y) == (cross > 0) {
                    isInside.toggle()
                }
            }
            return isInside
        }
    }
}

/// Smooth random numbers over the plane: clouds, waves, grain, ridges.
struct SceneNoise {
    let seed: UInt64

    /// 0 ... 255, unrelated from one lattice point to the next.
    func value(_ x: Int, _ y: Int) -> Int {
        var z = seed
        z ^= UInt64(bitPattern: Int64(x)) &* 0x9E37_79B9_7F4A_7C15
        z ^= UInt64(bitPattern: Int64(y)) &* 0xC2B2_AE3D_27D4_EB4F
        z = (z ^ (z >> 29)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 32)) &* 0x94D0_49BB_1331_11EB
        return Int(z >> 56)
    }

    /// 0 ... 255, varying over distances of a cell.
    func smooth(_ at: ScenePoint, cellWidth: Int, cellHeight: Int) -> Int {
        let (column, alongX) = split(at.x, cellWidth)
        let (row, alongY) = split(at.y, cellHeight)
        let top = blend(value(column, row), value(column + 1, row), alongX)
        let bottom = blend(value(column, row + 1), value(column + 1, row + 1), alongX)
        return blend(top, bottom, alongY)
    }

    /// 0 ... 255, coarse forms with finer and finer ones upon them.
    func cloudy(_ at: ScenePoint, cell: Int, flatness: Int = 1) -> Int {
        var sum = 0
        for octave in 0..<4 {
            let width = max(2, cell >> octave)
            let point = ScenePoint(at.x + 977 * octave, at.y + 571 * octave)
            let height = max(2, width / flatness)
            sum += smooth(point, cellWidth: width, cellHeight: height) << (3 - octave)
        }
        return sum / 15
    }

    private func split(_ position: Int, _ cell: Int) -> (index: Int, along: Int) {
        let index = position >= 0 ? position / cell : (position - cell + 1) / cell
        let t = (position - index * cell) * 256 / cell
        return (index, t * t * (768 - 2 * t) / 65536)
    }

    private func blend(_ a: Int, _ b: Int, _ along: Int) -> Int {
        a + (b - a) * along / 256
    }
}

/// A colour in sRGB, each part 0 ... 1.
package struct Colour: Sendable, Equatable {
    package let red: Double
    package let green: Double
    package let blue: Double

    package init(_ red: Double, _ green: Double, _ blue: Double) {
        self.red = red
        self.green = green
        self.blue = blue
    }

    /// 0xRRGGBB.
    package init(_ hexadecimal: UInt32) {
        func part(_ shift: UInt32) -> Double { Double(hexadecimal >> shift & 0xFF) / 255 }
        self.init(part(16), part(8), part(0))
    }

    func mixed(with other: Colour, _ share: Double) -> Colour {
        func mix(_ from: Double, _ to: Double) -> Double { from + (to - from) * share }
        return Colour(
            mix(red, other.red), mix(green, other.green), mix(blue, other.blue))
    }

    /// `rgb(12 34 56)`, as style sheets write it.
    var css: String {
        func byte(_ part: Double) -> Int { Int((min(1, max(0, part)) * 255).rounded()) }
        return "rgb(\(byte(red)) \(byte(green)) \(byte(blue)))"
    }
}

extension Colour {
    static let white = Colour(0xFFFFFF)
    static let ink = Colour(0x1B1F24)
    static let faint = Colour(0x667079)
    static let line = Colour(0xD8DDE2)
    static let grid = Colour(0xECEFF2)
    static let panel = Colour(0xF4F6F8)
    static let warning = Colour(0x9A3B00)
    static let warningGround = Colour(0xFFE9D6)
    static let textBar = Colour(0x0072B2)
    static let imageBar = Colour(0xE69F00)

    /// Seven colours that people who confuse red and green tell apart: Okabe and Ito, "Color
    /// Universal Design" (2008), without the yellow, which is too light on white.
    package static let series: [Colour] = [
        Colour(0x0072B2), Colour(0xD55E00), Colour(0x009E73), Colour(0xCC79A7),
        Colour(0xE69F00), Colour(0x56B4E9), Colour(0x000000),
    ]
}

/// Inferno: from black through violet, red and orange to pale yellow. Equal steps of the value are
/// equal steps for the eye, and its lightness rises all the way, so it also reads in grey.
///
/// Inferno is by Stéfan van der Walt and Nathaniel Smith (in the public domain, CC0); here as nine
/// of its colours with straight lines between.
enum Inferno {
    static let stops: [Colour] = [
        Colour(0x000004), Colour(0x210C4A), Colour(0x57106E), Colour(0x8A226A), Colour(0xBC3754),
        Colour(0xE45A31), Colour(0xF98E09), Colour(0xF9CB35), Colour(0xFCFFA4),
    ]

    /// - Parameter level: 0 ... 1; what lies beyond counts as the end.
    static func colour(_ level: Double) -> Colour {
        let place = min(1, max(0, level)) * Double(stops.count - 1)
        let index = min(stops.count - 2, Int(place))
        return stops[index].mixed(with: stops[index + 1], place - Double(index))
    }
}

import Model

/// The drawing of a thing. Points are in thousandths of half its box, from its middle: both
/// coordinates run over -1000 ... 1000. All arithmetic is on integers.
extension GalleryObject {
    private static let pale = [248, 246, 240]
    private static let dark = [40, 34, 46]

    func paint(on pixels: inout Pixels) {
        for y in box.top..<box.bottom {
            for x in box.left..<box.right {
                blend(x, y, into: &pixels)
            }
        }
    }

    /// Each pixel is the mean of 3 x 3 samples, so that edges are smooth.
    private func blend(_ x: Int, _ y: Int, into pixels: inout Pixels) {
        let start = 3 * (y * pixels.width + x)
        var sum = [0, 0, 0]
        for sample in 0..<9 {
            let u = position(6 * (x - box.left) + 2 * (sample % 3) + 1, of: 6 * box.width)
            let v = position(6 * (y - box.top) + 2 * (sample / 3) + 1, of: 6 * box.height)
            for channel in 0..<3 {
                sum[channel] +=
                    tone(u, v)?[channel] ?? Int(pixels.rgb[start + channel])
            }
        }
        for channel in 0..<3 {
            pixels.rgb[start + channel] = UInt8(clamping: sum[channel] / 9)
        }
    }

    private func position(_ step: Int, of steps: Int) -> Int {
        2000 * step / steps - 1000
    }

    /// The colour at a point; nil outside the outline.
    private func tone(_ u: Int, _ v: Int) -> [Int]? {
        guard isInside(u, v) else { return nil }
        // A dark line along the outline.
        guard isInside(u * 15 / 14, v * 15 / 14) else { return Self.dark }
        guard isMarked(u, v) else { return color.rgb }
        return kind == .kite ? color.rgb.map { $0 / 4 } : Self.pale
    }

    private func isInside(_ u: Int, _ v: Int) -> Bool {
        switch kind {
        case .kite: abs(u) + abs(v) <= 1350 && abs(u) <= 1000 && abs(v) <= 1000
        case .flag: abs(v) <= 1000 && abs(u) <= 1000
        case .quilt: abs(u) <= 1000 && abs(v) <= 1000 && abs(u) + abs(v) <= 1750
        case .balloon: u * u + v * v <= 1_000_000
        }
    }

    /// Where the texture is pale and not of the thing's colour.
    private func isMarked(_ u: Int, _ v: Int) -> Bool {
        // Moved to where all coordinates are positive.
        let (x, y) = (u + 4000, v + 4000)
        switch kind {
        case .kite: return (x / 334 + y / 334) % 2 == 0
        case .flag: return y / 250 % 2 == 0
        case .quilt:
            let (dx, dy) = (x % 400 - 200, y % 400 - 200)
            return dx * dx + dy * dy < 120 * 120
        case .balloon: return false
        }
    }
}

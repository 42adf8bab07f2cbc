import Model

/// Powers and logarithms that decide what is stored. They are made of IEEE additions,
/// multiplications and divisions alone, so that every machine and every libm gives the same bits.
enum ExactMath {
    private static let naturalLogarithmOfTwo = 0.693_147_180_559_945_3

    /// 2^x for |x| < 1000.
    static func exp2(_ x: Double) -> Double {
        let whole = x.rounded(.toNearestOrEven)
        let exponent = (x - whole) * naturalLogarithmOfTwo
        // Taylor's series; the exponent is at most 0.35, so term 20 is below 1e-27.
        var sum = 1.0
        for term in stride(from: 20.0, through: 1, by: -1) {
            sum = 1 + sum * exponent / term
        }
        return Double(sign: .plus, exponent: Int(whole), significand: sum)
    }

    /// The binary logarithm of a finite x > 0.
    static func log2(_ x: Double) -> Double {
        // The significand is in 1 ..< 2; atanh's series wants it around 1.
        var exponent = x.exponent
        var significand = x.significand
        if significand > 1.5 {
            significand /= 2
            exponent += 1
        }
        let ratio = (significand - 1) / (significand + 1)
        let square = ratio * ratio
        // |ratio| is at most 0.2, so term 14 is below 1e-20.
        var sum = 0.0
        for term in stride(from: 13, through: 0, by: -1) {
            sum = sum * square + 1 / Double(2 * term + 1)
        }
        return Double(exponent) + 2 * ratio * sum / naturalLogarithmOfTwo
    }

    /// Four decimals: what a file shows is what the law used.
    static func rounded(_ x: Double) -> Double {
        (x * 10_000).rounded(.toNearestOrEven) / 10_000
    }
}

extension SceneRandom {
    /// Independent streams of random numbers from one seed.
    init(seed: UInt64, stream: Stream, index: Int = 0) {
        var first = SplitMix64(seed: seed)
        var second = SplitMix64(seed: first.next() ^ stream.rawValue)
        var third = SplitMix64(seed: second.next() ^ UInt64(bitPattern: Int64(index)))
        self.init(seed: third.next())
    }

    enum Stream: UInt64 {
        case law = 1
        case groups, users, author, picture, text, noise, time
        case tasteChange, newGroups, newUsers, newAuthor
    }

    /// Even over 0 ..< 1.
    mutating func unit() -> Double {
        Double(next() >> 11) / 9_007_199_254_740_992
    }

    mutating func chance(percent: Int) -> Bool {
        number(in: 0...99) < percent
    }

    /// Mean 0, deviation 1, within ±6: twelve even numbers added up (Irwin and Hall), which needs
    /// no logarithm and no cosine.
    mutating func gaussian() -> Double {
        var sum = -6.0
        for _ in 0..<12 { sum += unit() }
        return sum
    }
}

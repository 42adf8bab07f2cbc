import Glibc

/// From values to places along a line, with round numbers to mark.
struct Axis {
    struct Tick: Equatable {
        let value: Double
        let text: String
    }

    let isLogarithmic: Bool
    let lower: Double
    let upper: Double
    let ticks: [Tick]

    /// An axis that has room for all finite `values`; 0 ... 1 where there are none.
    init(_ values: [Double], maximumTicks: Int) {
        let finite = values.filter { $0.isFinite && abs($0) < 1e15 }
        var lower = finite.min() ?? 0
        var upper = finite.max() ?? 1
        if upper - lower <= 1e-9 * max(1, abs(upper)) {
            // One value alone stands in the middle.
            let half = max(0.5, abs(upper) / 2)
            (lower, upper) = (lower - half, upper + half)
        }
        isLogarithmic = false
        let step = Self.step((upper - lower) / Double(max(1, maximumTicks)))
        self.lower = floor(lower / step + 1e-9) * step
        self.upper = ceil(upper / step - 1e-9) * step
        let places = min(12, max(0, Int(ceil(-log10(step) - 1e-9))))
        let count = Int(((self.upper - self.lower) / step).rounded())
        let start = self.lower
        ticks = (0...count).map { index in
            let value = start + Double(index) * step
            return Tick(value: value, text: Numbers.decimal(value, places: places))
        }
    }

    /// Whole powers of ten, and 2 and 5 times them where there is room.
    private init(logarithmic values: [Double]) {
        let lower = values.min() ?? 1
        let upper = values.max() ?? 10
        isLogarithmic = true
        let decades = log10(upper / lower)
        let factors: [Double] = decades < 4 ? [1, 2, 5] : [1]
        var ticks: [Tick] = []
        for exponent in Int(floor(log10(lower)))...Int(ceil(log10(upper))) {
            for factor in factors {
                let value = factor * pow(10, Double(exponent))
                guard value >= lower / 1.001, value <= upper * 1.001 else { continue }
                let places = max(0, -exponent)
                ticks.append(Tick(value: value, text: Numbers.decimal(value, places: places)))
            }
        }
        let margin = pow(10, 0.04 * max(decades, 0.5))
        self.lower = lower / margin
        self.upper = upper * margin
        self.ticks = ticks
    }

    /// Logarithmic where all values are positive and most would be crushed by a few large ones: the
    /// largest over 20 times the median.
    static func fitting(_ values: [Double], maximumTicks: Int) -> Axis {
        let finite = values.filter { $0.isFinite && abs($0) < 1e15 }.sorted()
        if let smallest = finite.first, let largest = finite.last, smallest > 1e-12,
            largest > 20 * finite[finite.count / 2]
        {
            return Axis(logarithmic: finite)
        }
        return Axis(finite, maximumTicks: maximumTicks)
    }

    /// 0 at the lower end, 1 at the upper; nil for what cannot be shown.
    func place(_ value: Double) -> Double? {
        guard value.isFinite else { return nil }
        guard isLogarithmic else { return (value - lower) / (upper - lower) }
        return value > 0 ? log(value / lower) / log(upper / lower) : nil
    }

    /// 1, 2 or 5 times a power of ten, at least `least`.
    private static func step(_ least: Double) -> Double {
        let power = pow(10, floor(log10(least)))
        let factor = [1, 2, 5].first { $0 * power >= least * (1 - 1e-9) } ?? 10
        return factor * power
    }
}

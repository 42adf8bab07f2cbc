import Glibc

/// Numbers as pictures and pages write them.
enum Numbers {
    /// Rounded to `places` decimal places; "-" is the minus sign of typesetting.
    static func decimal(_ value: Double, places: Int) -> String {
        guard value.isFinite else { return value.isNaN ? "not a number" : "infinite" }
        guard abs(value) < 1e15 else { return "\(value)" }
        let scale = pow(10, Double(places))
        let scaled = (abs(value) * scale).rounded()
        guard scaled < 1e18 else { return "\(value)" }
        let sign = value < 0 && scaled > 0 ? "\u{2212}" : ""
        let (whole, fraction) = Int(scaled).quotientAndRemainder(dividingBy: Int(scale))
        guard places > 0 else { return sign + grouped(whole) }
        let digits = String(fraction)
        return sign + grouped(whole) + "."
            + String(repeating: "0", count: places - digits.count) + digits
    }

    static func percent(_ share: Double) -> String {
        let places = share > 0 && share < 0.0995 ? 1 : 0
        return "\(decimal(share * 100, places: places)) %"
    }

    /// A typical number of views a day, with no more digits than it is worth.
    static func views(_ perDay: Double) -> String {
        switch perDay {
        case ..<0.05: "under 0.1"
        case ..<10: decimal(perDay, places: 1)
        case ..<1_000: decimal(perDay, places: 0)
        case ..<1e9:
            decimal(
                (perDay / pow(10, floor(log10(perDay)) - 1)).rounded()
                    * pow(10, floor(log10(perDay)) - 1), places: 0)
        default: "over a billion"
        }
    }

    private static func grouped(_ whole: Int) -> String {
        let digits = Array(String(whole))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0, digits.count > 4 { text += "," }
            text.append(digit)
        }
        return text
    }
}

import Model

/// The members of the object of an event that comes from outside, each read as what it should be:
/// numbers may be written as strings and strings as numbers, `null` and the empty string are the
/// same as a field left out, unknown fields are harmless.
struct EventFields {
    private let members: [CodePoints: JSONValue]

    /// - Parameter ifTooLarge: what to do then, for the error's text.
    init(
        _ value: [UInt8], maximumBytes: Int, ifTooLarge: String
    ) throws(EventError) {
        guard !value.isEmpty else {
            throw EventError(.emptyValue, found: "no bytes", expected: "a JSON object")
        }
        guard value.count <= maximumBytes else {
            throw EventError(
                .eventTooLarge, found: "\(value.count) bytes",
                expected: "at most \(maximumBytes) (\(ifTooLarge))")
        }
        // Serialisers for a schema registry put a zero byte and a four-byte schema id in front.
        let hasRegistryHeader =
            value.count > 5 && value[0] == 0 && value[5] == UInt8(ascii: "{")
        let text = hasRegistryHeader ? Array(value[5...]) : value
        let parsed: JSONValue
        do throws(JSONError) {
            parsed = try JSONValue(parsing: text)
        } catch {
            throw EventError(found: error.found, expected: error.expected)
        }
        guard case .object(let members) = parsed else {
            throw EventError(found: parsed.summary, expected: "a JSON object")
        }
        self.members = members
    }

    /// Whether the field is there, and neither null nor empty.
    func has(_ field: String) -> Bool {
        members[field] != nil && members[field] != .null && members[field] != .string("")
    }

    /// A string, or a number as it was written; nil where absent, null or empty.
    func text(_ field: String, maximumBytes: Int) throws(EventError) -> String? {
        let text: String
        switch members[field] {
        case nil, .null: return nil
        case .string(let value), .number(let value): text = value
        case .some: throw wrong(field, "a string")
        }
        guard text.utf8.count <= maximumBytes else {
            throw EventError(
                field: field, found: "\(text.utf8.count) bytes",
                expected: "at most \(maximumBytes)")
        }
        return text.isEmpty ? nil : text
    }

    func identifier(_ field: String, _ limits: EventLimits) throws(EventError) -> String {
        guard let text = try text(field, maximumBytes: limits.maximumIdentifierBytes) else {
            throw wrong(field, "an id of 1 to \(limits.maximumIdentifierBytes) bytes")
        }
        return text
    }

    /// The last second of the year 9999; what lies beyond was given in milliseconds, or is wrong.
    static let latestSeconds = 253_402_300_799.0
    private static let secondsExpected = "seconds since 1970, 0 to \(Int64(latestSeconds))"

    func seconds(_ field: String) throws(EventError) -> Double? {
        try decimal(field, in: 0...Self.latestSeconds, Self.secondsExpected)
    }

    func requiredSeconds(_ field: String) throws(EventError) -> Double {
        guard let seconds = try seconds(field) else { throw wrong(field, Self.secondsExpected) }
        return seconds
    }

    /// - Parameter maximum: at most 2^53, up to where a Double is exact.
    func count(_ field: String, maximum: Int64) throws(EventError) -> Int64 {
        let expected = "a whole number, 0 to \(maximum)"
        guard let number = try decimal(field, in: 0...Double(maximum), expected),
            let count = Int64(exactly: number)
        else { throw wrong(field, expected) }
        return count
    }

    private func decimal(
        _ field: String, in range: ClosedRange<Double>, _ expected: String
    ) throws(EventError) -> Double? {
        guard let text = try text(field, maximumBytes: 64) else { return nil }
        // Swift reads "nan", "inf" and "0x10", too.
        let isDecimal = text.utf8.allSatisfy {
            0x30...0x39 ~= $0 || "+-.eE".utf8.contains($0)
        }
        guard isDecimal, let number = Double(text), range.contains(number) else {
            throw wrong(field, expected)
        }
        return number
    }

    private func wrong(_ field: String, _ expected: String) -> EventError {
        EventError(field: field, found: members[field]?.summary ?? "nothing", expected: expected)
    }
}

import Model

/// The members of one object of a record that this program wrote itself: every field is there, of
/// its own type and finite. Fields that are not known are passed over.
struct RecordFields {
    let path: String
    let members: [CodePoints: JSONValue]

    init(_ value: JSONValue, path: String) throws(JSONError) {
        guard case .object(let members) = value else {
            throw JSONError(found: value.summary, expected: "an object as \(path)")
        }
        self.path = path
        self.members = members
    }

    /// - Parameter schema: what the member of that name must say.
    init(parsing value: [UInt8], schema: String) throws(JSONError) {
        try self.init(JSONValue(parsing: value), path: "the event")
        let found = try string("schema")
        guard CodePoints(found) == CodePoints(schema) else {
            throw JSONError(found: "schema \"\(found.clipped)\"", expected: "\"\(schema)\"")
        }
    }

    func has(_ name: String) -> Bool {
        members[name] != nil
    }

    func object(_ name: String) throws(JSONError) -> RecordFields {
        try RecordFields(members[name] ?? .null, path: name)
    }

    func array(_ name: String) throws(JSONError) -> [JSONValue] {
        guard case .array(let elements) = members[name] else { throw wrong(name, "an array") }
        return elements
    }

    /// The objects of an array, read one by one.
    func objects<Element>(
        _ name: String, atMost maximum: Int,
        _ read: (RecordFields) throws(JSONError) -> Element
    ) throws(JSONError) -> [Element] {
        let values = try array(name)
        guard values.count <= maximum else {
            throw JSONError(found: "\(values.count) \(name)", expected: "at most \(maximum)")
        }
        var elements: [Element] = []
        elements.reserveCapacity(values.count)
        for value in values { elements.append(try read(RecordFields(value, path: name))) }
        return elements
    }

    func bool(_ name: String) throws(JSONError) -> Bool {
        guard case .bool(let value) = members[name] else { throw wrong(name, "true or false") }
        return value
    }

    func string(_ name: String) throws(JSONError) -> String {
        guard case .string(let text) = members[name] else { throw wrong(name, "a string") }
        return text
    }

    /// An id, or a name that is given as one: 1 to 256 bytes.
    func identifier(_ name: String) throws(JSONError) -> String {
        guard case .string(let text) = members[name],
            1...EventLimits.identifierBytes ~= text.utf8.count
        else { throw wrong(name, "a string of 1 to \(EventLimits.identifierBytes) bytes") }
        return text
    }

    func integer<Integer: FixedWidthInteger>(_ name: String) throws(JSONError) -> Integer {
        guard case .number(let digits) = members[name], let value = Integer(digits) else {
            throw wrong(name, "an integer")
        }
        return value
    }

    func integer<Integer: FixedWidthInteger>(
        _ name: String, in range: ClosedRange<Integer>
    ) throws(JSONError) -> Integer {
        let value: Integer = try integer(name)
        guard range.contains(value) else {
            throw wrong(name, "\(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// 0 or more.
    func count(_ name: String) throws(JSONError) -> Int {
        let value: Int = try integer(name)
        guard value >= 0 else { throw wrong(name, "0 or more") }
        return value
    }

    func float(_ name: String) throws(JSONError) -> Float {
        guard case .number(let digits) = members[name], let value = Float(digits), value.isFinite
        else { throw wrong(name, "a number") }
        return value
    }

    func double(_ name: String) throws(JSONError) -> Double {
        guard case .number(let digits) = members[name], let value = Double(digits), value.isFinite
        else { throw wrong(name, "a number") }
        return value
    }

    /// A time that a view may carry. (A post's may be its record's timestamp, which is any number.)
    func seconds(_ name: String) throws(JSONError) -> Double {
        let value = try double(name)
        guard 0...EventFields.latestSeconds ~= value else {
            throw wrong(name, "seconds since 1970, 0 to \(Int64(EventFields.latestSeconds))")
        }
        return value
    }

    func wrong(_ name: String, _ expected: String) -> JSONError {
        JSONError(
            found: "\(members[name]?.summary ?? "nothing") as \"\(name)\" of \(path)",
            expected: expected)
    }
}

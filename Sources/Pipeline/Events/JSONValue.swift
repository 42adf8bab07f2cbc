import Model

/// A JSON text as a tree. Numbers keep the characters they were written with, so a post id of
/// thirty digits survives.
///
/// Strict RFC 8259, with the choices that it leaves open made here: a leading byte order mark is
/// skipped; a name twice in one object, a lone surrogate and malformed UTF-8 are errors; nesting
/// and the number of values are bounded.
package enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    /// Names are told apart by their code points, as everywhere but in Swift's `String`.
    case object([CodePoints: JSONValue])

    /// Arrays and objects within each other.
    package static let maximumDepth = 32
    /// Values in one text; bounds the memory of the tree for a given number of bytes.
    package static let maximumValues = 20_000

    package init(parsing bytes: [UInt8]) throws(JSONError) {
        var parser = JSONParser(bytes: bytes)
        self = try parser.parse()
    }

    /// What the value is, for error texts; long strings are cut.
    package var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let text): "the number \(text.clipped)"
        case .string(let text): "\"\(text.clipped)\""
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension [CodePoints: JSONValue] {
    package subscript(name: String) -> JSONValue? {
        get { self[CodePoints(name)] }
        set { self[CodePoints(name)] = newValue }
    }
}

package struct JSONError: Error, Equatable, Sendable {
    package var found: String
    package var expected: String
}

extension String {
    /// At most 60 characters of it, with a sign that there is more.
    var clipped: String {
        utf8.count <= 60 ? self : String(prefix(60)) + "..."
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var position = 0
    var depth = 0
    var values = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func parse() throws(JSONError) -> JSONValue {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            position = 3
        }
        skipWhitespace()
        let value = try parseValue()
        skipWhitespace()
        guard position == bytes.count else {
            throw unexpected("the end of the event after its closing bracket")
        }
        return value
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipWhitespace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private func unexpected(_ expected: String) -> JSONError {
        guard let byte = next else {
            return JSONError(found: "the end after \(bytes.count) bytes", expected: expected)
        }
        let name =
            0x21...0x7E ~= byte
            ? "'\(Unicode.Scalar(byte))'" : "byte 0x\(String(byte, radix: 16, uppercase: true))"
        return JSONError(found: "\(name) at byte \(position)", expected: expected)
    }

    private mutating func parseValue() throws(JSONError) -> JSONValue {
        values += 1
        guard values <= JSONValue.maximumValues else {
            throw JSONError(
                found: "more than \(JSONValue.maximumValues) values",
                expected: "at most so many in one event")
        }
        guard let next else { throw unexpected("a JSON value") }
        switch next {
        case UInt8(ascii: "{"): return try parseObject()
        case UInt8(ascii: "["): return try parseArray()
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try parseNumber()
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        default: throw unexpected("a JSON value")
        }
    }

    private mutating func openBracket() throws(JSONError) {
        guard depth < JSONValue.maximumDepth else {
            throw JSONError(
                found: "brackets nested deeper than \(JSONValue.maximumDepth) at byte \(position)",
                expected: "at most so many levels")
        }
        depth += 1
        position += 1
        skipWhitespace()
    }

    private mutating func closes(with bracket: Unicode.Scalar) -> Bool {
        skipWhitespace()
        guard take(UInt8(ascii: bracket)) else { return false }
        depth -= 1
        return true
    }

    private mutating func parseObject() throws(JSONError) -> JSONValue {
        try openBracket()
        if closes(with: "}") { return .object([:]) }
        // Most objects have a handful of members, and growing there costs as much as reading them.
        var members = [CodePoints: JSONValue](minimumCapacity: 6)
        while true {
            skipWhitespace()
            guard next == UInt8(ascii: "\"") else { throw unexpected("a name in quotes") }
            let start = position
            let name = try parseString()
            skipWhitespace()
            guard take(UInt8(ascii: ":")) else { throw unexpected("':' after a name") }
            skipWhitespace()
            let value = try parseValue()
            guard members.updateValue(value, forKey: CodePoints(name)) == nil else {
                throw JSONError(
                    found: "the name \"\(name.clipped)\" a second time at byte \(start)",
                    expected: "each name once in an object")
            }
            if closes(with: "}") { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw unexpected("',' or '}'") }
        }
    }

    private mutating func parseArray() throws(JSONError) -> JSONValue {
        var elements: [JSONValue] = []
        try openBracket()
        if closes(with: "]") { return .array(elements) }
        while true {
            skipWhitespace()
            elements.append(try parseValue())
            if closes(with: "]") { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw unexpected("',' or ']'") }
        }
    }

    private mutating func parseWord(
        _ word: StaticString, _ value: JSONValue
    ) throws(JSONError) -> JSONValue {
        let end = position + word.utf8CodeUnitCount
        guard end <= bytes.count,
            word.withUTF8Buffer({ $0.elementsEqual(bytes[position..<end]) })
        else { throw unexpected("a JSON value (true, false and null are the only bare words)") }
        position = end
        return value
    }

    private mutating func skipDigits() throws(JSONError) {
        guard let first = next, 0x30...0x39 ~= first else { throw unexpected("a digit") }
        while let byte = next, 0x30...0x39 ~= byte { position += 1 }
    }

    private mutating func parseNumber() throws(JSONError) -> JSONValue {
        let start = position
        _ = take(UInt8(ascii: "-"))
        if take(UInt8(ascii: "0")) {
            if let byte = next, 0x30...0x39 ~= byte {
                throw unexpected("no digit after a leading 0")
            }
        } else {
            try skipDigits()
        }
        if take(UInt8(ascii: ".")) { try skipDigits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try skipDigits()
        }
        return .number(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func parseString() throws(JSONError) -> String {
        position += 1
        let start = position
        skipPlainCharacters()
        // Without an escape (nearly always, and the case of a megabyte of base64) the bytes
        // between the quotes are the string.
        if next == UInt8(ascii: "\"") {
            let text = try validated(bytes[start..<position], startingAt: start)
            position += 1
            return text
        }
        var content = Array(bytes[start..<position])
        while true {
            guard let byte = next else { throw unexpected("'\"' to close a string") }
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return try validated(content[...], startingAt: start)
            case UInt8(ascii: "\\"):
                position += 1
                try parseEscape(into: &content)
            case 0..<0x20:
                throw unexpected("control characters in strings to be escaped")
            default:
                let from = position
                skipPlainCharacters()
                content += bytes[from..<position]
            }
        }
    }

    private mutating func skipPlainCharacters() {
        bytes.withUnsafeBufferPointer { buffer in
            var end = position
            while end < buffer.count {
                let byte = buffer[end]
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 {
                    break
                }
                end += 1
            }
            position = end
        }
    }

    private func validated(
        _ content: ArraySlice<UInt8>, startingAt start: Int
    ) throws(JSONError) -> String {
        guard let text = String(validating: content, as: UTF8.self) else {
            throw JSONError(
                found: "malformed UTF-8 in the string that starts at byte \(start)",
                expected: "UTF-8")
        }
        return text
    }

    private mutating func parseEscape(into content: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw unexpected("a character after '\\'") }
        let plain: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain = byte
        case UInt8(ascii: "b"): plain = 0x08
        case UInt8(ascii: "f"): plain = 0x0C
        case UInt8(ascii: "n"): plain = 0x0A
        case UInt8(ascii: "r"): plain = 0x0D
        case UInt8(ascii: "t"): plain = 0x09
        case UInt8(ascii: "u"):
            position += 1
            content += Array(String(try parseUnicodeEscape()).utf8)
            return
        default: throw unexpected("one of \" \\ / b f n r t u after '\\'")
        }
        position += 1
        content.append(plain)
    }

    /// The digits after `\u`, and those of the second half of a surrogate pair.
    private mutating func parseUnicodeEscape() throws(JSONError) -> Unicode.Scalar {
        let start = position - 2
        let first = try parseHexDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        let loneSurrogate = JSONError(
            found: "half a surrogate pair at byte \(start)",
            expected: "\\uD800...\\uDBFF followed by \\uDC00...\\uDFFF")
        guard first < 0xDC00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            throw loneSurrogate
        }
        let second = try parseHexDigits()
        guard 0xDC00...0xDFFF ~= second,
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw loneSurrogate }
        return scalar
    }

    private mutating func parseHexDigits() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue,
                byte < 0x80
            else { throw unexpected("four hexadecimal digits after '\\u'") }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}

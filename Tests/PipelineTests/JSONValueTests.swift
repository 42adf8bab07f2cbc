import Model
import Pipeline
import Testing

@Suite struct JSONValueTests {
    private func parse(_ text: String) throws(JSONError) -> JSONValue {
        try JSONValue(parsing: Array(text.utf8))
    }

    private func object(_ members: [String: JSONValue]) -> JSONValue {
        .object(
            Dictionary(uniqueKeysWithValues: members.map { (CodePoints($0.key), $0.value) }))
    }

    private func error(_ bytes: [UInt8]) -> String? {
        do throws(JSONError) {
            _ = try JSONValue(parsing: bytes)
            return nil
        } catch {
            return error.found
        }
    }

    @Test func readsEveryKindOfValue() throws {
        let value = try parse(
            #" { "a" : [ 1, -2.50e+3, true, false, null ], "b" : { "c" : "d" }, "#
                + #""e" : [], "f" : {} } "#
        )
        #expect(
            value
                == object([
                    "a": .array([
                        .number("1"), .number("-2.50e+3"), .bool(true), .bool(false), .null,
                    ]),
                    "b": object(["c": .string("d")]), "e": .array([]), "f": object([:]),
                ]))
    }

    @Test func readsEscapes() throws {
        #expect(
            try parse(#""\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00 ok""#)
                == .string("\"\\/\u{8}\u{C}\n\r\tAé€😀 ok"))
        #expect(try parse(#""a\u0000b""#) == .string("a\0b"))
    }

    @Test func keepsNumbersAsWritten() throws {
        let digits = "123456789012345678901234567890.5e-400"
        #expect(try parse(digits) == .number(digits))
    }

    /// Swift's `String` takes both for the same text; JSON does not.
    @Test func namesOfOtherCodePointsAreOtherNames() throws {
        guard
            case .object(let members) = try parse("{\"caf\u{E9}\":1,\"cafe\u{301}\":2}")
        else {
            Issue.record("no object")
            return
        }
        #expect(members.count == 2)
        #expect(members["caf\u{E9}"] == .number("1"))
        #expect(members["cafe\u{301}"] == .number("2"))
        #expect(
            error(Array("{\"caf\u{E9}\":1,\"caf\u{E9}\":2}".utf8))
                == "the name \"caf\u{E9}\" a second time at byte 11")
    }

    @Test func skipsAByteOrderMark() throws {
        #expect(try JSONValue(parsing: [0xEF, 0xBB, 0xBF, 0x31]) == .number("1"))
    }

    @Test(arguments: [
        ("", "the end after 0 bytes"),
        ("{", "the end after 1 bytes"),
        ("{\"a\":1", "the end after 6 bytes"),
        ("{\"a\" 1}", "'1' at byte 5"),
        ("{\"a\":1,}", "'}' at byte 7"),
        ("{a:1}", "'a' at byte 1"),
        ("{'a':1}", "''' at byte 1"),
        ("[1 2]", "'2' at byte 3"),
        ("[1,]", "']' at byte 3"),
        ("{} {}", "'{' at byte 3"),
        ("NaN", "'N' at byte 0"),
        ("-Infinity", "'I' at byte 1"),
        ("01", "'1' at byte 1"),
        ("+1", "'+' at byte 0"),
        (".5", "'.' at byte 0"),
        ("1.", "the end after 2 bytes"),
        ("1e", "the end after 2 bytes"),
        ("0x10", "'x' at byte 1"),
        ("nul", "'n' at byte 0"),
        ("truely", "'l' at byte 4"),
        ("\"abc", "the end after 4 bytes"),
        ("\"a\nb\"", "byte 0xA at byte 2"),
        (#""\x""#, "'x' at byte 2"),
        (#""\u12G4""#, "'G' at byte 5"),
        (#""\ud83d""#, "half a surrogate pair at byte 1"),
        (#""\ud83d\ud83d""#, "half a surrogate pair at byte 1"),
        (#""\ude00""#, "half a surrogate pair at byte 1"),
        (#"{"a":1,"b":{"c":1,"c":2}}"#, "the name \"c\" a second time at byte 18"),
    ])
    func refuses(_ text: String, saying found: String) {
        #expect(error(Array(text.utf8)) == found)
    }

    @Test(
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xE2, 0x82, 0x22], [0x22, 0x5C, 0x6E, 0xFF, 0x22],
        ] as [[UInt8]])
    func refusesMalformedUTF8(_ bytes: [UInt8]) {
        #expect(error(bytes) == "malformed UTF-8 in the string that starts at byte 1")
    }

    @Test func boundsNesting() {
        let depth = JSONValue.maximumDepth
        func nested(_ count: Int) -> [UInt8] {
            [UInt8](repeating: UInt8(ascii: "["), count: count)
                + [UInt8](repeating: UInt8(ascii: "]"), count: count)
        }
        #expect(error(nested(depth)) == nil)
        #expect(error(nested(depth + 1)) == "brackets nested deeper than 32 at byte 32")
        #expect(error(nested(1_000_000)) == "brackets nested deeper than 32 at byte 32")
        // One after another is not one within another.
        #expect(
            error(Array("[\(Array(repeating: "[]", count: 100).joined(separator: ","))]".utf8))
                == nil)
    }

    @Test func boundsTheNumberOfValues() {
        let text =
            "[\(Array(repeating: "0", count: JSONValue.maximumValues).joined(separator: ","))]"
        #expect(error(Array(text.utf8)) == "more than 20000 values")
    }

    @Test func everyTruncationOfAnEventIsAnError() {
        let bytes = Array(
            #"{"uid":"é\u00e9","pid":12.5e3,"a":[true,null,{"b":"\ud83d\ude00"}]}"#.utf8)
        for count in 0..<bytes.count {
            #expect(error(Array(bytes.prefix(count))) != nil, "first \(count) bytes")
        }
        #expect(error(bytes) == nil)
    }
}

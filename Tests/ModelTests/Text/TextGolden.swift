#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What Python makes of text: `Tests/Golden/text`, written by `Scripts/golden-text.py`.
enum TextGolden {
    struct Tokens: Decodable {
        struct Case: Decodable {
            let text: String
            let words: [String]
        }
        let cases: [Case]
    }

    /// Ranges are pairs of first and last code point.
    struct Scalars: Decodable {
        let word: [[UInt32]]
        let lower: [Lower]
        let cased: [[UInt32]]
        let ignorable: [[UInt32]]

        struct Lower: Decodable {
            let code: UInt32
            let mapped: [UInt32]

            init(from decoder: any Decoder) throws {
                var values = try decoder.unkeyedContainer()
                code = try values.decode(UInt32.self)
                mapped = try values.decode([UInt32].self)
            }
        }
    }

    static func load<Content: Decodable>(_ type: Content.Type, _ name: String) throws -> Content {
        let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        let path = tests.joined(separator: "/") + "/Golden/text/" + name
        return try JSONDecoder().decode(type, from: Data(contentsOf: URL(filePath: path)))
    }
}

/// The code points of a string, for comparing and printing: `==` on `String` is too kind.
func codePoints(_ text: some StringProtocol) -> [UInt32] {
    text.unicodeScalars.map(\.value)
}

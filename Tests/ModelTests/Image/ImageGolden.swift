#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Small JPEGs and the pixels that Pillow makes of them: `Tests/Golden/image`, written by
/// `Scripts/golden-image.py`.
enum ImageGolden {
    struct Sample: Decodable, CustomStringConvertible {
        let name: String
        let side: Int

        var description: String { name }
        var jpeg: [UInt8] { get throws { try ImageGolden.bytes(name + ".jpg") } }
        var rgb: [UInt8] { get throws { try ImageGolden.bytes(name + ".rgb") } }
    }

    static func samples() throws -> [Sample] {
        try JSONDecoder().decode([Sample].self, from: Data(bytes("manifest.json")))
    }

    static func jpeg(_ name: String) throws -> [UInt8] {
        try bytes(name + ".jpg")
    }

    private static func bytes(_ file: String) throws -> [UInt8] {
        let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        let path = tests.joined(separator: "/") + "/Golden/image/" + file
        return [UInt8](try Data(contentsOf: URL(filePath: path)))
    }
}

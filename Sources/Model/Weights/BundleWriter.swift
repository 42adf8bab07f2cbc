import Glibc

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Writes a bundle's files, remembering each one's checksum for config.json, which comes last: a
/// folder with a config.json is whole.
package struct BundleWriter {
    package let folder: String

    /// - Throws: where the folder cannot be made, or already holds a bundle.
    package init(folder: String) throws(ModelError) {
        self.folder = folder
        try makeFolder(folder)
        guard access("\(folder)/config.json", F_OK) != 0 else {
            throw .invalid("\(folder) already holds a model bundle; choose another folder")
        }
    }

    /// - Returns: the SHA-256 of what was written.
    package func write(_ bytes: [UInt8], to name: String) throws(ModelError) -> String {
        try writeFile(bytes, to: "\(folder)/\(name)")
        return sha256Hex(bytes)
    }

    /// - Throws: where a line would not come back as it went.
    package func write(lines: [String], to name: String) throws(ModelError) -> String {
        for line in lines
        where line.isEmpty || line.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D }) {
            throw .invalid("'\(line)' cannot be a line of \(name): it is empty or has a line end")
        }
        return try write(Array(lines.map { $0 + "\n" }.joined().utf8), to: name)
    }

    package func write(configuration: BundleConfiguration) throws(ModelError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            let json = try encoder.encode(configuration)
            _ = try write(Array(json) + [UInt8(ascii: "\n")], to: "config.json")
        } catch let error as ModelError {
            throw error
        } catch {
            throw .invalid("cannot write config.json: \(error)")
        }
    }
}

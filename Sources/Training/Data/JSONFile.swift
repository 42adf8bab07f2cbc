import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Writes `value` as indented JSON with sorted keys: the same value gives the same bytes.
func writeJSON(_ value: some Encodable, to path: String) throws(TrainingError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let bytes: [UInt8]
    do {
        bytes = Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    } catch {
        throw .file(path: path, reason: "cannot be written as JSON: \(error)")
    }
    try asTrainingError { () throws(ModelError) in try writeFile(bytes, to: path) }
}

func readJSON<Value: Decodable>(
    _ type: Value.Type, at path: String
) throws(TrainingError) -> Value {
    let file = try asTrainingError { () throws(ModelError) in try MappedFile(path: path) }
    do {
        return try JSONDecoder().decode(type, from: Data(file.contents()))
    } catch {
        throw .file(path: path, reason: "not what this program writes there: \(error)")
    }
}

/// Nil where there is no such file.
func readJSONIfThere<Value: Decodable>(
    _ type: Value.Type, at path: String
) throws(TrainingError) -> Value? {
    access(path, F_OK) == 0 ? try readJSON(type, at: path) : nil
}

import CKernels

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A float32 tensor inside a memory-mapped file, dense and row-major.
package struct Tensor: @unchecked Sendable {
    // Sendable: read-only memory, kept alive by `file`.
    package let name: String
    package let shape: [Int]
    /// Valid while the tensor lives.
    package let values: UnsafeBufferPointer<Float>
    private let file: MappedFile

    fileprivate init(
        name: String, shape: [Int], values: UnsafeBufferPointer<Float>, file: MappedFile
    ) {
        self.name = name
        self.shape = shape
        self.values = values
        self.file = file
    }

    /// A copy, which may outlive the file.
    package func contents() -> [Float] {
        withExtendedLifetime(file) { Array(values) }
    }

    /// Row `index` of a matrix.
    package func row(_ index: Int) -> UnsafeBufferPointer<Float> {
        let width = shape[1]
        return UnsafeBufferPointer(rebasing: values[index * width..<(index + 1) * width])
    }

    /// - Precondition: the tensor is not empty (`Safetensors.tensor` checks it).
    package var pointer: UnsafePointer<Float> { values.baseAddress.unsafelyUnwrapped }
}

/// A `safetensors` file, memory-mapped: 8 bytes of header length, a JSON header
/// `{"name": {"dtype", "shape", "data_offsets"}}`, then the data, little-endian.
/// Only float32 tensors can be taken out. Format: github.com/huggingface/safetensors.
package struct Safetensors: Sendable {
    package static let maximumHeaderBytes = 16 << 20

    private struct Entry: Decodable {
        let dtype: String
        let shape: [Int]
        let data_offsets: [Int]
    }
    /// The header's values: a tensor's entry, or the `__metadata__` strings.
    private enum HeaderValue: Decodable {
        case tensor(Entry)
        case metadata

        init(from decoder: any Decoder) throws {
            self = (try? Entry(from: decoder)).map(HeaderValue.tensor) ?? .metadata
        }
    }

    private let file: MappedFile
    private let entries: [String: Entry]
    private let dataStart: Int
    package var path: String { file.path }

    package init(path: String) throws(ModelError) {
        try self.init(file: MappedFile(path: path))
    }

    package init(file: MappedFile) throws(ModelError) {
        self.file = file
        let bytes = file.bytes
        guard bytes.count >= 8 else {
            throw .malformed(
                path: file.path, reason: "\(bytes.count) bytes are no safetensors file")
        }
        let headerBytes = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard headerBytes <= UInt64(Self.maximumHeaderBytes), 8 + Int(headerBytes) <= bytes.count
        else {
            throw .malformed(
                path: file.path,
                reason: "its header claims \(headerBytes) bytes, the file has \(bytes.count)")
        }
        dataStart = 8 + Int(headerBytes)
        do {
            let header = try JSONDecoder().decode(
                [String: HeaderValue].self, from: Data(bytes[8..<dataStart]))
            entries = header.compactMapValues {
                if case .tensor(let entry) = $0 { entry } else { nil }
            }
        } catch {
            throw .malformed(path: file.path, reason: "its header is not safetensors' JSON")
        }
    }

    package var names: [String] { entries.keys.sorted() }

    package func shape(of name: String) -> [Int]? { entries[name]?.shape }

    /// The tensor `name`, checked: type, shape, extent, alignment and that every value is finite.
    package func tensor(_ name: String, shape: [Int]) throws(ModelError) -> Tensor {
        let raw = try bytes(of: name, type: "F32", shape: shape)
        let values = raw.assumingMemoryBound(to: Float.self)
        var index = 0
        guard ck_all_finite(values.baseAddress, values.count, &index) == 1 else {
            throw .notFinite(tensor: name, path: path, index: index)
        }
        return Tensor(name: name, shape: shape, values: values, file: file)
    }

    /// The values of an int32 tensor, checked likewise.
    package func integers(_ name: String, shape: [Int]) throws(ModelError) -> [Int32] {
        let raw = try bytes(of: name, type: "I32", shape: shape)
        return withExtendedLifetime(file) { Array(raw.assumingMemoryBound(to: Int32.self)) }
    }

    /// A tensor of 4 bytes a value: its type, shape, extent and alignment are as they must be.
    private func bytes(
        of name: String, type: String, shape: [Int]
    ) throws(ModelError) -> UnsafeRawBufferPointer {
        guard let entry = entries[name] else {
            throw .missingTensor(name: name, path: path)
        }
        guard entry.dtype == type else {
            throw .wrongType(tensor: name, path: path, expected: type, found: entry.dtype)
        }
        guard entry.shape == shape else {
            throw .wrongShape(tensor: name, path: path, expected: shape, found: entry.shape)
        }
        let count = shape.reduce(1, *)
        guard count > 0, entry.data_offsets.count == 2, entry.data_offsets[0] >= 0,
            entry.data_offsets[1] >= entry.data_offsets[0],
            entry.data_offsets[1] - entry.data_offsets[0] == count * 4,
            entry.data_offsets[1] <= file.bytes.count - dataStart
        else {
            throw .malformed(
                path: path,
                reason: "tensor '\(name)' lies outside the file; it was cut short or is damaged")
        }
        let start = dataStart + entry.data_offsets[0]
        let raw = UnsafeRawBufferPointer(rebasing: file.bytes[start..<start + count * 4])
        guard Int(bitPattern: raw.baseAddress) % MemoryLayout<Float>.alignment == 0 else {
            throw .malformed(path: path, reason: "tensor '\(name)' is not aligned to 4 bytes")
        }
        return raw
    }
}

/// Writes a `safetensors` file: tensors in the given order, data aligned to 64 bytes.
package struct SafetensorsWriter {
    private var entries: [(name: String, shape: [Int], start: Int, end: Int)] = []
    private var data: [Float] = []

    package init() {}

    package mutating func add(_ name: String, shape: [Int], _ values: [Float]) {
        precondition(values.count == shape.reduce(1, *), "\(name): \(shape) of \(values.count)")
        let start = data.count * 4
        data += values
        entries.append((name, shape, start, data.count * 4))
    }

    package func bytes(metadata: [String: String] = [:]) -> [UInt8] {
        var header = "{\"__metadata__\":{"
        header += metadata.sorted { $0.key < $1.key }
            .map { "\(quoted($0.key)):\(quoted($0.value))" }.joined(separator: ",")
        header += "}"
        for entry in entries {
            let shape = entry.shape.map(String.init).joined(separator: ",")
            header += ",\(quoted(entry.name)):{\"dtype\":\"F32\",\"shape\":[\(shape)],"
            header += "\"data_offsets\":[\(entry.start),\(entry.end)]}"
        }
        header += "}"
        while (8 + header.utf8.count) % 64 != 0 { header += " " }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 + header.utf8.count + data.count * 4)
        withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { bytes += $0 }
        bytes += header.utf8
        data.withUnsafeBytes { bytes += $0 }
        return bytes
    }

    private func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case _ where scalar.value < 0x20: out += " "
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}

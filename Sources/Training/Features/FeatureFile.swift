import Glibc

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The layout of `features.bin`, little-endian:
///
///     4096 bytes   "uhan-features 1", a line end, the header as JSON, blanks, a line end
///     records      of one size, a multiple of 64 bytes:
///                  32 bytes  the SHA-256 of the image's bytes
///                   8 bytes  a checksum of the key and the floats
///                  24 bytes  0
///                  regions x channels floats, then 0 up to a multiple of 64 bytes
///
/// Records are appended and never changed, so a kill costs the last one at most: a tail that is
/// torn, or not what its checksum says, is cut off before the next is appended.
enum FeatureFile {
    static let name = "features.bin"
    static let headerBytes = 4096
    static let floatsOffset = 64
    static let magic = "uhan-features 1\n"

    struct Header: Codable, Equatable {
        var identity: FeatureIdentity
        var origin: BackboneOrigin
    }

    static func recordBytes(_ identity: FeatureIdentity) -> Int {
        floatsOffset + (identity.regions * identity.channels * 4 + 63) / 64 * 64
    }

    static func bytes(of header: Header) throws(TrainingError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let json = try? encoder.encode(header) else {
            throw .invalid("the header of \(name) cannot be written as JSON")
        }
        var bytes = Array(magic.utf8) + json
        guard bytes.count < headerBytes else {
            throw .invalid(
                "the header of \(name) would take \(bytes.count) bytes, more than \(headerBytes); "
                    + "put the backbone where its path is shorter")
        }
        bytes += [UInt8](repeating: UInt8(ascii: " "), count: headerBytes - 1 - bytes.count)
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    /// - Parameter bytes: the first `headerBytes` of the file at `path`, or all where it is shorter.
    /// - Returns: nil where the header was not written to its end: there are no features yet.
    static func header(of bytes: [UInt8], path: String) throws(TrainingError) -> Header? {
        let start = bytes.prefix(magic.utf8.count)
        guard magic.utf8.starts(with: start) else {
            throw .file(path: path, reason: "not a file of features of this version of uhan")
        }
        guard bytes.count >= headerBytes else { return nil }
        let json = Data(bytes[magic.utf8.count..<headerBytes])
        guard let header = try? JSONDecoder().decode(Header.self, from: json),
            BackboneBounds.contain(header.identity)
        else {
            throw .file(
                path: path,
                reason: "its header is damaged; delete the folder and compute the features anew")
        }
        return header
    }

    /// That of the features in `folder`; nil where there are none.
    static func header(in folder: String) throws(TrainingError) -> Header? {
        let path = "\(folder)/\(name)"
        guard access(path, F_OK) == 0 else { return nil }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw .file(path: path, reason: String(cString: strerror(errno)))
        }
        defer { close(file) }
        return try header(of: read(file, count: headerBytes), path: path)
    }

    /// The first `count` bytes, or all where there are fewer.
    static func read(_ file: Int32, count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(
                    file, buffer.baseAddress.map { $0 + filled }, count - filled, filled)
                if got > 0 {
                    filled += got
                } else if got == 0 || errno != EINTR {
                    return
                }
            }
        }
    }

    /// Sizes beyond what any model can have are a damaged header, not a reason to allocate.
    private enum BackboneBounds {
        static func contain(_ identity: FeatureIdentity) -> Bool {
            1...(1024 * 1024) ~= identity.regions && 1...1024 ~= identity.channels
        }
    }

    // MARK: Records

    /// What a record's checksum should be: every change of a single word changes it.
    ///
    /// Four lanes of FNV-1a over 8-byte words, since one multiplication must wait for the one
    /// before it.
    static func checksum(_ record: UnsafeRawBufferPointer) -> UInt64 {
        let prime: UInt64 = 0x0000_0100_0000_01B3
        var lanes = SIMD4<UInt64>(
            0xCBF2_9CE4_8422_2325, 0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9,
            0x94D0_49BB_1331_11EB)
        func take(_ bytes: Slice<UnsafeRawBufferPointer>) {
            let words = UnsafeRawBufferPointer(rebasing: bytes)
            for offset in stride(from: 0, to: words.count, by: 32) {
                lanes ^= words.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
                lanes.x = lanes.x &* prime
                lanes.y = lanes.y &* prime
                lanes.z = lanes.z &* prime
                lanes.w = lanes.w &* prime
            }
        }
        take(record[0..<keyBytes])
        take(record[floatsOffset...])
        var sum = lanes.x
        for lane in [lanes.y, lanes.z, lanes.w] { sum = (sum &* prime) ^ (lane ^ (lane >> 29)) }
        return sum
    }

    static let keyBytes = 32
    static let checksumOffset = 32

    static func isWhole(_ record: UnsafeRawBufferPointer) -> Bool {
        record.loadUnaligned(fromByteOffset: checksumOffset, as: UInt64.self) == checksum(record)
    }

    /// The 32 bytes of 64 hexadecimal digits; nil for anything else.
    static func key(_ sha256: String) -> [UInt8]? {
        let digits = sha256.utf8.compactMap { digit -> UInt8? in
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
            default: nil
            }
        }
        guard digits.count == 2 * keyBytes, sha256.utf8.count == digits.count else { return nil }
        return (0..<keyBytes).map { digits[2 * $0] << 4 | digits[2 * $0 + 1] }
    }
}

/// A file's bytes, read-only and shared, for as long as this lives.
final class FeatureMapping: @unchecked Sendable {
    // Sendable: private, read-only memory, constant up to `bytes.count` (records never change).
    let bytes: UnsafeRawBufferPointer

    init(_ file: Int32, count: Int, path: String) throws(TrainingError) {
        guard count > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, count, PROT_READ, MAP_SHARED, file, 0), start != MAP_FAILED
        else {
            throw .file(path: path, reason: String(cString: strerror(errno)))
        }
        bytes = UnsafeRawBufferPointer(start: start, count: count)
    }

    deinit {
        if let start = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
        }
    }

    /// The records of a whole file, header and all.
    func record(_ index: Int, recordBytes: Int) -> UnsafeRawBufferPointer {
        let start = FeatureFile.headerBytes + index * recordBytes
        return UnsafeRawBufferPointer(rebasing: bytes[start..<start + recordBytes])
    }
}

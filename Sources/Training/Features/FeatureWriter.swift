import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Appends features to a folder, going on where the last run ended. One at a time: the file is
/// locked.
///
/// What is appended is the kernel's at once, so a kill loses the image in work and no other. It is
/// on the disk after every 64 MiB and at the end; a power failure loses at most what came since.
package final class FeatureWriter {
    /// An image that has no features, and never will have.
    package struct Failure: Codable, Sendable, Equatable {
        package var sha256: String
        /// As the first post that shows it names it.
        package var image: String
        package var reason: String

        package init(sha256: String, image: String, reason: String) {
            self.sha256 = sha256
            self.image = image
            self.reason = reason
        }
    }

    /// Bytes of a torn or damaged tail that were cut off.
    package let bytesCut: Int
    package private(set) var failures: [String: Failure] = [:]
    private var known: Set<String> = []
    private let folder: String
    private let file: Int32
    private let failureFile: Int32
    private let identity: FeatureIdentity
    private let record: UnsafeMutableRawBufferPointer
    private var end: Int
    private var bytesSinceSync = 0

    private static let failureName = "failures.jsonl"
    private static let syncBytes = 64 << 20

    /// Images with features.
    package var count: Int { known.count }

    /// Opens the folder, made where it is not there.
    ///
    /// - Throws: where features of another identity lie there, or another process is writing.
    package init(
        folder: String, identity: FeatureIdentity, origin: BackboneOrigin
    ) throws(TrainingError) {
        try asTrainingError { () throws(ModelError) in try makeFolder(folder) }
        self.folder = folder
        self.identity = identity
        let path = "\(folder)/\(FeatureFile.name)"
        let file = try openForWriting(path)
        var opened = [file]
        do throws(TrainingError) {
            guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
                throw .file(
                    path: path,
                    reason: "another 'uhan features' is at work there; wait for it, or choose "
                        + "another folder")
            }
            var size = try length(of: file, path)
            let start = FeatureFile.read(file, count: FeatureFile.headerBytes)
            if let header = try FeatureFile.header(of: start, path: path) {
                let differences = header.identity.differences(to: identity)
                guard differences.isEmpty else {
                    throw .invalid(
                        "the features in \(folder) were made otherwise: "
                            + differences.joined(separator: "; ")
                            + ". Choose another folder, or ask for what it holds")
                }
            } else {
                let header = try FeatureFile.bytes(of: .init(identity: identity, origin: origin))
                try cut(file, to: 0, path)
                try writeAll(header, to: file, at: 0, path)
                size = header.count
            }
            (end, known) = try Self.wholeRecords(
                file, size: size, recordBytes: FeatureFile.recordBytes(identity), path)
            bytesCut = size - end
            try cut(file, to: end, path)

            let failurePath = "\(folder)/\(Self.failureName)"
            failureFile = try openForWriting(failurePath)
            opened.append(failureFile)
            failures = try Self.readFailures(failureFile, failurePath)
        } catch {
            for file in opened { close(file) }
            throw error
        }
        self.file = file
        record = .allocate(byteCount: FeatureFile.recordBytes(identity), alignment: 64)
        record.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        record.deallocate()
        close(failureFile)
        close(file)
    }

    package func has(_ sha256: String) -> Bool { known.contains(sha256) }

    /// The features are there, or are known not to be had.
    package func isDone(_ sha256: String) -> Bool { has(sha256) || failures[sha256] != nil }

    /// - Parameter features: regions x channels.
    package func append(_ features: [Float], ofImage sha256: String) throws(TrainingError) {
        precondition(features.count == identity.regions * identity.channels)
        guard let key = FeatureFile.key(sha256) else {
            throw .invalid("'\(sha256)' is no SHA-256; prepare the dataset anew")
        }
        record.copyBytes(from: key)
        features.withUnsafeBytes { floats in
            UnsafeMutableRawBufferPointer(rebasing: record[FeatureFile.floatsOffset...])
                .copyMemory(from: floats)
        }
        record.storeBytes(
            of: FeatureFile.checksum(UnsafeRawBufferPointer(record)),
            toByteOffset: FeatureFile.checksumOffset, as: UInt64.self)
        try writeAll(
            UnsafeRawBufferPointer(record), to: file, at: end, "\(folder)/\(FeatureFile.name)")
        end += record.count
        known.insert(sha256)
        bytesSinceSync += record.count
        if bytesSinceSync >= Self.syncBytes { try sync() }
    }

    /// Remembers that an image cannot be decoded, so that it is not tried anew.
    package func fail(_ failure: Failure) throws(TrainingError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let path = "\(folder)/\(Self.failureName)"
        guard var line = try? Array(encoder.encode(failure)) else {
            throw .file(path: path, reason: "cannot write the failure of \(failure.image) as JSON")
        }
        line.append(UInt8(ascii: "\n"))
        let end = try length(of: failureFile, path)
        try writeAll(line, to: failureFile, at: end, path)
        failures[failure.sha256] = failure
    }

    /// Brings everything to the disk.
    package func sync() throws(TrainingError) {
        for (file, name) in [(file, FeatureFile.name), (failureFile, Self.failureName)] {
            guard fdatasync(file) == 0 else {
                throw .file(path: "\(folder)/\(name)", reason: String(cString: strerror(errno)))
            }
        }
        bytesSinceSync = 0
    }

    // MARK: Opening

    /// The records from the beginning up to the first that is not whole.
    /// - Returns: where they end, and their keys.
    private static func wholeRecords(
        _ file: Int32, size: Int, recordBytes: Int, _ path: String
    ) throws(TrainingError) -> (end: Int, keys: Set<String>) {
        let mapping = try FeatureMapping(file, count: size, path: path)
        let count = (size - FeatureFile.headerBytes) / recordBytes
        var keys: Set<String> = []
        for index in 0..<count {
            let record = mapping.record(index, recordBytes: recordBytes)
            guard FeatureFile.isWhole(record) else {
                return (FeatureFile.headerBytes + index * recordBytes, keys)
            }
            keys.insert(hexadecimal(record.prefix(FeatureFile.keyBytes)))
        }
        return (FeatureFile.headerBytes + count * recordBytes, keys)
    }

    /// The list so far; a last line without its end, or that cannot be read, is cut off.
    private static func readFailures(
        _ file: Int32, _ path: String
    ) throws(TrainingError) -> [String: Failure] {
        let bytes = FeatureFile.read(file, count: try length(of: file, path))
        var failures: [String: Failure] = [:]
        var end = 0
        while let lineEnd = bytes[end...].firstIndex(of: UInt8(ascii: "\n")),
            let failure = try? JSONDecoder().decode(Failure.self, from: Data(bytes[end..<lineEnd]))
        {
            failures[failure.sha256] = failure
            end = lineEnd + 1
        }
        try cut(file, to: end, path)
        return failures
    }
}

private func openForWriting(_ path: String) throws(TrainingError) -> Int32 {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard file >= 0 else { throw .file(path: path, reason: String(cString: strerror(errno))) }
    return file
}

private func length(of file: Int32, _ path: String) throws(TrainingError) -> Int {
    var status = stat()
    guard fstat(file, &status) == 0 else {
        throw .file(path: path, reason: String(cString: strerror(errno)))
    }
    return Int(status.st_size)
}

private func cut(_ file: Int32, to end: Int, _ path: String) throws(TrainingError) {
    guard ftruncate(file, end) == 0 else {
        throw .file(path: path, reason: "cannot be cut: \(String(cString: strerror(errno)))")
    }
}

private func writeAll(
    _ bytes: [UInt8], to file: Int32, at start: Int, _ path: String
) throws(TrainingError) {
    let result = bytes.withUnsafeBytes { bytes in
        Result { () throws(TrainingError) in try writeAll(bytes, to: file, at: start, path) }
    }
    try result.get()
}

/// All or nothing, as far as that can be: what could not be written to its end is cut off again.
private func writeAll(
    _ bytes: UnsafeRawBufferPointer, to file: Int32, at start: Int, _ path: String
) throws(TrainingError) {
    var written = 0
    while written < bytes.count {
        let count = pwrite(
            file, bytes.baseAddress.map { $0 + written }, bytes.count - written, start + written)
        if count > 0 {
            written += count
        } else if count == 0 || errno != EINTR {
            let reason = String(cString: strerror(errno))
            ftruncate(file, start)
            throw .file(
                path: path,
                reason: "cannot write: \(reason); what is there is whole: make room and run "
                    + "'uhan features' again")
        }
    }
}

import Glibc
import Model

/// The features that `uhan features` has computed, by the SHA-256 of the image's bytes; mapped
/// read-only, so that pages come in when they are touched. Used by several threads at once.
package final class FeatureStore: Sendable {
    package let identity: FeatureIdentity
    /// The backbone's weights, their file as an absolute path.
    package let backbone: BackboneOrigin
    private let mapping: FeatureMapping
    private let records: [String: Int]
    private let recordBytes: Int

    /// Images with features.
    package var count: Int { records.count }

    private init(
        identity: FeatureIdentity, backbone: BackboneOrigin, mapping: FeatureMapping,
        records: [String: Int]
    ) {
        self.identity = identity
        self.backbone = backbone
        self.mapping = mapping
        self.records = records
        recordBytes = FeatureFile.recordBytes(identity)
    }

    /// Reads the whole file once: every checksum is checked. A record that is being appended, or
    /// that a kill cut short, is passed over.
    package static func open(folder: String) throws(TrainingError) -> FeatureStore {
        let path = "\(folder)/\(FeatureFile.name)"
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw .file(
                path: path,
                reason: "\(String(cString: strerror(errno))); 'uhan features' makes it")
        }
        defer { close(file) }
        let start = FeatureFile.read(file, count: FeatureFile.headerBytes)
        guard let header = try FeatureFile.header(of: start, path: path) else {
            throw .file(path: path, reason: "no features in it yet; run 'uhan features' again")
        }
        var status = stat()
        guard fstat(file, &status) == 0 else {
            throw .file(path: path, reason: String(cString: strerror(errno)))
        }
        let recordBytes = FeatureFile.recordBytes(header.identity)
        let mapping = try FeatureMapping(file, count: Int(status.st_size), path: path)
        let count = (mapping.bytes.count - FeatureFile.headerBytes) / recordBytes
        var records: [String: Int] = [:]
        records.reserveCapacity(count)
        for index in 0..<count {
            let record = mapping.record(index, recordBytes: recordBytes)
            guard FeatureFile.isWhole(record) else {
                throw .file(
                    path: path,
                    reason: "record \(index + 1) of \(count) is damaged; run 'uhan features' "
                        + "again: it cuts it off and computes what is missing")
            }
            records[hexadecimal(record.prefix(FeatureFile.keyBytes))] = index
        }
        var origin = header.origin
        if !origin.file.hasPrefix("/") {
            origin.file = "\(try absolutePath(ofFolder: folder))/\(origin.file)"
        }
        return FeatureStore(
            identity: header.identity, backbone: origin, mapping: mapping, records: records)
    }

    /// - Parameter sha256: of the image's bytes, 64 lower-case hexadecimal digits.
    /// - Returns: regions x channels, row-major, 64-byte aligned, valid as long as the store lives;
    ///   nil where there are none: the image is then to be left out, as in serving.
    package func features(ofImage sha256: String) -> UnsafeBufferPointer<Float>? {
        guard let index = records[sha256] else { return nil }
        let record = mapping.record(index, recordBytes: recordBytes)
        let floats = UnsafeRawBufferPointer(
            rebasing: record[FeatureFile.floatsOffset...]
                .prefix(identity.regions * identity.channels * 4))
        return floats.assumingMemoryBound(to: Float.self)
    }
}

import Foundation
import GRDB
import Pipeline
import Synchronization

/// The kept encodings of one task's posts, in `encodings-<n>.sqlite`: apart from the checkpoint, so
/// that neither holds up the other.
///
/// What `keep` has returned for outlives a killed process. A power cut may lose or damage the last
/// ones: a damaged encoding is found by its checksum and counts as lost, a damaged file is begun
/// anew. Calls take turns, each for less than a millisecond; they belong on a worker thread.
package final class EncodingStore: Sendable {
    /// At dim 512, 50 words and 196 regions.
    package static let maximumEncodingBytes = 128 << 10

    package struct Metrics: Equatable, Sendable {
        /// Kept now, and the bytes that they take on disk.
        package var encodings = 0
        package var bytes = 0
        /// Since the file was opened: what had to make room.
        package var evictedUnlabelled = 0
        package var evictedLabelled = 0
        /// Found damaged when they were read.
        package var damaged = 0
    }

    package let task: Int32
    package let maximumBytes: Int
    package let begun: StateFile.Beginning?
    private let file: StateFile
    private let queue: DatabaseQueue
    private let counted: Mutex<Metrics>

    /// - Parameter maximumBytes: on disk; the oldest posts without a label make room first, then
    ///   the oldest labelled ones.
    package init(in folder: StateFolder, task: Int32, maximumBytes: Int) throws(StoreError) {
        self.task = task
        self.maximumBytes = maximumBytes
        file = StateFile(
            path: "\(folder.path)/encodings-\(task).sqlite", group: folder.group,
            schemaVersion: 1, createTables: Self.tables)
        var configuration = Configuration()
        configuration.prepareDatabase { database in
            // One write of each page, and none of a log: the journal holds the few old pages that a
            // transaction replaces, and is cut to nothing when it ends.
            try database.execute(
                sql: """
                    PRAGMA page_size = \(Self.pageBytes);
                    PRAGMA locking_mode = EXCLUSIVE;
                    PRAGMA journal_mode = TRUNCATE;
                    PRAGMA synchronous = OFF;
                    PRAGMA secure_delete = ON
                    """)
        }
        (queue, begun) = try file.open { try DatabaseQueue(path: $0, configuration: configuration) }
        do {
            counted = Mutex(
                try queue.read { database in
                    let row = try Row.fetchOne(
                        database, sql: "SELECT count(*), total(bytes) FROM encodings")
                    var metrics = Metrics()
                    if let row {
                        (metrics.encodings, metrics.bytes) = (row[0], Int(row[1] as Double))
                    }
                    return metrics
                })
        } catch {
            throw file.failure(error)
        }
    }

    package var metrics: Metrics { counted.withLock { $0 } }

    /// Keeps a post's encoding.
    ///
    /// - Parameter replacing: whether it takes the place of an earlier one of the same post by the
    ///   same model. One by another model always goes.
    package func keep(
        uid: String, pid: String, model: String, bytes: [UInt8], replacing: Bool = true
    ) throws(StoreError) {
        guard bytes.count <= Self.maximumEncodingBytes else {
            throw .tooLarge(
                pid: pid, byteCount: bytes.count, maximumBytes: Self.maximumEncodingBytes)
        }
        let size = Self.bytesOnDisk(bytes.count)
        let contents = bytes.withUnsafeBytes { Data($0) }
        let checksum = Self.checksum(uid: uid, pid: pid, model: model, contents)
        try change { database, metrics in
            if !replacing, try Self.isThere(uid: uid, pid: pid, model: model, database) { return }
            try Self.remove(
                "uid = ? AND pid = ?", [uid.blob, pid.blob], from: database, &metrics)
            while metrics.bytes + size > maximumBytes, metrics.encodings > 0 {
                let oldest = try Row.fetchOne(
                    database.cachedStatement(
                        sql: "SELECT id, labelled FROM encodings ORDER BY labelled, id LIMIT 1"))
                guard let oldest else { break }
                if oldest[1] {
                    metrics.evictedLabelled += 1
                } else {
                    metrics.evictedUnlabelled += 1
                }
                try Self.remove("id = ?", [oldest[0] as Int64], from: database, &metrics)
            }
            guard size <= maximumBytes else { return }
            try database.cachedStatement(
                sql: """
                    INSERT INTO encodings (uid, pid, model, labelled, bytes, checksum)
                    VALUES (?, ?, ?, 0, ?, ?)
                    """
            ).execute(arguments: [uid.blob, pid.blob, model.blob, size, checksum])
            try database.cachedStatement(sql: "INSERT INTO contents VALUES (?, ?)")
                .execute(arguments: [database.lastInsertedRowID, contents])
            metrics.encodings += 1
            metrics.bytes += size
        }
    }

    private static func isThere(
        uid: String, pid: String, model: String, _ database: Database
    ) throws -> Bool {
        try Row.fetchOne(
            database.cachedStatement(
                sql: "SELECT 1 FROM encodings WHERE uid = ? AND pid = ? AND model = ?"),
            arguments: [uid.blob, pid.blob, model.blob]) != nil
    }

    /// The post's encoding by that model; nil where it is not there any more.
    package func bytes(
        uid: String, pid: String, model: String
    ) throws(StoreError) -> [UInt8]? {
        do {
            return try queue.read { database in
                let row = try Row.fetchOne(
                    database.cachedStatement(
                        sql: """
                            SELECT checksum, value FROM encodings JOIN contents USING (id)
                            WHERE uid = ? AND pid = ? AND model = ?
                            """), arguments: [uid.blob, pid.blob, model.blob])
                guard let row else { return nil }
                let checksum: Int64 = row[0]
                let contents: Data = row[1]
                guard Self.checksum(uid: uid, pid: pid, model: model, contents) == checksum else {
                    counted.withLock { $0.damaged += 1 }
                    return nil
                }
                return [UInt8](contents)
            }
        } catch {
            throw file.failure(error)
        }
    }

    /// These posts of the user have their label: others make room before them.
    package func markLabelled(uid: String, pids: [String]) throws(StoreError) {
        try change { database, _ in
            let statement = try database.cachedStatement(
                sql: "UPDATE encodings SET labelled = 1 WHERE uid = ? AND pid = ?")
            for pid in pids { try statement.execute(arguments: [uid.blob, pid.blob]) }
        }
    }

    package func delete(uid: String, pids: [String]) throws(StoreError) {
        try change { database, metrics in
            for pid in pids {
                try Self.remove(
                    "uid = ? AND pid = ?", [uid.blob, pid.blob], from: database, &metrics)
            }
        }
    }

    /// Forgets the user; nothing of the encodings' bytes stays in the file.
    package func deleteAll(uid: String) throws(StoreError) {
        try change { database, metrics in
            try Self.remove("uid = ?", [uid.blob], from: database, &metrics)
        }
    }

    package func close() throws(StoreError) {
        do {
            try queue.close()
        } catch {
            throw file.failure(error)
        }
    }

    /// One transaction; the counts change with it.
    private func change(
        _ body: (Database, inout Metrics) throws -> Void
    ) throws(StoreError) {
        do {
            try queue.writeWithoutTransaction { database in
                var metrics = metrics
                try database.inTransaction(.immediate) {
                    try body(database, &metrics)
                    return .commit
                }
                counted.withLock { counted in
                    metrics.damaged = counted.damaged
                    counted = metrics
                }
            }
        } catch {
            throw file.failure(error)
        }
    }

    private static func remove(
        _ condition: String, _ arguments: StatementArguments, from database: Database,
        _ metrics: inout Metrics
    ) throws {
        try database.cachedStatement(
            sql: "DELETE FROM contents WHERE id IN (SELECT id FROM encodings WHERE \(condition))"
        ).execute(arguments: arguments)
        let sizes = try Int.fetchAll(
            database.cachedStatement(
                sql: "DELETE FROM encodings WHERE \(condition) RETURNING bytes"),
            arguments: arguments)
        metrics.encodings -= sizes.count
        metrics.bytes -= sizes.reduce(0, +)
    }

    private static let pageBytes = 16_384

    /// An encoding takes whole pages, and a line in the tables beside.
    private static func bytesOnDisk(_ count: Int) -> Int {
        (count + pageBytes - 1) / pageBytes * pageBytes + 512
    }

    private static let tables = """
        CREATE TABLE encodings (
            id INTEGER PRIMARY KEY AUTOINCREMENT, uid BLOB NOT NULL, pid BLOB NOT NULL,
            model BLOB NOT NULL, labelled INTEGER NOT NULL, bytes INTEGER NOT NULL,
            checksum INTEGER NOT NULL, UNIQUE (uid, pid));
        CREATE INDEX encodings_by_age ON encodings (labelled, id);
        CREATE TABLE contents (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
        """

    /// Tells a damaged or exchanged encoding. Four interleaved multiply-and-add chains of 8 bytes.
    private static func checksum(
        uid: String, pid: String, model: String, _ contents: Data
    ) -> Int64 {
        var sums = SIMD4<UInt64>(1, 2, 3, 4)
        let multiplier = SIMD4<UInt64>(repeating: 0x9e37_79b9_7f4a_7c15)
        func add(_ bytes: UnsafeRawBufferPointer) {
            sums[0] &+= UInt64(bytes.count)
            var offset = 0
            while offset + 32 <= bytes.count {
                let words = bytes.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
                sums = (sums ^ words) &* multiplier
                sums ^= sums &>> 32
                offset += 32
            }
            for byte in bytes[offset...] { sums[1] = (sums[1] ^ UInt64(byte)) &* multiplier[0] }
        }
        for text in [uid, pid, model] { Array(text.utf8).withUnsafeBytes(add) }
        contents.withUnsafeBytes(add)
        let both = (sums[0] &* 3) ^ (sums[1] &* 5) ^ (sums[2] &* 7) ^ (sums[3] &* 9)
        return Int64(bitPattern: both ^ both >> 31)
    }
}

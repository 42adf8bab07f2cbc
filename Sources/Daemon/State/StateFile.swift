import Foundation
import GRDB
import Glibc
import Model

/// One SQLite file of the state folder: whose it is, and how it is opened, refused or begun anew.
package struct StateFile: Sendable {
    /// "uhan", so that `file` and a look at the header tell what it is.
    private static let applicationIdentifier = 0x7568_616e

    let path: String
    let group: String
    let schemaVersion: Int
    let createTables: String

    /// Why a file was begun anew.
    package enum Beginning: Equatable, Sendable {
        case noFile
        case corrupt(reason: String)
        case olderSchema
        case tooOld
    }

    /// Opens the file, or begins it anew where it is damaged or of an older schema: whatever it
    /// held can be read from the changelog.
    ///
    /// - Returns: the connection, and why it is empty, if it was begun anew.
    /// - Throws: `otherGroup` and `newerSchema` for files that somebody else may still need.
    func open<Connection: DatabaseWriter>(
        _ connect: (String) throws -> Connection
    ) throws(StoreError) -> (connection: Connection, begun: Beginning?) {
        var begun: Beginning? = access(path, F_OK) == 0 ? nil : .noFile
        if access(damageMark, F_OK) == 0 {
            begun = .corrupt(reason: "found while it was in use")
            removeFiles()
        }
        do {
            let connection = try connect(path)
            if try isCurrent(connection) { return (connection, begun) }
            try connection.close()
            begun = .olderSchema
        } catch {
            let error = StoreError(error, path: path)
            guard case .corrupt(_, let reason) = error else { throw error }
            begun = .corrupt(reason: reason)
        }
        return (try beginAnew(connect), begun)
    }

    func beginAnew<Connection: DatabaseWriter>(
        _ connect: (String) throws -> Connection
    ) throws(StoreError) -> Connection {
        removeFiles()
        do {
            let connection = try connect(path)
            _ = try isCurrent(connection)
            return connection
        } catch {
            throw StoreError(error, path: path)
        }
    }

    /// The error in the store's words. Damage is marked, so that the next opening begins anew.
    func failure(_ error: any Error) -> StoreError {
        let failure = StoreError(error, path: path)
        if case .corrupt = failure {
            let mark = Glibc.open(damageMark, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
            if mark >= 0 { close(mark) }
        }
        return failure
    }

    /// Creates the tables of an empty file; false where the schema is an older one.
    private func isCurrent(_ connection: some DatabaseWriter) throws -> Bool {
        try connection.writeWithoutTransaction { database in
            let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if found > schemaVersion {
                throw StoreError.newerSchema(path: path, found: found, known: schemaVersion)
            }
            if try database.tableExists("owner") {
                let owner = try String.fetchOne(database, sql: "SELECT consumer_group FROM owner")
                if let owner, CodePoints(owner) != CodePoints(group) {
                    throw StoreError.otherGroup(path: path, found: owner, expected: group)
                }
                return found == schemaVersion && owner != nil
            }
            try database.inTransaction {
                try database.execute(sql: createTables)
                try database.execute(sql: "CREATE TABLE owner (consumer_group TEXT NOT NULL)")
                try database.execute(sql: "INSERT INTO owner VALUES (?)", arguments: [group])
                try database.execute(
                    sql: "PRAGMA application_id = \(Self.applicationIdentifier)")
                try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
                return .commit
            }
            return true
        }
    }

    private var damageMark: String { path + ".damaged" }

    func removeFiles() {
        for suffix in ["", "-wal", "-shm", "-journal"] { unlink(path + suffix) }
        unlink(damageMark)
    }
}

extension String {
    /// Keys are compared by their bytes: as text, "é" in its two forms would be one user to some
    /// and two to others.
    var blob: Data { Data(utf8) }

    init(blob: Data) {
        self.init(decoding: blob, as: UTF8.self)
    }
}

extension [Float] {
    /// Little-endian float32.
    var blob: Data {
        #if _endian(little)
        withUnsafeBytes { Data($0) }
        #else
        map(\.bitPattern.littleEndian).withUnsafeBytes { Data($0) }
        #endif
    }

    init(blob: Data) {
        let count = blob.count / MemoryLayout<Float>.size
        self.init(unsafeUninitializedCapacity: count) { floats, initialized in
            blob.withUnsafeBytes { bytes in
                for i in 0..<count {
                    let bits = bytes.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)
                    floats.initializeElement(
                        at: i, to: Float(bitPattern: UInt32(littleEndian: bits)))
                }
            }
            initialized = count
        }
    }
}

import Dispatch
import Foundation
import GRDB
import Model
import Pipeline
import Synchronization

/// Up to where the checkpoint of a task holds the changelogs: the offsets from which to read on.
package struct Reached: Equatable, Sendable {
    package var users: Int64
    package var joins: Int64
    /// Where encodings are published.
    package var encodings: Int64?
    /// Seconds since 1970, by the clock.
    package var writtenAt: Double

    package init(users: Int64, joins: Int64, encodings: Int64? = nil, writtenAt: Double) {
        self.users = users
        self.joins = joins
        self.encodings = encodings
        self.writtenAt = writtenAt
    }
}

/// The checkpoint of one task: what was learnt of its users, its posts that wait for labels and its
/// views that wait for their post, in `users-<n>.sqlite`, with the changelog offsets it reaches.
///
/// Changes are written behind, on a queue of the store's own, as many together as have come
/// meanwhile; a change and the offsets given with it, or with a later one, are one transaction. Reads
/// see every change at once: those still on their way come from memory. They never wait for a
/// writer, and may be made from any thread.
///
/// Processes that are killed lose nothing that was written. After a power cut the last changes may
/// be missing, and the offsets with them: the changelog has them.
package final class TaskStore: Sendable {
    /// Before the changelogs may have dropped a tombstone (`delete.retention.ms`, 24 hours) that the
    /// checkpoint has not seen.
    package static let maximumAgeSeconds = 43_200.0
    /// Of changes on their way; beyond, `isBehind` asks for no more.
    package static let maximumPendingBytes = 64 << 20
    private static let retryMilliseconds = 1_000
    private static let maximumReaders = 8

    package let task: Int32
    /// Why the file was begun anew, if it was: then everything is to be restored.
    package let begun: Beginning?
    package typealias Beginning = StateFile.Beginning

    private let file: StateFile
    private let pool: DatabasePool
    private let state: Mutex<State>

    private struct State {
        var waiting = PendingChanges()
        /// In the transaction being made.
        var writing = PendingChanges()
        var isScheduled = false
        var reached: Reached?
        var failure: StoreError?
        /// Something was forgotten, and the write-ahead log may still tell it.
        var owesTruncation = false
    }

    /// Opens the task's checkpoint, or begins one.
    ///
    /// - Parameters:
    ///   - maximumFileBytes: of the file; beyond, writing fails with `full`.
    ///   - now: seconds since 1970; a checkpoint older than `maximumAgeSeconds` is begun anew.
    package init(
        in folder: StateFolder, task: Int32, maximumFileBytes: Int = 64 << 30,
        maximumAgeSeconds: Double = TaskStore.maximumAgeSeconds, now: Double
    ) throws(StoreError) {
        self.task = task
        file = StateFile(
            path: "\(folder.path)/users-\(task).sqlite", group: folder.group,
            schemaVersion: Schema.version, createTables: Schema.tables)
        let configuration = Self.configuration(maximumFileBytes: maximumFileBytes)
        func connect(_ path: String) throws -> DatabasePool {
            try DatabasePool(path: path, configuration: configuration)
        }
        var (pool, begun) = try file.open(connect)
        do {
            var reached = try pool.read(Self.readReached)
            if let last = reached, !(now - last.writtenAt <= maximumAgeSeconds) {
                try pool.close()
                pool = try file.beginAnew(connect)
                (reached, begun) = (nil, .tooOld)
            }
            state = Mutex(State(reached: reached))
        } catch {
            throw file.failure(error)
        }
        self.pool = pool
        self.begun = begun
    }

    private static func configuration(maximumFileBytes: Int) -> Configuration {
        var configuration = Configuration()
        configuration.maximumReaderCount = maximumReaders
        configuration.busyMode = .timeout(1)
        configuration.prepareDatabase { database in
            try database.execute(
                sql: """
                    PRAGMA page_size = \(Schema.pageBytes);
                    PRAGMA max_page_count = \(max(16, maximumFileBytes / Schema.pageBytes));
                    PRAGMA synchronous = NORMAL;
                    PRAGMA secure_delete = ON
                    """)
        }
        return configuration
    }

    /// The offsets that the file reaches.
    package var reached: Reached? { state.withLock { $0.reached } }

    /// Why the last write failed; it is tried again every second.
    package var failure: StoreError? { state.withLock { $0.failure } }

    /// More changes are on their way than should be: the learner takes no further records meanwhile.
    package var isBehind: Bool { pendingBytes > Self.maximumPendingBytes }

    package var pendingBytes: Int {
        state.withLock { $0.waiting.byteCount + $0.writing.byteCount }
    }

    // MARK: - Writing

    /// Takes changes that are committed. Reads see them at once; the file follows.
    ///
    /// - Parameter reached: what the file reaches with these and all earlier changes.
    package func apply(_ changes: [StateChange], reached: Reached?) {
        let isScheduled = state.withLock { state in
            for change in changes { state.waiting.add(change) }
            if let reached { state.waiting.reached = reached }
            defer { state.isScheduled = true }
            return state.isScheduled
        }
        if !isScheduled { schedule() }
    }

    /// Returns when everything that was taken is in the file. For restoring, which comes faster than
    /// it can be written, and for the end.
    package func flush() throws(StoreError) {
        do {
            try pool.writeWithoutTransaction { try writePending($0) }
        } catch {
            throw file.failure(error)
        }
    }

    /// Writes what is on its way and closes the file; nothing may follow.
    package func close() throws(StoreError) {
        try flush()
        do {
            // A reader may be the last connection to close, and could not do it.
            try pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            try pool.close()
        } catch {
            throw file.failure(error)
        }
    }

    /// Forgets posts that can get no label any more, the oldest first.
    ///
    /// - Parameters:
    ///   - postedBefore: seconds since 1970, in record time.
    ///   - limit: at most so many; call again while as many come back.
    /// - Returns: those that went.
    package func deleteExpired(
        postedBefore time: Double, limit: Int = 1_000
    ) throws(StoreError) -> [(uid: String, pid: String)] {
        do {
            return try pool.writeWithoutTransaction { database in
                try writePending(database)
                return try Row.fetchAll(
                    database,
                    sql: """
                        DELETE FROM posts WHERE id IN (
                            SELECT id FROM posts WHERE posted_at < ? ORDER BY posted_at LIMIT ?)
                        RETURNING uid, pid
                        """, arguments: [time, limit]
                ).map { (String(blob: $0[0]), String(blob: $0[1])) }
            }
        } catch {
            throw file.failure(error)
        }
    }

    /// When the youngest of the posts was made, in seconds since 1970; nil where there are none.
    package func newestPost() throws(StoreError) -> Double? {
        do {
            return try pool.read {
                try Double.fetchOne($0, sql: "SELECT MAX(posted_at) FROM posts")
            }
        } catch {
            throw file.failure(error)
        }
    }

    /// Closes and removes the file, which holds what the changelogs do not.
    package func discard() throws(StoreError) {
        do {
            try pool.close()
        } catch {
            throw file.failure(error)
        }
        file.removeFiles()
    }

    private func schedule() {
        pool.asyncWriteWithoutTransaction { [self] database in
            do {
                try writePending(database)
            } catch {
                let failure = file.failure(error)
                state.withLock {
                    $0.failure = failure
                    $0.isScheduled = true
                }
                DispatchQueue.global().asyncAfter(
                    deadline: .now() + .milliseconds(Self.retryMilliseconds)
                ) { [weak self] in self?.schedule() }
            }
        }
    }

    /// Writes all that waits, in one transaction. Runs on the writer's queue alone.
    private func writePending(_ database: Database) throws {
        let (batch, owesTruncation) = state.withLock { state in
            swap(&state.waiting, &state.writing)
            state.isScheduled = false
            return (state.writing, state.owesTruncation)
        }
        var forgets = owesTruncation
        if !batch.isEmpty {
            do {
                try database.inTransaction(.immediate) {
                    for change in batch.changes {
                        try write(change, to: database)
                        if case .forgottenUser = change { forgets = true }
                    }
                    if let reached = batch.reached { try write(reached, to: database) }
                    return .commit
                }
            } catch {
                state.withLock { state in
                    state.writing.add(state.waiting)
                    state.waiting = PendingChanges()
                    swap(&state.waiting, &state.writing)
                }
                throw error
            }
        }
        // A reader that is still at an older state keeps the log; the next write tries again.
        if forgets { forgets = (try? database.checkpoint(.truncate)) == nil }
        state.withLock { state in
            state.writing = PendingChanges()
            state.reached = batch.reached ?? state.reached
            state.failure = nil
            state.owesTruncation = forgets
        }
    }

    private func write(_ change: StateChange, to database: Database) throws {
        func run(_ sql: String, _ arguments: StatementArguments) throws {
            try database.cachedStatement(sql: sql).execute(arguments: arguments)
        }
        switch change {
        case .user(let state):
            let id = try Int64.fetchOne(
                database.cachedStatement(sql: Schema.keepUser),
                arguments: [
                    state.uid.blob, state.model.blob, state.current?.version ?? 0,
                    state.labelCount, state.labelSum, state.current?.values.blob,
                ])
            try run(Schema.keepRecord, [id, change.recordValue])
        case .forgottenUser(let uid, let model):
            try run(Schema.forgetRecord, [uid.blob, model.blob])
            try run(Schema.forgetUser, [uid.blob, model.blob])
        case .post(let post):
            try run(
                Schema.keepPost,
                [post.uid.blob, post.pid.blob, post.postedAt, change.recordValue])
        case .forgottenPost(let uid, let pid):
            try run(Schema.forgetPost, [uid.blob, pid.blob])
        case .earlyView(let view, let number):
            try run(
                Schema.keepEarlyView,
                [view.uid.blob, view.pid.blob, number, view.views, view.observedAt])
        case .forgottenEarlyView(let uid, let pid, let number):
            try run(Schema.forgetEarlyView, [uid.blob, pid.blob, number])
        case .encoding, .forgottenEncoding:
            break
        }
    }

    private func write(_ reached: Reached, to database: Database) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO reached VALUES (1, ?, ?, ?, ?)",
            arguments: [reached.users, reached.joins, reached.encodings, reached.writtenAt])
    }

    private static func readReached(_ database: Database) throws -> Reached? {
        try Row.fetchOne(database, sql: "SELECT * FROM reached").map { row in
            Reached(users: row[1], joins: row[2], encodings: row[3], writtenAt: row[4])
        }
    }

    // MARK: - Reading

    package func learner(uid: String, model: String) throws(StoreError) -> LearnerState? {
        switch pending(.user(uid: CodePoints(uid), model: CodePoints(model))) {
        case .user(let state): return state
        case .some: return nil
        case nil: break
        }
        let value = try read { database in
            try Data.fetchOne(
                database.cachedStatement(sql: Schema.record), arguments: [uid.blob, model.blob])
        }
        guard let value else { return nil }
        guard let state = LearnerState(recordValue: value, uid: uid, model: model) else {
            throw unreadable("the record of user '\(uid)'")
        }
        return state
    }

    /// What scoring needs of a user, without the history.
    func learnedUser(uid: String, model: String) throws(StoreError) -> LearnedUser? {
        switch pending(.user(uid: CodePoints(uid), model: CodePoints(model))) {
        case .user(let state): return LearnedUser(state)
        case .some: return nil
        case nil: break
        }
        return try read { database in
            try Row.fetchOne(
                database.cachedStatement(sql: Schema.user), arguments: [uid.blob, model.blob]
            ).map { try LearnedUser($0) }
        }
    }

    /// What was learnt of all users with one model, in the order of the file, in steps of at most
    /// `limit`.
    ///
    /// - Parameter after: what the last step returned; nil at first.
    /// - Returns: nil when there are no more.
    func eachLearnedUser(
        model: String, after: Int64?, limit: Int, _ body: (String, LearnedUser) -> Void
    ) throws(StoreError) -> Int64? {
        try read { database in
            let rows = try Row.fetchCursor(
                database.cachedStatement(sql: Schema.users),
                arguments: [after ?? 0, limit])
            var last: Int64?
            let model = model.blob
            while let row = try rows.next() {
                last = row[4]
                guard try row.withUnsafeData(atIndex: 5, { $0 == model }) else { continue }
                let uid = try row.withUnsafeData(atIndex: 6) { String(blob: $0 ?? Data()) }
                body(uid, try LearnedUser(row))
            }
            return last
        }
    }

    package func post(uid: String, pid: String) throws(StoreError) -> ScoredPost? {
        switch pending(.post(uid: CodePoints(uid), pid: CodePoints(pid))) {
        case .post(let post): return post
        case .some: return nil
        case nil: break
        }
        let value = try read { database in
            try Data.fetchOne(
                database.cachedStatement(sql: Schema.post), arguments: [uid.blob, pid.blob])
        }
        guard let value else { return nil }
        guard let post = ScoredPost(recordValue: value, uid: uid, pid: pid) else {
            throw unreadable("post '\(pid)'")
        }
        return post
    }

    /// The user's posts that are remembered, in the order of their pids' bytes.
    package func pids(of uid: String) throws(StoreError) -> [String] {
        // Before the file: a change that is written in between is seen in one of them at least.
        let pending = pendingChanges()
        let stored = try read { database in
            try Data.fetchAll(
                database, sql: "SELECT pid FROM posts WHERE uid = ?", arguments: [uid.blob])
        }
        var pids = Set(stored.map { CodePoints(String(blob: $0)) })
        let user = CodePoints(uid)
        for change in pending {
            switch change {
            case .post(let post) where CodePoints(post.uid) == user:
                pids.insert(CodePoints(post.pid))
            case .forgottenPost(let uid, let pid) where CodePoints(uid) == user:
                pids.remove(CodePoints(pid))
            default: break
            }
        }
        return pids.map(\.string).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The views that wait for their post, in the order of their numbers.
    package func earlyViews() throws(StoreError) -> [(view: ViewEvent, number: Int)] {
        let pending = pendingChanges()
        let stored = try read { database in
            try Row.fetchAll(
                database,
                sql: "SELECT uid, pid, number, views, observed_at FROM early_views")
        }
        var views: [RowKey: (view: ViewEvent, number: Int)] = [:]
        func take(_ change: StateChange) {
            guard let key = RowKey(change), case .earlyView = key else { return }
            if case .earlyView(let view, let number) = change {
                views[key] = (view, number)
            } else {
                views[key] = nil
            }
        }
        for row in stored {
            let view = ViewEvent(
                pid: String(blob: row[1]), uid: String(blob: row[0]), views: row[3],
                observedAt: row[4])
            take(.earlyView(view, number: row[2]))
        }
        for change in pending { take(change) }
        return views.values.sorted { left, right in
            if left.number != right.number { return left.number < right.number }
            let (one, other) = (left.view, right.view)
            return one.uid.utf8.elementsEqual(other.uid.utf8)
                ? one.pid.utf8.lexicographicallyPrecedes(other.pid.utf8)
                : one.uid.utf8.lexicographicallyPrecedes(other.uid.utf8)
        }
    }

    package struct Counts: Equatable, Sendable {
        /// Users, in all models.
        package var users: Int
        package var posts: Int
        package var earlyViews: Int
        /// The file with its write-ahead log.
        package var bytes: Int
    }

    /// What the file holds, for metrics. Takes some 30 ms with a million users.
    package func counts() throws(StoreError) -> Counts {
        try read { database in
            func count(_ table: String) throws -> Int {
                try Int.fetchOne(database, sql: "SELECT count(*) FROM \(table)") ?? 0
            }
            return Counts(
                users: try count("users"), posts: try count("posts"),
                earlyViews: try count("early_views"),
                bytes: fileSize(file.path) + fileSize(file.path + "-wal"))
        }
    }

    private func pending(_ key: RowKey) -> StateChange? {
        state.withLock { $0.waiting.change(key) ?? $0.writing.change(key) }
    }

    /// The earlier ones first.
    private func pendingChanges() -> [StateChange] {
        state.withLock { $0.writing.changes + $0.waiting.changes }
    }

    /// No transaction: each read is one statement.
    private func read<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        do {
            return try pool.unsafeRead(body)
        } catch {
            throw file.failure(error)
        }
    }

    private func unreadable(_ what: String) -> StoreError {
        file.failure(StoreError.corrupt(path: file.path, reason: "\(what) cannot be read"))
    }
}

func fileSize(_ path: String) -> Int {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : 0
}

extension TaskStore {
    fileprivate enum Schema {
        static let version = 1
        static let pageBytes = 8192

        /// What scoring reads stands apart from the records, which are ten times as long: restoring
        /// reads through `users` alone.
        static let tables = """
            CREATE TABLE users (
                id INTEGER PRIMARY KEY, uid BLOB NOT NULL, model BLOB NOT NULL,
                version INTEGER NOT NULL, label_count INTEGER NOT NULL, label_sum REAL NOT NULL,
                vector BLOB, UNIQUE (uid, model));
            CREATE TABLE user_records (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
            CREATE TABLE posts (
                id INTEGER PRIMARY KEY, uid BLOB NOT NULL, pid BLOB NOT NULL,
                posted_at REAL NOT NULL, value BLOB NOT NULL, UNIQUE (uid, pid));
            CREATE INDEX posts_by_time ON posts (posted_at);
            CREATE TABLE early_views (
                uid BLOB NOT NULL, pid BLOB NOT NULL, number INTEGER NOT NULL,
                views INTEGER NOT NULL, observed_at REAL NOT NULL,
                PRIMARY KEY (uid, pid, number)) WITHOUT ROWID;
            CREATE TABLE reached (
                id INTEGER PRIMARY KEY CHECK (id = 1), users INTEGER NOT NULL,
                joins INTEGER NOT NULL, encodings INTEGER, written_at REAL NOT NULL);
            """

        static let keepUser = """
            INSERT INTO users (uid, model, version, label_count, label_sum, vector)
            VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET version = excluded.version,
                label_count = excluded.label_count, label_sum = excluded.label_sum,
                vector = excluded.vector
            RETURNING id
            """
        static let keepRecord = "INSERT OR REPLACE INTO user_records VALUES (?, ?)"
        static let forgetRecord = """
            DELETE FROM user_records
            WHERE id = (SELECT id FROM users WHERE uid = ? AND model = ?)
            """
        static let forgetUser = "DELETE FROM users WHERE uid = ? AND model = ?"
        static let keepPost = """
            INSERT INTO posts (uid, pid, posted_at, value) VALUES (?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET posted_at = excluded.posted_at, value = excluded.value
            """
        static let forgetPost = "DELETE FROM posts WHERE uid = ? AND pid = ?"
        static let keepEarlyView = "INSERT OR REPLACE INTO early_views VALUES (?, ?, ?, ?, ?)"
        static let forgetEarlyView =
            "DELETE FROM early_views WHERE uid = ? AND pid = ? AND number = ?"

        static let user = """
            SELECT version, label_count, label_sum, vector FROM users
            WHERE uid = ? AND model = ?
            """
        static let users = """
            SELECT version, label_count, label_sum, vector, id, model, uid FROM users
            WHERE id > ? ORDER BY id LIMIT ?
            """
        static let record = """
            SELECT value FROM user_records
            WHERE id = (SELECT id FROM users WHERE uid = ? AND model = ?)
            """
        static let post = "SELECT value FROM posts WHERE uid = ? AND pid = ?"
    }
}

extension LearnedUser {
    /// Of a row that begins with version, label_count, label_sum and vector.
    fileprivate init(_ row: Row) throws {
        let (labelCount, labelSum): (Int, Double) = (row[1], row[2])
        self.init(
            version: row[0],
            vector: try row.withUnsafeData(atIndex: 3) { $0.map { [Float](blob: $0) } },
            labelCount: labelCount,
            labelMean: labelCount > 0 ? Float(labelSum / Double(labelCount)) : nil)
    }
}

// MARK: - The value bytes of the changelog's records

extension StateChange {
    fileprivate var recordValue: Data { Data(record.value ?? []) }
}

extension LearnerState {
    fileprivate init?(recordValue: Data, uid: String, model: String) {
        let key = StateChange.forgottenUser(uid: uid, model: model).record.key
        guard
            case .user(let state)? = try? StateChange(key: key, value: [UInt8](recordValue))
        else { return nil }
        self = state
    }
}

extension ScoredPost {
    fileprivate init?(recordValue: Data, uid: String, pid: String) {
        let key = StateChange.forgottenPost(uid: uid, pid: pid).record.key
        guard
            case .post(let post)? = try? StateChange(key: key, value: [UInt8](recordValue))
        else { return nil }
        self = post
    }
}

import Daemon
import Foundation
import Model
import Pipeline
import Testing

@Suite struct TaskStoreTests {
    @Test func whatIsAppliedIsSeenAtOnceAndIsThereAfterwards() throws {
        let folder = try TemporaryFolder()
        var post = scoredPost("p1", of: "ann")
        post.labels = [.init(horizon: 86_400, views: 12, observedAt: now + 90_000)]
        let view = ViewEvent(pid: "p9", uid: "bob", views: 3, observedAt: now)
        func check(_ store: TaskStore) throws {
            #expect(try store.learner(uid: "ann", model: "m1") == learner("ann", version: 3))
            #expect(try store.learner(uid: "ann", model: "m2") == nil)
            #expect(try store.learner(uid: "bob", model: "m1") == nil)
            #expect(try store.post(uid: "ann", pid: "p1") == post)
            #expect(try store.post(uid: "bob", pid: "p1") == nil)
            #expect(try store.pids(of: "ann") == ["p1", "p3"])
            #expect(try store.earlyViews().map(\.view) == [view])
            #expect(try store.earlyViews().map(\.number) == [5])
        }
        do {
            let store = try TaskStore(in: folder.state(), task: 3, now: now)
            #expect(store.begun == .noFile)
            #expect(store.reached == nil)
            store.apply(
                [
                    .user(learner("ann", version: 2)), .post(post),
                    .post(scoredPost("p2", of: "ann")), .post(scoredPost("p3", of: "ann")),
                    .earlyView(view, number: 5), .earlyView(view, number: 4),
                ], reached: reached(10))
            store.apply(
                [
                    .user(learner("ann", version: 3)), .forgottenPost(uid: "ann", pid: "p2"),
                    .user(learner("bob")), .forgottenUser(uid: "bob", model: "m1"),
                    .forgottenEarlyView(uid: "bob", pid: "p9", number: 4),
                ], reached: reached(20))
            try check(store)
            try store.flush()
            try check(store)
            #expect(store.pendingBytes == 0)
            let counts = try store.counts()
            #expect(counts.users == 1)
            #expect(counts.posts == 2)
            #expect(counts.earlyViews == 1)
            try store.close()
        }
        let store = try TaskStore(in: folder.state(), task: 3, now: now)
        #expect(store.begun == nil)
        #expect(store.reached == reached(20))
        try check(store)
        let other = try TemporaryFolder()
        #expect(try TaskStore(in: other.state(), task: 3, now: now).begun == .noFile)
    }

    /// The write-ahead log is cut anywhere, as by a kill or a power cut amid a write. Transaction n
    /// brings every user to version n, and the offset to n.
    @Test func rowsAndOffsetsAreNeverApart() throws {
        let folder = try TemporaryFolder()
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        let users = ["ann", "bob", "cleo"]
        for n in 1...20 {
            store.apply(
                users.map { .user(learner($0, version: n)) }, reached: reached(Int64(n)))
            try store.flush()
        }
        let left = try folder.leftByAKill()
        let log = try left.bytes("users-0.sqlite-wal")
        let size = log.count
        var seen: Set<Int64> = []
        for step in 0...60 {
            let cut = try TemporaryFolder()
            try cut.write(left.bytes("users-0.sqlite"), to: "users-0.sqlite")
            try cut.write(log.prefix(size * step / 60), to: "users-0.sqlite-wal")
            let store = try TaskStore(in: cut.state(), task: 0, now: now)
            let offset = store.reached?.users ?? 0
            seen.insert(offset)
            for uid in users {
                let state = try store.learner(uid: uid, model: "m1")
                #expect(state == (offset == 0 ? nil : learner(uid, version: Int(offset))))
            }
        }
        #expect(seen.contains(0) && seen.contains(20) && seen.count > 10)
    }

    @Test func aKilledProcessLosesNothingThatWasWritten() throws {
        let folder = try TemporaryFolder()
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        let changes = (0..<500).map { StateChange.user(learner("user \($0)", version: $0 + 1)) }
        store.apply(changes, reached: reached(500))
        try store.flush()
        let leftFolder = try folder.leftByAKill()
        let left = try TaskStore(in: leftFolder.state(), task: 0, now: now)
        #expect(left.reached == reached(500))
        #expect(try left.counts().users == 500)
        #expect(
            try left.learner(uid: "user 77", model: "m1") == learner("user 77", version: 78))
    }

    @Test func aFileThatIsNoDatabaseIsBegunAnew() throws {
        let folder = try TemporaryFolder()
        try folder.write(Data(repeating: 0x55, count: 50_000), to: "users-0.sqlite")
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        guard case .corrupt = store.begun else {
            Issue.record("begun: \(String(describing: store.begun))")
            return
        }
        store.apply([.user(learner("ann"))], reached: reached(1))
        try store.flush()
        #expect(try store.learner(uid: "ann", model: "m1") == learner("ann"))
    }

    @Test func damageFoundInUseIsToldAndGoneAtTheNextOpening() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try TaskStore(in: folder.state(), task: 0, now: now)
            store.apply(
                (0..<500).map { .user(learner("user \($0)", dimension: 512)) },
                reached: reached(500))
            try store.close()
        }
        try folder.change("users-0.sqlite") { bytes in
            bytes.replaceSubrange(
                (30 * 8192)..., with: Data(repeating: 0x55, count: bytes.count - 30 * 8192))
        }
        do {
            let store = try TaskStore(in: folder.state(), task: 0, now: now)
            #expect(store.reached == reached(500))
            var damaged = 0
            for i in 0..<500 {
                do {
                    _ = try store.learner(uid: "user \(i)", model: "m1")
                } catch {
                    if case .corrupt = error { damaged += 1 }
                }
            }
            #expect(damaged > 100)
        }
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        #expect(store.reached == nil)
        #expect(store.begun == .corrupt(reason: "found while it was in use"))
        #expect(try store.counts().users == 0)
    }

    @Test func aNewerSchemaAndAnotherGroupsFileAreRefusedAndLeftAlone() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try TaskStore(in: folder.state(), task: 0, now: now)
            store.apply([.user(learner("ann"))], reached: reached(1))
            try store.close()
        }
        let path = "\(folder.path)/users-0.sqlite"
        #expect(throws: StoreError.otherGroup(path: path, found: "uhan", expected: "trial")) {
            try TaskStore(in: folder.state(group: "trial"), task: 0, now: now)
        }
        // The schema's version stands at byte 60 of the file, big-endian.
        try folder.change("users-0.sqlite") { $0[63] = 9 }
        #expect(throws: StoreError.newerSchema(path: path, found: 9, known: 1)) {
            try TaskStore(in: folder.state(), task: 0, now: now)
        }
        try folder.change("users-0.sqlite") { $0[63] = 1 }
        #expect(try TaskStore(in: folder.state(), task: 0, now: now).reached == reached(1))
        try folder.change("users-0.sqlite") { $0[63] = 0 }
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        #expect(store.begun == .olderSchema)
        #expect(store.reached == nil)
    }

    @Test func aCheckpointThatMayHaveMissedATombstoneIsBegunAnew() throws {
        let folder = try TemporaryFolder()
        let age = TaskStore.maximumAgeSeconds
        do {
            let store = try TaskStore(in: folder.state(), task: 0, now: now)
            store.apply([.user(learner("ann"))], reached: reached(1))
            try store.close()
        }
        #expect(try TaskStore(in: folder.state(), task: 0, now: now + age).begun == nil)
        let store = try TaskStore(in: folder.state(), task: 0, now: now + age + 1)
        #expect(store.begun == .tooOld)
        #expect(store.reached == nil)
        #expect(try store.learner(uid: "ann", model: "m1") == nil)
    }

    @Test func aFolderThatCannotBeWrittenOrIsInUseSaysSo() throws {
        #expect {
            try StateFolder(path: "/proc/self/uhan", group: "uhan")
        } throws: { error in
            "\(error)".contains("/proc/self/uhan cannot be used: ")
        }
        let folder = try TemporaryFolder()
        let first = try folder.state()
        #expect(throws: StoreError.folderInUse(path: folder.path)) { try folder.state() }
        _ = first
    }

    @Test func aFullDiskHoldsUpTheFileAndNothingElse() throws {
        let folder = try TemporaryFolder()
        let store = try TaskStore(
            in: folder.state(), task: 0, maximumFileBytes: 64 * 8192, now: now)
        store.apply([.user(learner("ann"))], reached: reached(1))
        try store.flush()
        store.apply(
            (0..<500).map { .user(learner("user \($0)", dimension: 512)) }, reached: reached(2))
        let path = "\(folder.path)/users-0.sqlite"
        #expect(throws: StoreError.full(path: path)) { try store.flush() }
        // What could not be written is still known, and the file is as it was.
        #expect(try store.learner(uid: "user 499", model: "m1") != nil)
        #expect(store.pendingBytes > 500 * 2_048)
        #expect(store.reached == reached(1))
        let leftFolder = try folder.leftByAKill()
        let left = try TaskStore(in: leftFolder.state(), task: 0, now: now)
        #expect(left.reached == reached(1))
        #expect(try left.counts().users == 1)
        // Room comes back.
        store.apply(
            (0..<490).map { .forgottenUser(uid: "user \($0)", model: "m1") },
            reached: reached(3))
        try store.flush()
        #expect(store.failure == nil)
        #expect(store.reached == reached(3))
        #expect(try store.counts().users == 11)
    }

    @Test func nothingOfAForgottenUserStaysInTheFiles() throws {
        let folder = try TemporaryFolder()
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        var changes: [StateChange] = []
        for uid in ["ann-who-goes", "bob-who-stays"] {
            for version in 1...5 { changes.append(.user(learner(uid, version: version))) }
            changes += (0..<50).map { .post(scoredPost("post-\($0)-of-\(uid)", of: uid)) }
            changes.append(
                .earlyView(
                    ViewEvent(pid: "early-of-\(uid)", uid: uid, views: 1, observedAt: now),
                    number: 1))
        }
        for part in stride(from: 0, to: changes.count, by: 7) {
            store.apply(Array(changes[part..<min(part + 7, changes.count)]), reached: nil)
            try store.flush()
        }
        #expect(try !folder.files(containing: "ann-who-goes").isEmpty)
        var forgotten = try store.pids(of: "ann-who-goes").map {
            StateChange.forgottenPost(uid: "ann-who-goes", pid: $0)
        }
        #expect(forgotten.count == 50)
        forgotten.append(.forgottenUser(uid: "ann-who-goes", model: "m1"))
        forgotten.append(
            .forgottenEarlyView(uid: "ann-who-goes", pid: "early-of-ann-who-goes", number: 1))
        store.apply(forgotten, reached: reached(1))
        try store.flush()
        #expect(try folder.files(containing: "ann-who-goes") == [])
        #expect(try !folder.files(containing: "bob-who-stays").isEmpty)
        #expect(try store.pids(of: "bob-who-stays").count == 50)
    }

    /// Two forms of one name, equal to Swift's `String`, are two users.
    @Test func namesAreComparedByTheirBytes() throws {
        let (composed, decomposed) = ("Jos\u{E9}", "Jose\u{301}")
        #expect(composed == decomposed)
        let folder = try TemporaryFolder()
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        store.apply(
            [
                .user(learner(composed, version: 1)), .user(learner(decomposed, version: 2)),
                .post(scoredPost("p1", of: composed)), .post(scoredPost("p2", of: decomposed)),
            ], reached: nil)
        for _ in 0..<2 {
            #expect(try store.learner(uid: composed, model: "m1")?.labelCount == 1)
            #expect(try store.learner(uid: decomposed, model: "m1")?.labelCount == 2)
            #expect(try store.pids(of: composed) == ["p1"])
            #expect(try store.pids(of: decomposed) == ["p2"])
            try store.flush()
        }
        #expect(try store.learner(uid: "JOS\u{C9}", model: "m1") == nil)
    }

    @Test func postsTooOldForALabelGoInSteps() throws {
        let folder = try TemporaryFolder()
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        store.apply(
            (0..<25).map { .post(scoredPost("p\($0)", of: "ann", postedAt: now + Double($0))) },
            reached: nil)
        var gone: [String] = []
        while true {
            let step = try store.deleteExpired(postedBefore: now + 12, limit: 5)
            #expect(step.count <= 5)
            if step.isEmpty { break }
            gone += step.map(\.pid)
        }
        #expect(Set(gone) == Set((0..<12).map { "p\($0)" }) && gone.count == 12)
        #expect(try store.pids(of: "ann").count == 13)
        #expect(try store.post(uid: "ann", pid: "p11") == nil)
        #expect(try store.post(uid: "ann", pid: "p12") != nil)
    }

    /// A writer raises every user's version, thousands of times; whoever reads meanwhile sees each
    /// user complete, and never an older version than before.
    @Test func readersSeeCompleteRowsThatNeverGoBackWhileAWriterWorks() throws {
        let folder = try TemporaryFolder()
        let store = try TaskStore(in: folder.state(), task: 0, now: now)
        let users = (0..<20).map { "user \($0)" }
        store.apply(users.map { .user(learner($0, version: 1)) }, reached: nil)
        let isDone = Shared(0)
        let (reads, wrong) = (Shared(0), Shared(0))
        let read: @Sendable () -> Void = {
            var last = [Int](repeating: 0, count: users.count)
            repeat {
                for (i, uid) in users.enumerated() {
                    let state = try? store.learner(uid: uid, model: "m1")
                    guard let version = state?.current?.version,
                        state == learner(uid, version: version), version >= last[i]
                    else {
                        wrong.add(1)
                        continue
                    }
                    last[i] = version
                    reads.add(1)
                }
            } while isDone.value == 0
        }
        let write: @Sendable () -> Void = {
            for version in 2...200 {
                store.apply(
                    users.map { .user(learner($0, version: version)) },
                    reached: reached(Int64(version)))
                if version % 10 == 0 { try? store.flush() }
            }
            try? store.flush()
            isDone.set(1)
        }
        sideBySide([write, read, read])
        #expect(wrong.value == 0)
        #expect(reads.value >= 40)
        #expect(store.reached == reached(200))
        #expect(try store.learner(uid: "user 7", model: "m1")?.current?.version == 200)
    }
}

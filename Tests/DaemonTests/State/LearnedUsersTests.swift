import Daemon
import Model
import Pipeline
import Testing

@Suite struct LearnedUsersTests {
    private func store(_ folder: StateFolder, task: Int32 = 0) throws -> TaskStore {
        try TaskStore(in: folder, task: task, now: now)
    }

    @Test func aCommitIsSeenByTheNextLookup() throws {
        let folder = try TemporaryFolder()
        let store = try store(folder.state())
        let users = LearnedUsers(model: "m1", maximumBytes: 8 << 20)
        #expect(try users.user("ann", task: 0) == nil)
        users.add(store)
        try users.load(store)
        #expect(try users.user("ann", task: 0) == nil)
        users.commit(
            [.user(learner("ann", version: 2)), .user(learner("bob", model: "m2"))],
            reached: reached(1), task: 0)
        let ann = try users.user("ann", task: 0)
        #expect(ann?.version == 2)
        #expect(ann?.vector == learner("ann", version: 2).vectors[0].values)
        #expect(ann?.labelCount == 2)
        #expect(ann?.labelMean == 2.5)
        #expect(try users.user("ann", task: 1) == nil)
        // Another model's vector is never used.
        #expect(try users.user("bob", task: 0) == nil)
        var unlearned = learner("cleo", version: 3)
        unlearned.vectors = []
        users.commit([.user(unlearned)], reached: nil, task: 0)
        #expect(
            try users.user("cleo", task: 0)
                == LearnedUser(version: 0, vector: nil, labelCount: 3, labelMean: 2.5))
        users.commit([.forgottenUser(uid: "ann", model: "m1")], reached: reached(2), task: 0)
        #expect(try users.user("ann", task: 0) == nil)
        try store.flush()
        #expect(store.reached == reached(2))
        #expect(try store.learner(uid: "cleo", model: "m1") == unlearned)
    }

    @Test func whatIsNotInMemoryComesFromTheFileOnceAndSoDoesThatNothingIsThere() throws {
        let folder = try TemporaryFolder()
        let store = try store(folder.state())
        let users = LearnedUsers(model: "m1", maximumBytes: 8 << 20)
        users.add(store)
        try users.load(store)
        store.apply([.user(learner("ann"))], reached: nil)
        try store.flush()
        for _ in 0..<5 {
            #expect(try users.user("ann", task: 0)?.version == 1)
            #expect(try users.user("nobody", task: 0) == nil)
        }
        #expect(users.metrics.fileReads == 2)
        #expect(users.metrics.hits == 8)
        #expect(users.metrics.users == 1)
        #expect(users.metrics.absentUsers == 1)
    }

    @Test func aTaskThatComesIsReadIntoMemoryAndOneThatLeavesTakesItsUsersAlong() throws {
        let folder = try TemporaryFolder()
        let state = try folder.state()
        let users = LearnedUsers(model: "m1", maximumBytes: 8 << 20)
        for task in [0, 1] as [Int32] {
            let store = try store(state, task: task)
            store.apply(
                (0..<3_000).map { .user(learner("user \($0)", version: 10 * Int(task) + 1)) }
                    + [.user(learner("other", model: "m2"))], reached: nil)
            try store.flush()
            users.add(store)
            #expect(try users.load(store) == 3_000)
        }
        #expect(users.metrics.users == 6_000)
        #expect(try users.user("user 5", task: 0)?.version == 1)
        #expect(try users.user("user 5", task: 1)?.version == 11)
        #expect(users.metrics.fileReads == 0)
        users.drop(task: 0)
        #expect(users.metrics.users == 3_000)
        #expect(try users.user("user 5", task: 0) == nil)
        #expect(try users.user("user 5", task: 1)?.version == 11)
        users.drop(task: 1)
        #expect(users.metrics.users == 0)
        #expect(users.metrics.bytes == 0)
    }

    /// Nothing is lost by an eviction, whether or not the file has the change already.
    @Test func theBudgetIsKeptAndWhatIsEvictedIsStillKnown() throws {
        let folder = try TemporaryFolder()
        let maximum = 2 << 20
        let store = try store(folder.state())
        let users = LearnedUsers(model: "m1", maximumBytes: maximum)
        users.add(store)
        try users.load(store)
        var versions: [String: Int] = [:]
        var generator = SplitMix64(seed: 3)
        for step in 0..<6_000 {
            let uid = "user \(generator.next() % 2_000)"
            switch generator.next() % 10 {
            case 0:
                users.commit([.forgottenUser(uid: uid, model: "m1")], reached: nil, task: 0)
                versions[uid] = nil
            case 1..<5:
                let version = 1 + step % 50
                users.commit(
                    [.user(learner(uid, version: version, dimension: 512))], reached: nil, task: 0)
                versions[uid] = version
            default:
                #expect(try users.user(uid, task: 0)?.version == versions[uid])
            }
            #expect(users.metrics.bytes <= maximum)
        }
        #expect(users.metrics.evictions > 200)
        #expect(users.metrics.users > 700)
    }

    /// Against the plainest thing that keeps the same rule: a list in the order of use.
    @Test func theTableKeepsWhatAPlainListWouldKeep() {
        for seed in 0..<40 as Range<UInt64> {
            var generator = SplitMix64(seed: seed)
            let budget = Int(generator.next() % 6_000)
            var table = LearnedUserTable(maximumBytes: budget)
            var list: [(uid: String, task: Int32, version: Int, bytes: Int)] = []
            for step in 1...1_500 {
                let uid = String(repeating: "u", count: Int(generator.next() % 12))
                let task = Int32(generator.next() % 2)
                let key = UserKey(uid: uid, task: task)
                let found = list.firstIndex { $0.uid == uid && $0.task == task }
                switch generator.next() % 8 {
                case 0:
                    table.remove(key)
                    if let found { list.remove(at: found) }
                case 1 where step % 50 == 0:
                    var place: Int? = 1
                    while let start = place {
                        place = table.removeAll(of: task, from: start, limit: 3)
                    }
                    list.removeAll { $0.task == task }
                case 1...3:
                    #expect(
                        table.entry(for: key)?.user?.version == found.map { list[$0].version })
                    if let found { list.append(list.remove(at: found)) }
                default:
                    let user = LearnedUser(
                        version: step,
                        vector: [Float](repeating: 1, count: Int(generator.next() % 300)),
                        labelCount: 1, labelMean: nil)
                    let entry = UserEntry(key, user)
                    if let found { list.remove(at: found) }
                    var evicted = 0
                    if entry.byteCount <= budget {
                        var held = list.reduce(0) { $0 + $1.bytes }
                        while held + entry.byteCount > budget {
                            held -= list.removeFirst().bytes
                            evicted += 1
                        }
                        list.append((uid, task, step, entry.byteCount))
                    }
                    #expect(table.keep(entry, for: key) == evicted)
                    if !list.isEmpty, list.last?.version == step {
                        #expect(table.entry(for: key)?.user == user)
                    }
                }
                #expect(table.count == list.count)
                #expect(table.byteCount == list.reduce(0) { $0 + $1.bytes })
                #expect(table.byteCount <= budget)
            }
        }
    }

    /// One thread commits ever newer versions, others look up with far too little memory, and a
    /// lookup never sees a version older than one committed before it began.
    @Test func noLookupSeesWhatWasReplacedBeforeItBegan() throws {
        let folder = try TemporaryFolder()
        let store = try store(folder.state())
        let users = LearnedUsers(model: "m1", maximumBytes: 1 << 20)
        users.add(store)
        try users.load(store)
        let names = (0..<1_200).map { "user \($0)" }
        for name in names {
            users.commit(
                [.user(learner(name, version: 1, dimension: 512))], reached: nil, task: 0)
        }
        let committed = Shared(1)
        let isDone = Shared(0)
        let (lookups, wrong) = (Shared(0), Shared(0))
        let commit: @Sendable () -> Void = {
            // Until the others have had their turns, on however busy a machine.
            for version in 2...500 where version < 8 || lookups.value < 2_000 {
                for name in names {
                    users.commit(
                        [.user(learner(name, version: version, dimension: 512))], reached: nil,
                        task: 0)
                }
                committed.set(version)
            }
            isDone.set(1)
        }
        let look: @Sendable () -> Void = {
            var generator = SplitMix64(seed: 9)
            repeat {
                let name = names[Int(generator.next() % UInt64(names.count))]
                let least = committed.value
                let user = try? users.user(name, task: 0)
                let isRight =
                    user.map {
                        $0.version >= least
                            && $0.vector
                                == learner(name, version: $0.version, dimension: 512)
                                .current?.values
                    } ?? false
                if !isRight { wrong.add(1) }
                lookups.add(1)
            } while isDone.value == 0
        }
        sideBySide([commit, look, look])
        #expect(wrong.value == 0)
        #expect(lookups.value >= 2_000)
        #expect(users.metrics.evictions > 0)
    }
}

import ArgumentParser
import Daemon
import Dispatch
import Glibc
import Model
import Pipeline
import Synchronization

struct BenchUsers: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "users",
        abstract: "Learned users in memory and on disk: how many, how fast, how much room.",
        discussion: """
            Writes a checkpoint of users with a vector of noise each, opens it again with nothing of \
            it in the system's cache, reads it into memory, and looks users up by chance: all in \
            memory, while a writer commits at full speed, with too little memory, and from disk.

            Takes about 6 KB of disk a user at dimension 512; what was written is deleted in the end. \
            The floor of restoring is the file read from start to end, or its vectors copied once \
            in memory.

              uhan bench users --count 100000
              uhan bench users --count 1000000 --folder /var/tmp --json
            """)

    @Option(help: "Users.")
    var count = 100_000

    @Option(help: "Values of a vector.")
    var dimension = 512

    @Option(help: "Put the files into a new folder in this one.")
    var folder = "/tmp"

    @Option(help: "Memory in MB where users make room for others.")
    var budget = 256

    @Option(help: "Lookups of each kind.")
    var lookups = 500_000

    @Flag(help: "Print the result as one line of JSON on stdout.")
    var json = false

    func validate() throws {
        if !(1_000...10_000_000).contains(count) {
            throw ValidationError("--count is 1000 to 10000000")
        }
        if !(1...4096).contains(dimension) { throw ValidationError("--dimension is 1 to 4096") }
        if !(1...1_000_000).contains(budget) { throw ValidationError("--budget is 1 to 1000000") }
        if !(1_000...10_000_000).contains(lookups) {
            throw ValidationError("--lookups is 1000 to 10000000")
        }
    }

    private struct Result: Encodable {
        let benchmark = "users"
        let count: Int
        let dimension: Int
        var fill = Fill()
        var restore = Restore()
        var memory = Memory()
        var lookup_ns = Percentiles()
        var lookup_while_writing_ns = Percentiles()
        var commits_per_second_meanwhile = 0.0
        var lookup_absent_ns = Percentiles()
        var lookup_from_disk_us = Percentiles()
        var evicting = Evicting()
        var encodings = Encodings()

        struct Fill: Encodable {
            var seconds = 0.0
            var users_per_second = 0.0
            var megabytes_per_second = 0.0
            var file_bytes = 0
        }
        struct Restore: Encodable {
            var open_ms = 0.0
            var load_seconds = 0.0
            var load_again_seconds = 0.0
            var floor_disk_seconds = 0.0
            var floor_memory_seconds = 0.0
        }
        struct Memory: Encodable {
            var at_start_bytes = 0
            /// Since then, with all that writing and SQLite have taken for themselves.
            var resident_bytes = 0
            var bytes_per_user = 0.0
            var vector_bytes_per_user = 0
            var accounted_bytes = 0
        }
        struct Evicting: Encodable {
            var budget_bytes = 0
            var accounted_bytes = 0
            var users = 0
            var evictions = 0
            var file_reads = 0
            var hit_ns = Percentiles()
            var lookup_ns = Percentiles()
        }
        struct Encodings: Encodable {
            var bytes = 0
            var keep_us = Percentiles()
            var keep_evicting_us = Percentiles()
            var keep_while_checkpointing_us = Percentiles()
            var read_us = Percentiles()
            var megabytes_per_second = 0.0
        }
    }

    private struct Percentiles: Encodable {
        var p50 = 0.0
        var p99 = 0.0
        var p999 = 0.0
        var max = 0.0

        init() {}

        init(_ nanoseconds: [UInt64], unit: Double = 1) {
            let sorted = nanoseconds.sorted()
            func at(_ share: Double) -> Double {
                guard let last = sorted.last else { return 0 }
                let place = Int(share * Double(sorted.count))
                return Double(place < sorted.count ? sorted[place] : last) / unit
            }
            (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), at(1))
        }

        var text: String {
            [p50, p99, p999, max].map { rounded($0, $0 < 100 ? 1 : 0) }.joined(separator: " / ")
        }
    }

    func run() throws {
        var template = Array("\(folder)/uhan-bench-users-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw ValidationError("\(folder): \(String(cString: strerror(errno)))")
        }
        let path = String(cString: made)
        defer {
            for name in [
                "users-0.sqlite", "users-0.sqlite-wal", "users-0.sqlite-shm", "lock",
                "encodings-0.sqlite", "encodings-0.sqlite-journal",
            ] { unlink("\(path)/\(name)") }
            rmdir(path)
        }
        var result = Result(count: count, dimension: dimension)
        let state = try StateFolder(path: path, group: "bench")
        result.memory.at_start_bytes = residentBytes()
        let file = "\(path)/users-0.sqlite"

        try fill(state, file, &result)
        let store = try restore(state, file, &result)
        try evict(store, &result)
        try keepEncodings(state, store, &result)
        try store.close()
        if json { try printJSON(result) }
    }

    private func fill(_ state: StateFolder, _ file: String, _ result: inout Result) throws {
        let store = try TaskStore(in: state, task: 0, now: 0)
        let start = monotonicNanoseconds()
        for first in stride(from: 0, to: count, by: 2_000) {
            let changes = (first..<min(first + 2_000, count)).map { StateChange.user(learner($0)) }
            store.apply(changes, reached: reached(first))
            if store.isBehind { try store.flush() }
        }
        try store.flush()
        result.fill.seconds = seconds(since: start)
        try store.close()
        result.fill.file_bytes = bytes(of: file)
        result.fill.users_per_second = Double(count) / result.fill.seconds
        result.fill.megabytes_per_second =
            Double(result.fill.file_bytes) / result.fill.seconds / 1e6
        say(
            "written: \(rounded(result.fill.users_per_second, 0)) users/s, "
                + "\(rounded(result.fill.megabytes_per_second, 0)) MB/s, "
                + "\(result.fill.file_bytes / count) bytes of file a user")
    }

    private func restore(
        _ state: StateFolder, _ file: String, _ result: inout Result
    ) throws -> TaskStore {
        forgetCached(file)
        result.restore.floor_disk_seconds = try readThrough(file)
        forgetCached(file)
        result.restore.floor_memory_seconds = copyVectors()

        var start = monotonicNanoseconds()
        let store = try TaskStore(in: state, task: 0, now: 0)
        result.restore.open_ms = seconds(since: start) * 1e3
        let users = learnedUsers(megabytes: 0)
        start = monotonicNanoseconds()
        let read = try users.load(store)
        result.restore.load_seconds = seconds(since: start)
        guard read == count else { throw ValidationError("\(read) of \(count) users were read") }
        result.memory.resident_bytes = residentBytes() - result.memory.at_start_bytes
        result.memory.bytes_per_user = Double(result.memory.resident_bytes) / Double(count)
        result.memory.vector_bytes_per_user = 4 * dimension
        result.memory.accounted_bytes = users.metrics.bytes
        say(
            "restored: opened in \(rounded(result.restore.open_ms, 1)) ms, read in "
                + "\(rounded(result.restore.load_seconds, 2)) s (least possible: disk "
                + "\(rounded(result.restore.floor_disk_seconds, 2)) s, memory "
                + "\(rounded(result.restore.floor_memory_seconds, 2)) s)")
        say(
            "memory: \(result.memory.resident_bytes >> 20) MB resident, "
                + "\(rounded(result.memory.bytes_per_user, 0)) bytes a user, "
                + "\(4 * dimension) of them vectors")

        result.lookup_ns = try lookUp(users, lookups)
        result.lookup_absent_ns = try lookUp(users, lookups, absent: true)
        say("looked up: \(result.lookup_ns.text) ns (p50 / p99 / p99.9 / max)")
        say("nothing learnt: \(result.lookup_absent_ns.text) ns")

        let writer = Writer()
        let group = DispatchGroup()
        let work = self
        DispatchQueue.global().async(group: group) {
            var generator = SplitMix64(seed: 77)
            while !writer.isStopped.load(ordering: .relaxed) {
                let index = Int(generator.next() % UInt64(work.count))
                users.commit(
                    [.user(work.learner(index))], reached: work.reached(index), task: 0)
                writer.commits.add(1, ordering: .relaxed)
                if store.isBehind { try? store.flush() }
            }
        }
        start = monotonicNanoseconds()
        result.lookup_while_writing_ns = try lookUp(users, 4 * lookups)
        let commits = writer.commits.load(ordering: .relaxed)
        result.commits_per_second_meanwhile = Double(commits) / seconds(since: start)
        writer.isStopped.store(true, ordering: .relaxed)
        group.wait()
        try store.flush()
        say(
            "looked up while a writer commits and checkpoints "
                + "\(rounded(result.commits_per_second_meanwhile, 0)) users/s: "
                + "\(result.lookup_while_writing_ns.text) ns")
        users.drop(task: 0)

        let again = learnedUsers(megabytes: 0)
        start = monotonicNanoseconds()
        try again.load(store)
        result.restore.load_again_seconds = seconds(since: start)
        say(
            "read again, from the system's cache: \(rounded(result.restore.load_again_seconds, 2)) s"
        )
        return store
    }

    private func evict(_ store: TaskStore, _ result: inout Result) throws {
        let disk = learnedUsers(megabytes: 1)
        disk.drop(task: 0)
        disk.add(store)
        result.lookup_from_disk_us = try lookUp(disk, min(lookups, 100_000), unit: 1e3)
        say("looked up from the file: \(result.lookup_from_disk_us.text) us")

        let users = learnedUsers(megabytes: budget)
        try users.load(store)
        result.evicting.lookup_ns = try lookUp(users, lookups)
        let metrics = users.metrics
        result.evicting.budget_bytes = users.maximumBytes
        result.evicting.accounted_bytes = metrics.bytes
        result.evicting.users = metrics.users
        result.evicting.evictions = metrics.evictions
        result.evicting.file_reads = metrics.fileReads

        // Whoever was looked up last is held: what a hit costs while others make room.
        let evictor = Writer()
        let group = DispatchGroup()
        let work = self
        DispatchQueue.global().async(group: group) {
            var generator = SplitMix64(seed: 78)
            while !evictor.isStopped.load(ordering: .relaxed) {
                let index = Int(generator.next() % UInt64(work.count))
                _ = try? users.user(work.uid(index), task: 0)
            }
        }
        var (times, generator) = ([UInt64](), SplitMix64(seed: 79))
        let hot = (0..<min(500, count)).map(uid)
        for uid in hot { _ = try users.user(uid, task: 0) }
        for _ in 0..<lookups {
            let uid = hot[Int(generator.next() % UInt64(hot.count))]
            let start = monotonicNanoseconds()
            let user = try users.user(uid, task: 0)
            times.append(monotonicNanoseconds() - start)
            guard user?.vector?.count == dimension else { throw Missing(uid: uid) }
        }
        evictor.isStopped.store(true, ordering: .relaxed)
        group.wait()
        result.evicting.hit_ns = Percentiles(times)
        say(
            "with \(budget) MB: \(metrics.users) users in \(metrics.bytes >> 20) MB, "
                + "\(metrics.evictions) evictions, \(result.evicting.lookup_ns.text) ns; "
                + "hits while others make room \(result.evicting.hit_ns.text) ns")
    }

    private func keepEncodings(
        _ state: StateFolder, _ checkpoint: TaskStore, _ result: inout Result
    ) throws {
        let (posts, size) = (1_000, 126 << 10)
        let store = try EncodingStore(in: state, task: 0, maximumBytes: posts * (129 << 10))
        var generator = SplitMix64(seed: 5)
        let encoding = (0..<size).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        func keep(_ range: Range<Int>) throws -> [UInt64] {
            try range.map { post in
                let start = monotonicNanoseconds()
                try store.keep(uid: uid(post % 97), pid: "p\(post)", model: "m", bytes: encoding)
                return monotonicNanoseconds() - start
            }
        }
        let start = monotonicNanoseconds()
        result.encodings.keep_us = Percentiles(try keep(0..<posts), unit: 1e3)
        result.encodings.megabytes_per_second =
            Double(posts * size) / seconds(since: start) / 1e6
        result.encodings.bytes = size
        result.encodings.keep_evicting_us = Percentiles(
            try keep(posts..<(posts + posts / 2)), unit: 1e3)
        let reads = try (0..<posts).map { _ in
            let post = posts / 2 + Int(generator.next() % UInt64(posts))
            let start = monotonicNanoseconds()
            let bytes = try store.bytes(uid: uid(post % 97), pid: "p\(post)", model: "m")
            guard bytes?.count == size else { throw Missing(uid: "p\(post)") }
            return monotonicNanoseconds() - start
        }
        result.encodings.read_us = Percentiles(reads, unit: 1e3)
        checkpoint.apply((0..<min(20_000, count)).map { .user(learner($0)) }, reached: nil)
        result.encodings.keep_while_checkpointing_us = Percentiles(
            try keep((2 * posts)..<(2 * posts + posts / 2)), unit: 1e3)
        try store.close()
        say(
            "encodings of \(size >> 10) KB: kept in \(result.encodings.keep_us.text) us "
                + "(\(rounded(result.encodings.megabytes_per_second, 0)) MB/s), "
                + "\(result.encodings.keep_evicting_us.text) us where another makes room, "
                + "\(result.encodings.keep_while_checkpointing_us.text) us beside a checkpoint, "
                + "read in \(result.encodings.read_us.text) us")
    }

    /// Looks up users by chance, each timed.
    private func lookUp(
        _ users: LearnedUsers, _ lookups: Int, absent: Bool = false, unit: Double = 1
    ) throws -> Percentiles {
        var generator = SplitMix64(seed: 31)
        var times: [UInt64] = []
        times.reserveCapacity(lookups)
        // The first of nothing learnt asks the file, and is not what is measured.
        let some = (0..<1_000).map { "nobody \($0)" }
        if absent { for uid in some { _ = try users.user(uid, task: 0) } }
        for _ in 0..<lookups {
            let place = Int(generator.next() % UInt64(absent ? some.count : count))
            let uid = absent ? some[place] : uid(place)
            let start = monotonicNanoseconds()
            let user = try users.user(uid, task: 0)
            times.append(monotonicNanoseconds() - start)
            guard (user?.vector?.count == dimension) != absent else { throw Missing(uid: uid) }
        }
        return Percentiles(times, unit: unit)
    }

    private struct Missing: Error, CustomStringConvertible {
        let uid: String
        var description: String { "'\(uid)' was not found as written" }
    }

    private final class Writer: Sendable {
        let isStopped = Atomic(false)
        let commits = Atomic(0)
    }

    /// 0 is enough for all users.
    private func learnedUsers(megabytes: Int) -> LearnedUsers {
        LearnedUsers(
            model: "m",
            maximumBytes: megabytes > 0 ? megabytes << 20 : 2 * count * (4 * dimension + 256))
    }

    private func uid(_ index: Int) -> String { "\(10_000_000 + index)@N00" }

    private func learner(_ index: Int) -> LearnerState {
        var state = LearnerState(uid: uid(index), model: "m")
        var generator = SplitMix64(seed: UInt64(index))
        let values = (0..<dimension).map { _ in Float(generator.next() >> 40) / 8_388_608 - 1 }
        state.vectors = [.init(version: 1, values: values, learnedAt: 0, labels: 4)]
        (state.labelCount, state.labelSum) = (4, 12)
        return state
    }

    private func reached(_ offset: Int) -> Reached {
        Reached(users: Int64(offset), joins: 0, writtenAt: 0)
    }

    private func seconds(since start: UInt64) -> Double {
        Double(monotonicNanoseconds() - start) / 1e9
    }

    private func bytes(of file: String) -> Int {
        var status = stat()
        return stat(file, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Of this process, without pages of files.
    private func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
        let text = line.withUnsafeBufferPointer { $0.baseAddress.map(String.init(cString:)) ?? "" }
        let pages = text.split(separator: " ").compactMap { Int($0) }
        return pages.count > 2 ? (pages[1] - pages[2]) * sysconf(Int32(_SC_PAGESIZE)) : 0
    }

    private func forgetCached(_ file: String) {
        let descriptor = open(file, O_RDONLY)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        close(descriptor)
    }

    /// The file, from start to end.
    private func readThrough(_ file: String) throws -> Double {
        let descriptor = open(file, O_RDONLY)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        let start = monotonicNanoseconds()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while buffer.withUnsafeMutableBytes({ read(descriptor, $0.baseAddress, $0.count) }) > 0 {}
        return seconds(since: start)
    }

    /// All vectors, copied once from memory into memory that was not used yet.
    private func copyVectors() -> Double {
        let source = [Float](repeating: 1, count: dimension * 1_000)
        let start = monotonicNanoseconds()
        for _ in 0..<max(1, count / 1_000) {
            let size = 4 * source.count
            guard
                let target = mmap(
                    nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                target != MAP_FAILED
            else { return 0 }
            source.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(start: target, count: size).copyMemory(from: $0)
            }
            munmap(target, size)
        }
        return seconds(since: start)
    }
}

import Daemon
import Foundation
import Model
import Testing

@Suite struct EncodingStoreTests {
    private func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SplitMix64(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }

    private func holds(
        _ store: EncodingStore, uid: String, pid: String, model: String = "m1", _ bytes: [UInt8]?
    ) throws -> Bool {
        let kept: [UInt8]? = try store.bytes(uid: uid, pid: pid, model: model)
        return kept == bytes
    }

    @Test func whatWasKeptOutlivesAKill() throws {
        let folder = try TemporaryFolder()
        let store = try EncodingStore(in: folder.state(), task: 2, maximumBytes: 10 << 20)
        for i in 0..<20 {
            try store.keep(
                uid: "ann", pid: "p\(i)", model: "m1", bytes: bytes(126 << 10, seed: UInt64(i)))
        }
        try store.keep(uid: "ann", pid: "p3", model: "m1", bytes: bytes(5, seed: 99))
        let leftFolder = try folder.leftByAKill()
        let left = try EncodingStore(
            in: leftFolder.state(), task: 2, maximumBytes: 10 << 20)
        #expect(left.metrics.encodings == 20)
        #expect(left.metrics.bytes == store.metrics.bytes)
        for store in [store, left] {
            #expect(try holds(store, uid: "ann", pid: "p7", bytes(126 << 10, seed: 7)))
            #expect(try holds(store, uid: "ann", pid: "p3", bytes(5, seed: 99)))
            #expect(try holds(store, uid: "ann", pid: "p7", model: "m2", nil))
            #expect(try holds(store, uid: "bob", pid: "p7", nil))
        }
    }

    @Test func theOldestUnlabelledMakeRoomAndThenTheOldestLabelled() throws {
        let folder = try TemporaryFolder()
        let one = 32_768 + 512
        let store = try EncodingStore(in: folder.state(), task: 0, maximumBytes: 6 * one)
        func keep(_ pid: String) throws {
            try store.keep(uid: "ann", pid: pid, model: "m1", bytes: bytes(30_000, seed: 1))
        }
        func kept() throws -> [String] {
            try ["a", "b", "c", "d", "e", "f", "g", "h", "i"].filter {
                try store.bytes(uid: "ann", pid: $0, model: "m1") != nil
            }
        }
        for pid in ["a", "b", "c", "d", "e", "f"] { try keep(pid) }
        try store.markLabelled(uid: "ann", pids: ["a", "c"])
        try keep("g")
        #expect(try kept() == ["a", "c", "d", "e", "f", "g"])
        try store.markLabelled(uid: "ann", pids: ["d", "e", "f", "g"])
        try keep("h")
        #expect(try kept() == ["c", "d", "e", "f", "g", "h"])
        try keep("i")
        #expect(try kept() == ["c", "d", "e", "f", "g", "i"])
        #expect(store.metrics.evictedUnlabelled == 2)
        #expect(store.metrics.evictedLabelled == 1)
        #expect(store.metrics.bytes == 6 * one)
    }

    /// Random operations against a plain dictionary; the file stays within the budget, but for the
    /// tables beside.
    @Test func theFileStaysWithinItsBudget() throws {
        let folder = try TemporaryFolder()
        let maximum = 4 << 20
        let store = try EncodingStore(in: folder.state(), task: 0, maximumBytes: maximum)
        var generator = SplitMix64(seed: 5)
        var everKept: [String: [UInt8]] = [:]
        for step in 0..<400 {
            let (uid, pid) = ("u\(generator.next() % 3)", "p\(generator.next() % 90)")
            switch generator.next() % 8 {
            case 0:
                try store.delete(uid: uid, pids: [pid])
                everKept[uid + pid] = nil
            case 1: try store.markLabelled(uid: uid, pids: [pid])
            default:
                let bytes = bytes(Int(generator.next() % (128 << 10)), seed: UInt64(step))
                try store.keep(uid: uid, pid: pid, model: "m1", bytes: bytes)
                everKept[uid + pid] = bytes
                #expect(try holds(store, uid: uid, pid: pid, bytes))
            }
            #expect(store.metrics.bytes <= maximum)
        }
        #expect(store.metrics.evictedUnlabelled > 10)
        var found = 0
        for uid in ["u0", "u1", "u2"] {
            for pid in (0..<90).map({ "p\($0)" }) {
                guard let kept = try store.bytes(uid: uid, pid: pid, model: "m1") else { continue }
                let last: [UInt8]? = everKept[uid + pid]
                let isTheLast = kept == last
                #expect(isTheLast)
                found += 1
            }
        }
        #expect(found == store.metrics.encodings)
        try store.close()
        #expect(try folder.bytes("encodings-0.sqlite").count <= maximum + (256 << 10))
    }

    @Test func aForgottenUsersEncodingsLeaveNoBytes() throws {
        let folder = try TemporaryFolder()
        let store = try EncodingStore(in: folder.state(), task: 0, maximumBytes: 10 << 20)
        let marks = ["ann": "the-mark-of-ann", "bob": "the-mark-of-bob"]
        for (uid, mark) in marks {
            for i in 0..<5 {
                let text = String(repeating: mark, count: 5_000)
                try store.keep(uid: uid, pid: "\(uid)\(i)", model: "m1", bytes: Array(text.utf8))
            }
        }
        try store.deleteAll(uid: "ann")
        #expect(try folder.files(containing: "the-mark-of-ann") == [])
        #expect(try folder.files(containing: "the-mark-of-bob") == ["encodings-0.sqlite"])
        #expect(store.metrics.encodings == 5)
        #expect(try holds(store, uid: "ann", pid: "ann1", nil))
    }

    @Test func aDamagedEncodingCountsAsLost() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try EncodingStore(in: folder.state(), task: 0, maximumBytes: 10 << 20)
            try store.keep(
                uid: "ann", pid: "p1", model: "m1", bytes: [UInt8](repeating: 7, count: 100_000))
            try store.keep(
                uid: "ann", pid: "p2", model: "m1", bytes: [UInt8](repeating: 8, count: 100_000))
            try store.close()
        }
        try folder.change("encodings-0.sqlite") { bytes in
            let run = bytes.range(of: Data(repeating: 7, count: 10_000))
            if let run { bytes[run.lowerBound + 5_000] = 6 }
        }
        let store = try EncodingStore(in: folder.state(), task: 0, maximumBytes: 10 << 20)
        #expect(try holds(store, uid: "ann", pid: "p1", nil))
        #expect(
            try holds(store, uid: "ann", pid: "p2", [UInt8](repeating: 8, count: 100_000)))
        #expect(store.metrics.damaged == 1)
    }

    @Test func aDamagedFileIsBegunAnewAndTooLargeAnEncodingIsRefused() throws {
        let folder = try TemporaryFolder()
        try folder.write(Data(repeating: 0x55, count: 50_000), to: "encodings-0.sqlite")
        let store = try EncodingStore(in: folder.state(), task: 0, maximumBytes: 10 << 20)
        guard case .corrupt = store.begun else {
            Issue.record("begun: \(String(describing: store.begun))")
            return
        }
        let maximum = EncodingStore.maximumEncodingBytes
        #expect(
            throws: StoreError.tooLarge(pid: "p", byteCount: maximum + 1, maximumBytes: maximum)
        ) {
            try store.keep(
                uid: "u", pid: "p", model: "m",
                bytes: [UInt8](repeating: 1, count: maximum + 1))
        }
        try store.keep(uid: "u", pid: "p", model: "m", bytes: [1, 2, 3])
        #expect(try holds(store, uid: "u", pid: "p", model: "m", [1, 2, 3]))
    }
}

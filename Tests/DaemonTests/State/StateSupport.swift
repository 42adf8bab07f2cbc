import Daemon
import Foundation
import Model
import Pipeline
import Synchronization

/// A state folder that goes away with the test.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("uhan-state-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func state(group: String = "uhan") throws -> StateFolder {
        try StateFolder(path: path, group: group)
    }

    func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func write(_ bytes: Data, to name: String) throws {
        try bytes.write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func change(_ name: String, _ body: (inout Data) -> Void) throws {
        var bytes = try bytes(name)
        body(&bytes)
        try write(bytes, to: name)
    }

    /// What a process that was killed now would leave: what it has written, closed or not.
    func leftByAKill() throws -> TemporaryFolder {
        let left = try TemporaryFolder()
        for name in try FileManager.default.contentsOfDirectory(atPath: path)
        where !name.hasSuffix("-shm") && name != "lock" {
            try left.write(bytes(name), to: name)
        }
        return left
    }

    /// Names of the files that hold the text.
    func files(containing text: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).filter {
            try bytes($0).range(of: Data(text.utf8)) != nil
        }.sorted()
    }
}

let now = 1_700_000_000.0

func reached(_ offset: Int64, at time: Double = now) -> Reached {
    Reached(users: offset, joins: 2 * offset, encodings: nil, writtenAt: time)
}

/// A user who has learnt `version` times, all figures following from it.
func learner(
    _ uid: String, model: String = "m1", version: Int = 1, dimension: Int = 8
) -> LearnerState {
    var state = LearnerState(uid: uid, model: model)
    var generator = SplitMix64(seed: UInt64(version))
    let values = (0..<dimension).map { _ in
        Float(generator.next() >> 40) / 16_777_216 - 0.5
    }
    state.vectors = [
        .init(version: version, values: values, learnedAt: now + Double(version), labels: version)
    ]
    state.posts = [
        .init(
            pid: "p\(version)", label: 3.25, postedAt: now, observedAt: now + 1, number: version)
    ]
    state.labelCount = version
    state.labelSum = 2.5 * Double(version)
    return state
}

func scoredPost(_ pid: String, of uid: String, postedAt: Double = now) -> ScoredPost {
    ScoredPost(
        pid: pid, uid: uid, model: "m1", postedAt: postedAt, score: 4.5, userVector: "v3",
        frozenScore: 4.25, userMean: 3.75, userLabels: 7)
}

/// Runs the bodies side by side, each on a thread of its own.
func sideBySide(_ bodies: [@Sendable () -> Void]) {
    let group = DispatchGroup()
    for body in bodies {
        group.enter()
        Thread.detachNewThread {
            body()
            group.leave()
        }
    }
    group.wait()
}

/// A number that several threads raise and read.
final class Shared: Sendable {
    private let atomic: Atomic<Int>
    init(_ value: Int) { atomic = Atomic(value) }
    var value: Int { atomic.load(ordering: .acquiring) }
    func set(_ value: Int) { atomic.store(value, ordering: .releasing) }
    func add(_ value: Int) { atomic.add(value, ordering: .relaxed) }
}

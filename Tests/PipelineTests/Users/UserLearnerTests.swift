import Glibc
import Model
import Pipeline
import Testing

/// Users of a small seeded bundle, who learn from kept encodings.
@Suite final class UserLearnerTests {
    private let folder: String
    private let bundle: ModelBundle
    /// What is kept of posts "p0"..."p7": text and image, image alone, text alone, in turn.
    private let kept: [String: [UInt8]]

    init() throws {
        var template = Array("/tmp/uhan-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ModelError.malformed(path: "/tmp", reason: "no folder can be made there")
        }
        let folder = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.folder = folder
        var seeded = SeededBundle(seed: 3)
        (seeded.dimension, seeded.dense, seeded.side) = (16, [16, 16], 64)
        (seeded.blocks, seeded.words) = ([[4], [4], [6]], ["aa", "bb", "cc", "dd", "ee"])
        _ = try seeded.write(to: folder, workers: Workers(count: 1)) { _ in }
        bundle = try ModelBundle(folder: folder)

        let head = Head(weights: bundle.head, workers: Workers(count: 1))
        var random = NormalNumbers(seed: 1)
        var kept: [String: [UInt8]] = [:]
        for number in 0..<8 {
            let features = (0..<64 * 6).map { _ in max(0, random.next()) }
            let words = (0..<5).map { Int32(($0 * (number + 1)) % 5) }
            let encoding = head.encode(
                features: number % 3 == 2 ? nil : features, wordIDs: number % 3 == 1 ? [] : words)
            kept["p\(number)"] = KeptEncoding(encoding).bytes
        }
        self.kept = kept
    }

    deinit {
        for name in [
            "config.json", "head.safetensors", "backbone.safetensors", "users.safetensors",
            "users.txt", "vocabulary.txt",
        ] { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }

    private func state(_ uid: String, labels: [Float]) -> LearnerState {
        var state = LearnerState(uid: uid, model: bundle.version)
        state.posts = window(labels)
        state.labelCount = labels.count
        return state
    }

    private func scores(_ user: [Float]) throws -> [Float] {
        let head = Head(weights: bundle.head, workers: Workers(count: 1))
        let gradient = UserGradient(weights: bundle.head, workers: Workers(count: 1))
        let encodings = try (0..<8).map {
            try KeptEncoding(bytes: kept["p\($0)"] ?? [], shape: bundle.head.shape)
        }
        return gradient.expand(encodings).map {
            head.predict($0, user: head.project(user: user)).score
        }
    }

    private func learner(threads: Int = 1, _ rule: UpdateRule = UpdateRule()) -> UserLearner {
        UserLearner(bundle: bundle, rule: rule, workers: Workers(count: threads))
    }

    private func error(_ user: [Float], _ labels: [Float]) throws -> Float {
        distance(try scores(user), labels)
    }

    @Test func aNewUserStartsAtTheUnknownVectorAndLearns() throws {
        let unknown = bundle.users.unknownVector
        let labels = try scores(unknown).map { $0 + 0.5 }
        // Without the pull what is accepted makes the error smaller, and nothing else.
        var rule = UpdateRule()
        rule.priorPull = 0
        let result = learner(rule).learn(state("new", labels: labels)) { kept[$0] }
        #expect(result.missingEncodings == 0)
        #expect(result.outcome.training.posts == 7 && result.outcome.heldOut.posts == 1)
        let vector = try #require(result.outcome.vector)
        #expect(abs(distance(vector, unknown) - result.outcome.stepNorm) < 1e-5)
        #expect(try error(vector, labels) < error(unknown, labels))
        // The next update starts where this one ended.
        var state = state("new", labels: labels)
        state.adopt(vector, at: 0)
        let next = learner(rule).learn(state) { kept[$0] }
        #expect(next.outcome.training.before == result.outcome.training.after)
        #expect(next.outcome.heldOut.before == result.outcome.heldOut.after)
    }

    @Test func aUserOfTheBundleStartsAtTheirOwnVectorAndIsPulledHarder() throws {
        let own = try #require(bundle.users.vector(of: "user-1"))
        let labels = try scores(own).map { $0 + 0.5 }
        let step = learner().learn(state("user-1", labels: labels)) { kept[$0] }.outcome.stepNorm
        var asUnknown = UpdateRule()
        asUnknown.trainedUserEvidence = 0
        let free = learner(asUnknown).learn(state("user-1", labels: labels)) { kept[$0] }
        let vector = try #require(free.outcome.vector)
        #expect(abs(distance(vector, own) - free.outcome.stepNorm) < 1e-5)
        #expect(step > 0 && step < free.outcome.stepNorm)
    }

    @Test func aPostWithoutAUsableEncodingIsLeftOutAndCounted() throws {
        let labels = try scores(bundle.users.unknownVector).map { $0 + 0.5 }
        let learner = learner()
        let some = learner.learn(state("new", labels: labels)) { pid in
            switch pid {
            case "p1": nil
            case "p6": Array(kept[pid]?.dropLast() ?? [])
            default: kept[pid]
            }
        }
        #expect(some.missingEncodings == 2)
        #expect(some.outcome.training.posts == 5 && some.outcome.heldOut.posts == 1)
        // As if they had never been in the window.
        var without = state("new", labels: labels)
        without.posts.removeAll { ["p1", "p6"].contains($0.pid) }
        #expect(learner.learn(without) { kept[$0] }.outcome == some.outcome)

        let none = learner.learn(state("new", labels: labels)) { _ in nil }
        #expect(none.missingEncodings == 8 && none.outcome.reason == .noEncodings)
    }

    @Test func theNumberOfThreadsChangesNothing() throws {
        let labels = try scores(bundle.users.unknownVector).enumerated().map {
            $1 + Float($0 % 3)
        }
        let state = state("new", labels: labels)
        let outcomes = [1, 2, 4].map { learner(threads: $0).learn(state) { kept[$0] }.outcome }
        #expect(outcomes[0].reason == .accepted)
        #expect(outcomes[1] == outcomes[0] && outcomes[2] == outcomes[0])
    }
}

import Daemon
import Foundation
import Glibc
import Kafka
import Pipeline
import Testing

/// Posts are scored, views come back, vectors learn: the whole daemon, one after the other since
/// signals are for the whole process.
@Suite(.serialized) struct LearningTests {
    private static let topics = Stage.topics

    // MARK: - Views to vectors

    @Test func aViewBecomesALessonAndTheNextPostIsScoredWithTheVector() async throws {
        let learning = try await LearningStage(delivery: .exactlyOnce)
        let vectors = try await learning.stage.whileServing {
            try await learning.teach(["one", "two"], by: "dora")
        }
        #expect(vectors == ["unknown", "v1"])

        let labels = try learning.labels()
        #expect(labels.map(\.post.pid) == ["one", "two"])
        #expect(labels.map(\.teaches) == [true, true])
        #expect(labels.map(\.post.userLabels) == [0, 1])
        let states = try learning.userRecords("dora")
        #expect(states.map(\.labelCount) == [1, 2])
        #expect(states.map { $0.current?.version ?? 0 } == [1, 2])
        // All of a user is in one task.
        let task = try learning.partitions(Self.topics.lessons)
        #expect(task.count == 1)
        #expect(try learning.partitions(Self.topics.users) == task)
        #expect(try learning.partitions(Self.topics.joins) == task)
        // And the score of the second post is what the running mean knew when it was scored.
        #expect(labels.last?.post.userMean == labels.first?.label)
        #expect(labels.last?.post.userVector == "v1")
    }

    @Test func aViewMayComeBeforeItsPostAndBeCorrected() async throws {
        let learning = try await LearningStage()
        try await learning.view(.of("early", views: 8), .of("never", by: "ben", views: 9))
        try await learning.stage.whileServing {
            try await eventually("both wait") {
                learning.status.labels[.postUnknownWaiting] == 2
            }
            try await learning.peer.publish(.inline("early"))
            try await eventually("the early one is joined") { learning.status.judged == 1 }
            try await learning.view(
                .of("early", views: 8), .of("early", views: 16), .of("early", at: 4_000_000_001),
                .of("early", at: 1))
            try await eventually("all are looked at") {
                learning.status.labels[.beforePost] == 1
            }
            try await eventually("the correction is learnt") {
                try learning.userRecords("anna").count == 2
            }
        }
        let outcomes = learning.status.labels
        #expect(outcomes[.taken] == 1)
        #expect(outcomes[.repeated] == 1)
        #expect(outcomes[.correction] == 1)
        #expect(outcomes[.alreadyLabelled] == 1)
        let labels = try learning.labels()
        #expect(labels.map(\.views) == [8, 16])
        #expect(labels.map(\.isCorrection) == [false, true])
        let last = try #require(try learning.userRecords("anna").last)
        // A correction takes the place of the label that it corrects.
        #expect(last.labelCount == 1)
        #expect(last.posts.map(\.label) == labels.suffix(1).map(\.label))
        // The one that still waits is kept for the next start.
        #expect(
            try learning.changes(Self.topics.joins).contains {
                if case .earlyView(let view, _) = $0 { view.pid == "never" } else { false }
            })
    }

    @Test func whatIsNoViewIsADeadLetter() async throws {
        let learning = try await LearningStage()
        let (views, lessons) = (Self.topics.views, Self.topics.lessons)
        try await learning.peer.publish(records: [
            ProducerRecord(topic: views, key: Array("anna".utf8), value: Array("{".utf8)),
            ProducerRecord(topic: views, key: Array("anna".utf8), value: nil),
            ProducerRecord(
                topic: views, key: Array("ben".utf8), value: ViewEvent.of("one").json),
            ProducerRecord(topic: lessons, key: Array("anna".utf8), value: Array("{}".utf8)),
        ])
        let letters = try await learning.stage.whileServing {
            try await learning.peer.answers(4).deadLetters
        }
        let reasons = letters.map {
            "\($0.headers["uhan.topic"] ?? "") \($0.headers["uhan.reason"] ?? "")"
        }
        #expect(
            reasons.sorted() == [
                "lessons malformed_event", "views empty_value", "views key_mismatch",
                "views malformed_event",
            ])
    }

    // MARK: - Restarts

    @Test func theNextStartGoesOnWhereTheCheckpointEnds() async throws {
        let learning = try await LearningStage()
        let first = try await learning.stage.whileServing { try await learning.teach(["a", "b"]) }
        #expect(first == ["bundle", "v1"])
        try await expectGoingOn(learning)
    }

    @Test func aLostStateFolderIsMadeAnewFromTheTopics() async throws {
        let learning = try await LearningStage(encodings: "encodings")
        _ = try await learning.stage.whileServing { try await learning.teach(["a", "b"]) }
        try FileManager.default.removeItem(atPath: learning.stateFolder)
        try await expectGoingOn(learning)
        #expect(learning.status.missingEncodings == 0)
    }

    /// Encodings that are not published are gone with the folder: vectors and windows are not.
    @Test func withoutAnEncodingsTopicOnlyEncodingsAreLost() async throws {
        let learning = try await LearningStage()
        _ = try await learning.stage.whileServing { try await learning.teach(["a", "b"]) }
        try FileManager.default.removeItem(atPath: learning.stateFolder)
        try await expectGoingOn(learning)
        #expect(learning.status.missingEncodings == 2)
    }

    @Test func aDamagedCheckpointIsBegunAnew() async throws {
        let learning = try await LearningStage()
        _ = try await learning.stage.whileServing { try await learning.teach(["a", "b"]) }
        let files = try learning.stateFiles("users-")
        #expect(files.count >= LearningStage.partitions)
        for file in files {
            try Data(repeating: 0x5a, count: 100_000).write(to: URL(fileURLWithPath: file))
        }
        try await expectGoingOn(learning)
    }

    /// After the posts a and b: the vector scores, the window and the running mean go on.
    private func expectGoingOn(_ learning: LearningStage) async throws {
        let before = try #require(try learning.userRecords("anna").last)
        let version = before.current?.version ?? 0
        #expect(version > 0)
        let vectors = try await learning.stage.whileServing { try await learning.teach(["c"]) }
        #expect(vectors == ["v\(version)"])
        let after = try #require(try learning.userRecords("anna").last)
        #expect(after.posts.map(\.pid) == ["a", "b", "c"])
        #expect(after.posts.dropLast() == before.posts[...])
        #expect(after.labelCount == 3)
        #expect(after.vectors.starts(with: before.vectors))
        let last = try #require(try learning.labels().last)
        #expect(last.post.userLabels == 2)
        #expect(last.post.userMean == before.labelMean)
    }

    @Test func aStopWithUpdatesUnderWayLosesNoLabel() async throws {
        let learning = try await LearningStage()
        let posts = try (0..<120).map { try Post.inline("post-\($0)", by: "user-\($0 % 3)") }
        try await learning.peer.publish(posts)
        try await learning.stage.whileServing {
            try await learning.peer.answers(posts.count)
            for post in posts { try await learning.view(.of(post.pid, by: post.uid)) }
            // Stopped in the middle of the backlog.
            try await eventually("some are learnt") { learning.status.judged > 5 }
        }
        try await learning.stage.whileServing {
            try await eventually("all are learnt") {
                learning.status.labels[.taken, default: 0] >= posts.count
                    && learning.status.judged >= posts.count
            }
        }
        // Each label was told once, and taken once.
        let labels = try learning.labels()
        #expect(Set(labels.map(\.post.pid)).count == posts.count)
        for uid in ["user-0", "user-1", "user-2"] {
            let state = try #require(try learning.userRecords(uid).last)
            let told = Set(labels.filter { $0.post.uid == uid }.map(\.post.pid))
            #expect(state.labelCount == 40)
            #expect(told.count == 40)
        }
    }

    // MARK: - Freezing, forgetting

    @Test func signalsFreezeLearningAndLetItGoOn() async throws {
        let learning = try await LearningStage()
        let log = learning.stage.log
        try await learning.stage.whileServing {
            // By then it listens; before, a signal would end the process.
            _ = try await learning.teach(["a"])
            try await eventually("learning is frozen") {
                kill(getpid(), SIGUSR1)
                return log.contains("learning is frozen")
            }
            let frozen = try await learning.teach(["b", "c"])
            #expect(frozen == ["v1", "v1"])
            try await eventually("learning goes on") {
                kill(getpid(), SIGUSR2)
                return log.contains("learning goes on")
            }
            let thawed = try await learning.teach(["d", "e"])
            #expect(thawed == ["v1", "v2"])
        }
        // What was labelled meanwhile is not lost to learning.
        #expect(try learning.userRecords("anna").last?.labelCount == 5)
    }

    @Test func learningMayBeginFrozen() async throws {
        let learning = try await LearningStage { $0.learning.isFrozen = true }
        let vectors = try await learning.stage.whileServing {
            try await learning.teach(["a", "b", "c"])
        }
        #expect(vectors == ["bundle", "bundle", "bundle"])
        #expect(try learning.userRecords("anna").map(\.labelCount) == [1, 2, 3])
        #expect(learning.status.updates.isEmpty)
    }

    @Test func nothingStaysOfAForgottenUser() async throws {
        let (uid, pid) = ("mona-who-leaves", "post-of-mona")
        let learning = try await LearningStage(encodings: "encodings")
        try await learning.stage.whileServing {
            _ = try await learning.teach([pid, "other"], by: uid)
            try await learning.view(.of("unknown", by: uid))
            try await eventually("it waits") {
                learning.status.labels[.postUnknownWaiting] == 1
            }
            let task = try #require(try learning.lessons().first).partition
            try await learning.tell(.forget(uid: uid), partition: task)
            try await eventually("the user is forgotten") { learning.status.forgotten == 1 }
            let vectors = try await learning.teach(["later"], by: "other-user")
            #expect(vectors == ["unknown"])
        }
        #expect(try learning.stateFiles(containing: uid) == [])
        #expect(try learning.stateFiles(containing: pid) == [])
        // The same from the topics.
        try FileManager.default.removeItem(atPath: learning.stateFolder)
        try await learning.stage.whileServing {
            let vectors = try await learning.teach(["after"], by: uid)
            #expect(vectors == ["unknown"])
        }
        #expect(try learning.stateFiles(containing: pid) == [])
        #expect(try learning.userRecords(uid).last?.labelCount == 1)
    }

    // MARK: - Off, and wrong

    @Test func withoutLearningNoTopicOfItIsNeeded() async throws {
        let stage = try Stage()
        let peer = try await stage.peer()
        try await peer.publish(.inline("one"), .inline("two"))
        let scores = try await stage.whileServing { try await peer.answers(2) }.scores()
        #expect(scores.values.allSatisfy { $0.scored?.userVector == "bundle" })
        #expect(!FileManager.default.fileExists(atPath: stage.folder.file("state")))
        #expect(stage.status.status.learning.judged == 0)
    }

    @Test func unequalPartitionsAreRefused() async throws {
        var stage = try Stage(partitions: 2)
        stage.configuration.learning.isEnabled = true
        stage.configuration.learning.stateFolder = stage.folder.file("state")
        for topic in [Self.topics.views, Self.topics.lessons, Self.topics.users] {
            try stage.broker.createTopic(topic, partitions: 2)
        }
        try stage.broker.createTopic(Self.topics.joins, partitions: 3)
        let refused = stage
        let error = await #expect(throws: CoPartitioning.UnequalCounts.self) {
            try await refused.whileServing { try await Task.sleep(for: .seconds(patience)) }
        }
        #expect(error?.counts["joins"] == 3)
        #expect(error?.counts["posts"] == 2)
        #expect(error?.description.contains("different numbers of partitions") == true)
    }
}

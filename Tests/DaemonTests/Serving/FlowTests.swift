import Daemon
import Foundation
import Kafka
import Pipeline
import Testing

/// More posts than are taken at once, brokers that go and come, stops in the middle.
@Suite struct FlowTests {
    @Test func readingIsHeldBackAndEveryPostIsScoredOnce() async throws {
        var stage = try Stage(partitions: 4)
        stage.configuration.inFlight.highPosts = 6
        stage.configuration.inFlight.lowPosts = 2
        stage.configuration.batch.maximumPosts = 5
        stage.configuration.batch.intervalMilliseconds = 5
        let posts = try (0..<400).map { index in
            let post = Post("post-\(index)", by: "user-\(index % 23)")
            return try index % 4 == 0 ? post.with(inline: Pictures.jpeg(UInt64(index))) : post
        }
        let peer = try await stage.peer()
        try await peer.publish(posts)
        let served = stage
        let answers = try await served.whileServing {
            let watch = Task {
                // As often as it is shown: the most that was ever in hand.
                var most = 0
                while !Task.isCancelled {
                    most = max(most, served.status.status.inFlight)
                    try? await Task.sleep(for: .milliseconds(20))
                }
                return most
            }
            let answers = try await peer.answers(posts.count)
            watch.cancel()
            #expect(await watch.value <= 6)
            return answers
        }
        #expect(try answers.scores().count == posts.count)
        #expect(try await peer.count(Stage.topics.scores, partitions: 4) == posts.count)
        // A batch never held more than was in hand.
        #expect(stage.status.status.batches >= posts.count / 6)
    }

    @Test func aStopDoesNotWaitForAnImageAndTheNextStartScoresIt() async throws {
        let server = try await ImageServer.start()
        server.on("/silent.jpg", .silence)
        var stage = try Stage(partitions: 1)
        // The embedded broker keeps no offsets of transactions.
        stage.configuration.delivery = .atLeastOnce
        stage.configuration.images.fetching.ports = [server.port]
        stage.configuration.images.fetching.allowedPrivateRanges = [
            try #require(AddressRange("127.0.0.0/8"))
        ]
        let peer = try await stage.peer()
        let picture = try Pictures.jpeg(6)
        let held = Post("held").with(url: server.url("/silent.jpg"), picture: picture)
        try await peer.publish(.inline("first"), held, .inline("behind it"))

        let served = stage
        let stopping = try await served.whileServing {
            try await peer.answers(1)
            try await eventually("the image is asked for") { server.requests == 1 }
            try await eventually("the one behind is scored") { served.status.status.scored == 2 }
            return Date.now
        }
        let budget = Double(stage.configuration.shutdown.budgetMilliseconds) / 1_000
        #expect(Date.now.timeIntervalSince(stopping) < budget)
        #expect(await peer.answers.count == 1)

        server.on("/silent.jpg", .picture(picture))
        let answers = try await served.whileServing { try await peer.answers(3) }
        let pids = try answers.map { try $0.score().pid }
        // What was published is not done again; what was only scored is.
        #expect(pids == ["first", "held", "behind it"])
        await server.stop()
    }

    @Test func aBrokerThatGoesAndComesLosesNothing() async throws {
        let stage = try Stage(partitions: 2)
        let peer = try await stage.peer()
        let posts = try (0..<40).map {
            try Post.inline("post-\($0)", by: "user-\($0 % 5)", picture: UInt64($0))
        }
        try await peer.publish(Array(posts[..<20]))
        let answers = try await stage.whileServing {
            try await peer.answers(1)
            try stage.broker.setDown()
            // Long enough for clients to notice; what is in flight fails in every way.
            try await Task.sleep(for: .seconds(2))
            try stage.broker.setUp()
            try await peer.publish(Array(posts[20...]))
            let start = Date.now
            // Records of an aborted batch are visible on the embedded broker and may come twice.
            var pids: Set<String> = []
            while pids.count < posts.count {
                try #require(Date.now.timeIntervalSince(start) < patience, "\(pids.count)")
                let answers = try await peer.answers(peer.answers.count + 1)
                pids = Set(try answers.map { try $0.score().pid })
            }
            return await peer.answers
        }
        #expect(Set(try answers.map { try $0.score().pid }) == Set(posts.map(\.pid)))
        let scores = Dictionary(grouping: try answers.map { try $0.score() }, by: \.pid)
        for (pid, scores) in scores {
            // Whatever was published again is the same score.
            #expect(Set(scores.compactMap { $0.scored?.score }).count == 1, "\(pid)")
        }
    }

    @Test func aStopIsHeededWhileTheBrokerHangs() async throws {
        let start = ContinuousClock.now
        let stage = try Stage(partitions: 1)
        let peer = try await stage.peer()
        try await peer.publish(try (0..<600).map { try .inline("post-\($0)", picture: UInt64($0)) })
        // What is unpublished is left to the next start: no failure.
        try await stage.whileServing {
            try await peer.answers(1)
            try stage.broker.setRoundTrip(milliseconds: 60_000)
            // Many times the time after which a batch is published.
            try await Task.sleep(for: .seconds(1))
        }
        // Neither the broker's round trip nor librdkafka's own timeouts, a minute each.
        #expect(ContinuousClock.now - start < .seconds(40))
    }

    @Test func aStopIsHeededWhileNoBrokerAnswers() async throws {
        let stage = try Stage(partitions: 1)
        try stage.broker.setDown()
        let stopping = try await stage.whileServing { Date.now }
        #expect(Date.now.timeIntervalSince(stopping) < 10)
    }
}

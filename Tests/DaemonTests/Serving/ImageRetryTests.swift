import Daemon
import Foundation
import Pipeline
import Testing

/// Images that are not to be had at once.
@Suite struct ImageRetryTests {
    private func stage(_ server: ImageServer) throws -> Stage {
        var stage = try Stage(partitions: 1)
        stage.configuration.images.fetching.ports = [server.port]
        stage.configuration.images.fetching.allowedPrivateRanges = [
            try #require(AddressRange("127.0.0.0/8"))
        ]
        stage.configuration.retry.initialBackoffMilliseconds = 20
        stage.configuration.retry.maximumBackoffMilliseconds = 100
        return stage
    }

    @Test func anImageThatAppearsLaterIsTriedAgainAndScored() async throws {
        let server = try await ImageServer.start()
        server.on("/overloaded.jpg", .status("503 Service Unavailable"))
        let stage = try stage(server)
        let picture = try Pictures.jpeg(4)
        let late = Post("late").with(url: server.url("/overloaded.jpg"), picture: picture)
        let peer = try await stage.peer()
        try await peer.publish(late, .inline("behind it"))

        let answers = try await stage.whileServing {
            try await eventually("three tries") { server.requests >= 3 }
            // What stands behind it in its partition is scored but keeps its place.
            try await eventually("the next is scored") { stage.status.status.scored == 1 }
            #expect(stage.status.status.batches == 0)
            server.on("/overloaded.jpg", .picture(picture))
            return try await peer.answers(2)
        }
        let scores = try answers.map { try $0.score() }
        #expect(scores.map(\.pid) == ["late", "behind it"])
        #expect(scores.first?.scored?.score == (try stage.expectation(for: late)).prediction.score)
        #expect(scores.first?.scored?.flags == [.untrained])
        await server.stop()
    }

    @Test func aHostThatComesUpLaterIsTriedAgain() async throws {
        // A port that nobody listens on: one that was just given back.
        let before = try await ImageServer.start()
        let port = before.port
        await before.stop()
        let stage = try stage(before)
        let picture = try Pictures.jpeg(5)
        var configured = stage
        configured.configuration.images.fetching.ports = [port]
        let peer = try await stage.peer()
        try await peer.publish(
            Post("late").with(url: "http://127.0.0.1:\(port)/a.jpg", picture: picture))
        try await peer.publish(.inline("behind it"))

        let answers = try await configured.whileServing {
            try await eventually("the next is scored") { stage.status.status.scored == 1 }
            let server = try await ImageServer.start(port: port)
            server.on("/a.jpg", .picture(picture))
            let answers = try await peer.answers(2)
            await server.stop()
            return answers
        }
        #expect(try answers.scores()["late"]?.scored?.flags == [.untrained])
    }

    @Test func anImageThatNeverComesIsADeadLetterWhenItsTimeIsOver() async throws {
        let server = try await ImageServer.start()
        server.on("/down.jpg", .status("500 Internal Server Error"))
        server.on("/silent.jpg", .silence)
        var stage = try stage(server)
        stage.configuration.retry.budgetMilliseconds = 3_000
        let peer = try await stage.peer()
        try await peer.publish(
            Post("down").with(url: server.url("/down.jpg")),
            Post("silent").with(url: server.url("/silent.jpg")),
            Post("not there").with(url: server.url("/nowhere.jpg")),
            .inline("good"))
        let served = stage
        let answers = try await served.whileServing { try await peer.answers(4) }

        #expect(try answers.scores().keys.sorted() == ["good"])
        let letters = answers.deadLetters
        #expect(
            letters.map { $0.headers["uhan.reason"] } == [
                "image_unavailable", "image_unavailable", "image_refused",
            ])
        let down = try #require(letters.first?.headers["uhan.error"])
        #expect(down.contains("attempts"), "\(down)")
        // Several tries at the one that answers, within its time.
        #expect(server.requests >= 4)
        await server.stop()
    }
}

import Foundation
import Glibc
import Kafka
import Testing

@Suite struct ServeCommandTests {
    @Test(arguments: [
        ([], ["model: is required", "kafka.bootstrap: is required"]),
        (
            ["--modle=m", "--kafka-bootstrap=localhost:1"],
            ["--modle: is unknown", "did you mean --model?"]
        ),
        (["--model", "m", "--kafka-bootstrap"], ["--kafka-bootstrap: needs a value"]),
        (["m"], ["takes only flags"]),
        (["--config", "/nowhere.yaml"], ["/nowhere.yaml: cannot be opened: No such file"]),
        (
            ["--model=m", "--kafka-bootstrap=b:1", "--threads=none"],
            ["threads: is \"none\"", "must be"]
        ),
    ])
    func wrongSettingsAreAllNamedAtOnce(arguments: [String], says: [String]) async throws {
        let ending = try await Program.run(["serve"] + arguments)
        #expect(ending.status == 1)
        #expect(ending.errorLines.first?.hasPrefix("Error: the configuration has") == true)
        for part in says { #expect(ending.errors.contains(part), "\(ending)") }
        #expect(ending.output == "")
    }

    @Test func sigtermEndsItWhileNoBrokerAnswers() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let daemon = try RunningProgram(
            Program.path,
            ["serve", "--model", model, "--kafka-bootstrap", "127.0.0.1:1", "--threads", "1"])
        try await daemon.says("Connection refused")
        let start = Date.now
        daemon.send(SIGTERM)
        let ending = try await daemon.ended()
        #expect(ending.status == 0, "\(ending)")
        #expect(Date.now.timeIntervalSince(start) < 10)
        #expect(ending.output == "")
        #expect(ending.errorLines.allSatisfy { $0.hasPrefix("{") }, "\(ending)")
    }

    @Test func sigtermEndsItCleanlyWhilePostsFlow() async throws {
        let folder = try Folder()
        let model = try await TinyModel.make(in: folder)
        let broker = try EmbeddedBroker()
        for topic in ["posts", "scores", "dead-letters"] {
            try broker.createTopic(topic, partitions: 2)
        }
        let posts = Posts(bootstrap: broker.bootstrapServers)
        let flowing = Thread { posts.flow() }
        flowing.start()
        let daemon = try RunningProgram(
            Program.path,
            [
                "serve", "--model", model, "--kafka-bootstrap", broker.bootstrapServers,
                "--threads", "1", "--log-level", "debug", "--log-format", "text",
                "--batch-interval-milliseconds", "50", "--kafka-properties",
                "fetch.wait.max.ms=20",
            ])
        try await daemon.says("batch published")
        let start = Date.now
        daemon.send(SIGTERM)
        let ending = try await daemon.ended()
        posts.stop()
        #expect(ending.status == 0, "\(ending.errors.suffix(2_000))")
        #expect(Date.now.timeIntervalSince(start) < 10)
        #expect(ending.output == "")
        #expect(ending.errors.contains("stopped"))
    }

    /// Posts without end.
    private final class Posts: @unchecked Sendable {
        // Unchecked: `isStopping` is guarded by the lock.
        private let bootstrap: String
        private let lock = NSLock()
        private var isStopping = false

        init(bootstrap: String) {
            self.bootstrap = bootstrap
        }

        func stop() { lock.withLock { isStopping = true } }

        func flow() {
            guard
                let producer = try? Producer(
                    configuration: ClientConfiguration(bootstrapServers: bootstrap)),
                let picture = try? Folder.picture(1)
            else { return }
            let inline = Data(picture).base64EncodedString()
            var number = 0
            while !lock.withLock({ isStopping }) {
                number += 1
                let user = "user-\(number % 7)"
                let value =
                    #"{"uid": "\#(user)", "pid": "\#(number)", "title": "sunset", "image_base64": "\#(inline)"}"#
                try? producer.produce(
                    ProducerRecord(topic: "posts", key: Array(user.utf8), value: Array(value.utf8)))
                producer.poll()
                usleep(2_000)
            }
        }
    }
}

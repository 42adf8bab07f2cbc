import Kafka
import Pipeline
import ServiceLifecycle
import Synchronization

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Publishes posts and shows what comes back, on a thread of its own.
struct QuickstartShow: Service {
    /// The embedded broker forgets what lies more than 5 MiB back in a partition, so the publisher
    /// never runs further ahead of the scores than this.
    private static let maximumAhead = 8
    private static let pollMilliseconds = 50
    /// Between two posts that never end, where a person reads along.
    private static let pauseToRead = Duration.seconds(1)

    let bootstrap: String
    let topics: ServeConfiguration.Topics
    let source: PostSource
    let limit: Int?
    let status: StatusBoard
    let say: @Sendable (String) -> Void

    func run() async throws {
        let isStopping = Flag()
        let result = await withTaskCancellationOrGracefulShutdownHandler {
            await withCheckedContinuation { ended in
                let started = startThread {
                    ended.resume(returning: Result { try publishAndShow(isStopping) })
                }
                if !started {
                    ended.resume(returning: .failure(ScoreService.Failure.threadNotStarted))
                }
            }
        } onCancelOrGracefulShutdown: {
            isStopping.set()
        }
        try result.get()
    }

    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }

    private func publishAndShow(_ isStopping: Flag) throws {
        let producer = try Producer(configuration: ClientConfiguration(bootstrapServers: bootstrap))
        let consumer = try Consumer(
            configuration: ClientConfiguration(
                bootstrapServers: bootstrap,
                properties: ["group.id": "quickstart-viewer", "fetch.wait.max.ms": "50"])
        ) { _, _ in [:] }
        try consumer.subscribe(topics: [topics.scores, topics.deadLetters])
        var view = ScoreView()
        var source = source

        let pause = view.isOnTerminal && source.isEndless ? Self.pauseToRead : .zero
        var nextPost = ContinuousClock.now
        var published = 0
        var answered = 0
        var isDone = false
        while !isStopping.isSet, !(isDone && answered >= published) {
            while !isDone, published - answered < Self.maximumAhead,
                ContinuousClock.now >= nextPost
            {
                guard let post = try source.post(published, limit: limit) else {
                    isDone = true
                    break
                }
                try producer.produce(
                    ProducerRecord(topic: topics.posts, key: post.key, value: post.value))
                published += 1
                nextPost = .now + pause
            }
            producer.poll()
            guard let message = try consumer.poll(timeoutMilliseconds: Self.pollMilliseconds) else {
                continue
            }
            answered += 1
            let status = status.status
            if message.topicPartition.topic == topics.deadLetters {
                say(view.deadLetter(message, number: answered))
            } else {
                say(
                    view.score(
                        message.value ?? [], number: answered, lag: status.lag,
                        inFlight: status.inFlight, truth: source.truth(of:)))
            }
        }
        say("\n\(answered) posts answered")
        try consumer.close(timeoutMilliseconds: 1_000)
    }
}

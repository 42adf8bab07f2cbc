import Kafka
import Logging
import Model
import Pipeline
import ServiceLifecycle

/// Everything in one process, to watch it work: an embedded Kafka broker behind a real socket, the
/// daemon against it, a publisher of posts and a viewer of scores.
package struct Quickstart: Sendable {
    package struct Options: Sendable {
        /// Ends after so many posts; nil: at the end of the folder, or never.
        package var posts: Int?
        /// A folder with `posts.jsonl` and images; nil: posts of the synthetic gallery.
        package var folder: String?
        /// nil: one with seeded weights.
        package var model: ModelBundle?
        package var threads: Int

        package init(posts: Int?, folder: String?, model: ModelBundle?, threads: Int) {
            self.posts = posts
            self.folder = folder
            self.model = model
            self.threads = threads
        }
    }

    private static let topics = ServeConfiguration.Topics()
    private static let aboutTheGallery = """

        posts are made up, by users that the model knows (if any); what makes them popular
        is known: the truth stands under each score; a thing is 5 % of its picture, so even
        attention has 5 % on it
        """

    private let options: Options
    private let say: @Sendable (String) -> Void

    /// - Parameter say: shows a line to the person who watches.
    package init(options: Options, say: @escaping @Sendable (String) -> Void) {
        self.options = options
        self.say = say
    }

    package func run() async throws {
        var source =
            try options.folder.map { .folder(try FolderPosts(folder: $0)) }
            ?? PostSource.gallery(GalleryPosts())
        let model = try QuickstartModel(options: options, source: source, say: say)
        defer { model.removeTemporary() }
        source.show(users: model.bundle.users.ids)

        let broker = try EmbeddedBroker()
        for topic in [Self.topics.posts, Self.topics.scores] {
            try broker.createTopic(topic, partitions: 4)
        }
        try broker.createTopic(Self.topics.deadLetters, partitions: 1)
        explain(broker, model.bundle)

        let status = StatusBoard()
        let score = ScoreService(
            configuration: configuration(broker), bundle: model.bundle,
            logger: Logger(label: "uhan"), status: status)
        let show = QuickstartShow(
            bootstrap: broker.bootstrapServers, topics: Self.topics,
            source: source, limit: options.posts, status: status, say: say)
        try await ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: score),
                    .init(service: show, successTerminationBehavior: .gracefullyShutdownGroup),
                ],
                gracefulShutdownSignals: [.sigint, .sigterm], logger: Logger(label: "uhan"))
        ).run()
        withExtendedLifetime(broker) {}
    }

    private func configuration(_ broker: EmbeddedBroker) -> ServeConfiguration {
        var configuration = ServeConfiguration()
        configuration.threads = options.threads
        configuration.topics = Self.topics
        configuration.kafka.bootstrap = broker.bootstrapServers
        configuration.kafka.groupID = "quickstart"
        configuration.kafka.groupInstanceID = "quickstart-1"
        configuration.kafka.transactionalID = "quickstart-1"
        // The embedded broker answers a fetch only when this time is up.
        configuration.kafka.properties.values["fetch.wait.max.ms"] = "50"
        configuration.batch.intervalMilliseconds = 100
        configuration.images.fetching.schemes = [.file]
        configuration.images.fetching.fileRoots = options.folder.map { [$0] } ?? []
        return configuration
    }

    private func explain(_ broker: EmbeddedBroker, _ bundle: ModelBundle) {
        let kcat = "kcat -b \(broker.bootstrapServers) -X fetch.wait.max.ms=50 -C -e -o beginning"
        say(
            """

            an embedded Kafka broker listens on \(broker.bootstrapServers); to look for oneself:
              \(kcat) -t \(Self.topics.scores)
              \(kcat) -t \(Self.topics.deadLetters) -f '%h %k\\n'
            model \(bundle.version), \(bundle.configuration.image.side) pixels a side, \
            \(bundle.vocabulary.count) words, \(bundle.users.count) users\
            \(bundle.isUntrained ? "; UNTRAINED weights: scores and attention mean nothing" : "")\
            \(options.folder == nil ? Self.aboutTheGallery : "")
            Ctrl-C ends it
            """)
    }
}

/// The model that quickstart scores with.
struct QuickstartModel {
    private static let seed: UInt64 = 1

    let bundle: ModelBundle
    private let temporaryFolder: String?

    /// Without a given bundle: one with seeded weights for the words and users of the posts, in a
    /// temporary folder, around a backbone that is kept in the user's cache.
    init(
        options: Quickstart.Options, source: PostSource, say: @Sendable (String) -> Void
    ) throws {
        if let model = options.model {
            bundle = model
            temporaryFolder = nil
            return
        }
        say("a model with seeded weights; its VGG16 is made once and cached, which takes seconds")
        let folder = try temporaryDirectory(named: "uhan-quickstart")
        var seeded = SeededBundle(seed: Self.seed)
        seeded.name = "quickstart"
        seeded.words = source.words
        seeded.users = source.users
        do {
            let backbone = try SeededBackbone(
                seed: Self.seed, blocks: seeded.blocks, side: seeded.side
            ).cachedFile()
            seeded.backbone = .init(
                path: backbone.path, link: true, normalization: SeededBackbone.normalization,
                trained: false, origin: "seed \(Self.seed)")
            _ = try seeded.write(to: folder, workers: Workers(count: options.threads)) { _ in }
            bundle = try ModelBundle(folder: folder)
        } catch {
            removeDirectory(folder)
            throw error
        }
        temporaryFolder = folder
    }

    func removeTemporary() {
        if let temporaryFolder { removeDirectory(temporaryFolder) }
    }
}

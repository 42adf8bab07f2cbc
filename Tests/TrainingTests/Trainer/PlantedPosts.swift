import Model
import Training

/// Posts with a simple law of popularity, few enough for a network to learn it in a blink: a word,
/// something in the image or the user adds 2 to a popularity of 3, or takes 2 off.
enum PlantedPosts {
    enum Law: String, Sendable, CaseIterable {
        case text, image, user
        /// Nothing tells: popularity is drawn.
        case chance
    }

    static let count = 400
    static let blocks = [[6]]
    static let side = 4
    private static let regions = 4
    private static let channels = 6
    private static let images = 24
    private static let users = 6

    static func sha256(ofImage name: String) -> String { sha256Hex(Array(name.utf8)) }

    // MARK: Posts

    /// Makes `folder`/`name`: by time 280 posts to train on, 40 to validate with and 80 to test. Some
    /// have no image, some no known word; a few of the last are a stranger's.
    static func write(
        _ law: Law, in folder: DataFolder, name: String = "data", seed: UInt64 = 1,
        settings: PreparationSettings = .none
    ) throws -> PreparedDataset {
        var random = SplitMix64(seed: seed)
        func draw(_ count: Int) -> Int { Int(random.next() >> 33) % count }
        let posts = (0..<count).map { index in
            var post = RawPost(pid: "p\(1000 + index)", day: Double(index))
            let image = draw(images)
            let isKnown = index < 280 || index % 8 != 0
            let user = draw(users)
            post.uid = isKnown ? "user\(user)" : "stranger"
            let isGood = draw(2) == 0
            let chance = draw(3) - 1
            if index % 29 != 7 {
                let others = (0..<draw(4)).map { _ in "word\(draw(10))" }
                post.title = ([isGood ? "glorious" : "dull"] + others).joined(separator: " ")
            }
            if index % 31 != 11 { post.image = "\(image).jpg" }
            let effect =
                switch law {
                case .text: post.title.isEmpty ? 0 : isGood ? 1 : -1
                case .image: post.image == nil ? 0 : image % 2 == 0 ? 1 : -1
                case .user: isKnown ? (user % 2 == 0 ? 1 : -1) : 0
                case .chance: chance
                }
            // Seen 16 days later: log2(views / 16) + 1.
            post.views = "\(1 << (4 + 2 + 2 * effect))"
            post.observedDay = Double(index + 16)
            return post
        }
        var preparation = try Preparation(settings: settings)
        for (index, post) in posts.enumerated() {
            _ = try preparation.readPost(post.line, number: index + 1)
        }
        let result = try preparation.finish { sha256(ofImage: $0) }
        _ = try PreparedDataset.write(
            result, to: folder.file(name), name: name, settings: settings, imagesFolder: "/images",
            inputs: [])
        return try PreparedDataset(folder: folder.file(name))
    }

    // MARK: Features

    /// Makes `folder`/`name` with features that no backbone has seen: in one of an image's regions
    /// one channel or another is high. The backbone beside them is there for bundles to have one.
    static func writeFeatures(
        in folder: DataFolder, name: String = "features", seed: UInt64 = 2
    ) throws -> FeatureStore {
        var random = SplitMix64(seed: seed)
        func unit() -> Float { Float(random.next() >> 40) / 0x1p24 }
        var weights = SafetensorsWriter()
        weights.add(
            "features.0.weight", shape: [channels, 3, 3, 3],
            (0..<channels * 27).map { _ in unit() - 0.5 })
        weights.add("features.0.bias", shape: [channels], [Float](repeating: 0.1, count: channels))
        let file = weights.bytes()
        let identity = FeatureIdentity(
            backboneSHA256: sha256Hex(file), blocks: blocks, side: side,
            normalization: "torchvision", instructionSet: try Kernels.chosen().name,
            regions: regions, channels: channels)
        let writer = try FeatureWriter(
            folder: folder.file(name), identity: identity,
            origin: BackboneOrigin(
                file: "backbone.safetensors", trained: true, origin: "made up"))
        try folder.write(file, to: "\(name)/backbone.safetensors")
        for image in 0..<images {
            var features = (0..<regions * channels).map { _ in unit() / 2 }
            features[image % regions * channels + (image % 2 == 0 ? 2 : 4)] += 2
            try writer.append(features, ofImage: sha256(ofImage: "\(image).jpg"))
        }
        return try FeatureStore.open(folder: folder.file(name))
    }

    // MARK: Training

    /// Of a network that learns each law in some hundred steps, if it can at all.
    static func settings(_ system: SystemName) -> TrainingSettings {
        var settings = TrainingSettings(system: system, dimension: 8, dense: [8, 8])
        settings.maximumWords = 6
        settings.batch = 32
        settings.rule.rate = 0.01
        settings.batchesOfCheck = 9
        settings.patience = 10
        settings.maximumEpochs = 60
        return settings
    }

    static func data(
        _ law: Law, in folder: DataFolder, readsImages: Bool = true
    ) throws -> TrainingData {
        try TrainingData(
            try write(law, in: folder),
            features: readsImages ? try writeFeatures(in: folder) : nil, maximumWords: 6)
    }
}

/// A run of training, as long as it lasted, and what it told.
struct TrainingRun {
    private(set) var outcome = Trainer.Outcome.interrupted
    private(set) var record: TrainingRecord
    private(set) var resumedAt: Int?
    private(set) var steps: [Int] = []
    private(set) var checks: [TrainingRecord.Check] = []
    private(set) var checksLeft: [Int] = []

    var isFinished: Bool { outcome == .finished }

    /// - Parameters:
    ///   - until: the step after which it is asked to stop; nil for never.
    ///   - nanoseconds: its clock.
    ///   - watch: told when a step or a check is done.
    @discardableResult
    init(
        _ settings: TrainingSettings, on data: TrainingData, in folder: String, threads: Int = 2,
        until: Int? = nil, nanoseconds: @escaping () -> UInt64 = { 0 },
        watch: () -> Void = {}
    ) throws {
        let trainer = try Trainer(
            settings, data: data, folder: folder, workers: Workers(count: threads),
            nanoseconds: nanoseconds)
        record = trainer.record
        var (resumedAt, steps): (Int?, [Int]) = (nil, [])
        var (checks, checksLeft): ([TrainingRecord.Check], [Int]) = ([], [])
        outcome = try trainer.run(
            tell: { event in
                switch event {
                case .resumed(let step): resumedAt = step
                case .step(let step, _, _): steps.append(step)
                case .check(let check, let left):
                    checks.append(check)
                    checksLeft.append(left)
                }
                watch()
            }, shouldStop: { until.map { $0 == steps.last ?? resumedAt ?? 0 } ?? false })
        (self.resumedAt, self.steps) = (resumedAt, steps)
        (self.checks, self.checksLeft) = (checks, checksLeft)
        record = trainer.record
    }
}

import Foundation
import Model
import Pipeline
import Testing
import Training

/// What training leaves is what the daemon serves.
@Suite struct TrainedBundleTests {
    private static let systems: [SystemName] = SystemName.allCases.filter {
        $0.network?.kind == .attention
    }

    private static func settings(_ system: SystemName) -> TrainingSettings {
        var settings = PlantedPosts.settings(system)
        settings.maximumEpochs = 5
        settings.unknownUsers = 0.2
        return settings
    }

    /// The network that was trained, with the bundle's weights.
    private func network(
        _ system: SystemName, _ data: TrainingData, bundle folder: String
    ) throws -> Learner {
        let settings = Self.settings(system)
        let learner = try Learner(
            .attention, shape: data.shape(settings), users: data.users.count,
            maximumPosts: settings.batch, rule: settings.rule, kernels: Kernels.chosen(),
            workers: Workers(count: 1))
        let head = try Safetensors(path: "\(folder)/head.safetensors")
        let users = try Safetensors(path: "\(folder)/users.safetensors")
        for (name, shape) in learner.tensors {
            let file = ["user", "unknown"].contains(name) ? users : head
            try learner.setTensor(name, file.tensor(name, shape: shape).contents())
        }
        learner.ready()
        return learner
    }

    private func scores(_ samples: [TrainingSample], of learner: Learner) -> [Float] {
        samples.flatMap { learner.scores([$0]) }
    }

    @Test(arguments: systems)
    func theServedNetworkGivesTheScoresOfTheTrainedOne(system: SystemName) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.user, in: folder)
        let run = try TrainingRun(
            Self.settings(system), on: data, in: folder.file("model"), threads: 1)
        let learner = try network(system, data, bundle: folder.file("model"))
        let bundle = try ModelBundle(folder: folder.file("model"))

        // What it is, and what of the network it has.
        #expect(bundle.configuration.name == system.rawValue)
        #expect(!bundle.isUntrained)
        let parts = try #require(system.network).parts
        #expect(bundle.configuration.head.parts == (parts == .all ? nil : parts))
        #expect(bundle.configuration.headShape == data.shape(Self.settings(system)))
        #expect(bundle.users.ids == data.users)
        #expect(bundle.vocabulary.count == data.dataset.vocabulary.count)
        #expect(
            try folder.bytes(of: "model/backbone.safetensors")
                == folder.bytes(of: "features/backbone.safetensors"))

        let posts = data.dataset.posts.filter { $0.part == .validation }
        let samples = data.samples(of: .validation)
        #expect(samples.contains { $0.user == nil } && samples.contains { $0.features == nil })
        #expect(samples.contains { $0.wordIDs.isEmpty })
        let trained = scores(samples, of: learner)
        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: 2), nanoseconds: { 0 })
        for (place, post) in posts.enumerated() {
            let features = post.imageSHA256.flatMap { data.features?.features(ofImage: $0) }
            let result = scorer.head.score(
                PostEvent(
                    pid: post.pid, uid: post.uid, title: post.title, tags: post.tags,
                    description: post.description),
                seen: features.map { .known(Array($0)) } ?? .nothing)
            #expect(abs(result.prediction.score - trained[place]) < 1e-4)
            #expect((result.userVector == "unknown") == (samples[place].user == nil))
        }

        // It is the network of the best check.
        func squares(_ value: (Float, TrainingSample) -> Double) -> Double {
            zip(trained, samples).reduce(0) { $0 + value($1.0, $1.1) } / Double(samples.count)
        }
        let error = squares { pow(Double($0 - $1.target), 2) }
        #expect(abs(error - (try #require(run.record.best)).validation_error) < 1e-4)

        // Expected views are typical ones times this.
        let smearing = try #require(bundle.configuration.target.smearing)
        let mean = squares { exp2(Double($1.target - $0)) }
        #expect(abs(smearing - mean) < 1e-4 * mean)
        #expect(bundle.configuration.target.minimum_days == 1)
    }

    @Test func anUnknownUserHasAVectorThatWasLearnt() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.user, in: folder)
        try TrainingRun(PlantedPosts.settings(.uhan), on: data, in: folder.file("model"))
        let bundle = try ModelBundle(folder: folder.file("model"))
        let head = try PostScorer(
            bundle: bundle, workers: Workers(count: 1), nanoseconds: { 0 }
        ).head
        func score(_ uid: String) -> Float {
            head.prediction(features: nil, wordIDs: [0], uid: uid).score
        }
        // Known ones are worth 5 and 1 in turns; of a stranger the mean is to be expected.
        #expect(abs(score("user0") - 5) < 0.7)
        #expect(abs(score("user1") - 1) < 0.7)
        #expect(abs(score("nobody") - 3) < 1)
        #expect(score("nobody") == score("stranger"))
    }

    @Test func withoutUnknownUsersTheirVectorStaysWhereItWas() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.user, in: folder)
        func unknown(_ share: Double, _ name: String) throws -> [Float] {
            var settings = Self.settings(.uhan)
            settings.unknownUsers = share
            try TrainingRun(settings, on: data, in: folder.file(name))
            return try ModelBundle(folder: folder.file(name)).users.unknownVector
        }
        let untouched = try unknown(0, "a")
        #expect(untouched.allSatisfy { abs($0) <= Float(Self.settings(.uhan).userScale) })
        #expect(try unknown(0.2, "b") != untouched)
    }

    // MARK: Text alone

    @Test(arguments: [SystemName.uhan, .uhanText, .dualAtt])
    func aNetworkThatSawNoImageScoresPostsThatHaveOne(system: SystemName) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder, readsImages: false)
        try TrainingRun(Self.settings(system), on: data, in: folder.file("model"))
        let bundle = try ModelBundle(folder: folder.file("model"))
        // It never learnt what to make of an image, so it looks at none.
        #expect(bundle.configuration.head.parts?.reads_image == false)

        let scorer = try PostScorer(
            bundle: bundle, workers: Workers(count: 2), nanoseconds: { 0 })
        let picture = try JPEG.encode(
            SampleScene(seed: 5).render(width: 120, height: 80), quality: 85)
        let image = try scorer.imageReader().image(of: picture)
        let learner = try network(system, data, bundle: folder.file("model"))
        let samples = data.samples(of: .validation)
        let trained = scores(samples, of: learner)
        let posts = data.dataset.posts.filter { $0.part == .validation }
        for (place, post) in posts.enumerated() {
            let event = PostEvent(pid: post.pid, uid: post.uid, title: post.title)
            let with = scorer.score(event, image: image)
            let without = scorer.score(event, image: nil)
            #expect(with.prediction == without.prediction)
            #expect(with.prediction.regions.isEmpty)
            #expect(abs(with.prediction.score - trained[place]) < 1e-4)
        }
    }

    // MARK: What is no bundle

    @Test(arguments: [SystemName.dmf, .dmfUser])
    func otherNetworksComeBackByThemselves(system: SystemName) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.user, in: folder)
        let run = try TrainingRun(Self.settings(system), on: data, in: folder.file("model"))
        #expect(!FileManager.default.fileExists(atPath: folder.file("model/config.json")))
        let samples = data.samples(of: .validation)
        func scores(_ data: TrainingData) throws -> [Float] {
            try TrainedNetwork.scores(
                samples, of: folder.file("model"), data: data, kernels: Kernels.chosen(),
                workers: Workers(count: 2))
        }
        let error =
            zip(try scores(data), samples).reduce(0.0) {
                $0 + pow(Double($1.0 - $1.1.target), 2)
            } / Double(samples.count)
        #expect(abs(error - (try #require(run.record.best)).validation_error) < 1e-5)

        // Of other data, and damaged, it says so.
        let others = try TrainingData(
            PlantedPosts.write(.user, in: folder, name: "others", seed: 9),
            features: data.features, maximumWords: 6)
        let error2 = #expect(throws: TrainingError.self) { try scores(others) }
        #expect("\(try #require(error2))".contains("was trained on"))
        var weights = try folder.bytes(of: "model/weights.safetensors")
        weights[weights.count - 1] ^= 1
        try folder.write(weights, to: "model/weights.safetensors")
        let damaged = #expect(throws: TrainingError.self) { try scores(data) }
        #expect("\(try #require(damaged))".contains("weights.safetensors"))
        try folder.delete("model/network.json")
        let missing = #expect(throws: TrainingError.self) { try scores(data) }
        #expect("\(try #require(missing))".contains("uhan train"))
    }
}

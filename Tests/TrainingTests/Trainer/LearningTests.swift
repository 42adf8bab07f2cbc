import Foundation
import Model
import Testing
import Training

@Suite struct LearningTests {
    /// What each system must learn; in none of the other laws can it find anything.
    private static let learns: [(SystemName, [PlantedPosts.Law])] = [
        (.uhan, [.text, .image, .user]),
        (.uhanText, [.text, .user]),
        (.uhanImage, [.image, .user]),
        (.dualAtt, [.text, .image]),
        (.dmf, [.text, .image]),
        (.dmfUser, [.text, .image, .user]),
        (.uhanNoIntra, [.text, .image, .user]),
        (.uhanNoInter, [.text, .image, .user]),
        (.uhanNoUserAttention, [.text, .image, .user]),
    ]

    private func variance(_ samples: [TrainingSample]) -> Double {
        let targets = samples.map { Double($0.target) }
        let mean = targets.reduce(0, +) / Double(targets.count)
        return targets.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(targets.count)
    }

    @Test(arguments: PlantedPosts.Law.allCases)
    func aNetworkLearnsTheLawOfWhatItReadsAndNoOther(law: PlantedPosts.Law) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(law, in: folder)
        let variance = variance(data.samples(of: .validation))
        for (system, laws) in Self.learns {
            let run = try TrainingRun(
                PlantedPosts.settings(system), on: data, in: folder.file(system.rawValue))
            let error = try #require(run.record.best).validation_error
            if laws.contains(law) {
                #expect(error < 0.1 * variance, "\(system) does not learn \(law)")
            } else {
                #expect(error > 0.7 * variance, "\(system) cannot know of \(law)")
            }
        }
    }

    @Test func withoutFeaturesThereIsNothingToSee() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.image, in: folder, readsImages: false)
        let run = try TrainingRun(
            PlantedPosts.settings(.uhan), on: data, in: folder.file("model"))
        let error = try #require(run.record.best).validation_error
        #expect(error > 0.7 * variance(data.samples(of: .validation)))
        #expect(run.record.features == nil)
        // Who reads images alone has nothing left.
        let refused = #expect(throws: TrainingError.self) {
            try TrainingRun(
                PlantedPosts.settings(.uhanImage), on: data, in: folder.file("blind"))
        }
        #expect("\(try #require(refused))".contains("needs their features"))
    }

    // MARK: The end

    @Test func trainingEndsWhenNoCheckWasBetterForAsLongAsPatienceLasts() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.chance, in: folder)
        var settings = PlantedPosts.settings(.dmfUser)
        (settings.patience, settings.batchesOfCheck, settings.maximumEpochs) = (3, 5, 1000)
        let run = try TrainingRun(settings, on: data, in: folder.file("model"))
        let checks = run.record.checks
        #expect(run.record.ended_by == "patience")
        #expect(run.record.finished)
        #expect(run.checks == checks)
        #expect(checks.map(\.step) == checks.indices.map { 5 * ($0 + 1) })
        let best = try #require(checks.lastIndex { $0.is_best })
        #expect(checks.count - 1 - best == 3)
        #expect(run.checksLeft.suffix(4) == [3, 2, 1, 0])
        // A check is the best where none before it was as good.
        for (index, check) in checks.enumerated() {
            let isBetter = checks[..<index].allSatisfy {
                check.validation_error < $0.validation_error
            }
            #expect(check.is_best == isBetter)
        }

        // What is kept is the best network, not the last one.
        let samples = data.samples(of: .validation)
        let scores = try TrainedNetwork.scores(
            samples, of: folder.file("model"), data: data, kernels: Kernels.chosen(),
            workers: Workers(count: 1))
        let error =
            zip(scores, samples).reduce(0.0) { $0 + pow(Double($1.0 - $1.1.target), 2) }
            / Double(samples.count)
        #expect(abs(error - checks[best].validation_error) < 1e-5)
        #expect(abs(error - checks[checks.count - 1].validation_error) > 1e-4)
    }

    @Test(arguments: [1, 4, 9, 18, 100])
    func epochsBoundTraining(batchesOfCheck: Int) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        var settings = PlantedPosts.settings(.uhanText)
        (settings.maximumEpochs, settings.batchesOfCheck) = (2, batchesOfCheck)
        let run = try TrainingRun(settings, on: data, in: folder.file("model"))
        // 280 posts in batches of 32: nine a pass, the last one smaller.
        #expect(run.steps == Array(1...18))
        #expect(run.record.ended_by == "epochs")
        let steps = run.record.checks.map(\.step)
        #expect(
            steps.filter { $0 % batchesOfCheck == 0 }
                == Array(stride(from: batchesOfCheck, through: 18, by: batchesOfCheck)))
        // Nothing is learnt in vain: the last step's network is looked at, too.
        #expect(steps.last == 18)
        #expect(run.record.checks.last?.epoch == 2)
    }

    @Test(arguments: [SystemName.uhan, .dmf])
    func anErrorThatIsNotFiniteIsSaidWithWhatToDo(system: SystemName) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        var settings = PlantedPosts.settings(system)
        settings.rule.rate = 1e30
        let error = #expect(throws: TrainingError.self) {
            try TrainingRun(settings, on: data, in: folder.file("model"))
        }
        let text = "\(try #require(error))"
        #expect(text.contains("not finite") && text.contains("smaller learning rate"), "\(text)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("model/config.json")))
    }

    /// Whatever was learnt, however bad: the residuals' powers of two are beyond all numbers then.
    @Test(arguments: [0.3, 1, 10])
    func aNetworkThatLearntNonsenseIsABundleAllTheSame(rate: Double) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        var settings = PlantedPosts.settings(.uhan)
        (settings.rule.rate, settings.maximumEpochs) = (rate, 1)
        let run = try TrainingRun(settings, on: data, in: folder.file("model"))
        #expect(run.isFinished)
        let bundle = try ModelBundle(folder: folder.file("model"))
        #expect(bundle.configuration.target.smearing.map { $0 > 0 } ?? true)
    }

    /// Not only when it is measured: a checkpoint of numbers that are none is of no use.
    @Test func anErrorThatIsNotFiniteIsSaidAtOnce() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        var settings = PlantedPosts.settings(.uhan)
        (settings.rule.rate, settings.batchesOfCheck) = (1e30, 1000)
        let error = #expect(throws: TrainingError.self) {
            try TrainingRun(settings, on: data, in: folder.file("model"), until: 5)
        }
        #expect("\(try #require(error))".contains("smaller learning rate"))
    }

    @Test func settingsThatCannotBeAreRefused() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        func refusal(_ change: (inout TrainingSettings) -> Void) throws -> String {
            var settings = PlantedPosts.settings(.uhan)
            change(&settings)
            let error = #expect(throws: TrainingError.self) {
                try TrainingRun(settings, on: data, in: folder.file("model"))
            }
            return "\(try #require(error))"
        }
        #expect(try refusal { $0.dimension = 0 }.contains("dimension 0"))
        #expect(try refusal { $0.batch = 0 }.contains("batch 0"))
        #expect(try refusal { $0.rule.rate = 0 }.contains("learning rate"))
        #expect(try refusal { $0.rule.penalty = -1 }.contains("penalty"))
        #expect(try refusal { $0.rule.maximumNorm = 0 }.contains("norm"))
        #expect(try refusal { $0.maximumEpochs = .max }.contains("1 to 1000000"))
        #expect(try refusal { $0.dropout.words = 1 }.contains("below 1"))
        #expect(try refusal { $0.unknownUsers = -0.1 }.contains("at least 0"))
        #expect(try refusal { $0.patience = 0 }.contains("1 to 1000000"))
        #expect(try refusal { $0.system = .hisAve }.contains("hisave"))
        #expect(!FileManager.default.fileExists(atPath: folder.file("model")))
    }
}

import ArgumentParser
import Drawing
import Glibc
import Model
import Training

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train UHAN, its variants and what it is compared with.",
        discussion: """
            Every system and seed gets a folder of its own, --output/SYSTEM/seed-SEED. UHAN and its \
            variants become model bundles, which 'uhan score', 'uhan serve' and 'uhan explain' \
            take. training.json there tells how it went, curves.png shows it.

            Networks are trained by Adam on the squared error; every --batches-of-check batches the \
            validation error is measured, and training stops after --patience checks without a \
            better one. Ended in between (Ctrl-C, or a kill), the same command goes on where it \
            was, and ends with the same bits.

            --preset names sizes: 'small' (dimension 64) or 'paper' (dimension 512); every other \
            option changes one setting. The backbone is that of --features; without it no image is \
            read.

            Systems: \(SystemName.allCases.map(\.rawValue).joined(separator: ", ")); or 'all'.

              uhan train --data data --features features --output models
              uhan train --data data --features features --systems uhan,dmf,svr --runs 3 \
            --output models
            """)

    @Option(help: "The prepared dataset's folder.")
    var data: String

    @Option(help: "The folder of its images' features. (default: no image is read)")
    var features: String?

    @Option(help: "What to train, separated by commas; or 'all'.")
    var systems = SystemList([.uhan])

    @Option(help: "The folder of all trained systems.")
    var output: String

    @Option(help: "Sizes to begin with: small or paper.")
    var preset = "small"

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "Runs of each system, with seeds from --seed on.")
    var runs = 1

    @Option(help: "Width of words, users and attention.")
    var dimension: Int?

    @Option(help: "Posts of a training step.")
    var batch = 128

    @Option(help: "Adam's learning rate. (default: the preset's, 0.002 or 0.001)")
    var rate: Double?

    @Option(help: "The penalty on word embeddings and dense biases.")
    var penalty = 1e-4

    @Option(help: "The gradients' norm is bounded by this. (default: it is not)")
    var maximumNorm: Double?

    @Option(help: "The vector that all users start around is drawn from plus and minus this.")
    var userScale = 0.3

    @Option(help: "Share of the word embeddings' values that is dropped in training.")
    var dropWords = 0.0

    @Option(help: "The same of the regions' states.")
    var dropRegions = 0.0

    @Option(help: "The same of the users' vectors.")
    var dropUsers = 0.0

    @Option(help: "Share of the training posts that count as an unknown user's.")
    var unknownUsers = 0.05

    @Option(help: "Batches between two looks at the validation error.")
    var batchesOfCheck = 64

    @Option(help: "Checks without a better one until training stops.")
    var patience = 20

    @Option(help: "Passes over the training posts at most.")
    var maximumEpochs = 200

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
        if !(1...100).contains(runs) { throw ValidationError("--runs is 1 to 100") }
        if seed > UInt64.max - UInt64(runs) {
            throw ValidationError("--seed leaves no room for \(runs) runs")
        }
        if Preset.named(preset) == nil {
            let names = Preset.all.map(\.name).joined(separator: ", ")
            throw ValidationError("there is no preset '\(preset)'; there are \(names)")
        }
    }

    private struct Summary: Encodable {
        let system: SystemName
        let seed: UInt64
        let folder: String
        let steps: Int?
        let validation_error: Double?
        let ended_by: String?
        let seconds: Double
    }

    func run() throws {
        let dataset = try PreparedDataset(folder: data)
        let store = try features.map { try FeatureStore.open(folder: $0) }
        let first = settings(.uhan, seed: seed)
        try first.check()
        let data = try TrainingData(dataset, features: store, maximumWords: first.maximumWords)
        say(
            "\(dataset.version): \(data.samples(of: .train).count) posts to train on, "
                + "\(data.samples(of: .validation).count) to validate with, "
                + "\(data.users.count) users, \(dataset.vocabulary.count) words")
        let workers = Workers(count: threads)
        let interruption = Interruption()
        for system in systems.names {
            if system == .uhanImage, store == nil, systems.names.count == SystemName.allCases.count
            {
                say("\(system.rawValue) reads images alone, and there are no features: left out")
                continue
            }
            for seed in seed..<seed + UInt64(runs) {
                let folder = TrainedSystems.folder(of: system, seed: seed, in: output)
                guard system.network != nil else {
                    // Nothing in it is drawn: one run says all.
                    if seed == self.seed { try trainWithoutGradients(system, data, folder) }
                    continue
                }
                let settings = settings(system, seed: seed)
                guard
                    try train(settings, data, folder, workers, { interruption.hasCome })
                else {
                    say("stopped; the same command goes on from here")
                    throw ExitCode(Interruption.exitCode)
                }
            }
        }
    }

    private func settings(_ system: SystemName, seed: UInt64) -> TrainingSettings {
        let preset = Preset.named(preset) ?? .small
        var settings = TrainingSettings(
            system: system, dimension: dimension ?? preset.dimension, dense: preset.dense)
        settings.seed = seed
        settings.batch = batch
        settings.rule.rate = rate ?? preset.rate
        settings.rule.penalty = penalty
        settings.rule.maximumNorm = maximumNorm
        settings.userScale = userScale
        settings.dropout = .init(words: dropWords, regions: dropRegions, users: dropUsers)
        settings.unknownUsers = unknownUsers
        settings.batchesOfCheck = batchesOfCheck
        settings.patience = patience
        settings.maximumEpochs = maximumEpochs
        return settings
    }

    private func trainWithoutGradients(
        _ system: SystemName, _ data: TrainingData, _ folder: String
    ) throws {
        let progress = Progress()
        try TrainedSystems.train(
            system, data: data, to: folder, progress: progress.show,
            nanoseconds: monotonicNanoseconds)
        progress.clear()
        let seconds = try TrainingRecord.load(folder: folder)?.seconds ?? 0
        try printJSON(
            Summary(
                system: system, seed: seed, folder: folder, steps: nil, validation_error: nil,
                ended_by: nil, seconds: seconds))
    }

    /// Training and validation error over the steps, as a picture.
    private func drawCurves(_ record: TrainingRecord, _ name: String, _ folder: String) throws {
        func points(_ y: (TrainingRecord.Check) -> Double) -> [(x: Double, y: Double)] {
            record.checks.map { (Double($0.step), y($0)) }
        }
        let png = try LineChart(
            title: "\(name) on \(record.dataset)", xLabel: "step", yLabel: "mean squared error",
            series: [
                .init("training", points(\.training_error)),
                .init(
                    "validation", points(\.validation_error),
                    marked: record.checks.lastIndex { $0.is_best }),
            ]
        ).png()
        try writePicture(png, to: "\(folder)/curves.png")
    }

    /// - Returns: false where it was asked to stop.
    private func train(
        _ settings: TrainingSettings, _ data: TrainingData, _ folder: String, _ workers: Workers,
        _ shouldStop: () -> Bool
    ) throws -> Bool {
        let name = "\(settings.system.rawValue), seed \(settings.seed)"
        let progress = Progress()
        let trainer = try Trainer(
            settings, data: data, folder: folder, workers: workers,
            nanoseconds: monotonicNanoseconds)
        let outcome = try trainer.run(
            tell: { event in
                switch event {
                case .resumed(let step): say("\(name): going on after step \(step)")
                case .step(let step, let epoch, _):
                    progress.show("\(name): step \(step), epoch \(rounded(epoch, 1))")
                case .check(let check, let checksLeft):
                    progress.clear()
                    say(
                        "\(name): step \(check.step), epoch \(rounded(check.epoch, 1)), training "
                            + "\(rounded(check.training_error, 4)), validation "
                            + "\(rounded(check.validation_error, 4))"
                            + (check.is_best
                                ? " *" : "   (\(checksLeft) checks left)"))
                }
            }, shouldStop: shouldStop)
        progress.clear()
        let record = trainer.record
        if !record.checks.isEmpty { try drawCurves(record, name, folder) }
        guard case .finished = outcome else { return false }
        try printJSON(
            Summary(
                system: settings.system, seed: settings.seed, folder: folder,
                steps: record.checks.last?.step, validation_error: record.best?.validation_error,
                ended_by: record.ended_by, seconds: record.seconds))
        return true
    }
}

/// Systems on the command line.
struct SystemList: ExpressibleByArgument, CustomStringConvertible {
    let names: [SystemName]

    init(_ names: [SystemName]) {
        self.names = names
    }

    init?(argument: String) {
        if argument == "all" {
            names = SystemName.allCases
            return
        }
        var names: [SystemName] = []
        for part in argument.split(separator: ",") {
            guard let name = SystemName(rawValue: String(part)) else { return nil }
            names.append(name)
        }
        guard !names.isEmpty else { return nil }
        self.names = names
    }

    var description: String { names.map(\.rawValue).joined(separator: ",") }
    var defaultValueDescription: String { description }
}

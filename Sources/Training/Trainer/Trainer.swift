import Glibc
import Model

/// Trains a network until the validation error stops getting better (MODEL.md of the Model module,
/// "Training"), in a folder of its own: a run that was interrupted goes on where it was, and ends
/// with the same bits.
package final class Trainer {
    /// What is told while it goes on.
    package enum Event {
        case resumed(step: Int)
        case step(Int, epoch: Double, stepsOfEpoch: Int)
        case check(TrainingRecord.Check, checksLeft: Int)
    }

    package enum Outcome {
        case finished
        /// Asked to stop: a checkpoint was written.
        case interrupted
    }

    package private(set) var record: TrainingRecord
    private let settings: TrainingSettings
    private let data: TrainingData
    private let folder: String
    private let learner: Learner
    private let training: [TrainingSample]
    private let validation: [TrainingSample]
    private let nanoseconds: () -> UInt64
    private var best: [String: [Float]] = [:]
    private var errorSum = 0.0
    private var errorCount = 0
    private var order: [Int] = []
    private var orderEpoch = -1

    /// Between checkpoints.
    private static let checkpointNanoseconds: UInt64 = 60_000_000_000

    /// - Parameters:
    ///   - folder: where its checkpoints and its record lie; it is made where it is not there.
    ///   - nanoseconds: a clock that never goes back, for the record and the pace of checkpoints.
    package init(
        _ settings: TrainingSettings, data: TrainingData, folder: String, workers: Workers,
        nanoseconds: @escaping () -> UInt64
    ) throws(TrainingError) {
        try settings.check()
        guard let network = settings.system.network else {
            throw .invalid("\(settings.system.rawValue) is not trained by gradients")
        }
        guard data.features != nil || settings.system != .uhanImage else {
            throw .invalid("uhan-image reads images alone: it needs their features")
        }
        self.settings = settings
        self.data = data
        self.folder = folder
        self.nanoseconds = nanoseconds
        training = data.samples(of: .train)
        validation = data.samples(of: .validation)
        record = TrainingRecord(
            settings: settings, dataset: data.dataset.version,
            gallery_sha256: data.dataset.gallerySHA256, features: data.features?.identity,
            images: (training + validation).count { $0.features != nil })
        let kernels = try asTrainingError { () throws(ModelError) in try Kernels.chosen() }
        learner = try Learner(
            network.kind, shape: data.shape(settings), users: data.users.count,
            maximumPosts: settings.batch, rule: settings.rule, kernels: kernels, workers: workers)
        try asTrainingError { () throws(ModelError) in try makeFolder(folder) }
    }

    private var stepsOfEpoch: Int { dividedUp(training.count, settings.batch) }

    /// - Parameter shouldStop: asked before every step.
    package func run(
        tell: (Event) -> Void, shouldStop: () -> Bool
    ) throws(TrainingError) -> Outcome {
        try begin(tell)
        if record.finished { return .finished }
        var lastCheckpoint = nanoseconds()
        var lastTime = lastCheckpoint
        while record.ended_by == nil {
            if shouldStop() {
                try writeCheckpoint()
                return .interrupted
            }
            try learnOneBatch()
            let step = learner.steps
            let now = nanoseconds()
            record.seconds += Double(now - lastTime) / 1e9
            lastTime = now
            tell(
                .step(
                    step, epoch: Double(step) / Double(stepsOfEpoch), stepsOfEpoch: stepsOfEpoch))
            let isLast = step >= settings.maximumEpochs * stepsOfEpoch
            if isLast || step % settings.batchesOfCheck == 0 { try check(tell) }
            // Before a checkpoint: what goes on from it must not take a step more.
            if isLast { record.ended_by = "epochs" }
            if now - lastCheckpoint > Self.checkpointNanoseconds {
                try writeCheckpoint()
                lastCheckpoint = nanoseconds()
            }
        }
        try finish()
        return .finished
    }

    private func begin(_ tell: (Event) -> Void) throws(TrainingError) {
        let old = try TrainingRecord.load(folder: folder)
        if let old {
            try requireOurs(old)
            if old.finished {
                record = old
                Checkpoint.remove(folder: folder)
                return
            }
        }
        if let checkpoint = try Checkpoint.load(folder: folder) {
            try requireOurs(checkpoint.record)
            best = try checkpoint.restore(learner, folder: folder)
            record = checkpoint.record
            (errorSum, errorCount) = (checkpoint.errorSum, checkpoint.errorCount)
            tell(.resumed(step: learner.steps))
            return
        }
        guard old != nil || access("\(folder)/config.json", F_OK) != 0 else {
            throw .invalid("\(folder) already holds a model bundle; choose another folder")
        }
        let mean = training.reduce(0.0) { $0 + Double($1.target) } / Double(training.count)
        var initial = Initialisation(
            seed: settings.seed, meanTarget: Float(mean), userScale: settings.userScale)
        for (name, shape) in learner.tensors {
            try learner.setTensor(
                name,
                initial.tensor(name, shape: shape, lastDense: settings.dense.count + 1))
        }
        learner.ready()
        try writeJSON(record, to: "\(folder)/\(TrainingRecord.file)")
    }

    private func requireOurs(_ other: TrainingRecord) throws(TrainingError) {
        guard other.settings == settings, other.dataset == record.dataset,
            other.features == record.features, other.images == record.images
        else {
            throw .invalid(
                "\(folder) holds training with other settings, data or features; choose another "
                    + "folder, or delete it")
        }
    }

    // MARK: A step

    private func learnOneBatch() throws(TrainingError) {
        let (epoch, place) = learner.steps.quotientAndRemainder(dividingBy: stepsOfEpoch)
        if epoch != orderEpoch {
            var random = StepRandom(seed: settings.seed, .order, epoch)
            (order, orderEpoch) = (random.permutation(training.count), epoch)
        }
        let range = place * settings.batch..<min(training.count, (place + 1) * settings.batch)
        var batch = order[range].map { training[$0] }
        var random = StepRandom(seed: settings.seed, .unknownUsers, learner.steps)
        for index in batch.indices where random.unit() < settings.unknownUsers {
            batch[index].user = nil
        }
        let (error, _) = try learner.learn(batch, masks: masks(batch))
        errorSum += error * Double(batch.count)
        errorCount += batch.count
    }

    private func requireFinite(_ error: Double, _ name: String) throws(TrainingError) {
        guard error.isFinite else {
            throw .invalid(
                "the \(name) is not finite any more at step \(learner.steps); train with a smaller "
                    + "learning rate, or with a bound on the gradients' norm")
        }
    }

    private func masks(_ batch: [TrainingSample]) -> DropoutMasks {
        let d = settings.dimension
        func mask(_ rows: Int, _ share: Double, _ purpose: StepRandom.Purpose) -> [Float]? {
            guard share > 0, rows > 0 else { return nil }
            var random = StepRandom(seed: settings.seed, purpose, learner.steps)
            return random.mask(rows * d, dropped: share)
        }
        let parts = learner.shape.parts
        let words = parts.reads_text ? batch.reduce(0) { $0 + $1.wordIDs.count } : 0
        let images = parts.reads_image ? batch.count { $0.features != nil } : 0
        return DropoutMasks(
            words: mask(words, settings.dropout.words, .words),
            regions: mask(images * learner.shape.regions, settings.dropout.regions, .regions),
            users: mask(batch.count, settings.dropout.users, .users))
    }

    // MARK: Checks

    private func check(_ tell: (Event) -> Void) throws(TrainingError) {
        let scores = scores(of: validation)
        let error =
            zip(scores, validation).reduce(0.0) {
                $0 + (Double($1.0) - Double($1.1.target)) * (Double($1.0) - Double($1.1.target))
            } / Double(validation.count)
        try requireFinite(error, "validation error")
        let isBest = record.best.map { error < $0.validation_error } ?? true
        record.checks.append(
            TrainingRecord.Check(
                step: learner.steps, epoch: Double(learner.steps) / Double(stepsOfEpoch),
                training_error: errorSum / Double(max(1, errorCount)), validation_error: error,
                is_best: isBest))
        (errorSum, errorCount) = (0, 0)
        if isBest { best = currentTensors() }
        let since = record.checks.count - 1 - (record.checks.lastIndex { $0.is_best } ?? 0)
        if since >= settings.patience { record.ended_by = "patience" }
        try writeJSON(record, to: "\(folder)/\(TrainingRecord.file)")
        if let check = record.checks.last {
            tell(.check(check, checksLeft: settings.patience - since))
        }
    }

    private func currentTensors() -> [String: [Float]] {
        var tensors: [String: [Float]] = [:]
        for (name, _) in learner.tensors { tensors[name] = learner.tensor(name) }
        return tensors
    }

    private func scores(of samples: [TrainingSample]) -> [Float] {
        stride(from: 0, to: samples.count, by: settings.batch).flatMap {
            learner.scores(Array(samples[$0..<min(samples.count, $0 + settings.batch)]))
        }
    }

    private func writeCheckpoint() throws(TrainingError) {
        try Checkpoint.write(
            learner, best: best, errorSum: errorSum, errorCount: errorCount, record: record,
            to: folder)
    }

    // MARK: The end

    private func finish() throws(TrainingError) {
        for (name, _) in learner.tensors {
            if let values = best[name] { try learner.setTensor(name, values) }
        }
        learner.ready(steps: learner.steps)
        let smearing =
            zip(scores(of: validation), validation).reduce(0.0) {
                $0 + exp2(Double($1.1.target) - Double($1.0))
            } / Double(validation.count)
        try TrainedNetwork.write(
            learner, settings: settings, data: data,
            // Far off, a network's residuals are beyond all powers of two.
            smearing: smearing.isFinite && smearing > 0 ? smearing : nil, to: folder)
        record.finished = true
        try writeJSON(record, to: "\(folder)/\(TrainingRecord.file)")
        Checkpoint.remove(folder: folder)
    }
}

import Foundation
import Model
import Testing
import Training

/// Training that was stopped, killed or disturbed ends with the bits of training that was not; or it
/// says why not.
@Suite struct ResumeTests {
    /// 18 steps with everything in them that is drawn at random.
    private static func settings(_ system: SystemName = .uhan) -> TrainingSettings {
        var settings = PlantedPosts.settings(system)
        (settings.batchesOfCheck, settings.maximumEpochs) = (5, 2)
        settings.dropout = .init(words: 0.2, regions: 0.2, users: 0.1)
        settings.unknownUsers = 0.2
        settings.rule.maximumNorm = 0.5
        return settings
    }

    /// What lies in a folder, by name.
    private func contents(_ folder: DataFolder, _ name: String) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.file(name)) {
            files[file] = try folder.bytes(of: "\(name)/\(file)")
        }
        return files
    }

    /// The same but for how long it took.
    private func requireSame(
        _ folder: DataFolder, _ name: String, as expected: String, _ comment: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        var (files, others) = (try contents(folder, name), try contents(folder, expected))
        func record(_ bytes: [UInt8]?) throws -> TrainingRecord {
            var record = try JSONDecoder().decode(
                TrainingRecord.self, from: Data(try #require(bytes)))
            record.seconds = 0
            return record
        }
        #expect(
            try record(files.removeValue(forKey: TrainingRecord.file))
                == record(others.removeValue(forKey: TrainingRecord.file)), "\(comment)",
            sourceLocation: sourceLocation)
        #expect(
            files.keys.sorted() == others.keys.sorted(), "\(comment)",
            sourceLocation: sourceLocation)
        for (file, bytes) in others {
            #expect(files[file] == bytes, "\(file) \(comment)", sourceLocation: sourceLocation)
        }
    }

    private func copy(_ folder: DataFolder, _ name: String, to other: String) throws {
        try FileManager.default.copyItem(atPath: folder.file(name), toPath: folder.file(other))
    }

    // MARK: Stops

    @Test(arguments: [SystemName.uhan, .dmfUser])
    func stoppedAnywhereItGoesOnToTheSameBits(system: SystemName) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        let settings = Self.settings(system)
        let whole = try TrainingRun(settings, on: data, in: folder.file("whole"))
        #expect(whole.isFinished && whole.steps == Array(1...18))
        // Before the first step, on both sides of a check and of a pass, before the end.
        for stop in [0, 1, 4, 5, 6, 9, 10, 17] {
            let name = "stopped-\(stop)"
            let first = try TrainingRun(settings, on: data, in: folder.file(name), until: stop)
            #expect(!first.isFinished && first.steps == Array(0..<stop).map { $0 + 1 })
            let second = try TrainingRun(settings, on: data, in: folder.file(name), threads: 1)
            #expect(second.isFinished && second.resumedAt == stop)
            #expect(second.steps == Array(stop..<18).map { $0 + 1 })
            try requireSame(folder, name, as: "whole", "stopped at \(stop)")
        }
    }

    @Test func stoppedAfterEveryStep() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        let settings = Self.settings()
        try TrainingRun(settings, on: data, in: folder.file("whole"))
        for step in 0..<18 {
            let run = try TrainingRun(settings, on: data, in: folder.file("model"), until: step)
            #expect(!run.isFinished)
        }
        #expect(try TrainingRun(settings, on: data, in: folder.file("model")).isFinished)
        try requireSame(folder, "model", as: "whole")
    }

    @Test func stoppedAfterTheLastStepOfPatience() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.chance, in: folder)
        var settings = Self.settings()
        (settings.patience, settings.maximumEpochs, settings.batchesOfCheck) = (2, 1000, 3)
        let whole = try TrainingRun(settings, on: data, in: folder.file("whole"))
        #expect(whole.record.ended_by == "patience")
        let last = try #require(whole.steps.last)
        for stop in last - 4..<last {
            let name = "stopped-\(stop)"
            try TrainingRun(settings, on: data, in: folder.file(name), until: stop)
            try TrainingRun(settings, on: data, in: folder.file(name))
            try requireSame(folder, name, as: "whole", "stopped at \(stop)")
        }
    }

    @Test func threadsChangeNoBitAndTheSeedDoes() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        var settings = Self.settings()
        try TrainingRun(settings, on: data, in: folder.file("two"), threads: 2)
        for threads in [1, 3] {
            try TrainingRun(settings, on: data, in: folder.file("other"), threads: threads)
            try requireSame(folder, "other", as: "two", "\(threads) threads")
            try folder.delete("other")
        }
        settings.seed = 2
        try TrainingRun(settings, on: data, in: folder.file("seed"))
        let head = "head.safetensors"
        #expect(try folder.bytes(of: "seed/\(head)") != folder.bytes(of: "two/\(head)"))
    }

    /// Each draw is there: without it other bits come out.
    @Test func everyDrawMatters() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        func head(_ change: (inout TrainingSettings) -> Void) throws -> [UInt8] {
            var settings = Self.settings()
            change(&settings)
            try TrainingRun(settings, on: data, in: folder.file("model"))
            defer { try? folder.delete("model") }
            return try folder.bytes(of: "model/head.safetensors")
        }
        let heads = [
            try head { _ in }, try head { $0.dropout.words = 0 },
            try head { $0.dropout.regions = 0 }, try head { $0.dropout.users = 0 },
            try head { $0.unknownUsers = 0 }, try head { $0.rule.maximumNorm = nil },
        ]
        #expect(Set(heads).count == heads.count)
    }

    // MARK: Kills

    /// A kill leaves the folder as it is at that moment. Moments: whenever something is told or the
    /// clock is read, so before and after every file that is written.
    @Test(arguments: [1, 3, 5])
    func killedAnywhereItGoesOnToTheSameBits(batchesOfCheck: Int) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        var settings = Self.settings()
        settings.batchesOfCheck = batchesOfCheck
        var (time, moments): (UInt64, [[String: [UInt8]]]) = (0, [])
        func keep() {
            guard let files = try? contents(folder, "whole"), moments.last != files else { return }
            moments.append(files)
        }
        let whole = try TrainingRun(
            settings, on: data, in: folder.file("whole"),
            nanoseconds: {
                keep()
                // A minute and more goes by: checkpoints are due.
                time += 61_000_000_000
                return time
            }, watch: keep)
        #expect(whole.isFinished)
        #expect(moments.count > 3)
        for (number, files) in moments.enumerated() {
            let name = "killed-\(number)"
            try FileManager.default.createDirectory(
                atPath: folder.file(name), withIntermediateDirectories: true)
            for (file, bytes) in files { try folder.write(bytes, to: "\(name)/\(file)") }
            #expect(try TrainingRun(settings, on: data, in: folder.file(name)).isFinished)
            try requireSame(folder, name, as: "whole", "killed with \(files.keys.sorted())")
        }
    }

    @Test(arguments: [SystemName.uhan, .dmf])
    func killedWhileTheResultIsWritten(system: SystemName) throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        let settings = Self.settings(system)
        try TrainingRun(settings, on: data, in: folder.file("whole"))
        // All of the result or a part of it is there, and training.json does not say so yet.
        let result = try contents(folder, "whole").keys.filter { $0 != TrainingRecord.file }
        for count in 1...result.count {
            let name = "killed-\(count)"
            try TrainingRun(settings, on: data, in: folder.file(name), until: 17)
            for file in result.sorted().suffix(count) {
                try folder.write(folder.bytes(of: "whole/\(file)"), to: "\(name)/\(file)")
            }
            #expect(try TrainingRun(settings, on: data, in: folder.file(name)).isFinished)
            try requireSame(folder, name, as: "whole", "\(count) files were written")
        }
        // All of it, but for the checkpoint's end.
        try TrainingRun(settings, on: data, in: folder.file("left"), until: 17)
        for (file, bytes) in try contents(folder, "whole") {
            try folder.write(bytes, to: "left/\(file)")
        }
        #expect(try TrainingRun(settings, on: data, in: folder.file("left")).isFinished)
        try requireSame(folder, "left", as: "whole")
    }

    @Test func filesThatWereHalfWrittenAreOfNoConsequence() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        let settings = Self.settings()
        try TrainingRun(settings, on: data, in: folder.file("whole"))
        try TrainingRun(settings, on: data, in: folder.file("model"), until: 7)
        let names = try contents(folder, "model").keys + ["config.json", "head.safetensors"]
        for name in names { try folder.write("half", to: "model/\(name).part") }
        #expect(try TrainingRun(settings, on: data, in: folder.file("model")).resumedAt == 7)
        try requireSame(folder, "model", as: "whole")
    }

    // MARK: Damage

    private struct Damaged {
        let folder: DataFolder
        let data: TrainingData
        let settings = ResumeTests.settings()
        /// Of the checkpoint's tensors.
        let tensors: String

        /// Training that stopped after step 7.
        init() throws {
            folder = try DataFolder()
            data = try PlantedPosts.data(.text, in: folder)
            try TrainingRun(settings, on: data, in: folder.file("model"), until: 7)
            tensors = try #require(
                try FileManager.default.contentsOfDirectory(atPath: folder.file("model"))
                    .first { $0.hasPrefix("checkpoint") && $0.hasSuffix(".safetensors") })
        }

        /// What going on says.
        func refusal(
            _ settings: TrainingSettings? = nil, data: TrainingData? = nil,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> String {
            let error = #expect(throws: TrainingError.self, sourceLocation: sourceLocation) {
                try TrainingRun(
                    settings ?? self.settings, on: data ?? self.data, in: folder.file("model"))
            }
            return "\(try #require(error, sourceLocation: sourceLocation))"
        }
    }

    @Test func aCheckpointThatIsNotWholeIsNeverGoneOnWith() throws {
        let damaged = try Damaged()
        let (folder, tensors) = (damaged.folder, damaged.tensors)
        let bytes = try folder.bytes(of: "model/\(tensors)")
        var changed = bytes
        changed[bytes.count - 5] ^= 1
        for torn in [Array(bytes.prefix(bytes.count / 2)), [], changed] {
            try folder.write(torn, to: "model/\(tensors)")
            let text = try damaged.refusal()
            #expect(text.contains(tensors) && text.contains("checkpoint.json"), "\(text)")
            #expect(!text.contains("config.json"), "\(text)")
        }
        try folder.delete("model/\(tensors)")
        let missing = try damaged.refusal()
        #expect(missing.contains(tensors) && missing.contains("checkpoint.json"), "\(missing)")

        try folder.write(bytes, to: "model/\(tensors)")
        for name in ["checkpoint.json", TrainingRecord.file] {
            let whole = try folder.bytes(of: "model/\(name)")
            try folder.write(Array(whole.prefix(whole.count / 2)), to: "model/\(name)")
            #expect(try damaged.refusal().contains(name))
            try folder.write(whole, to: "model/\(name)")
        }
        // Put back as it was, it goes on.
        let run = try TrainingRun(damaged.settings, on: damaged.data, in: folder.file("model"))
        #expect(run.resumedAt == 7)
        try TrainingRun(damaged.settings, on: damaged.data, in: folder.file("whole"))
        try requireSame(folder, "model", as: "whole")
    }

    @Test func withoutItsCheckpointTrainingBeginsAnew() throws {
        let damaged = try Damaged()
        let folder = damaged.folder
        try folder.delete("model/checkpoint.json")
        let run = try TrainingRun(damaged.settings, on: damaged.data, in: folder.file("model"))
        #expect(run.resumedAt == nil && run.steps.first == 1)
        try TrainingRun(damaged.settings, on: damaged.data, in: folder.file("whole"))
        try requireSame(folder, "model", as: "whole")
    }

    @Test func aCheckpointIsOfItsOwnSettingsAlone() throws {
        let damaged = try Damaged()
        try damaged.folder.delete("model/\(TrainingRecord.file)")
        var other = damaged.settings
        other.seed = 2
        #expect(try damaged.refusal(other).contains("other settings, data or features"))
        let run = try TrainingRun(
            damaged.settings, on: damaged.data, in: damaged.folder.file("model"))
        #expect(run.resumedAt == 7)
    }

    // MARK: Other training

    @Test func aFolderOfOtherTrainingIsRefusedAndLeftAsItIs() throws {
        let damaged = try Damaged()
        let folder = damaged.folder
        for finished in [false, true] {
            if finished {
                try TrainingRun(damaged.settings, on: damaged.data, in: folder.file("model"))
            }
            let before = try contents(folder, "model")
            func refused(
                _ change: (inout TrainingSettings) -> Void = { _ in }, data: TrainingData? = nil
            ) throws {
                var settings = damaged.settings
                change(&settings)
                let text = try damaged.refusal(settings, data: data)
                #expect(text.contains("other settings, data or features"), "\(text)")
                #expect(text.contains("choose another folder"), "\(text)")
                #expect(try contents(folder, "model") == before)
            }
            try refused { $0.seed = 2 }
            try refused { $0.system = .uhanText }
            try refused { $0.dimension = 4 }
            try refused { $0.dense = [8, 4] }
            try refused { $0.rule.rate = 0.02 }
            try refused { $0.dropout.users = 0 }
            try refused { $0.patience = 11 }
            try refused { $0.maximumEpochs = 3 }
            let name = "other-\(finished)"
            let other = try PlantedPosts.write(.text, in: folder, name: name, seed: 9)
            try refused(
                data: TrainingData(other, features: damaged.data.features, maximumWords: 6))
            try refused(
                data: TrainingData(damaged.data.dataset, features: nil, maximumWords: 6))
            let features = try PlantedPosts.writeFeatures(
                in: folder, name: "\(name)-features", seed: 9)
            try refused(
                data: TrainingData(damaged.data.dataset, features: features, maximumWords: 6))
        }
    }

    @Test func whatIsFinishedIsLeftAloneAndReported() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        let first = try TrainingRun(Self.settings(), on: data, in: folder.file("model"))
        let before = try contents(folder, "model")
        let again = try TrainingRun(Self.settings(), on: data, in: folder.file("model"))
        #expect(again.isFinished && again.steps.isEmpty && again.resumedAt == nil)
        #expect(again.record == first.record && again.record.finished)
        #expect(try contents(folder, "model") == before)
    }

    @Test func aModelThatTrainingDidNotMakeIsNotOverwritten() throws {
        let folder = try DataFolder()
        let data = try PlantedPosts.data(.text, in: folder)
        try TrainingRun(Self.settings(), on: data, in: folder.file("model"))
        try folder.delete("model/\(TrainingRecord.file)")
        let before = try contents(folder, "model")
        let error = #expect(throws: TrainingError.self) {
            try TrainingRun(Self.settings(), on: data, in: folder.file("model"))
        }
        #expect("\(try #require(error))".contains("already holds a model bundle"))
        #expect(try contents(folder, "model") == before)
    }
}

import Glibc
import Model
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The folder that `uhan train` leaves: SYSTEM/seed-SEED for each system and run.
package struct TrainedSystems: Sendable {
    package struct Run: Sendable, Equatable {
        package let system: SystemName
        package let seed: UInt64
        package let folder: String
    }

    static let hisAveFile = "hisave.json"
    private static let maximumBytesOfImage = ImageLimits().maximumBytes + 1

    package let folder: String
    private let data: TrainingData
    private let workers: Workers

    package init(folder: String, data: TrainingData, workers: Workers) {
        self.folder = folder
        self.data = data
        self.workers = workers
    }

    package static func folder(of system: SystemName, seed: UInt64, in folder: String) -> String {
        "\(folder)/\(system.rawValue)/seed-\(seed)"
    }

    /// The finished runs of a system, by seed.
    package func runs(of system: SystemName) throws(TrainingError) -> [Run] {
        let parent = "\(folder)/\(system.rawValue)"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        var runs: [Run] = []
        for name in names {
            guard let seed = name.hasPrefix("seed-") ? UInt64(name.dropFirst(5)) : nil else {
                continue
            }
            let run = Run(system: system, seed: seed, folder: "\(parent)/\(name)")
            guard let record = try TrainingRecord.load(folder: run.folder), record.finished else {
                continue
            }
            guard record.dataset == data.dataset.version else {
                throw .invalid(
                    "\(run.folder) was trained on \(record.dataset), not on "
                        + "\(data.dataset.version); evaluate it with that dataset")
            }
            guard record.features == nil || record.features == data.features?.identity else {
                throw .invalid(
                    "\(run.folder) was trained on features of another backbone; give the --features "
                        + "that it was trained with")
            }
            runs.append(run)
        }
        return runs.sorted { $0.seed < $1.seed }
    }

    // MARK: Those that are no networks

    /// Trains a system that has no gradients.
    /// - Parameter nanoseconds: a clock that never goes back, for the record.
    package static func train(
        _ system: SystemName, data: TrainingData, to folder: String,
        progress: (String) -> Void, nanoseconds: () -> UInt64
    ) throws {
        let start = nanoseconds()
        var settings = TrainingSettings(system: system, dimension: 1, dense: [])
        settings.seed = 0
        var record = TrainingRecord(
            settings: settings, dataset: data.dataset.version,
            gallery_sha256: data.dataset.gallerySHA256, features: nil)
        if let old = try TrainingRecord.load(folder: folder) {
            guard old.dataset == record.dataset else {
                throw TrainingError.invalid(
                    "\(folder) holds what was trained on \(old.dataset); choose another folder, or "
                        + "delete it")
            }
            if old.finished { return }
        }
        try makeFolder(folder)
        let posts = data.dataset.posts
        switch system {
        case .hisAve:
            try HisAve.train(posts: posts).save(to: "\(folder)/\(hisAveFile)")
        case .hisAveValidation:
            try HisAve.train(posts: posts, parts: [.train, .validation])
                .save(to: "\(folder)/\(hisAveFile)")
        case .svr:
            let svr = try SVR.train(
                posts: posts, vocabulary: data.dataset.vocabulary,
                images: images(of: data.dataset), progress: { progress("\($0)") })
            try svr.save(to: folder)
        default:
            throw TrainingError.invalid("\(system.rawValue) is a network; it has a trainer")
        }
        record.finished = true
        record.seconds = Double(nanoseconds() - start) / 1e9
        try writeJSON(record, to: "\(folder)/\(TrainingRecord.file)")
    }

    private static func images(of dataset: PreparedDataset) -> SVR.Images {
        { post in
            guard let image = post.image else { return nil }
            return try MappedFile(path: "\(dataset.imagesFolder)/\(image)")
                .contents(maximumBytes: maximumBytesOfImage)
        }
    }

    // MARK: Scores

    /// The scores of a run for some posts, in their order: for UHAN and its variants by the code of
    /// serving, to the last bit.
    package func scores(_ run: Run, of posts: [PreparedPost]) throws -> [Float] {
        switch run.system.network?.kind {
        case .attention:
            let head = try head(run)
            return posts.map { prediction(of: $0, by: head).score }
        case .fusion:
            return try TrainedNetwork.scores(
                data.samples(of: posts), of: run.folder, data: data, kernels: Kernels.chosen(),
                workers: workers)
        case nil where run.system == .svr:
            return try SVR(folder: run.folder).scores(
                posts, images: Self.images(of: data.dataset))
        case nil:
            let means = try HisAve(path: "\(run.folder)/\(Self.hisAveFile)")
            return posts.map(means.score)
        }
    }

    /// What a run's bundle makes of a post.
    package func head(_ run: Run) throws -> PostHead {
        let bundle = try ModelBundle(folder: run.folder)
        if let features = data.features, bundle.configuration.headShape.parts.reads_image {
            let backbone = bundle.configuration.backbone
            guard backbone.sha256 == features.identity.backboneSHA256 else {
                throw TrainingError.invalid(
                    "\(run.folder) has another backbone than the features")
            }
        }
        return PostHead(bundle: bundle, workers: workers, nanoseconds: { 0 })
    }

    package func prediction(of post: PreparedPost, by head: PostHead) -> Prediction {
        let parts = head.bundle.configuration.headShape.parts
        let image = parts.reads_image ? post.imageSHA256 : nil
        let features = image.flatMap { data.features?.features(ofImage: $0) }
        let event = PostEvent(
            pid: post.pid, uid: post.uid, title: post.title, tags: post.tags,
            description: post.description)
        return head.score(event, seen: features.map { .known(Array($0)) } ?? .nothing).prediction
    }
}

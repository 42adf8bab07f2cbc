import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The backbone that features are computed with. One caller at a time.
package final class FeatureBackbone {
    package let identity: FeatureIdentity
    package let origin: BackboneOrigin
    private let network: VGG16

    private init(identity: FeatureIdentity, origin: BackboneOrigin, network: VGG16) {
        self.identity = identity
        self.origin = origin
        self.network = network
    }

    /// The features of a picture of side x side pixels: regions x channels, row-major. Those that
    /// `PostScorer` computes, to the last bit.
    package func features(_ pixels: Pixels) -> [Float] { network.features(pixels) }

    // MARK: From a seed

    private static let seededFile = "backbone.safetensors"

    /// A preset's backbone with weights from a seed, those of `uhan model init` with the same
    /// seed and sizes. They lie in `folder`/backbone.safetensors, written once.
    package static func seeded(
        _ preset: Preset, seed: UInt64, folder: String, workers: Workers,
        progress: (String) -> Void
    ) throws(TrainingError) -> FeatureBackbone {
        let origin = BackboneOrigin(
            file: seededFile, trained: false, origin: "seed \(seed)", seed: seed)
        let path = "\(folder)/\(seededFile)"
        let existing = try FeatureFile.header(in: folder)
        if let existing {
            // Asked before a minute is spent on weights that do not belong here.
            guard existing.origin == origin, existing.identity.blocks == preset.blocks,
                existing.identity.side == preset.side
            else {
                throw .invalid(
                    "\(folder) has features of the backbone '\(existing.origin.origin)', blocks "
                        + "\(existing.identity.blocks), side \(existing.identity.side); asked for "
                        + "'\(origin.origin)', \(preset.blocks), \(preset.side): "
                        + "choose another folder")
            }
            guard access(path, F_OK) == 0 else {
                throw .file(
                    path: path, reason: "it is gone; restore it, or compute the features anew")
            }
        } else {
            try makeSeeded(preset, seed: seed, folder: folder, workers, progress)
        }
        return try asTrainingError { () throws(ModelError) in
            let kernels = try Kernels.chosen()
            let file = try MappedFile(path: path)
            let packed = try PackedVGG(
                Safetensors(file: file), blocks: preset.blocks, side: preset.side,
                kernels: kernels, workers: workers)
            let network = VGG16(
                weights: packed, normalization: seededNormalization, workers: workers)
            return FeatureBackbone(
                identity: identity(
                    of: network, sha256: file.sha256(), blocks: preset.blocks, kernels: kernels),
                origin: origin, network: network)
        }
    }

    /// That of `SeededBundle`.
    private static let seededNormalization = Normalization.torchvision

    /// By way of a seeded bundle with the smallest head there is, so that there is one recipe.
    private static func makeSeeded(
        _ preset: Preset, seed: UInt64, folder: String, _ workers: Workers,
        _ progress: (String) -> Void
    ) throws(TrainingError) {
        let work = "\(folder)/backbone.part"
        try asTrainingError { () throws(ModelError) in try makeFolder(folder) }
        try? FileManager.default.removeItem(atPath: work)
        defer { try? FileManager.default.removeItem(atPath: work) }
        var bundle = SeededBundle(seed: seed)
        (bundle.blocks, bundle.side) = (preset.blocks, preset.side)
        (bundle.dimension, bundle.dense, bundle.words, bundle.users) = (1, [1, 1], [], [])
        _ = try asTrainingError { () throws(ModelError) in
            try bundle.write(to: work, workers: workers, progress: progress)
        }
        let (from, to) = ("\(work)/backbone.safetensors", "\(folder)/\(seededFile)")
        guard rename(from, to) == 0 else {
            throw .file(path: to, reason: String(cString: strerror(errno)))
        }
    }

    // MARK: From a bundle

    /// The backbone of a model bundle, used where it lies.
    package static func of(
        bundle folder: String, workers: Workers
    ) throws(TrainingError) -> FeatureBackbone {
        try asTrainingError { () throws(ModelError) in
            let bundle = try ModelBundle(folder: folder)
            let backbone = bundle.configuration.backbone
            let network = try bundle.makeBackbone(workers: workers)
            return FeatureBackbone(
                identity: identity(
                    of: network, sha256: backbone.sha256, blocks: backbone.blocks,
                    kernels: try Kernels.chosen()),
                origin: BackboneOrigin(
                    file: try MappedFile(path: bundle.backbonePath).absolutePath(),
                    trained: backbone.trained, origin: backbone.origin, seed: backbone.seed),
                network: network)
        }
    }

    private static func identity(
        of network: VGG16, sha256: String, blocks: [[Int]], kernels: Kernels
    ) -> FeatureIdentity {
        FeatureIdentity(
            backboneSHA256: sha256, blocks: blocks, side: network.side,
            normalization: network.normalization.rawValue, instructionSet: kernels.name,
            regions: network.regions, channels: network.channels)
    }
}

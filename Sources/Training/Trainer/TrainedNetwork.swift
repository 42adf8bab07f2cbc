import Glibc
import Model

/// What training leaves: for UHAN and its variants a model bundle, that the daemon serves; for others
/// a folder with `network.json` and their weights.
package enum TrainedNetwork {
    static let networkFile = "network.json"
    static let weightsFile = "weights.safetensors"
    /// Larger backbones stay where they are, and bundles name them there.
    private static let maximumCopiedBytes = 16 << 20

    /// - Parameter smearing: nil where there is no such number.
    static func write(
        _ learner: Learner, settings: TrainingSettings, data: TrainingData, smearing: Double?,
        to folder: String
    ) throws(TrainingError) {
        switch settings.system.network?.kind {
        case .attention:
            try asTrainingError { () throws(ModelError) in
                try writeBundle(learner, settings, data, smearing, folder)
            }
        case .fusion, nil:
            try writeNetwork(learner, settings, data, folder)
        }
    }

    private static func writeBundle(
        _ learner: Learner, _ settings: TrainingSettings, _ data: TrainingData,
        _ smearing: Double?, _ folder: String
    ) throws(ModelError) {
        // Where an earlier run was killed after this was written and before the record said so.
        unlink("\(folder)/config.json")
        let writer = try BundleWriter(folder: folder)
        var (head, users) = (SafetensorsWriter(), SafetensorsWriter())
        for (name, shape) in learner.tensors {
            let values = learner.tensor(name) ?? []
            if name == "user" || name == "unknown" {
                if name == "unknown" || !data.users.isEmpty {
                    users.add(name, shape: shape, values)
                }
            } else {
                head.add(name, shape: shape, values)
            }
        }
        if !data.users.isEmpty { addHistories(of: data, to: &users) }
        // Where no image is read, the smallest backbone there is: a bundle has one.
        let identity = data.features?.identity
        let name = identity?.normalization ?? SeededBackbone.normalization.rawValue
        guard let normalization = Normalization(rawValue: name) else {
            throw .invalid("no normalization is called '\(name)'")
        }
        try BundleContents(
            name: settings.system.rawValue, shape: learner.shape,
            side: identity?.side ?? SeededBackbone.smallest.side, normalization: normalization,
            blocks: identity?.blocks ?? SeededBackbone.smallest.blocks,
            backbone: try backbone(of: data), head: head, isHeadTrained: true,
            words: data.dataset.vocabulary, users: data.users, userVectors: users,
            minimumDays: data.dataset.settings.minimumDays, smearing: smearing,
            horizonDays: data.dataset.settings.horizonDays
        ).write(writer)
    }

    /// How many training posts each user had, and their mean target.
    private static func addHistories(of data: TrainingData, to users: inout SafetensorsWriter) {
        var sums: [CodePoints: (posts: Int, sum: Double)] = [:]
        for post in data.dataset.posts where post.part == .train {
            sums[CodePoints(post.uid), default: (0, 0)].posts += 1
            sums[CodePoints(post.uid), default: (0, 0)].sum += Double(post.target)
        }
        // Every user has some: they are the users of the training part.
        let histories = data.users.map { sums[CodePoints($0)] ?? (posts: 0, sum: 0) }
        users.add(
            UserTable.historyPosts, shape: [histories.count], histories.map { Float($0.posts) })
        users.add(
            UserTable.historyMean, shape: [histories.count],
            histories.map { Float($0.sum / Double(max(1, $0.posts))) })
    }

    private static func backbone(
        of data: TrainingData
    ) throws(ModelError) -> BundleContents.BackboneSource {
        guard let features = data.features else { return .seeded(.smallest) }
        let (identity, origin) = (features.identity, features.backbone)
        if let seed = origin.seed {
            let seeded = SeededBackbone(
                seed: seed, blocks: identity.blocks, side: identity.side)
            // Whatever lies in the cache, the bundle names the weights of the features.
            _ = try seeded.cachedFile(sha256: identity.backboneSHA256)
            return .seeded(seeded)
        }
        let file = try MappedFile(path: origin.file)
        try file.requireChecksum(identity.backboneSHA256)
        let bytes = file.contents()
        return bytes.count > maximumCopiedBytes
            ? .link(path: origin.file, trained: origin.trained, origin: origin.origin)
            : .file(bytes: bytes, trained: origin.trained, origin: origin.origin)
    }

    // MARK: Other networks

    private struct Network: Codable {
        var format = "uhan-network"
        var format_version = 1
        var settings: TrainingSettings
        var channels: Int
        var regions: Int
        var dataset: String
        var weights: String
        var sha256: String
    }

    private static func writeNetwork(
        _ learner: Learner, _ settings: TrainingSettings, _ data: TrainingData, _ folder: String
    ) throws(TrainingError) {
        var weights = SafetensorsWriter()
        for (name, shape) in learner.tensors {
            weights.add(name, shape: shape, learner.tensor(name) ?? [])
        }
        let bytes = weights.bytes()
        try asTrainingError { () throws(ModelError) in
            try writeFile(bytes, to: "\(folder)/\(weightsFile)")
        }
        try writeJSON(
            Network(
                settings: settings, channels: learner.shape.channels,
                regions: learner.shape.regions, dataset: data.dataset.version,
                weights: weightsFile, sha256: sha256Hex(bytes)),
            to: "\(folder)/\(networkFile)")
    }

    /// Scores of posts by a network that `write` has left and that is no bundle.
    /// - Returns: in the order of the samples.
    package static func scores(
        _ samples: [TrainingSample], of folder: String, data: TrainingData, kernels: Kernels,
        workers: Workers
    ) throws(TrainingError) -> [Float] {
        let path = "\(folder)/\(networkFile)"
        guard let network = try readJSONIfThere(Network.self, at: path) else {
            throw .file(path: path, reason: "not there; 'uhan train' makes it")
        }
        guard network.dataset == data.dataset.version else {
            throw .invalid(
                "\(folder) was trained on \(network.dataset), not on \(data.dataset.version)")
        }
        guard let kind = network.settings.system.network?.kind else {
            throw .file(path: path, reason: "not a network's")
        }
        let learner = try Learner(
            kind, shape: data.shape(network.settings), users: data.users.count,
            maximumPosts: network.settings.batch, rule: network.settings.rule, kernels: kernels,
            workers: workers)
        for (name, shape) in learner.tensors {
            let values = try asTrainingError { () throws(ModelError) in
                let file = try MappedFile(path: "\(folder)/\(network.weights)")
                try file.requireChecksum(network.sha256)
                return try Safetensors(file: file).tensor(name, shape: shape).contents()
            }
            try learner.setTensor(name, values)
        }
        learner.ready()
        return stride(from: 0, to: samples.count, by: network.settings.batch).flatMap {
            learner.scores(
                Array(samples[$0..<min(samples.count, $0 + network.settings.batch)]))
        }
    }
}

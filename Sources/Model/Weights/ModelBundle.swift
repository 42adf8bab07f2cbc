/// A model on disk, loaded and checked: `config.json`, weights, vocabulary, users.
///
/// Every file is compared with the SHA-256 that config.json names, every tensor with its expected
/// shape and type, every value must be finite. MODEL.md of this module documents the format.
package final class ModelBundle: Sendable {
    package let folder: String
    package let configuration: BundleConfiguration
    /// `name@` and 12 hex digits of config.json's SHA-256: it names every weight, since the
    /// configuration holds the checksums of all files.
    package let version: String
    package let vocabulary: Vocabulary
    package let users: UserTable
    package let head: PackedHead
    private let backboneFile: Safetensors
    private let kernels: Kernels

    /// True where the head is seeded and not trained: scores mean nothing, and must say so. (A head
    /// that was trained on a seeded backbone's features has learnt what there is to see in them.)
    package var isUntrained: Bool { !configuration.head.trained }

    package init(folder: String) throws(ModelError) {
        self.folder = folder
        kernels = try Kernels.chosen()
        let file = try MappedFile(path: "\(folder)/config.json")
        configuration = try BundleConfiguration.load(file)
        version = "\(configuration.name)@\(file.sha256().prefix(12))"

        func open(_ name: String, _ sha256: String) throws(ModelError) -> MappedFile {
            let file = try MappedFile(path: Self.path(of: name, in: folder))
            try file.requireChecksum(sha256)
            return file
        }
        let words = try open(configuration.vocabulary.file, configuration.vocabulary.sha256)
        vocabulary = try Vocabulary(file: words)
        guard vocabulary.count == configuration.vocabulary.count else {
            throw .count(
                what: "words", path: words.path, expected: configuration.vocabulary.count,
                found: vocabulary.count)
        }
        users = try UserTable(
            ids: open(configuration.users.ids, configuration.users.ids_sha256),
            vectors: Safetensors(
                file: open(configuration.users.file, configuration.users.sha256)),
            count: configuration.users.count, dimension: configuration.dimension)
        head = try PackedHead(
            weights: Safetensors(
                file: open(configuration.head.file, configuration.head.sha256)),
            shape: configuration.headShape, kernels: kernels)
        let backbone = configuration.backbone
        if let seed = backbone.seed {
            backboneFile = try Safetensors(
                file: SeededBackbone(
                    seed: seed, blocks: backbone.blocks, side: configuration.image.side
                ).cachedFile(sha256: backbone.sha256))
        } else {
            backboneFile = try Safetensors(file: open(backbone.file ?? "", backbone.sha256))
        }
    }

    /// Where the backbone's weights lie.
    package var backbonePath: String { backboneFile.path }

    /// The head's weights as they lie on disk, for the readable reference.
    package func referenceHead() throws(ModelError) -> ReferenceHead {
        ReferenceHead(
            weights: try Safetensors(path: Self.path(of: configuration.head.file, in: folder)),
            shape: configuration.headShape)
    }

    /// Files are named relative to the bundle's folder, or absolutely.
    private static func path(of name: String, in folder: String) -> String {
        name.hasPrefix("/") ? name : "\(folder)/\(name)"
    }

    /// A backbone with scratch memory of its own; `workers` pack its weights, unless a bundle with
    /// the same backbone has done so already, and run its loops.
    package func makeBackbone(workers: Workers) throws(ModelError) -> VGG16 {
        let configuration = configuration
        let packed = try PackedVGG.shared(
            key: .init(
                sha256: configuration.backbone.sha256, side: configuration.image.side,
                instructionSet: kernels.name)
        ) { () throws(ModelError) in
            try PackedVGG(
                backboneFile, blocks: configuration.backbone.blocks,
                side: configuration.image.side, kernels: kernels, workers: workers)
        }
        return VGG16(
            weights: packed, normalization: configuration.image.normalization, workers: workers)
    }
}

/// The users of a bundle: ids, a vector each, and the vector of a user never seen; where the bundle
/// says so, what of each user the vector was learnt from.
package struct UserTable: Sendable {
    /// Names of the tensors of `History`: one value a user.
    package static let historyPosts = "history.posts"
    package static let historyMean = "history.mean"

    /// What is known of a user from training.
    package struct History: Equatable, Sendable {
        /// Training posts of the user: evidence for the user's vector.
        package var posts: Int
        /// Of their targets.
        package var mean: Float

        package init(posts: Int, mean: Float) {
            self.posts = posts
            self.mean = mean
        }
    }

    private let rows: [CodePoints: Int]
    private let vectors: Tensor?
    private let unknown: Tensor
    private let histories: [History]?
    package let ids: [String]
    package var count: Int { ids.count }

    init(
        ids file: MappedFile, vectors: Safetensors, count: Int, dimension: Int
    ) throws(ModelError) {
        ids = try file.lines(maximumCount: count)
        guard ids.count == count else {
            throw .count(what: "user ids", path: file.path, expected: count, found: ids.count)
        }
        var rows: [CodePoints: Int] = [:]
        rows.reserveCapacity(count)
        for (row, id) in ids.enumerated()
        where rows.updateValue(row, forKey: CodePoints(id)) != nil {
            throw .malformed(path: file.path, reason: "user '\(id)' stands there twice")
        }
        self.rows = rows
        self.vectors = count > 0 ? try vectors.tensor("user", shape: [count, dimension]) : nil
        unknown = try vectors.tensor("unknown", shape: [dimension])
        histories = try Self.histories(in: vectors, count: count)
    }

    /// Nil where the file has none: it was made before there were any, or was not trained.
    private static func histories(
        in file: Safetensors, count: Int
    ) throws(ModelError) -> [History]? {
        guard count > 0, !Set(file.names).isDisjoint(with: [historyPosts, historyMean]) else {
            return nil
        }
        let posts = try file.tensor(historyPosts, shape: [count])
        let means = try file.tensor(historyMean, shape: [count])
        for (row, value) in posts.values.enumerated()
        where value < 0 || value != value.rounded() || value > Float(1 << 24) {
            throw .malformed(
                path: file.path,
                reason: "tensor '\(historyPosts)' says \(value) at \(row); a number of posts is "
                    + "whole, 0 to \(1 << 24)")
        }
        return zip(posts.contents(), means.contents()).map { History(posts: Int($0), mean: $1) }
    }

    /// The user's vector; nil for a user the bundle does not know.
    package func vector(of id: String) -> [Float]? {
        guard let row = rows[CodePoints(id)], let vectors else { return nil }
        return Array(vectors.row(row))
    }

    /// Whether the bundle says what its users' vectors were learnt from.
    package var hasHistories: Bool { histories != nil }

    /// What the user's vector was learnt from; nil for a user the bundle does not know, and where
    /// it does not say so of anyone.
    package func history(of id: String) -> History? {
        guard let row = rows[CodePoints(id)] else { return nil }
        return histories?[row]
    }

    /// Where a user never seen starts.
    package var unknownVector: [Float] { Array(unknown.values) }
}

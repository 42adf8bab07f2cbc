/// All that goes into a bundle, seeded or trained.
package struct BundleContents {
    package enum BackboneSource {
        /// Weights to be written into the bundle.
        case file(bytes: [UInt8], trained: Bool, origin: String)
        /// A file that the bundle names where it lies.
        case link(path: String, trained: Bool, origin: String)
        /// Named by its seed: nothing is written.
        case seeded(SeededBackbone)
    }

    package var name: String
    package var shape: HeadShape
    package var side: Int
    package var normalization: Normalization
    package var blocks: [[Int]]
    package var backbone: BackboneSource
    package var head: SafetensorsWriter
    package var isHeadTrained: Bool
    package var words: [String]
    /// Ids, in the order of the rows of `userVectors`.
    package var users: [String]
    package var userVectors: SafetensorsWriter
    package var minimumDays: Double
    package var smearing: Double?
    /// Nil where the training posts' views were counted at any age.
    package var horizonDays: Double?

    package init(
        name: String, shape: HeadShape, side: Int, normalization: Normalization, blocks: [[Int]],
        backbone: BackboneSource, head: SafetensorsWriter, isHeadTrained: Bool, words: [String],
        users: [String], userVectors: SafetensorsWriter, minimumDays: Double, smearing: Double?,
        horizonDays: Double? = nil
    ) {
        self.name = name
        self.shape = shape
        self.side = side
        self.normalization = normalization
        self.blocks = blocks
        self.backbone = backbone
        self.head = head
        self.isHeadTrained = isHeadTrained
        self.words = words
        self.users = users
        self.userVectors = userVectors
        self.minimumDays = minimumDays
        self.smearing = smearing
        self.horizonDays = horizonDays
    }

    package func write(_ writer: BundleWriter) throws(ModelError) {
        let backbone = try entry(writer)
        let (head, vectors) = ("head.safetensors", "users.safetensors")
        try writer.write(
            configuration: BundleConfiguration(
                format: BundleConfiguration.format,
                format_version: BundleConfiguration.formatVersion,
                name: name, dimension: shape.dimension, dense: shape.dense,
                maximum_words: shape.maximumWords, lstm_gate: shape.gate,
                image: .init(side: side, normalization: normalization), backbone: backbone,
                head: .init(
                    file: head, sha256: try writer.write(self.head.bytes(), to: head),
                    trained: isHeadTrained, parts: shape.parts == .all ? nil : shape.parts),
                vocabulary: .init(
                    file: "vocabulary.txt",
                    sha256: try writer.write(lines: words, to: "vocabulary.txt"),
                    count: words.count),
                users: .init(
                    file: vectors, sha256: try writer.write(userVectors.bytes(), to: vectors),
                    ids: "users.txt", ids_sha256: try writer.write(lines: users, to: "users.txt"),
                    count: users.count),
                target: .init(
                    minimum_days: minimumDays, smearing: smearing, horizon_days: horizonDays)))
    }

    private func entry(
        _ writer: BundleWriter
    ) throws(ModelError) -> BundleConfiguration.Backbone {
        let copy = "backbone.safetensors"
        switch backbone {
        case .file(let bytes, let trained, let origin):
            return .init(
                architecture: "vgg16", blocks: blocks, file: copy,
                sha256: try writer.write(bytes, to: copy), trained: trained, origin: origin)
        case .link(let path, let trained, let origin):
            let file = try MappedFile(path: path)
            return .init(
                architecture: "vgg16", blocks: blocks, file: try file.absolutePath(),
                sha256: file.sha256(), trained: trained, origin: origin)
        case .seeded(let seeded):
            return .init(
                architecture: "vgg16", blocks: blocks, seed: seeded.seed,
                sha256: try seeded.cachedFile().sha256(), trained: false,
                origin: "seed \(seeded.seed)")
        }
    }
}

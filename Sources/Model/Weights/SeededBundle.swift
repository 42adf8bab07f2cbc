/// What `uhan model init` makes: a whole bundle from a seed.
package struct SeededBundle: Sendable {
    package var seed: UInt64
    package var name = "seeded"
    package var dimension = 512
    package var dense = [1024, 1024]
    package var side = 448
    package var blocks = VGGShape.vgg16
    package var maximumWords = 50
    package var gate = BundleConfiguration.Gate.logistic
    package var words: [String] = SampleScene.vocabulary
    package var users: [String] = (1...16).map { "user-\($0)" }
    /// A backbone that exists already (trained, or another bundle's) in place of a seeded one.
    package var backbone: ExistingBackbone?

    package struct ExistingBackbone: Sendable {
        package var path: String
        /// Named where it lies, so that bundles share it; copied into the bundle otherwise.
        package var link: Bool
        package var normalization: Normalization
        package var trained: Bool
        package var origin: String

        package init(
            path: String, link: Bool, normalization: Normalization, trained: Bool,
            origin: String
        ) {
            self.path = path
            self.link = link
            self.normalization = normalization
            self.trained = trained
            self.origin = origin
        }
    }

    package init(seed: UInt64) {
        self.seed = seed
    }

    /// Makes the bundle in `folder`.
    /// - Returns: the seeded backbone's report; nil where an existing one was taken.
    package func write(
        to folder: String, workers: Workers, progress: (String) -> Void
    ) throws(ModelError) -> SeededWeights.BackboneReport? {
        let writer = try BundleWriter(folder: folder)
        var weights = SeededWeights(seed: seed)
        var report: SeededWeights.BackboneReport?
        let source: BundleContents.BackboneSource
        if let backbone {
            let file = try MappedFile(path: backbone.path)
            try Self.check(Safetensors(file: file), blocks: blocks)
            source =
                backbone.link
                ? .link(path: backbone.path, trained: backbone.trained, origin: backbone.origin)
                : .file(
                    bytes: file.contents(), trained: backbone.trained, origin: backbone.origin)
        } else {
            let made = try SeededBackbone(seed: seed, blocks: blocks, side: side)
                .make(&weights, workers: workers, progress: progress)
            report = made.report
            source = .file(bytes: made.file.bytes(), trained: false, origin: "seed \(seed)")
        }

        progress("writing head, vocabulary and users")
        let head = weights.head(
            dimension: dimension, channels: blocks.last?.last ?? 0, dense: dense,
            vocabulary: words.count)
        let table = weights.users(count: users.count, dimension: dimension)
        let grid = side >> blocks.count
        try BundleContents(
            name: name,
            shape: HeadShape(
                dimension: dimension, channels: blocks.last?.last ?? 0, regions: grid * grid,
                dense: dense, vocabulary: words.count, maximumWords: maximumWords, gate: gate),
            side: side, normalization: backbone?.normalization ?? SeededBackbone.normalization,
            blocks: blocks, backbone: source, head: head, isHeadTrained: false, words: words,
            users: users, userVectors: table, minimumDays: 1, smearing: nil
        ).write(writer)
        return report
    }

    /// Every convolution is there in its shape, before anything is written.
    private static func check(_ weights: Safetensors, blocks: [[Int]]) throws(ModelError) {
        for layer in VGGShape(blocks: blocks).layers {
            _ = try weights.tensor(
                layer.weightName, shape: [layer.outputs, layer.inputs, 3, 3])
            _ = try weights.tensor(layer.biasName, shape: [layer.outputs])
        }
    }
}

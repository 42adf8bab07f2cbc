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

    /// Pictures for calibration: few, since each goes through a network of plain loops, and
    /// small, since statistics per channel need no more pixels.
    private static let calibrationPictures = 4
    private static let calibrationSide = 112
    /// Above this the backbone is too blind to be of use: an error, not a warning.
    private static let maximumMeanCosine = 0.98

    /// Makes the bundle in `folder`.
    /// - Returns: the seeded backbone's report; nil where an existing one was taken.
    package func write(
        to folder: String, workers: Workers, progress: (String) -> Void
    ) throws(ModelError) -> SeededWeights.BackboneReport? {
        let writer = try BundleWriter(folder: folder)
        var weights = SeededWeights(seed: seed)
        var report: SeededWeights.BackboneReport?
        let normalization = backbone?.normalization ?? .torchvision

        let backboneEntry: BundleConfiguration.Backbone
        if let backbone {
            let file = try MappedFile(path: backbone.path)
            try Self.check(Safetensors(file: file), blocks: blocks)
            let copy = "backbone.safetensors"
            let sha256 =
                backbone.link ? file.sha256() : try writer.write(file.contents(), to: copy)
            backboneEntry = .init(
                architecture: "vgg16", blocks: blocks,
                file: backbone.link ? try file.absolutePath() : copy, sha256: sha256,
                trained: backbone.trained, origin: backbone.origin)
        } else {
            let side = min(side, Self.calibrationSide)
            let pictures = (0..<Self.calibrationPictures).map {
                SampleScene(seed: seed &+ UInt64($0)).render(width: side, height: side)
            }
            let made = weights.backbone(
                blocks: blocks, pictures: pictures, normalization: normalization,
                workers: workers, progress: progress)
            guard made.report.meanCosine < Self.maximumMeanCosine else {
                throw .invalid(
                    "with seed \(seed) the backbone cannot tell pictures apart (mean cosine "
                        + "\(made.report.meanCosine)); try another seed or wider blocks")
            }
            report = made.report
            backboneEntry = .init(
                architecture: "vgg16", blocks: blocks, file: "backbone.safetensors",
                sha256: try writer.write(made.file.bytes(), to: "backbone.safetensors"),
                trained: false, origin: "seed \(seed)")
        }

        progress("writing head, vocabulary and users")
        let head = weights.head(
            dimension: dimension, channels: blocks.last?.last ?? 0, dense: dense,
            vocabulary: words.count)
        let table = weights.users(count: users.count, dimension: dimension)
        let configuration = BundleConfiguration(
            format: BundleConfiguration.format,
            format_version: BundleConfiguration.formatVersion,
            name: name, dimension: dimension, dense: dense, maximum_words: maximumWords,
            lstm_gate: gate, image: .init(side: side, normalization: normalization),
            backbone: backboneEntry,
            head: .init(
                file: "head.safetensors",
                sha256: try writer.write(head.bytes(), to: "head.safetensors"), trained: false),
            vocabulary: .init(
                file: "vocabulary.txt",
                sha256: try writer.write(lines: words, to: "vocabulary.txt"),
                count: words.count),
            users: .init(
                file: "users.safetensors",
                sha256: try writer.write(table.bytes(), to: "users.safetensors"),
                ids: "users.txt", ids_sha256: try writer.write(lines: users, to: "users.txt"),
                count: users.count),
            target: .init(minimum_days: 1, smearing: nil))
        try writer.write(configuration: configuration)
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

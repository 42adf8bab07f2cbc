#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// `config.json` of a model bundle. MODEL.md of this module documents every key.
package struct BundleConfiguration: Codable, Sendable, Equatable {
    package static let format = "uhan-bundle"
    package static let formatVersion = 1

    /// Sizes beyond these are refused before anything is computed or allocated from them.
    package enum Bounds {
        package static let dimension = 1...4096
        package static let denseWidth = 1...8192
        package static let side = 1...1024
        package static let blocks = 1...8
        package static let layersOfBlock = 1...8
        package static let channels = 1...1024
        package static let words = 1...50
        /// Of the name, in UTF-8: with "@" and 12 digits it is the model's version, which records
        /// carry in at most 256 bytes.
        package static let nameBytes = 1...243
    }

    package enum Gate: String, Codable, Sendable {
        /// 1 / (1 + exp(-x)), as in PyTorch.
        case logistic
        /// clip(0.2 x + 0.5, 0, 1), as in old Keras.
        case hardSigmoid = "hard_sigmoid"
    }

    package struct Image: Codable, Sendable, Equatable {
        /// The square that every picture is stretched to, in pixels; a multiple of 32.
        package var side: Int
        package var normalization: Normalization
    }

    package struct Backbone: Codable, Sendable, Equatable {
        package var architecture: String
        /// Output channels of each convolution, block by block; a 2x2 max-pool ends a block.
        package var blocks: [[Int]]
        /// Relative to the bundle's folder, or absolute; bundles may share one file. Nil where
        /// `seed` makes it.
        package var file: String?
        /// Of `SeededWeights`, where there is no file.
        package var seed: UInt64?
        package var sha256: String
        /// False for seeded weights.
        package var trained: Bool
        package var origin: String
    }

    package struct Head: Codable, Sendable, Equatable {
        package var file: String
        package var sha256: String
        /// False for seeded weights: whatever shows a score made with them must say so.
        package var trained: Bool
        /// Nil where the network is whole.
        package var parts: Parts?
    }

    /// What of the network is there: all of it, or less where a part's worth is to be shown.
    /// DualAtt is UHAN without the user, in the attention and in z.
    package struct Parts: Codable, Sendable, Equatable {
        package var reads_text = true
        package var reads_image = true
        /// Attention within a modality; means of its states otherwise.
        package var intra_attention = true
        /// Attention between the modalities; their plain sum otherwise.
        package var inter_attention = true
        /// The user's factor in the three attentions; left out of the products otherwise.
        package var user_in_attention = true
        /// u W_r in z.
        package var user_term = true

        package static let all = Parts()
    }

    package struct Vocabulary: Codable, Sendable, Equatable {
        package var file: String
        package var sha256: String
        package var count: Int
    }

    package struct Users: Codable, Sendable, Equatable {
        package var file: String
        package var sha256: String
        package var ids: String
        package var ids_sha256: String
        package var count: Int
    }

    package struct Target: Codable, Sendable, Equatable {
        /// Posts younger than this count as this old, in days.
        package var minimum_days: Double
        /// Mean of 2^residual on validation data: expected views a day = 2^(score - 1) times it.
        package var smearing: Double?
        /// The age at which the training posts' views were counted, in days: the first observation
        /// from then to a quarter more. Nil where any age counted.
        package var horizon_days: Double?

        package init(minimum_days: Double, smearing: Double?, horizon_days: Double? = nil) {
            self.minimum_days = minimum_days
            self.smearing = smearing
            self.horizon_days = horizon_days
        }
    }

    package var format: String
    package var format_version: Int
    package var name: String
    /// d of the paper: width of words, users and attention.
    package var dimension: Int
    /// Widths of the two hidden dense layers.
    package var dense: [Int]
    package var maximum_words: Int
    package var lstm_gate: Gate
    package var image: Image
    package var backbone: Backbone
    package var head: Head
    package var vocabulary: Vocabulary
    package var users: Users
    package var target: Target

    /// Rows and columns of the attention over the image.
    package var grid: Int { image.side >> backbone.blocks.count }
    /// L of the paper.
    package var regions: Int { grid * grid }
    /// Channels of the backbone's features.
    package var channels: Int { backbone.blocks.last?.last ?? 0 }

    package static func load(_ file: MappedFile) throws(ModelError) -> BundleConfiguration {
        guard file.bytes.count <= 1 << 20 else {
            throw .malformed(path: file.path, reason: "larger than 1 MiB")
        }
        let configuration: BundleConfiguration
        do {
            configuration = try JSONDecoder().decode(
                BundleConfiguration.self, from: Data(file.bytes))
        } catch {
            throw .malformed(path: file.path, reason: Self.explain(error))
        }
        try configuration.check(path: file.path)
        return configuration
    }

    /// Bounds that keep every later size computation inside reason.
    private func check(path: String) throws(ModelError) {
        func require(_ holds: Bool, _ reason: String) throws(ModelError) {
            guard holds else { throw .unsupported(path: path, reason: reason) }
        }
        try require(format == Self.format, "format is '\(format)', expected '\(Self.format)'")
        try require(
            format_version == Self.formatVersion,
            "format_version is \(format_version); this program reads \(Self.formatVersion)")
        try require(
            Bounds.nameBytes.contains(name.utf8.count),
            "name takes \(name.utf8.count) bytes, which is not in \(Bounds.nameBytes)")
        try require(
            backbone.architecture == "vgg16",
            "backbone.architecture is '\(backbone.architecture)', expected 'vgg16'")
        try require(
            (backbone.file == nil) != (backbone.seed == nil),
            "backbone needs either a file or a seed")
        try require(
            Bounds.dimension.contains(dimension),
            "dimension \(dimension) is not in \(Bounds.dimension)")
        try require(
            dense.count == 2 && dense.allSatisfy(Bounds.denseWidth.contains),
            "dense must be two widths in \(Bounds.denseWidth)")
        try require(
            Bounds.words.contains(maximum_words),
            "maximum_words \(maximum_words) is not in \(Bounds.words)")
        try require(
            Self.areUsable(backbone.blocks),
            "backbone.blocks must be \(Bounds.blocks) blocks of \(Bounds.layersOfBlock) widths in "
                + "\(Bounds.channels)")
        try require(
            Bounds.side.contains(image.side) && grid >= 1
                && image.side % (1 << backbone.blocks.count) == 0,
            "image.side \(image.side) must be at most \(Bounds.side.upperBound) and divisible by 2 once per block"
        )
        try require(
            (0...Model.Vocabulary.maximumCount).contains(vocabulary.count),
            "vocabulary.count is not in 0...\(Model.Vocabulary.maximumCount)")
        try require((0...10_000_000).contains(users.count), "users.count is out of range")
        try require(
            target.minimum_days.isFinite && target.minimum_days > 0,
            "target.minimum_days must be above 0")
        try require(
            target.smearing.map { $0.isFinite && $0 > 0 } ?? true,
            "target.smearing must be above 0, or null")
        try require(
            target.horizon_days.map { $0.isFinite && $0 > 0 } ?? true,
            "target.horizon_days must be above 0, or null")
    }

    package static func areUsable(_ blocks: [[Int]]) -> Bool {
        Bounds.blocks.contains(blocks.count)
            && blocks.allSatisfy {
                Bounds.layersOfBlock.contains($0.count)
                    && $0.allSatisfy(Bounds.channels.contains)
            }
    }

    private static func explain(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "not JSON" }
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context):
            let parent = path(context)
            return "key '\(parent.isEmpty ? "" : parent + ".")\(key.stringValue)' is missing"
        case .typeMismatch(let type, let context):
            return "'\(path(context))' should be \(type)"
        case .valueNotFound(let type, let context):
            return "'\(path(context))' is null, should be \(type)"
        case .dataCorrupted(let context):
            let at = path(context)
            return at.isEmpty ? "not JSON" : "'\(at)': \(context.debugDescription)"
        @unknown default:
            return "not a bundle's config.json"
        }
    }
}

/// How bytes become the numbers the backbone was trained on; it belongs to the weights.
package enum Normalization: String, Codable, Sendable, CaseIterable {
    /// RGB in [0, 1], minus mean (0.485, 0.456, 0.406), over deviation (0.229, 0.224, 0.225).
    case torchvision
    /// BGR in 0...255, minus (103.939, 116.779, 123.68).
    case caffe
    /// RGB in 0...255 as it is.
    case raw

    /// out = byte * scale + shift, in the channel order of the weights.
    package var scale: (Float, Float, Float) {
        switch self {
        case .torchvision: (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225))
        case .caffe, .raw: (1, 1, 1)
        }
    }
    package var shift: (Float, Float, Float) {
        switch self {
        case .torchvision: (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)
        case .caffe: (-103.939, -116.779, -123.68)
        case .raw: (0, 0, 0)
        }
    }
    package var readsBGR: Bool { self == .caffe }
}

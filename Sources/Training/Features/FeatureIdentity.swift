/// What features depend on beside the picture: two of one identity are equal to the last bit.
package struct FeatureIdentity: Codable, Sendable, Equatable {
    /// Of the backbone's safetensors file.
    package var backboneSHA256: String
    /// Output channels of the backbone's convolutions, block by block.
    package var blocks: [[Int]]
    /// Of the square that pictures are stretched to, in pixels.
    package var side: Int
    /// torchvision, caffe or raw.
    package var normalization: String
    /// Of the kernels that computed them: sets agree to rounding, not to the last bit.
    package var instructionSet: String
    package var regions: Int
    package var channels: Int

    package init(
        backboneSHA256: String, blocks: [[Int]], side: Int, normalization: String,
        instructionSet: String, regions: Int, channels: Int
    ) {
        self.backboneSHA256 = backboneSHA256
        self.blocks = blocks
        self.side = side
        self.normalization = normalization
        self.instructionSet = instructionSet
        self.regions = regions
        self.channels = channels
    }

    private enum CodingKeys: String, CodingKey {
        case blocks, side, normalization, regions, channels
        case backboneSHA256 = "backbone_sha256"
        case instructionSet = "instruction_set"
    }

    /// In words, what `other` has otherwise; empty where they are equal.
    func differences(to other: FeatureIdentity) -> [String] {
        var found: [String] = []
        func compare(_ name: String, _ here: some Equatable, _ there: some Equatable) {
            if "\(here)" != "\(there)" { found.append("\(name) \(here) there, \(there) asked for") }
        }
        compare("backbone", backboneSHA256.prefix(12), other.backboneSHA256.prefix(12))
        compare("blocks", blocks, other.blocks)
        compare("side", side, other.side)
        compare("normalization", normalization, other.normalization)
        compare("instruction set", instructionSet, other.instructionSet)
        compare("regions", regions, other.regions)
        compare("channels", channels, other.channels)
        return found
    }
}

/// Where the backbone's weights lie, for the bundles that are trained on its features.
package struct BackboneOrigin: Codable, Sendable, Equatable {
    /// Absolute, or relative to the folder of the features.
    package var file: String
    /// False for seeded weights.
    package var trained: Bool
    /// "seed 1", or what the bundle says that it was taken from.
    package var origin: String
    /// Of seeded weights: with blocks and side it names them wholly.
    package var seed: UInt64?

    package init(file: String, trained: Bool, origin: String, seed: UInt64? = nil) {
        self.file = file
        self.trained = trained
        self.origin = origin
        self.seed = seed
    }
}

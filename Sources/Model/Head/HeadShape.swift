/// The sizes of the network behind the backbone.
package struct HeadShape: Sendable, Equatable {
    /// d of the paper: width of words, users and attention.
    package var dimension: Int
    /// Channels of the backbone's features.
    package var channels: Int
    /// L of the paper.
    package var regions: Int
    /// Widths of the hidden dense layers.
    package var dense: [Int]
    /// Rows of the word embedding.
    package var vocabulary: Int
    /// Most words of a post.
    package var maximumWords: Int
    package var gate: BundleConfiguration.Gate
    /// What of the network is there.
    package var parts: BundleConfiguration.Parts

    package init(
        dimension: Int, channels: Int, regions: Int, dense: [Int], vocabulary: Int,
        maximumWords: Int, gate: BundleConfiguration.Gate,
        parts: BundleConfiguration.Parts = .all
    ) {
        self.dimension = dimension
        self.channels = channels
        self.regions = regions
        self.dense = dense
        self.vocabulary = vocabulary
        self.maximumWords = maximumWords
        self.gate = gate
        self.parts = parts
    }
}

extension BundleConfiguration {
    package var headShape: HeadShape {
        HeadShape(
            dimension: dimension, channels: channels, regions: regions, dense: dense,
            vocabulary: vocabulary.count, maximumWords: maximum_words, gate: lstm_gate,
            parts: head.parts ?? .all)
    }
}

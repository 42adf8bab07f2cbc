import Model

/// A post as a network is trained on it.
package struct TrainingSample: @unchecked Sendable {
    // Sendable: features are read-only.
    /// Regions x channels, which somebody keeps alive; nil without an image.
    package var features: UnsafePointer<Float>?
    /// Rows of the word embedding; empty where no word is known.
    package var wordIDs: [Int32]
    /// A row of the user table; nil for a user never seen.
    package var user: Int?
    package var target: Float

    package init(
        features: UnsafePointer<Float>?, wordIDs: [Int32], user: Int?, target: Float
    ) {
        self.features = features
        self.wordIDs = wordIDs
        self.user = user
        self.target = target
    }
}

/// What dropout multiplies with: 0, or 1 over the share that is kept. Nil where nothing is dropped.
package struct DropoutMasks {
    /// (words of the batch, d), (images of the batch x regions, d), (posts, d): dense, in the order
    /// of the posts.
    package var words: [Float]?
    package var regions: [Float]?
    package var users: [Float]?

    package init(words: [Float]? = nil, regions: [Float]? = nil, users: [Float]? = nil) {
        self.words = words
        self.regions = regions
        self.users = users
    }
}

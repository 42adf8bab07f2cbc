import Model

/// From a post and its pixels to a score: words -> ids, VGG16, encoding, user vector, attention,
/// dense layers. The one code path of `uhan score`, the daemon and everything that evaluates.
///
/// Owns the backbone's scratch memory: one caller at a time.
package final class PostScorer {
    package struct Result: Sendable {
        package var prediction: Prediction
        /// The backbone's, regions x channels; nil without an image.
        package var features: [Float]?
        /// The words that were read, in the order of `prediction.words`.
        package var words: [String]
        package var flags: Set<ScoreFlag>
        /// "bundle", or "unknown" for a user the bundle does not know.
        package var userVector: String
        package var backboneMilliseconds: Float
        package var encodeMilliseconds: Float
        package var scoreMilliseconds: Float
    }

    package let bundle: ModelBundle
    private let backbone: VGG16
    private let unknownUser: UserProjection
    private let nanoseconds: () -> UInt64

    /// - Parameter nanoseconds: a clock that never goes back, for the stage timings alone.
    package init(
        bundle: ModelBundle, workers: Workers, nanoseconds: @escaping () -> UInt64
    ) throws(ModelError) {
        self.bundle = bundle
        self.nanoseconds = nanoseconds
        backbone = try bundle.makeBackbone(workers: workers)
        unknownUser = bundle.head.project(user: bundle.users.unknownVector)
    }

    /// - Parameter pixels: a square of the model's side; nil where the post has no image, or one
    ///   that cannot be used.
    package func score(_ post: PostEvent, pixels: Pixels?) -> Result {
        let start = nanoseconds()
        let features = pixels.map(backbone.features)
        let seen = nanoseconds()

        let text = bundle.vocabulary.encode(
            title: post.title, tags: post.tags, description: post.description,
            maximumWords: bundle.configuration.maximum_words)
        let encoding = bundle.head.encode(features: features, wordIDs: text.ids)
        let encoded = nanoseconds()

        let vector = bundle.users.vector(of: post.uid)
        let user = vector.map(bundle.head.project) ?? unknownUser
        let prediction = bundle.head.predict(encoding, user: user)
        let end = nanoseconds()

        var flags: Set<ScoreFlag> = []
        if pixels == nil { flags.insert(post.image == nil ? .noImage : .imageUnusable) }
        if text.ids.isEmpty { flags.insert(.noText) }
        if vector == nil { flags.insert(.unknownUser) }
        if bundle.isUntrained { flags.insert(.untrained) }
        func milliseconds(_ from: UInt64, _ to: UInt64) -> Float { Float(to - from) / 1e6 }
        return Result(
            prediction: prediction, features: features, words: text.words, flags: flags,
            userVector: vector == nil ? "unknown" : "bundle",
            backboneMilliseconds: milliseconds(start, seen),
            encodeMilliseconds: milliseconds(seen, encoded),
            scoreMilliseconds: milliseconds(encoded, end))
    }
}

extension PostScorer.Result {
    /// The part of a score event that scoring gives; attention over the image in compact form.
    package func scoring(of bundle: ModelBundle) -> Scoring {
        let grid = bundle.configuration.grid
        let image =
            prediction.regions.isEmpty
            ? nil
            : ScoreAttention.Grid(rows: grid, columns: grid, weights: prediction.regions)
        return Scoring(
            score: prediction.score,
            expectedViewsPerDay: bundle.configuration.target.smearing.map {
                Float(Prediction.viewsPerDay(score: prediction.score) * $0)
            },
            model: bundle.version, userVector: userVector, flags: flags,
            attention: ScoreAttention(
                words: zip(words, prediction.words).map(ScoreAttention.Word.init), image: image,
                textWeight: prediction.modalities.text, imageWeight: prediction.modalities.image),
            backboneMilliseconds: backboneMilliseconds, encodeMilliseconds: encodeMilliseconds,
            scoreMilliseconds: scoreMilliseconds)
    }
}

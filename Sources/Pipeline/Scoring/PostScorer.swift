import Model
import Synchronization

/// From a post and its image to a score: VGG16, words -> ids, encoding, user vector, attention,
/// dense layers. The one code path of `uhan score`, the daemon and everything that evaluates.
///
/// Owns the backbone's scratch memory: one caller at a time. Its two halves may run at the same
/// time, on two threads, for different posts: `see` here, `PostHead.score` there.
package final class PostScorer {
    /// An image as the backbone sees it.
    package struct Seen: Sendable {
        /// Regions x channels; nil without an image.
        package let features: [Float]?
        /// The features were there already: the backbone did not run.
        package let wasKnown: Bool
        package let backboneMilliseconds: Float

        package static let nothing = Seen(
            features: nil, wasKnown: false, backboneMilliseconds: 0)

        /// Needs no backbone, so no `PostScorer` either.
        package static func known(_ features: [Float]) -> Seen {
            Seen(features: features, wasKnown: true, backboneMilliseconds: 0)
        }
    }

    package struct Result: Sendable {
        package var prediction: Prediction
        /// The backbone's, regions x channels; nil without an image.
        package var features: [Float]?
        /// The image was known: the backbone did not run.
        package var imageWasKnown: Bool
        /// The words that were read, in the order of `prediction.words`.
        package var words: [String]
        package var flags: Set<ScoreFlag>
        /// "bundle", "unknown" for a user the bundle does not know, or the version of the vector that
        /// was learnt ("v3").
        package var userVector: String
        /// Where learning is on.
        package var learning: Scoring.Learning?
        package var backboneMilliseconds: Float
        package var encodeMilliseconds: Float
        package var scoreMilliseconds: Float
    }

    /// What `maximumCacheBytes` is where nobody says otherwise.
    package static let defaultCacheBytes = 128 << 20

    package let head: PostHead
    package let cache: FeatureCache
    private let backbone: VGG16
    private let nanoseconds: @Sendable () -> UInt64

    package var bundle: ModelBundle { head.bundle }

    /// - Parameters:
    ///   - maximumCacheBytes: for the features of images already seen; 0 keeps none.
    ///   - nanoseconds: a clock that never goes back, for the stage timings alone.
    package init(
        bundle: ModelBundle, workers: Workers, maximumCacheBytes: Int = defaultCacheBytes,
        nanoseconds: @escaping @Sendable () -> UInt64
    ) throws(ModelError) {
        self.nanoseconds = nanoseconds
        backbone = try bundle.makeBackbone(workers: workers)
        cache = FeatureCache(maximumBytes: maximumCacheBytes)
        // A team of its own: both halves may be at work at the same time.
        head = PostHead(
            bundle: bundle, workers: Workers(count: workers.count), nanoseconds: nanoseconds)
    }

    /// Reads images for this scorer: knows what it has seen.
    package func imageReader(limits: ImageLimits = ImageLimits()) -> PostImageReader {
        PostImageReader(side: bundle.configuration.image.side, limits: limits, cache: cache)
    }

    /// - Parameter image: of `imageReader`; nil where the post has none, or one that cannot be
    ///   used.
    package func score(_ post: PostEvent, image: PostImage?) -> Result {
        head.score(post, seen: see(image))
    }

    /// Runs the backbone, unless there is no image or its features are known.
    package func see(_ image: PostImage?) -> Seen {
        switch image {
        case nil:
            return .nothing
        case .features(let features):
            return .known(features)
        case .pixels(let pixels, let sha256):
            // Another post with the same image may have been on its way when this one was decoded.
            if let features = sha256.flatMap(cache.features) { return .known(features) }
            let start = nanoseconds()
            let features = backbone.features(pixels)
            let end = nanoseconds()
            if let sha256 { cache.keep(features, ofImage: sha256) }
            return Seen(
                features: features, wasKnown: false,
                backboneMilliseconds: milliseconds(start, end))
        }
    }
}

/// The half of `PostScorer` that comes after the backbone. Callers wait for each other.
package final class PostHead: Sendable {
    package let bundle: ModelBundle
    private let network: Mutex<Head>
    private let unknownUser: UserProjection
    private let nanoseconds: @Sendable () -> UInt64

    package init(
        bundle: ModelBundle, workers: Workers, nanoseconds: @escaping @Sendable () -> UInt64
    ) {
        self.bundle = bundle
        self.nanoseconds = nanoseconds
        let network = Head(weights: bundle.head, workers: workers)
        unknownUser = network.project(user: bundle.users.unknownVector)
        self.network = Mutex(network)
    }

    /// The network alone, on features and words that need not be a post's own.
    ///
    /// - Parameters:
    ///   - features: regions x channels; nil for none.
    ///   - wordIDs: rows of the word embedding, at most `maximum_words`.
    ///   - uid: one the bundle does not know has the unknown user's vector.
    package func prediction(features: [Float]?, wordIDs: [Int32], uid: String) -> Prediction {
        network.withLock { network in
            let encoding = network.encode(features: features, wordIDs: wordIDs)
            let user = bundle.users.vector(of: uid).map(network.project) ?? unknownUser
            return network.predict(encoding, user: user)
        }
    }

    /// How a score is made while learning is on.
    package struct Learning: Sendable {
        /// nil: nothing was learnt about the user yet.
        package var user: LearnedUser?

        package init(user: LearnedUser?) {
            self.user = user
        }
    }

    /// - Parameter learning: nil where it is off: the bundle's vectors are all there is, and no
    ///   encoding is kept.
    package func score(
        _ post: PostEvent, seen: PostScorer.Seen, learning: Learning? = nil
    ) -> PostScorer.Result {
        let start = nanoseconds()
        let text = bundle.vocabulary.encode(
            title: post.title, tags: post.tags, description: post.description,
            maximumWords: bundle.configuration.maximum_words)
        let trained = bundle.users.vector(of: post.uid)
        let learned = learning?.user?.vector
        let (encoded, predictions, kept) = network.withLock { network in
            let encoding = network.encode(features: seen.features, wordIDs: text.ids)
            let encoded = nanoseconds()
            let frozen = trained.map(network.project) ?? unknownUser
            let users = (learned.map { [network.project(user: $0)] } ?? []) + [frozen]
            return (
                encoded, network.predict(encoding, users: users),
                learning.map { _ in KeptEncoding(encoding).bytes }
            )
        }
        let end = nanoseconds()

        var flags: Set<ScoreFlag> = []
        if seen.features == nil { flags.insert(post.image == nil ? .noImage : .imageUnusable) }
        if text.ids.isEmpty { flags.insert(.noText) }
        if trained == nil, learned == nil { flags.insert(.unknownUser) }
        if bundle.isUntrained { flags.insert(.untrained) }
        return PostScorer.Result(
            prediction: predictions[0], features: seen.features, imageWasKnown: seen.wasKnown,
            words: text.words, flags: flags,
            userVector: learned == nil
                ? (trained == nil ? "unknown" : "bundle")
                : "v\(learning?.user?.version ?? 0)",
            learning: kept.map { encoding in
                let labels = labels(of: post.uid, learning?.user)
                return Scoring.Learning(
                    frozenScore: predictions[predictions.count - 1].score, userMean: labels.mean,
                    userLabels: labels.count, encoding: encoding)
            },
            backboneMilliseconds: seen.backboneMilliseconds,
            encodeMilliseconds: milliseconds(start, encoded),
            scoreMilliseconds: milliseconds(encoded, end))
    }
}

extension PostHead {
    /// The labels that are known of a user, in training and since, and their mean.
    private func labels(of uid: String, _ learned: LearnedUser?) -> (count: Int, mean: Float?) {
        let trained = bundle.users.history(of: uid)
        let count = (trained?.posts ?? 0) + (learned?.labelCount ?? 0)
        guard count > 0 else { return (0, nil) }
        let sum =
            Double(trained?.posts ?? 0) * Double(trained?.mean ?? 0)
            + Double(learned?.labelCount ?? 0) * Double(learned?.labelMean ?? 0)
        return (count, Float(sum / Double(count)))
    }
}

private func milliseconds(_ from: UInt64, _ to: UInt64) -> Float { Float(to - from) / 1e6 }

extension PostScorer.Result {
    /// The part of a score event that scoring gives; attention over the image in compact form.
    package func scoring(of bundle: ModelBundle) -> Scoring {
        let grid = bundle.configuration.grid
        let image =
            prediction.regions.isEmpty
            ? nil
            : ScoreAttention.Grid(rows: grid, columns: grid, weights: prediction.regions)
        var scoring = Scoring(
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
        scoring.learning = learning
        return scoring
    }
}

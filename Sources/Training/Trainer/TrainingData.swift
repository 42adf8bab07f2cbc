import Model

/// A dataset as networks read it: word ids, user rows and pointers to features.
package final class TrainingData: Sendable {
    package let dataset: PreparedDataset
    /// Nil where no image is read.
    package let features: FeatureStore?
    package let users: [String]
    private let samples: [PreparedPost.Part: [TrainingSample]]
    private let vocabulary: Vocabulary
    private let userRows: [CodePoints: Int]
    private let maximumWords: Int

    /// - Parameter maximumWords: words read of a post.
    package init(
        _ dataset: PreparedDataset, features: FeatureStore?, maximumWords: Int
    ) throws(TrainingError) {
        self.dataset = dataset
        self.features = features
        self.maximumWords = maximumWords
        users = dataset.users
        vocabulary = try asTrainingError { () throws(ModelError) in
            try Vocabulary(words: dataset.vocabulary)
        }
        var rows: [CodePoints: Int] = [:]
        for (row, user) in dataset.users.enumerated() { rows[CodePoints(user)] = row }
        userRows = rows
        var samples: [PreparedPost.Part: [TrainingSample]] = [:]
        for post in dataset.posts {
            samples[post.part, default: []].append(
                Self.sample(post, features, vocabulary, userRows, maximumWords))
        }
        self.samples = samples
        guard samples[.train] != nil, samples[.validation] != nil else {
            throw .invalid(
                "\(dataset.folder) has no training or no validation posts; prepare it with another "
                    + "split")
        }
    }

    package func samples(of part: PreparedPost.Part) -> [TrainingSample] { samples[part] ?? [] }

    package func samples(of posts: [PreparedPost]) -> [TrainingSample] {
        posts.map { Self.sample($0, features, vocabulary, userRows, maximumWords) }
    }

    private static func sample(
        _ post: PreparedPost, _ features: FeatureStore?, _ vocabulary: Vocabulary,
        _ users: [CodePoints: Int], _ maximumWords: Int
    ) -> TrainingSample {
        TrainingSample(
            features: post.imageSHA256.flatMap { features?.features(ofImage: $0) }?.baseAddress,
            wordIDs: vocabulary.encode(
                title: post.title, tags: post.tags, description: post.description,
                maximumWords: maximumWords
            ).ids,
            user: users[CodePoints(post.uid)], target: post.target)
    }

    /// The network's sizes for these data.
    package func shape(_ settings: TrainingSettings) -> HeadShape {
        var parts = settings.system.network?.parts ?? .all
        if features == nil { parts.reads_image = false }
        return HeadShape(
            dimension: settings.dimension, channels: features?.identity.channels ?? 1,
            regions: features?.identity.regions ?? 1, dense: settings.dense,
            vocabulary: dataset.vocabulary.count, maximumWords: maximumWords, gate: settings.gate,
            parts: parts)
    }
}

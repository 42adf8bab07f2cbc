import Model

/// A post of the gallery with all that is planted in it.
package struct GalleryPost: Sendable {
    package let index: Int
    package let pid: String
    package let uid: String
    package let group: Int
    package let title: String
    /// With blanks between.
    package let tags: String
    /// Seconds since 1970.
    package let postedAt: Int
    /// nil where the post has none.
    package let picture: GalleryPicture?
    /// The object of the picture that counts; nil where there is none or where all count alike.
    package let subject: Int?
    /// Whether the text names the subject.
    package let isSubjectNamed: Bool
    package let words: [PlantedWord]
    /// For each object of the picture: what its colour is worth to this user's audience.
    package let colorAppeals: [Double]
    package let parts: Parts
    /// What an oracle that knows the law expects.
    package let expectedScore: Double
    /// With its noise: log2(views a day) + 1.
    package let score: Double
    /// In the order of their times.
    package let observations: [Observation]

    /// A word of a topic.
    package struct PlantedWord: Sendable, Equatable, Codable {
        package let word: String
        package let topic: GalleryTopic
        /// Whether the user's audience responds to its topic.
        package let warm: Bool
        package let appeal: Double
        /// Its part of the score.
        package let contribution: Double
    }

    /// The parts that the score is the sum of.
    package struct Parts: Sendable, Equatable, Codable {
        package let base: Double
        package let user: Double
        package let image: Double
        package let text: Double
        package let place: Double
        package let noise: Double
    }

    /// A cumulative count of views.
    package struct Observation: Sendable, Equatable {
        package let views: Int
        /// Seconds since 1970.
        package let observedAt: Int
        /// When the word of it comes in: mostly at once, sometimes days later.
        package let arrivesAt: Int
    }

    /// The one that `posts.jsonl` gives.
    package var lastObservation: Observation { observations[observations.count - 1] }

    /// The score as the last observation shows it: log2(views a day) + 1, of at least one view.
    package var observedScore: Double {
        let seconds = lastObservation.observedAt - postedAt
        let days = Double(seconds) / Double(Self.day)
        return ExactMath.log2(Double(max(1, lastObservation.views)) / days) + 1
    }

    package func jpeg() throws(ImageError) -> [UInt8]? {
        try picture?.jpeg()
    }

    init(
        index: Int, author: GalleryUser, text: GalleryText, picture: GalleryPicture?,
        law: GalleryLaw, postedAt: Int, seed: UInt64
    ) {
        self.index = index
        pid = "post-" + padded(index, digits: 7)
        uid = author.uid
        group = author.group
        let titleText = text.title.joined(separator: " ")
        title = titleText.prefix(1).uppercased() + titleText.dropFirst()
        tags = text.tags.joined(separator: " ")
        self.postedAt = postedAt
        self.picture = picture

        let objects = picture?.objects ?? []
        isSubjectNamed = text.namesSubject
        subject = law.subject(of: objects, isNamed: text.namesSubject, to: author.group)
        colorAppeals = objects.map {
            ExactMath.rounded(
                law.appeal(of: $0.color, to: author.group)
                    + (author.colors[$0.color.rawValue] ?? 0))
        }
        let image: Double =
            if let subject {
                colorAppeals[subject]
            } else {
                colorAppeals.reduce(0, +) / Double(max(1, colorAppeals.count))
            }

        let warmCount = text.topics.count { author.warm.contains($0.topic) }
        words = text.topics.map { topic, word in
            let appeal = law.appeal(of: word, about: topic, to: author.group)
            let isWarm = author.warm.contains(topic)
            return PlantedWord(
                word: word, topic: topic, warm: isWarm, appeal: appeal,
                contribution: isWarm ? ExactMath.rounded(appeal / Double(warmCount)) : 0)
        }

        var random = SceneRandom(seed: seed, stream: .noise, index: index)
        let parts = Parts(
            base: law.base, user: author.audience, image: ExactMath.rounded(image),
            text: ExactMath.rounded(words.reduce(0) { $0 + $1.contribution }),
            place: law.effect(of: picture),
            noise: ExactMath.rounded(law.noiseDeviation * random.gaussian()))
        self.parts = parts
        let expected = parts.base + parts.user + parts.image + parts.text + parts.place
        expectedScore = ExactMath.rounded(expected)
        score = ExactMath.rounded(expected + parts.noise)
        observations = Self.observations(score: score, postedAt: postedAt, using: &random)
    }

    private static let day = 86_400
    private static let observationDays = [1, 3, 7, 30]

    /// Views come in at the same rate from the first day to the last. Real ones do not.
    private static func observations(
        score: Double, postedAt: Int, using random: inout SceneRandom
    ) -> [Observation] {
        let viewsPerDay = ExactMath.exp2(score - 1)
        return observationDays.map { days in
            let seconds = days * day + random.number(in: 0...(days * day / 10))
            let views = (Double(seconds) / Double(day) * viewsPerDay).rounded(.toNearestOrEven)
            let isLate = random.chance(percent: 10)
            let delay = random.number(in: isLate ? 3_600...(3 * day) : 0...60)
            return Observation(
                views: Int(views), observedAt: postedAt + seconds,
                arrivesAt: postedAt + seconds + delay)
        }
    }
}

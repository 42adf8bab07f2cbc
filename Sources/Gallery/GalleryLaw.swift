import Model

/// What makes a post of the gallery popular: the tables that a seed deals out. GALLERY.md says the
/// law in words and as an equation.
///
/// All figures are in units of the score, log2(views a day) + 1: one more doubles the views.
package struct GalleryLaw: Sendable, Codable, Equatable {
    package let base: Double
    /// The standard deviation of what nobody can know.
    package let noiseDeviation: Double
    package let colors: [String: Double]
    package let topics: [String: Double]
    /// Of a topic's word, on top of its topic.
    package let words: [String: Double]
    package let places: [String: Double]
    /// The latent groups of users.
    package let groups: [Group]

    package struct Group: Sendable, Codable, Equatable {
        package let colors: [String: Double]
        package let topics: [String: Double]
        /// The topics that this group's audiences respond to. The others leave them cold.
        package let warm: [GalleryTopic]
        /// The kind of thing that they look at where the text names none.
        package let favorite: GalleryKind
    }

    /// Which of eight topics are warm to which group: four to each, and each to two.
    private static let warmth = [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 4, 5], [2, 3, 6, 7]]
    package static let groupCount = warmth.count

    init(seed: UInt64) {
        var random = SceneRandom(seed: seed, stream: .law)
        let colorNames = GalleryColor.allCases.map(\.rawValue)
        let topicNames = GalleryTopic.allCases.map(\.rawValue)
        base = 5
        noiseDeviation = 0.55
        colors = Self.spread(colorNames, deviation: 0.7, using: &random)
        topics = Self.spread(topicNames, deviation: 1.1, using: &random)
        var words: [String: Double] = [:]
        for topic in GalleryTopic.allCases {
            words.merge(Self.spread(topic.words, deviation: 0.25, using: &random)) { $1 }
        }
        self.words = words
        places = Self.spread(ScenePlace.allCases.map(\.word), deviation: 0.15, using: &random)

        let favorites = random.shuffled(GalleryKind.allCases)
        let order = random.shuffled(GalleryTopic.allCases)
        var groups: [Group] = []
        for (warm, favorite) in zip(Self.warmth, favorites) {
            groups.append(
                Group(
                    colors: Self.spread(colorNames, deviation: 0.35, using: &random),
                    topics: Self.spread(topicNames, deviation: 0.3, using: &random),
                    warm: warm.map { order[$0] }, favorite: favorite))
        }
        self.groups = groups
    }

    // MARK: What a post is worth to a group

    /// The object that counts: the one that the text names, which is the first; otherwise the
    /// group's favourite. Nil where neither is there, and all count alike.
    func subject(of objects: [GalleryObject], isNamed: Bool, to group: Int) -> Int? {
        isNamed ? 0 : objects.firstIndex { $0.kind == groups[group].favorite }
    }

    func appeal(of color: GalleryColor, to group: Int) -> Double {
        (colors[color.rawValue] ?? 0) + (groups[group].colors[color.rawValue] ?? 0)
    }

    func appeal(of word: String, about topic: GalleryTopic, to group: Int) -> Double {
        ExactMath.rounded(
            (topics[topic.rawValue] ?? 0) + (groups[group].topics[topic.rawValue] ?? 0)
                + (words[word] ?? 0))
    }

    func effect(of picture: GalleryPicture?) -> Double {
        picture.flatMap { places[$0.place.word] } ?? 0
    }

    // MARK: Tables

    /// Evenly spaced values around 0, dealt out at random: they spread as far with any seed.
    private static func spread(
        _ names: [String], deviation: Double, using random: inout SceneRandom
    ) -> [String: Double] {
        let count = Double(names.count)
        // The standard deviation of 0, 1, ... count - 1.
        let unit = ((count * count - 1) / 12).squareRoot()
        let ranks = random.shuffled(Array(names.indices))
        let values = ranks.map {
            ExactMath.rounded((Double($0) - (count - 1) / 2) / unit * deviation)
        }
        return Dictionary(uniqueKeysWithValues: zip(names, values))
    }
}

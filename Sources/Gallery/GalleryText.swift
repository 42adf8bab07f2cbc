import Model

/// What the planted words of a post's text are about. The words stand for nothing else.
package enum GalleryTopic: String, Sendable, Codable, CaseIterable {
    case music, food, sport, railway, history, harvest, animals, workshop

    package var words: [String] {
        switch self {
        case .music: ["concert", "guitar", "jazz", "drums"]
        case .food: ["breakfast", "noodles", "bakery", "cheese"]
        case .sport: ["marathon", "cycling", "football", "surfing"]
        case .railway: ["locomotive", "station", "tram", "platform"]
        case .history: ["castle", "ruins", "museum", "statue"]
        case .harvest: ["vineyard", "orchard", "pumpkin", "barn"]
        case .animals: ["horse", "puppy", "heron", "hedgehog"]
        case .workshop: ["pottery", "blacksmith", "weaving", "carving"]
        }
    }
}

/// The words of a post.
struct GalleryText: Sendable {
    let title: [String]
    let tags: [String]
    /// The planted words of topics, no topic twice.
    let topics: [(topic: GalleryTopic, word: String)]
    let namesSubject: Bool

    private static let minimumWords = 4
    private static let titleWords = 2...6
    private static let fillers = 1...6

    /// - Parameter subject: what the text is about; nil where the post has no picture.
    init(
        subject: GalleryKind?, place: ScenePlace, light: SceneLight, using random: inout SceneRandom
    ) {
        let isMissing = random.chance(percent: 2)
        let namesSubject = random.chance(percent: 88)
        let topicCount = [1, 2, 2, 3, 3][random.number(in: 0...4)]
        let topics = random.shuffled(GalleryTopic.allCases).prefix(topicCount).map {
            (topic: $0, word: random.pick($0.words))
        }
        guard !isMissing else {
            title = []
            tags = []
            self.topics = []
            self.namesSubject = false
            return
        }

        var words = topics.map(\.word)
        if let subject, namesSubject { words.append(subject.word) }
        if random.chance(percent: 40) { words.append(place.word) }
        if random.chance(percent: 20) { words.append(light.word) }
        let count = max(Self.minimumWords, words.count + random.number(in: Self.fillers))
        while words.count < count {
            let filler = Self.filler(using: &random)
            if !words.contains(filler) { words.append(filler) }
        }
        words = random.shuffled(words)
        let titleCount = min(words.count, random.number(in: Self.titleWords))
        title = Array(words.prefix(titleCount))
        tags = Array(words.dropFirst(titleCount))
        self.topics = topics
        self.namesSubject = subject != nil && namesSubject
    }

    /// Words that say nothing, the first ones often and the last ones seldom (Zipf's law).
    private static func filler(using random: inout SceneRandom) -> String {
        var draw = random.number(in: 0...(fillerWeights.reduce(0, +) - 1))
        for (word, weight) in zip(fillerWords, fillerWeights) {
            draw -= weight
            if draw < 0 { return word }
        }
        return fillerWords[0]
    }

    private static let fillerWeights = fillerWords.indices.map { 100_000 / ($0 + 3) }

    static let fillerWords = [
        "photo", "the", "my", "and", "with", "day", "photography", "canon", "nikon", "outdoors",
        "travel", "nature", "trip", "weekend", "one", "from", "this", "love", "art", "fun",
        "explore", "color", "light", "friends", "family", "view", "walk", "holiday", "happy",
        "favorite", "best", "new", "another", "some", "lens", "iphone", "digital", "raw", "wide",
        "angle", "project", "daily", "week", "month", "year", "today", "yesterday", "tomorrow",
        "first", "last", "time", "again", "really", "very", "little", "big", "old", "young",
        "quiet", "slow", "fast", "far", "near", "around", "between", "under", "behind", "almost",
        "finally", "still", "just", "maybe", "always", "never", "often", "something", "nothing",
        "everything", "somewhere", "people", "place", "road", "corner", "moment", "memory",
        "story", "series", "part", "number", "version", "edit", "filter", "focus", "frame",
        "shadow", "detail", "pattern", "texture", "contrast", "mood", "calm", "wonder", "journey",
        "vacation", "tourist", "guide", "map", "ticket", "camera", "tripod", "handheld",
    ]
}

/// A picture that the project draws itself, with the words that a person might post with it:
/// something to look at in a demonstration, and something to calibrate seeded weights on.
///
/// Everything follows from the seed, by integer arithmetic: the same on every machine.
package struct SampleScene: Sendable {
    /// 2 ... 6 words.
    package let title: String

    /// 1 ... 8 words, none of them twice.
    package let tags: [String]

    private let seed: UInt64
    private let light: SceneLight
    private let place: ScenePlace
    private let objects: [PlacedObject]

    package init(seed: UInt64) {
        var random = SceneRandom(seed: seed)
        let place = random.pick(ScenePlace.allCases)
        let light = random.pick(SceneLight.allCases)
        let objects = Self.place(in: place, under: light, using: &random)
        self.seed = seed
        self.place = place
        self.light = light
        self.objects = objects
        title = SceneWords.title(place, light, objects, using: &random)
        tags = SceneWords.tags(place, light, objects, using: &random)
    }

    /// Every word that any scene may use, lower-case, sorted.
    package static let vocabulary: [String] = SceneWords.all

    /// Draws the scene. Shapes keep their proportions whatever the picture's.
    package func render(width: Int, height: Int) -> Pixels {
        precondition(width > 0 && height > 0, "\(width) x \(height) pixels")
        var canvas = SampleCanvas(width: width, height: height)
        let landscape = SceneLandscape(
            place: place, light: light, noise: SceneNoise(seed: seed &* 0x9E37_79B9_7F4A_7C15),
            width: canvas.widthInUnits, height: canvas.heightInUnits)
        canvas.paint(landscape.color)
        for object in objects {
            object.draw(on: &canvas, in: landscape)
        }
        return Pixels(width: width, height: height, rgb: canvas.rgb)
    }

    /// Sky and ground alone, without anything that stands, swims or flies there.
    package static func landscape(
        _ place: ScenePlace, under light: SceneLight, seed: UInt64, width: Int, height: Int
    ) -> Pixels {
        precondition(width > 0 && height > 0, "\(width) x \(height) pixels")
        var canvas = SampleCanvas(width: width, height: height)
        let landscape = SceneLandscape(
            place: place, light: light, noise: SceneNoise(seed: seed),
            width: canvas.widthInUnits, height: canvas.heightInUnits)
        canvas.paint(landscape.color)
        return Pixels(width: width, height: height, rgb: canvas.rgb)
    }

    /// One to three objects, those farther away first.
    private static func place(
        in place: ScenePlace, under light: SceneLight, using random: inout SceneRandom
    ) -> [PlacedObject] {
        var kinds = place.objects.filter { $0 != .moon || light == .night }
        kinds.removeAll { $0 == .sun && (light == .night || light == .overcast) }
        kinds = random.shuffled(kinds)
        let count = random.number(in: 1...3)
        // Each in a column of its own, so that none hides another.
        let columns = random.shuffled([0, 1, 2])
        return zip(kinds.prefix(count), columns).map { kind, column in
            PlacedObject(
                kind: kind, color: random.pick(SceneWords.colors),
                across: 60 + column * 310 + random.number(in: 60...200),
                along: random.number(in: 0...1000), size: random.number(in: 80...120),
                variety: random.next())
        }
        .sorted { $0.along < $1.along }
    }
}

/// Words for what is drawn.
enum SceneWords {
    struct NamedColor: Sendable {
        let word: String
        let color: SceneColor
    }

    static let colors = [
        NamedColor(word: "red", color: SceneColor(206, 44, 40)),
        NamedColor(word: "orange", color: SceneColor(240, 134, 36)),
        NamedColor(word: "yellow", color: SceneColor(246, 206, 56)),
        NamedColor(word: "blue", color: SceneColor(44, 96, 190)),
        NamedColor(word: "purple", color: SceneColor(134, 66, 160)),
        NamedColor(word: "pink", color: SceneColor(236, 120, 160)),
        NamedColor(word: "white", color: SceneColor(240, 238, 230)),
        NamedColor(word: "turquoise", color: SceneColor(46, 172, 170)),
    ]

    private static let openings = ["Little", "Lonely", "My favourite", "Beautiful", "Old", "Quiet"]

    /// What people write under any picture.
    private static let chatter = [
        "art", "canon", "color", "explore", "family", "friends", "fun", "holiday", "landscape",
        "light", "love", "nature", "nikon", "outdoors", "peaceful", "photo", "photography",
        "relax", "travel", "vacation", "view", "walk", "weekend", "wonderful",
    ]

    static func title(
        _ place: ScenePlace, _ light: SceneLight, _ objects: [PlacedObject],
        using random: inout SceneRandom
    ) -> String {
        let subject = objects.last?.kind ?? .birds
        let color = objects.last?.color.word ?? ""
        let opening = random.pick(openings)
        let subjectPhrase = "\(subject.preposition(in: place)) the \(place.word)"
        switch random.number(in: 0...4) {
        case 0: return capitalized("\(light.word) \(place.preposition) the \(place.word)")
        case 1 where subject.isColored:
            return capitalized("\(color) \(subject.word) \(subjectPhrase)")
        case 2: return capitalized("\(opening) \(subject.word)")
        case 3 where objects.count > 1:
            let others = objects.dropLast().map(\.kind.word).joined(separator: " and ")
            return capitalized("\(others) and \(subject.word)")
        default: return capitalized("\(subject.word) \(subjectPhrase)")
        }
    }

    static func tags(
        _ place: ScenePlace, _ light: SceneLight, _ objects: [PlacedObject],
        using random: inout SceneRandom
    ) -> [String] {
        var likely = [place.word, light.word] + objects.map(\.kind.word)
        likely += [place.otherWord] + objects.filter(\.kind.isColored).map(\.color.word)
        var tags = Array(random.shuffled(likely).prefix(random.number(in: 1...5)))
        tags += random.shuffled(chatter).prefix(random.number(in: 0...3))
        var seen = Set<String>()
        return tags.filter { seen.insert($0).inserted }
    }

    static let all: [String] = {
        var words = Set(chatter).union(colors.map(\.word)).union(["the", "and"])
        for opening in openings {
            words.formUnion(opening.lowercased().split(separator: " ").map(String.init))
        }
        for place in ScenePlace.allCases {
            words.formUnion([place.word, place.otherWord, place.preposition])
            words.formUnion(place.objects.map { $0.preposition(in: place) })
        }
        words.formUnion(SceneLight.allCases.map(\.word))
        words.formUnion(SceneObject.allCases.map(\.word))
        return words.sorted()
    }()

    private static func capitalized(_ text: String) -> String {
        text.prefix(1).uppercased() + text.dropFirst()
    }
}

/// Choices from a seed. The standard library's `random(in:using:)` and `shuffle(using:)` would not
/// do: their documentation reserves the right to choose otherwise in another version of Swift.
package struct SceneRandom: Sendable {
    private var generator: SplitMix64

    package init(seed: UInt64) {
        generator = SplitMix64(seed: seed)
    }

    package mutating func next() -> UInt64 {
        generator.next()
    }

    /// Evenly, but for a bias of the order of the range's size in 2^64.
    package mutating func number(in range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(generator.next() % UInt64(range.count))
    }

    package mutating func pick<Element>(_ choices: [Element]) -> Element {
        choices[number(in: 0...(choices.count - 1))]
    }

    /// Fisher and Yates.
    package mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var elements = elements
        for index in elements.indices.reversed() {
            elements.swapAt(index, number(in: 0...index))
        }
        return elements
    }
}

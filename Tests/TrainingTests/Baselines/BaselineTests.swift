import Glibc
import Model
import Testing
import Training

@Suite struct BaselineTests {
    // MARK: HisAve

    @Test func hisAveIsTheMeanOfTheUsersTrainingPosts() throws {
        let posts = [
            post("1", by: "a", 2), post("2", by: "a", 4), post("3", by: "b", 9),
            post("4", by: "a", 100, part: .validation), post("5", by: "c", 100, part: .test),
        ]
        let hisAve = try HisAve.train(posts: posts)
        #expect(posts.map(hisAve.score) == [3, 3, 9, 3, 5])
        let knowingMore = try HisAve.train(posts: posts, parts: [.train, .validation])
        #expect(knowingMore.score(posts[0]) == Float(106.0 / 3))

        let loaded = try withScratchFolder { folder in
            try hisAve.save(to: "\(folder)/hisave.json")
            return try HisAve(path: "\(folder)/hisave.json")
        }
        #expect(loaded == hisAve)
        let error = #expect(throws: TrainingError.self) {
            try HisAve.train(posts: [post("1", by: "a", 1, part: .test)])
        }
        #expect(error?.description.contains("no training post") == true)
    }

    // MARK: Features against scikit-learn and numpy

    @Test func tfidfIsThatOfScikitLearn() throws {
        let golden = try EvaluationGolden.load(EvaluationGolden.TFIDF.self, "tfidf.json")
        let vocabulary = try Vocabulary(words: golden.vocabulary)
        func words(_ text: String) -> [Int32] {
            vocabulary.encode(title: text, tags: "", maximumWords: 50).ids
        }
        let tfidf = TFIDF(
            posts: golden.training.map(words), vocabularyCount: golden.vocabulary.count)
        for (idf, expected) in zip(tfidf.idf, golden.idf) {
            #expect(abs(Double(idf) - expected) < 1e-6)
        }
        for (text, expected) in zip(golden.texts, golden.rows) {
            var row = [Double](repeating: 0, count: expected.count)
            for (word, weight) in tfidf.weights(words(text)) { row[Int(word)] = weight }
            #expect(zip(row, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(text)")
        }
    }

    @Test func colorStatisticsAreThoseOfNumPy() throws {
        let golden = try EvaluationGolden.load(EvaluationGolden.Color.self, "color.json")
        let values = ColorStatistics.values(
            of: Pixels(width: golden.width, height: golden.height, rgb: golden.rgb))
        #expect(values.count == ColorStatistics.count)
        #expect(values.count == golden.values.count)
        for (index, (value, expected)) in zip(values, golden.values).enumerated() {
            #expect(abs(Double(value) - expected) < 1e-5, "value \(index)")
        }
    }

    @Test func aPlainPictureHasFiniteStatistics() {
        for grey: UInt8 in [0, 77, 255] {
            let pixels = Pixels(
                width: 64, height: 64, rgb: [UInt8](repeating: grey, count: 64 * 64 * 3))
            let values = ColorStatistics.values(of: pixels)
            #expect(values.allSatisfy { $0.isFinite })
            #expect(abs(values[0] - Float(grey) / 255) < 1e-6)
            #expect(values[2] == 0)
        }
    }

    @Test func skipGramBringsWordsOfOneTopicTogether() {
        var random = SplitMix64(seed: 5)
        let posts = (0..<400).map { index in
            (0..<8).map { _ in
                Int32(index % 2 == 0 ? 0 : 6) + Int32.random(in: 0..<6, using: &random)
            }
        }
        var settings = SkipGram()
        settings.dimension = 16
        settings.subsampling = 1
        let vectors = settings.train(posts: posts, vocabularyCount: 13)
        func cosine(_ left: Int, _ right: Int) -> Float {
            let (x, y) = (vectors.vector(left), vectors.vector(right))
            func dot(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Float {
                zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
            }
            return dot(x, y) / (dot(x, x) * dot(y, y)).squareRoot()
        }
        for word in 1..<6 {
            #expect(cosine(0, word) > 0.5)
            #expect(cosine(0, 6 + word) < 0.3)
        }
        #expect(vectors.mean([12]) == nil, "a word never seen has no vector")
        #expect(vectors.mean([0, 12]) == Array(vectors.vector(0)))
        #expect(settings.train(posts: posts, vocabularyCount: 13) == vectors)
        settings.seed = 2
        #expect(settings.train(posts: posts, vocabularyCount: 13) != vectors)
    }

    @Test func readsWordVectorsAsGloVeWritesThem() throws {
        let vocabulary = try Vocabulary(words: ["boat", "sky", "rare"])
        func read(_ text: String) throws -> WordVectors {
            try withScratchFolder { folder in
                try writeFile(Array(text.utf8), to: "\(folder)/glove.txt")
                return try WordVectors(gloveFile: "\(folder)/glove.txt", vocabulary: vocabulary)
            }
        }
        let vectors = try read("the 9 9\nsky 0.5 -1\n. . 1 1\nboat 2 3e-1\n")
        #expect(vectors.dimension == 2)
        #expect(vectors.values == [2, 0.3, 0.5, -1, 0, 0])
        #expect(vectors.mean([2]) == nil)
        for (text, reason) in [
            ("sky 1 2\nboat 1\n", ":2: 1 numbers, expected 2"), ("sky 1 x\n", "'x' is no number"),
            ("", "no vectors"), ("sky\n", "0 numbers after the word"),
        ] {
            let error = #expect(throws: TrainingError.self) { try read(text) }
            #expect(error?.description.contains(reason) == true, "\(text)")
        }
    }

    // MARK: User statistics

    @Test func aTrainingPostKnowsEarlierDaysOnly() throws {
        let posts = [
            post("1", by: "a", 1, day: 0), post("2", by: "a", 3, day: 0),
            post("3", by: "a", 9, day: 2), post("4", by: "a", 5, day: 2),
            post("5", by: "b", 7, day: 1),
        ]
        let users = UserStatistics(trainingPosts: posts, scope: .earlierDays)
        #expect(users.values(for: posts[0]) == nil)
        #expect(users.values(for: posts[1]) == nil)
        let third = try #require(users.values(for: posts[2]))
        #expect(third[0] == 2 && third[2] == 1 && third[4] == 2)
        #expect(third[3] == Float(log2(3.0)) && third[5] == Float(log2(3.0)))
        #expect(users.values(for: posts[3]) == third, "the same day teaches nothing")

        // Its own score, and later ones, change nothing about a post.
        var changed = posts
        changed[2].target = -40
        let others = UserStatistics(trainingPosts: changed, scope: .earlierDays)
        let (before, after) = (users.values(for: posts[3]), others.values(for: changed[3]))
        #expect(before?[0] == after?[0] && before?[4] == after?[4])
    }

    @Test func aTestPostKnowsWhatTheScopeSays() throws {
        let posts = [post("1", by: "a", 1, day: 0), post("2", by: "a", 5, day: 2)]
        let test = post("3", by: "a", 100, day: 2, part: .test)
        let earlier = UserStatistics(trainingPosts: posts, scope: .earlierDays)
        let all = UserStatistics(trainingPosts: posts, scope: .all)
        #expect(earlier.values(for: test)?[0] == 1)
        #expect(all.values(for: test)?[0] == 3)
        #expect(all.values(for: test)?[4] == 5)
        #expect(all.values(for: posts[1])?[0] == 1)
        #expect(all.values(for: post("4", by: "nobody", 0, part: .test)) == nil)
    }

    // MARK: The SVR

    /// The optimum is unique for both losses: objective and predictions must be scikit-learn's.
    @Test func linearSVRFindsTheOptimumOfScikitLearn() throws {
        let golden = try EvaluationGolden.load(EvaluationGolden.SVR.self, "svr.json")
        var rows = SparseRows(width: golden.rows[0].count)
        for row in golden.rows {
            rows.append(row.enumerated().map { (column: $0.offset, value: $0.element) })
        }
        for example in golden.cases {
            let loss = try #require(LinearSVR.Loss(rawValue: example.loss))
            let weights = try LinearSVR.train(
                rows, targets: golden.targets,
                settings: .init(loss: loss, c: example.c, epsilon: example.epsilon))
            func predict(_ row: [Double]) -> Double {
                zip(row + [1], weights).reduce(0) { $0 + $1.0 * $1.1 }
            }
            var objective = weights.reduce(0) { $0 + $1 * $1 } / 2
            for (row, target) in zip(golden.rows, golden.targets) {
                let excess = max(0, abs(target - predict(row)) - example.epsilon)
                objective += example.c * (loss == .squared ? excess * excess : excess)
            }
            let note: Comment = "\(example.loss) C \(example.c) epsilon \(example.epsilon)"
            #expect(abs(objective / example.objective - 1) < 1e-4, note)
            for (row, expected) in zip(golden.others, example.predictions) {
                #expect(abs(predict(row) - expected) < 1e-2, note)
            }
        }
    }

    @Test func linearSVRSaysWhatItCannotDo() {
        var rows = SparseRows(width: 1)
        rows.append([(column: 0, value: 1.0)])
        let error = #expect(throws: TrainingError.self) {
            try LinearSVR.train(
                rows, targets: [1], settings: .init(loss: .squared, c: -1, epsilon: 0))
        }
        #expect(error?.description.contains("liblinear refuses: C <= 0") == true)
    }

    /// The score hangs on a word, on the picture's colour and on the user; the SVR must find all
    /// three, and choose the groups that carry them.
    @Test func svrLearnsFromTextPictureAndUser() throws {
        let world = try World()
        let svr = try world.train()
        #expect(Set(svr.chosen.groups).isSuperset(of: ["color", "user"]))
        #expect(svr.chosen.groups.contains("tfidf") || svr.chosen.groups.contains("word-vectors"))
        #expect((60...80).contains(svr.trials.count))
        #expect(svr.chosen.validationMSE == svr.trials.map(\.validationMSE).min())

        let test = world.posts.filter { $0.part == .test }
        let hisAve = try HisAve.train(posts: world.posts)
        let evaluation = try Evaluation(
            posts: test, historyLengths: [:],
            systems: [
                .init(name: "hisave", runs: [test.map(hisAve.score)]),
                .init(name: "svr", runs: [try svr.scores(test, images: world.image)]),
            ])
        let figures = evaluation.figures().systems
        let (hisAveError, svrError) = (
            try #require(figures[0][.mse]).value, try #require(figures[1][.mse]).value
        )
        #expect(svrError < 0.25 * hisAveError, "\(svrError) beside \(hisAveError)")
    }

    @Test func svrRepeatsAndComesBackFromItsFolderBitByBit() throws {
        let world = try World()
        let svr = try world.train()
        let scores = try svr.scores(world.posts, images: world.image).map(\.bitPattern)
        let again = try world.train()
        #expect(again.trials == svr.trials)
        #expect(try again.scores(world.posts, images: world.image).map(\.bitPattern) == scores)

        try withScratchFolder { folder in
            try svr.save(to: "\(folder)/svr")
            let loaded = try SVR(folder: "\(folder)/svr")
            #expect(loaded.chosen == svr.chosen)
            #expect(loaded.trials == svr.trials)
            #expect(
                try loaded.scores(world.posts, images: world.image).map(\.bitPattern) == scores)

            try writeFile(Array("boat\n".utf8), to: "\(folder)/svr/vocabulary.txt")
            let error = #expect(throws: TrainingError.self) { try SVR(folder: "\(folder)/svr") }
            #expect(error?.description.contains("vocabulary.txt") == true)
        }
    }

    @Test func svrDoesNotLookAtTheTestPart() throws {
        let world = try World()
        var other = world
        for index in other.posts.indices where other.posts[index].part == .test {
            other.posts[index].target += 100
            other.posts[index].title = "boat boat boat"
        }
        let (svr, blind) = (try world.train(), try other.train())
        #expect(svr.trials == blind.trials)
        #expect(
            try svr.scores(world.posts, images: world.image)
                == blind.scores(world.posts, images: world.image))
    }

    @Test func svrGoesOnWithoutPicturesAndCountsDamagedOnes() throws {
        let world = try World()
        let blind = try SVR.train(
            posts: world.posts, vocabulary: World.vocabulary, images: { _ in [0xFF, 0xD8, 0] })
        #expect(blind.unusableImages == world.posts.count { $0.part != .test && $0.image != nil })
        #expect(!blind.chosen.groups.contains("color"))

        let error = #expect(throws: TrainingError.self) {
            try SVR.train(
                posts: world.posts.filter { $0.part == .train }, vocabulary: World.vocabulary,
                images: { _ in nil })
        }
        #expect(error?.description.contains("a validation post") == true)
    }
}

/// 20 users; what a post scores is the sum of its user's level, a warm word and a red picture.
private struct World {
    static let vocabulary = ["boat", "sky", "water", "night", "berlin"]

    var posts: [PreparedPost] = []
    private let red: [UInt8]
    private let blue: [UInt8]

    init() throws {
        func plain(_ color: [UInt8]) throws -> [UInt8] {
            let rgb = [[UInt8]](repeating: color, count: 32 * 32).flatMap { $0 }
            return try JPEG.encode(Pixels(width: 32, height: 32, rgb: rgb), quality: 90)
        }
        (red, blue) = (try plain([200, 30, 30]), try plain([30, 30, 200]))

        var random = SplitMix64(seed: 9)
        for index in 0..<600 {
            let user = Int.random(in: 0..<20, using: &random)
            let words = (0..<3).map { _ in Self.vocabulary.randomElement(using: &random) ?? "" }
            let isRed = Bool.random(using: &random)
            let level = Float(user % 5) * 0.7
            let warmth: Float = words.contains("boat") ? 2 : 0
            posts.append(
                post(
                    "p\(index)", by: "u\(user)",
                    level + warmth + (isRed ? 1.5 : 0)
                        + Float.random(in: -0.2...0.2, using: &random),
                    day: index,
                    part: index < 420 ? .train : index < 480 ? .validation : .test,
                    title: words.joined(separator: " "), image: isRed ? "red.jpg" : "blue.jpg"))
        }
    }

    func image(_ post: PreparedPost) -> [UInt8]? {
        post.image == "red.jpg" ? red : blue
    }

    func train() throws -> SVR {
        try SVR.train(posts: posts, vocabulary: Self.vocabulary, images: image)
    }
}

private func post(
    _ pid: String, by uid: String, _ target: Float, day: Int = 0,
    part: PreparedPost.Part = .train, title: String = "", image: String? = nil
) -> PreparedPost {
    PreparedPost(
        pid: pid, uid: uid, part: part, postedAt: Double(day) * 86_400 + 3_600, target: target,
        title: title, image: image)
}

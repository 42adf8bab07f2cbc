import Model
import Testing

/// The derivative by users' vectors against the readable head's differences in float64, and the
/// scores against those that are served. (Against PyTorch: TrainingTests.)
struct UserGradientTests {
    private typealias Sample = HeadShapeTests.Sample

    struct Variant: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let parts: BundleConfiguration.Parts

        init(_ name: String, _ change: (inout BundleConfiguration.Parts) -> Void) {
            testDescription = name
            var parts = BundleConfiguration.Parts.all
            change(&parts)
            self.parts = parts
        }
    }

    static let variants = [
        Variant("whole") { _ in },
        Variant("no text") { $0.reads_text = false },
        Variant("no image") { $0.reads_image = false },
        Variant("no intra-attention") { $0.intra_attention = false },
        Variant("no inter-attention") { $0.inter_attention = false },
        Variant("no user in attention") { $0.user_in_attention = false },
        Variant("no user term") { $0.user_term = false },
        Variant("no user") {
            $0.user_in_attention = false
            $0.user_term = false
        },
    ]

    /// Posts of every kind, and users of which one has several, one has one and one has none.
    private struct Posts {
        let sample: Sample
        let inputs: [(features: [Float]?, ids: [Int32])]
        let userOf: [Int]
        var users: [[Float]] { sample.users }

        init(_ shape: HeadShape, words: [Int] = [0, 1, 5, 50], users: Int = 4) throws {
            sample = try Sample(shape, users: users)
            var inputs: [(features: [Float]?, ids: [Int32])] = []
            for (number, count) in words.enumerated() {
                let features = sample.features.map { $0 / Float(1 + number) }
                inputs += [(features, sample.ids(count)), (nil, sample.ids(count))]
            }
            self.inputs = inputs
            userOf = inputs.indices.map { [2, 0, 2, 3, 2, 0, 0][$0 % 7] % users }
        }

        func encode(_ head: Head) -> [PostEncoding] {
            inputs.map { head.encode(features: $0.features, wordIDs: $0.ids) }
        }
    }

    private static func gradients(
        _ posts: Posts, _ kernels: Kernels, threads: Int = 2, back: ([Float]) -> [Float]
    ) throws -> (scores: [Float], gradients: [[Float]], served: [Float]) {
        let head = try posts.sample.head(kernels, threads: threads)
        let encodings = posts.encode(head)
        let found = UserGradient(weights: head.weights, workers: Workers(count: threads))
            .gradient(encodings, userOf: posts.userOf, users: posts.users, back: back)
        let served = zip(encodings, posts.userOf).map {
            head.predict($0, user: head.project(user: posts.users[$1])).score
        }
        return (found.scores, found.gradients, served)
    }

    /// A loss whose derivative differs from post to post.
    private static func back(_ scores: [Float]) -> [Float] {
        scores.enumerated().map { 2 * ($1 - Float($0 % 5)) }
    }

    /// Along a few directions, sum of back . score at u + step and at u - step, in float64, for every
    /// size and instruction set.
    private func compare(
        _ posts: Posts, directions: Int, tolerance: Double, userOnly: Int? = nil
    ) throws {
        let reference = ReferenceHead(weights: posts.sample.file, shape: posts.sample.shape)
        let first = try Self.gradients(posts, Kernels.available[0], back: Self.back)
        let factors = Self.back(first.scores)
        func loss(_ user: Int, _ vector: [Double]) throws -> Double {
            var sum = 0.0
            for (post, input) in posts.inputs.enumerated() where posts.userOf[post] == user {
                sum +=
                    Double(factors[post])
                    * (try reference.score(
                        features: input.features?.map(Double.init), wordIDs: input.ids,
                        user: vector
                    ).score)
            }
            return sum
        }
        let found = try Kernels.available.map {
            // Each set's own scores differ by rounding; the factors must not.
            try Self.gradients(posts, $0) { _ in factors }.gradients
        }
        var noise = SplitMix64(seed: 12)
        for user in posts.users.indices where userOnly == nil || user == userOnly {
            let u = posts.users[user].map(Double.init)
            for _ in 0..<directions {
                var direction = u.map { _ in Double(noise.next() >> 40) / 8_388_608 - 1 }
                let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
                direction = direction.map { $0 / length }
                let step = 1e-5
                let above = try loss(user, zip(u, direction).map { $0 + step * $1 })
                let below = try loss(user, zip(u, direction).map { $0 - step * $1 })
                let expected = (above - below) / (2 * step)
                for (set, gradients) in zip(Kernels.available, found) {
                    let along = zip(gradients[user], direction).reduce(0) {
                        $0 + Double($1.0) * $1.1
                    }
                    let size = gradients[user].reduce(0) { $0 + Double($1 * $1) }.squareRoot()
                    #expect(
                        abs(along - expected) <= tolerance * max(1, size),
                        "\(set.name), user \(user): \(along), \(expected)")
                }
            }
        }
    }

    @Test(arguments: HeadShapeTests.cases)
    func everySizeAgreesWithDifferences(_ size: HeadShapeTests.Case) throws {
        try compare(Posts(size.shape), directions: 2, tolerance: 2e-6)
    }

    @Test(arguments: variants)
    func everyVariantAgreesWithDifferences(_ variant: Variant) throws {
        var shape = HeadShapeTests.cases[3].shape
        shape.parts = variant.parts
        try compare(Posts(shape), directions: 3, tolerance: 2e-6)
    }

    @Test func thePapersSizeAgreesWithDifferences() throws {
        let size = HeadShapeTests.Case(
            dimension: 512, channels: 512, regions: 196, dense: [1024, 1024])
        try compare(
            Posts(size.shape, words: [6], users: 1), directions: 1, tolerance: 2e-6, userOnly: 0)
    }

    @Test func aUserWithoutPostsAndAModelWithoutUsersHaveNoGradient() throws {
        let shape = HeadShapeTests.cases[3].shape
        let whole = try Self.gradients(Posts(shape), Kernels.available[0], back: Self.back)
        #expect(whole.gradients.map { $0.contains { $0 != 0 } } == [true, false, true, true])
        var without = shape
        without.parts = Self.variants[7].parts
        let none = try Self.gradients(Posts(without), Kernels.available[0], back: Self.back)
        #expect(none.gradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
    }

    @Test(arguments: HeadShapeTests.cases)
    func scoresAreThoseServed(_ size: HeadShapeTests.Case) throws {
        for variant in Self.variants {
            var shape = size.shape
            shape.parts = variant.parts
            let posts = try Posts(shape)
            for kernels in Kernels.available {
                let found = try Self.gradients(posts, kernels, back: Self.back)
                #expect(Set(found.scores).count > 1)
                for (score, served) in zip(found.scores, found.served) {
                    #expect(abs(score - served) <= 1e-6 * max(1, abs(served)))
                }
            }
        }
    }

    /// Neither the number of threads, nor what else is in a batch, nor a call before, changes a bit.
    @Test func bitsDoNotDependOnThreadsOrCompany() throws {
        let posts = try Posts(HeadShapeTests.cases[4].shape)
        for kernels in Kernels.available {
            let head = try posts.sample.head(kernels)
            let encodings = posts.encode(head)
            var all: [[[Float]]] = []
            for threads in [1, 2, 3] {
                let learner = UserGradient(
                    weights: head.weights, workers: Workers(count: threads))
                for _ in 0..<2 {
                    let found = learner.gradient(
                        encodings, userOf: posts.userOf, users: posts.users, back: Self.back)
                    #expect(
                        learner.scores(encodings, userOf: posts.userOf, users: posts.users)
                            == found.scores)
                    all.append([found.scores] + found.gradients)
                }
                // Each user's posts alone.
                let factors = Self.back(all[0][0])
                for user in posts.users.indices {
                    let own = posts.userOf.indices.filter { posts.userOf[$0] == user }
                    let found = learner.gradient(
                        own.map { encodings[$0] }, userOf: own.map { _ in 0 },
                        users: [posts.users[user]]
                    ) { _ in own.map { factors[$0] } }
                    #expect(found.scores == own.map { all[0][0][$0] })
                    #expect(found.gradients[0] == all[0][1 + user])
                }
            }
            #expect(all.allSatisfy { $0 == all[0] })
        }
    }

    /// More posts than fit at once: every post counts once, with the derivative that is its own.
    @Test func blocksAddUp() throws {
        let posts = try Posts(HeadShapeTests.cases[3].shape)
        let head = try posts.sample.head(Kernels.available[0])
        let encodings = posts.encode(head)
        let learner = UserGradient(weights: head.weights, workers: Workers(count: 2))
        let count = 2 * UserGradient.maximumPosts + 5
        let many = (0..<count).map { encodings[$0 % encodings.count] }
        let userOf = (0..<count).map { $0 % 3 }
        let found = learner.gradient(many, userOf: userOf, users: posts.users, back: Self.back)
        let factors = Self.back(found.scores)
        var expected = posts.users.map { $0.map { _ in 0.0 } }
        for post in 0..<count {
            let one = learner.gradient(
                [many[post]], userOf: [0], users: [posts.users[userOf[post]]]
            ) { _ in [factors[post]] }
            #expect(one.scores[0] == found.scores[post])
            for (k, value) in one.gradients[0].enumerated() {
                expected[userOf[post]][k] += Double(value)
            }
        }
        for (gradient, expected) in zip(found.gradients, expected)
        where expected.contains(where: { $0 != 0 }) {
            #expect(relativeError(gradient, expected) < 1e-6)
        }
        #expect(found.gradients[3].allSatisfy { $0 == 0 })
    }

    @Test func noPostIsNoWork() throws {
        let posts = try Posts(HeadShapeTests.cases[1].shape)
        let head = try posts.sample.head(Kernels.available[0])
        let learner = UserGradient(weights: head.weights, workers: Workers(count: 2))
        let found = learner.gradient([], userOf: [], users: posts.users) { $0 }
        #expect(found.scores.isEmpty)
        #expect(found.gradients == posts.users.map { $0.map { _ in 0 } })
        #expect(learner.expand([]).isEmpty)
    }
}

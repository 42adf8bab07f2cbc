import Model
import Testing

/// The fast head against the readable one in float64: sizes that leave every kind of rest, with
/// every instruction set of this machine.
struct HeadShapeTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var dimension: Int
        var channels: Int
        var regions: Int
        var dense: [Int]
        var gate = BundleConfiguration.Gate.logistic

        var shape: HeadShape {
            HeadShape(
                dimension: dimension, channels: channels, regions: regions, dense: dense,
                vocabulary: 30, maximumWords: 50, gate: gate)
        }
        var testDescription: String {
            "d \(dimension), \(channels) channels, \(regions) regions, dense \(dense), \(gate)"
        }
    }

    static let cases = [
        Case(dimension: 1, channels: 1, regions: 1, dense: [1]),
        Case(dimension: 8, channels: 5, regions: 4, dense: [3, 9], gate: .hardSigmoid),
        Case(dimension: 17, channels: 33, regions: 9, dense: [40]),
        Case(dimension: 31, channels: 16, regions: 49, dense: [7, 65, 2]),
        Case(dimension: 64, channels: 48, regions: 196, dense: [128, 128], gate: .hardSigmoid),
        Case(dimension: 65, channels: 64, regions: 30, dense: []),
    ]

    /// Weights from a seed, and features and users from the same.
    struct Sample {
        let folder: TemporaryFolder
        let file: Safetensors
        let shape: HeadShape
        let features: [Float]
        let users: [[Float]]

        init(_ shape: HeadShape, users count: Int = 3) throws {
            var seeded = SeededWeights(seed: 7)
            folder = try TemporaryFolder()
            let bytes = seeded.head(
                dimension: shape.dimension, channels: shape.channels, dense: shape.dense,
                vocabulary: shape.vocabulary
            ).bytes()
            try folder.write(bytes, "head.safetensors")
            file = try Safetensors(path: "\(folder.path)/head.safetensors")
            self.shape = shape
            var noise = SplitMix64(seed: 3)
            func values(_ count: Int) -> [Float] {
                (0..<count).map { _ in Float(noise.next() >> 40) / 8_388_608 - 1 }
            }
            features = values(shape.regions * shape.channels).map { max(0, $0) }
            users = (0..<count).map { _ in values(shape.dimension) }
        }

        func head(_ kernels: Kernels, threads: Int = 2) throws -> Head {
            Head(
                weights: try PackedHead(weights: file, shape: shape, kernels: kernels),
                workers: Workers(count: threads))
        }

        func ids(_ count: Int) -> [Int32] {
            (0..<count).map { Int32(($0 * 7 + 3) % shape.vocabulary) }
        }
    }

    private func compare(_ sample: Sample, words: [Int]) throws {
        let reference = ReferenceHead(weights: sample.file, shape: sample.shape)
        for count in words {
            for features in [sample.features, nil] {
                let expected = try reference.score(
                    features: features?.map(Double.init), wordIDs: sample.ids(count),
                    user: sample.users[0].map(Double.init))
                for kernels in Kernels.available {
                    let head = try sample.head(kernels)
                    let found = head.predict(
                        head.encode(features: features, wordIDs: sample.ids(count)),
                        user: head.project(user: sample.users[0]))
                    #expect(
                        abs(Double(found.score) - expected.score)
                            < 1e-6 * max(1, abs(expected.score)), "\(kernels.name), \(count) words")
                    #expect(largestDifference(found.words, expected.words) < 1e-6)
                    #expect(largestDifference(found.regions, expected.regions) < 1e-6)
                    #expect(
                        abs(Double(found.modalities.text) - expected.modalities.text) < 1e-6)
                    #expect(
                        abs(Double(found.modalities.image) - expected.modalities.image) < 1e-6)
                }
            }
        }
    }

    @Test(arguments: cases)
    func everySizeAgreesWithTheReadableHead(_ size: Case) throws {
        try compare(Sample(size.shape), words: [0, 1, 2, 13, 50])
    }

    @Test func thePapersSizeAgreesWithTheReadableHead() throws {
        let size = Case(dimension: 512, channels: 512, regions: 196, dense: [1024, 1024])
        try compare(Sample(size.shape), words: [12])
    }

    /// Ranking must not give another score than scoring: neither the number of users nor that of
    /// threads changes a bit.
    @Test(arguments: [1, 2, 59, 60, 61, 130])
    func manyUsersGetTheBitsOfOne(users: Int) throws {
        let sample = try Sample(
            Case(dimension: 65, channels: 48, regions: 49, dense: [40, 24]).shape, users: users)
        for kernels in Kernels.available {
            let one = try sample.head(kernels, threads: 1)
            let encoding = one.encode(features: sample.features, wordIDs: sample.ids(12))
            let alone = sample.users.map { one.predict(encoding, user: one.project(user: $0)) }
            #expect(Set(alone.map(\.score)).count == users)
            for threads in [1, 3] {
                let many = try sample.head(kernels, threads: threads)
                let encoding = many.encode(features: sample.features, wordIDs: sample.ids(12))
                let projections = many.project(users: sample.users)
                #expect(many.predict(encoding, users: projections) == alone)
                #expect(many.scores(encoding, users: projections) == alone.map(\.score))
            }
        }
    }

    @Test func nobodyIsNoWork() throws {
        let sample = try Sample(Self.cases[1].shape)
        let head = try sample.head(Kernels.available[0])
        let encoding = head.encode(features: nil, wordIDs: [])
        #expect(head.scores(encoding, users: []).isEmpty)
        #expect(head.project(users: []).isEmpty)
    }

    /// Memory is used again, but not while somebody holds what is in it.
    @Test func anEncodingThatIsKeptDoesNotChange() throws {
        let sample = try Sample(Self.cases[3].shape)
        let head = try sample.head(Kernels.available[0])
        let user = head.project(user: sample.users[0])
        let kept = head.encode(features: sample.features, wordIDs: sample.ids(20))
        let before = (kept.text?.states.values, kept.image?.gated.values)
        let score = head.predict(kept, user: user)
        for words in [1, 7, 50] {
            let other = head.encode(
                features: sample.features.map { $0 / 2 }, wordIDs: sample.ids(words))
            #expect(head.predict(other, user: user) != score)
        }
        #expect(kept.text?.states.values == before.0)
        #expect(kept.image?.gated.values == before.1)
        #expect(head.predict(kept, user: user) == score)
    }

    /// A smaller post after a larger one finds nothing of it.
    @Test func aPostLeavesNoTraceInTheNext() throws {
        let sample = try Sample(Self.cases[3].shape)
        let (used, fresh) = (
            try sample.head(Kernels.available[0]), try sample.head(Kernels.available[0])
        )
        let user = fresh.project(user: sample.users[1])
        _ = used.predict(
            used.encode(features: sample.features, wordIDs: sample.ids(50)),
            user: used.project(user: sample.users[0]))
        for (features, words) in [(sample.features, 3), (nil, 2), (sample.features, 0), (nil, 0)] {
            let ids = sample.ids(words)
            #expect(
                used.predict(used.encode(features: features, wordIDs: ids), user: user)
                    == fresh.predict(fresh.encode(features: features, wordIDs: ids), user: user))
        }
    }
}

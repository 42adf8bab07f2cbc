import Model
import Testing

/// What a bundle says its users' vectors were learnt from, and at which age of the posts.
struct UserHistoryTests {
    private let folder: TemporaryFolder
    private static let blocks = [[4], [4], [4], [4], [8]]

    init() throws {
        folder = try TemporaryFolder()
        var bundle = SeededBundle(seed: 1)
        (bundle.side, bundle.blocks) = (32, Self.blocks)
        (bundle.dimension, bundle.dense) = (8, [8, 8])
        _ = try bundle.write(to: "\(folder.path)/m", workers: Workers(count: 2)) { _ in }
    }

    /// A bundle of two users around the seeded backbone.
    private func bundle(
        horizonDays: Double? = nil, users: [String] = ["anna", "zoë"],
        _ tensors: [(name: String, values: [Float])]
    ) throws -> ModelBundle {
        var weights = SeededWeights(seed: 5)
        let head = weights.head(dimension: 8, channels: 8, dense: [8, 8], vocabulary: 1)
        var table = weights.users(count: users.count, dimension: 8)
        for tensor in tensors {
            table.add(tensor.name, shape: [tensor.values.count], tensor.values)
        }
        let name = "\(folder.path)/n"
        try BundleContents(
            name: "n",
            shape: HeadShape(
                dimension: 8, channels: 8, regions: 1, dense: [8, 8], vocabulary: 1,
                maximumWords: 50, gate: .logistic),
            side: 32, normalization: .torchvision, blocks: Self.blocks,
            backbone: .link(
                path: "\(folder.path)/m/backbone.safetensors", trained: false, origin: "m"),
            head: head, isHeadTrained: true, words: ["lake"], users: users, userVectors: table,
            minimumDays: 1, smearing: nil, horizonDays: horizonDays
        ).write(BundleWriter(folder: name))
        return try ModelBundle(folder: name)
    }

    @Test func aBundleTellsWhatItsUsersHaveBehindThem() throws {
        let bundle = try bundle(
            horizonDays: 7, [("history.posts", [40, 3]), ("history.mean", [5.5, -1])])
        #expect(bundle.users.hasHistories)
        #expect(bundle.users.history(of: "anna") == .init(posts: 40, mean: 5.5))
        #expect(bundle.users.history(of: "zoë") == .init(posts: 3, mean: -1))
        #expect(bundle.users.history(of: "bob") == nil)
        #expect(bundle.users.vector(of: "anna")?.count == 8)
        #expect(bundle.configuration.target.horizon_days == 7)
    }

    @Test func oneWithoutThemLoadsAsBeforeAndItsFilesHaveNoWordOfThem() throws {
        let bundle = try bundle([])
        #expect(!bundle.users.hasHistories && bundle.users.history(of: "anna") == nil)
        #expect(bundle.configuration.target.horizon_days == nil)
        let text = String(decoding: try folder.bytes("n/config.json"), as: UTF8.self)
        #expect(!text.contains("horizon"))
        #expect(!(try ModelBundle(folder: "\(folder.path)/m")).users.hasHistories)
    }

    @Test(
        arguments: [
            ([("history.posts", [40, 3])], "'history.mean'"),
            ([("history.mean", [40, 3])], "'history.posts'"),
            ([("history.posts", [40]), ("history.mean", [1, 2])], "history.posts"),
            ([("history.posts", [40, -3]), ("history.mean", [1, 2])], "says -3.0 at 1"),
            ([("history.posts", [0.5, 3]), ("history.mean", [1, 2])], "says 0.5 at 0"),
            ([("history.posts", [1, 3]), ("history.mean", [1, .nan])], "history.mean"),
        ] as [([(name: String, values: [Float])], String)])
    func halfOrImpossibleHistoriesAreRefused(
        tensors: [(name: String, values: [Float])], reason: String
    ) {
        let error = #expect(throws: ModelError.self) { try bundle(tensors) }
        #expect(error.map { "\($0)".contains(reason) } == true, "\(String(describing: error))")
    }

    @Test(arguments: ["0", "-1", "\"7\""]) func aHorizonThatIsNoneIsRefused(value: String) throws {
        try folder.edit("m/config.json") {
            $0.replacing("\"minimum_days\"", with: "\"horizon_days\" : \(value), \"minimum_days\"")
        }
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            "\(error)".contains("horizon_days")
        }
    }
}

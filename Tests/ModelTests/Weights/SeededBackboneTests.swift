import Glibc
import Model
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Backbones that a bundle names by their seed. One test at a time: each has a cache of its own,
/// named in the environment.
@Suite(.serialized) final class SeededBackboneTests {
    private let folder: TemporaryFolder
    private static let blocks = [[4], [4], [4], [4], [8]]
    private static let cached = "cache/uhan/backbone-1-4-4-4-4-8-32.safetensors"

    init() throws {
        folder = try TemporaryFolder()
        setenv("XDG_CACHE_HOME", "\(folder.path)/cache", 1)
    }

    private func model() throws -> ModelBundle { try ModelBundle(folder: "\(folder.path)/m") }

    private func cacheFiles() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/cache/uhan")
    }

    /// A bundle "m" of the smallest kind, its backbone in a file.
    private func makeBundle() throws {
        var bundle = SeededBundle(seed: 1)
        (bundle.side, bundle.blocks) = (32, Self.blocks)
        (bundle.dimension, bundle.dense) = (8, [8, 8])
        _ = try bundle.write(to: "\(folder.path)/m", workers: Workers(count: 2)) { _ in }
    }

    /// The same bundle, its backbone named by the seed alone.
    private func makeSeededBundle() throws {
        try makeBundle()
        try folder.edit("m/config.json") {
            $0.replacing(#""file" : "backbone.safetensors""#, with: #""seed" : 1"#)
        }
        try FileManager.default.removeItem(atPath: "\(folder.path)/m/backbone.safetensors")
    }

    private func edit(_ old: String, _ new: String) throws {
        try folder.edit("m/config.json") { $0.replacing(old, with: new) }
    }

    private func refusal(sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let error = #expect(throws: ModelError.self, sourceLocation: sourceLocation) {
            try model()
        }
        return "\(try #require(error, sourceLocation: sourceLocation))"
    }

    // MARK: The same weights

    @Test func aSeedStandsForTheFileOfTheSameWeights() throws {
        try makeBundle()
        let bytes = try folder.bytes("m/backbone.safetensors")
        let pixels = SampleScene(seed: 3).render(width: 32, height: 32)
        let expected = try model().makeBackbone(workers: Workers(count: 1)).features(pixels)
        try edit(#""file" : "backbone.safetensors""#, #""seed" : 1"#)
        try FileManager.default.removeItem(atPath: "\(folder.path)/m/backbone.safetensors")

        let bundle = try model()
        #expect(bundle.isUntrained)
        #expect(bundle.configuration.backbone.seed == 1)
        #expect(bundle.configuration.backbone.file == nil)
        #expect(bundle.backbonePath == "\(folder.path)/\(Self.cached)")
        #expect(try folder.bytes(Self.cached) == bytes)
        // Not those that are packed already, which have the same checksum.
        let packed = try PackedVGG(
            Safetensors(path: bundle.backbonePath), blocks: Self.blocks, side: 32,
            kernels: Kernels.chosen(), workers: Workers(count: 1))
        let features = VGG16(
            weights: packed, normalization: .torchvision, workers: Workers(count: 1)
        ).features(pixels)
        #expect(features == expected)
    }

    @Test func contentsNameTheSeedAndWriteNoWeights() throws {
        var weights = SeededWeights(seed: 5)
        let shape = HeadShape(
            dimension: 8, channels: 8, regions: 1, dense: [8, 8], vocabulary: 2, maximumWords: 50,
            gate: .logistic)
        let head = weights.head(dimension: 8, channels: 8, dense: [8, 8], vocabulary: 2)
        let users = weights.users(count: 1, dimension: 8)
        try BundleContents(
            name: "named", shape: shape, side: 32, normalization: .torchvision,
            blocks: Self.blocks,
            backbone: .seeded(SeededBackbone(seed: 1, blocks: Self.blocks, side: 32)), head: head,
            isHeadTrained: true, words: ["lake", "boat"], users: ["anna"], userVectors: users,
            minimumDays: 2, smearing: 1.5
        ).write(BundleWriter(folder: "\(folder.path)/m"))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/m").sorted() == [
                "config.json", "head.safetensors", "users.safetensors", "users.txt",
                "vocabulary.txt",
            ])
        let bundle = try model()
        // The digits of `BundleTests`: the same weights, whoever makes them.
        #expect(
            bundle.configuration.backbone.sha256
                == "f0a2c18ce9f29757eb953acab39c7596abd09be113fa6f870e9ad591fa4be3ce")
        #expect(bundle.configuration.headShape == shape)
        #expect(bundle.configuration.target.minimum_days == 2)
        #expect(bundle.configuration.target.smearing == 1.5)
        #expect(bundle.users.ids == ["anna"] && bundle.vocabulary.count == 2)
        // What the head has learnt, it has learnt from that backbone's features.
        #expect(!bundle.isUntrained && !bundle.configuration.backbone.trained)

        // Elsewhere, where nothing is cached, it is the same bundle.
        try FileManager.default.removeItem(atPath: "\(folder.path)/cache")
        let moved = try model()
        #expect(moved.version == bundle.version)
        #expect(try cacheFiles().count == 1)
    }

    // MARK: What is refused

    @Test func anotherChecksumIsRefused() throws {
        try makeSeededBundle()
        let right = "f0a2c18ce9f29757eb953acab39c7596abd09be113fa6f870e9ad591fa4be3ce"
        try edit(right, String(right.reversed()))
        let refusal = try refusal()
        #expect(refusal.contains(right.prefix(12)))
        #expect(refusal.contains(String(right.reversed()).prefix(12)))
    }

    @Test(
        arguments: [
            (#""seed" : 1"#, #""seed" : 2"#), (#""side" : 32"#, #""side" : 64"#),
        ])
    func anotherSeedOrSideIsOtherWeights(change: (String, String)) throws {
        try makeSeededBundle()
        try edit(change.0, change.1)
        #expect(try refusal().contains("SHA-256"))
    }

    @Test(
        arguments: [
            #""file" : "backbone.safetensors", "seed" : 1"#, #""other" : 1"#,
            #""file" : null, "seed" : null"#,
        ])
    func aBackboneNeedsAFileOrASeed(entry: String) throws {
        try makeBundle()
        try edit(#""file" : "backbone.safetensors""#, entry)
        let refusal = try refusal()
        #expect(refusal.contains("config.json"))
        #expect(refusal.contains("either a file or a seed"))
    }

    @Test(arguments: ["-1", "1.5", "\"1\"", "18446744073709551616"])
    func aSeedIsAWholeNumber(seed: String) throws {
        try makeSeededBundle()
        try edit(#""seed" : 1"#, #""seed" : \#(seed)"#)
        let refusal = try refusal()
        #expect(refusal.contains("config.json"), "\(refusal)")
    }

    // MARK: The cache

    @Test func theFileIsMadeOnceAndThenRead() throws {
        func identity() throws -> (ino_t, Int) {
            var status = stat()
            try #require(stat("\(folder.path)/\(Self.cached)", &status) == 0)
            return (status.st_ino, status.st_mtim.tv_nsec)
        }
        try makeSeededBundle()
        _ = try model()
        let first = try identity()
        _ = try model()
        #expect(try identity() == first)
        // Nothing else is left there.
        #expect(try cacheFiles() == [String(Self.cached.dropFirst("cache/uhan/".count))])
        // What belongs to another seed or side has another name.
        _ = try SeededBackbone(seed: 2, blocks: Self.blocks, side: 32).cachedFile()
        _ = try SeededBackbone(seed: 1, blocks: Self.blocks, side: 64).cachedFile()
        _ = try SeededBackbone(seed: 1, blocks: [[4, 4], [4, 4, 8]], side: 32).cachedFile()
        #expect(try cacheFiles().count == 4)
        #expect(try identity() == first)
    }

    @Test(arguments: [[], Array("half a file".utf8)])
    func aDamagedFileIsNamedWithWhatToDo(bytes: [UInt8]) throws {
        try makeSeededBundle()
        _ = try model()
        try folder.write(bytes, Self.cached)
        let refusal = try refusal()
        #expect(refusal.contains("\(folder.path)/\(Self.cached)"))
        #expect(refusal.contains("delete it"))
        // As it says.
        try FileManager.default.removeItem(atPath: "\(folder.path)/\(Self.cached)")
        _ = try model()
    }

    @Test func aCacheThatCannotBeMadeIsSaid() throws {
        try makeSeededBundle()
        try folder.write([], "cache")
        let refusal = try refusal()
        #expect(refusal.contains("/cache/uhan"))
        #expect(refusal.contains("set XDG_CACHE_HOME"))
    }

    @Test func threadsMayMakeItAtTheSameTime() async throws {
        let backbone = SeededBackbone(seed: 3, blocks: Self.blocks, side: 32)
        let hashes = try await withThrowingTaskGroup(of: String.self) { tasks in
            for _ in 0..<8 { tasks.addTask { try backbone.cachedFile().sha256() } }
            return try await tasks.reduce(into: []) { $0.append($1) }
        }
        #expect(hashes.count == 8 && Set(hashes).count == 1)
        #expect(try cacheFiles() == ["backbone-3-4-4-4-4-8-32.safetensors"])
    }

    // MARK: Parts of the head

    private func withParts(_ json: String) throws {
        try makeBundle()
        try edit(
            #""file" : "head.safetensors","#,
            #""file" : "head.safetensors", "parts" : \#(json),"#)
    }

    @Test(arguments: BundleConfiguration.Parts.keys)
    func partsAreReadBack(key: String) throws {
        let members = BundleConfiguration.Parts.keys.map { #""\#($0)" : \#($0 != key)"# }
        try withParts("{\(members.joined(separator: ", "))}")
        let parts = try #require(try model().configuration.head.parts)
        #expect(BundleConfiguration.Parts.keys.filter { !parts[$0] } == [key])
        #expect(try model().configuration.headShape.parts == parts)
    }

    @Test func withoutPartsTheNetworkIsWhole() throws {
        try makeBundle()
        let whole = try model()
        #expect(whole.configuration.head.parts == nil)
        #expect(whole.configuration.headShape.parts == .all)
        #expect(BundleConfiguration.Parts.keys.allSatisfy { BundleConfiguration.Parts.all[$0] })
        // All of them written out are the same.
        let members = BundleConfiguration.Parts.keys.map { #""\#($0)" : true"# }
        try edit(
            #""file" : "head.safetensors","#,
            #""file" : "head.safetensors", "parts" : {\#(members.joined(separator: ", "))},"#)
        #expect(try model().configuration.headShape == whole.configuration.headShape)
    }

    /// A part that is not spoken of is neither there nor not there.
    @Test(arguments: BundleConfiguration.Parts.keys)
    func everyPartIsSpokenOf(key: String) throws {
        let others = BundleConfiguration.Parts.keys.filter { $0 != key }
        try withParts("{\(others.map { #""\#($0)" : true"# }.joined(separator: ", "))}")
        let refusal = try refusal()
        #expect(refusal.contains("config.json") && refusal.contains("'head.parts.\(key)'"))
    }

    @Test(arguments: ["1", "\"yes\"", "[]", "{\"reads_text\" : 1}"])
    func partsAreYesOrNo(json: String) throws {
        try withParts(json)
        let refusal = try refusal()
        #expect(refusal.contains("config.json") && refusal.contains("head.parts"))
    }
}

extension BundleConfiguration.Parts {
    fileprivate static let keys = [
        "reads_text", "reads_image", "intra_attention", "inter_attention", "user_in_attention",
        "user_term",
    ]

    fileprivate subscript(key: String) -> Bool {
        switch key {
        case "reads_text": reads_text
        case "reads_image": reads_image
        case "intra_attention": intra_attention
        case "inter_attention": inter_attention
        case "user_in_attention": user_in_attention
        case "user_term": user_term
        default: false
        }
    }
}

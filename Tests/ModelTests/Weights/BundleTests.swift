import Model
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A folder of its own for each test, removed after it.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path() + "/uhan-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: "\(path)/\(name)")))
    }

    func write(_ bytes: [UInt8], _ name: String) throws {
        try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
    }

    func edit(_ name: String, _ change: (String) -> String) throws {
        let text = String(decoding: try bytes(name), as: UTF8.self)
        let changed = change(text)
        #expect(changed != text)
        try write(Array(changed.utf8), name)
    }
}

/// A seeded bundle of the smallest kind.
private func tinyBundle(seed: UInt64 = 1) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    var bundle = SeededBundle(seed: seed)
    bundle.side = 32
    bundle.blocks = [[4], [4], [4], [4], [8]]
    bundle.dimension = 8
    bundle.dense = [8, 8]
    _ = try bundle.write(to: "\(folder.path)/m", workers: Workers(count: 2)) { _ in }
    return folder
}

struct BundleTests {
    @Test func loadsWhatItWrote() throws {
        let folder = try tinyBundle()
        let bundle = try ModelBundle(folder: "\(folder.path)/m")
        #expect(bundle.isUntrained)
        #expect(bundle.configuration.regions == 1)
        #expect(bundle.vocabulary.count == SampleScene.vocabulary.count)
        #expect(bundle.users.vector(of: "user-1")?.count == 8)
        #expect(bundle.users.vector(of: "nobody") == nil)
        #expect(bundle.version.hasPrefix("seeded@"))
    }

    /// The same weights on every machine: the digits were written once, on one of them.
    @Test func seedNamesTheWeights() throws {
        let first = try tinyBundle()
        let second = try tinyBundle()
        for name in ["backbone.safetensors", "head.safetensors", "users.safetensors"] {
            #expect(try first.bytes("m/\(name)") == second.bytes("m/\(name)"))
        }
        #expect(
            sha256Hex(try first.bytes("m/backbone.safetensors"))
                == "f0a2c18ce9f29757eb953acab39c7596abd09be113fa6f870e9ad591fa4be3ce")
        #expect(
            sha256Hex(try first.bytes("m/head.safetensors"))
                == "2c7106d111508be9fcee8017ad4329b8ead1e041afd9aec3703103a3fa5560a5")
        let other = try tinyBundle(seed: 2)
        #expect(try first.bytes("m/head.safetensors") != other.bytes("m/head.safetensors"))
    }

    @Test func doesNotOverwriteABundle() throws {
        let folder = try tinyBundle()
        #expect(throws: ModelError.self) {
            try SeededBundle(seed: 1).write(to: "\(folder.path)/m", workers: Workers(count: 1)) {
                _ in
            }
        }
    }

    @Test func aChangedByteIsFound() throws {
        let folder = try tinyBundle()
        var bytes = try folder.bytes("m/head.safetensors")
        bytes[bytes.count - 1] ^= 1
        try folder.write(bytes, "m/head.safetensors")
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            guard case ModelError.checksum(let path, _, _) = error else { return false }
            return path.hasSuffix("head.safetensors")
        }
    }

    @Test func aMissingFileIsNamed() throws {
        let folder = try tinyBundle()
        try FileManager.default.removeItem(atPath: "\(folder.path)/m/users.txt")
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            "\(error)".contains("users.txt")
        }
    }

    /// Right checksum, wrong content: what a hand-made bundle may hold.
    private func replaceHead(_ folder: TemporaryFolder, _ bytes: [UInt8]) throws {
        let old = sha256Hex(try folder.bytes("m/head.safetensors"))
        try folder.write(bytes, "m/head.safetensors")
        try folder.edit("m/config.json") { $0.replacing(old, with: sha256Hex(bytes)) }
    }

    @Test func aSwappedFileIsNotAHead() throws {
        let folder = try tinyBundle()
        try replaceHead(folder, folder.bytes("m/users.safetensors"))
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            error as? ModelError
                == .missingTensor(name: "word", path: "\(folder.path)/m/head.safetensors")
        }
    }

    @Test func aCutFileIsNamed() throws {
        let folder = try tinyBundle()
        try replaceHead(folder, Array(folder.bytes("m/head.safetensors").dropLast(100)))
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            guard case ModelError.malformed(_, let reason) = error else { return false }
            return reason.contains("cut short")
        }
    }

    @Test func anotherDimensionNamesTensorAndShapes() throws {
        let folder = try tinyBundle()
        try folder.edit("m/config.json") { text in
            text.replacing("\"dimension\" : 8", with: "\"dimension\" : 16")
        }
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            guard case ModelError.wrongShape(_, _, let expected, let found) = error else {
                return false
            }
            return expected != found && "\(error)".contains("\(expected)")
        }
    }

    @Test(arguments: [Float.nan, .infinity])
    func aValueThatIsNotFiniteIsNamed(value: Float) throws {
        let folder = try TemporaryFolder()
        var writer = SafetensorsWriter()
        writer.add("x", shape: [2, 2], [1, 2, value, 4])
        try folder.write(writer.bytes(), "x.safetensors")
        let file = try Safetensors(path: "\(folder.path)/x.safetensors")
        #expect(
            throws: ModelError.notFinite(
                tensor: "x", path: "\(folder.path)/x.safetensors", index: 2)
        ) { try file.tensor("x", shape: [2, 2]) }
    }

    @Test(
        arguments: [
            "", "{", "[]", "{\"x\":1}",
            "{\"x\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,400]}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775804,9223372036854775807]}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
            "{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}",
        ])
    func hostileHeadersAreErrors(header: String) throws {
        let folder = try TemporaryFolder()
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
        bytes += header.utf8 + [0, 0, 128, 63]
        try folder.write(bytes, "x.safetensors")
        #expect(throws: ModelError.self) {
            try Safetensors(path: "\(folder.path)/x.safetensors").tensor("x", shape: [1])
        }
    }

    @Test(arguments: [UInt64(0), 5, 1 << 40, .max])
    func headerLengthsThatLieAreErrors(length: UInt64) throws {
        let folder = try TemporaryFolder()
        let bytes = withUnsafeBytes(of: length.littleEndian) { Array($0) }
        try folder.write(bytes + Array("{}".utf8), "x.safetensors")
        #expect(throws: ModelError.self) {
            try Safetensors(path: "\(folder.path)/x.safetensors").tensor("x", shape: [1])
        }
    }

    @Test(
        arguments: [
            ("\"format_version\" : 1", "\"format_version\" : 2"),
            ("\"side\" : 32", "\"side\" : 33"), ("\"side\" : 32", "\"side\" : 1000000"),
            ("\"maximum_words\" : 50", "\"maximum_words\" : 51"),
            ("\"dimension\" : 8", "\"dimension\" : -8"),
            ("\"dimension\" : 8", "\"dimension\" : \"8\""),
            ("\"logistic\"", "\"sigmoid\""), ("\"minimum_days\" : 1", "\"minimum_days\" : 0"),
        ])
    func configurationIsChecked(change: (String, String)) throws {
        let folder = try tinyBundle()
        try folder.edit("m/config.json") { $0.replacing(change.0, with: change.1) }
        #expect { try ModelBundle(folder: "\(folder.path)/m") } throws: { error in
            "\(error)".contains("config.json")
        }
    }

    /// A bundle `name` with a head of its own around the backbone of bundle "m".
    private func bundleAroundBackbone(
        of folder: TemporaryFolder, name: String, side: Int
    ) throws -> ModelBundle {
        let first = try ModelBundle(folder: "\(folder.path)/m")
        var bundle = SeededBundle(seed: 9)
        bundle.side = side
        bundle.blocks = first.configuration.backbone.blocks
        bundle.dimension = 4
        bundle.dense = [4, 4]
        bundle.backbone = .init(
            path: "\(folder.path)/m/backbone.safetensors", link: true,
            normalization: .torchvision, trained: false, origin: "seed 1")
        _ = try bundle.write(to: "\(folder.path)/\(name)", workers: Workers(count: 1)) { _ in }
        return try ModelBundle(folder: "\(folder.path)/\(name)")
    }

    /// Two bundles around one backbone file have its packed weights once in memory.
    @Test func bundlesShareABackbone() throws {
        let folder = try tinyBundle()
        let first = try ModelBundle(folder: "\(folder.path)/m")
        let second = try bundleAroundBackbone(of: folder, name: "n", side: 32)
        #expect(second.configuration.backbone.sha256 == first.configuration.backbone.sha256)
        let workers = Workers(count: 1)
        let (one, other) = (
            try first.makeBackbone(workers: workers), try second.makeBackbone(workers: workers)
        )
        #expect(one.weights === other.weights)
        let pixels = SampleScene(seed: 3).render(width: 32, height: 32)
        #expect(one.features(pixels) == other.features(pixels))
    }

    /// Weights are packed for one picture size, and other weights are others.
    @Test func anotherSideOrBackboneIsPackedByItself() throws {
        let folder = try tinyBundle()
        let workers = Workers(count: 1)
        let backbone = try ModelBundle(folder: "\(folder.path)/m").makeBackbone(workers: workers)
        let larger = try bundleAroundBackbone(of: folder, name: "n", side: 64)
            .makeBackbone(workers: workers)
        let otherFolder = try tinyBundle(seed: 2)
        let other = try ModelBundle(folder: "\(otherFolder.path)/m").makeBackbone(workers: workers)
        #expect(larger.weights !== backbone.weights)
        #expect(larger.weights.side == 64)
        #expect(other.weights !== backbone.weights)
        #expect(other.weights !== larger.weights)
    }

    /// Plain He weights make all pictures look alike; the calibrated ones must not.
    @Test func seededBackboneTellsPicturesApart() throws {
        let pictures = (0..<4).map { SampleScene(seed: 100 + $0).render(width: 64, height: 64) }
        var weights = SeededWeights(seed: 1)
        let (_, report) = weights.backbone(
            blocks: [[8, 8], [16, 16], [32, 32, 32], [32, 32, 32], [32, 32, 32]],
            pictures: pictures, normalization: .torchvision, workers: Workers(count: 2)
        ) { _ in }
        #expect(report.meanCosine < 0.95)
        #expect(report.activeChannels > 0.5)
    }
}

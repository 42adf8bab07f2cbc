import Foundation
import Testing
import Training

@Suite struct FeatureWriterTests {
    /// So small that a record is 128 bytes: 64 before the floats, 24 of floats, padding.
    private static let identity = FeatureIdentity(
        backboneSHA256: String(repeating: "ab", count: 32), blocks: [[3]], side: 2,
        normalization: "raw", instructionSet: "portable", regions: 2, channels: 3)
    private static let origin = BackboneOrigin(
        file: "backbone.safetensors", trained: false, origin: "seed 1")
    private static let headerBytes = 4096
    private static let recordBytes = 128

    private static let images: [(sha256: String, features: [Float])] = (0..<3).map { index in
        (
            String(repeating: "\(index)f", count: 32),
            (0..<6).map { Float($0) + Float(index) / 3 }
        )
    }

    private func open(
        _ folder: String, _ identity: FeatureIdentity = identity
    ) throws -> FeatureWriter {
        try FeatureWriter(folder: folder, identity: identity, origin: Self.origin)
    }

    /// Appends what is missing, as `uhan features` does.
    @discardableResult
    private func complete(_ folder: String) throws -> (before: Int, cut: Int) {
        let writer = try open(folder)
        let (before, cut) = (writer.count, writer.bytesCut)
        for image in Self.images where !writer.isDone(image.sha256) {
            try writer.append(image.features, ofImage: image.sha256)
        }
        try writer.sync()
        return (before, cut)
    }

    private func requireComplete(_ folder: String) throws {
        let store = try FeatureStore.open(folder: folder)
        #expect(store.count == 3)
        for image in Self.images {
            let features = try #require(store.features(ofImage: image.sha256))
            #expect(Array(features) == image.features)
            #expect(Int(bitPattern: features.baseAddress) % 64 == 0)
        }
        #expect(store.features(ofImage: String(repeating: "0", count: 64)) == nil)
    }

    @Test func featuresComeBackWithTheirIdentity() throws {
        let folder = try DataFolder()
        #expect(try complete(folder.file("f")) == (0, 0))
        try requireComplete(folder.file("f"))
        let store = try FeatureStore.open(folder: folder.file("f"))
        #expect(store.identity == Self.identity)
        #expect(store.backbone.origin == "seed 1")
        #expect(store.backbone.file.hasPrefix("/"))
        #expect(store.backbone.file.hasSuffix("/f/backbone.safetensors"))
        #expect(try complete(folder.file("f")) == (3, 0))
    }

    @Test func whereverAKillCutsTheFileTheNextRunGoesOn() throws {
        let folder = try DataFolder()
        try complete(folder.path)
        let whole = try folder.bytes(of: "features.bin")
        #expect(whole.count == Self.headerBytes + 3 * Self.recordBytes)
        let inHeader = [0, 1, 10, 15, 16, 17, 300, 4095]
        for size in inHeader + Array(Self.headerBytes...whole.count) {
            try folder.write(Array(whole.prefix(size)), to: "features.bin")
            let records = max(0, size - Self.headerBytes) / Self.recordBytes
            if size >= Self.headerBytes {
                #expect(try FeatureStore.open(folder: folder.path).count == records)
            } else {
                #expect(throws: TrainingError.self) { try FeatureStore.open(folder: folder.path) }
            }
            let (before, cut) = try complete(folder.path)
            #expect(before == records, "cut at \(size)")
            #expect(cut == max(0, size - Self.headerBytes) % Self.recordBytes, "cut at \(size)")
            #expect(try folder.bytes(of: "features.bin") == whole, "cut at \(size)")
        }
    }

    @Test func aDamagedRecordIsFoundAndMadeAnewWithThoseAfterIt() throws {
        let folder = try DataFolder()
        try complete(folder.path)
        let whole = try folder.bytes(of: "features.bin")
        for record in 0..<3 {
            // Key, checksum, floats and their padding; 40 to 63 are nobody's.
            for offset in Array(0..<40) + Array(64..<Self.recordBytes) {
                var damaged = whole
                damaged[Self.headerBytes + record * Self.recordBytes + offset] ^= 0x10
                try folder.write(damaged, to: "features.bin")
                let error = #expect(throws: TrainingError.self) {
                    try FeatureStore.open(folder: folder.path)
                }
                #expect("\(try #require(error))".contains("record \(record + 1) of 3"))
                #expect(try complete(folder.path) == (record, (3 - record) * Self.recordBytes))
                #expect(try folder.bytes(of: "features.bin") == whole)
            }
        }
        // Pages that a power failure left empty.
        var empty = whole
        for place in empty.indices.suffix(Self.recordBytes) { empty[place] = 0 }
        try folder.write(empty, to: "features.bin")
        #expect(try complete(folder.path) == (2, Self.recordBytes))
    }

    @Test func featuresOfAnotherBackboneAreNotMixedIn() throws {
        let folder = try DataFolder()
        try complete(folder.path)
        let before = try folder.bytes(of: "features.bin")
        func refusal(_ change: (inout FeatureIdentity) -> Void) throws -> String {
            var identity = Self.identity
            change(&identity)
            let error = #expect(throws: TrainingError.self) { try open(folder.path, identity) }
            return "\(try #require(error))"
        }
        #expect(try refusal { $0.side = 4 }.contains("side 2 there, 4 asked for"))
        #expect(try refusal { $0.backboneSHA256 = "cd" }.contains("backbone abababababab there"))
        #expect(try refusal { $0.normalization = "caffe" }.contains("normalization raw there"))
        #expect(try refusal { $0.instructionSet = "avx2" }.contains("portable there, avx2"))
        #expect(try refusal { $0.blocks = [[1], [3]] }.contains("blocks"))
        #expect(try refusal { $0.regions = 3 }.contains("regions"))
        #expect(try refusal { $0.channels = 2 }.contains("channels"))
        #expect(try folder.bytes(of: "features.bin") == before)
    }

    @Test func aFileThatIsNotOursIsLeftAlone() throws {
        let folder = try DataFolder()
        for text in ["precious", String(repeating: "precious", count: 1000)] {
            try folder.write(text, to: "features.bin")
            let error = #expect(throws: TrainingError.self) { try open(folder.path) }
            #expect("\(try #require(error))".contains("not a file of features"))
            #expect(try folder.bytes(of: "features.bin") == Array(text.utf8))
        }
        // Ours, but damaged: said, and not thrown away.
        try folder.delete("features.bin")
        try complete(folder.path)
        var damaged = try folder.bytes(of: "features.bin")
        damaged[20] = UInt8(ascii: "{")
        try folder.write(damaged, to: "features.bin")
        let error = #expect(throws: TrainingError.self) { try open(folder.path) }
        #expect("\(try #require(error))".contains("its header is damaged"))
    }

    @Test func twoAtOnceAreRefused() throws {
        let folder = try DataFolder()
        let first = try open(folder.path)
        let error = #expect(throws: TrainingError.self) { try open(folder.path) }
        #expect("\(try #require(error))".contains("another 'uhan features' is at work"))
        try first.append(Self.images[0].features, ofImage: Self.images[0].sha256)
        // Who reads sees what is whole.
        #expect(try FeatureStore.open(folder: folder.path).count == 1)
    }

    @Test func whatCannotBeDecodedIsRememberedWithItsReason() throws {
        let folder = try DataFolder()
        let failure = FeatureWriter.Failure(
            sha256: Self.images[0].sha256, image: "a/ä.jpg", reason: "a \"PNG\"")
        do {
            let writer = try open(folder.path)
            try writer.fail(failure)
            #expect(writer.isDone(failure.sha256))
        }
        let line = try folder.bytes(of: "failures.jsonl")
        #expect(try open(folder.path).failures == [failure.sha256: failure])
        // A torn or unreadable end is cut off: those images are tried anew.
        for end in [Array(line.prefix(20)), Array("nonsense\n".utf8)] {
            try folder.write(line + end, to: "failures.jsonl")
            let writer = try open(folder.path)
            #expect(writer.failures == [failure.sha256: failure])
            #expect(try folder.bytes(of: "failures.jsonl") == line)
            #expect(!writer.has(failure.sha256))
        }
    }
}

import Model
import Pipeline
import Testing
import Training

@Suite struct FeatureBackboneTests {
    @Test func featuresAreThoseOfServingToTheLastBit() throws {
        let folder = try DataFolder()
        let workers = Workers(count: 2)
        let picture = try JPEG.encode(
            SampleScene(seed: 5).render(width: 320, height: 200), quality: 85)
        let pixels = try JPEG.decodeSquare(picture, side: Preset.small.side)

        // What 'uhan model init --seed 3' makes in these sizes, and what it scores with.
        var seeded = SeededBundle(seed: 3)
        (seeded.blocks, seeded.side) = (Preset.small.blocks, Preset.small.side)
        (seeded.dimension, seeded.dense) = (8, [8, 8])
        _ = try seeded.write(to: folder.file("model"), workers: workers, progress: { _ in })
        let scorer = try PostScorer(
            bundle: ModelBundle(folder: folder.file("model")), workers: workers,
            nanoseconds: { 0 })
        let image = try scorer.imageReader().image(of: picture)
        let served = try #require(scorer.see(image).features)

        let preset = try FeatureBackbone.seeded(
            .small, seed: 3, folder: folder.file("features"), workers: Workers(count: 1),
            progress: { _ in })
        let bundle = try FeatureBackbone.of(bundle: folder.file("model"), workers: workers)
        for backbone in [preset, bundle] {
            #expect(backbone.features(pixels).map(\.bitPattern) == served.map(\.bitPattern))
        }
        #expect(preset.identity == bundle.identity)
        #expect(preset.identity.regions == 196)
        #expect(preset.identity.channels == 128)
        #expect(
            try folder.bytes(of: "features/backbone.safetensors")
                == folder.bytes(of: "model/backbone.safetensors"))
        #expect(bundle.origin.file.hasPrefix("/"))

        // Through the file they stay what they are; another seed is another backbone.
        let writer = try FeatureWriter(
            folder: folder.file("features"), identity: preset.identity, origin: preset.origin)
        let sha256 = sha256Hex(picture)
        try writer.append(preset.features(pixels), ofImage: sha256)
        let store = try FeatureStore.open(folder: folder.file("features"))
        let kept = try #require(store.features(ofImage: sha256))
        #expect(kept.map(\.bitPattern) == served.map(\.bitPattern))
        let error = #expect(throws: TrainingError.self) {
            try FeatureBackbone.seeded(
                .small, seed: 4, folder: folder.file("features"), workers: workers,
                progress: { _ in })
        }
        #expect("\(try #require(error))".contains("asked for 'seed 4'"))
    }
}

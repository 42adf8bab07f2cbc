import Model
import Testing

@Suite struct SampleSceneTests {
    @Test func aSeedGivesTheSameSceneOnEveryMachine() {
        // Digests of the pixels, computed once: they change only when the drawing is changed.
        let expected: [UInt64: UInt64] = [
            1: 11_301_068_663_510_795_681, 2: 9_484_883_478_636_529_399,
            3: 8_424_873_370_049_431_476, 4: 2_864_353_203_613_641_658,
        ]
        for (seed, pixels) in expected {
            #expect(digest(SampleScene(seed: seed).render(width: 64, height: 48).rgb) == pixels)
        }
        #expect(SampleScene(seed: 1).title == "Kite and flower")
    }

    @Test func scenesDiffer() {
        let scenes = (0..<60).map { SampleScene(seed: $0) }
        let pictures = scenes.map { digest($0.render(width: 32, height: 32).rgb) }
        #expect(Set(pictures).count == 60)
        #expect(Set(scenes.map(\.title)).count > 40)
    }

    @Test func aPictureHasTheSizeAskedForAndSomethingToSee() {
        for (width, height) in [(448, 448), (200, 90), (31, 70), (1, 1)] {
            let pixels = SampleScene(seed: 12).render(width: width, height: height)
            #expect(pixels.width == width && pixels.height == height)
        }
        for seed in 0..<40 as Range<UInt64> {
            let rgb = SampleScene(seed: seed).render(width: 64, height: 64).rgb
            #expect(Set(rgb).count > 60, "seed \(seed) is nearly flat")
        }
    }

    @Test func wordsAreFewKnownAndAllInUse() {
        let vocabulary = SampleScene.vocabulary
        #expect(vocabulary == Set(vocabulary).sorted())

        var used = Set<String>()
        for seed in 0..<5000 as Range<UInt64> {
            let scene = SampleScene(seed: seed)
            let words = scene.title.lowercased().split(separator: " ").map(String.init) + scene.tags
            #expect((3...14).contains(words.count), "\(scene.title) | \(scene.tags)")
            #expect(Set(scene.tags).count == scene.tags.count)
            #expect(scene.title.first?.isUppercase == true)
            used.formUnion(words)
        }
        #expect(used.sorted() == vocabulary)
        #expect(vocabulary.allSatisfy { $0.count >= 2 && $0.allSatisfy(\.isLetter) })
    }

    /// FNV-1a.
    private func digest(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}

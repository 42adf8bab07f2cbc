import Model
import Testing

/// What is kept of a post: how small and how near it is, what of it comes back, and that bytes from
/// elsewhere are looked at.
struct KeptEncodingTests {
    private typealias Sample = HeadShapeTests.Sample

    private static let shape = HeadShapeTests.Case(
        dimension: 65, channels: 48, regions: 49, dense: [40, 24]
    ).shape

    private static func states(_ encoding: PostEncoding) -> [PostEncoding.Modality] {
        [encoding.text, encoding.image].compactMap { $0 }
    }

    @Test func aFullPostStaysBelow128KB() throws {
        let shape = HeadShapeTests.Case(
            dimension: 512, channels: 8, regions: 196, dense: [1]
        ).shape
        let sample = try Sample(shape)
        let encoding = try sample.head(Kernels.available[0])
            .encode(features: sample.features, wordIDs: sample.ids(50))
        let bytes = KeptEncoding(encoding).bytes
        #expect(bytes.count == 8 + (50 + 196) * (4 + 512))
        #expect(bytes.count <= 131_072)
    }

    /// A state moves by half a step of its row at most, and the states come back in the same places.
    @Test(arguments: [(0, true), (1, true), (13, false), (50, true), (0, false)])
    func statesComeBackToHalfAStep(words: Int, hasImage: Bool) throws {
        let sample = try Sample(Self.shape)
        let head = try sample.head(Kernels.available[0])
        let encoding = head.encode(
            features: hasImage ? sample.features : nil, wordIDs: sample.ids(words))
        let kept = KeptEncoding(encoding)
        let back = head.expand(try KeptEncoding(bytes: kept.bytes, shape: Self.shape))
        #expect((back.text == nil) == (encoding.text == nil))
        #expect((back.image == nil) == (encoding.image == nil))
        for (found, expected) in zip(Self.states(back), Self.states(encoding)) {
            #expect(found.states.rows == expected.states.rows)
            let (d, found, expected) = (
                Self.shape.dimension, found.states.values, expected.states.values
            )
            for row in 0..<expected.count / d {
                let range = row * d..<(row + 1) * d
                let step = (expected[range].map(\.magnitude).max() ?? 0) / 127
                for at in range {
                    #expect(abs(found[at] - expected[at]) <= 0.5001 * step)
                }
            }
        }
        // The extremes of a row are kept as they are, so that keeping what was kept changes nothing
        // beyond rounding.
        #expect(Self.scores(head, back, sample) != [])
        for (again, score) in zip(
            Self.scores(head, head.expand(KeptEncoding(back)), sample),
            Self.scores(head, back, sample))
        {
            #expect(abs(again - score) < 1e-6)
        }
    }

    private static func scores(_ head: Head, _ encoding: PostEncoding, _ sample: Sample) -> [Float]
    {
        head.scores(encoding, users: head.project(users: sample.users))
    }

    /// The gated products are those that `encode` would have made of the states that were kept:
    /// the score moves by little, and is nearer than without the other modality's guide.
    @Test(arguments: [(1, true), (13, true), (50, true), (13, false), (0, true)])
    func scoresComeBackNearly(words: Int, hasImage: Bool) throws {
        let sample = try Sample(Self.shape)
        for kernels in Kernels.available {
            let head = try sample.head(kernels)
            let encoding = head.encode(
                features: hasImage ? sample.features : nil, wordIDs: sample.ids(words))
            let expected = Self.scores(head, encoding, sample)
            let found = Self.scores(head, head.expand(KeptEncoding(encoding)), sample)
            for (a, b) in zip(found, expected) { #expect(abs(a - b) < 3e-3) }
        }
    }

    /// The same bytes give the same bits: whoever expands them, along with whatever else, on however
    /// many threads.
    @Test func expandingDependsOnTheBytesAlone() throws {
        let sample = try Sample(Self.shape)
        for kernels in Kernels.available {
            let head = try sample.head(kernels, threads: 1)
            let kept = (0..<40).map { post in
                KeptEncoding(
                    head.encode(
                        features: post % 3 == 0
                            ? nil : sample.features.map { $0 * Float(post) / 40 },
                        wordIDs: sample.ids(post % 7)))
            }
            #expect(Set(kept.map(\.bytes)).count > 30)
            let alone = kept.map { Self.bits(head.expand($0)) }
            for threads in [1, 2, 3] {
                let learner = UserGradient(
                    weights: head.weights, workers: Workers(count: threads))
                #expect(learner.expand(kept).map(Self.bits) == alone)
                #expect(
                    learner.expand(Array(kept.reversed())).map(Self.bits) == alone.reversed())
            }
        }
    }

    private static func bits(_ encoding: PostEncoding) -> [[Float]] {
        states(encoding).flatMap { [$0.states.values, $0.gated.values] }
    }

    /// Memory is used again, but not while somebody holds what is in it.
    @Test func whatIsHeldDoesNotChange() throws {
        let sample = try Sample(Self.shape)
        let head = try sample.head(Kernels.available[0])
        let learner = UserGradient(weights: head.weights, workers: Workers(count: 2))
        let kept = [3, 20].map {
            KeptEncoding(head.encode(features: sample.features, wordIDs: sample.ids($0)))
        }
        let held = learner.expand([kept[0]])
        let before = held.map(Self.bits)
        #expect(learner.expand([kept[1]]).map(Self.bits) != before)
        #expect(held.map(Self.bits) == before)
    }

    // MARK: Bytes from elsewhere

    private func keptBytes(words: Int = 3, hasImage: Bool = true) throws -> [UInt8] {
        let sample = try Sample(Self.shape)
        return KeptEncoding(
            try sample.head(Kernels.available[0]).encode(
                features: hasImage ? sample.features : nil, wordIDs: sample.ids(words))
        ).bytes
    }

    private func refusal(_ bytes: [UInt8], _ shape: HeadShape = Self.shape) -> String? {
        do throws(ModelError) {
            _ = try KeptEncoding(bytes: bytes, shape: shape)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func wholeBytesAreTakenAndNothingElse() throws {
        let bytes = try keptBytes()
        #expect(refusal(bytes) == nil)
        for count in [0, 1, 7, 8, 9, bytes.count / 2, bytes.count - 1] {
            #expect(refusal(Array(bytes.prefix(count))) != nil, "\(count) bytes")
        }
        #expect(refusal(bytes + [0]) != nil)
    }

    /// No header makes anything be read that is not there.
    @Test func everyHeaderButTheRightOneIsRefused() throws {
        let bytes = try keptBytes()
        for at in 0..<8 {
            for value in UInt8.min...UInt8.max where value != bytes[at] {
                var changed = bytes
                changed[at] = value
                #expect(refusal(changed) != nil, "byte \(at) is \(value)")
            }
        }
        #expect(refusal([UInt8](repeating: 0xff, count: bytes.count)) != nil)
        // The right number of bytes for the wrong number of regions: words and regions swapped.
        var swapped = bytes
        swapped.swapAt(2, 4)
        #expect(try #require(refusal(swapped)).contains("regions"))
    }

    @Test(arguments: [
        Float.nan, -Float.nan, .infinity, -.infinity, -1e-9, 1, 0.0079, .greatestFiniteMagnitude,
    ])
    func scalesThatNoStateHasAreRefused(scale: Float) throws {
        for row in [0, 2, 3, 51] {
            var bytes = try keptBytes()
            for byte in 0..<4 {
                bytes[8 + 4 * row + byte] = UInt8(
                    truncatingIfNeeded: scale.bitPattern >> (8 * UInt32(byte)))
            }
            #expect(try #require(refusal(bytes)).contains("scale of row \(row)"))
        }
    }

    @Test func aValueThatIsNeverWrittenIsRefused() throws {
        var bytes = try keptBytes()
        bytes[bytes.count - 1] = 0x80
        #expect(try #require(refusal(bytes)).contains("-128"))
        // In a scale the same byte may stand.
        bytes = try keptBytes()
        bytes[8] = 0x80
        #expect(refusal(bytes) == nil)
    }

    @Test func anotherModelsPostIsRefused() throws {
        var other = Self.shape
        other.dimension = 64
        #expect(refusal(try keptBytes(), other) != nil)
        other = Self.shape
        other.maximumWords = 2
        #expect(refusal(try keptBytes(), other) != nil)
        other = Self.shape
        other.parts.reads_image = false
        #expect(refusal(try keptBytes(), other) != nil)
        #expect(refusal(try keptBytes(hasImage: false), other) == nil)
        other = Self.shape
        other.parts.reads_text = false
        #expect(refusal(try keptBytes(), other) != nil)
        #expect(refusal(try keptBytes(words: 0), other) == nil)
    }

    @Test func aPostOfNothingIsAHeader() throws {
        let bytes = try keptBytes(words: 0, hasImage: false)
        #expect(bytes == [1, 0, 0, 0, 0, 0, 0, 0])
        let sample = try Sample(Self.shape)
        let head = try sample.head(Kernels.available[0])
        let back = head.expand(try KeptEncoding(bytes: bytes, shape: Self.shape))
        #expect(back.text == nil && back.image == nil)
    }
}

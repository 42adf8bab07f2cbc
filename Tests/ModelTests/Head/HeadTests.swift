import Model
import Testing

/// The fast head and the readable one against PyTorch, step by step and as a whole.
struct HeadTests {
    @Test func thereAreGoldenCases() {
        #expect(ModelGolden.cases.count >= 12)
    }

    @Test(arguments: ModelGolden.cases)
    func wholeNetworkAgreesWithPyTorch(_ golden: ModelGolden.Case) throws {
        let bundle = try ModelBundle(folder: "\(ModelGolden.folder)/\(golden.bundle)")
        let backbone = try bundle.makeBackbone(workers: Workers(count: 2))

        let text = bundle.vocabulary.encode(
            title: golden.title, tags: golden.alltags, description: golden.description,
            maximumWords: bundle.configuration.maximum_words)
        #expect(text.words == golden.words)
        #expect(text.ids == golden.ids)

        let features = try golden.image.map { backbone.features(try ModelGolden.pixels($0)) }
        if let features {
            let expected = try #require(try ModelGolden.step("F", of: golden))
            #expect(relativeError(features, expected) < 2e-5)
        }

        // The features' error goes through the whole network.
        try check(bundle, features, golden, tolerance: 5e-5)
    }

    /// The head alone, from PyTorch's features.
    @Test(arguments: ModelGolden.cases)
    func headAgreesWithPyTorch(_ golden: ModelGolden.Case) throws {
        let bundle = try ModelBundle(folder: "\(ModelGolden.folder)/\(golden.bundle)")
        let features = try ModelGolden.step("F", of: golden)?.map(Float.init)
        try check(bundle, features, golden, tolerance: 2e-6)
    }

    private func check(
        _ bundle: ModelBundle, _ features: [Float]?, _ golden: ModelGolden.Case, tolerance: Double
    ) throws {
        let head = Head(weights: bundle.head, workers: Workers(count: 2))
        let encoding = head.encode(features: features, wordIDs: golden.ids)
        #expect((encoding.text == nil) == golden.ids.isEmpty)
        #expect((encoding.image == nil) == (golden.image == nil))
        for (states, step) in [(encoding.text?.states, "H"), (encoding.image?.states, "V")] {
            guard let states else { continue }
            let expected = try #require(try ModelGolden.step(step, of: golden))
            #expect(relativeError(states.values, expected) < tolerance, "\(step)")
        }

        let user = bundle.users.vector(of: golden.uid) ?? bundle.users.unknownVector
        let prediction = head.predict(encoding, user: head.project(user: user))
        let gamma = [prediction.modalities.text, prediction.modalities.image]
        for (weights, step) in [
            (prediction.words, "alpha"), (prediction.regions, "beta"), (gamma, "gamma"),
        ] {
            let expected = try ModelGolden.step(step, of: golden) ?? []
            #expect(largestDifference(weights, expected) < tolerance, "\(step)")
        }
        #expect(
            abs(Double(prediction.score) - golden.score) < tolerance * max(1, abs(golden.score)))
    }

    /// The specification in float64 reproduces PyTorch to rounding of the stored features.
    @Test(arguments: ModelGolden.cases)
    func readableHeadAgreesWithPyTorch(_ golden: ModelGolden.Case) throws {
        let bundle = try ModelBundle(folder: "\(ModelGolden.folder)/\(golden.bundle)")
        let user = bundle.users.vector(of: golden.uid) ?? bundle.users.unknownVector
        let result = try bundle.referenceHead().score(
            features: try ModelGolden.step("F", of: golden), wordIDs: golden.ids,
            user: user.map(Double.init))
        #expect(abs(result.score - golden.score) < 1e-6 * max(1, abs(golden.score)))
        for (weights, step) in [(result.words, "alpha"), (result.regions, "beta")] {
            let expected = try ModelGolden.step(step, of: golden) ?? []
            #expect(weights.count == expected.count)
            #expect(zip(weights, expected).allSatisfy { abs($0 - $1) < 1e-6 })
        }
    }

    /// Swapping the images of two posts changes both scores.
    @Test func theImageCounts() throws {
        let golden = ModelGolden.cases.filter { $0.image != nil && !$0.ids.isEmpty }.prefix(2)
        let bundle = try ModelBundle(folder: "\(ModelGolden.folder)/\(golden[0].bundle)")
        let backbone = try bundle.makeBackbone(workers: Workers(count: 1))
        let head = Head(weights: bundle.head, workers: Workers(count: 1))
        let features = try ["blocks", "noise"].map { backbone.features(try ModelGolden.pixels($0)) }
        for post in golden {
            let user = head.project(user: bundle.users.unknownVector)
            let scores = features.map {
                head.predict(head.encode(features: $0, wordIDs: post.ids), user: user).score
            }
            #expect(abs(scores[0] - scores[1]) > 1e-2)
        }
    }

    /// An absent modality must not act like a zero one: tanh(0) = 0 would switch attention off.
    @Test func attentionStaysUnevenWithoutTheOtherModality() throws {
        let golden = try #require(
            ModelGolden.cases.first { $0.image == nil && $0.ids.count > 5 })
        let bundle = try ModelBundle(folder: "\(ModelGolden.folder)/\(golden.bundle)")
        let head = Head(weights: bundle.head, workers: Workers(count: 1))
        let encoding = head.encode(features: nil, wordIDs: golden.ids)
        let user = head.project(user: bundle.users.unknownVector)
        let weights = head.predict(encoding, user: user).words
        let flat = 1 / Float(weights.count)
        #expect(weights.contains { abs($0 - flat) > flat / 4 })
    }

    @Test func scoringAgainGivesTheSameBits() throws {
        let golden = try #require(ModelGolden.cases.first { $0.image != nil && !$0.ids.isEmpty })
        let bundle = try ModelBundle(folder: "\(ModelGolden.folder)/\(golden.bundle)")
        let pixels = try ModelGolden.pixels(try #require(golden.image))
        let predictions = try [1, 2, 3].map { threads in
            let features = try bundle.makeBackbone(workers: Workers(count: threads))
                .features(pixels)
            let head = Head(weights: bundle.head, workers: Workers(count: threads))
            let encoding = head.encode(features: features, wordIDs: golden.ids)
            return head.predict(
                encoding, user: head.project(user: bundle.users.unknownVector))
        }
        #expect(predictions[0] == predictions[1])
        #expect(predictions[0] == predictions[2])
    }
}

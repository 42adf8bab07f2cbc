import Model
import Testing
import Training

@Suite struct LinearProbeTests {
    private var random = SplitMix64(seed: 1)

    /// Even over -1 ..< 1.
    private mutating func noise() -> Float {
        Float(random.next() >> 40) / 8_388_608 - 1
    }

    /// Three classes; feature c is higher by `signal` for class c; two features never move.
    private mutating func samples(_ count: Int, signal: Float) -> [LinearProbe.Sample] {
        (0..<count).map { index in
            let label = index % 3
            var features = (0..<8).map { $0 == label ? noise() + signal : noise() }
            features += [5, 0]
            return LinearProbe.Sample(features: features, label: label)
        }
    }

    @Test mutating func itTellsWhatALineCanTell() throws {
        let result = try LinearProbe.run(
            train: samples(300, signal: 4), test: samples(90, signal: 4), classes: 3)

        #expect(result.accuracy == 1)
        #expect(abs(result.chance - 1.0 / 3) < 1e-9)
        #expect(result.train_samples == 300 && result.test_samples == 90)
    }

    @Test mutating func itTellsNothingWhereThereIsNothing() throws {
        let result = try LinearProbe.run(
            train: samples(600, signal: 0), test: samples(600, signal: 0), classes: 3)

        #expect((0.25...0.42).contains(result.accuracy))
    }

    /// The sign of a product is not linear in its factors.
    @Test mutating func itDoesNotTellWhatNoLineCanTell() throws {
        var samples: [LinearProbe.Sample] = []
        for _ in 0..<1200 {
            let (a, b) = (noise(), noise())
            samples.append(LinearProbe.Sample(features: [a, b], label: a * b > 0 ? 1 : 0))
        }
        let result = try LinearProbe.run(
            train: Array(samples[..<600]), test: Array(samples[600...]), classes: 2)

        #expect((0.4...0.6).contains(result.accuracy))
    }

    @Test mutating func tooFewSamplesAreRefused() {
        let few = samples(7, signal: 1)
        #expect(throws: TrainingError.self) {
            try LinearProbe.run(train: few, test: few, classes: 3)
        }
    }
}

import Model
import Pipeline
import Testing

@Suite struct PageHinkleyTests {
    /// Absolute errors of a score whose residuals have standard deviation 1.5.
    private struct Errors {
        var random: NormalNumbers
        var shift = 0.0
        init(seed: UInt64) { random = NormalNumbers(seed: seed) }
        mutating func next() -> Double { abs(1.5 * Double(random.next())) + shift }
    }

    /// Tolerance 0.5, threshold 2, by hand: mean, and m_t above its smallest value.
    @Test func itIsPagesSum() {
        var parameters = PageHinkley.Parameters()
        (parameters.tolerance, parameters.threshold, parameters.minimumSamples) = (0.5, 2, 1)
        var drift = PageHinkley(parameters)
        var distances: [Double] = []
        for sample in [1, 1, 4, 2] as [Double] {
            #expect(drift.observe(sample) == false)
            distances.append(drift.distance)
        }
        // means 1, 1, 2, 2; m: -0.5, -1, 0.5, 0
        #expect(distances == [0, 0, 1.5, 1])
        // mean 2.6: m has risen by 1 + 5 - 2.6 - 0.5 = 2.9, more than 2.
        #expect(drift.observe(5) == true)
        #expect(drift.alarms == 1)
        #expect([drift.distance, drift.mean] == [0, 0] && drift.samples == 0)
    }

    /// The same as keeping m_t and its minimum.
    @Test func theDistanceIsThatOfTheUsualForm() {
        var parameters = PageHinkley.Parameters()
        parameters.threshold = .infinity
        var drift = PageHinkley(parameters)
        var errors = Errors(seed: 1)
        var (count, total, m, smallest) = (0.0, 0.0, 0.0, 0.0)
        for _ in 0..<2_000 {
            let sample = min(errors.next(), parameters.maximumSample)
            (count, total) = (count + 1, total + sample)
            m += sample - total / count - parameters.tolerance
            smallest = min(smallest, m)
            _ = drift.observe(sample)
            #expect(abs(drift.distance - (m - smallest)) < 1e-9)
        }
    }

    @Test func aQuietStreamRaisesNoAlarm() {
        for seed in 0..<5 as Range<UInt64> {
            var drift = PageHinkley()
            var errors = Errors(seed: seed)
            for _ in 0..<100_000 { _ = drift.observe(errors.next()) }
            #expect(drift.alarms == 0, "seed \(seed)")
            #expect(drift.samples == 100_000)
        }
    }

    /// A rise is found within about threshold / (rise - tolerance) samples: here 125.
    @Test(arguments: [500, 5_000, 50_000])
    func aRiseIsFoundSoonAndOnce(at time: Int) throws {
        for seed in 0..<20 as Range<UInt64> {
            var drift = PageHinkley()
            var errors = Errors(seed: seed)
            var alarms: [Int] = []
            for sample in 0..<time + 2_000 {
                errors.shift = sample < time ? 0 : 0.5
                if drift.observe(errors.next()) { alarms.append(sample) }
            }
            let alarm = try #require(alarms.first, "seed \(seed)")
            #expect(alarm >= time && alarm < time + 300, "seed \(seed): \(alarm)")
            // It has started anew, and the stream is as it has been since.
            #expect(alarms.count == 1, "seed \(seed): \(alarms)")
            #expect(drift.samples == time + 1_999 - alarm)
        }
    }

    @Test func whatIsNotFiniteIsLeftOutAndCounted() {
        var (drift, clean) = (PageHinkley(), PageHinkley())
        var errors = Errors(seed: 3)
        for sample in 0..<1_000 {
            let error = errors.next()
            #expect(drift.observe(error) == clean.observe(error))
            if sample % 10 == 0 {
                #expect(drift.observe([.nan, .infinity, -.infinity][sample / 10 % 3]) == false)
            }
        }
        #expect(drift.ignored == 100)
        #expect(drift.samples == 1_000)
        #expect(drift.mean == clean.mean && drift.distance == clean.distance)
    }

    @Test func aFewWildSamplesRaiseNoAlarm() {
        var drift = PageHinkley()
        var errors = Errors(seed: 4)
        for _ in 0..<1_000 { _ = drift.observe(errors.next()) }
        for _ in 0..<5 { #expect(drift.observe(1e30) == false) }
        #expect(drift.mean < 1.5)
    }
}

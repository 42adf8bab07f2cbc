import CoreMetrics
import Synchronization

/// Keeps what is counted and measured, to be read as text whenever Prometheus asks.
///
/// The number of series is bounded: beyond, what is recorded for a new one is not kept, and how many
/// were turned away is itself a metric. A name has one kind; a second use as another is turned away
/// as well. Recording takes an atomic or a lock of the series' own.
package final class MetricsRegistry: MetricsFactory {
    struct Family {
        let definition: MetricDefinition
        let kind: MetricDefinition.Kind
        /// By their labels as they are written.
        var series: [String: any MetricSeries] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var seriesCount = 0
        var refused = 0
    }

    private let definitions: [String: MetricDefinition]
    private let maximumSeries: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - definitions: What is known of the metrics: help texts, and the bounds of histograms.
    ///   - maximumSeries: Over all names; a histogram counts as one.
    package init(
        definitions: [MetricDefinition] = MetricDefinition.all, maximumSeries: Int = 5_000
    ) {
        self.definitions = Dictionary(
            definitions.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.maximumSeries = maximumSeries
    }

    /// Prometheus' text format, version 0.0.4, in a fixed order.
    package func prometheusText() -> String {
        let (families, refused) = state.withLock { ($0.families, $0.refused) }
        var text = PrometheusText()
        for (_, family) in families.sorted(by: { $0.key < $1.key }) where !family.series.isEmpty {
            text.header(family.definition, family.kind)
            for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
                series.write(family.definition.name, labels, to: &text)
            }
        }
        text.header(.refusedSeries, .counter)
        text.sample(MetricDefinition.refusedSeries.name, "", Double(refused))
        return text.text
    }

    // MARK: - As swift-metrics sees it

    package func makeCounter(label: String, dimensions: [(String, String)]) -> CounterHandler {
        series(label, dimensions, .counter) { _ in CounterSeries() } ?? NOOPMetricsHandler.instance
    }

    package func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> FloatingPointCounterHandler {
        series(label, dimensions, .counter) { _ in CounterSeries() } ?? NOOPMetricsHandler.instance
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> MeterHandler {
        series(label, dimensions, .gauge) { _ in GaugeSeries() } ?? NOOPMetricsHandler.instance
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> RecorderHandler {
        guard aggregate else {
            return series(label, dimensions, .gauge) { _ in GaugeSeries() }
                ?? NOOPMetricsHandler.instance
        }
        return histogram(label, dimensions) ?? NOOPMetricsHandler.instance
    }

    /// In seconds.
    package func makeTimer(label: String, dimensions: [(String, String)]) -> TimerHandler {
        histogram(label, dimensions) ?? NOOPMetricsHandler.instance
    }

    package func destroyCounter(_ handler: CounterHandler) { remove(handler) }
    package func destroyFloatingPointCounter(_ handler: FloatingPointCounterHandler) {
        remove(handler)
    }
    package func destroyMeter(_ handler: MeterHandler) { remove(handler) }
    package func destroyRecorder(_ handler: RecorderHandler) { remove(handler) }
    package func destroyTimer(_ handler: TimerHandler) { remove(handler) }

    private func histogram(_ label: String, _ dimensions: [(String, String)]) -> HistogramSeries? {
        series(label, dimensions, .histogram) { HistogramSeries(bounds: $0.bounds) }
    }

    /// - Returns: nil where there is no room, or the name is of another kind.
    private func series<Series: MetricSeries>(
        _ label: String, _ dimensions: [(String, String)], _ kind: MetricDefinition.Kind,
        _ make: (MetricDefinition) -> Series
    ) -> Series? {
        let name = PrometheusText.name(label)
        let labels = PrometheusText.labels(dimensions)
        return state.withLock { state in
            let known = state.families[name]?.series[labels]
            if let known = known as? Series { return known }
            var family =
                state.families[name]
                ?? Family(
                    definition: definitions[name] ?? MetricDefinition(name, ""), kind: kind)
            guard known == nil, family.kind == kind, state.seriesCount < maximumSeries else {
                state.refused += 1
                return nil
            }
            let series = make(family.definition)
            family.series[labels] = series
            state.families[name] = family
            state.seriesCount += 1
            return series
        }
    }

    private func remove(_ handler: AnyObject) {
        state.withLock { state in
            for (name, family) in state.families {
                guard let labels = family.series.first(where: { $0.value === handler })?.key
                else { continue }
                state.families[name]?.series[labels] = nil
                state.seriesCount -= 1
                return
            }
        }
    }
}

/// One line, or the lines of one histogram.
protocol MetricSeries: AnyObject, Sendable {
    func write(_ name: String, _ labels: String, to text: inout PrometheusText)
}

final class CounterSeries: MetricSeries, CounterHandler, FloatingPointCounterHandler {
    private let value = AtomicDouble()

    func increment(by amount: Int64) { increment(by: Double(amount)) }

    /// A counter only grows.
    func increment(by amount: Double) {
        guard amount > 0, amount.isFinite else { return }
        value.update { $0 + amount }
    }

    func reset() { value.update { _ in 0 } }

    func write(_ name: String, _ labels: String, to text: inout PrometheusText) {
        text.sample(name, labels, value.load())
    }
}

final class GaugeSeries: MetricSeries, RecorderHandler, MeterHandler {
    private let value = AtomicDouble()

    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { self.value.update { _ in value } }
    func increment(by amount: Double) { value.update { $0 + amount } }
    func decrement(by amount: Double) { value.update { $0 - amount } }

    func write(_ name: String, _ labels: String, to text: inout PrometheusText) {
        text.sample(name, labels, value.load())
    }
}

final class HistogramSeries: MetricSeries, RecorderHandler, TimerHandler {
    private struct State {
        /// Of each bucket by itself; the last has what is above all bounds.
        var counts: [Int]
        var sum = 0.0
    }

    /// Inclusive upper bounds, ascending.
    private let bounds: [Double]
    private let state: Mutex<State>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(State(counts: [Int](repeating: 0, count: bounds.count + 1)))
    }

    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { state in
            state.counts[bucket] += 1
            state.sum += value
        }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    func write(_ name: String, _ labels: String, to text: inout PrometheusText) {
        let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
        var below = 0
        for (bound, count) in zip(bounds + [.infinity], counts) {
            below += count
            let separator = labels.isEmpty ? "" : ","
            text.sample(
                "\(name)_bucket", "\(labels)\(separator)le=\"\(PrometheusText.number(bound))\"",
                Double(below))
        }
        text.sample("\(name)_sum", labels, sum)
        text.sample("\(name)_count", labels, Double(below))
    }
}

/// Whole numbers are exact up to 2^53.
private final class AtomicDouble: Sendable {
    private let bits = Atomic<UInt64>(0)

    func load() -> Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    func update(_ change: (Double) -> Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = change(Double(bitPattern: old)).bitPattern
            let (exchanged, found) = bits.weakCompareExchange(
                expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = found
        }
    }
}

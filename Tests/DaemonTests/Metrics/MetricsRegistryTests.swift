import Daemon
import Metrics
import Testing

@Suite struct MetricsRegistryTests {
    let registry = MetricsRegistry(definitions: [
        MetricDefinition("a_total", "Counts \\ and\nbreaks."),
        MetricDefinition("size", "", bounds: [1, 2.5]),
    ])

    func page() throws -> PrometheusPage { try PrometheusPage(registry.prometheusText()) }

    @Test func countersOnlyGrow() throws {
        let counter = Counter(label: "a_total", dimensions: [("b", "x")], factory: registry)
        counter.increment()
        counter.increment(by: 4)
        counter.increment(by: -3)
        // The same labels in another order, and asked for again: the same series.
        for dimensions in [[("c", "y"), ("b", "x")], [("b", "x"), ("c", "y")]] {
            Counter(label: "a_total", dimensions: dimensions, factory: registry).increment()
        }
        let fraction = FloatingPointCounter(label: "f_total", factory: registry)
        fraction.increment(by: 0.25)
        fraction.increment(by: 0.5)
        let page = try page()
        #expect(page.value("a_total", ["b": "x"]) == 5)
        #expect(page.value("a_total", ["b": "x", "c": "y"]) == 2)
        #expect(page.value("f_total") == 0.75)
        #expect(page.families["a_total"]?.type == "counter")
        #expect(page.families["a_total"]?.help == #"Counts \\ and\nbreaks."#)
    }

    @Test func gaugesShowTheLastValueUntilTheyAreDestroyed() throws {
        let gauge = Gauge(label: "g", dimensions: [("p", "1")], factory: registry)
        gauge.record(3)
        gauge.record(-1.5)
        let meter = Meter(label: "m", factory: registry)
        meter.set(2)
        meter.increment(by: 3)
        meter.decrement(by: 1)
        #expect(try page().value("g", ["p": "1"]) == -1.5)
        #expect(try page().value("m") == 4)
        gauge.destroy()
        #expect(try page().families["g"] == nil)
        Gauge(label: "g", dimensions: [("p", "1")], factory: registry).record(7)
        #expect(try page().value("g", ["p": "1"]) == 7)
    }

    @Test func histogramsCountUpToEachBound() throws {
        let recorder = Recorder(label: "size", factory: registry)
        for value in [0.5, 1, 1.1, 2.5, 9, .nan, .infinity] { recorder.record(value) }
        let page = try page()
        #expect(page.value("size_bucket", ["le": "1"]) == 2)
        #expect(page.value("size_bucket", ["le": "2.5"]) == 4)
        #expect(page.value("size_bucket", ["le": "+Inf"]) == 5)
        #expect(page.value("size_sum") == 14.1)
        let timer = Metrics.Timer(label: "t_seconds", factory: registry)
        timer.recordMilliseconds(1_500)
        #expect(try self.page().value("t_seconds_sum") == 1.5)
    }

    @Test(arguments: [
        "\"", "\\", "\n", "a\\n\"b\"\n", "é\u{301} ☃", "", "}", "{a=\"b\"} 1\nevil 2",
    ])
    func labelsComeBackAsTheyWere(value: String) throws {
        Gauge(label: "g", dimensions: [("l", value)], factory: registry).record(1)
        let page = try page()
        #expect(page.families["g"]?.samples.first?.labels == ["l": value])
        #expect(page.families.keys.sorted() == ["g", "uhan_metric_series_refused_total"])
    }

    @Test func namesAreMadeValid() throws {
        Gauge(label: "2.http-é", dimensions: [("a b", "x"), ("a_b", "y")], factory: registry)
            .record(1)
        #expect(try page().value("_2_http__", ["a_b": "x"]) == 1)
    }

    @Test(arguments: [
        (0.0, "0"), (-3, "-3"), (1e20, "1e+20"), (0.1, "0.1"), (1e-7, "1e-07"), (.nan, "NaN"),
        (.infinity, "+Inf"), (-.infinity, "-Inf"),
    ])
    func numbersAreAsPrometheusReadsThem(value: Double, text: String) throws {
        Gauge(label: "g", factory: registry).record(value)
        #expect(registry.prometheusText().contains("\ng \(text)\n"))
    }

    @Test func seriesAreBounded() throws {
        let small = MetricsRegistry(maximumSeries: 3)
        for index in 0..<10 {
            Counter(label: "a_total", dimensions: [("i", "\(index)")], factory: small).increment()
        }
        var page = try PrometheusPage(small.prometheusText())
        #expect(page.families["a_total"]?.samples.count == 3)
        #expect(page.value("uhan_metric_series_refused_total") == 7)
        // What is there goes on.
        Counter(label: "a_total", dimensions: [("i", "0")], factory: small).increment()
        page = try PrometheusPage(small.prometheusText())
        #expect(page.value("a_total", ["i": "0"]) == 2)
    }

    @Test func aNameHasOneKind() throws {
        Counter(label: "a_total", factory: registry).increment()
        Gauge(label: "a_total", factory: registry).record(9)
        Recorder(label: "a_total", dimensions: [("x", "y")], factory: registry).record(9)
        #expect(try page().value("a_total") == 1)
        #expect(try page().value("uhan_metric_series_refused_total") == 2)
    }

    @Test func nothingIsLostBetweenThreads() async throws {
        let counter = Counter(label: "a_total", factory: registry)
        let recorder = Recorder(label: "size", factory: registry)
        await withTaskGroup(of: Void.self) { tasks in
            for _ in 0..<8 {
                tasks.addTask {
                    for index in 0..<2_000 {
                        counter.increment()
                        recorder.record(Double(index % 3))
                    }
                }
            }
        }
        #expect(try page().value("a_total") == 16_000)
        #expect(try page().value("size_count") == 16_000)
    }
}

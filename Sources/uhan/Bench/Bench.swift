import ArgumentParser

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure how fast this machine scores.",
        discussion: """
            Each benchmark repeats one piece of work and tells the median, with the least time that \
            the machine's arithmetic or memory would allow. With --json the same stands as one JSON \
            object on one line, last on stdout; "median_ms" is the figure to compare.

              uhan bench backbone --threads 2
              uhan bench decode --image photo.jpg --json
            """,
        subcommands: [
            BenchBackbone.self, BenchDecode.self, BenchHead.self, BenchRescore.self,
            BenchPipeline.self, BenchLatency.self, BenchTrain.self, BenchUpdate.self,
            BenchUsers.self,
        ])
}

/// The options of every benchmark.
struct BenchOptions: ParsableArguments {
    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    @Flag(help: "Print the result as one line of JSON on stdout.")
    var json = false

    @Option(help: "Least number of timed runs.")
    var runs = 15

    @Option(help: "Go on with timed runs for at least so many seconds.")
    var seconds = 2.0

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
        if runs < 1 || runs > 1_000_000 { throw ValidationError("--runs is 1 to 1000000") }
        if !(0...3600).contains(seconds) { throw ValidationError("--seconds is 0 to 3600") }
    }

    /// Times `work`, after a few runs that warm caches and memory.
    func measure(warmUps: Int = 3, _ work: () throws -> Void) rethrows -> Timing {
        for _ in 0..<warmUps { try work() }
        var milliseconds: [Double] = []
        let start = monotonicNanoseconds()
        while milliseconds.count < runs
            || Double(monotonicNanoseconds() - start) < seconds * 1e9
        {
            let before = monotonicNanoseconds()
            try work()
            milliseconds.append(Double(monotonicNanoseconds() - before) / 1e6)
        }
        return Timing(milliseconds: milliseconds)
    }

    /// The lines for people on stderr, the result for programs on stdout.
    func report(_ result: some Encodable, _ lines: [String]) throws {
        for line in lines { say(line) }
        if json { try printJSON(result) }
    }
}

struct Timing {
    let median: Double
    let minimum: Double
    let runs: Int

    init(milliseconds: [Double]) {
        let sorted = milliseconds.sorted()
        runs = sorted.count
        minimum = sorted[0]
        median = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2
    }
}

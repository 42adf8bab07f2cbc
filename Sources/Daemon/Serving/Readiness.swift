import Metrics
import Synchronization

/// Whether posts are being scored, or would be if there were any, and else what that waits for.
package final class Readiness: Sendable {
    private struct State {
        var isWarm = false
        /// nil once the topics are there.
        var topics: String? = "the brokers' answer about the topics"
        var isAssigned = false
        /// Tasks whose learning state is being read, with the generation of the reading.
        var restoring: [Int32: Int] = [:]
        var isStopping = false

        var waits: [String] {
            if isStopping { return ["the end: the daemon is stopping"] }
            var waits: [String] = []
            if !isWarm { waits.append("the model: it is being loaded and run once") }
            if let topics {
                waits.append(topics)
            } else if !isAssigned {
                waits.append("the group's first assignment of partitions")
            }
            if !restoring.isEmpty {
                let tasks = restoring.keys.sorted().map { "\($0)" }.joined(separator: ", ")
                waits.append("the learning state of partitions \(tasks)")
            }
            return waits
        }
    }

    private let state = Mutex(State())
    private let gauge: Gauge

    init(_ factory: any MetricsFactory) {
        gauge = Gauge(label: "uhan_ready", factory: factory)
        gauge.record(0)
    }

    /// What is still to come, in words; empty when ready. Once the daemon has been told to stop it is
    /// never empty again.
    package var waits: [String] { state.withLock { $0.waits } }
    package var isStopping: Bool { state.withLock { $0.isStopping } }

    func modelIsWarm() { change { $0.isWarm = true } }

    /// - Parameter waiting: for what; nil: they are there.
    func topics(waiting: String?) { change { $0.topics = waiting } }

    /// Also with no partitions at all: a spare instance is ready to take over.
    func assigned() { change { $0.isAssigned = true } }

    func restoring(_ task: Int32, generation: Int) {
        change { $0.restoring[task] = generation }
    }

    func restored(_ task: Int32, generation: Int) {
        change { if $0.restoring[task] == generation { $0.restoring[task] = nil } }
    }

    func released(_ task: Int32) { change { $0.restoring[task] = nil } }

    /// From now on it is not ready, whatever comes.
    func stopping() { change { $0.isStopping = true } }

    private func change(_ body: (inout State) -> Void) {
        state.withLock { state in
            body(&state)
            gauge.record(state.waits.isEmpty ? 1 : 0)
        }
    }
}

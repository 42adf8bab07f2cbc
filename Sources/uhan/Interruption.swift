import Dispatch
import Glibc
import Synchronization

/// Ctrl-C, or a request to end: heard here for as long as this lives. A second one ends the
/// program at once.
final class Interruption: Sendable {
    /// What shells give for a program that SIGINT ended.
    static let exitCode: Int32 = 130

    private let came = Atomic<Bool>(false)
    private nonisolated(unsafe) let sources: [any DispatchSourceSignal]

    var hasCome: Bool { came.load(ordering: .relaxed) }

    init() {
        let signals = [SIGINT, SIGTERM]
        for number in signals { signal(number, SIG_IGN) }
        sources = signals.map { number in
            DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for (number, source) in zip(signals, sources) {
            source.setEventHandler { [weak self] in
                self?.came.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
            source.resume()
        }
    }

    deinit {
        for source in sources { source.cancel() }
        for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
    }
}

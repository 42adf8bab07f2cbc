import Dispatch
import Synchronization

/// Makes elements on a thread of its own, in their order and a few ahead of whoever takes them.
final class ReadAhead<Element: Sendable>: Sendable {
    private let elements = Mutex<[Result<Element?, any Error>]>([])
    private let room: DispatchSemaphore
    private let ready = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - maximum: elements made and not taken yet.
    ///   - next: nil at the end. It may block, which holds up nobody but whoever waits for it.
    init(maximum: Int, _ next: sending @escaping () throws -> Element?) {
        room = DispatchSemaphore(value: maximum)
        nonisolated(unsafe) let next = next
        DispatchQueue(label: "read ahead").async { [self] in
            var isEnd = false
            while !isEnd {
                room.wait()
                let element = Result { try next() }
                if case .success(.some) = element {} else { isEnd = true }
                elements.withLock { $0.append(element) }
                ready.signal()
            }
        }
    }

    /// nil at the end; after it, or after an error, not to be called again.
    func next() throws -> Element? {
        ready.wait()
        let element = elements.withLock { $0.removeFirst() }
        room.signal()
        return try element.get()
    }
}

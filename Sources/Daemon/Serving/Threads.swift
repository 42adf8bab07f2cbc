import Glibc

/// Runs `body` on a thread of its own, for what blocks in librdkafka: Swift's few threads must not.
///
/// - Returns: false where the system gives no more threads.
func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let start = Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let status = pthread_create(
        &thread, nil,
        { context in
            guard let context else { return nil }
            Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
            return nil
        }, start.toOpaque())
    guard status == 0 else {
        start.release()
        return false
    }
    pthread_detach(thread)
    return true
}

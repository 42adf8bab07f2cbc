import CRdkafka

/// Owns one `rd_kafka_queue_t`.
final class EventQueue {
    let pointer: OpaquePointer
    /// A queue must go before its client does.
    private let client: ClientHandle

    /// Takes over a queue that librdkafka made.
    init(owning pointer: OpaquePointer, of client: ClientHandle) {
        self.pointer = pointer
        self.client = client
    }

    deinit { rd_kafka_queue_destroy(pointer) }

    /// The next event, or nil when the time is up (or sooner: librdkafka may wake up for nothing).
    func poll(timeoutMilliseconds: Int32) -> Event? {
        rd_kafka_queue_poll(pointer, timeoutMilliseconds).map { Event(owning: $0) }
    }

    /// Owns one `rd_kafka_event_t`, and with it the message or list that the event lends.
    final class Event {
        let pointer: OpaquePointer

        init(owning pointer: OpaquePointer) { self.pointer = pointer }

        deinit { rd_kafka_event_destroy(pointer) }

        var type: Int32 { rd_kafka_event_type(pointer) }
    }
}

import CRdkafka
import Dispatch
import Synchronization

/// Owns one `rd_kafka_t`: made in `init`, destroyed in `deinit` within a bounded time.
final class ClientHandle {
    let pointer: OpaquePointer
    let secrets: Secrets
    let context: CallbackContext
    /// A rebalance may be waiting for an answer when the client ends.
    var isGroupMember = false

    /// How long `deinit` waits for librdkafka's threads to end. librdkafka 2.0.2 can wait for ever
    /// (a partition that went away while it was consumed leaves a reference behind), or long for a
    /// name to be resolved. The ordinary time is some milliseconds.
    private static let destroyTimeoutSeconds = 2

    /// - Parameter configure: sets callbacks on the `rd_kafka_conf_t`; its opaque is `context`.
    init(
        _ type: rd_kafka_type_t, properties: [String: String],
        log: @escaping @Sendable (LogLine) -> Void, configure: (OpaquePointer) -> Void = { _ in }
    ) throws(KafkaError) {
        let secrets = Secrets(in: properties)
        let context = CallbackContext { line in
            var line = line
            line.text = secrets.removed(from: line.text)
            log(line)
        }
        let configuration = try ConfigurationHandle(properties, secrets: secrets)
        configuration.configure { conf in
            rd_kafka_conf_set_opaque(conf, Unmanaged.passUnretained(context).toOpaque())
            rd_kafka_conf_set_log_cb(conf) { client, level, facility, text in
                guard let context = CallbackContext.of(client) else { return }
                context.log(
                    LogLine(
                        level: LogLine.Level(rawValue: level) ?? .debug,
                        facility: facility.map { String(cString: $0) } ?? "",
                        text: text.map { String(cString: $0) } ?? ""))
            }
            configure(conf)
        }
        let conf = configuration.take()
        var reason = Reason()
        guard let pointer = rd_kafka_new(type, conf, &reason.characters, Reason.maximumBytes) else {
            // rd_kafka_new takes the configuration over only when it succeeds.
            rd_kafka_conf_destroy(conf)
            throw KafkaError(
                code: rd_kafka_last_error().rawValue,
                text: secrets.removed(
                    from: "cannot make a Kafka client: \(reason.text)"),
                action: .fatal)
        }
        self.pointer = pointer
        self.secrets = secrets
        self.context = context
    }

    deinit {
        // The destroying thread keeps the context alive: librdkafka logs until the very end.
        let job = DestroyJob(
            client: pointer, context: context, isGroupMember: isGroupMember)
        DispatchQueue(label: "kafka.destroy").async { job.run() }
        if job.done.wait(timeout: .now() + .seconds(Self.destroyTimeoutSeconds)) == .timedOut {
            context.log(
                LogLine(
                    level: .warning, facility: "DESTROY",
                    text: """
                        librdkafka has not ended within \(Self.destroyTimeoutSeconds) s; \
                        its threads are left behind
                        """))
        }
    }

    func error(
        consuming error: OpaquePointer, call: KafkaError.Call = .other, doing what: String
    ) -> KafkaError {
        KafkaError(consuming: error, call: call, doing: what, secrets: secrets)
    }

    func check(
        _ code: rd_kafka_resp_err_t, call: KafkaError.Call = .other, doing what: String
    ) throws(KafkaError) {
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            throw KafkaError(code, call: call, doing: what)
        }
    }

    /// The error that finished this instance, if one has.
    var fatalError: KafkaError? {
        var reason = Reason()
        let code = rd_kafka_fatal_error(pointer, &reason.characters, Reason.maximumBytes)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return KafkaError(
            code: code.rawValue, text: secrets.removed(from: reason.text),
            action: .fatal)
    }
}

/// What librdkafka's callbacks reach through their opaque pointer. It outlives the `rd_kafka_t`.
final class CallbackContext: Sendable {
    let log: @Sendable (LogLine) -> Void
    /// Delivery reports come on the thread that polls, flushes or commits.
    let deliveries = Mutex(Deliveries())

    init(log: @escaping @Sendable (LogLine) -> Void) { self.log = log }

    static func of(_ client: OpaquePointer?) -> CallbackContext? {
        guard let client, let opaque = rd_kafka_opaque(client) else { return nil }
        return Unmanaged.fromOpaque(opaque).takeUnretainedValue()
    }
}

/// `rd_kafka_destroy` on a thread that can be left behind.
private final class DestroyJob: @unchecked Sendable {
    // Unchecked: the pointer is used by `run` alone, once, after its owner has gone.
    private let client: OpaquePointer
    private let context: CallbackContext
    private let isGroupMember: Bool
    let done = DispatchSemaphore(value: 0)

    init(client: OpaquePointer, context: CallbackContext, isGroupMember: Bool) {
        self.client = client
        self.context = context
        self.isGroupMember = isGroupMember
    }

    func run() {
        // librdkafka waits for ever for the answer to a rebalance that nobody will give.
        if isGroupMember, rd_kafka_consumer_closed(client) == 0 { rd_kafka_assign(client, nil) }
        // A consumer that was to leave its group has been closed before: see `Consumer.close`.
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        withExtendedLifetime(context) {}
        done.signal()
    }
}

/// A point in time to be done by.
struct Deadline {
    private let end: ContinuousClock.Instant

    init(milliseconds: Int) { end = .now + .milliseconds(milliseconds) }

    /// Whole milliseconds left, rounded up, never negative, in C's range.
    var remainingMilliseconds: Int32 {
        let left = ContinuousClock.now.duration(to: end)
        guard left > .zero else { return 0 }
        let (seconds, attoseconds) = left.components
        let milliseconds =
            seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return Int32(clamping: milliseconds)
    }

    var hasPassed: Bool { remainingMilliseconds == 0 }
}

/// Room for the text that a C call explains its failure with.
struct Reason {
    static let maximumBytes = 512
    var characters = [CChar](repeating: 0, count: Reason.maximumBytes)

    var text: String {
        String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

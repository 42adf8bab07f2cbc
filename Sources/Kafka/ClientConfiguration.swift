import CRdkafka

/// A line that a client has to say: librdkafka's own logging, and everything that is waited for
/// rather than thrown (brokers away, a topic that does not exist yet).
package struct LogLine: Sendable, CustomStringConvertible {
    /// Syslog severities, as librdkafka uses them.
    package enum Level: Int32, Sendable, Comparable {
        case emergency, alert, critical, error, warning, notice, info, debug

        package static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    }

    package var level: Level
    /// Where in the client it comes from, as in `FAIL`, `TXNERR`, `CONSUMER`.
    package var facility: String
    package var text: String
    /// The error's name if the line reports one, as in `_ALL_BROKERS_DOWN`.
    package var errorName: String?

    package var description: String { "\(facility): \(text)" }
}

/// Properties for one client, and where its log lines go.
///
/// `properties` are librdkafka's own, passed through as they are (TLS, SASL and all the rest);
/// they win over the defaults of `Consumer` and `Producer`.
package struct ClientConfiguration: Sendable {
    package var properties: [String: String]
    /// Called from librdkafka's threads as well as from the client's own, so it must not block.
    package var log: @Sendable (LogLine) -> Void

    /// - Parameter bootstrapServers: `host:port`, comma-separated.
    package init(
        bootstrapServers: String, properties: [String: String] = [:],
        log: @escaping @Sendable (LogLine) -> Void = { _ in }
    ) {
        self.properties = properties
        self.properties["bootstrap.servers"] = bootstrapServers
        self.log = log
    }
}

extension ClientConfiguration: CustomStringConvertible, CustomReflectable {
    /// The properties in order, without the values of secrets.
    package var description: String {
        let shown = properties.sorted { $0.key < $1.key }.map { key, value in
            "\(key)=\(Secrets.isSecret(key) ? Secrets.replacement : value)"
        }
        return shown.joined(separator: " ")
    }

    // Keeps `dump` and test failure messages from showing what `description` hides.
    package var customMirror: Mirror { Mirror(self, children: [("properties", description)]) }
}

/// The values that must not appear in any error or log text.
struct Secrets: Sendable {
    static let replacement = "[hidden]"

    private let values: [String]

    init(in properties: [String: String]) {
        values =
            properties
            .filter { Self.isSecret($0.key) && !$0.value.isEmpty }
            .map(\.value)
            // Longest first: one secret may contain another.
            .sorted { $0.utf8.count > $1.utf8.count }
    }

    static func isSecret(_ property: String) -> Bool {
        let parts = ["password", "secret", ".pem", "sasl.oauthbearer.config", "sasl.jaas"]
        return parts.contains { occurs(Array($0.utf8), in: Array(property.utf8)) }
    }

    func removed(from text: String) -> String {
        guard !values.isEmpty else { return text }
        var bytes = Array(text.utf8)
        for value in values {
            let secret = Array(value.utf8)
            guard Self.occurs(secret, in: bytes) else { continue }
            var kept: [UInt8] = []
            var index = 0
            while index < bytes.count {
                if bytes[index...].starts(with: secret) {
                    kept += Self.replacement.utf8
                    index += secret.count
                } else {
                    kept.append(bytes[index])
                    index += 1
                }
            }
            bytes = kept
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func occurs(_ part: [UInt8], in whole: [UInt8]) -> Bool {
        guard whole.count >= part.count else { return false }
        return (0...(whole.count - part.count)).contains { whole[$0...].starts(with: part) }
    }
}

// MARK: - Defaults

extension ClientConfiguration {
    /// Consumer defaults of ours; every one can be overridden by `properties`.
    static let consumerDefaults: [String: String] = [
        // 2.0.2's cooperative-sticky has known bugs; range also keeps co-partitioned topics
        // together. Setting cooperative-sticky here is all it takes to opt in.
        "partition.assignment.strategy": "range",
        // Offsets are committed by a transaction or by `commit`, never behind our back.
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        // Prefetch: 16 MiB, plus at most one fetch of 4 MiB in flight per broker.
        "queued.max.messages.kbytes": "16384",
        "queued.min.messages": "1000",
        "fetch.max.bytes": "4194304",
        "max.partition.fetch.bytes": "1048576",
        // How long a topic that does not exist yet, or a new partition, goes unnoticed.
        "topic.metadata.refresh.interval.ms": "10000",
        // Where the last stable offsets of `lag` come from.
        "statistics.interval.ms": "5000",
        // End-of-partition events let `lag` see past transaction markers.
        "enable.partition.eof": "true",
    ]

    /// Producer defaults of ours; every one can be overridden by `properties`.
    static let producerDefaults: [String: String] = [
        "enable.idempotence": "true",
        // Java's default partitioner. librdkafka's own is CRC32: keys would land elsewhere.
        "partitioner": "murmur2_random",
        "linger.ms": "5",
        "message.max.bytes": "1048576",
        // Beyond either bound `produce` throws a queue-full error.
        "queue.buffering.max.messages": "10000",
        "queue.buffering.max.kbytes": "65536",
        "transaction.timeout.ms": "60000",
        // How long a topic that was refused stays refused here after the rights have been given.
        "topic.metadata.refresh.interval.ms": "10000",
    ]

    /// The properties for a consumer: ours, then the caller's.
    func consumerProperties() throws(KafkaError) -> [String: String] {
        let merged = Self.consumerDefaults.merging(properties) { _, theirs in theirs }
        guard merged["group.id", default: ""] != "" else {
            throw KafkaError(
                code: RD_KAFKA_RESP_ERR__INVALID_ARG.rawValue,
                text: "Kafka property group.id is missing: a consumer needs the name of its group",
                action: .fatal)
        }
        return merged
    }

    /// The properties for a producer: ours, then the caller's.
    func producerProperties() -> [String: String] {
        var merged = Self.producerDefaults.merging(properties) { _, theirs in theirs }
        guard merged["transactional.id"] != nil else {
            merged["transaction.timeout.ms"] = properties["transaction.timeout.ms"]
            return merged
        }
        guard let transactionTimeout = merged["transaction.timeout.ms"].flatMap({ Int($0) }) else {
            return merged
        }
        if merged["delivery.timeout.ms"] == nil, merged["message.timeout.ms"] == nil {
            // A delivery must fail, and its transaction abort, while the transaction still lives.
            merged["delivery.timeout.ms"] = String(max(1, transactionTimeout / 2))
        }
        if merged["socket.timeout.ms"] == nil {
            // A broker that is connected but silent is given up, and asked again on a new
            // connection, while the transaction still lives. librdkafka's default is all its time.
            merged["socket.timeout.ms"] = String(min(10_000, max(10, transactionTimeout / 2)))
        }
        return merged
    }
}

// MARK: - To librdkafka

/// A `rd_kafka_conf_t` being filled in, freed unless `rd_kafka_new` took it.
struct ConfigurationHandle: ~Copyable {
    private let pointer: OpaquePointer

    /// Throws an error naming the first property that librdkafka does not know or does not accept.
    init(_ properties: [String: String], secrets: Secrets) throws(KafkaError) {
        let pointer: OpaquePointer = rd_kafka_conf_new()
        var reason = Reason()
        let version = String(cString: rd_kafka_version_str())
        for (name, value) in properties.sorted(by: { $0.key < $1.key }) {
            let result = rd_kafka_conf_set(
                pointer, name, value, &reason.characters, Reason.maximumBytes)
            if result == RD_KAFKA_CONF_OK { continue }
            rd_kafka_conf_destroy(pointer)
            let shown = Secrets.isSecret(name) ? Secrets.replacement : value
            let text =
                result == RD_KAFKA_CONF_UNKNOWN
                ? "Kafka property \(name) is unknown to librdkafka \(version)"
                : "Kafka property \(name) cannot be \"\(shown)\": \(reason.text)"
            throw KafkaError(
                code: RD_KAFKA_RESP_ERR__INVALID_ARG.rawValue, text: secrets.removed(from: text),
                action: .fatal)
        }
        self.pointer = pointer
    }

    /// Lends the pointer for setting callbacks.
    borrowing func configure(_ body: (OpaquePointer) -> Void) { body(pointer) }

    /// Gives the pointer away: the caller frees it, or something that takes it over.
    consuming func take() -> OpaquePointer {
        let taken = pointer
        discard self
        return taken
    }

    deinit { rd_kafka_conf_destroy(pointer) }
}

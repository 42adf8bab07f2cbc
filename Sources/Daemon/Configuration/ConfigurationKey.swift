import Logging
import Pipeline

/// One setting: its name, what it accepts, what it means, and where it goes.
///
/// The table `ServeConfiguration.keys` is the only list of settings: reading, the check for unknown
/// keys and the printed reference all follow it.
package struct ConfigurationKey: Sendable {
    /// As in the file, with dots between sections: `kafka.group_id`.
    package let path: String
    /// What is accepted, in words: "an integer from 1 to 4096".
    package let accepts: String
    package let help: String
    /// What applies if nothing is set and it is no fixed value: "required", "the host's name".
    package let unset: String?
    /// No value is shown, not even a wrong one.
    var isSecret = false

    let parse: @Sendable (ConfigurationValue, inout ServeConfiguration) -> Bool
    /// The value as YAML.
    let print: @Sendable (ServeConfiguration) -> String

    /// `UHAN_KAFKA_GROUP_ID`
    package var environmentName: String {
        "UHAN_" + path.uppercased().replacing(".", with: "_")
    }
    /// `--kafka-group-id`
    package var flag: String {
        "--" + path.replacing(".", with: "-").replacing("_", with: "-")
    }
}

/// A value as it was given, before it is known what it should be.
enum ConfigurationValue: Sendable {
    case text(String)
    case list([String])
    case map([String: String])

    var text: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// A list, or a text with commas; an empty text is an empty list.
    var list: [String]? {
        switch self {
        case .list(let list): list
        case .text(""): []
        case .text(let text):
            text.split(separator: ",", omittingEmptySubsequences: false).map { $0.trimmed }
        case .map: nil
        }
    }

    /// A map, or a text such as "name=value,other=value"; "\," is a comma within a value.
    var map: [String: String]? {
        switch self {
        case .map(let map): return map
        case .list: return nil
        case .text(let text):
            var map: [String: String] = [:]
            for entry in Self.splitAtCommas(text) where !entry.isEmpty {
                guard let equals = entry.firstIndex(of: "="), equals > entry.startIndex else {
                    return nil
                }
                map[entry[..<equals].trimmed] = String(entry[entry.index(after: equals)...])
            }
            return map
        }
    }

    private static func splitAtCommas(_ text: String) -> [String] {
        var entries = [""]
        var isEscaped = false
        for character in text {
            switch character {
            case "\\" where !isEscaped:
                isEscaped = true
                continue
            case "," where !isEscaped: entries.append("")
            case ",": entries[entries.count - 1].append(",")
            default: entries[entries.count - 1] += (isEscaped ? "\\" : "") + String(character)
            }
            isEscaped = false
        }
        if isEscaped { entries[entries.count - 1] += "\\" }
        return entries
    }
}

extension ServeConfiguration {
    /// All settings, in the order in which the reference shows them.
    package static let keys = serviceKeys + UpdateRuleSetting.all.map(ConfigurationKey.updates)

    private static let serviceKeys: [ConfigurationKey] = [
        .text(
            "model", \.model, unset: "required",
            "The model bundle: a folder, as made by uhan model init."),
        .integer(
            "threads", \.threads, 1...1024, unset: "the number of cores",
            "Threads that compute scores."),
        .choice(
            "delivery", \.delivery,
            "exactly_once: scores and offsets are one transaction. "
                + "at_least_once: a crash may publish a score twice."
        ),

        .text("topics.posts", \.topics.posts, "Where new posts are read."),
        .text("topics.scores", \.topics.scores, "Where scores are published."),
        .text(
            "topics.dead_letters", \.topics.deadLetters, "Where posts go that cannot be scored."),
        .text(
            "topics.latest", \.topics.latest, orEmpty: true,
            "Where the last answer to each post is kept, under the key [\"uid\",\"pid\"]: a compacted "
                + "topic for who wants a table and no stream. Empty: nowhere."
        ),
        .text("topics.views", \.topics.views, "Where observed view counts are read (learning)."),
        .text(
            "topics.lessons", \.topics.lessons,
            "Where joined labels and commands are written and read (learning). This topic, posts, "
                + "views, users, joins and encodings need the same number of partitions."
        ),
        .text(
            "topics.users", \.topics.users,
            "Where users' vectors are kept (learning). Compacted, as joins and encodings are."),
        .text(
            "topics.joins", \.topics.joins,
            "Where posts that wait for their label are kept, and views that wait for their post "
                + "(learning)."
        ),
        .text(
            "topics.encodings", \.topics.encodings, orEmpty: true,
            "Where the encodings of scored posts are kept, at most 128 KB each (learning). Empty: "
                + "only in learning.state_folder, and a user whose partition moves to another "
                + "instance learns from later posts alone."
        ),

        .text(
            "kafka.bootstrap", \.kafka.bootstrap, unset: "required",
            "Brokers to ask first: host:port, comma-separated."),
        .text(
            "kafka.group_id", \.kafka.groupID,
            "The consumer group; its instances share the partitions."),
        .text(
            "kafka.group_instance_id", \.kafka.groupInstanceID, unset: "the host's name",
            orEmpty: true,
            "Names this instance in its group (static membership). Unique among running instances: "
                + "give each its own if several run on one host. Empty: no static membership, and "
                + "then kafka.transactional_id must be given."
        ),
        .text(
            "kafka.transactional_id", \.kafka.transactionalID, unset: "group_id-group_instance_id",
            "Names this instance's transactions. Unique among running instances, "
                + "the same after a restart."
        ),
        .properties(
            "kafka.properties", \.kafka.properties,
            "Settings of librdkafka, passed on unchanged (security.protocol, sasl.username, ...)."),

        .integer(
            "batch.maximum_posts", \.batch.maximumPosts, 1...4096,
            "Posts published together: one transaction."),
        .integer(
            "batch.maximum_bytes", \.batch.maximumBytes, 1 << 20...32 << 20,
            "Bytes of scores and dead letters published together."),
        .integer(
            "batch.interval_milliseconds", \.batch.intervalMilliseconds, 1...60_000,
            "What is scored is published after this time, few or many."),
        .integer(
            "batch.idle_milliseconds", \.batch.idleMilliseconds, 0...60_000,
            "And after this time without another score where no post waits for one: 0 answers at "
                + "once, more makes fewer transactions on a quiet stream."
        ),

        .integer(
            "in_flight.high_posts", \.inFlight.highPosts, 1...65_536,
            "Reading pauses at this many unfinished posts."),
        .integer(
            "in_flight.low_posts", \.inFlight.lowPosts, 0...65_535,
            "A paused reading goes on at this many unfinished posts."),
        .integer(
            "in_flight.high_bytes", \.inFlight.highBytes, 1 << 20...1 << 34,
            "Reading pauses at this many bytes of unfinished posts and their images."),
        .integer(
            "in_flight.low_bytes", \.inFlight.lowBytes, 0...1 << 34,
            "A paused reading goes on at this many bytes."),

        .integer(
            "retry.budget_milliseconds", \.retry.budgetMilliseconds, 1_000...600_000,
            "All tries for one post end within this time; then it is a dead letter."),
        .integer(
            "retry.initial_backoff_milliseconds", \.retry.initialBackoffMilliseconds, 1...60_000,
            "Wait before the second try; doubled for each further one."),
        .integer(
            "retry.maximum_backoff_milliseconds", \.retry.maximumBackoffMilliseconds, 1...60_000,
            "The wait between two tries never exceeds this."),

        .list(
            "images.schemes", \.images.fetching.schemes, of: "https, http or file",
            FetchPolicy.Scheme.init(rawValue:), print: \.rawValue, "Allowed kinds of image URLs."),
        .list(
            "images.hosts", \.images.fetching.hosts,
            of: "host names (photos.example.com or *.example.com)", HostPattern.init,
            print: \.description,
            "Allowed hosts, after redirects too; empty: every host with a public address."),
        .list(
            "images.ports", \.images.fetching.ports, of: "ports from 1 to 65535",
            { Int($0).flatMap { (1...65_535).contains($0) ? $0 : nil } }, print: \.description,
            "Allowed TCP ports."),
        .list(
            "images.allow_private", \.images.fetching.allowedPrivateRanges,
            of: "address ranges (10.0.0.0/8 or fd00::/8)", AddressRange.init, print: \.description,
            "Loopback, private, link-local and other special addresses that may be connected to "
                + "all the same. Whoever writes posts can then make requests there."
        ),
        .list(
            "images.file_roots", \.images.fetching.fileRoots, of: "absolute folders",
            { $0.hasPrefix("/") ? $0 : nil }, print: \.description,
            "Folders below which file: URLs may point (needs file in images.schemes)."),
        .integer(
            "images.maximum_bytes", \.images.fetching.maximumBytes, 1_024...256 << 20,
            "Largest image, in bytes."),
        .integer(
            "images.maximum_pixels", \.images.maximumPixels, 1...1 << 30,
            "Largest image, in pixels (width times height)."),
        .integer(
            "images.connect_timeout_milliseconds", \.images.fetching.connectTimeoutMilliseconds,
            10...60_000, "For one connection with its TLS handshake, and for one name look-up."),
        .integer(
            "images.total_timeout_milliseconds", \.images.fetching.totalTimeoutMilliseconds,
            10...600_000, "For one try to fetch an image, redirects included."),
        .integer(
            "images.maximum_redirects", \.images.fetching.maximumRedirects, 0...20,
            "Redirects followed; each target is checked like the first URL."),
        .integer(
            "images.maximum_concurrent_fetches", \.images.fetching.maximumConcurrentFetches,
            1...1_024, "Images fetched at the same time."),
        .choice(
            "images.unusable", \.images.unusable,
            "A post whose image cannot be had or decoded: a dead letter, "
                + "or scored without its image."
        ),
        .integer(
            "images.feature_cache_bytes", \.images.featureCacheBytes, 0...1 << 36,
            "Memory for what the network saw in images, so that one posted again (the same bytes) "
                + "is neither decoded nor run through VGG16; 401 KB an image. 0: none is kept."
        ),

        .flag(
            "learning.enabled", \.learning.isEnabled,
            "Users' vectors learn from observed views. Needs its topics, and delivery "
                + "exactly_once."
        ),
        .flag(
            "learning.frozen", \.learning.isFrozen,
            "Labels are joined and judge what was published, but no vector is updated."),
        .text(
            "learning.state_folder", \.learning.stateFolder,
            "Where checkpoints and encodings are kept: one process's alone, on a disk that outlives "
                + "it. It is made if the folder above it is there. Lost files are made anew from "
                + "Kafka, but for encodings that were not published."
        ),
        .integer(
            "learning.memory_bytes", \.learning.memoryBytes, 1 << 20...1 << 40,
            "Memory for learned vectors; those used longest ago make room, and are read from disk "
                + "when they are needed. A vector of 512 numbers takes 2.2 KB."
        ),
        .integer(
            "learning.encodings_bytes", \.learning.encodingsBytes, 1 << 20...1 << 44,
            "Disk for encodings of posts, for each partition number; beyond, the oldest posts "
                + "without a label make room first."
        ),
        .integer(
            "learning.checkpoint_maximum_bytes", \.learning.checkpointMaximumBytes,
            1 << 20...1 << 44,
            "Disk for the checkpoint, for each partition number; where it is full, learning waits."
        ),
        .integer(
            "learning.maximum_checkpoint_age_hours", \.learning.maximumCheckpointAgeHours,
            1...8_760,
            "An older checkpoint is not used: all is read from Kafka. It must be less than "
                + "delete.retention.ms (24 hours) of users and joins, or what was forgotten may "
                + "come back."
        ),
        .integer(
            "learning.restore_timeout_milliseconds", \.learning.restoreTimeoutMilliseconds,
            1_000...3_600_000,
            "Reading state from Kafka begins again after so long without a record. More than "
                + "transaction.timeout.ms (60000) and some seconds: another instance that died in "
                + "a transaction holds it up for that long."
        ),
        .integer(
            "learning.early_views", \.learning.earlyViews, 1...1_000_000,
            "Views that wait for their post, for each partition number; beyond, the oldest are "
                + "given up."
        ),
        .integer(
            "learning.early_view_hours", \.learning.earlyViewHours, 1...8_760,
            "A view waits for its post until records are so much younger."),
        .integer(
            "learning.in_flight_high_records", \.learning.inFlightHighRecords, 1...65_536,
            "Reading views and lessons pauses at this many unfinished ones."),
        .integer(
            "learning.in_flight_low_records", \.learning.inFlightLowRecords, 0...65_535,
            "It goes on at this many."),
        .integer(
            "learning.threads", \.learning.threads, 1...1_024,
            "Threads that update vectors, beside those that compute scores."),

        .list(
            "labels.tracked_horizons_days", \.labels.trackedHorizonsDays,
            of: "numbers of days, up to 3652.5",
            {
                Double($0).flatMap {
                    LabelRule.horizons.contains($0 * LabelRule.secondsPerDay) ? $0 : nil
                }
            },
            print: \.description,
            "Views are also judged at these ages, and do not teach there. The age that teaches is "
                + "in the model bundle."
        ),

        .integer(
            "http.port", \.http.port, 0...65_535, unset: "no HTTP server",
            "Where HTTP is answered: /livez, /readyz, /metrics. 0: any free port, which the log "
                + "names. Nothing listens unless this is set, so that several instances run side "
                + "by side on one host."
        ),
        .text(
            "http.host", \.http.host,
            "The address to listen on. Any but loopback (127.0.0.1, ::1, localhost) needs a token."
        ),
        .secret(
            "http.token", \.http.token,
            "What requests must bring as Authorization: Bearer; /livez and /readyz are open. At "
                + "least 16 letters, digits or any of -._~+/=. Others on this machine can read "
                + "flags: better the environment or http.token_file."
        ),
        .text(
            "http.token_file", \.http.tokenFile, orEmpty: true,
            "A file that holds the token; read at start."),
        .text(
            "http.tls_certificate", \.http.tlsCertificate, orEmpty: true,
            "A PEM file: the certificate, and those that lead to its root. Read at start. Empty: "
                + "no TLS."
        ),
        .text(
            "http.tls_key", \.http.tlsKey, orEmpty: true,
            "A PEM file: the certificate's private key."),
        .integer(
            "http.maximum_connections", \.http.maximumConnections, 1...65_535,
            "Connections at the same time; further ones wait to be accepted."),
        .integer(
            "http.maximum_body_bytes", \.http.maximumBodyBytes, 0...1 << 30,
            "The largest body of a request."),
        .integer(
            "http.request_timeout_milliseconds", \.http.requestTimeoutMilliseconds,
            100...600_000,
            "From a request's head to the last byte of its answer; then the connection is closed."),
        .integer(
            "http.idle_timeout_milliseconds", \.http.idleTimeoutMilliseconds, 100...600_000,
            "A connection on which no whole head of a request has come for so long is closed."),

        .integer(
            "shutdown.budget_milliseconds", \.shutdown.budgetMilliseconds, 500...8_000,
            "After SIGTERM, time to finish what is in flight; then the transaction is aborted."),

        .choice("log.level", \.log.level, "The least important messages still written."),
        .choice("log.format", \.log.format, "json for machines, text for people; on stderr."),
    ]
}

// MARK: - Kinds of settings

extension ConfigurationKey {
    fileprivate typealias Path<Value> = WritableKeyPath<ServeConfiguration, Value> & Sendable

    fileprivate static func text(
        _ path: String, _ property: Path<String>, unset: String? = nil, orEmpty: Bool = false,
        _ help: String
    ) -> Self {
        let accepts = orEmpty ? "a text" : "a text that is not empty"
        return Self(path: path, accepts: accepts, help: help, unset: unset) {
            value, configuration in
            guard let text = value.text, orEmpty || !text.isEmpty else { return false }
            configuration[keyPath: property] = text
            return true
        } print: {
            yaml($0[keyPath: property])
        }
    }

    fileprivate static func integer(
        _ path: String, _ property: Path<Int>, _ range: ClosedRange<Int>, unset: String? = nil,
        _ help: String
    ) -> Self {
        Self(
            path: path, accepts: "an integer from \(range.lowerBound) to \(range.upperBound)",
            help: help, unset: unset
        ) { value, configuration in
            guard let number = value.text.flatMap({ Int($0) }), range.contains(number) else {
                return false
            }
            configuration[keyPath: property] = number
            return true
        } print: {
            "\($0[keyPath: property])"
        }
    }

    /// An empty text is no value.
    fileprivate static func integer(
        _ path: String, _ property: Path<Int?>, _ range: ClosedRange<Int>, unset: String,
        _ help: String
    ) -> Self {
        Self(
            path: path,
            accepts: "an integer from \(range.lowerBound) to \(range.upperBound), or empty",
            help: help, unset: unset
        ) { value, configuration in
            guard let text = value.text else { return false }
            let number = Int(text)
            guard text.isEmpty || number.map(range.contains) == true else { return false }
            configuration[keyPath: property] = number
            return true
        } print: {
            $0[keyPath: property].map { "\($0)" } ?? "\"\""
        }
    }

    fileprivate static func secret(
        _ path: String, _ property: Path<Secret>, _ help: String
    ) -> Self {
        Self(path: path, accepts: "a text", help: help, unset: nil, isSecret: true) {
            value, configuration in
            guard let text = value.text else { return false }
            configuration[keyPath: property] = Secret(text)
            return true
        } print: {
            yaml($0[keyPath: property].description)
        }
    }

    /// A number of the rule by which vectors learn.
    fileprivate static func updates(_ setting: UpdateRuleSetting) -> Self {
        Self(
            path: "updates.\(setting.name)", accepts: setting.accepts, help: setting.help,
            unset: nil
        ) { value, configuration in
            guard let number = value.text.flatMap({ Double($0) }) else { return false }
            return setting.set(number, in: &configuration.updates)
        } print: {
            setting.text(in: $0.updates)
        }
    }

    fileprivate static func flag(
        _ path: String, _ property: Path<Bool>, _ help: String
    ) -> Self {
        Self(path: path, accepts: "true or false", help: help, unset: nil) {
            value, configuration in
            guard let isSet = value.text.flatMap({ Bool($0) }) else { return false }
            configuration[keyPath: property] = isSet
            return true
        } print: {
            "\($0[keyPath: property])"
        }
    }

    fileprivate static func choice<
        Choice: RawRepresentable<String> & CaseIterable & SendableMetatype
    >(
        _ path: String, _ property: Path<Choice>, _ help: String
    ) -> Self {
        let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        return Self(path: path, accepts: "one of \(names)", help: help, unset: nil) {
            value, configuration in
            guard let choice = value.text.flatMap(Choice.init(rawValue:)) else { return false }
            configuration[keyPath: property] = choice
            return true
        } print: {
            yaml($0[keyPath: property].rawValue)
        }
    }

    fileprivate static func list<Element>(
        _ path: String, _ property: Path<[Element]>, of elements: String,
        _ parse: @escaping @Sendable (String) -> Element?,
        print: @escaping @Sendable (Element) -> String, _ help: String
    ) -> Self {
        Self(path: path, accepts: "a list of \(elements)", help: help, unset: nil) {
            value, configuration in
            guard let texts = value.list else { return false }
            let values = texts.compactMap(parse)
            guard values.count == texts.count else { return false }
            configuration[keyPath: property] = values
            return true
        } print: {
            "[" + $0[keyPath: property].map { yaml(print($0)) }.joined(separator: ", ") + "]"
        }
    }

    /// Merged over what a weaker source has set.
    fileprivate static func properties(
        _ path: String, _ property: Path<KafkaProperties>, _ help: String
    ) -> Self {
        Self(
            path: path, accepts: "a map (as a text: name=value,name=value; \\, for a comma)",
            help: help, unset: nil, isSecret: true
        ) { value, configuration in
            guard let map = value.map else { return false }
            configuration[keyPath: property].values.merge(map) { _, new in new }
            return true
        } print: {
            let entries = $0[keyPath: property].shown.sorted { $0.key < $1.key }
            return "{"
                + entries.map { "\(yaml($0.key)): \(yaml($0.value))" }.joined(separator: ", ")
                + "}"
        }
    }

    /// Plain where YAML reads it back as the same text, else in double quotes.
    private static func yaml(_ text: String) -> String {
        let isPlain =
            text.first.map { $0.isLetter || $0.isNumber || $0 == "/" } == true
            && text.utf8.allSatisfy { byte in
                Character(Unicode.Scalar(byte)).isLetter || "0123456789._-/".utf8.contains(byte)
            }
        if isPlain,
            !["true", "false", "yes", "no", "on", "off", "null"].contains(text.lowercased())
        {
            return text
        }
        return jsonString(text)
    }
}

extension StringProtocol {
    var trimmed: String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}

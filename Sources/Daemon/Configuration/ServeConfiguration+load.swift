import Configuration
import Glibc
import Kafka
import Pipeline
import Synchronization

extension ServeConfiguration {
    /// Reads the configuration: a flag wins over the environment, that over the file, that over the
    /// default.
    ///
    /// - Parameters:
    ///   - file: A YAML file; nil if there is none.
    ///   - environment: `UHAN_` and the key in capitals, sections joined by "_":
    ///     `UHAN_KAFKA_GROUP_ID`. Other variables are ignored, also unknown ones that begin with
    ///     `UHAN_`: Kubernetes sets some (`UHAN_SERVICE_HOST`) for a service of that name.
    ///   - arguments: Flags only, without the program's name: `--kafka-group-id=x` or
    ///     `--kafka-group-id x`.
    ///   - defaults: What applies where nothing is set.
    /// - Throws: All problems found.
    package static func load(
        file: String?, environment: [String: String], arguments: [String],
        defaults: ServeConfiguration = ServeConfiguration()
    ) throws(ConfigurationError) -> ServeConfiguration {
        try LoadedConfiguration(
            file: file, environment: environment, arguments: arguments, defaults: defaults
        ).configuration
    }

    fileprivate mutating func deriveDefaults() {
        if kafka.transactionalID.isEmpty, !kafka.groupInstanceID.isEmpty {
            kafka.transactionalID = "\(kafka.groupID)-\(kafka.groupInstanceID)"
        }
    }
}

/// Settings, and where they came from.
package struct LoadedConfiguration: Sendable {
    package let configuration: ServeConfiguration
    /// Of each key that was set: the file, the environment's variable or the flag that counts.
    /// `kafka.properties` may have several, the weakest first, since they are merged.
    package let sources: [String: [String]]

    /// As `ServeConfiguration.load`.
    package init(
        file: String?, environment: [String: String], arguments: [String],
        defaults: ServeConfiguration = ServeConfiguration()
    ) throws(ConfigurationError) {
        var loader = Loader(configuration: defaults)
        if let file { loader.read(file: file) }
        loader.read(environment: environment)
        loader.read(arguments: arguments)
        loader.configuration.deriveDefaults()
        loader.check()
        guard loader.problems.isEmpty else { throw ConfigurationError(problems: loader.problems) }
        configuration = loader.configuration
        sources = loader.sources
    }
}

/// Reads the sources from the weakest to the strongest, each over the one before.
private struct Loader {
    var configuration: ServeConfiguration
    private(set) var problems: [ConfigurationError.Problem] = []
    private(set) var sources: [String: [String]] = [:]
    private static let maximumFileBytes = 1 << 20
    /// The producer's own default.
    private static let transactionTimeout = 60_000
    /// Room for an encoding of any bundle that is usual; about what brokers take by default.
    private static let minimumMessageBytes = 1_000_000

    init(configuration: ServeConfiguration) {
        self.configuration = configuration
    }

    // MARK: Sources

    mutating func read(file: String) {
        guard let bytes = contents(of: file) else { return }
        // The library does not list a file's keys, but it asks of each whether it is secret.
        let found = Mutex<[String]>([])
        let options = YAMLSnapshot.ParsingOptions(
            secretsSpecifier: .dynamic { path, _ in
                found.withLock { $0.append(path) }
                return true
            })
        let snapshot: YAMLSnapshot
        do {
            snapshot = try YAMLSnapshot(
                data: bytes.span.bytes, providerName: file, parsingOptions: options)
        } catch {
            // Only the first line: the following ones quote the file, secrets and all.
            let reason = "\(error)".prefix { $0 != "\n" }
            return report(file, "is not valid YAML: \(reason)")
        }
        let propertiesPrefix = "kafka.properties."
        let paths = found.withLock { $0 }.sorted()
        for path in paths where !path.hasPrefix(propertiesPrefix) {
            guard let key = ServeConfiguration.keys.first(where: { $0.path == path }) else {
                reportUnknown(path, in: file, among: ServeConfiguration.keys.map(\.path))
                continue
            }
            if let value = value(path, in: snapshot) { set(key, value, "in \(file)") }
        }
        var properties: [String: String] = [:]
        for path in paths where path.hasPrefix(propertiesPrefix) {
            let name = String(path.dropFirst(propertiesPrefix.count))
            // A text as it is: blanks and commas may belong to a password.
            switch value(path, in: snapshot) {
            case .text(let text): properties[name] = text
            case .list(let list): properties[name] = list.joined(separator: ",")
            case .map, nil: report(path, "must be a text or a list (in \(file))")
            }
        }
        if !properties.isEmpty,
            let key = ServeConfiguration.keys.first(where: { $0.path == "kafka.properties" })
        {
            set(key, .map(properties), "in \(file)")
        }
    }

    mutating func read(environment: [String: String]) {
        let provider = EnvironmentVariablesProvider(environmentVariables: environment)
        for key in ServeConfiguration.keys {
            let components = ["uhan"] + key.path.split(separator: ".").map(String.init)
            if let text = text(AbsoluteConfigKey(components), in: provider) {
                set(key, .text(text), "from \(key.environmentName)")
            }
        }
    }

    mutating func read(arguments: [String]) {
        let provider = CommandLineArgumentsProvider(arguments: ["uhan"] + wellFormed(arguments))
        for key in ServeConfiguration.keys {
            let name = AbsoluteConfigKey([String(key.flag.dropFirst(2))])
            // The library splits at every comma.
            if let list = list(name, in: provider) {
                set(key, .text(list.joined(separator: ",")), "from \(key.flag)")
            }
        }
    }

    /// The flags as `--name=value`, without those that are unknown, repeated or lack a value.
    private mutating func wellFormed(_ arguments: [String]) -> [String] {
        let known = ServeConfiguration.keys.map(\.flag)
        var flags: [String] = []
        var names: Set<String> = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let name = String(argument.prefix { $0 != "=" })
            guard argument.hasPrefix("--") else {
                // It may be half of a secret that was torn apart by a space: not shown.
                report(
                    "command line",
                    "takes only flags, each with one value: quote values with spaces")
                continue
            }
            var value = argument.dropFirst(name.count + 1)
            if name == argument {
                guard let next = rest.first, !next.hasPrefix("--") else {
                    report(name, "needs a value: \(name)=...")
                    continue
                }
                value = rest.removeFirst()[...]
            }
            guard known.contains(name) else {
                reportUnknown(name, in: "command line", among: known)
                continue
            }
            guard names.insert(name).inserted else {
                report(name, "is given twice")
                continue
            }
            flags.append("\(name)=\(value)")
        }
        return flags
    }

    // MARK: Values

    private mutating func set(
        _ key: ConfigurationKey, _ value: ConfigurationValue, _ source: String
    ) {
        guard !key.parse(value, &configuration) else {
            let isMerged = key.path == "kafka.properties"
            sources[key.path] = (isMerged ? sources[key.path] ?? [] : []) + [source]
            return
        }
        let shown =
            switch value {
            case _ where key.isSecret: Secret.hidden
            case .text(let text): "\"\(text)\""
            case .list(let list): "\(list)"
            case .map: "a map"
            }
        report(key.path, "is \(shown) (\(source)), but must be \(key.accepts)")
    }

    private func value(_ path: String, in snapshot: YAMLSnapshot) -> ConfigurationValue? {
        let key = AbsoluteConfigKey([path])
        if let text = try? snapshot.value(forKey: key, type: .string).value,
            case .string(let text) = text.content
        {
            return .text(text)
        }
        guard let list = try? snapshot.value(forKey: key, type: .stringArray).value,
            case .stringArray(let list) = list.content
        else { return nil }
        return .list(list)
    }

    private func text(_ key: AbsoluteConfigKey, in provider: some ConfigProvider) -> String? {
        guard
            case .string(let text) = try? provider.value(forKey: key, type: .string).value?.content
        else { return nil }
        return text
    }

    private func list(_ key: AbsoluteConfigKey, in provider: some ConfigProvider) -> [String]? {
        guard
            case .stringArray(let list) = try? provider.value(forKey: key, type: .stringArray)
                .value?
                .content
        else { return nil }
        return list
    }

    // MARK: Checks of one setting against another

    mutating func check() {
        let settings = configuration
        if settings.model.isEmpty { reportMissing("model") }
        if settings.kafka.bootstrap.isEmpty { reportMissing("kafka.bootstrap") }
        if settings.kafka.transactionalID.isEmpty, settings.delivery == .exactlyOnce {
            reportMissing("kafka.transactional_id")
        }

        checkTopics()
        requireOrder(
            "in_flight.low_posts", settings.inFlight.lowPosts, below: "in_flight.high_posts",
            settings.inFlight.highPosts)
        requireOrder(
            "in_flight.low_bytes", settings.inFlight.lowBytes, below: "in_flight.high_bytes",
            settings.inFlight.highBytes)
        requireOrder(
            "batch.maximum_posts", settings.batch.maximumPosts, notAbove: "in_flight.high_posts",
            settings.inFlight.highPosts)
        requireOrder(
            "images.maximum_bytes", settings.images.fetching.maximumBytes,
            notAbove: "in_flight.high_bytes", settings.inFlight.highBytes)
        requireOrder(
            "retry.initial_backoff_milliseconds", settings.retry.initialBackoffMilliseconds,
            notAbove: "retry.maximum_backoff_milliseconds",
            settings.retry.maximumBackoffMilliseconds)
        requireOrder(
            "images.connect_timeout_milliseconds",
            settings.images.fetching.connectTimeoutMilliseconds,
            notAbove: "images.total_timeout_milliseconds",
            settings.images.fetching.totalTimeoutMilliseconds)

        let fetching = settings.images.fetching
        require(
            fetching.schemes.contains(.file) == !fetching.fileRoots.isEmpty, "images.file_roots",
            "must name a folder if images.schemes has file, and be empty if not")

        checkHTTP()
        checkKafkaProperties()
        // The model's own horizon is not known yet, and neither is its minimum of days.
        let labels = LabelRule(
            horizon: nil,
            trackedHorizons: settings.labels.trackedHorizonsDays.map {
                $0 * LabelRule.secondsPerDay
            }, minimumDays: 1)
        if let problem = labels.problem { report("labels.tracked_horizons_days", problem) }
        requireOrder(
            "learning.in_flight_low_records", settings.learning.inFlightLowRecords,
            below: "learning.in_flight_high_records", settings.learning.inFlightHighRecords)
        if settings.learning.isEnabled { checkLearning() }
    }

    /// One topic for two purposes would be read as what it is not.
    private mutating func checkTopics() {
        let topics = configuration.topics
        var used = [
            ("posts", topics.posts), ("scores", topics.scores),
            ("dead_letters", topics.deadLetters),
        ]
        if !topics.latest.isEmpty { used.append(("latest", topics.latest)) }
        if configuration.learning.isEnabled {
            used += [
                ("views", topics.views), ("lessons", topics.lessons), ("users", topics.users),
                ("joins", topics.joins), ("encodings", topics.encodings),
            ].filter { !$0.1.isEmpty }
        }
        var keys: [String: String] = [:]
        for (key, topic) in used {
            if let other = keys[topic] {
                report(
                    "topics.\(key)", "is \"\(topic)\", as topics.\(other) is: give each its own")
            } else {
                keys[topic] = key
            }
        }
    }

    private mutating func checkHTTP() {
        let http = configuration.http
        guard http.port != nil else { return }
        require(
            http.isLoopback || !http.token.isEmpty || !http.tokenFile.isEmpty, "http.host",
            "is \"\(http.host)\", which others may reach: set http.token_file or http.token, or "
                + "listen on 127.0.0.1")
        require(
            http.token.isEmpty || http.tokenFile.isEmpty, "http.token_file",
            "is set, and so is http.token: give one of them")
        require(
            http.tlsCertificate.isEmpty == http.tlsKey.isEmpty, "http.tls_certificate",
            "and http.tls_key go together: set both or none")
    }

    /// What learning needs of settings that are free without it.
    private mutating func checkLearning() {
        require(
            configuration.delivery == .exactlyOnce, "learning.enabled",
            "needs delivery exactly_once: vectors and the views that they learned from are one "
                + "transaction")
        let properties = configuration.kafka.properties.values
        let strategy = "partition.assignment.strategy"
        if let assignor = properties[strategy] {
            require(
                CoPartitioning.isKept(byAssignmentStrategy: assignor),
                "kafka.properties.\(strategy)",
                "must be range, or be left out, while learning.enabled is true: others may give the "
                    + "posts of a user to one instance and the views to another")
        }
        let timeout = properties["transaction.timeout.ms"] ?? "\(Self.transactionTimeout)"
        require(
            Int(timeout).map { $0 < configuration.learning.restoreTimeoutMilliseconds } ?? true,
            "learning.restore_timeout_milliseconds",
            "is \(configuration.learning.restoreTimeoutMilliseconds), but must be more than "
                + "kafka.properties.transaction.timeout.ms, which is \(timeout)")
        if !configuration.topics.encodings.isEmpty, let limit = properties["message.max.bytes"] {
            require(
                Int(limit).map { $0 >= Self.minimumMessageBytes } ?? false,
                "kafka.properties.message.max.bytes",
                "must be an integer of at least \(Self.minimumMessageBytes) while "
                    + "topics.encodings is set")
        }
    }

    /// Properties that another key decides, and the times that must leave room for the retries.
    private mutating func checkKafkaProperties() {
        let properties = configuration.kafka.properties.values
        let decidedElsewhere = [
            "bootstrap.servers": "kafka.bootstrap", "metadata.broker.list": "kafka.bootstrap",
            "group.id": "kafka.group_id", "group.instance.id": "kafka.group_instance_id",
            "transactional.id": "kafka.transactional_id", "isolation.level": "delivery",
            "enable.auto.commit": "delivery", "auto.commit.enable": "delivery",
            "enable.auto.offset.store": "delivery", "enable.idempotence": "delivery",
        ]
        for (name, key) in decidedElsewhere.sorted(by: { $0.key < $1.key })
        where properties[name] != nil {
            report("kafka.properties.\(name)", "is not for setting here: \(key) decides it")
        }
        let times = [
            ("transaction.timeout.ms", Self.transactionTimeout), ("max.poll.interval.ms", 300_000),
        ]
        for (name, usual) in times {
            guard let limit = properties[name].map({ Int($0) }) ?? usual else {
                report("kafka.properties.\(name)", "must be an integer (milliseconds)")
                continue
            }
            requireOrder(
                "retry.budget_milliseconds", configuration.retry.budgetMilliseconds,
                below: "kafka.properties.\(name)", limit)
        }
    }

    private mutating func requireOrder(
        _ low: String, _ lowValue: Int, below high: String, _ highValue: Int
    ) {
        require(
            lowValue < highValue, low,
            "is \(lowValue), but must be less than \(high), which is \(highValue)")
    }

    private mutating func requireOrder(
        _ low: String, _ lowValue: Int, notAbove high: String, _ highValue: Int
    ) {
        require(
            lowValue <= highValue, low,
            "is \(lowValue), but must not exceed \(high), which is \(highValue)")
    }

    private mutating func require(_ isRight: Bool, _ subject: String, _ message: String) {
        if !isRight { report(subject, message) }
    }

    // MARK: Problems

    private mutating func report(_ subject: String, _ message: String) {
        problems.append(ConfigurationError.Problem(subject: subject, message: message))
    }

    private mutating func reportMissing(_ path: String) {
        guard !problems.contains(where: { $0.subject == path }),
            let key = ServeConfiguration.keys.first(where: { $0.path == path })
        else { return }
        report(path, "is required: set it in the file, or \(key.environmentName), or \(key.flag)")
    }

    private mutating func reportUnknown(_ name: String, in source: String, among known: [String]) {
        let suggestion = nearest(to: name, among: known).map { "; did you mean \($0)?" } ?? ""
        report(name, "is unknown (\(source))\(suggestion)")
    }

    private mutating func contents(of file: String) -> [UInt8]? {
        guard let stream = fopen(file, "re") else {
            report(file, "cannot be opened: \(String(cString: strerror(errno)))")
            return nil
        }
        defer { fclose(stream) }
        var bytes = [UInt8](repeating: 0, count: Self.maximumFileBytes + 1)
        let count = fread(&bytes, 1, Self.maximumFileBytes + 1, stream)
        guard ferror(stream) == 0 else {
            report(file, "cannot be read: \(String(cString: strerror(errno)))")
            return nil
        }
        guard count <= Self.maximumFileBytes else {
            report(
                file, "is larger than \(Self.maximumFileBytes) bytes, too much for a configuration")
            return nil
        }
        return Array(bytes.prefix(count))
    }
}

import Daemon
import Model
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite("Configuration of uhan serve")
struct ServeConfigurationTests {
    private let minimal = ["--model=/m", "--kafka-bootstrap=b:9092"]

    @Test("With only what is required, the rest are defaults")
    func defaults() throws {
        let configuration = try load(arguments: minimal)
        var expected = ServeConfiguration(hostName: "host-1", coreCount: 4)
        expected.model = "/m"
        expected.kafka.bootstrap = "b:9092"
        expected.kafka.transactionalID = "uhan-host-1"
        #expect(configuration == expected)
        #expect(configuration.kafka.groupInstanceID == "host-1")
        #expect(configuration.threads == 4)
    }

    @Test("A flag wins over the environment, that over the file, that over the default")
    func precedence() throws {
        let file = """
            model: /file
            kafka:
              bootstrap: file:1
              group_id: file
            batch: {maximum_posts: 5}
            """
        let environment = ["UHAN_KAFKA_GROUP_ID": "environment", "UHAN_KAFKA_BOOTSTRAP": "e:1,e:2"]
        let configuration = try load(
            file: file, environment: environment, arguments: ["--kafka-bootstrap", "f:1,f:2"])
        #expect(configuration.model == "/file")
        #expect(configuration.batch.maximumPosts == 5)
        #expect(configuration.kafka.groupID == "environment")
        #expect(configuration.kafka.bootstrap == "f:1,f:2")
        #expect(configuration.kafka.transactionalID == "environment-host-1")
        #expect(configuration.batch.intervalMilliseconds == 250)
    }

    /// A value for each kind of key that is not its default.
    private static func sample(_ key: ConfigurationKey) -> String {
        switch key.path {
        case "kafka.properties": "client.id=x"
        case "delivery": "at_least_once"
        case "log.level": "debug"
        case "log.format": "text"
        case "images.unusable": "score_without"
        case "images.schemes": "https,file"
        case "images.hosts": "a.example,*.b.example"
        case "images.allow_private": "10.0.0.0/8,fd00::/8"
        case "images.file_roots": "/photos"
        case "images.ports": "443,8443"
        case "http.host": "::1"
        case "learning.enabled", "learning.frozen": "true"
        case "labels.tracked_horizons_days": "1,2.5"
        case "threads", "images.maximum_redirects", "in_flight.low_posts",
            "learning.in_flight_low_records":
            "7"
        case "learning.in_flight_high_records": "200"
        case let path where path.hasPrefix("updates."): "7"
        case let path where path.hasSuffix("_milliseconds"): "4000"
        case let path where path.hasSuffix("_bytes"): "4000000"
        case let path where key.accepts.contains("integer") && path.hasSuffix("posts"): "60"
        case _ where key.accepts.contains("integer"): "11"
        default: "x-\(key.path)"
        }
    }

    @Test("Every key can be set in the file, by the environment and by a flag, to the same effect")
    func everyKey() throws {
        for key in ServeConfiguration.keys {
            let value = Self.sample(key)
            // Some keys must agree with others; these make every sample acceptable.
            var base = [
                "--in-flight-low-posts=3", "--in-flight-low-bytes=0", "--batch-maximum-posts=3",
            ]
            base += ["--batch-maximum-bytes=2000000", "--images-maximum-bytes=2000"]
            base += [
                "--retry-initial-backoff-milliseconds=10",
                "--images-connect-timeout-milliseconds=20",
            ]
            if key.path == "images.schemes" { base.append("--images-file-roots=/photos") }
            if key.path == "images.file_roots" { base.append("--images-schemes=file") }
            if key.path == "batch.maximum_bytes" { base.removeAll { $0.hasPrefix("--batch") } }
            if key.path == "images.maximum_bytes" {
                base.removeAll { $0.hasPrefix("--batch-maximum-bytes") }
            }
            base = (minimal + base).filter { !$0.hasPrefix(key.flag + "=") }

            let words = key.path.split(separator: ".")
            let isMap = key.path == "kafka.properties"
            let yaml = isMap ? "{\(value.replacing("=", with: ": "))}" : value
            let file =
                words.count == 1 ? "\(key.path): \(yaml)" : "\(words[0]):\n  \(words[1]): \(yaml)"
            let fromFlag = try load(arguments: base + ["\(key.flag)=\(value)"])
            let fromFile = try load(file: file, arguments: base)
            let fromEnvironment = try load(
                environment: [key.environmentName: value], arguments: base)
            #expect(fromFlag == fromFile, "\(key.path)")
            #expect(fromFlag == fromEnvironment, "\(key.path)")
            #expect(try load(arguments: minimal) != fromFlag, "\(key.path) goes nowhere")
        }
    }

    @Test("Lists are YAML lists, or texts with commas")
    func lists() throws {
        let file = """
            images:
              hosts: [photos.example.com, "*.cdn.example.com"]
              ports:
                - 8080
              allow_private: []
            """
        let configuration = try load(
            file: file, arguments: minimal + ["--images-schemes", "http, https"])
        #expect(
            configuration.images.fetching.hosts.map(\.description) == [
                "photos.example.com", "*.cdn.example.com",
            ])
        #expect(configuration.images.fetching.ports == [8080])
        #expect(configuration.images.fetching.allowedPrivateRanges.isEmpty)
        #expect(configuration.images.fetching.schemes == [.http, .https])
    }

    @Test("librdkafka's settings keep their dots, and each source adds to the weaker ones")
    func properties() throws {
        let file = """
            kafka:
              properties:
                security.protocol: SASL_SSL
                debug: [broker, topic]
                sasl.username: file
            """
        let configuration = try load(
            file: file,
            environment: ["UHAN_KAFKA_PROPERTIES": "sasl.username=env,sasl.password=p=w\\,\\x"],
            arguments: minimal + ["--kafka-properties", "client.id=a"])
        #expect(
            configuration.kafka.properties.values == [
                "security.protocol": "SASL_SSL", "debug": "broker,topic", "sasl.username": "env",
                "sasl.password": "p=w,\\x", "client.id": "a",
            ])
    }

    // MARK: What is wrong

    @Test("All problems are told at once, each with key, value, source and what would be right")
    func allProblems() throws {
        let file = """
            modle: /m
            kafka: {group_idd: x, bootstrap: b}
            batch:
              maximum_posts: many
            images:
              hosts: ["*.", a.example]
              allow_private: [10.0.0.1/8]
            delivery: twice
            group_id: y
            """
        let problems = problems(
            file: file, environment: ["UHAN_THREADS": "0", "UHAN_SERVICE_HOST": "10.0.0.1"],
            arguments: [
                "--log-level", "loud", "--log-levle=info", "stray", "--retry-budget-milliseconds",
            ])
        let expected = [
            ("modle", "did you mean model?"),
            ("kafka.group_idd", "did you mean kafka.group_id?"),
            ("group_id", "did you mean kafka.group_id?"),
            ("batch.maximum_posts", "is \"many\" (in FILE), but must be an integer from 1 to 4096"),
            (
                "images.hosts",
                "is [\"*.\", \"a.example\"] (in FILE), but must be a list of host names"
            ),
            ("images.allow_private", "10.0.0.0/8"),
            ("delivery", "one of exactly_once, at_least_once"),
            ("threads", "is \"0\" (from UHAN_THREADS), but must be an integer from 1 to 1024"),
            ("log.level", "is \"loud\" (from --log-level)"),
            ("--log-levle", "did you mean --log-level?"),
            ("command line", "quote values"),
            ("--retry-budget-milliseconds", "needs a value"),
            ("model", "is required: set it in the file, or UHAN_MODEL, or --model"),
        ]
        for (subject, message) in expected {
            #expect(
                problems.contains { $0.subject == subject && $0.message.contains(message) },
                "\(subject): \(message) is not among \(problems)")
        }
        #expect(problems.count == expected.count, "\(problems)")
    }

    @Test(
        "Settings that contradict each other are told",
        arguments: [
            (
                ["--in-flight-low-posts=256"], "in_flight.low_posts",
                "in_flight.high_posts, which is 256"
            ),
            (["--in-flight-high-bytes=60000000"], "in_flight.low_bytes", "60000000"),
            (["--batch-maximum-posts=257"], "batch.maximum_posts", "in_flight.high_posts"),
            (
                ["--retry-initial-backoff-milliseconds=6000"], "retry.initial_backoff_milliseconds",
                "5000"
            ),
            (
                ["--images-connect-timeout-milliseconds=20000"],
                "images.connect_timeout_milliseconds", "10000"
            ),
            (
                ["--retry-budget-milliseconds=60000"], "retry.budget_milliseconds",
                "transaction.timeout.ms"
            ),
            (
                ["--kafka-properties=max.poll.interval.ms=30000"], "retry.budget_milliseconds",
                "max.poll.interval.ms, which is 30000"
            ),
            (
                ["--kafka-properties=transaction.timeout.ms=long"],
                "kafka.properties.transaction.timeout.ms", "integer"
            ),
            (
                ["--kafka-properties=group.id=x"], "kafka.properties.group.id",
                "kafka.group_id decides it"
            ),
            (
                ["--kafka-properties=enable.auto.commit=true"],
                "kafka.properties.enable.auto.commit", "delivery"
            ),
            (["--topics-scores=posts"], "topics.scores", "is \"posts\", as topics.posts is"),
            (
                ["--learning-in-flight-low-records=256"], "learning.in_flight_low_records",
                "learning.in_flight_high_records, which is 256"
            ),
            (["--images-schemes=file"], "images.file_roots", "must name a folder"),
            (["--images-file-roots=/p"], "images.file_roots", "be empty"),
            (["--images-file-roots=p"], "images.file_roots", "absolute folders"),
            (["--shutdown-budget-milliseconds=8001"], "shutdown.budget_milliseconds", "to 8000"),
            (["--threads=1", "--threads=2"], "--threads", "given twice"),
            (["--http-port=0", "--http-host=0.0.0.0"], "http.host", "set http.token_file"),
            (["--http-port=0", "--http-host=photos.example"], "http.host", "photos.example"),
            (["--http-port=65536"], "http.port", "from 0 to 65535, or empty"),
            (
                ["--http-port=0", "--http-token=a", "--http-token-file=b"], "http.token_file",
                "give one"
            ),
            (["--http-port=0", "--http-tls-key=k"], "http.tls_certificate", "both or none"),
            (["--kafka-group-id="], "kafka.group_id", "must be a text"),
        ])
    func contradictions(_ arguments: [String], _ subject: String, _ message: String) throws {
        let problems = problems(arguments: minimal + arguments)
        #expect(problems.count == 1, "\(problems)")
        #expect(problems.first?.subject == subject, "\(problems)")
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
    }

    @Test(
        "What learning needs of other settings is told, and without learning it is not asked for",
        arguments: [
            (["--delivery=at_least_once"], "learning.enabled", "exactly_once"),
            (["--topics-views=posts"], "topics.views", "as topics.posts is"),
            (["--topics-encodings=joins"], "topics.encodings", "as topics.joins is"),
            (
                ["--kafka-properties=partition.assignment.strategy=range\\,roundrobin"],
                "kafka.properties.partition.assignment.strategy", "must be range"
            ),
            (
                ["--kafka-properties=partition.assignment.strategy=cooperative-sticky"],
                "kafka.properties.partition.assignment.strategy", "must be range"
            ),
            (
                ["--kafka-properties=transaction.timeout.ms=90000"],
                "learning.restore_timeout_milliseconds", "which is 90000"
            ),
            (
                ["--learning-restore-timeout-milliseconds=60000"],
                "learning.restore_timeout_milliseconds", "which is 60000"
            ),
            (
                ["--topics-encodings=encodings", "--kafka-properties=message.max.bytes=999999"],
                "kafka.properties.message.max.bytes", "at least 1000000"
            ),
        ])
    func learning(_ arguments: [String], _ subject: String, _ message: String) throws {
        let problems = problems(arguments: minimal + arguments + ["--learning-enabled=true"])
        #expect(problems.count == 1, "\(problems)")
        #expect(problems.first?.subject == subject, "\(problems)")
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
        #expect(throws: Never.self) { try load(arguments: minimal + arguments) }
    }

    @Test("Learning is turned on by one setting; small messages are fine where none is large")
    func learningIsOn() throws {
        let configuration = try load(
            arguments: minimal + [
                "--learning-enabled=true",
                "--kafka-properties=message.max.bytes=999999,partition.assignment.strategy=range",
            ])
        #expect(configuration.learning.isEnabled)
        #expect(!configuration.learning.isFrozen)
        for wrong in ["yes", "1", "TRUE", ""] {
            #expect(
                problems(arguments: minimal + ["--learning-enabled=\(wrong)"]).first?.message
                    .contains("true or false") == true)
        }
    }

    @Test("Tracked horizons are days, as numbers or in a list, each once and within ten years")
    func trackedHorizons() throws {
        let file = """
            labels:
              tracked_horizons_days: [1, 0.5, 30]
            """
        let labels = try load(file: file, arguments: minimal).labels
        #expect(labels.trackedHorizonsDays == [1, 0.5, 30])
        let target = BundleConfiguration.Target(
            minimum_days: 0.25, smearing: nil, horizon_days: 7)
        let rule = labels.rule(for: target)
        #expect(rule.horizon == 604_800)
        #expect(rule.trackedHorizons == [86_400, 43_200, 2_592_000])
        #expect(rule.minimumDays == 0.25)
        #expect(rule.problem == nil)

        var sameAge = target
        sameAge.horizon_days = 30
        #expect(labels.rule(for: sameAge).problem?.contains("twice") == true)
        sameAge.horizon_days = nil
        #expect(labels.rule(for: sameAge).horizon == nil)

        for (given, message) in [
            ("1,1", "twice"), ("1,2,3,4,5,6,7,8", "at most 7"), ("0", "numbers of days"),
            ("-1", "numbers of days"), ("nan", "numbers of days"), ("3653", "numbers of days"),
            ("1,week", "numbers of days"),
        ] {
            let problems = problems(
                arguments: minimal + ["--labels-tracked-horizons-days=\(given)"])
            #expect(problems.count == 1, "\(given): \(problems)")
            #expect(problems.first?.message.contains(message) == true, "\(given): \(problems)")
        }
    }

    @Test("HTTP is off until it has a port; only loopback needs no token")
    func http() throws {
        #expect(try load(arguments: minimal).http.port == nil)
        #expect(try load(arguments: minimal + ["--http-port="]).http.port == nil)
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
            let http = try load(arguments: minimal + ["--http-port=80", "--http-host=\(host)"]).http
            #expect(http.port == 80 && http.host == host)
        }
        let file = try load(
            file: "http: {port: 80, host: 0.0.0.0, token_file: /t}", arguments: minimal)
        #expect(file.http.tokenFile == "/t")
    }

    @Test("A longer budget is fine where Kafka's times leave room for it")
    func longerBudget() throws {
        let arguments = [
            "--retry-budget-milliseconds=90000", "--kafka-properties=transaction.timeout.ms=120000",
        ]
        #expect(try load(arguments: minimal + arguments).retry.budgetMilliseconds == 90_000)
    }

    @Test("A file that cannot be used is named, with the line that breaks it")
    func badFiles() throws {
        #expect(problems(file: "model: [a\nlog: x").first?.message.contains("2:") == true)
        #expect(
            problems(file: "model: a\nmodel: b").first?.message.contains("not valid YAML") == true)
        #expect(problems(file: "just text").first?.message.contains("not valid YAML") == true)
        #expect(
            problems(file: "model: " + String(repeating: "x", count: 1 << 20)).first?.message
                .contains("larger") == true)
        let error = #expect(throws: ConfigurationError.self) {
            try ServeConfiguration.load(
                file: "/nonexistent/uhan.yaml", environment: [:], arguments: [])
        }
        #expect(
            error?.description.contains("/nonexistent/uhan.yaml: cannot be opened: No such file")
                == true)
    }

    // MARK: Secrets

    @Test("No secret is printed, neither by a configuration nor by an error")
    func secrets() throws {
        let given =
            "sasl.password=s3cret,ssl.key.password=s3cret,sasl.oauthbearer.client.secret=s3cret,ssl.key.pem=s3cret"
        let configuration = try load(
            arguments: minimal + [
                "--kafka-properties", given + ",client.id=shown", "--http-token=s3cret",
            ])
        #expect(configuration.http.token.text == "s3cret")
        #expect(configuration.kafka.properties.values["sasl.password"] == "s3cret")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in [
            configuration.yaml, "\(configuration)", String(reflecting: configuration), dumped,
        ] {
            #expect(!text.contains("s3cret"))
            #expect(text.contains("shown"))
        }

        let broken = [
            problems(file: "kafka:\n  properties:\n    sasl.password: \"s3cret\n"),
            problems(file: "kafka: {properties: {sasl.password: [[s3cret]]}}"),
            problems(file: "kafka: {properties: s3cret}"),
            problems(file: "http: {token: [s3cret, other]}"),
            problems(environment: ["UHAN_KAFKA_PROPERTIES": "s3cret"]),
            problems(arguments: ["--kafka-properties", "sasl.username=x", "sasl.password=s3cret"]),
            problems(arguments: ["--kafka-propertees=sasl.password=s3cret"]),
            problems(arguments: ["--kafka-properties=transaction.timeout.ms=x,sasl.password=s3cret"]
            ),
        ]
        for problems in broken {
            #expect(!problems.isEmpty)
            #expect(!"\(problems)".contains("s3cret"), "\(problems)")
        }
    }

    // MARK: The reference

    @Test("The reference names every key, its variable and flag, and loading it changes nothing")
    func reference() throws {
        let reference = ServeConfiguration.reference()
        for key in ServeConfiguration.keys {
            #expect(
                reference.contains("\(key.accepts): \(key.environmentName), \(key.flag)\n"),
                "\(key.path)")
        }
        #expect(reference.split(separator: "\n").allSatisfy { $0.count <= 160 })
        let loaded = try load(file: reference, arguments: minimal)
        #expect(try loaded == load(arguments: minimal))
    }

    @Test("The settings in force are YAML that gives the same settings")
    func yaml() throws {
        let arguments =
            minimal + [
                "--images-hosts=*.example.com", "--images-allow-private=::1/128",
                "--kafka-group-id=no",
                "--topics-posts=a: b # \"c\"", "--kafka-properties=client.id=1",
            ]
        let configuration = try load(arguments: arguments)
        #expect(try load(file: configuration.yaml) == configuration)
    }

    @Test("Keys, variables and flags are all different, and defaults lie within their ranges")
    func table() throws {
        let keys = ServeConfiguration.keys
        #expect(Set(keys.map(\.path)).count == keys.count)
        #expect(Set(keys.map(\.environmentName)).count == keys.count)
        #expect(Set(keys.map(\.flag)).count == keys.count)
        #expect(
            keys.first { $0.path == "kafka.group_id" }?.environmentName == "UHAN_KAFKA_GROUP_ID")
        #expect(keys.first { $0.path == "kafka.group_id" }?.flag == "--kafka-group-id")
    }
}

// MARK: -

private func load(
    file: String? = nil, environment: [String: String] = [:], arguments: [String] = []
) throws(ConfigurationError) -> ServeConfiguration {
    let path = file.flatMap { text -> String? in
        let path = FileManager.default.temporaryDirectory.appending(path: "uhan-\(UUID()).yaml")
            .path
        return FileManager.default.createFile(atPath: path, contents: Data(text.utf8)) ? path : nil
    }
    defer { if let path { try? FileManager.default.removeItem(atPath: path) } }
    return try ServeConfiguration.load(
        file: path, environment: environment, arguments: arguments,
        defaults: ServeConfiguration(hostName: "host-1", coreCount: 4))
}

/// The problems, with FILE for the file's name.
private func problems(
    file: String? = nil, environment: [String: String] = [:], arguments: [String] = []
) -> [(subject: String, message: String)] {
    do {
        _ = try load(file: file, environment: environment, arguments: arguments)
        return []
    } catch {
        return error.problems.map { problem in
            let words = problem.message.split(separator: " ", omittingEmptySubsequences: false)
            let message = words.map { word in
                guard word.contains("/uhan-"), let end = word.range(of: ".yaml") else {
                    return String(word)
                }
                return (word.hasPrefix("(") ? "(" : "") + "FILE" + word[end.upperBound...]
            }
            return (problem.subject, message.joined(separator: " "))
        }
    }
}

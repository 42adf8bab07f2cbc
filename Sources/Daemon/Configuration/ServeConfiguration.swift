import Logging
import Model
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Everything that `uhan serve` can be told, with its defaults.
///
/// `load` reads it; `keys` lists the settings with their names, ranges and meaning.
package struct ServeConfiguration: Hashable, Sendable {
    package struct Topics: Hashable, Sendable {
        package var posts = "posts"
        package var scores = "scores"
        package var deadLetters = "dead-letters"
        /// Empty: last answers are not kept.
        package var latest = ""
        package var views = "views"
        package var lessons = "lessons"
        package var users = "users"
        package var joins = "joins"
        /// Empty: encodings are not published.
        package var encodings = ""
    }

    package struct Kafka: Hashable, Sendable {
        /// host:port, comma-separated.
        package var bootstrap = ""
        package var groupID = "uhan"
        /// Default: the host's name.
        package var groupInstanceID: String
        /// Default: group id and instance id, joined by "-".
        package var transactionalID = ""
        package var properties = KafkaProperties()
    }

    /// A batch of posts is scored and published in one transaction; the first bound reached ends
    /// it.
    package struct Batch: Hashable, Sendable {
        package var maximumPosts = 16
        package var maximumBytes = 4 << 20
        package var intervalMilliseconds = 250
        package var idleMilliseconds = 0
    }

    /// Reading pauses at the high mark and goes on at the low one.
    package struct InFlight: Hashable, Sendable {
        package var highPosts = 256
        package var lowPosts = 128
        package var highBytes = 128 << 20
        package var lowBytes = 64 << 20
    }

    /// For one post, all its tries together.
    package struct Retry: Hashable, Sendable {
        package var budgetMilliseconds = 30_000
        package var initialBackoffMilliseconds = 200
        package var maximumBackoffMilliseconds = 5_000
    }

    package struct Images: Hashable, Sendable {
        package var fetching = FetchPolicy()
        /// Width times height, as said by the image's header.
        package var maximumPixels = 64 << 20
        package var unusable = UnusableImage.deadLetter
        package var featureCacheBytes = PostScorer.defaultCacheBytes
    }

    package struct Learning: Hashable, Sendable {
        package var isEnabled = false
        package var isFrozen = false
        package var stateFolder = "/var/lib/uhan"
        /// Vectors in memory, for all tasks together.
        package var memoryBytes = 512 << 20
        /// Encodings on disk, for each task.
        package var encodingsBytes = 8 << 30
        /// The checkpoint's file, for each task.
        package var checkpointMaximumBytes = 64 << 30
        package var maximumCheckpointAgeHours = 12
        /// How long reading a changelog may gain nothing.
        package var restoreTimeoutMilliseconds = 90_000
        /// Views that wait for their post, in each task, and how long in record time.
        package var earlyViews = 10_000
        package var earlyViewHours = 24
        /// Views and lessons in hand at which their partitions are paused, and resumed.
        package var inFlightHighRecords = 256
        package var inFlightLowRecords = 128
        package var threads = 1
    }

    package struct Labels: Hashable, Sendable {
        /// Beside the model's own horizon, which its bundle names.
        package var trackedHorizonsDays: [Double] = []

        /// What counts as a label for a model with this target. The rule may have a problem: the
        /// model's own horizon among the tracked ones.
        package func rule(for target: BundleConfiguration.Target) -> LabelRule {
            LabelRule(
                horizon: target.horizon_days.map { $0 * LabelRule.secondsPerDay },
                trackedHorizons: trackedHorizonsDays.map { $0 * LabelRule.secondsPerDay },
                minimumDays: target.minimum_days)
        }
    }

    package struct HTTP: Hashable, Sendable {
        /// nil: there is no HTTP server. 0: any free port.
        package var port: Int?
        package var host = "127.0.0.1"
        package var token = Secret()
        package var tokenFile = ""
        package var tlsCertificate = ""
        package var tlsKey = ""
        package var maximumConnections = 256
        package var maximumBodyBytes = 1 << 20
        /// From a request's head to the last byte of its answer.
        package var requestTimeoutMilliseconds = 10_000
        /// Without a whole head of a request.
        package var idleTimeoutMilliseconds = 30_000

        var hasTLS: Bool { !tlsCertificate.isEmpty }

        /// Only this machine can reach it.
        var isLoopback: Bool {
            host == "localhost" || IPAddress(host)?.specialPurpose == "loopback"
        }
    }

    package struct Shutdown: Hashable, Sendable {
        package var budgetMilliseconds = 7_000
    }

    package struct Log: Hashable, Sendable {
        package enum Format: String, CaseIterable, Sendable {
            case json, text
        }
        package var level = Logger.Level.info
        package var format = Format.json

        package init(level: Logger.Level = .info, format: Format = .json) {
            self.level = level
            self.format = format
        }
    }

    /// Folder of the model bundle.
    package var model = ""
    /// Default: as many as the machine has cores.
    package var threads: Int
    package var delivery = Delivery.exactlyOnce
    package var topics = Topics()
    package var kafka: Kafka
    package var batch = Batch()
    package var inFlight = InFlight()
    package var retry = Retry()
    package var images = Images()
    package var learning = Learning()
    package var labels = Labels()
    /// How a user's vector learns.
    package var updates = UpdateRule()
    package var http = HTTP()
    package var shutdown = Shutdown()
    package var log = Log()

    /// The defaults on a machine with this host name and number of cores.
    package init(hostName: String, coreCount: Int) {
        kafka = Kafka(groupInstanceID: hostName)
        threads = coreCount
    }

    /// The defaults on this machine.
    package init() {
        let process = ProcessInfo.processInfo
        self.init(hostName: process.hostName, coreCount: process.activeProcessorCount)
    }
}

/// librdkafka's own settings, passed through as they are. Never prints a secret, whoever prints it.
package struct KafkaProperties: Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible, CustomReflectable
{
    package var values: [String: String]

    package init(_ values: [String: String] = [:]) {
        self.values = values
    }

    package static func isSecret(_ name: String) -> Bool {
        ["password", "secret", "key.pem", "keystore", "oauthbearer.config", "jaas", "token"]
            .contains { name.lowercased().contains($0) }
    }

    /// The values with every secret replaced.
    package var shown: [String: String] {
        values.reduce(into: [:]) { $0[$1.key] = Self.isSecret($1.key) ? Secret.hidden : $1.value }
    }

    package var description: String {
        shown.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["values": shown]) }
}

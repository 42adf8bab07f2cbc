import ArgumentParser
import Daemon
import Glibc
import Model
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct UsersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "users",
        abstract: "Look at what was learnt of users, take it back, check it.",
        discussion: """
            Works on the daemon's topics, from anywhere, while the daemon runs or not; its own files \
            are the daemon's alone. All take the daemon's settings, as 'uhan serve' does: --config, \
            the environment, or flags after the user's id.

              uhan users show ann --config uhan.yaml
              uhan users history ann --config uhan.yaml
              uhan users rollback ann --version 3 --config uhan.yaml
              uhan users forget ann --config uhan.yaml
              uhan users audit --config uhan.yaml
            """,
        subcommands: [
            UsersShow.self, UsersHistory.self, UsersRollback.self, UsersForget.self,
            UsersAudit.self,
        ])
}

/// The daemon's settings, for commands that work on what belongs to it.
struct DaemonSettings: ParsableArguments {
    @Option(help: "The daemon's YAML file of settings.")
    var config: String?

    @Argument(
        parsing: .allUnrecognized,
        help: "The daemon's settings as flags: --name=value or --name value.")
    var settings: [String] = []

    func load() throws -> (ServeConfiguration, ModelBundle) {
        let configuration = try loadConfiguration()
        return (configuration, try openModel(configuration.model))
    }

    func loadConfiguration() throws -> ServeConfiguration {
        try loadWithSources().configuration
    }

    func loadWithSources() throws -> LoadedConfiguration {
        try LoadedConfiguration(
            file: config, environment: ProcessInfo.processInfo.environment, arguments: settings)
    }
}

extension UserRecords {
    /// Finds a user with a line of progress.
    func find(_ uid: String, model: String) throws -> Found {
        let progress = Progress()
        defer { progress.clear() }
        progress.show("reading the users topic")
        return try find(uid, model: model) { done, total in
            progress.show("reading the users topic: \(done) of \(total)")
        }
    }

    /// The same, where a user is needed.
    func record(of uid: String, model: String) throws -> (UserRecord, otherModels: [String]) {
        let found = try find(uid, model: model)
        guard let record = found.record else {
            let others = found.otherModels.joined(separator: ", ")
            throw CommandError(
                "nothing was learnt of user '\(uid)' with model \(model)"
                    + (others.isEmpty ? "" : "; but with \(others)"))
        }
        return (record, found.otherModels)
    }
}

// MARK: - Looking

private let costs = """
    Reads the users topic: first the partition that the user's key names (Java's default \
    partitioner), from its beginning to its end; the others only where the user is not there. That \
    takes as long as reading so many bytes from the brokers (with 512 values a vector, a user's \
    record has up to 25 KB), and memory for the one user alone. Written is what is committed.
    """

struct UsersShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "What is known of a user.",
        discussion: """
            One JSON object: version of the vector that counts (0: none was learnt), labels so far, \
            their mean, norm of the vector and its distance from the prior (the model's own vector \
            of the user, or the unknown user's), and the last labelled posts; those held out judge \
            the next update and do not teach it.

            \(costs)
            """)

    @Argument(help: "The user's id.")
    var uid: String

    @OptionGroup var daemon: DaemonSettings

    private struct Output: Encodable {
        struct Post: Encodable {
            let pid: String
            let label: Float
            let posted_at: Double
            let observed_at: Double
            let held_out: Bool
        }

        let uid: String
        let model: String
        let other_models: [String]
        let version: Int
        let learned_at: Double?
        let labels: Int
        let label_mean: Float?
        let labels_since_update: Int
        let update_tried_at: Double?
        let prior: String
        let norm: Float
        let distance_from_prior: Float
        let posts: [Post]
        let partition: Int32
        let offset: Int64
        let written_at: Double?
    }

    func run() throws {
        let (configuration, bundle) = try daemon.load()
        let records = UserRecords(configuration, say: say)
        let (record, others) = try records.record(of: uid, model: bundle.version)
        let state = record.state
        let trained = bundle.users.vector(of: uid)
        let prior = trained ?? bundle.users.unknownVector
        let vector = state.current?.values ?? prior
        let heldOut = configuration.updates.heldOutCount(ofPosts: state.posts.count)
        try printJSON(
            Output(
                uid: uid, model: state.model, other_models: others,
                version: state.current?.version ?? 0, learned_at: state.current?.learnedAt,
                labels: state.labelCount, label_mean: state.labelMean,
                labels_since_update: state.labelsSinceUpdate,
                update_tried_at: state.updateTriedAt,
                prior: trained == nil ? "unknown" : "bundle", norm: norm(vector),
                distance_from_prior: distance(vector, prior),
                posts: state.posts.enumerated().map { place, post in
                    Output.Post(
                        pid: post.pid, label: post.label, posted_at: post.postedAt,
                        observed_at: post.observedAt,
                        held_out: place >= state.posts.count - heldOut)
                },
                partition: record.partition, offset: record.offset, written_at: record.writtenAt))
    }
}

struct UsersHistory: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "A user's last vectors.",
        discussion: """
            One JSON object a version, the oldest first, at most \(LearnerState.maximumVectors): \
            when it was learnt (the observation that led to it; of a rollback, when it was asked \
            for), labels by then, norm, distance from the version before and from the prior, and \
            what it went back to, if it is a rollback.

            \(costs)
            """)

    @Argument(help: "The user's id.")
    var uid: String

    @OptionGroup var daemon: DaemonSettings

    private struct Line: Encodable {
        let version: Int
        let learned_at: Double
        let labels: Int
        let norm: Float
        /// From the version before; nil where that is no longer carried.
        let step_norm: Float?
        let distance_from_prior: Float
        let rolled_back_to: Int?
    }

    func run() throws {
        let (configuration, bundle) = try daemon.load()
        let records = UserRecords(configuration, say: say)
        let (record, _) = try records.record(of: uid, model: bundle.version)
        let prior = bundle.users.vector(of: uid) ?? bundle.users.unknownVector
        // The first version came from the prior.
        var before: [Float]? = record.state.vectors.first?.version == 1 ? prior : nil
        for vector in record.state.vectors {
            try printJSON(
                Line(
                    version: vector.version, learned_at: vector.learnedAt, labels: vector.labels,
                    norm: norm(vector.values),
                    step_norm: before.map { distance(vector.values, $0) },
                    distance_from_prior: distance(vector.values, prior),
                    rolled_back_to: vector.rolledBackTo))
            before = vector.values
        }
        if record.state.vectors.isEmpty {
            say("no vector was learnt yet; \(record.state.labelCount) labels")
        }
    }
}

private func norm(_ vector: [Float]) -> Float {
    distance(vector, [Float](repeating: 0, count: vector.count))
}

private func distance(_ left: [Float], _ right: [Float]) -> Float {
    Float(
        zip(left, right).reduce(0.0) { sum, pair in
            let difference = Double(pair.0) - Double(pair.1)
            return sum + difference * difference
        }.squareRoot())
}

import ArgumentParser
import Daemon
import Model
import Pipeline

struct Waiting: ParsableArguments {
    @Option(help: "How many seconds to wait until the daemon has done it; 0: do not wait.")
    var wait = 30.0

    func validate() throws {
        guard (0...3_600).contains(wait) else { throw ValidationError("--wait is 0 to 3600") }
    }
}

struct UsersRollback: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Make an earlier vector of a user count again.",
        discussion: """
            Writes a command to the lessons topic, in the user's partition; the daemon makes a new \
            version with the earlier one's values. The labels stay, so later ones teach from there. \
            'uhan users history' says which versions there are.

            Prints {"uid":...,"command":"rollback","version":3,"seen":true,"now":7}: now is the \
            version that counts. The exit code is 0 where it was seen on the users topic, 2 where \
            it was not within --wait: the command is written, and the daemon does it when its turn \
            comes. One that comes twice makes one more version and does no other harm.
            """)

    @Argument(help: "The user's id.")
    var uid: String

    @Option(help: "The version to go back to.")
    var version: Int

    @OptionGroup var waiting: Waiting
    @OptionGroup var daemon: DaemonSettings

    private struct Output: Encodable {
        let uid: String
        let command = "rollback"
        let version: Int
        let seen: Bool
        let now: Int?
    }

    func run() throws {
        let (configuration, bundle) = try daemon.load()
        let records = UserRecords(configuration, say: say)
        let (record, _) = try records.record(of: uid, model: bundle.version)
        let versions = record.state.vectors.map(\.version)
        guard versions.contains(version) else {
            throw CommandError(
                "the record of user '\(uid)' does not carry version \(version), but "
                    + (versions.isEmpty
                        ? "none" : versions.map(String.init).joined(separator: ", ")))
        }
        let last = versions.last ?? 0
        let ends = try records.ends(of: [record.partition])
        try records.send(.rollback(uid: uid, version: version), to: [record.partition])
        let seen = try records.follow(
            uid, model: bundle.version, from: ends, seconds: waiting.wait
        ) { change in
            guard case .user(let state) = change else { return false }
            return state.vectors.contains { $0.version > last && $0.rolledBackTo == version }
        }
        var now: Int?
        if case .user(let state) = seen[record.partition] { now = state.current?.version }
        try printJSON(Output(uid: uid, version: version, seen: now != nil, now: now))
        if now == nil { throw notSeen(waiting) }
    }
}

struct UsersForget: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Forget what was learnt of a user.",
        discussion: """
            Writes a command to every partition of the lessons topic. The daemons then remove, with \
            the model that they run: the user's vectors, labels and mean; the user's posts that wait \
            for labels, and views that wait for their post; the posts' encodings. In the daemons' \
            files what goes is overwritten; on the users, joins and encodings topics it is \
            followed by a record without value, and the brokers remove both when they compact: \
            after min.cleanable.dirty.ratio, min.compaction.lag.ms and segment.ms let them, the \
            last record after delete.retention.ms more. max.compaction.lag.ms is what gives a bound.

            What it does not reach: the posts, views and scores topics, dead letters and the lessons \
            topic, which keep records for their retention (retention.ms); what was learnt with other \
            models ('uhan users show' names them); the model itself, if the user was among those it \
            was trained on; logs; backups. Posts of the user that come later teach anew, and so do \
            labels that were on their way.

            Prints {"uid":...,"command":"forget","seen":true,"partitions":4,"confirmed":4}. The \
            exit code is 0 where every partition has confirmed it on the users topic, 2 where not \
            within --wait: the command is written, and done when its turn comes. It may be given \
            again.
            """)

    @Argument(help: "The user's id.")
    var uid: String

    @Flag(help: "Do not ask.")
    var yes = false

    @OptionGroup var waiting: Waiting
    @OptionGroup var daemon: DaemonSettings

    private struct Output: Encodable {
        let uid: String
        let command = "forget"
        let seen: Bool
        let partitions: Int
        let confirmed: Int
    }

    func run() throws {
        let (configuration, bundle) = try daemon.load()
        try confirm()
        let records = UserRecords(configuration, say: say)
        let partitions = (0..<Int32(try records.partitionCount())).map { $0 }
        let ends = try records.ends(of: partitions)
        try records.send(.forget(uid: uid), to: partitions)
        let seen = try records.follow(
            uid, model: bundle.version, from: ends, seconds: waiting.wait
        ) { change in
            if case .forgottenUser = change { true } else { false }
        }
        let isSeen = seen.count == partitions.count
        try printJSON(
            Output(
                uid: uid, seen: isSeen, partitions: partitions.count, confirmed: seen.count))
        guard isSeen else { throw notSeen(waiting) }
        say("the posts, views, scores and lessons topics keep the user's records: see --help")
    }

    private func confirm() throws {
        guard !yes else { return }
        guard canAsk else {
            throw CommandError("nobody to ask: say --yes to forget user '\(uid)'")
        }
        say("Forget all that was learnt of user '\(uid)'? It cannot be undone. Type yes:")
        guard readLine() == "yes" else { throw CommandError("nothing was done") }
    }
}

/// What the daemon has not done in time.
private func notSeen(_ waiting: Waiting) -> ExitCode {
    say(
        waiting.wait > 0
            ? "not seen within \(rounded(waiting.wait, 0)) s: is a daemon running? The command is "
                + "written; it is done when its turn comes"
            : "the command is written; it is done when its turn comes")
    return ExitCode(2)
}

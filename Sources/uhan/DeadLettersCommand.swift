import ArgumentParser
import Daemon
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct DeadLettersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlq",
        abstract: "Look at dead letters, and try them again.",
        discussion: """
            A post that could not be scored, or a view or a lesson that could not be read, stands \
            on the dead-letter topic with why and where it came from. All take the daemon's \
            settings, as 'uhan serve' does: --config, the environment, or flags; they may run \
            beside the daemon, anywhere.

              uhan dlq list --summary --config uhan.yaml
              uhan dlq show 3:17 --config uhan.yaml
              uhan dlq replay --reason image_unavailable --dry-run --config uhan.yaml
              uhan dlq replay --reason image_unavailable --config uhan.yaml
            """,
        subcommands: [DeadLettersList.self, DeadLettersShow.self, DeadLettersReplay.self])
}

extension DeadLetterReason: ExpressibleByArgument {}

extension DeadLetterPlace: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

/// A moment: seconds since 1970, or as in 2026-11-24T12:00:00Z.
struct PointInTime: ExpressibleByArgument {
    let seconds: Double

    init?(argument: String) {
        if let seconds = Double(argument), seconds.isFinite {
            self.seconds = seconds
        } else if let date = try? Date(argument, strategy: .iso8601) {
            seconds = date.timeIntervalSince1970
        } else {
            return nil
        }
    }
}

struct DeadLetterChoice: ParsableArguments {
    @Option(help: "Only letters with this reason.")
    var reason: DeadLetterReason?

    @Option(
        help: "Only letters written since then: 2026-11-24T12:00:00Z, or seconds since 1970.")
    var since: PointInTime?

    var selection: DeadLetterSelection {
        var selection = DeadLetterSelection()
        selection.reason = reason
        selection.since = since?.seconds
        return selection
    }
}

/// Where the original was read.
private struct Origin: Encodable {
    let topic: String
    let partition: Int32
    let offset: Int64

    init(_ letter: StoredDeadLetter) {
        topic = letter.origin.topic
        partition = letter.origin.number
        offset = letter.originOffset
    }
}

extension StoredDeadLetter {
    /// Seconds since 1970.
    fileprivate var writtenAt: Double? { record.timestamp.map { Double($0) / 1_000 } }
}

extension Progress {
    fileprivate func dead(_ done: Int64, _ total: Int64) {
        show("reading dead letters: \(done) of \(total)")
    }
}

// MARK: - Looking

struct DeadLettersList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "The dead letters, one line each, or how many there are.",
        discussion: """
            One JSON object a letter, partition by partition, the oldest first: its place, time, \
            reason and error, where the original was read, the original's uid and pid where they can \
            be read, the size of its value (omitted_value_bytes, if it was too large to go along), \
            whether it was replayed, and the letter that it was itself a replay of.

            Reads every partition twice, from its beginning to its end: as long as reading so many \
            bytes from the brokers takes, however few lines are asked for. Memory does not grow with \
            the topic, but for 24 bytes a letter that was replayed (at most 2,000,000 in a partition).
            """)

    @OptionGroup var choice: DeadLetterChoice

    @Option(help: "End after so many.")
    var limit: Int?

    @Flag(help: "Print one line a reason instead: letters, and how many of them were replayed.")
    var summary = false

    @OptionGroup var daemon: DaemonSettings

    private struct Line: Encodable {
        let partition: Int32
        let offset: Int64
        let time: Double?
        let reason: String
        let error: String
        let origin: Origin
        let uid: String?
        let pid: String?
        let value_bytes: Int?
        let omitted_value_bytes: Int?
        let replayed: Bool
        let replayed_from: String?
    }

    private struct Count: Encodable {
        let reason: String
        var letters = 0
        var replayed = 0
    }

    func validate() throws {
        guard (1...Int.max).contains(limit ?? 1) else {
            throw ValidationError("--limit is 1 or more")
        }
    }

    func run() throws {
        let letters = DeadLetters(try daemon.loadConfiguration(), say: say)
        let progress = Progress()
        defer { progress.clear() }
        var left = limit ?? .max
        // Reasons of other versions of uhan too, but no more than there can sensibly be.
        var counts: [String: Count] = [:]
        try letters.read(choice.selection, progress: progress.dead) { letter, wasReplayed in
            if summary {
                let isNew = counts[letter.reason] == nil
                let reason = isNew && counts.count >= Self.maximumReasons ? "other" : letter.reason
                var count = counts[reason] ?? Count(reason: reason)
                count.letters += 1
                count.replayed += wasReplayed ? 1 : 0
                counts[reason] = count
            } else {
                let (uid, pid) = letter.identifiers
                progress.clear()
                try printJSON(
                    Line(
                        partition: letter.place.partition, offset: letter.place.offset,
                        time: letter.writtenAt, reason: letter.reason, error: letter.error,
                        origin: Origin(letter), uid: uid, pid: pid,
                        value_bytes: letter.record.value?.count,
                        omitted_value_bytes: letter.omittedValueBytes, replayed: wasReplayed,
                        replayed_from: letter.replayedFrom))
            }
            left -= 1
            return left > 0 ? .goOn : .stop
        }
        for (_, count) in counts.sorted(by: { $0.key < $1.key }) { try printJSON(count) }
    }

    private static let maximumReasons = 100
}

struct DeadLettersShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "One dead letter, whole.",
        discussion: """
            One JSON object: what 'uhan dlq list' says of it, all headers, the original's key and \
            value. What is not UTF-8 is in Base64, under value_base64 instead of value.
            """)

    @Argument(help: "Its partition and offset, as in 3:17.")
    var place: DeadLetterPlace

    @Flag(help: "Write the original's value to stdout as it is, and nothing else.")
    var value = false

    @OptionGroup var daemon: DaemonSettings

    /// A text where the bytes are one.
    private struct Bytes {
        let text: String?
        let base64: String?

        init(_ bytes: [UInt8]?) {
            text = bytes.flatMap { String(validating: $0, as: UTF8.self) }
            base64 = text == nil ? bytes.map { Base64.encode($0) } : nil
        }
    }

    private struct Output: Encodable {
        struct Header: Encodable {
            let name: String
            let value: String?
            let value_base64: String?
        }

        let partition: Int32
        let offset: Int64
        let time: Double?
        let reason: String
        let error: String
        let origin: Origin
        let uid: String?
        let pid: String?
        let replayed_from: String?
        let headers: [Header]
        let key: String?
        let key_base64: String?
        let value_bytes: Int?
        let omitted_value_bytes: Int?
        let value: String?
        let value_base64: String?
    }

    func run() throws {
        let letters = DeadLetters(try daemon.loadConfiguration(), say: say)
        let letter = try letters.letter(at: place)
        guard !value else { return try writeValue(of: letter) }
        let (uid, pid) = letter.identifiers
        let (key, value) = (Bytes(letter.record.key), Bytes(letter.record.value))
        try printJSON(
            Output(
                partition: place.partition, offset: place.offset, time: letter.writtenAt,
                reason: letter.reason, error: letter.error, origin: Origin(letter), uid: uid,
                pid: pid, replayed_from: letter.replayedFrom,
                headers: letter.record.headers.map { header in
                    let value = Bytes(header.value)
                    return Output.Header(
                        name: header.key, value: value.text, value_base64: value.base64)
                },
                key: key.text, key_base64: key.base64, value_bytes: letter.record.value?.count,
                omitted_value_bytes: letter.omittedValueBytes, value: value.text,
                value_base64: value.base64))
    }

    private func writeValue(of letter: StoredDeadLetter) throws {
        if let value = letter.record.value { return printBytes(value) }
        let place = "\(letter.origin) offset \(letter.originOffset)"
        throw CommandError(
            letter.omittedValueBytes.map {
                "the value of \($0) bytes was too large to go along: look at \(place)"
            } ?? "the original, at \(place), had no value")
    }
}

// MARK: - Trying again

struct DeadLettersReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Produce the originals of dead letters again.",
        discussion: """
            The original (key, value, its own headers) goes to the topic and partition that it was \
            read from, with one header more: \(DeadLetter.HeaderName.replayedFrom) names the letter. \
            There it is a new record. A post is scored under its new offset, as of now: its score_by \
            may be past. A view is joined, a lesson teaches, after what has come since. What fails \
            again becomes a new dead letter, which may be replayed like any other.

            A letter is replayed once. The originals and a note on the dead-letter topic, which \
            says that these letters were replayed, are one transaction of at most 100 letters or \
            4 MiB; \
            a kill at any moment leaves both or neither. Two replays from one topic do not \
            run at once: both want the transactional id uhan-replay-TOPIC (with access lists, allow \
            it), and the later one shuts the earlier one out. The note stands behind the letter in \
            its partition and is deleted later, so this holds for as long as the letter is there, \
            whoever replays from where. --again lifts it. It does not hold for readers of posts \
            that read uncommitted records, nor where the topic is mirrored without its offsets.

            Not replayed, but named: a letter whose value was too large to go along, or that came \
            from a topic that the daemon does not read (views and lessons need learning.enabled) or \
            from a partition that is no longer there. Letters written after the \
            command began are left for the next one.

            Prints {"partition":3,"offset":17,"reason":...,"origin":...,"outcome":"replayed"} a \
            letter; other outcomes are would_be_replayed (--dry-run) and not_replayable, with why. \
            The exit code is 2 where one is not replayable.
            """)

    @OptionGroup var choice: DeadLetterChoice

    @Option(help: "The letter at this partition and offset, as in 3:17; may be given again.")
    var at: [DeadLetterPlace] = []

    @Flag(help: "Say what would be replayed, and write nothing.")
    var dryRun = false

    @Flag(help: "Do not ask.")
    var yes = false

    @Flag(help: "Also replay letters that were replayed before.")
    var again = false

    @Option(help: "Replay at most so many, 1 to 1000000.")
    var limit = 10_000

    @OptionGroup var daemon: DaemonSettings

    private static let maximumPlaces = 1_000

    private struct Line: Encodable {
        let partition: Int32
        let offset: Int64
        let reason: String
        let origin: Origin
        let outcome: String
        let why: String?
    }

    func validate() throws {
        guard choice.reason != nil || !at.isEmpty else {
            throw ValidationError("say which: --reason or --at")
        }
        guard at.count <= Self.maximumPlaces else {
            throw ValidationError("--at is given more than \(Self.maximumPlaces) times")
        }
        guard (1...1_000_000).contains(limit) else {
            throw ValidationError("--limit is 1 to 1000000")
        }
    }

    func run() throws {
        let configuration = try daemon.loadConfiguration()
        var selection = choice.selection
        selection.places = Set(at)
        if !dryRun { try confirm(selection, configuration) }
        let counts = try replay(selection, configuration, isDry: dryRun) { letter, outcome in
            let (name, why): (String, String?) =
                switch outcome {
                case .replayed: ("replayed", nil)
                case .wouldBeReplayed: ("would_be_replayed", nil)
                case .notReplayable(let why): ("not_replayable", why)
                }
            try printJSON(
                Line(
                    partition: letter.place.partition, offset: letter.place.offset,
                    reason: letter.reason, origin: Origin(letter), outcome: name, why: why))
        }
        say("\(counts.replayed) \(dryRun ? "would be" : "were") replayed\(rest(counts))")
        if counts.notReplayable > 0 { throw ExitCode(2) }
    }

    private func rest(_ counts: DeadLetterReplay.Counts) -> String {
        var text = ""
        if counts.replayedBefore > 0 {
            text += "; \(counts.replayedBefore) were before (--again replays them too)"
        }
        if counts.notReplayable > 0 { text += "; \(counts.notReplayable) cannot be" }
        if counts.isLimited { text += "; there are more than --limit" }
        return text
    }

    private func replay(
        _ selection: DeadLetterSelection, _ configuration: ServeConfiguration, isDry: Bool,
        report: (StoredDeadLetter, DeadLetterReplay.Outcome) throws -> Void
    ) throws -> DeadLetterReplay.Counts {
        let progress = Progress()
        defer { progress.clear() }
        return try DeadLetterReplay(configuration, say: say).run(
            selection, maximumLetters: limit, again: again, isDry: isDry, progress: progress.dead
        ) { letter, outcome in
            progress.clear()
            try report(letter, outcome)
        }
    }

    private func confirm(
        _ selection: DeadLetterSelection, _ configuration: ServeConfiguration
    ) throws {
        guard !yes else { return }
        guard canAsk else {
            throw CommandError("nobody to ask: say --yes to replay, or --dry-run to look")
        }
        let counts = try replay(selection, configuration, isDry: true) { _, _ in }
        guard counts.replayed > 0 else { return }
        say("Replay \(counts.replayed) dead letters\(rest(counts))? Type yes:")
        guard readLine() == "yes" else { throw CommandError("nothing was done") }
    }
}

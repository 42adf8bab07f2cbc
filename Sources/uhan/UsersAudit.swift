import ArgumentParser
import Daemon
import Model

struct UsersAudit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Recompute all that was learnt, and compare it bit for bit.",
        discussion: """
            Reads the lessons from their beginning, one after the other, encodes the labelled posts \
            anew from the posts topic, makes every update again, and compares each user with the \
            record on the users topic. Prints {"partitions":4,"users":333,"equal":333,\
            "different":[],"lessons":...,"updates":...,"missing_posts":0}; of users that differ, the \
            first 20 with what differs. The exit code is 1 where one does.

            May run while the daemon runs: each partition is compared as of one committed offset, \
            for which it must come to rest for a moment. Takes about as long as scoring the labelled \
            posts and making the updates; in a temporary folder (TMPDIR), the encodings of at most \
            the last 32 posts of each user of one partition, and of posts whose labels come later.

            Users do differ, and nothing is wrong, where the daemon was told what the topics do not \
            tell: learning was frozen for a while; an encoding had to make room \
            (learning.encodings_bytes) or stayed behind where a partition moved (topics.encodings is \
            not set); delivery is at_least_once; a post came twice with other content; a picture by \
            URL is not what it was; posts or labels were on their way while their user was \
            forgotten; or the daemon ran on another kind of processor, or was an earlier uhan with \
            another rule for updates. The posts and lessons topics must hold \
            everything from offset 0; where they do not, the audit says so and ends.
            """)

    @OptionGroup var daemon: DaemonSettings

    func run() async throws {
        let (configuration, bundle) = try daemon.load()
        let interruption = Interruption()
        let progress = Progress()
        let partitions = try UserRecords(configuration, say: say).partitionCount()
        let audit = LearningAudit(
            configuration, bundle: bundle, isCancelled: { interruption.hasCome },
            show: { progress.show($0) }, say: say)
        do {
            let report = try await audit.run(partitions: partitions)
            progress.clear()
            try printJSON(report)
            let count = report.users - report.equal
            say(
                count == 0
                    ? "\(report.users) users are what their records say"
                    : "\(count) of \(report.users) users differ: see --help for what may be why")
            if count > 0 { throw ExitCode.failure }
        } catch is CancellationError {
            progress.clear()
            throw ExitCode(Interruption.exitCode)
        }
    }
}

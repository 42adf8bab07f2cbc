import ArgumentParser
import Model

struct ModelInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a model bundle with seeded weights.",
        discussion: """
            For trying things out where trained weights are not to be had: every part of the \
            network works, the scores mean nothing, and everything that shows them says so. The \
            same seed and sizes give the same bundle on every machine.

            Words and users come from --posts where given; otherwise they are those of the sample \
            posts that 'uhan quickstart' renders.

              uhan model init --seed 1 --output model
              uhan model init --seed 1 --output model --posts posts.jsonl
            """)

    @Option(help: "The seed: a number from 0.")
    var seed: UInt64

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "Take vocabulary and users from this file of posts (JSON lines).")
    var posts: String?

    @Option(help: "A name for the model; its version is the name and a checksum.")
    var name = "seeded"

    @OptionGroup(title: "Sizes")
    var size: SizeOptions

    func run() throws {
        var bundle = SeededBundle(seed: seed)
        bundle.name = name
        size.apply(to: &bundle)
        if let posts { try bundle.takeWordsAndUsers(fromPosts: posts) }

        let progress = Progress()
        let report = try bundle.write(
            to: output, workers: Workers(count: onlineCores()), progress: progress.show)
        progress.clear()
        say("made \(output): \(bundle.words.count) words, \(bundle.users.count) users")
        if let report {
            say(
                "backbone: pictures differ (mean cosine of pooled features "
                    + "\(rounded(report.meanCosine, 3))), \(rounded(report.activeChannels * 100, 0)) % "
                    + "of channels active")
        }
        say("its weights are untrained: its scores mean nothing")
    }
}

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

    @OptionGroup
    var new: NewBundleOptions

    func run() throws {
        let bundle = try new.bundle(named: "seeded")
        let progress = Progress()
        let report = try bundle.write(
            to: new.output, workers: Workers(count: onlineCores()), progress: progress.show)
        progress.clear()
        say("made \(new.output): \(bundle.words.count) words, \(bundle.users.count) users")
        if let report {
            say(
                "backbone: pictures differ (mean cosine of pooled features "
                    + "\(rounded(report.meanCosine, 3))), \(rounded(report.activeChannels * 100, 0)) % "
                    + "of channels active")
        }
        say("its weights are untrained: its scores mean nothing")
    }
}

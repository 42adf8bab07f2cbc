import ArgumentParser
import Daemon
import Logging

struct QuickstartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quickstart",
        abstract: "Watch real scoring, with nothing set up.",
        discussion: """
            Starts a Kafka broker inside this process (real sockets; nothing is kept), the daemon \
            against it, publishes sample posts with real JPEG bytes and shows each score: the words \
            shaded by attention, a heat map of the picture's 14 x 14 regions, the time of each \
            stage, the lag. Ends on Ctrl-C, or after --posts N.

            Without --model the weights are seeded and untrained: everything works, the scores mean \
            nothing.

              uhan quickstart
              uhan quickstart --posts 5
              uhan quickstart --from photos     (a folder with posts.jsonl and images)
            """)

    @Option(help: "End after so many posts.")
    var posts: Int?

    @Option(help: "A folder with posts.jsonl and images. (default: posts the program draws)")
    var from: String?

    @Option(help: "A model bundle. (default: seeded weights, made once and cached)")
    var model: String?

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    func validate() throws {
        if let posts, posts < 1 { throw ValidationError("--posts must be at least 1") }
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    func run() async throws {
        bootstrapLogging(.init(level: .warning, format: .text))
        try await Quickstart(
            options: .init(
                posts: posts, folder: from, model: model.map(openModel), threads: threads),
            say: say
        ).run()
    }
}

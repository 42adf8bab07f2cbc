import ArgumentParser
import Daemon
import Logging

struct QuickstartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quickstart",
        abstract: "Watch real scoring, with nothing set up.",
        discussion: """
            Starts a Kafka broker inside this process (real sockets; nothing is kept), the daemon \
            against it, publishes posts with real JPEG bytes and shows each score: the words shaded \
            by attention, a heat map of the picture's regions, the time of each stage, the lag. \
            Ends on Ctrl-C, or after --posts N.

            The posts are those of the synthetic gallery (uhan gallery --seed 1) from number 20000 \
            on, by users that the model knows; on a terminal one a second. What makes them popular \
            is known, so the truth stands under each score: the score without noise, the views that \
            came, the words and the thing that count; on wide terminals the picture stands beside \
            the heat map. The mean squared error so far stands beside the irreducible one, that of \
            the law itself.

            Scripts/quickstart-model is trained on the first 20000 posts. Without --model the \
            weights are seeded and untrained: everything works, the scores mean nothing.

              uhan quickstart --model Scripts/quickstart-model
              uhan quickstart --model Scripts/quickstart-model --posts 5
              uhan quickstart --from photos     (a folder with posts.jsonl and images)
            """)

    @Option(help: "End after so many posts.")
    var posts: Int?

    @Option(help: "A folder with posts.jsonl and images. (default: the gallery's)")
    var from: String?

    @Option(help: "A model bundle. (default: seeded weights)")
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

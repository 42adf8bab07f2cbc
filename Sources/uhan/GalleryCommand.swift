import ArgumentParser
import Gallery
import Model

struct GalleryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gallery",
        abstract: "Make a gallery of posts whose law of popularity is known.",
        subcommands: [GalleryMake.self, GalleryProbe.self],
        defaultSubcommand: GalleryMake.self)
}

struct GalleryMake: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make",
        abstract: "Make a gallery (the default).",
        discussion: """
            Posts with pictures, texts, users, times and views, all of them made up: pictures with \
            things at known places, texts with words that matter among words that do not, users \
            with tastes, and views drawn from a known law with noise. What is planted stands in \
            truth.jsonl, so one can check what a model finds, and how far from the best possible \
            it is.

            The same seed and counts give the same bytes on every machine; the checksum of all of \
            them is in gallery.json, which is written last. A run that was stopped is begun anew \
            by the same command.

              uhan gallery --seed 1 --posts 10000 --output gallery
            """)

    @Option(help: "What everything is made from: a number from 0.")
    var seed: UInt64 = 1

    @Option(help: "How many posts, 100 to 100000.")
    var posts = 10_000

    @Option(help: "How many users; by default one for 60 posts, at least 20.")
    var users: Int?

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "Threads; by default one for each core.")
    var threads: Int?

    func validate() throws {
        guard Gallery.posts.contains(posts) else {
            throw ValidationError("--posts must be in \(Gallery.posts)")
        }
        guard users.map(Gallery.userCounts.contains) ?? true else {
            throw ValidationError("--users must be in \(Gallery.userCounts)")
        }
        guard (1...256).contains(threads ?? 1) else {
            throw ValidationError("--threads must be in 1...256")
        }
    }

    func run() throws {
        let gallery = Gallery(
            seed: seed, users: users ?? Gallery.usualUsers(posts: posts), posts: posts)
        let progress = Progress()
        let report = try GalleryFolder(path: output).write(
            gallery, workers: Workers(count: threads ?? onlineCores())
        ) { done in
            progress.show("\(done) of \(posts) posts")
        }
        progress.clear()
        say("made \(output): \(report.posts) posts of \(report.counts.users_with_posts) users")
        try printJSON(report)
    }
}

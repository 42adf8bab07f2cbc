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

            For learning in the stream: from --taste-change-day on, the share --taste-change-share \
            of the users have the tastes and the audience of another user; and from \
            --new-users-from on, --new-users users who were not there before write half of the \
            posts. Days count from the first post's, which is 0; a day has 96 posts.

              uhan gallery --seed 1 --posts 10000 --output gallery
              uhan gallery --seed 1 --posts 20000 --taste-change-day 160 --output gallery
            """)

    @Option(help: "What everything is made from: a number from 0.")
    var seed: UInt64 = 1

    @Option(help: "How many posts, 100 to 100000.")
    var posts = 10_000

    @Option(help: "How many users; by default one for 60 posts, at least 20.")
    var users: Int?

    @Option(help: "The day on which tastes change. (default: they do not)")
    var tasteChangeDay: Int?

    @Option(
        help: "The share of the users whose tastes change, above 0 and at most 1. (default: 0.25)")
    var tasteChangeShare: Double?

    @Option(help: "How many users come on one day, 1 to 1000. (default: none)")
    var newUsers: Int?

    @Option(help: "The day on which they come.")
    var newUsersFrom: Int?

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
        let days = Gallery.days(posts: posts)
        guard tasteChangeDay.map(days.contains) ?? true else {
            throw ValidationError("--taste-change-day must be in \(days): the gallery has no other")
        }
        guard tasteChangeShare.map({ $0 > 0 && $0 <= 1 }) ?? true else {
            throw ValidationError("--taste-change-share must be above 0 and at most 1")
        }
        guard tasteChangeShare == nil || tasteChangeDay != nil else {
            throw ValidationError("--taste-change-share needs --taste-change-day")
        }
        guard (newUsers == nil) == (newUsersFrom == nil) else {
            throw ValidationError("--new-users and --new-users-from go together")
        }
        guard newUsers.map(Gallery.newUserCounts.contains) ?? true else {
            throw ValidationError("--new-users must be in \(Gallery.newUserCounts)")
        }
        guard newUsersFrom.map(days.contains) ?? true else {
            throw ValidationError("--new-users-from must be in \(days): the gallery has no other")
        }
        guard (1...256).contains(threads ?? 1) else {
            throw ValidationError("--threads must be in 1...256")
        }
    }

    func run() throws {
        let gallery = Gallery(
            seed: seed, users: users ?? Gallery.usualUsers(posts: posts), posts: posts,
            tasteChange: tasteChangeDay.map { .init(day: $0, share: tasteChangeShare ?? 0.25) },
            newUsers: newUsers.flatMap { count in
                newUsersFrom.map { .init(count: count, day: $0) }
            })
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

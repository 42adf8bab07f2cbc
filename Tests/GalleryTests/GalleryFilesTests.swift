import Foundation
import Gallery
import Model
import Testing

@Suite struct GalleryFilesTests {
    @Test func theSameSeedGivesTheSameBytesWithAnyNumberOfThreads() throws {
        let gallery = Gallery(seed: 1, posts: 100)
        let (one, three, other) = (try Folder(), try Folder(), try Folder())

        let first = try write(gallery, to: one, threads: 1)
        let second = try write(gallery, to: three, threads: 3)
        let third = try write(Gallery(seed: 2, posts: 100), to: other)

        #expect(first == second)
        #expect(first.sha256 != third.sha256)
        for name in ["posts.jsonl", "truth.jsonl", "users.jsonl", "views.jsonl", "gallery.json"] {
            #expect(try one.bytes(name) == three.bytes(name))
        }
    }

    /// A change here means that the same seed now gives another gallery: then the format version
    /// goes up, and every figure measured on a gallery has to be measured again.
    @Test func aGalleryOfAHundredPostsIsTheOneItAlwaysWas() throws {
        let report = try write(Gallery(seed: 1, posts: 100), to: try Folder())

        #expect(report.format_version == 1)
        #expect(report.sha256 == "8127e40fe473318178e7678ec7d9a906c4bbafc9e4e92210875db8273cf9fb2b")
    }

    @Test func theChecksumIsThatOfTheFilesAsTheyLie() throws {
        let folder = try Folder()
        let report = try write(Gallery(seed: 3, posts: 100), to: folder)

        let posts = try folder.records("posts.jsonl", as: GalleryRecord.Post.self)
        let names = ["posts.jsonl", "truth.jsonl", "users.jsonl", "views.jsonl"]
        let lines = try (names + posts.compactMap(\.image)).map {
            "\(sha256Hex(try folder.bytes($0)))  \($0)\n"
        }

        #expect(report.sha256 == sha256Hex(Array(lines.joined().utf8)))
        #expect(try folder.report() == report)
        #expect(report.counts.images == posts.count { $0.image != nil })
    }

    @Test func postsAreMadeFromTheirIndexAlone() throws {
        let folder = try Folder()
        let gallery = Gallery(seed: 4, posts: 100)
        _ = try write(gallery, to: folder)

        let truth = try folder.records("truth.jsonl", as: GalleryRecord.Truth.self)
        for index in [99, 7, 0, 63, 64] {
            let post = Gallery(seed: 4, posts: 100).post(index)
            #expect(post.pid == truth[index].pid)
            #expect(post.score == truth[index].score)
            if let path = post.imagePath {
                #expect(try post.jpeg() == folder.bytes(path))
            }
        }
        // And on without end.
        #expect(gallery.post(1_000_000).postedAt > gallery.post(999_999).postedAt)
    }

    @Test func onlyAFolderThatIsEmptyOrItsOwnIsWrittenTo() throws {
        let gallery = Gallery(seed: 1, posts: 100)
        let foreign = try Folder()
        try writeFile([1], to: "\(foreign.path)/thesis.txt")
        #expect(throws: GalleryError.self) { try write(gallery, to: foreign) }

        // A run that was stopped is begun anew by the same command, and by no other.
        let stopped = try Folder()
        let report = try write(gallery, to: stopped)
        #expect(throws: GalleryError.self) { try write(gallery, to: stopped) }
        try FileManager.default.removeItem(atPath: "\(stopped.path)/gallery.json")
        try writeFile(
            Array(
                #"{"format":"uhan-gallery","format_version":1,"posts":100,"seed":1,"users":20}"#
                    .utf8), to: "\(stopped.path)/unfinished.json")
        #expect(throws: GalleryError.self) {
            try write(Gallery(seed: 2, posts: 100), to: stopped)
        }
        #expect(try write(gallery, to: stopped) == report)
        #expect(!FileManager.default.fileExists(atPath: "\(stopped.path)/unfinished.json"))
    }

    @Test func viewsComeInLateAndOutOfOrderButNeverFall() throws {
        let folder = try Folder()
        _ = try write(Gallery(seed: 5, posts: 100), to: folder)
        let posts = try folder.records("posts.jsonl", as: GalleryRecord.Post.self)
        let views = try folder.records("views.jsonl", as: GalleryRecord.View.self)

        let times = views.compactMap { Int($0.observed_at) }
        #expect(views.count == 400 && times.count == 400)
        let backwards = zip(times, times.dropFirst()).count { $0 > $1 }
        #expect((1...80).contains(backwards))

        let byPost = Dictionary(grouping: views, by: \.pid)
        for post in posts {
            let counts = try #require(byPost[post.pid]).sorted { $0.observed_at < $1.observed_at }
            let numbers = counts.compactMap { Int($0.views) }
            #expect(numbers == numbers.sorted())
            #expect(counts.last?.views == post.views)
            #expect(counts.last?.observed_at == post.observed_at)
            #expect(counts.allSatisfy { $0.uid == post.uid && $0.observed_at > post.postdate })
        }
    }
}

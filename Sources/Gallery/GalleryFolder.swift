import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Writes a gallery to a folder: posts.jsonl, truth.jsonl, users.jsonl, views.jsonl, images/, and
/// at last gallery.json.
///
/// A run that was stopped leaves `unfinished.json`, which says what it was making. The same run
/// started again begins anew in that folder; any other is refused.
package struct GalleryFolder {
    private let path: String

    /// What a stopped run was making.
    private struct Unfinished: Codable, Equatable {
        var format = GalleryReport.format
        var format_version = GalleryReport.formatVersion
        let seed: UInt64
        let posts: Int
        let users: Int
        let taste_change: Gallery.TasteChange?
        let new_users: Gallery.NewUsers?
    }

    /// What a post comes to, made by any thread.
    private struct Made {
        let post: GalleryPost
        let imageSHA256: String?
        let postLine: [UInt8]
        let truthLine: [UInt8]
    }

    /// Posts in memory at a time, with their pictures.
    private static let postsAtATime = 64

    package init(path: String) {
        self.path = path
    }

    /// - Parameter progress: called now and then with the number of posts done.
    package func write(
        _ gallery: Gallery, workers: Workers, progress: (Int) -> Void
    ) throws -> GalleryReport {
        try claim(gallery)
        var (tally, newUsers) = (GalleryTally(), NewUsersTally(gallery))
        var imageSums: [(path: String, sha256: String)] = []
        var views: [(arrivesAt: Int, pid: String, line: GalleryRecord.View)] = []
        do {
            let posts = try LineFile(path: "\(path)/posts.jsonl")
            let truth = try LineFile(path: "\(path)/truth.jsonl")
            var next = 0
            while next < gallery.postCount {
                let range = next..<min(gallery.postCount, next + Self.postsAtATime)
                for made in try make(range, of: gallery, workers: workers) {
                    try posts.write(made.postLine)
                    try truth.write(made.truthLine)
                    if let image = made.post.imagePath, let sha256 = made.imageSHA256 {
                        imageSums.append((image, sha256))
                    }
                    for observation in made.post.observations {
                        views.append(
                            (observation.arrivesAt, made.post.pid, made.post.view(observation)))
                    }
                    tally.add(made.post)
                    newUsers.add(made.post)
                }
                next = range.upperBound
                progress(next)
            }
            try posts.close()
            try truth.close()
        }
        let users = try LineFile(path: "\(path)/users.jsonl")
        for user in gallery.users { try users.write(Self.line(user)) }
        try users.close()
        views.sort { ($0.arrivesAt, $0.pid) < ($1.arrivesAt, $1.pid) }
        let viewsFile = try LineFile(path: "\(path)/views.jsonl")
        for view in views { try viewsFile.write(Self.line(view.line)) }
        try viewsFile.close()

        var files: [String: String] = [:]
        var sums = ""
        for name in ["posts.jsonl", "truth.jsonl", "users.jsonl", "views.jsonl"] {
            let sha256 = try MappedFile(path: "\(path)/\(name)").sha256()
            files[name] = sha256
            sums += "\(sha256)  \(name)\n"
        }
        for (path, sha256) in imageSums { sums += "\(sha256)  \(path)\n" }

        let report = GalleryReport(
            seed: gallery.seed, posts: gallery.postCount, users: gallery.regularUserCount,
            taste_change: gallery.tasteChange, new_users: gallery.newUsers,
            sha256: sha256Hex(Array(sums.utf8)), files: files, counts: tally.counts,
            mean: tally.mean, variance: tally.variance, shares: tally.shares,
            oracle: tally.oracle, global_mean: tally.globalMean, new_users_oracle: newUsers.figures,
            law: gallery.law)
        let encoder = Self.encoder
        encoder.outputFormatting.insert(.prettyPrinted)
        try writeFile(
            Array(try encoder.encode(report)) + [UInt8(ascii: "\n")], to: "\(path)/gallery.json")
        unlink(unfinishedPath)
        return report
    }

    /// Makes posts, in their order, and writes their pictures.
    private func make(
        _ range: Range<Int>, of gallery: Gallery, workers: Workers
    ) throws -> [Made] {
        for thousand in range.lowerBound / 1000...(range.upperBound - 1) / 1000 {
            try Self.makeFolder("\(path)/images/\(padded(thousand, digits: 4))")
        }
        let slots = UnsafeMutablePointer<Result<Made, any Error>?>.allocate(capacity: range.count)
        slots.initialize(repeating: nil, count: range.count)
        defer {
            slots.deinitialize(count: range.count)
            slots.deallocate()
        }
        workers.run(tasks: range.count) { [path] task, _ in
            slots[task] = Result {
                let post = gallery.post(range.lowerBound + task)
                var sha256: String?
                if let image = post.imagePath, let jpeg = try post.jpeg() {
                    try writeFile(jpeg, to: "\(path)/\(image)")
                    sha256 = sha256Hex(jpeg)
                }
                return Made(
                    post: post, imageSHA256: sha256, postLine: try Self.line(post.record),
                    truthLine: try Self.line(post.truth))
            }
        }
        return try (0..<range.count).compactMap { try slots[$0]?.get() }
    }

    // MARK: The folder

    private var unfinishedPath: String { "\(path)/unfinished.json" }

    /// Makes the folder, or takes one that is empty or that a stopped run of the same gallery
    /// left.
    private func claim(_ gallery: Gallery) throws {
        let unfinished = Unfinished(
            seed: gallery.seed, posts: gallery.postCount, users: gallery.regularUserCount,
            taste_change: gallery.tasteChange, new_users: gallery.newUsers)
        try Self.makeFolder(path)
        let names = try FileManager.default.contentsOfDirectory(atPath: path)
        if names.contains("gallery.json") {
            throw GalleryError(
                "\(path) already holds a finished gallery; choose another folder, or remove it")
        }
        if names.contains("unfinished.json") {
            let bytes = try MappedFile(path: unfinishedPath).contents()
            let earlier = try? JSONDecoder().decode(Unfinished.self, from: Data(bytes))
            guard earlier == unfinished else {
                throw GalleryError(
                    "\(path) holds part of another gallery (see \(unfinishedPath)); finish it "
                        + "with the options that it was begun with, or choose another folder")
            }
        } else if !names.isEmpty {
            throw GalleryError("\(path) is not empty; choose a folder that is, or a new one")
        }
        try writeFile(Self.line(unfinished), to: unfinishedPath)
    }

    private static func makeFolder(_ path: String) throws {
        do {
            try Model.makeFolder(path)
        } catch {
            throw GalleryError("\(error)")
        }
    }

    // MARK: Lines

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    private static func line(_ record: some Encodable) throws -> [UInt8] {
        Array(try encoder.encode(record)) + [UInt8(ascii: "\n")]
    }
}

/// A file that is written from its beginning to its end.
private final class LineFile {
    private let path: String
    private var file: UnsafeMutablePointer<FILE>?

    init(path: String) throws {
        self.path = path
        file = fopen(path, "we")
        if file == nil { throw failure() }
    }

    deinit {
        if let file { fclose(file) }
    }

    func write(_ bytes: [UInt8]) throws {
        guard let file, fwrite(bytes, 1, bytes.count, file) == bytes.count else {
            throw failure()
        }
    }

    func close() throws {
        guard let file else { return }
        self.file = nil
        guard fclose(file) == 0 else { throw failure() }
    }

    private func failure() -> GalleryError {
        GalleryError("cannot write \(path): \(String(cString: strerror(errno)))")
    }
}

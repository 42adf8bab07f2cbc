import Gallery
import Model
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Where quickstart's posts come from.
enum PostSource: Sendable {
    /// Posts that the project makes up, each picture sent inline; they never end.
    case gallery(GalleryPosts)
    /// A folder of real ones, each sent by reference.
    case folder(FolderPosts)

    /// A post to publish: the record's key and value.
    struct Outgoing {
        let key: [UInt8]
        let value: [UInt8]
    }

    /// Post number `index`, asked for in order from 0; nil where there are no more.
    mutating func post(_ index: Int, limit: Int?) throws -> Outgoing? {
        if let limit, index >= limit { return nil }
        switch self {
        case .gallery(var gallery):
            let post = gallery.next()
            self = .gallery(gallery)
            return try Outgoing(
                PostJSON(
                    uid: post.uid, pid: post.pid, title: post.title, alltags: post.tags,
                    image_base64: try post.jpeg().map { Data($0).base64EncodedString() }))
        case .folder(let folder):
            guard limit != nil || index < folder.posts.count else { return nil }
            let post = folder.posts[index % folder.posts.count]
            return try Outgoing(
                PostJSON(
                    uid: post.uid, pid: post.pid, title: post.title, alltags: post.tags,
                    description: post.description.isEmpty ? nil : post.description,
                    image_url: folder.imageURL(of: post),
                    image_base64: folder.inlineImage(of: post)))
        }
    }

    var isEndless: Bool {
        switch self {
        case .gallery: true
        case .folder: false
        }
    }

    /// Shows the gallery's posts of these users alone, where it has any.
    mutating func show(users: [String]) {
        guard case .gallery(var gallery) = self else { return }
        gallery.show(users: users)
        self = .gallery(gallery)
    }

    /// What is true of a post, where that is known.
    func truth(of pid: String) -> GalleryPost? {
        guard case .gallery(let gallery) = self else { return nil }
        return gallery.post(id: pid)
    }

    /// Every word of theirs, for a model that is made for them.
    var words: [String] {
        switch self {
        case .gallery(let gallery): gallery.words
        case .folder(let folder): folder.words
        }
    }

    var users: [String] {
        switch self {
        case .gallery(let gallery): gallery.users
        case .folder(let folder): folder.users
        }
    }
}

/// The fields of a post event that quickstart and trials fill in.
struct PostJSON: Encodable {
    var uid: String
    var pid: String
    var title: String
    var alltags: String
    var description: String?
    var image_url: String?
    var image_base64: String?
    /// Seconds since 1970.
    var score_by: Double?
}

extension PostSource.Outgoing {
    init(_ post: PostJSON) throws {
        key = Array(post.uid.utf8)
        value = Array(try JSONEncoder().encode(post))
    }
}

/// A folder with `posts.jsonl` and images.
struct FolderPosts: Sendable {
    enum Failure: Error, CustomStringConvertible {
        case line(path: String, number: Int, EventError)
        case empty(path: String)

        var description: String {
            switch self {
            case .line(let path, let number, let error): "\(path), line \(number): \(error)"
            case .empty(let path): "\(path) holds no posts"
            }
        }
    }

    let folder: String
    let posts: [PostEvent]

    init(folder: String) throws {
        let file = try MappedFile(path: "\(folder)/posts.jsonl")
        let path = try file.absolutePath()
        self.folder = String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
        var posts: [PostEvent] = []
        let lines = file.contents().split(
            separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.allSatisfy(" \t\r".utf8.contains) {
            do throws(EventError) {
                posts.append(try PostEvent(parsing: Array(line), from: .file))
            } catch {
                throw Failure.line(path: path, number: index + 1, error)
            }
        }
        guard !posts.isEmpty else { throw Failure.empty(path: path) }
        self.posts = posts
    }

    var words: [String] {
        let words = posts.flatMap { Tokenizer.words("\($0.title) \($0.tags) \($0.description)") }
        return Set(words.map(CodePoints.init)).map(\.string).sorted()
    }

    var users: [String] {
        Set(posts.map { CodePoints($0.uid) }).map(\.string).sorted()
    }

    func imageURL(of post: PostEvent) -> String? {
        switch post.image {
        case .relativePath(let path): URL(filePath: "\(folder)/\(path)").absoluteString
        case .url(let url): url
        case .inline, nil: nil
        }
    }

    func inlineImage(of post: PostEvent) -> String? {
        guard case .inline(let bytes) = post.image else { return nil }
        return Data(bytes).base64EncodedString()
    }
}

import Model
import Pipeline

/// A line of a file of posts, read, with its image decoded; or why that cannot be.
struct ReadPost: Sendable {
    let line: Int
    var pid: String?
    var uid: String?
    var content: Result<Content, Failure>

    struct Content: Sendable {
        let post: PostEvent
        let image: PostImage?
        /// The image as it was found.
        let imageBytes: [UInt8]?
    }
    struct Failure: Error, Encodable {
        let reason: String
        let text: String

        init(_ reason: DeadLetterReason, _ text: String) {
            self.reason = reason.rawValue
            self.text = text
        }
    }

    /// While one post is scored, those after it are read and their images decoded.
    static let maximumAhead = 3

    /// - Parameters:
    ///   - images: of the scorer.
    ///   - folder: in which the posts' images lie.
    init(_ line: LineReader.Line, _ images: PostImageReader, in folder: String) {
        self.line = line.number
        content = .failure(Failure(.malformedEvent, ""))
        do {
            let post = try PostEvent(parsing: line.bytes, from: .file)
            pid = post.pid
            uid = post.uid
            let picture = try Self.picture(of: post, images, in: folder)
            content = .success(
                Content(post: post, image: picture?.image, imageBytes: picture?.bytes))
        } catch let error as EventError {
            content = .failure(Failure(error.reason, "\(error)"))
        } catch let error as ImageError {
            content = .failure(Failure(.imageUndecodable, "\(error)"))
        } catch {
            content = .failure(Failure(.imageUnavailable, "\(error)"))
        }
    }

    /// A post's image and its bytes; nil where it has none.
    ///
    /// - Throws: `EventError`, `ImageError` or, where it cannot be read, `ModelError`.
    static func picture(
        of post: PostEvent, _ images: PostImageReader, in folder: String
    ) throws -> (image: PostImage, bytes: [UInt8])? {
        guard let bytes = try post.image.map({ try Self.contents(of: $0, in: folder) }) else {
            return nil
        }
        let found = sha256Hex(bytes)
        if let expected = post.imageSHA256.map({ hexadecimal($0) }), found != expected {
            throw EventError(
                .imageChecksumMismatch, field: "image_sha256", found: expected,
                expected: "\(found), which the image's bytes have")
        }
        return (try images.image(of: bytes, sha256: found), bytes)
    }

    private static func contents(
        of image: PostEvent.ImageReference, in folder: String
    ) throws -> [UInt8] {
        switch image {
        case .inline(let bytes): return bytes
        case .relativePath(let path):
            return try MappedFile(path: "\(folder)/\(path)")
                .contents(maximumBytes: ImageLimits().maximumBytes + 1)
        case .url(let url):
            throw EventError(
                .imageRefused, field: "image_url", found: "'\(url)', which is not fetched here",
                expected: "\"image\", a path below --images")
        }
    }
}

/// Where a file of posts has its images, unless said otherwise.
func parentFolder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

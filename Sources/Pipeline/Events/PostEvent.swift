/// The bounds of one event. What lies beyond is a dead letter, not a surprise in memory.
package struct EventLimits: Equatable, Sendable {
    /// Of ids, in this program's own records too.
    package static let identifierBytes = 256

    package var maximumEventBytes = 2 << 20
    /// Of a view event, or a lesson.
    package var maximumViewBytes = 16 << 10
    package var maximumIdentifierBytes = Self.identifierBytes
    package var maximumTitleBytes = 8 << 10
    package var maximumTagsBytes = 32 << 10
    package var maximumDescriptionBytes = 64 << 10
    package var maximumURLBytes = 4 << 10

    package init() {}
}

/// A new post, as it comes on the posts topic or as a line of `posts.jsonl`.
///
/// The fields are the SMP challenge's; numbers may be written as strings and strings as numbers,
/// `null` and the empty string are the same as a field left out, unknown fields are harmless.
/// `schemas/post.v1.json` is the same in JSON Schema.
package struct PostEvent: Equatable, Sendable {
    package enum Source: Sendable {
        /// A record's value. An `image` path means nothing there and is refused.
        case topic
        /// A line of a `posts.jsonl`, whose `image` is a path relative to the folder of images.
        case file
    }

    package enum ImageReference: Equatable, Sendable {
        /// `image_url`: http, https or file; whether it may be fetched is for the fetcher to say.
        case url(String)
        /// `image_base64`, decoded.
        case inline([UInt8])
        /// `image`: relative, without `..`; only from `Source.file`.
        case relativePath(String)
    }

    package var pid: String
    package var uid: String
    package var title: String
    package var tags: String
    package var description: String
    /// Seconds since 1970.
    package var postedAt: Double?
    package var image: ImageReference?
    /// The 32 bytes that the image's bytes must hash to.
    package var imageSHA256: [UInt8]?
    /// Seconds since 1970, maybe fractional: after this nobody wants the score.
    package var scoreBy: Double?

    /// Of its last answer, where that replaces the ones before: `["uid","pid"]`.
    var key: [UInt8] {
        var writer = JSONWriter()
        writer.array { array in
            array.string(uid)
            array.string(pid)
        }
        return writer.bytes
    }

    package init(
        pid: String, uid: String, title: String = "", tags: String = "", description: String = "",
        postedAt: Double? = nil, image: ImageReference? = nil, imageSHA256: [UInt8]? = nil,
        scoreBy: Double? = nil
    ) {
        self.pid = pid
        self.uid = uid
        self.title = title
        self.tags = tags
        self.description = description
        self.postedAt = postedAt
        self.image = image
        self.imageSHA256 = imageSHA256
        self.scoreBy = scoreBy
    }

    /// What the event holds in memory, about.
    var byteCount: Int {
        var count = pid.utf8.count + uid.utf8.count + title.utf8.count + tags.utf8.count
        count += description.utf8.count
        switch image {
        case .url(let text), .relativePath(let text): count += text.utf8.count
        case .inline(let bytes): count += bytes.count
        case nil: break
        }
        return count
    }

    package init(
        parsing value: [UInt8], from source: Source, limits: EventLimits = EventLimits()
    ) throws(EventError) {
        let fields = try EventFields(
            value, maximumBytes: limits.maximumEventBytes,
            ifTooLarge: "send large images by image_url")
        pid = try fields.identifier("pid", limits)
        uid = try fields.identifier("uid", limits)
        title = try fields.text("title", maximumBytes: limits.maximumTitleBytes) ?? ""
        tags = try fields.text("alltags", maximumBytes: limits.maximumTagsBytes) ?? ""
        description =
            try fields.text("description", maximumBytes: limits.maximumDescriptionBytes) ?? ""
        postedAt = try fields.seconds("postdate")
        scoreBy = try fields.seconds("score_by")
        image = try fields.image(from: source, limits)
        imageSHA256 = try fields.sha256("image_sha256")
    }
}

extension EventFields {
    fileprivate func image(
        from source: PostEvent.Source, _ limits: EventLimits
    ) throws(EventError) -> PostEvent.ImageReference? {
        let names = ["image_url", "image_base64", "image"].filter(has)
        guard let field = names.first else { return nil }
        guard names.count == 1 else {
            throw EventError(
                field: field, found: "\(names[1]) as well", expected: "one image per post")
        }
        switch field {
        case "image_url": return .url(try url(field, limits))
        case "image_base64": return .inline(try base64(field, limits))
        default: return .relativePath(try relativePath(field, from: source, limits))
        }
    }

    private func url(_ field: String, _ limits: EventLimits) throws(EventError) -> String {
        let url = try text(field, maximumBytes: limits.maximumURLBytes) ?? ""
        let scheme = url.prefix { $0 != ":" }.lowercased()
        let hasPlace = url.dropFirst(scheme.count).hasPrefix("://")
        let isPrintable = url.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }
        guard ["http", "https", "file"].contains(scheme), hasPlace, isPrintable else {
            throw EventError(
                field: field, found: "\"\(url.clipped)\"",
                expected: "http://, https:// or file:// and no blanks")
        }
        return url
    }

    private func base64(_ field: String, _ limits: EventLimits) throws(EventError) -> [UInt8] {
        let text = try text(field, maximumBytes: limits.maximumEventBytes) ?? ""
        do throws(JSONError) {
            return try Base64.decode(text)
        } catch {
            throw EventError(field: field, found: error.found, expected: error.expected)
        }
    }

    private func relativePath(
        _ field: String, from source: PostEvent.Source, _ limits: EventLimits
    ) throws(EventError) -> String {
        let path = try text(field, maximumBytes: limits.maximumURLBytes) ?? ""
        guard case .file = source else {
            throw EventError(
                field: field, found: "the path \"\(path.clipped)\"",
                expected: "image_url or image_base64 (a path means nothing on a topic)")
        }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !path.hasPrefix("/"), !parts.contains(".."), !path.utf8.contains(0) else {
            throw EventError(
                field: field, found: "\"\(path.clipped)\"",
                expected: "a path below the folder of images, without ..")
        }
        return path
    }

    fileprivate func sha256(_ field: String) throws(EventError) -> [UInt8]? {
        guard let text = try text(field, maximumBytes: 1_024) else { return nil }
        let digits = text.utf8.compactMap { byte in
            byte < 0x80 ? Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) } : nil
        }
        guard digits.count == 64, text.utf8.count == 64 else {
            throw EventError(
                field: field, found: "\"\(text.clipped)\" (\(text.utf8.count) characters)",
                expected: "64 hexadecimal digits")
        }
        return (0..<32).map { digits[2 * $0] << 4 | digits[2 * $0 + 1] }
    }
}

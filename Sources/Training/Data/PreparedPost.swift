/// A post with its outcome, as `uhan prepare` leaves it and everything that trains or evaluates
/// reads it: one line of a prepared dataset's `posts.jsonl`.
package struct PreparedPost: Sendable, Equatable, Codable {
    package enum Part: String, Sendable, Codable, CaseIterable {
        case train, validation, test
    }

    package var pid: String
    package var uid: String
    package var part: Part
    /// Seconds since 1970.
    package var postedAt: Double
    /// The popularity to be predicted: log2(max(views, 1) / max(days, minimum)) + 1.
    package var target: Float
    package var title: String
    package var tags: String
    package var description: String
    /// A path relative to the dataset's folder of images; nil where the post has none.
    package var image: String?
    /// Of the image file's bytes, 64 lower-case hexadecimal digits: the key of its features.
    package var imageSHA256: String?

    package init(
        pid: String, uid: String, part: Part, postedAt: Double, target: Float, title: String = "",
        tags: String = "", description: String = "", image: String? = nil,
        imageSHA256: String? = nil
    ) {
        self.pid = pid
        self.uid = uid
        self.part = part
        self.postedAt = postedAt
        self.target = target
        self.title = title
        self.tags = tags
        self.description = description
        self.image = image
        self.imageSHA256 = imageSHA256
    }
}

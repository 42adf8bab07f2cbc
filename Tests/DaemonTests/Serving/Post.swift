import Foundation
import Model
import Pipeline

/// A post as a producer writes it.
struct Post: Sendable {
    var pid: String
    var uid: String
    var title = "sunset over the lake"
    var tags = "boat water"
    var fields: [String: String] = [:]
    /// The bytes that the daemon should come to see; nil for a post without image.
    var picture: [UInt8]?
    /// Written in place of the event.
    var raw: [UInt8]?
    /// Written in place of the user as key.
    var key: Key = .user
    var headers: [(name: String, value: [UInt8]?)] = []

    enum Key: Sendable {
        case user
        case bytes([UInt8])
        case none
    }

    init(_ pid: String, by uid: String = "anna") {
        self.pid = pid
        self.uid = uid
    }

    static func inline(_ pid: String, by uid: String = "anna", picture seed: UInt64 = 1) throws
        -> Post
    {
        try Post(pid, by: uid).with(inline: Pictures.jpeg(seed))
    }

    func with(inline bytes: [UInt8]) -> Post {
        var post = with("image_base64", Data(bytes).base64EncodedString())
        post.picture = bytes
        return post
    }

    func with(url: String, picture: [UInt8]? = nil) -> Post {
        var post = with("image_url", url)
        post.picture = picture
        return post
    }

    func with(_ field: String, _ value: String) -> Post {
        var post = self
        post.fields[field] = value
        return post
    }

    func with(text title: String) -> Post {
        var post = self
        post.title = title
        post.tags = ""
        return post
    }

    func with(raw text: String) -> Post {
        var post = self
        post.raw = Array(text.utf8)
        return post
    }

    func with(key: Key) -> Post {
        var post = self
        post.key = key
        return post
    }

    var json: [UInt8] {
        if let raw { return raw }
        var object = fields
        object["pid"] = pid
        object["uid"] = uid
        object["title"] = title
        object["alltags"] = tags
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array((try? encoder.encode(object)) ?? Data())
    }

    var keyBytes: [UInt8]? {
        switch key {
        case .user: Array(uid.utf8)
        case .bytes(let bytes): bytes
        case .none: nil
        }
    }
}

enum Pictures {
    /// Some, drawn once.
    private static let drawn = Result {
        try (0..<8).map { (seed: UInt64) in
            try JPEG.encode(SampleScene(seed: seed).render(width: 96, height: 64), quality: 85)
        }
    }

    static func jpeg(_ seed: UInt64) throws -> [UInt8] {
        let drawn = try drawn.get()
        return drawn[Int(seed % UInt64(drawn.count))]
    }
}

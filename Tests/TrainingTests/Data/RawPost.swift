import Foundation
import Training

/// A line of raw posts, as the SMP challenge has them.
struct RawPost {
    var pid: String
    var uid = "ann"
    /// Since 1970.
    var day = 1.0
    var title = ""
    var tags = ""
    var description = ""
    var views: String? = "10"
    var observedDay: Double? = 1000
    var image: String?

    var line: [UInt8] {
        var fields: [String: String] = [
            "pid": pid, "uid": uid, "postdate": "\(Int(day * 86_400))", "title": title,
            "alltags": tags, "description": description,
        ]
        fields["views"] = views
        fields["observed_at"] = observedDay.map { "\(Int($0 * 86_400))" }
        fields["image"] = image
        return (try? JSONEncoder().encode(fields)).map(Array.init) ?? []
    }

    struct NoSuchImage: Error {}

    /// Prepares the posts; images hash to their path, but for those called "missing".
    static func prepare(
        _ posts: [RawPost], _ settings: PreparationSettings = .none, views: [String] = [],
        split: String? = nil
    ) throws -> Preparation.Result {
        var preparation = try Preparation(settings: settings)
        for (index, post) in posts.enumerated() {
            _ = try preparation.readPost(post.line, number: index + 1)
        }
        for (index, line) in views.enumerated() {
            _ = preparation.readViews(Array(line.utf8), number: index + 1)
        }
        if let split { try preparation.readSplit(path: split) }
        return try preparation.finish { (path) throws(TrainingError) in
            if path.hasPrefix("missing") { throw .file(path: path, reason: "no such file") }
            return "hash of \(path)"
        }
    }
}

extension Preparation.Result {
    /// Post ids in their order.
    func pids(_ part: PreparedPost.Part) -> [String] {
        posts.filter { $0.part == part }.map(\.pid)
    }
}

import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What is planted in the posts of a synthetic gallery: its `truth.jsonl`.
package struct GalleryTruth: Sendable {
    package struct Post: Sendable, Decodable, Equatable {
        package var pid: String
        package var objects: [Object]
        /// An index into `objects`: the one that counts; nil where none does.
        package var subject: Int?
        /// Without noise: what an oracle expects.
        package var expectedScore: Double

        private enum CodingKeys: String, CodingKey {
            case pid, objects, subject
            case expectedScore = "expected_score"
        }
    }

    package struct Object: Sendable, Decodable, Equatable {
        /// x0, y0, x1, y1 as parts of the picture's width and height.
        package var box: [Double]

        package init(box: [Double]) {
            self.box = box
        }
    }

    private let posts: [CodePoints: Post]

    package init(path: String) throws(TrainingError) {
        let file = try asTrainingError { () throws(ModelError) in try MappedFile(path: path) }
        let decoder = JSONDecoder()
        var posts: [CodePoints: Post] = [:]
        var number = 0
        for line in file.contents().split(separator: UInt8(ascii: "\n")) {
            number += 1
            let post: Post
            do {
                post = try decoder.decode(Post.self, from: Data(line))
            } catch {
                throw .line(
                    path: path, line: number, reason: "not a line of a gallery's truth: \(error)")
            }
            let isWhole =
                post.objects.allSatisfy { $0.box.count == 4 }
                && post.subject.map(post.objects.indices.contains) != false
            guard isWhole else {
                throw .line(
                    path: path, line: number,
                    reason: "a box needs 4 numbers, and the subject must be one of the objects")
            }
            guard posts.updateValue(post, forKey: CodePoints(post.pid)) == nil else {
                throw .line(
                    path: path, line: number, reason: "the post \(post.pid) is there twice")
            }
        }
        self.posts = posts
    }

    package subscript(pid: String) -> Post? { posts[CodePoints(pid)] }

    /// What an oracle says to these posts: as a system of an ``Evaluation`` the irreducible error
    /// on the test part.
    package func oracleScores(_ wanted: [PreparedPost]) throws(TrainingError) -> [Float] {
        var scores: [Float] = []
        for post in wanted {
            guard let truth = self[post.pid] else {
                throw .invalid(
                    "the gallery's truth does not know the post \(post.pid): it belongs to "
                        + "another gallery")
            }
            scores.append(Float(truth.expectedScore))
        }
        return scores
    }
}

import Drawing
import Model
import Pipeline

/// From a post to what there is to draw: its score for each user, by the code path of `uhan score`,
/// with attention and how faithful it is.
struct Explainer {
    let scorer: PostScorer

    /// Photos are kept for drawing as squares of this many pixels a side.
    private static let photoSide = 720

    /// - Parameters:
    ///   - uids: users to score the post for; empty for the post's own.
    /// - Throws: where the score is not a number.
    func explanation(
        of content: ReadPost.Content, for uids: [String]
    ) throws(ReadPost.Failure) -> Explanation {
        let seen = scorer.see(content.image)
        let grid = scorer.bundle.configuration.grid
        let uids = uids.isEmpty ? [content.post.uid] : uids
        let readings = try uids.map { (uid) throws(ReadPost.Failure) in
            var post = content.post
            post.uid = uid
            let result = scorer.head.score(post, seen: seen)
            let prediction = result.prediction
            guard prediction.score.isFinite,
                Prediction.viewsPerDay(score: prediction.score).isFinite
            else {
                throw ReadPost.Failure(
                    .scoringFailed, "the score is \(prediction.score): check the model's weights")
            }
            return Explanation.Reading(
                uid: uid, score: prediction.score, flags: result.flags.sorted(),
                words: zip(result.words, prediction.words).map(ScoreAttention.Word.init),
                regions: prediction.regions.isEmpty
                    ? nil
                    : AttentionMap(rows: grid, columns: grid, weights: prediction.regions),
                textWeight: prediction.modalities.text,
                imageWeight: prediction.modalities.image,
                faithfulness: scorer.head.faithfulness(of: post, result))
        }
        let photo = try content.imageBytes.map { (bytes) throws(ReadPost.Failure) in
            try Self.photo(bytes)
        }
        return Explanation(
            pid: content.post.pid, title: content.post.title, tags: content.post.tags,
            model: scorer.bundle.version, photo: photo,
            readings: readings)
    }

    private static func photo(_ bytes: [UInt8]) throws(ReadPost.Failure) -> Photo {
        do throws(ImageError) {
            let square = try JPEG.decodeSquare(bytes, side: photoSide)
            let size = JPEG.uprightSize(of: bytes) ?? (square.width, square.height)
            return Photo(square: square, width: size.width, height: size.height)
        } catch {
            throw ReadPost.Failure(.imageUndecodable, "\(error)")
        }
    }
}

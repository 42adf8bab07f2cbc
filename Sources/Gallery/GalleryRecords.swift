/// The lines of a gallery's files.
package enum GalleryRecord {
    /// A line of `posts.jsonl`: the fields of the SMP challenge, all of them strings, with the
    /// last observation of the views.
    package struct Post: Codable, Sendable {
        package var pid: String
        package var uid: String
        package var title: String
        package var alltags: String
        package var mediatype: String
        package var postdate: String
        /// Relative to the gallery's folder.
        package var image: String?
        package var views: String
        package var observed_at: String
    }

    /// A line of `views.jsonl`, in the order in which they come in.
    package struct View: Codable, Sendable {
        package var pid: String
        package var uid: String
        package var views: String
        package var observed_at: String
    }

    /// A line of `truth.jsonl`: what is planted in a post and what it is worth.
    package struct Truth: Codable, Sendable {
        package var pid: String
        package var uid: String
        package var group: Int
        package var place: String?
        package var light: String?
        package var objects: [Object]
        /// An index into `objects`.
        package var subject: Int?
        package var subject_named: Bool
        package var words: [GalleryPost.PlantedWord]
        package var parts: GalleryPost.Parts
        /// Without noise: what the oracle expects.
        package var expected_score: Double
        package var score: Double
    }

    package struct Object: Codable, Sendable {
        package var kind: GalleryKind
        package var color: GalleryColor
        /// x0, y0, x1, y1 as parts of the picture's width and height.
        package var box: [Double]
        package var appeal: Double
    }
}

extension GalleryPost {
    /// Where the picture lies in the gallery's folder: a thousand to a folder.
    package var imagePath: String? {
        picture.map { _ in "images/\(padded(index / 1000, digits: 4))/\(pid).jpg" }
    }

    var record: GalleryRecord.Post {
        GalleryRecord.Post(
            pid: pid, uid: uid, title: title, alltags: tags, mediatype: "photo",
            postdate: String(postedAt), image: imagePath,
            views: String(lastObservation.views),
            observed_at: String(lastObservation.observedAt))
    }

    var truth: GalleryRecord.Truth {
        GalleryRecord.Truth(
            pid: pid, uid: uid, group: group, place: picture?.place.word,
            light: picture?.light.word,
            objects: zip(picture?.objects ?? [], colorAppeals).map { object, appeal in
                GalleryRecord.Object(
                    kind: object.kind, color: object.color,
                    box: picture?.parts(of: object.box) ?? [],
                    appeal: appeal)
            },
            subject: subject, subject_named: isSubjectNamed, words: words, parts: parts,
            expected_score: expectedScore, score: score)
    }

    func view(_ observation: Observation) -> GalleryRecord.View {
        GalleryRecord.View(
            pid: pid, uid: uid, views: String(observation.views),
            observed_at: String(observation.observedAt))
    }
}

extension GalleryPicture {
    /// x0, y0, x1, y1 as parts of the width and height.
    package func parts(of box: GalleryBox) -> [Double] {
        [
            Double(box.left) / Double(width), Double(box.top) / Double(height),
            Double(box.right) / Double(width), Double(box.bottom) / Double(height),
        ]
    }
}

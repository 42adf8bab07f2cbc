/// An observed view count, as it comes on the views topic or as a line of `views.jsonl`: how often a
/// post had been viewed, in all, when somebody looked. `schemas/view.v1.json` is the same in JSON
/// Schema.
package struct ViewEvent: Equatable, Sendable {
    /// More views than any picture has ever had; beyond, the count is wrong.
    package static let maximumViews: Int64 = 1_000_000_000_000

    package var pid: String
    package var uid: String
    /// Since the post was made: 0...`maximumViews`.
    package var views: Int64
    /// Seconds since 1970.
    package var observedAt: Double

    package init(pid: String, uid: String, views: Int64, observedAt: Double) {
        self.pid = pid
        self.uid = uid
        self.views = views
        self.observedAt = observedAt
    }
}

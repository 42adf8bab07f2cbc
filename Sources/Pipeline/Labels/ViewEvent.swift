/// An observed view count, as it comes on the views topic or as a line of `views.jsonl`: how often a
/// post had been viewed, in all, when somebody looked. `schemas/view.v1.json` is the same in JSON
/// Schema.
package struct ViewEvent: Equatable, Sendable {
    package static let schema = "uhan.view.v1"
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

    /// Reads a view as tolerantly as `PostEvent` reads a post.
    package init(
        parsing value: [UInt8], limits: EventLimits = EventLimits()
    ) throws(EventError) {
        let fields = try EventFields(
            value, maximumBytes: limits.maximumViewBytes,
            ifTooLarge: "send pid, uid, views and observed_at alone")
        pid = try fields.identifier("pid", limits)
        uid = try fields.identifier("uid", limits)
        views = try fields.count("views", maximum: Self.maximumViews)
        observedAt = try fields.requiredSeconds("observed_at")
    }

    /// One line of JSON.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { event in
            event.name("schema")
            event.string(Self.schema)
            event.name("pid")
            event.string(pid)
            event.name("uid")
            event.string(uid)
            event.name("views")
            event.integer(views)
            event.name("observed_at")
            event.number(observedAt)
        }
        return writer.bytes
    }

    /// Reads what `json` writes, and nothing else: a view that waits for its post.
    init(record value: [UInt8]) throws(JSONError) {
        let event = try RecordFields(parsing: value, schema: Self.schema)
        pid = try event.identifier("pid")
        uid = try event.identifier("uid")
        views = try event.integer("views", in: 0...Self.maximumViews)
        observedAt = try event.seconds("observed_at")
    }
}

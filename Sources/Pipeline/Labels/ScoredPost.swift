/// What is remembered of a scored post until its views are known: when it was posted, what was
/// published for it and what others would have said at that moment, and the labels it has had.
///
/// `schemas/scored-post.v1.json` is the same in JSON Schema.
package struct ScoredPost: Equatable, Sendable {
    package static let schema = "uhan.scored-post.v1"
    /// One for each horizon that a `LabelRule` can have.
    package static let maximumLabels = 1 + LabelRule.maximumTrackedHorizons

    /// An observation that counts as the post's label at one horizon.
    package struct Label: Equatable, Sendable {
        /// Seconds after posting; nil where any age counts.
        package var horizon: Double?
        package var views: Int64
        /// Seconds since 1970.
        package var observedAt: Double

        package init(horizon: Double?, views: Int64, observedAt: Double) {
            self.horizon = horizon
            self.views = views
            self.observedAt = observedAt
        }
    }

    package var pid: String
    package var uid: String
    /// The version of the model that scored it, and so of its encoding.
    package var model: String
    /// Seconds since 1970.
    package var postedAt: Double
    /// As published.
    package var score: Float
    /// As published: "bundle", "unknown" or a version ("v3").
    package var userVector: String
    /// What the frozen vector (the bundle's, or the unknown user's) gave, from the same encoding.
    package var frozenScore: Float
    /// The mean of the user's labels up to then; nil where there was none.
    package var userMean: Float?
    /// How many labels the user had then.
    package var userLabels: Int
    /// At most one a horizon.
    package var labels: [Label] = []

    package init(
        pid: String, uid: String, model: String, postedAt: Double, score: Float,
        userVector: String, frozenScore: Float, userMean: Float?, userLabels: Int
    ) {
        self.pid = pid
        self.uid = uid
        self.model = model
        self.postedAt = postedAt
        self.score = score
        self.userVector = userVector
        self.frozenScore = frozenScore
        self.userMean = userMean
        self.userLabels = userLabels
    }
}

extension ScoredPost {
    /// The value of its record on the joins topic: one line of JSON.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { object in
            object.name("schema")
            object.string(Self.schema)
            writeMembers(to: &object)
            object.name("labels")
            object.array { array in
                for label in labels {
                    array.object { label.write(to: &$0) }
                }
            }
        }
        return writer.bytes
    }

    /// All but the labels: what a lesson says of it, too.
    func writeMembers(to object: inout JSONWriter) {
        object.name("uid")
        object.string(uid)
        object.name("pid")
        object.string(pid)
        object.name("model")
        object.string(model)
        object.name("posted_at")
        object.number(postedAt)
        object.name("score")
        object.number(score)
        object.name("user_vector")
        object.string(userVector)
        object.name("frozen_score")
        object.number(frozenScore)
        if let userMean {
            object.name("user_mean")
            object.number(userMean)
        }
        object.name("user_labels")
        object.integer(Int64(userLabels))
    }

    /// Reads what `json` writes.
    package init(parsing value: [UInt8]) throws(JSONError) {
        let object = try RecordFields(parsing: value, schema: Self.schema)
        try self.init(members: object)
        labels = try object.objects("labels", atMost: Self.maximumLabels, Label.init)
        for (place, label) in labels.enumerated()
        where labels[..<place].contains(where: { $0.horizon == label.horizon }) {
            throw JSONError(
                found: "two labels of one horizon", expected: "at most one a horizon in labels")
        }
    }

    /// What `writeMembers` writes.
    init(members object: RecordFields) throws(JSONError) {
        self.init(
            pid: try object.identifier("pid"), uid: try object.identifier("uid"),
            model: try object.identifier("model"), postedAt: try object.double("posted_at"),
            score: try object.float("score"), userVector: try object.identifier("user_vector"),
            frozenScore: try object.float("frozen_score"),
            userMean: object.has("user_mean") ? try object.float("user_mean") : nil,
            userLabels: try object.count("user_labels"))
    }
}

extension ScoredPost.Label {
    fileprivate func write(to object: inout JSONWriter) {
        if let horizon {
            object.name("horizon")
            object.number(horizon)
        }
        object.name("views")
        object.integer(views)
        object.name("observed_at")
        object.number(observedAt)
    }

    fileprivate init(_ object: RecordFields) throws(JSONError) {
        horizon = try object.horizon("horizon")
        views = try object.integer("views", in: 0...ViewEvent.maximumViews)
        observedAt = try object.seconds("observed_at")
    }
}

extension RecordFields {
    /// Seconds; nil, any age, where it is left out.
    func horizon(_ name: String) throws(JSONError) -> Double? {
        guard has(name) else { return nil }
        let horizon = try double(name)
        guard LabelRule.horizons.contains(horizon) else {
            throw wrong(name, LabelRule.horizonsExpected)
        }
        return horizon
    }
}

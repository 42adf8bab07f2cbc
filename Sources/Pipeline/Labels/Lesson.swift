/// What the learner is told, in the order of the lessons topic: a label that was joined with its
/// post, or a command about a user's vector. `schemas/lesson.v1.json` is the same in JSON Schema.
package enum Lesson: Equatable, Sendable {
    package static let schema = "uhan.lesson.v1"

    case label(JoinedLabel)
    /// Go back to an earlier vector, one of those that the user's record still carries.
    case rollback(uid: String, version: Int)
    /// Forget everything that was learnt about the user, and what is kept of the user's posts.
    case forget(uid: String)

    package var uid: String {
        switch self {
        case .label(let label): label.post.uid
        case .rollback(let uid, _), .forget(let uid): uid
        }
    }
}

/// A post, and what its views say.
package struct JoinedLabel: Equatable, Sendable {
    /// As it was scored; its `labels` are left out.
    package var post: ScoredPost
    /// Seconds after posting; nil where any age counts.
    package var horizon: Double?
    /// Labels of other horizons judge, and do not teach.
    package var teaches: Bool
    package var views: Int64
    /// Seconds since 1970.
    package var observedAt: Double
    /// log2(views / days) + 1.
    package var label: Float
    /// It replaces one that came before: it teaches, and does not judge again.
    package var isCorrection: Bool

    package init(
        post: ScoredPost, horizon: Double?, teaches: Bool, views: Int64, observedAt: Double,
        label: Float, isCorrection: Bool
    ) {
        self.post = post
        self.horizon = horizon
        self.teaches = teaches
        self.views = views
        self.observedAt = observedAt
        self.label = label
        self.isCorrection = isCorrection
    }
}

extension Lesson {
    private enum Kind: String, CaseIterable {
        case label, rollback, forget
    }

    private var kind: Kind {
        switch self {
        case .label: .label
        case .rollback: .rollback
        case .forget: .forget
        }
    }

    /// The record's value, one line of JSON; its key is `uid`.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { lesson in
            lesson.name("schema")
            lesson.string(Self.schema)
            lesson.name("kind")
            lesson.string(kind.rawValue)
            switch self {
            case .label(let label):
                label.write(to: &lesson)
            case .rollback(let uid, let version):
                lesson.name("uid")
                lesson.string(uid)
                lesson.name("version")
                lesson.integer(Int64(version))
            case .forget(let uid):
                lesson.name("uid")
                lesson.string(uid)
            }
        }
        return writer.bytes
    }

    /// Reads what `json` writes.
    package init(parsing value: [UInt8]) throws(EventError) {
        guard !value.isEmpty else {
            throw EventError(.emptyValue, found: "no bytes", expected: "a JSON object")
        }
        let maximumBytes = EventLimits().maximumViewBytes
        guard value.count <= maximumBytes else {
            throw EventError(
                .eventTooLarge, found: "\(value.count) bytes", expected: "at most \(maximumBytes)")
        }
        do throws(JSONError) {
            self = try Self(RecordFields(parsing: value, schema: Self.schema))
        } catch {
            throw EventError(found: error.found, expected: error.expected)
        }
    }

    private init(_ lesson: RecordFields) throws(JSONError) {
        switch Kind(rawValue: try lesson.string("kind")) {
        case .label:
            self = .label(try JoinedLabel(lesson))
        case .rollback:
            self = .rollback(
                uid: try lesson.identifier("uid"),
                version: try lesson.integer("version", in: 1...Int.max))
        case .forget:
            self = .forget(uid: try lesson.identifier("uid"))
        case nil:
            throw lesson.wrong(
                "kind", Kind.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))
        }
    }
}

extension JoinedLabel {
    fileprivate func write(to lesson: inout JSONWriter) {
        post.writeMembers(to: &lesson)
        if let horizon {
            lesson.name("horizon")
            lesson.number(horizon)
        }
        lesson.name("teaches")
        lesson.bool(teaches)
        lesson.name("views")
        lesson.integer(views)
        lesson.name("observed_at")
        lesson.number(observedAt)
        lesson.name("label")
        lesson.number(label)
        lesson.name("correction")
        lesson.bool(isCorrection)
    }

    fileprivate init(_ lesson: RecordFields) throws(JSONError) {
        post = try ScoredPost(members: lesson)
        horizon = try lesson.horizon("horizon")
        teaches = try lesson.bool("teaches")
        views = try lesson.integer("views", in: 0...ViewEvent.maximumViews)
        observedAt = try lesson.seconds("observed_at")
        label = try lesson.label("label")
        isCorrection = try lesson.bool("correction")
    }
}

extension RecordFields {
    /// A popularity score that views can have given.
    func label(_ name: String) throws(JSONError) -> Float {
        let label = try float(name)
        guard LabelRule.labels.contains(label) else {
            throw wrong(name, "\(LabelRule.labels.lowerBound) to \(LabelRule.labels.upperBound)")
        }
        return label
    }
}

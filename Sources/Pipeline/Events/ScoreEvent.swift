import Model

/// What a reader of a score should know about how it came about.
package enum ScoreFlag: String, CaseIterable, Comparable, Sendable {
    /// The post names an image that could not be had or used; it was scored without.
    case imageUnusable = "image_unusable"
    case noImage = "no_image"
    /// No word of the post is in the vocabulary.
    case noText = "no_text"
    /// This instance has seen the post id before, in another record.
    case repeated = "repeat"
    /// The user has no vector of their own.
    case unknownUser = "unknown_user"
    /// The weights were never trained: the score means nothing.
    case untrained = "untrained"

    package static func < (left: ScoreFlag, right: ScoreFlag) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// Where the model looked: each part sums to 1.
package struct ScoreAttention: Equatable, Sendable {
    package struct Word: Equatable, Sendable {
        package var text: String
        package var weight: Float

        package init(_ text: String, _ weight: Float) {
            self.text = text
            self.weight = weight
        }
    }

    /// Weights over the regions of the image, row by row, kept to 1/255 of the largest.
    package struct Grid: Equatable, Sendable {
        package var rows: Int
        package var columns: Int
        /// The largest weight.
        package var maximum: Float
        /// rows * columns; a region's weight is about `maximum * level / 255`.
        package var levels: [UInt8]

        /// - Parameter weights: rows * columns, non-negative.
        package init(rows: Int, columns: Int, weights: [Float]) {
            self.rows = rows
            self.columns = columns
            let maximum = weights.max() ?? 0
            self.maximum = maximum
            levels = weights.map { weight in
                let level = (255 * weight / maximum).rounded()
                // Not a number, where all weights are 0, is no attention.
                return level >= 0 && level <= 255 ? UInt8(level) : 0
            }
        }

        package var weights: [Float] { levels.map { maximum * Float($0) / 255 } }
    }

    /// In the order of the text.
    package var words: [Word]
    /// nil without an image.
    package var image: Grid?
    /// What text and image weigh in the score; both 0 where there is neither.
    package var textWeight: Float
    package var imageWeight: Float

    package init(words: [Word], image: Grid?, textWeight: Float, imageWeight: Float) {
        self.words = words
        self.image = image
        self.textWeight = textWeight
        self.imageWeight = imageWeight
    }
}

/// What scoring gives for one post.
package struct Scoring: Equatable, Sendable {
    /// log2(views a day) + 1.
    package var score: Float
    /// 2^(score - 1) times the model's smearing factor; nil where the model has none.
    package var expectedViewsPerDay: Float?
    /// The model's version.
    package var model: String
    /// Which vector stood for the user: "bundle", "unknown" or a version.
    package var userVector: String
    package var flags: Set<ScoreFlag>
    package var attention: ScoreAttention
    package var backboneMilliseconds: Float
    package var encodeMilliseconds: Float
    package var scoreMilliseconds: Float
    /// Where learning is on.
    package var learning: Learning?

    /// What is remembered beside the score until the post's views are known.
    package struct Learning: Equatable, Sendable {
        /// What the frozen vector gave, from the same encoding.
        package var frozenScore: Float
        /// The mean of the user's labels so far; nil where there is none.
        package var userMean: Float?
        package var userLabels: Int
        /// The post's `KeptEncoding`.
        package var encoding: [UInt8]?

        package init(
            frozenScore: Float, userMean: Float?, userLabels: Int, encoding: [UInt8]? = nil
        ) {
            self.frozenScore = frozenScore
            self.userMean = userMean
            self.userLabels = userLabels
            self.encoding = encoding
        }
    }

    package init(
        score: Float, expectedViewsPerDay: Float? = nil, model: String, userVector: String,
        flags: Set<ScoreFlag>, attention: ScoreAttention, backboneMilliseconds: Float = 0,
        encodeMilliseconds: Float = 0, scoreMilliseconds: Float = 0
    ) {
        self.score = score
        self.expectedViewsPerDay = expectedViewsPerDay
        self.model = model
        self.userVector = userVector
        self.flags = flags
        self.attention = attention
        self.backboneMilliseconds = backboneMilliseconds
        self.encodeMilliseconds = encodeMilliseconds
        self.scoreMilliseconds = scoreMilliseconds
    }
}

/// The answer to a post event: its score, or that its deadline was past. The record's key is
/// `uid`. `schemas/score.v1.json` is the same in JSON Schema.
package struct ScoreEvent: Equatable, Sendable {
    package static let schema = "uhan.score.v1"

    /// The record that is answered.
    package struct Origin: Equatable, Sendable {
        package var topic: String
        package var partition: Int32
        package var offset: Int64

        package init(topic: String, partition: Int32, offset: Int64) {
            self.topic = topic
            self.partition = partition
            self.offset = offset
        }
    }

    /// How long the post waited and how long each stage took, in milliseconds.
    package struct Timings: Equatable, Sendable {
        package var queue: Float = 0
        package var fetch: Float = 0
        package var decode: Float = 0
        package var backbone: Float = 0
        package var encode: Float = 0
        package var score: Float = 0

        package init() {}
    }

    package struct Scored: Equatable, Sendable {
        package var score: Float
        /// Typical (median) views a day: 2^(score - 1).
        package var viewsPerDay: Double
        package var expectedViewsPerDay: Float?
        package var model: String
        package var userVector: String
        package var flags: [ScoreFlag]
        package var attention: ScoreAttention
        package var timings: Timings
    }

    package enum Outcome: Equatable, Sendable {
        case scored(Scored)
        /// `scoreBy`, the deadline, was past when the post's turn came, or could not be met.
        case expired(scoreBy: Double)
    }

    package var pid: String
    package var uid: String
    package var outcome: Outcome
    /// Milliseconds since 1970: the timestamp of the post's record, nil where it has none.
    package var eventTime: Milliseconds?
    /// Milliseconds since 1970, when the outcome was known.
    package var scoredAt: Milliseconds
    package var origin: Origin

    package init(
        pid: String, uid: String, outcome: Outcome, eventTime: Milliseconds?,
        scoredAt: Milliseconds, origin: Origin
    ) {
        self.pid = pid
        self.uid = uid
        self.outcome = outcome
        self.eventTime = eventTime
        self.scoredAt = scoredAt
        self.origin = origin
    }
}

extension ScoreEvent.Scored {
    /// - Parameter isRepeat: the post id was seen before; adds the flag.
    package init(_ scoring: Scoring, isRepeat: Bool, timings: ScoreEvent.Timings) {
        score = scoring.score
        viewsPerDay = Prediction.viewsPerDay(score: scoring.score)
        expectedViewsPerDay = scoring.expectedViewsPerDay
        model = scoring.model
        userVector = scoring.userVector
        flags = (isRepeat ? scoring.flags.union([.repeated]) : scoring.flags).sorted()
        attention = scoring.attention
        self.timings = timings
        self.timings.backbone = scoring.backboneMilliseconds
        self.timings.encode = scoring.encodeMilliseconds
        self.timings.score = scoring.scoreMilliseconds
    }
}

// MARK: - Writing

extension ScoreEvent {
    /// The record's value: one line of JSON.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { event in
            event.name("schema")
            event.string(Self.schema)
            event.name("status")
            switch outcome {
            case .scored: event.string("scored")
            case .expired: event.string("expired")
            }
            event.name("pid")
            event.string(pid)
            event.name("uid")
            event.string(uid)
            switch outcome {
            case .scored(let scored): scored.write(to: &event)
            case .expired(let scoreBy):
                event.name("score_by")
                event.number(scoreBy)
            }
            if let eventTime {
                event.name("event_time")
                event.integer(eventTime)
            }
            event.name("scored_at")
            event.integer(scoredAt)
            event.name("origin")
            event.object { object in
                object.name("topic")
                object.string(origin.topic)
                object.name("partition")
                object.integer(Int64(origin.partition))
                object.name("offset")
                object.integer(origin.offset)
            }
        }
        return writer.bytes
    }
}

extension ScoreEvent.Scored {
    fileprivate func write(to event: inout JSONWriter) {
        event.name("score")
        event.number(score)
        event.name("views_per_day")
        event.number(viewsPerDay)
        if let expectedViewsPerDay {
            event.name("expected_views_per_day")
            event.number(expectedViewsPerDay)
        }
        event.name("model")
        event.string(model)
        event.name("user_vector")
        event.string(userVector)
        event.name("flags")
        event.array { array in
            for flag in flags { array.string(flag.rawValue) }
        }
        event.name("attention")
        attention.write(to: &event)
        event.name("timings_ms")
        event.object { object in
            for (name, value) in timings.named {
                object.name(name)
                object.number(value)
            }
        }
    }
}

extension ScoreEvent.Timings {
    fileprivate var named: [(String, Float)] {
        [
            ("queue", queue), ("fetch", fetch), ("decode", decode), ("backbone", backbone),
            ("encode", encode), ("score", score),
        ]
    }
}

extension ScoreAttention {
    fileprivate func write(to event: inout JSONWriter) {
        event.object { attention in
            attention.name("words")
            attention.array { array in
                for word in words {
                    array.array { pair in
                        pair.string(word.text)
                        pair.number(word.weight)
                    }
                }
            }
            if let image {
                attention.name("image")
                attention.object { object in
                    object.name("grid")
                    object.array { grid in
                        grid.integer(Int64(image.rows))
                        grid.integer(Int64(image.columns))
                    }
                    object.name("max")
                    object.number(image.maximum)
                    object.name("weights")
                    object.string(Base64.encode(image.levels))
                }
            }
            attention.name("modality")
            attention.object { modality in
                modality.name("text")
                modality.number(textWeight)
                modality.name("image")
                modality.number(imageWeight)
            }
        }
    }
}

// MARK: - Reading

extension ScoreEvent {
    /// Reads what `json` writes; unknown fields and flags are passed over.
    package init(parsing value: [UInt8]) throws(JSONError) {
        let event = try RecordFields(parsing: value, schema: Self.schema)
        pid = try event.string("pid")
        uid = try event.string("uid")
        switch try event.string("status") {
        case "scored": outcome = .scored(try Scored(event))
        case "expired": outcome = .expired(scoreBy: try event.double("score_by"))
        case let status:
            throw JSONError(
                found: "status \"\(status.clipped)\"", expected: "\"scored\" or \"expired\"")
        }
        eventTime = event.has("event_time") ? try event.integer("event_time") : nil
        scoredAt = try event.integer("scored_at")
        let place = try event.object("origin")
        origin = Origin(
            topic: try place.string("topic"), partition: try place.integer("partition"),
            offset: try place.integer("offset"))
    }
}

extension ScoreEvent.Scored {
    fileprivate init(_ event: RecordFields) throws(JSONError) {
        score = try event.float("score")
        viewsPerDay = try event.double("views_per_day")
        expectedViewsPerDay =
            event.has("expected_views_per_day") ? try event.float("expected_views_per_day") : nil
        model = try event.string("model")
        userVector = try event.string("user_vector")
        flags = []
        for flag in try event.array("flags") {
            if case .string(let name) = flag, let known = ScoreFlag(rawValue: name) {
                flags.append(known)
            }
        }
        attention = try ScoreAttention(event.object("attention"))
        let stages = try event.object("timings_ms")
        timings = ScoreEvent.Timings()
        timings.queue = try stages.float("queue")
        timings.fetch = try stages.float("fetch")
        timings.decode = try stages.float("decode")
        timings.backbone = try stages.float("backbone")
        timings.encode = try stages.float("encode")
        timings.score = try stages.float("score")
    }
}

extension ScoreAttention {
    fileprivate init(_ attention: RecordFields) throws(JSONError) {
        words = []
        for pair in try attention.array("words") {
            guard case .array(let parts) = pair, parts.count == 2,
                case .string(let text) = parts[0], case .number(let digits) = parts[1],
                let weight = Float(digits)
            else {
                throw JSONError(found: pair.summary, expected: "[word, weight] in words")
            }
            words.append(Word(text, weight))
        }
        image = attention.has("image") ? try Grid(attention.object("image")) : nil
        let modality = try attention.object("modality")
        textWeight = try modality.float("text")
        imageWeight = try modality.float("image")
    }
}

extension ScoreAttention.Grid {
    fileprivate init(_ image: RecordFields) throws(JSONError) {
        maximum = try image.float("max")
        levels = try Base64.decode(image.string("weights"))
        let grid = try image.array("grid")
        guard grid.count == 2, case .number(let first) = grid[0],
            case .number(let second) = grid[1],
            let rows = Int(first), let columns = Int(second),
            rows.multipliedReportingOverflow(by: columns) == (levels.count, false)
        else {
            throw JSONError(
                found: "a grid of \(grid.map(\.summary)) and \(levels.count) weights",
                expected: "[rows, columns] and rows * columns weights")
        }
        self.rows = rows
        self.columns = columns
    }
}

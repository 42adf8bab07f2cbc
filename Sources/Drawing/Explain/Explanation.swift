import Glibc
import Model
import Pipeline

/// What there is to show about one post: the post, and how it scores for one user or several.
package struct Explanation: Sendable {
    /// The post as the model reads it for one user.
    package struct Reading: Sendable {
        package var uid: String
        package var score: Float
        package var flags: [ScoreFlag]
        /// The words the model knows, in their order, with their share of attention.
        package var words: [ScoreAttention.Word]
        /// Nil without an image.
        package var regions: AttentionMap?
        /// What text and image weigh; both 0 where there is neither.
        package var textWeight: Float
        package var imageWeight: Float
        package var faithfulness: Faithfulness

        package init(
            uid: String, score: Float, flags: [ScoreFlag], words: [ScoreAttention.Word],
            regions: AttentionMap?, textWeight: Float, imageWeight: Float,
            faithfulness: Faithfulness
        ) {
            self.uid = uid
            self.score = score
            self.flags = flags
            self.words = words
            self.regions = regions
            self.textWeight = textWeight
            self.imageWeight = imageWeight
            self.faithfulness = faithfulness
        }

        /// Typical, not expected.
        package var viewsPerDay: Double { Prediction.viewsPerDay(score: score) }

        /// The weight that the strongest shade stands for; as `AttentionMap.brightest`.
        var strongestWord: Double {
            words.reduce(2 / Double(max(1, words.count))) { max($0, Double($1.weight)) }
        }
    }

    package var pid: String
    package var title: String
    package var tags: String
    /// The model's version.
    package var model: String
    package var photo: Photo?
    /// One for each user, at least one.
    package var readings: [Reading]

    package init(
        pid: String, title: String, tags: String, model: String, photo: Photo?,
        readings: [Reading]
    ) {
        precondition(!readings.isEmpty)
        self.pid = pid
        self.title = title
        self.tags = tags
        self.model = model
        self.photo = photo
        self.readings = readings
    }

    /// Flags of every reading; the others stand beside their user.
    var commonFlags: [ScoreFlag] {
        readings[0].flags.filter { flag in readings.allSatisfy { $0.flags.contains(flag) } }
    }

    func ownFlags(_ reading: Reading) -> [ScoreFlag] {
        reading.flags.filter { !commonFlags.contains($0) }
    }
}

/// The words in which pictures and pages say it.
extension Explanation {
    var heading: String {
        title.allSatisfy(\.isWhitespace) ? "(without a title)" : title
    }

    var origin: String {
        let users = readings.map(\.uid).joined(separator: ", ")
        return "post \(pid) · scored for \(users) · model \(model)"
    }

    /// How the readings after the first compare with it.
    var differences: [String] {
        let first = readings[0]
        return readings.dropFirst().map { reading in
            let difference = Double(reading.score) - Double(first.score)
            let size = Numbers.decimal(abs(difference), places: 2)
            guard abs(difference) >= 0.005 else {
                return "For \(reading.uid) the post scores the same as for \(first.uid)."
            }
            let direction = difference > 0 ? "higher" : "lower"
            return "For \(reading.uid) the post scores \(size) \(direction) than for \(first.uid): "
                + "\(Self.views(exp2(difference))) views a day."
        }
    }

    /// - Parameter factor: the views of one user over those of another.
    private static func views(_ factor: Double) -> String {
        switch factor {
        case 2...: "\(Numbers.decimal(factor, places: 1)) times as many"
        case 1...: "\(Numbers.decimal(100 * (factor - 1), places: 0)) % more"
        default: "\(Numbers.decimal(100 * (1 - factor), places: 0)) % fewer"
        }
    }

    static let scale = "A score of 1 is one view a day; each point more doubles it."

    static func text(_ flag: ScoreFlag) -> String {
        switch flag {
        case .untrained: "untrained model: the score means nothing"
        case .unknownUser: "user unknown to the model"
        case .noText: "no known word"
        case .noImage: "no picture"
        case .imageUnusable: "picture unusable"
        case .repeated: "seen before"
        }
    }
}

extension Explanation.Reading {
    var views: String { "about \(Numbers.views(viewsPerDay)) views a day" }

    var scoreText: String { Numbers.decimal(Double(score), places: 2) }

    /// Both parts that there are, with what each is about.
    var evidence: [Evidence] {
        [
            faithfulness.regions.map { Evidence(part: $0, thing: "region", whole: "picture") },
            faithfulness.words.map { Evidence(part: $0, thing: "word", whole: "text") },
        ].compactMap(\.self)
    }

    static let noEvidence =
        "Too few words and no picture: nothing to take away, so the attention cannot be checked."
}

/// One part of the faithfulness in plain words.
struct Evidence {
    let part: Faithfulness.Part
    let thing: String
    let whole: String

    var title: String { thing == "region" ? "Picture" : "Text" }

    private var top: String {
        part.removed == 1
            ? "the most attended \(thing)" : "the \(part.removed) most attended \(thing)s"
    }

    private static func move(_ change: Float) -> String {
        let size = Numbers.decimal(Double(abs(change)), places: 3)
        guard Double(size) != 0 else { return "does not move" }
        return change < 0 ? "falls by \(size)" : "rises by \(size)"
    }

    var finding: String {
        "Without \(top) (of \(part.of)) the score \(Self.move(part.change)). "
            + "Without \(part.removed) at random it moves by "
            + "\(Numbers.decimal(Double(part.randomMean), places: 3)) ± "
            + "\(Numbers.decimal(Double(part.randomDeviation), places: 3)) "
            + "(\(part.draws) draws)."
    }

    var ratio: String {
        part.ratio.map { "\(Numbers.decimal(Double($0), places: 1)) ×" } ?? "–"
    }

    enum Verdict { case counts, weak, chance, nothing }

    /// A hundredth of a point is 0.7 % of the views: nobody would notice.
    var verdict: Verdict {
        guard let ratio = part.ratio, max(abs(part.change), part.randomMean) >= 0.01 else {
            return .nothing
        }
        let share = Double(part.weakerDraws) / Double(max(1, part.draws))
        if ratio >= 2, share >= 0.9 { return .counts }
        if ratio >= 1.25, share >= 0.7 { return .weak }
        return .chance
    }

    var meaning: String {
        switch verdict {
        case .counts: "The attention points at what the score rests on."
        case .weak: "The attention points the right way, though not by much."
        case .chance:
            "No more than chance: do not read the attention as the reason for this score."
        case .nothing: "Neither moves the score: a few \(thing)s of the \(whole) hardly count."
        }
    }
}

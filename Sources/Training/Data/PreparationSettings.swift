import Pipeline

/// What `uhan prepare` does to posts, every rule of it. The rules stand in the order in which they
/// are applied; MODEL.md, "Data preparation", says where they come from.
package struct PreparationSettings: Codable, Sendable, Equatable {
    /// A control: one field dealt anew among all posts, at random.
    package enum Shuffle: String, Codable, Sendable, CaseIterable {
        case images, users, text
    }
    package enum English: String, Codable, Sendable, CaseIterable {
        /// Kept are posts whose text is ASCII throughout.
        case ascii
        case off
    }
    package enum TextField: String, Codable, Sendable, CaseIterable {
        case title, tags, description
    }
    package enum Split: String, Codable, Sendable, CaseIterable {
        /// The first 70 % of time train, the next 10 % validation, the last 20 % test.
        case time
        /// The first 70 % of time train; the rest shuffled and divided 1:2 into validation and
        /// test, as in the authors' code.
        case authors
        /// By a list of post ids.
        case file
    }

    package var shuffle: Shuffle?
    /// Of the shuffle and of the authors' split.
    package var seed: UInt64 = 1
    /// Posts without a usable image are dropped; otherwise they are kept as text alone.
    package var requiresImage = false
    /// What counts as a post's text; a field that is not named here is emptied.
    package var text: [TextField] = TextField.allCases
    package var english: English
    package var split: Split
    /// Words seen fewer times in the training part are no words of the vocabulary; 0 drops none.
    package var minimumWordCount: Int
    /// Posts left with fewer words are dropped; where no word is rare, every word counts, also one
    /// that the training part does not have.
    package var minimumWords: Int
    /// So many users are kept, those with most posts; nil keeps all.
    package var users: Int?
    /// Younger posts count as this old, in days.
    package var minimumDays = 1.0
    /// The age at which a post's views count, in days: the first observation in [h, 1.25 h] after
    /// posting is its outcome. Nil: the last observation, at any age.
    package var horizonDays: Double?
    /// When views were counted, seconds since 1970, where a record does not say so.
    package var observedAt: Double?

    /// No post and no word is dropped.
    package static let none = PreparationSettings(
        english: .off, split: .time, minimumWordCount: 0, minimumWords: 0)

    /// As in the talk on the paper: words seen 5 times or fewer and posts left with 5 words or
    /// fewer are dropped, 128 users kept.
    package static let paper = PreparationSettings(
        english: .ascii, split: .time, minimumWordCount: 6, minimumWords: 6, users: 128)

    /// As in the authors' code: no tags, no rare words dropped, at least 5 words, their split.
    package static let authors = PreparationSettings(
        text: [.title, .description], english: .ascii, split: .authors, minimumWordCount: 0,
        minimumWords: 5, users: 128)

    /// In seconds.
    var horizon: Double? { horizonDays.map { $0 * 86_400 } }

    private enum CodingKeys: String, CodingKey {
        case shuffle, seed, text, english, split, users
        case requiresImage = "require_image"
        case minimumWordCount = "minimum_word_count"
        case minimumWords = "minimum_words"
        case minimumDays = "minimum_days"
        case horizonDays = "horizon_days"
        case observedAt = "observed_at"
    }

    func check() throws(TrainingError) {
        func require(_ holds: Bool, _ reason: String) throws(TrainingError) {
            if !holds { throw .invalid(reason) }
        }
        try require(minimumWordCount >= 0, "the minimum word count must be 0 or more")
        try require(minimumWords >= 0, "the minimum of words must be 0 or more")
        try require(users ?? 1 >= 1, "the number of users must be 1 or more, or off")
        try require(
            minimumDays.isFinite && minimumDays > 0, "the minimum of days must be above 0")
        try require(
            horizon.map(LabelRule.horizons.contains) ?? true,
            "the horizon must be a second to ten years (3652.5 days)")
        try require(!text.isEmpty, "the text needs a field: title, tags or description")
    }
}

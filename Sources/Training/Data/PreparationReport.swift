/// What `uhan prepare` read, what it dropped and why, and what is left.
package struct PreparationReport: Codable, Sendable, Equatable {
    /// Why a post that could be read is not in the dataset, in the order of the rules.
    package enum Filter: String, Codable, Sendable, CaseIterable {
        case duplicate
        case noPostdate = "no_postdate"
        case noViews = "no_views"
        case noObservationTime = "no_observed_at"
        case observedBeforePosted = "observed_before_posted"
        case outsideHorizon = "outside_horizon"
        case noImage = "no_image"
        case notEnglish = "not_english"
        case notInSplit = "not_in_split"
        case splitNone = "split_none"
        case tooFewWords = "too_few_words"
        case inactiveUser = "inactive_user"

        /// In words, for people.
        package var explanation: String {
            switch self {
            case .duplicate: "the post id stood there before; the first is kept"
            case .noPostdate: "no postdate"
            case .noViews: "no views"
            case .noObservationTime: "nothing says when the views were counted (observed_at)"
            case .observedBeforePosted: "views counted before the post was posted"
            case .outsideHorizon: "no observation at the horizon, or up to a quarter later"
            case .noImage: "no usable image"
            case .notEnglish: "a character beyond ASCII"
            case .notInSplit: "the split file does not name it"
            case .splitNone: "the split file says none"
            case .tooFewWords: "too few words left"
            case .inactiveUser: "not among the users with most posts"
            }
        }
    }

    package struct Dropped: Codable, Sendable, Equatable {
        package var filter: Filter
        package var posts: Int
        /// The first few of them, by post id.
        package var examples: [String]
    }

    package struct BadLine: Codable, Sendable, Equatable {
        package var line: Int
        package var reason: String
    }

    /// Lines that could not be read.
    package struct BadLines: Codable, Sendable, Equatable {
        package var lines = 0
        package var first: [BadLine] = []
    }

    /// Things that were passed over without a post being dropped.
    package struct Count: Codable, Sendable, Equatable {
        package var count = 0
        package var examples: [String] = []
    }

    package struct Part: Codable, Sendable, Equatable {
        package var posts = 0
        package var users = 0
        package var postsWithImage = 0
        package var postsWithoutKnownWord = 0

        private enum CodingKeys: String, CodingKey {
            case posts, users
            case postsWithImage = "posts_with_image"
            case postsWithoutKnownWord = "posts_without_known_word"
        }
    }

    /// As many as are named of anything.
    static let maximumExamples = 10

    package var postsRead = 0
    package var badPosts = BadLines()
    package var viewsRead = 0
    package var badViews = BadLines()
    /// Views of a post that is not there, or of another user's.
    package var strayViews = Count()
    /// Lines of the split file whose post is not there.
    package var straySplit = Count()
    /// Images that posts name and that cannot be used, with the reason; the posts are kept as text.
    package var unusableImages = Count()
    package var distinctImages = 0
    package var dropped: [Dropped] = []
    /// Distinct words of the training part, and those of them that are too rare.
    package var distinctWords = 0
    package var rareWords = 0
    package var words = 0
    package var users = 0
    package var train = Part()
    package var validation = Part()
    package var test = Part()

    private enum CodingKeys: String, CodingKey {
        case postsRead = "posts_read"
        case badPosts = "bad_posts"
        case viewsRead = "views_read"
        case badViews = "bad_views"
        case strayViews = "stray_views"
        case straySplit = "stray_split"
        case unusableImages = "unusable_images"
        case distinctImages = "distinct_images"
        case distinctWords = "distinct_words"
        case rareWords = "rare_words"
        case dropped, words, users, train, validation, test
    }

    package func dropped(by filter: Filter) -> Int {
        dropped.first { $0.filter == filter }?.posts ?? 0
    }

    package subscript(part: PreparedPost.Part) -> Part {
        get {
            switch part {
            case .train: train
            case .validation: validation
            case .test: test
            }
        }
        set {
            switch part {
            case .train: train = newValue
            case .validation: validation = newValue
            case .test: test = newValue
            }
        }
    }

    mutating func drop(_ pid: String, by filter: Filter) {
        if let place = dropped.firstIndex(where: { $0.filter == filter }) {
            dropped[place].posts += 1
            if dropped[place].examples.count < Self.maximumExamples {
                dropped[place].examples.append(pid)
            }
        } else {
            dropped.append(Dropped(filter: filter, posts: 1, examples: [pid]))
        }
    }
}

extension PreparationReport.BadLines {
    mutating func add(_ line: Int, _ reason: String) {
        lines += 1
        if first.count < PreparationReport.maximumExamples {
            first.append(.init(line: line, reason: reason))
        }
    }
}

extension PreparationReport.Count {
    mutating func add(_ example: String) {
        count += 1
        if examples.count < PreparationReport.maximumExamples { examples.append(example) }
    }
}

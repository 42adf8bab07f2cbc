import Model

/// The hand-made features of a post, in groups that the SVR can take or leave.
///
/// Fitted on the training part alone. The dense groups (colour, word vectors, user) are
/// standardised: less the mean, over the deviation, of the training posts that have them; a value
/// without deviation becomes 0. Where a post lacks a group (no usable picture, no known word, no
/// earlier post of the user) its values are 0, the average, and the group's last feature, 0 or 1,
/// says so. TF-IDF rows have length 1 and stay as they are.
struct SVRFeatures: Sendable {
    enum Group: String, Codable, CaseIterable, Sendable {
        case color, tfidf, user
        case wordVectors = "word-vectors"
    }

    typealias Row = [(column: Int, value: Double)]

    struct Standard: Sendable, Equatable {
        var mean: [Float]
        var deviation: [Float]

        /// - Parameter rows: of one width; nil where a post lacks the group.
        init(fitting rows: [[Float]?], width: Int) {
            let present = rows.compactMap { $0 }
            let count = Double(max(present.count, 1))
            (mean, deviation) = ([], [])
            for column in 0..<width {
                let center = present.reduce(0) { $0 + Double($1[column]) } / count
                let squares = present.reduce(0) { sum, row in
                    let difference = Double(row[column]) - center
                    return sum + difference * difference
                }
                mean.append(Float(center))
                deviation.append(Float((squares / count).squareRoot()))
            }
        }

        init(mean: [Float], deviation: [Float]) {
            self.mean = mean
            self.deviation = deviation
        }

        func row(_ values: [Float]?) -> Row {
            guard let values else { return [] }
            var row: Row = []
            for (column, value) in values.enumerated() where deviation[column] > 1e-6 {
                row.append((column, Double((value - mean[column]) / deviation[column])))
            }
            row.append((values.count, 1))
            return row
        }
    }

    let vocabulary: Vocabulary
    let tfidf: TFIDF
    let wordVectors: WordVectors
    let users: UserStatistics
    let color: Standard
    let text: Standard
    let user: Standard

    func width(of group: Group) -> Int {
        switch group {
        case .tfidf: tfidf.idf.count
        case .color: color.mean.count + 1
        case .wordVectors: text.mean.count + 1
        case .user: user.mean.count + 1
        }
    }

    /// As many words of a post count as the networks read.
    static let maximumWords = 50

    static func words(of post: PreparedPost, in vocabulary: Vocabulary) -> [Int32] {
        vocabulary.encode(
            title: post.title, tags: post.tags, description: post.description,
            maximumWords: maximumWords
        ).ids
    }

    /// A post's features, group by group.
    func rows(of post: PreparedPost, colors: [Float]?) -> [Group: Row] {
        let words = Self.words(of: post, in: vocabulary)
        return [
            .color: color.row(colors),
            .tfidf: tfidf.weights(words).map { (Int($0.word), $0.weight) },
            .wordVectors: text.row(wordVectors.mean(words)),
            .user: user.row(users.values(for: post)),
        ]
    }

    /// The rows of some groups side by side.
    func matrix(_ posts: [[Group: Row]], groups: [Group]) -> SparseRows {
        var rows = SparseRows(width: groups.reduce(0) { $0 + width(of: $1) })
        for post in posts {
            rows.append(joined(post, groups: groups))
        }
        return rows
    }

    func joined(_ post: [Group: Row], groups: [Group]) -> Row {
        var row: Row = []
        var start = 0
        for group in groups {
            for (column, value) in post[group] ?? [] { row.append((start + column, value)) }
            start += width(of: group)
        }
        return row
    }
}

import Glibc

/// Words of a post weighted by how rare they are: scikit-learn's TfidfVectorizer with its defaults
/// (raw counts, smoothed idf, rows of length 1).
package struct TFIDF: Sendable, Equatable {
    /// For each word of the vocabulary ln((1 + n) / (1 + df)) + 1, n posts, df of them with it.
    package let idf: [Float]

    package init(idf: [Float]) {
        self.idf = idf
    }

    /// - Parameter posts: word ids of each training post, ids in 0 ..< vocabularyCount.
    package init(posts: [[Int32]], vocabularyCount: Int) {
        var frequencies = [Int](repeating: 0, count: vocabularyCount)
        for post in posts {
            for word in Set(post) { frequencies[Int(word)] += 1 }
        }
        idf = frequencies.map { Float(log(Double(1 + posts.count) / Double(1 + $0)) + 1) }
    }

    /// The weights of a post's words, by word id; their squares add up to 1. Empty without words.
    package func weights(_ words: [Int32]) -> [(word: Int32, weight: Double)] {
        var weights: [(word: Int32, weight: Double)] = []
        for word in words.sorted() {
            if weights.last?.word == word {
                weights[weights.count - 1].weight += Double(idf[Int(word)])
            } else {
                weights.append((word, Double(idf[Int(word)])))
            }
        }
        let length = weights.reduce(0) { $0 + $1.weight * $1.weight }.squareRoot()
        return weights.map { ($0.word, $0.weight / length) }
    }
}

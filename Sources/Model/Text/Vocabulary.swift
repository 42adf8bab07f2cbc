/// The words a model knows; a word's id is its row in the word embedding.
///
/// As a file: UTF-8, one word per line, the line number counted from 0 is the id.
package struct Vocabulary: Sendable {
    /// More than any word embedding that fits the memory of one process.
    package static let maximumCount = 4_000_000

    private let ids: [CodePoints: Int32]

    package var count: Int { ids.count }

    /// `words` in the order of their ids; `path` names their origin in errors.
    ///
    /// - Throws: ``ModelError`` with the line, counted from 1, of a word that is empty, there twice
    ///   or broken by a line end.
    package init(words: [String], path: String = "vocabulary.txt") throws(ModelError) {
        guard words.count <= Self.maximumCount else {
            throw .count(
                what: "words at most", path: path, expected: Self.maximumCount, found: words.count)
        }
        var ids: [CodePoints: Int32] = [:]
        ids.reserveCapacity(words.count)
        for (row, word) in words.enumerated() {
            let line = row + 1
            if word.isEmpty {
                throw .malformed(
                    path: path,
                    reason: "line \(line) is empty; a word's line is its row in the embedding, "
                        + "so take the file that was written with the weights")
            }
            if word.utf8.contains(where: { $0 == newline || $0 == carriageReturn }) {
                throw .malformed(
                    path: path, reason: "line \(line) holds a line end; save it with LF alone")
            }
            if let first = ids.updateValue(Int32(row), forKey: CodePoints(word)) {
                throw .malformed(
                    path: path,
                    reason: "line \(line) repeats the word '\(word)' of line \(first + 1); "
                        + "take the file that was written with the weights")
            }
        }
        self.ids = ids
    }

    /// Reads a vocabulary file. Its last line may end in a newline or not.
    package init(file: MappedFile) throws(ModelError) {
        try self.init(words: file.lines(maximumCount: Self.maximumCount), path: file.path)
    }

    /// The row of `word` in the embedding; nil where the model does not know it.
    package func id(of word: String) -> Int? {
        ids[CodePoints(word)].map(Int.init)
    }

    /// The first `maximumWords` known words of a post: title first, then tags, then description.
    /// Unknown words are dropped before the cut, so they do not use up room.
    package func encode(
        title: String, tags: String, description: String? = nil, maximumWords: Int
    ) -> TokenizedText {
        var text = title + " " + tags
        if let description { text += " " + description }

        var encoded = TokenizedText(ids: [], words: [])
        guard maximumWords > 0 else { return encoded }
        Tokenizer.forEachWord(of: text) { word in
            if let id = ids[CodePoints(word)] {
                encoded.ids.append(id)
                encoded.words.append(word)
            }
            return encoded.ids.count < maximumWords
        }
        return encoded
    }
}

/// The known words of a post in reading order: `words[t]` is row `ids[t]` of the word embedding.
package struct TokenizedText: Equatable, Sendable {
    package var ids: [Int32]
    package var words: [String]

    package init(ids: [Int32], words: [String]) {
        self.ids = ids
        self.words = words
    }
}

private let newline = UInt8(ascii: "\n")
private let carriageReturn = UInt8(ascii: "\r")

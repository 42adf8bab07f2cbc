import Glibc
import Model

/// A vector for each word of the vocabulary; a text is their mean.
package struct WordVectors: Sendable, Equatable {
    package let dimension: Int
    /// vocabulary x dimension; zeros for a word without a vector.
    package let values: [Float]
    private let isKnown: [Bool]

    package init(dimension: Int, values: [Float]) {
        precondition(dimension > 0 && values.count % dimension == 0)
        self.dimension = dimension
        self.values = values
        isKnown = stride(from: 0, to: values.count, by: dimension).map { start in
            values[start..<start + dimension].contains { $0 != 0 }
        }
    }

    /// The mean over the words that have a vector; nil where none has.
    package func mean(_ words: [Int32]) -> [Float]? {
        let known = words.filter { isKnown[Int($0)] }
        guard !known.isEmpty else { return nil }
        var mean = [Float](repeating: 0, count: dimension)
        for word in known {
            let start = Int(word) * dimension
            for index in 0..<dimension { mean[index] += values[start + index] }
        }
        return mean.map { $0 / Float(known.count) }
    }

    package func vector(_ word: Int) -> ArraySlice<Float> {
        values[word * dimension..<(word + 1) * dimension]
    }
}

// MARK: Skip-gram

/// Skip-gram with negative sampling (Mikolov and others, "Distributed representations of words and
/// phrases and their compositionality", 2013). One thread and one seed, so it repeats bit by bit.
package struct SkipGram: Sendable, Codable, Equatable {
    /// A multiple of 4.
    package var dimension = 48
    /// Words on either side at most; each centre draws its own in 1 ... window.
    package var window = 5
    /// Drawn from the words' counts to the power of 0.75.
    package var negatives = 5
    package var epochs = 10
    /// Falls in a straight line to 1/10,000 of it.
    package var learningRate: Float = 0.025
    /// A word that makes up the share f of all is kept with the probability sqrt(this / f), at
    /// most 1, each time that it is met.
    package var subsampling = 1e-3
    package var seed: UInt64 = 1

    package init() {}

    private enum CodingKeys: String, CodingKey {
        case dimension, window, negatives, epochs, subsampling, seed
        case learningRate = "learning_rate"
    }

    /// - Parameter posts: word ids of each training post, ids in 0 ..< vocabularyCount.
    package func train(
        posts: [[Int32]], vocabularyCount: Int, progress: (_ epoch: Int) -> Void = { _ in }
    ) -> WordVectors {
        precondition(dimension > 0 && dimension % 4 == 0, "the dimension is \(dimension)")
        var counts = [Int](repeating: 0, count: vocabularyCount)
        for post in posts {
            for word in post { counts[Int(word)] += 1 }
        }
        let total = counts.reduce(0, +)
        guard total > 0 else {
            return WordVectors(
                dimension: dimension,
                values: [Float](repeating: 0, count: vocabularyCount * dimension))
        }
        let keep = counts.map { count in
            count == 0 ? 0 : min(1, (subsampling * Double(total) / Double(count)).squareRoot())
        }
        var cumulative: [Double] = []
        for count in counts { cumulative.append((cumulative.last ?? 0) + pow(Double(count), 0.75)) }

        var random = SplitMix64(seed: seed)
        var words = [Float](repeating: 0, count: vocabularyCount * dimension)
        for word in 0..<vocabularyCount where counts[word] > 0 {
            for index in 0..<dimension {
                words[word * dimension + index] =
                    (Float(random.unit()) - 0.5) / Float(dimension)
            }
        }
        var contexts = [Float](repeating: 0, count: words.count)
        var step = [Float](repeating: 0, count: dimension)
        var seen = 0
        for epoch in 0..<epochs {
            progress(epoch)
            for post in posts {
                let kept = post.filter { random.unit() < keep[Int($0)] }
                let done = Float(seen) / Float(epochs * total)
                let rate = learningRate * max(1 - done, 1e-4)
                seen += post.count
                for (position, center) in kept.enumerated() {
                    let reach = 1 + random.below(window)
                    let near = max(0, position - reach)...min(kept.count - 1, position + reach)
                    for other in near where other != position {
                        // The row of the word that is near learns to tell the centre from others.
                        for index in 0..<dimension { step[index] = 0 }
                        let row = Int(kept[other]) * dimension
                        for draw in 0...negatives {
                            let context =
                                draw == 0
                                ? Int(center) : cumulative.firstIndex(above: random.unit())
                            if draw > 0 && context == Int(center) { continue }
                            learn(
                                isTrue: draw == 0, rate: rate, word: row,
                                context: context * dimension, words: words, contexts: &contexts,
                                step: &step)
                        }
                        for index in 0..<dimension { words[row + index] += step[index] }
                    }
                }
            }
        }
        return WordVectors(dimension: dimension, values: words)
    }

    /// One logistic regression step: the context's row moves at once, the word's is added up.
    private func learn(
        isTrue: Bool, rate: Float, word: Int, context: Int, words: [Float],
        contexts: inout [Float], step: inout [Float]
    ) {
        words.withUnsafeBytes { words in
            contexts.withUnsafeMutableBytes { contexts in
                step.withUnsafeMutableBytes { step in
                    var sums = SIMD4<Float>.zero
                    for index in stride(from: 0, to: dimension * 4, by: 16) {
                        sums +=
                            words.loadUnaligned(
                                fromByteOffset: word * 4 + index, as: SIMD4<Float>.self)
                            * contexts.loadUnaligned(
                                fromByteOffset: context * 4 + index, as: SIMD4<Float>.self)
                    }
                    let probability = 1 / (1 + exp(-sums.sum()))
                    let change = ((isTrue ? 1 : 0) - probability) * rate
                    for index in stride(from: 0, to: dimension * 4, by: 16) {
                        let old = contexts.loadUnaligned(
                            fromByteOffset: context * 4 + index, as: SIMD4<Float>.self)
                        let row = words.loadUnaligned(
                            fromByteOffset: word * 4 + index, as: SIMD4<Float>.self)
                        let sum = step.loadUnaligned(
                            fromByteOffset: index, as: SIMD4<Float>.self)
                        step.storeBytes(
                            of: sum + old * change, toByteOffset: index, as: SIMD4<Float>.self)
                        contexts.storeBytes(
                            of: old + row * change, toByteOffset: context * 4 + index,
                            as: SIMD4<Float>.self)
                    }
                }
            }
        }
    }
}

extension SplitMix64 {
    /// In 0 ..< 1, in steps of 2^-53.
    mutating func unit() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// In 0 ..< bound.
    mutating func below(_ bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }
}

extension [Double] {
    /// Where a running sum first exceeds the part `share` of its end.
    fileprivate func firstIndex(above share: Double) -> Int {
        let wanted = share * self[count - 1]
        var (low, high) = (0, count - 1)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] > wanted { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

// MARK: From a file

extension WordVectors {
    /// Reads the vectors of the vocabulary's words from a text file as GloVe writes it: a line a
    /// word, then its numbers, blanks between. Words that it lacks have no vector.
    ///
    /// - Parameter vocabulary: in the order of the word ids.
    package init(gloveFile path: String, vocabulary: Vocabulary) throws(TrainingError) {
        let file = try asTrainingError { () throws(ModelError) in try MappedFile(path: path) }
        let blank = UInt8(ascii: " ")
        var dimension = 0
        var values: [Float] = []
        var number = 0
        for line in file.contents().split(separator: UInt8(ascii: "\n")) {
            number += 1
            let fields = line.split(separator: blank)
            if dimension == 0 {
                dimension = fields.count - 1
                guard (2...4096).contains(dimension) else {
                    throw .line(
                        path: path, line: number,
                        reason: "\(dimension) numbers after the word; a GloVe file has 2 to 4096, "
                            + "and no header")
                }
                values = [Float](repeating: 0, count: vocabulary.count * dimension)
            }
            // A word may hold blanks itself: its numbers are the last ones.
            guard fields.count > dimension else {
                throw .line(
                    path: path, line: number,
                    reason: "\(fields.count - 1) numbers, expected \(dimension)")
            }
            let word = Array(fields.dropLast(dimension).joined(separator: [blank]))
            guard let id = vocabulary.id(of: String(decoding: word, as: UTF8.self)) else {
                continue
            }
            for (index, field) in fields.suffix(dimension).enumerated() {
                guard let value = Float(String(decoding: field, as: UTF8.self)), value.isFinite
                else {
                    throw .line(
                        path: path, line: number,
                        reason: "'\(String(decoding: field, as: UTF8.self))' is no number")
                }
                values[id * dimension + index] = value
            }
        }
        guard dimension > 0 else { throw .file(path: path, reason: "it holds no vectors") }
        self.init(dimension: dimension, values: values)
    }
}

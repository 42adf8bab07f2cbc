import CKernels
import Glibc

/// The network behind the backbone (equations and notation: MODEL.md of this module), ready to run:
/// features and words become a post's *encoding*, which knows no user; an encoding and a user
/// become a score. The first costs 0.2 G multiply-adds, the second 3 M, so a known post is scored
/// for another user almost for nothing.
///
/// Shared weights, and scratch memory allocated once; one caller at a time. How many threads work,
/// and how many users are scored at once, does not change a result, to the last bit.
package final class Head {
    package let weights: PackedHead
    private let shape: HeadShape
    private let kernels: Kernels
    private let workers: Workers
    /// Columns of d values, filled up.
    private let width: Int

    private let inputs: FloatMemory
    private let inputTerms: FloatMemory
    private let cell: FloatMemory
    private let means: FloatMemory
    private let guides: FloatMemory
    private var textMemory: EncodingMemory
    private var imageMemory: EncodingMemory
    private let packedText: FloatMemory
    private let packedImage: FloatMemory
    private let blocks: [UserBlock]
    private lazy var expander = EncodingExpander(weights: weights, workers: workers)

    package init(weights: PackedHead, workers: Workers) {
        let shape = weights.shape
        let width = weights.kernels.padded(shape.dimension)
        self.weights = weights
        self.shape = shape
        self.width = width
        self.workers = workers
        kernels = weights.kernels
        inputs = FloatMemory(count: shape.maximumWords * shape.dimension)
        inputTerms = FloatMemory(count: shape.maximumWords * gates * width)
        cell = FloatMemory(count: width)
        means = FloatMemory(count: 2 * width)
        guides = FloatMemory(count: 2 * width)
        textMemory = EncodingMemory(floats: shape.maximumWords * width)
        imageMemory = EncodingMemory(floats: shape.regions * width)
        packedText = FloatMemory(count: shape.maximumWords * width)
        packedImage = FloatMemory(count: shape.regions * width)
        blocks = (0..<workers.count).map { _ in UserBlock(weights) }
    }

    // MARK: Everything that does not depend on the user

    /// - Parameters:
    ///   - features: regions x channels from the backbone; nil where there is no usable image.
    ///   - wordIDs: rows of the word embedding, at most `maximumWords`; empty where no word is
    ///     known.
    package func encode(features: [Float]?, wordIDs: [Int32]) -> PostEncoding {
        precondition(wordIDs.count <= shape.maximumWords)
        // What this network does not read is as if it were not there.
        let wordIDs = shape.parts.reads_text ? wordIDs : []
        let features = shape.parts.reads_image ? features : nil
        let text = wordIDs.isEmpty ? nil : textMemory.modality(rows: wordIDs.count, shape, width)
        let image = features.map { features in
            precondition(features.count == shape.regions * shape.channels)
            return imageMemory.modality(rows: shape.regions, shape, width)
        }
        if text != nil { readWords(wordIDs) }
        // The LSTM goes word by word and keeps one thread busy; the others see the image meanwhile.
        let chains = text == nil ? 0 : 1
        let views = image == nil ? 0 : dividedUp(shape.regions, rowsAtATime)
        (features ?? []).withUnsafeBufferPointer { features in
            // Who has nothing left to do while the words go on fetches what comes after them.
            let fetches = workers.count > 1 ? chains : 0
            workers.run(tasks: chains + views + fetches) { task, _ in
                if task < chains, let text {
                    self.remember(into: text.states)
                } else if task == chains + views {
                    self.weights.fetchUserPart()
                } else if let image, let features = features.baseAddress {
                    self.see(
                        features, share(task - chains, of: views, in: image.states.rows), image)
                }
            }
        }
        guide(text, image)
        return PostEncoding(text: text, image: image)
    }

    /// X W, the words' input terms to the LSTM: all words in one product.
    private func readWords(_ wordIDs: [Int32]) {
        let d = shape.dimension
        for (row, id) in wordIDs.enumerated() {
            if let word = weights.word.row(Int(id)).baseAddress {
                (inputs.start + row * d).update(from: word, count: d)
            }
        }
        let matrix = weights.lstm.input
        let tasks = dividedUp(matrix.panels, panelsAtATime)
        workers.run(tasks: tasks) { task, _ in
            matrix.multiply(
                self.inputs.start, stride: d, rows: wordIDs.count,
                panels: share(task, of: tasks, in: matrix.panels), into: self.inputTerms.start)
        }
    }

    /// H = LSTM(X), all hidden states.
    private func remember(into hidden: Matrix) {
        let (lstm, d, panel) = (weights.lstm, shape.dimension, kernels.panel)
        let hard: Int32 = shape.gate == .hardSigmoid ? 1 : 0
        cell.start.update(repeating: 0, count: width)
        for word in 0..<hidden.rows {
            let previous = hidden.start + max(0, word - 1) * width
            for turn in 0..<lstm.groups {
                // To and fro: what was read last is still in the second-level cache.
                let group = word % 2 == 0 ? turn : lstm.groups - 1 - turn
                let gatesOfGroup = group * gates * panel
                kernels.table.pointee.lstm(
                    inputTerms.start + word * gates * width + gatesOfGroup,
                    lstm.bias.start + gatesOfGroup, previous, word == 0 ? 0 : d,
                    lstm.recurrent.start + gatesOfGroup * d, cell.start + group * panel,
                    hidden.start + word * width + group * panel, hard)
            }
        }
    }

    /// V = tanh(F W_img) and tanh(V A') of some regions.
    private func see(
        _ features: UnsafePointer<Float>, _ regions: Range<Int>, _ image: PostEncoding.Modality
    ) {
        let first = regions.lowerBound * width
        let states = image.states.start + first
        let gated = image.gated.start + first
        let channels = shape.channels
        weights.imageProjection.multiply(
            features + regions.lowerBound * channels, stride: channels, rows: regions.count,
            into: states)
        kernels.table.pointee.tanh(states, regions.count * width)
        weights.gate(weights.image, states, rows: regions.count, into: gated)
    }

    /// tanh(H A), and both modalities' gates times tanh(v0 B) and tanh(t0 B'): an absent guide is
    /// left out, never tanh(0) = 0.
    private func guide(_ text: PostEncoding.Modality?, _ image: PostEncoding.Modality?) {
        let parts = text.map { dividedUp($0.states.rows, rowsAtATime / 2) } ?? 0
        var work: [() -> Void] = []
        if let text, let image {
            work = [
                { self.guide(0, by: image.states, self.weights.text.b) },
                { self.guide(1, by: text.states, self.weights.image.b) },
            ]
        }
        for index in 0..<parts {
            guard let text else { break }
            work.append {
                let rows = share(index, of: parts, in: text.states.rows)
                let first = rows.lowerBound * self.width
                self.weights.gate(
                    self.weights.text, text.states.start + first, rows: rows.count,
                    into: text.gated.start + first)
            }
        }
        workers.run(tasks: work.count) { [work] task, _ in work[task]() }
        if let text, let image {
            kernels.table.pointee.scale_columns(
                text.gated.start, guides.start, text.gated.rows, width)
            kernels.table.pointee.scale_columns(
                image.gated.start, guides.start + width, image.gated.rows, width)
        }
    }

    private func guide(_ index: Int, by states: Matrix, _ matrix: PackedMatrix) {
        let mean = means.start + index * width
        let guide = guides.start + index * width
        kernels.table.pointee.column_means(states.start, states.rows, width, mean)
        matrix.multiply(mean, stride: width, rows: 1, into: guide)
        kernels.table.pointee.tanh(guide, width)
    }

    /// What `encode` made, from what was kept of it.
    package func expand(_ kept: KeptEncoding) -> PostEncoding { expander.expand([kept])[0] }

    // MARK: What depends on the user

    /// A user's projections, worth keeping with the user.
    package func project(user: [Float]) -> UserProjection { project(users: [user])[0] }

    /// Likewise of many users at once, which takes far less time than one by one.
    package func project(users: [[Float]]) -> [UserProjection] {
        collect(users.count) { block, range, put in
            block.project(users[range])
            for row in range { put(row, block.projection(row - range.lowerBound)) }
        }
    }

    package func predict(_ encoding: PostEncoding, user: UserProjection) -> Prediction {
        predict(encoding, users: [user])[0]
    }

    /// One post for many users.
    package func predict(_ encoding: PostEncoding, users: [UserProjection]) -> [Prediction] {
        let states = pack(encoding)
        return collect(users.count) { block, range, put in
            block.score(encoding, states, users[range])
            for row in range { put(row, block.prediction(row - range.lowerBound, encoding)) }
        }
    }

    /// The scores alone.
    package func scores(_ encoding: PostEncoding, users: [UserProjection]) -> [Float] {
        let states = pack(encoding)
        return collect(users.count) { block, range, put in
            block.score(encoding, states, users[range])
            for row in range { put(row, block.score(row - range.lowerBound)) }
        }
    }

    /// The states as the right side of a product.
    private func pack(_ encoding: PostEncoding) -> PackedStates {
        func packed(_ modality: PostEncoding.Modality?, _ memory: FloatMemory) -> PackedMatrix? {
            modality.map {
                PackedMatrix(
                    $0.states.start, inputs: $0.states.rows, outputs: width, stride: width,
                    memory.start, in: memory, kernels)
            }
        }
        return PackedStates(
            text: packed(encoding.text, packedText), image: packed(encoding.image, packedImage))
    }

    /// `count` results, made block by block of users: `work` puts one for each user of its range.
    private func collect<Result>(
        _ count: Int,
        _ work: @escaping (UserBlock, Range<Int>, (_ user: Int, Result) -> Void) -> Void
    ) -> [Result] {
        let tasks = dividedUp(count, UserBlock.maximumUsers)
        return Array(unsafeUninitializedCapacity: count) { results, initialized in
            if let start = results.baseAddress {
                workers.run(tasks: tasks) { task, worker in
                    work(self.blocks[worker], share(task, of: tasks, in: count)) {
                        (start + $0).initialize(to: $1)
                    }
                }
            }
            initialized = count
        }
    }
}

/// Regions, or twice as many as words, in a task: large enough for the weights to be read seldom,
/// small enough for threads to end together.
private let rowsAtATime = 30

/// Panels of the words' input terms in a task.
private let panelsAtATime = 8

/// The index-th of `parts` nearly equal ranges of 0..<count.
func share(_ index: Int, of parts: Int, in count: Int) -> Range<Int> {
    count * index / parts..<count * (index + 1) / parts
}

/// Room for one modality of an encoding, used again once nobody holds the last encoding.
private struct EncodingMemory {
    private var states: FloatMemory
    private var gated: FloatMemory

    init(floats: Int) {
        states = FloatMemory(count: floats)
        gated = FloatMemory(count: floats)
    }

    mutating func modality(rows: Int, _ shape: HeadShape, _ width: Int) -> PostEncoding.Modality {
        if !isKnownUniquelyReferenced(&states) || !isKnownUniquelyReferenced(&gated) {
            self = EncodingMemory(floats: states.count)
        }
        func matrix(_ memory: FloatMemory) -> Matrix {
            Matrix(memory, rows: rows, columns: shape.dimension, stride: width)
        }
        return PostEncoding.Modality(states: matrix(states), gated: matrix(gated))
    }
}

/// A post without its user: what `Head.encode` makes and `Head.predict` reads.
package struct PostEncoding: Sendable {
    package struct Modality: Sendable {
        /// H (words x d) or V (regions x d).
        package let states: Matrix
        /// tanh(H A) ⊙ tanh(v0 B), or tanh(V A') ⊙ tanh(t0 B').
        package let gated: Matrix
    }
    /// Nil where no word is known.
    package let text: Modality?
    /// Nil where there is no usable image.
    package let image: Modality?
}

package struct Prediction: Sendable, Equatable {
    package struct Modalities: Sendable, Equatable {
        package var text: Float
        package var image: Float
    }
    /// log2(views / days) + 1.
    package let score: Float
    /// alpha: one weight a word, summing to 1; empty without text.
    package let words: [Float]
    /// beta: one weight a region, row-major, summing to 1; empty without an image.
    package let regions: [Float]
    /// gamma: both 0 where both are absent.
    package let modalities: Modalities

    /// 2^(score - 1): typical (median) views a day, not the expected number.
    package static func viewsPerDay(score: Float) -> Double { exp2(Double(score) - 1) }
}

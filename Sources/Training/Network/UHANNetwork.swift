import CKernels
import Model

/// UHAN behind the backbone, to be trained: the equations of MODEL.md of the Model module for a batch
/// of posts, forward and backward. `Head` of that module serves what this has learnt.
///
/// How many threads compute does not change a bit.
final class UHANNetwork: TrainableNetwork {
    let parameters: Parameters
    let maximumPosts: Int
    private let shape: HeadShape
    private let kernels: Kernels
    private let workers: Workers
    private let linears: [Linear]
    private let width: Int

    private let words: Embedding
    private let users: Embedding
    private let unknownUser: Embedding
    private let recurrence: Recurrence
    private let imageProjection: Linear
    private let text: ModalityStates
    private let image: ModalityStates
    private let textAttention: GuidedAttention
    private let imageAttention: GuidedAttention
    private let modalities: ModalityAttention
    private let userTerm: Linear
    private let dense: DenseLayers

    /// X and u of the batch, and the derivatives by them.
    private let x: FloatMemory
    private let xBack: FloatMemory
    private let u: FloatMemory
    private let uBack: FloatMemory
    private let z: FloatMemory
    private let zBack: FloatMemory
    private var batch: [TrainingSample] = []
    private var masks = DropoutMasks()

    /// Tensors of a bundle, in the order of its files.
    static func shapes(
        _ shape: HeadShape, users: Int
    ) -> [(name: String, shape: [Int], blocks: Int)] {
        let d = shape.dimension
        var all: [(name: String, shape: [Int], blocks: Int)] = [
            ("user", [max(1, users), d], 1), ("unknown", [d], 1),
            ("word", [max(1, shape.vocabulary), d], 1),
            ("lstm.W", [d, 4 * d], 4), ("lstm.U", [d, 4 * d], 4), ("lstm.b", [4 * d], 4),
            ("W_img", [shape.channels, d], 1), ("W_r", [d, d], 1),
        ]
        for name in ["text", "image"] {
            all += ["A", "B", "C"].map { ("\(name).\($0)", [d, d], 1) }
            all.append(("\(name).h", [d], 1))
        }
        all += ["W_text", "W_image", "W_u"].map { ("inter.\($0)", [d, d], 1) }
        all.append(("inter.w", [d], 1))
        return all + denseShapes([d] + shape.dense + [1])
    }

    static func denseShapes(_ widths: [Int]) -> [(name: String, shape: [Int], blocks: Int)] {
        (1..<widths.count).flatMap {
            [
                ("dense\($0).W", [widths[$0 - 1], widths[$0]], 1),
                ("dense\($0).b", [widths[$0]], 1),
            ]
        }
    }

    init(
        _ shape: HeadShape, users: Int, maximumPosts: Int, _ kernels: Kernels, _ workers: Workers
    ) throws(TrainingError) {
        let parts = NetworkParts(Self.shapes(shape, users: users), kernels, workers)
        let (d, width) = (shape.dimension, kernels.padded(shape.dimension))
        let textRows = shape.parts.reads_text ? maximumPosts * shape.maximumWords : 0
        let imageRows = shape.parts.reads_image ? maximumPosts * shape.regions : 0
        self.shape = shape
        self.maximumPosts = maximumPosts
        self.kernels = kernels
        self.workers = workers
        self.width = width
        parameters = parts.parameters
        words = try Embedding(parameters, parts.slot("word"), kernels)
        self.users = try Embedding(parameters, parts.slot("user"), kernels)
        unknownUser = try Embedding(parameters, parts.slot("unknown"), kernels)
        recurrence = try Recurrence(
            parts, dimension: d, gate: shape.gate, maximumRows: textRows)
        imageProjection = try parts.linear("W_img", false)
        text = ModalityStates(
            states: recurrence.hidden, maximumPosts: maximumPosts, width: width, kernels, workers)
        image = ModalityStates(
            states: FloatMemory(zeros: imageRows * width), maximumPosts: maximumPosts,
            width: width, kernels, workers)
        textAttention = try GuidedAttention(
            "text", parts, dimension: d, maximumPosts: maximumPosts, maximumRows: textRows,
            maximumRowsOfPost: shape.maximumWords, usesUser: shape.parts.user_in_attention)
        imageAttention = try GuidedAttention(
            "image", parts, dimension: d, maximumPosts: maximumPosts, maximumRows: imageRows,
            maximumRowsOfPost: shape.regions, usesUser: shape.parts.user_in_attention)
        modalities = try ModalityAttention(
            parts, dimension: d, maximumPosts: maximumPosts, parts: shape.parts)
        userTerm = try parts.linear("W_r", true)
        dense = try DenseLayers(parts, count: shape.dense.count + 1, maximumPosts: maximumPosts)
        linears = parts.linears
        x = FloatMemory(zeros: textRows * width)
        xBack = FloatMemory(zeros: textRows * width)
        func perPost() -> FloatMemory { FloatMemory(zeros: maximumPosts * width) }
        (u, uBack, z, zBack) = (perPost(), perPost(), perPost(), perPost())
    }

    var penalisedBiases: [Parameters.Slot] { dense.biases }

    func pack() {
        for linear in linears { linear.pack() }
    }

    // MARK: Forward

    func forward(_ batch: [TrainingSample], masks: DropoutMasks) -> [Float] {
        precondition(!batch.isEmpty && batch.count <= maximumPosts)
        (self.batch, self.masks) = (batch, masks)
        let reads = shape.parts
        text.begin(
            rowCounts: batch.map {
                reads.reads_text && !$0.wordIDs.isEmpty ? $0.wordIDs.count : nil
            })
        image.begin(
            rowCounts: batch.map { reads.reads_image && $0.features != nil ? shape.regions : nil })
        takeUsers()
        readWords()
        seeImages()
        attend(textAttention, text, image)
        attend(imageAttention, image, text)
        modalities.forward(text, image, users: u.start)

        // z = o + u W_r
        if reads.user_term {
            userTerm.multiply(u.start, stride: width, rows: batch.count, into: z.start)
            kernels.table.pointee.add_scaled(
                z.start, modalities.output.start, 1, batch.count * width)
        } else {
            z.start.update(from: modalities.output.start, count: batch.count * width)
        }
        return dense.forward(z.start, stride: width, rows: batch.count)
    }

    private func takeUsers() {
        for (index, sample) in batch.enumerated() {
            let at = u.start + index * width
            if let user = sample.user {
                users.take(CollectionOfOne(user), mask: nil, into: at)
            } else {
                unknownUser.take(CollectionOfOne(0), mask: nil, into: at)
            }
        }
        if let mask = masks.users {
            let d = shape.dimension
            for post in batch.indices {
                for k in 0..<d { u.start[post * width + k] *= mask[post * d + k] }
            }
        }
    }

    private var wordRows: [Int] {
        shape.parts.reads_text ? batch.flatMap { $0.wordIDs.map(Int.init) } : []
    }

    /// H = LSTM(X), t0 and tanh(H A).
    private func readWords() {
        guard text.rows > 0 else { return }
        words.take(wordRows, mask: masks.words, into: x.start)
        recurrence.forward(x.start, texts: text.posts.compactMap { $0 })
        workers.run(tasks: batch.count) { post, _ in
            guard let rows = self.text.posts[post] else { return }
            self.text.takeMean(ofPost: post)
            if self.shape.parts.intra_attention { self.textAttention.gate(self.text, rows: rows) }
        }
    }

    /// V = tanh(F W_img), v0 and tanh(V A'), picture by picture, while it is near.
    private func seeImages() {
        workers.run(tasks: batch.count) { post, _ in
            guard let rows = self.image.posts[post], let features = self.batch[post].features
            else { return }
            let states = self.image.states + rows.lowerBound * self.width
            self.imageProjection.apply(
                features, stride: self.shape.channels, rows: rows.count, into: states)
            self.kernels.table.pointee.tanh(states, rows.count * self.width)
            self.multiplyByRegionMask(states, rows)
            self.image.takeMean(ofPost: post)
            if self.shape.parts.intra_attention {
                self.imageAttention.gate(self.image, rows: rows)
            }
        }
    }

    private func multiplyByRegionMask(_ states: Floats, _ rows: Range<Int>) {
        guard let mask = masks.regions else { return }
        let d = shape.dimension
        mask.withUnsafeBufferPointer { mask in
            for row in rows {
                let state = states + (row - rows.lowerBound) * width
                for k in 0..<d { state[k] *= mask[row * d + k] }
            }
        }
    }

    private func attend(
        _ attention: GuidedAttention, _ modality: ModalityStates, _ other: ModalityStates
    ) {
        if shape.parts.intra_attention {
            attention.forward(modality, guidedBy: other, users: u.start)
        } else {
            modality.summariseByMeans()
        }
    }

    // MARK: Backward

    func backward(_ scoresBack: [Float]) {
        let rows = batch.count
        for memory in [zBack, uBack] { memory.start.update(repeating: 0, count: rows * width) }
        dense.backward(z.start, stride: width, scoresBack, addedTo: zBack.start)
        if shape.parts.user_term {
            userTerm.weightBack(u.start, stride: width, rows: rows, zBack.start)
            userTerm.inputBack(zBack.start, rows: rows, addedTo: uBack.start)
        }
        modalities.backward(
            zBack.start, text, image, users: u.start, usersBack: uBack.start)
        attendBack(textAttention, text, image)
        attendBack(imageAttention, image, text)
        seeImagesBack()
        readWordsBack()
        takeUsersBack()
    }

    private func attendBack(
        _ attention: GuidedAttention, _ modality: ModalityStates, _ other: ModalityStates
    ) {
        if shape.parts.intra_attention {
            attention.backward(
                modality, guidedBy: other, users: u.start, usersBack: uBack.start)
            attention.weightBack(modality)
        } else {
            modality.summariseByMeansBack()
        }
    }

    private func seeImagesBack() {
        guard image.rows > 0 else { return }
        workers.run(tasks: batch.count) { post, _ in
            guard let rows = self.image.posts[post] else { return }
            let at = rows.lowerBound * self.width
            let (states, back) = (self.image.states + at, self.image.statesBack.start + at)
            if self.shape.parts.intra_attention {
                self.imageAttention.gateBack(self.image, rows: rows)
            }
            self.image.addMeanBack(ofPost: post)
            if self.masks.regions != nil {
                self.multiplyByRegionMask(back, rows)
                self.undoRegionMask(states, rows)
            }
            self.kernels.table.pointee.tanh_back(back, states, rows.count * self.width)
        }
        imageProjection.weightBack(
            batch.indices.compactMap { post in
                guard image.posts[post] != nil, let features = batch[post].features else {
                    return nil
                }
                return (features, shape.regions)
            }, stride: shape.channels, image.statesBack.start)
    }

    /// tanh(...) again, where dropout kept it; where it did not, the derivative is 0 anyhow.
    private func undoRegionMask(_ states: Floats, _ rows: Range<Int>) {
        guard let mask = masks.regions else { return }
        let d = shape.dimension
        mask.withUnsafeBufferPointer { mask in
            for row in rows {
                let state = states + (row - rows.lowerBound) * width
                for k in 0..<d where mask[row * d + k] > 0 { state[k] /= mask[row * d + k] }
            }
        }
    }

    private func readWordsBack() {
        guard text.rows > 0 else { return }
        workers.run(tasks: batch.count) { post, _ in
            guard let rows = self.text.posts[post] else { return }
            if self.shape.parts.intra_attention {
                self.textAttention.gateBack(self.text, rows: rows)
            }
            self.text.addMeanBack(ofPost: post)
        }
        xBack.start.update(repeating: 0, count: text.rows * width)
        recurrence.backward(
            x.start, hiddenBack: text.statesBack.start, addedTo: xBack.start)
        words.addBack(wordRows, mask: masks.words, xBack.start)
    }

    private func takeUsersBack() {
        let d = shape.dimension
        for (post, sample) in batch.enumerated() {
            let back = uBack.start + post * width
            if let mask = masks.users {
                for k in 0..<d { back[k] *= mask[post * d + k] }
            }
            if let user = sample.user {
                users.addBack(CollectionOfOne(user), mask: nil, back)
            } else {
                unknownUser.addBack(CollectionOfOne(0), mask: nil, back)
            }
        }
    }
}

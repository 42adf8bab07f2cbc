import CKernels

/// The exact derivative of scores by the users' vectors, for many posts at once (equations: MODEL.md
/// of this module). Only u moves: the derivative passes by the states and the gated products and
/// leaves them alone.
///
/// A post's attention reads all of its encoding and does little with it: posts are shared out among
/// the threads. All else is matrix products with posts, or users, as rows: their weights are shared
/// out. What is computed of a post or a user does not depend on what else is computed along with
/// it, and sums are in the order of the posts: the same bits for every number of threads.
///
/// Transposed weights (12.6 MB at the paper's sizes) and scratch memory (9 MB) allocated once; one
/// caller at a time.
package final class UserGradient {
    /// Posts whose way through the network is in memory at once. More are taken in blocks of so
    /// many, and their scores computed twice: what a loss makes of them needs them all.
    package static let maximumPosts = 128

    private typealias Rows = UnsafeMutablePointer<Float>

    private let weights: PackedHead
    private let transposed: TransposedHead
    private let kernels: Kernels
    private let workers: Workers
    private let parts: BundleConfiguration.Parts
    private let expander: EncodingExpander
    private let d: Int
    /// Columns of d values, filled up.
    private let width: Int

    private let memory: FloatMemory
    /// (users, width): u, tanh(u C), tanh(u C'), tanh(u W_u) and u W_r; these guides times h, h'
    /// and w.
    private let users: Rows
    private let textGuides: Rows
    private let imageGuides: Rows
    private let interGuides: Rows
    private let residuals: Rows
    private let textFactors: Rows
    private let imageFactors: Rows
    private let interFactors: Rows
    /// (posts, width): t1, v1, tanh(t1 W_text), tanh(v1 W_image), z.
    private let textSummaries: Rows
    private let imageSummaries: Rows
    private let textGates: Rows
    private let imageGates: Rows
    private let z: Rows
    /// (posts, words), (posts, regions), (posts, {text, image}), columns filled up: the weights
    /// alpha, beta, gamma.
    private let words: Attention
    private let regions: Attention
    private let modalities: Attention
    /// What comes out of the dense layers.
    private let activations: [Rows]

    // Derivatives: of the loss, by what the name says without "Back".
    private let scoresBack: Rows
    private let activationsBack: [Rows]
    private let zBack: Rows
    private let textSummariesBack: Rows
    private let imageSummariesBack: Rows
    private let textGatesBack: Rows
    private let imageGatesBack: Rows
    /// (posts, width): by the post's own factor, less what all posts of a user have in common.
    private let textFactorsBack: Rows
    private let imageFactorsBack: Rows
    private let interFactorsBack: Rows
    /// (users, width): by u C, u C', u W_u, u W_r, and by u.
    private let textGuidesBack: Rows
    private let imageGuidesBack: Rows
    private let interGuidesBack: Rows
    private let residualsBack: Rows
    private let usersBack: Rows
    /// For each thread.
    private let energiesBack: Attention

    private struct Attention {
        let start: Rows
        let width: Int

        func row(_ row: Int) -> Rows { start + row * width }
    }

    /// At most `maximumPosts` posts, and the users that they are scored for.
    private struct Block {
        let posts: Range<Int>
        /// Their places in the caller's list, in the order of their first post.
        var users: [Int] = []
        /// For each post a place in `users`.
        var userOf: [Int] = []
    }

    package init(weights: PackedHead, workers: Workers) {
        let (kernels, shape, posts) = (weights.kernels, weights.shape, Self.maximumPosts)
        let width = kernels.padded(shape.dimension)
        let wordsWidth = kernels.padded(shape.maximumWords)
        let regionsWidth = kernels.padded(shape.regions)
        let modalitiesWidth = kernels.padded(2)
        let layers = weights.dense.map(\.weight.stride)
        let longest = max(wordsWidth, regionsWidth)
        // Zeros: where rows are filled up, nothing else is ever written.
        let memory = FloatMemory(
            zeros: posts
                * (26 * width + wordsWidth + regionsWidth + modalitiesWidth + 1
                    + 2 * layers.reduce(0, +))
                + workers.count * longest)
        var used = memory.start
        func take(_ columns: Int, rows: Int = posts) -> Rows {
            defer { used += rows * columns }
            return used
        }
        self.weights = weights
        self.kernels = kernels
        self.workers = workers
        self.memory = memory
        self.width = width
        d = shape.dimension
        parts = shape.parts
        transposed = TransposedHead(weights)
        expander = EncodingExpander(weights: weights, workers: workers)
        users = take(width)
        (textGuides, imageGuides, interGuides) = (take(width), take(width), take(width))
        residuals = take(width)
        (textFactors, imageFactors, interFactors) = (take(width), take(width), take(width))
        (textSummaries, imageSummaries) = (take(width), take(width))
        (textGates, imageGates) = (take(width), take(width))
        z = take(width)
        words = Attention(start: take(wordsWidth), width: wordsWidth)
        regions = Attention(start: take(regionsWidth), width: regionsWidth)
        modalities = Attention(start: take(modalitiesWidth), width: modalitiesWidth)
        activations = layers.map { take($0) }
        activationsBack = layers.map { take($0) }
        scoresBack = take(1)
        zBack = take(width)
        (textSummariesBack, imageSummariesBack) = (take(width), take(width))
        (textGatesBack, imageGatesBack) = (take(width), take(width))
        (textFactorsBack, imageFactorsBack) = (take(width), take(width))
        interFactorsBack = take(width)
        (textGuidesBack, imageGuidesBack) = (take(width), take(width))
        (interGuidesBack, residualsBack) = (take(width), take(width))
        usersBack = take(width)
        energiesBack = Attention(start: take(longest, rows: workers.count), width: longest)
        precondition(used == memory.start + memory.count)
    }

    /// Encodings of what was kept of them, all posts over all threads; the bits of `Head.expand`.
    /// One piece of memory holds them all, 1 MB a post at the paper's sizes; it is used again once
    /// nobody holds any of them.
    package func expand(_ kept: [KeptEncoding]) -> [PostEncoding] { expander.expand(kept) }

    // MARK: All posts

    /// - Parameters:
    ///   - userOf: for each post a place in `users`.
    ///   - users: vectors of d values.
    /// - Returns: a score a post: that of `Head.predict`, to rounding.
    package func scores(_ posts: [PostEncoding], userOf: [Int], users: [[Float]]) -> [Float] {
        blocks(userOf).flatMap { forward($0, posts, users) }
    }

    /// - Parameter back: from the scores to the derivative of a loss by each of them.
    /// - Returns: the scores, and for each user the derivative of the loss by its vector, summed
    ///   over its posts; zeros for a user without any.
    package func gradient(
        _ posts: [PostEncoding], userOf: [Int], users: [[Float]], back: ([Float]) -> [Float]
    ) -> (scores: [Float], gradients: [[Float]]) {
        let blocks = blocks(userOf)
        let scores = blocks.flatMap { forward($0, posts, users) }
        let scoresBack = back(scores)
        precondition(scoresBack.count == posts.count)
        var gradients = users.map { _ in [Float](repeating: 0, count: d) }
        for (index, block) in blocks.enumerated().reversed() {
            // The last block's way is still there.
            if index < blocks.count - 1 { _ = forward(block, posts, users) }
            backward(block, posts, Array(scoresBack[block.posts]))
            for (row, user) in block.users.enumerated() {
                let back = usersBack + row * width
                gradients[user].withUnsafeMutableBufferPointer { gradient in
                    for k in 0..<d { gradient[k] += back[k] }
                }
            }
        }
        return (scores, gradients)
    }

    private func blocks(_ userOf: [Int]) -> [Block] {
        let count = dividedUp(userOf.count, Self.maximumPosts)
        return (0..<count).map { index in
            var block = Block(posts: share(index, of: count, in: userOf.count))
            var rows: [Int: Int] = [:]
            for user in userOf[block.posts] {
                let row = rows[user] ?? block.users.count
                if row == block.users.count {
                    rows[user] = row
                    block.users.append(user)
                }
                block.userOf.append(row)
            }
            return block
        }
    }

    // MARK: Forward

    private func forward(_ block: Block, _ posts: [PostEncoding], _ vectors: [[Float]]) -> [Float] {
        project(block.users.map { vectors[$0] })
        let count = block.posts.count
        workers.run(tasks: count) { post, _ in
            let (encoding, user) = (posts[block.posts.lowerBound + post], block.userOf[post])
            let (at, userAt) = (post * self.width, user * self.width)
            self.attend(
                encoding.text, self.textFactors + userAt, self.words.row(post),
                into: self.textSummaries + at)
            self.attend(
                encoding.image, self.imageFactors + userAt, self.regions.row(post),
                into: self.imageSummaries + at)
        }
        if parts.inter_attention {
            multiply(
                [
                    Product(textSummaries, weights.inter.text, textGates, then: .tanh),
                    Product(imageSummaries, weights.inter.image, imageGates, then: .tanh),
                ], stride: width, rows: count)
        }
        for post in 0..<count {
            weighModalities(post, block.userOf[post], posts[block.posts.lowerBound + post])
        }
        var (input, stride) = (z, width)
        for (index, layer) in weights.dense.enumerated() {
            let output = activations[index]
            let isLast = index == weights.dense.count - 1
            multiply(
                [
                    Product(
                        input, layer.weight, output,
                        then: isLast ? .nothing : .addAndReLU(layer.bias.start))
                ], stride: stride, rows: count)
            (input, stride) = (output, layer.weight.stride)
        }
        let bias = weights.dense.last?.bias.start[0] ?? 0
        return (0..<count).map { input[$0 * stride] + bias }
    }

    /// A user's guides do not depend on the post.
    private func project(_ vectors: [[Float]]) {
        for (row, vector) in vectors.enumerated() {
            precondition(vector.count == d)
            (users + row * width).update(from: vector, count: d)
        }
        let guides = [
            (weights.text.c, textGuides, textFactors, weights.text.h),
            (weights.image.c, imageGuides, imageFactors, weights.image.h),
            (weights.inter.user, interGuides, interFactors, weights.inter.w),
        ]
        var products: [Product] = []
        if parts.user_in_attention {
            products += guides.map { Product(users, $0.0, $0.1, then: .tanh) }
        }
        if parts.user_term { products.append(Product(users, weights.userResidual, residuals)) }
        multiply(products, stride: width, rows: vectors.count)
        for (_, guide, factors, vector) in guides {
            for row in 0..<vectors.count {
                (factors + row * width).update(from: vector.start, count: width)
                if parts.user_in_attention {
                    kernels.table.pointee.scale_columns(
                        factors + row * width, guide + row * width, 1, width)
                }
            }
        }
    }

    /// e = gated · factor, weights = softmax(e), summary = Σ weights states; without attention all
    /// weights are equal.
    private func attend(
        _ modality: PostEncoding.Modality?, _ factor: Rows, _ attention: Rows, into summary: Rows
    ) {
        summary.update(repeating: 0, count: width)
        guard let modality else { return }
        let (table, rows) = (kernels.table.pointee, modality.states.rows)
        let padded = kernels.padded(rows)
        if parts.intra_attention {
            table.dots(factor, 1, modality.gated.start, rows, width, attention, padded)
        } else {
            attention.update(repeating: 0, count: rows)
        }
        (attention + rows).update(repeating: -.infinity, count: padded - rows)
        table.softmax(attention, padded)
        for row in 0..<rows {
            table.add_scaled(summary, modality.states.start + row * width, attention[row], width)
        }
    }

    /// gamma and z = gamma_text t1 + gamma_image v1 + u W_r. gamma is 1 for a modality that is alone,
    /// 0 for one that is absent; without attention between the modalities 1 for both.
    private func weighModalities(_ post: Int, _ user: Int, _ encoding: PostEncoding) {
        let (table, at) = (kernels.table.pointee, post * width)
        let gamma = modalities.row(post)
        if hasModalityAttention(encoding) {
            for (index, gates) in [textGates, imageGates].enumerated() {
                table.dots(
                    interFactors + user * width, 1, gates + at, 1, width, gamma + index, 1)
            }
            (gamma + 2).update(repeating: -.infinity, count: modalities.width - 2)
            table.softmax(gamma, modalities.width)
        } else {
            gamma[0] = encoding.text == nil ? 0 : 1
            gamma[1] = encoding.image == nil ? 0 : 1
        }
        if parts.user_term {
            (z + at).update(from: residuals + user * width, count: width)
        } else {
            (z + at).update(repeating: 0, count: width)
        }
        for (index, summaries) in [textSummaries, imageSummaries].enumerated()
        where gamma[index] != 0 {
            table.add_scaled(z + at, summaries + at, gamma[index], width)
        }
    }

    private func hasModalityAttention(_ encoding: PostEncoding) -> Bool {
        parts.inter_attention && encoding.text != nil && encoding.image != nil
    }

    // MARK: Backward

    /// From the derivative by the scores to that by the block's users, after `forward`.
    private func backward(_ block: Block, _ posts: [PostEncoding], _ back: [Float]) {
        let (table, count, width) = (kernels.table.pointee, block.posts.count, width)
        scoresBack.update(from: back, count: count)
        var (outputBack, stride) = (scoresBack, 1)
        for index in weights.dense.indices.reversed() {
            let inputBack = index > 0 ? activationsBack[index - 1] : zBack
            multiply(
                [
                    Product(
                        outputBack, transposed.dense[index], inputBack,
                        then: index > 0 ? .backThroughReLU(activations[index - 1]) : .nothing)
                ], stride: stride, rows: count)
            (outputBack, stride) = (inputBack, transposed.dense[index].stride)
        }

        var guides: [(weights: PackedMatrix, back: Rows)] = []
        func sum(_ back: Rows, of postsBack: Rows) {
            back.update(repeating: 0, count: block.users.count * width)
            for post in 0..<count {
                table.add_scaled(
                    back + block.userOf[post] * width, postsBack + post * width, 1, width)
            }
        }
        if parts.user_term {
            sum(residualsBack, of: zBack)
            guides.append((transposed.residual, residualsBack))
        }
        if parts.user_in_attention {
            attentionBack(block, posts)
            for (postsBack, factor, guide, back, matrix) in [
                (textFactorsBack, weights.text.h, textGuides, textGuidesBack, transposed.text),
                (imageFactorsBack, weights.image.h, imageGuides, imageGuidesBack, transposed.image),
                (interFactorsBack, weights.inter.w, interGuides, interGuidesBack, transposed.inter),
            ] {
                sum(back, of: postsBack)
                table.scale_columns(back, factor.start, block.users.count, width)
                table.tanh_back(back, guide, block.users.count * width)
                guides.append((matrix, back))
            }
        }

        let usersBack = usersBack
        usersBack.update(repeating: 0, count: block.users.count * width)
        workers.run(tasks: dividedUp(width, kernels.panel)) { [guides] panel, _ in
            for (matrix, back) in guides {
                matrix.multiplyAdd(
                    back, stride: width, rows: block.users.count, panels: panel..<panel + 1,
                    onto: usersBack)
            }
        }
    }

    /// From z to the factors of the three attentions.
    private func attentionBack(_ block: Block, _ posts: [PostEncoding]) {
        let (count, width) = (block.posts.count, width)
        workers.run(tasks: count) { post, _ in
            self.modalitiesBack(
                post, block.userOf[post], posts[block.posts.lowerBound + post])
        }
        if parts.inter_attention {
            multiply(
                [
                    Product(textGatesBack, transposed.textGate, textSummariesBack),
                    Product(imageGatesBack, transposed.imageGate, imageSummariesBack),
                ], stride: width, rows: count, adding: true)
        }
        workers.run(tasks: count) { task, worker in
            // Last things first: the last posts may still be in a cache.
            let post = count - 1 - task
            let encoding = posts[block.posts.lowerBound + post]
            let at = post * width
            let energiesBack = self.energiesBack.row(worker)
            self.attendBack(
                encoding.text, self.words.row(post), self.textSummariesBack + at, energiesBack,
                into: self.textFactorsBack + at)
            self.attendBack(
                encoding.image, self.regions.row(post), self.imageSummariesBack + at,
                energiesBack, into: self.imageFactorsBack + at)
        }
    }

    /// What a post's gamma hand on: to the gates and the user's factor by the difference of their
    /// energies, to the summaries directly.
    private func modalitiesBack(_ post: Int, _ user: Int, _ encoding: PostEncoding) {
        let (table, at, gamma) = (kernels.table.pointee, post * width, modalities.row(post))
        let zBack = zBack + at
        for (index, summariesBack) in [textSummariesBack, imageSummariesBack].enumerated() {
            (summariesBack + at).update(repeating: 0, count: width)
            table.add_scaled(summariesBack + at, zBack, gamma[index], width)
        }
        guard parts.inter_attention else {
            (interFactorsBack + at).update(repeating: 0, count: width)
            return
        }
        var energyBack: Float = 0
        if hasModalityAttention(encoding) {
            var byModality: (text: Float, image: Float) = (0, 0)
            table.dots(zBack, 1, textSummaries + at, 1, width, &byModality.text, 1)
            table.dots(zBack, 1, imageSummaries + at, 1, width, &byModality.image, 1)
            energyBack = gamma[0] * gamma[1] * (byModality.text - byModality.image)
        }
        let (textGate, imageGate) = (textGates + at, imageGates + at)
        for (gate, back, sign) in [
            (textGate, textGatesBack + at, 1), (imageGate, imageGatesBack + at, -1 as Float),
        ] {
            back.update(repeating: 0, count: width)
            table.add_scaled(back, interFactors + user * width, sign * energyBack, width)
            table.tanh_back(back, gate, width)
        }
        let factorsBack = interFactorsBack + at
        factorsBack.update(repeating: 0, count: width)
        table.add_scaled(factorsBack, textGate, energyBack, width)
        table.add_scaled(factorsBack, imageGate, -energyBack, width)
    }

    private func attendBack(
        _ modality: PostEncoding.Modality?, _ attention: Rows, _ summaryBack: Rows,
        _ energiesBack: Rows, into factorBack: Rows
    ) {
        guard let modality, parts.intra_attention else {
            factorBack.update(repeating: 0, count: width)
            return
        }
        kernels.table.pointee.attend_factor_back(
            modality.states.start, modality.gated.start, modality.states.rows, width, attention,
            summaryBack, energiesBack, factorBack)
    }

    // MARK: Products, their weights shared out

    /// y = x · matrix, and what is done with y afterwards. Rows of y lie as far apart as those of
    /// the matrix.
    private struct Product {
        enum Then {
            case nothing
            case tanh
            case addAndReLU(UnsafePointer<Float>)
            /// What came out of the ReLU.
            case backThroughReLU(Rows)
        }
        let x: Rows
        let matrix: PackedMatrix
        let y: Rows
        let then: Then

        init(_ x: Rows, _ matrix: PackedMatrix, _ y: Rows, then: Then = .nothing) {
            self.x = x
            self.matrix = matrix
            self.y = y
            self.then = then
        }
    }

    /// - Parameter adding: y += x · matrix.
    private func multiply(
        _ products: [Product], stride: Int, rows: Int, adding: Bool = false
    ) {
        let (table, panel) = (kernels.table, kernels.panel)
        let tasks = products.flatMap { product in
            (0..<product.matrix.panels).map { (product: product, panel: $0) }
        }
        workers.run(tasks: tasks.count) { task, _ in
            let (product, index) = tasks[task]
            let (matrix, y, panels) = (product.matrix, product.y, index..<index + 1)
            if adding {
                matrix.multiplyAdd(product.x, stride: stride, rows: rows, panels: panels, onto: y)
            } else if case .addAndReLU(let bias) = product.then {
                matrix.multiplyReLU(
                    product.x, stride: stride, rows: rows, bias: bias, panels: panels, into: y)
            } else {
                matrix.multiply(product.x, stride: stride, rows: rows, panels: panels, into: y)
            }
            for row in 0..<rows {
                let at = row * matrix.stride + index * panel
                switch product.then {
                case .nothing, .addAndReLU: break
                case .tanh: table.pointee.tanh(y + at, panel)
                case .backThroughReLU(let output):
                    table.pointee.relu_back(y + at, output + at, panel)
                }
            }
        }
    }
}

/// The weights that a derivative passes on its way to the user, transposed.
private struct TransposedHead {
    /// C, C', W_u, W_r.
    let text: PackedMatrix
    let image: PackedMatrix
    let inter: PackedMatrix
    let residual: PackedMatrix
    /// W_text, W_image.
    let textGate: PackedMatrix
    let imageGate: PackedMatrix
    let dense: [PackedMatrix]

    init(_ weights: PackedHead) {
        let (kernels, shape) = (weights.kernels, weights.shape)
        let d = shape.dimension
        let square = PackedMatrix.floats(inputs: d, outputs: d, kernels)
        let memory = FloatMemory(
            count: shape.layers.reduce(6 * square) {
                $0 + PackedMatrix.floats(inputs: $1.outputs, outputs: $1.inputs, kernels)
            })
        var used = memory.start
        func transpose(_ matrix: PackedMatrix, outputs: Int) -> PackedMatrix {
            defer {
                used += PackedMatrix.floats(inputs: outputs, outputs: matrix.inputs, kernels)
            }
            return PackedMatrix(transposing: matrix, outputs: outputs, used, in: memory)
        }
        text = transpose(weights.text.c, outputs: d)
        image = transpose(weights.image.c, outputs: d)
        inter = transpose(weights.inter.user, outputs: d)
        residual = transpose(weights.userResidual, outputs: d)
        textGate = transpose(weights.inter.text, outputs: d)
        imageGate = transpose(weights.inter.image, outputs: d)
        dense = zip(weights.dense, shape.layers).map {
            transpose($0.weight, outputs: $1.outputs)
        }
    }
}

import CKernels
import Model

/// Attention within one modality, guided by the other one and by the user, for the posts of a
/// batch, and its derivatives (MODEL.md of the Model module):
///
///     e_r = [tanh(S_r A) ⊙ tanh(g B) ⊙ tanh(u C)] · h     weights = softmax(e)     summary = Σ weights_r S_r
///
/// S are the states of the modality, g the means of the other one. A factor that is not there is
/// left out of the product.
final class GuidedAttention {
    private let width: Int
    private let a: Linear
    private let b: Linear
    private let c: Linear
    private let h: Parameters.Slot
    private let parameters: Parameters
    private let kernels: Kernels
    private let workers: Workers
    private let usesUser: Bool

    /// The rows' weights.
    let weights: FloatMemory
    private let energiesBack: FloatMemory
    /// (rows, width): tanh(S A), and the derivative by what is inside of it.
    private let gated: FloatMemory
    private let gatedBack: FloatMemory
    /// (posts, width): tanh(g B), tanh(u C), their product with h, and the derivatives.
    private let otherGuides: FloatMemory
    private let userGuides: FloatMemory
    private let factors: FloatMemory
    private let factorsBack: FloatMemory
    private let guidesBack: FloatMemory
    private let energies: [FloatMemory]

    init(
        _ name: String, _ parts: NetworkParts, dimension: Int, maximumPosts: Int,
        maximumRows: Int, maximumRowsOfPost: Int, usesUser: Bool
    ) throws(TrainingError) {
        parameters = parts.parameters
        kernels = parts.kernels
        workers = parts.workers
        self.usesUser = usesUser
        let width = kernels.padded(dimension)
        self.width = width
        a = try parts.linear("\(name).A", true)
        b = try parts.linear("\(name).B", true)
        c = try parts.linear("\(name).C", true)
        h = try parts.slot("\(name).h")
        func perRow() -> FloatMemory { FloatMemory(zeros: maximumRows * width) }
        func perPost() -> FloatMemory { FloatMemory(zeros: maximumPosts * width) }
        (gated, gatedBack) = (perRow(), perRow())
        (weights, energiesBack) = (
            FloatMemory(zeros: maximumRows), FloatMemory(zeros: maximumRows)
        )
        (factors, factorsBack) = (perPost(), perPost())
        (otherGuides, userGuides, guidesBack) = (perPost(), perPost(), perPost())
        let longest = kernels.padded(maximumRowsOfPost)
        energies = (0..<workers.count).map { _ in FloatMemory(zeros: longest) }
    }

    /// tanh(S A) of some rows, by the calling thread.
    func gate(_ modality: ModalityStates, rows: Range<Int>) {
        let first = rows.lowerBound * width
        a.apply(
            modality.states + first, stride: width, rows: rows.count, into: gated.start + first)
        kernels.table.pointee.tanh(gated.start + first, rows.count * width)
    }

    /// From states and means to summaries, after `gate` of all rows.
    func forward(_ modality: ModalityStates, guidedBy other: ModalityStates, users: Floats) {
        let count = modality.posts.count
        b.multiply(other.means.start, stride: width, rows: count, into: otherGuides.start)
        kernels.table.pointee.tanh(otherGuides.start, count * width)
        if usesUser {
            c.multiply(users, stride: width, rows: count, into: userGuides.start)
            kernels.table.pointee.tanh(userGuides.start, count * width)
        }
        let h = parameters.value(h)
        for post in 0..<count {
            let isGuided = other.posts[post] != nil
            for k in 0..<width {
                let at = post * width + k
                factors.start[at] =
                    h[k] * (isGuided ? otherGuides.start[at] : 1)
                    * (usesUser ? userGuides.start[at] : 1)
            }
        }
        workers.run(tasks: count) { post, worker in
            guard let rows = modality.posts[post] else { return }
            self.attend(
                modality.states, post, rows, self.energies[worker].start,
                modality.summaries.start + post * self.width)
        }
    }

    private func attend(
        _ states: Floats, _ post: Int, _ rows: Range<Int>, _ energies: Floats, _ summary: Floats
    ) {
        let (table, first) = (kernels.table.pointee, rows.lowerBound * width)
        let padded = kernels.padded(rows.count)
        (energies + rows.count).update(repeating: -.infinity, count: padded - rows.count)
        table.dots(
            factors.start + post * width, 1, gated.start + first, rows.count, width, energies,
            padded)
        table.softmax(energies, padded)
        (weights.start + rows.lowerBound).update(from: energies, count: rows.count)
        summary.update(repeating: 0, count: width)
        for row in 0..<rows.count {
            table.add_scaled(summary, states + first + row * width, energies[row], width)
        }
    }

    /// From the derivative by the summaries to that by the states (all but what goes through A: that
    /// is `gateBack`), by the other modality's means and by the users.
    func backward(
        _ modality: ModalityStates, guidedBy other: ModalityStates, users: Floats,
        usersBack: Floats
    ) {
        let count = modality.posts.count
        workers.run(tasks: count) { post, _ in
            let at = post * self.width
            guard let rows = modality.posts[post] else {
                (self.factorsBack.start + at).update(repeating: 0, count: self.width)
                return
            }
            let first = rows.lowerBound * self.width
            self.kernels.table.pointee.attend_back(
                modality.states + first, self.gated.start + first, rows.count, self.width,
                self.weights.start + rows.lowerBound, self.factors.start + at,
                modality.summariesBack.start + at, self.energiesBack.start + rows.lowerBound,
                modality.statesBack.start + first, self.gatedBack.start + first,
                self.factorsBack.start + at)
        }
        let isGuided = other.posts.map { $0 != nil }
        let (h, hBack) = (parameters.value(h), parameters.gradient(h))
        for post in 0..<count where modality.posts[post] != nil {
            let at = post * width
            for k in 0..<width {
                hBack[k] +=
                    factorsBack.start[at + k] * (isGuided[post] ? otherGuides.start[at + k] : 1)
                    * (usesUser ? userGuides.start[at + k] : 1)
            }
        }
        /// The way back through one guide: the derivative by its product is that by the factor times
        /// all else in the factor.
        func guideBack(
            _ linear: Linear, _ guides: Floats, _ inputs: Floats, addedTo inputsBack: Floats,
            _ rest: (_ post: Int, _ at: Int) -> Float
        ) {
            for post in 0..<count {
                for k in 0..<width {
                    let at = post * width + k
                    guidesBack.start[at] = factorsBack.start[at] * h[k] * rest(post, at)
                }
            }
            kernels.table.pointee.tanh_back(guidesBack.start, guides, count * width)
            linear.weightBack(inputs, stride: width, rows: count, guidesBack.start)
            linear.inputBack(guidesBack.start, rows: count, addedTo: inputsBack)
        }
        guideBack(
            b, otherGuides.start, other.means.start, addedTo: other.meansBack.start
        ) { post, at in
            isGuided[post] ? (usesUser ? userGuides.start[at] : 1) : 0
        }
        if usesUser {
            guideBack(c, userGuides.start, users, addedTo: usersBack) { post, at in
                isGuided[post] ? otherGuides.start[at] : 1
            }
        }
    }

    /// After `backward`: A's derivative.
    func weightBack(_ modality: ModalityStates) {
        a.weightBack(modality.states, stride: width, rows: modality.rows, gatedBack.start)
    }

    /// After `backward`: what goes through A, added to the derivative by some rows of the states.
    func gateBack(_ modality: ModalityStates, rows: Range<Int>) {
        let first = rows.lowerBound * width
        a.addInputBack(
            gatedBack.start + first, rows: rows.count, into: modality.statesBack.start + first)
    }
}

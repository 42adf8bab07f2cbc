import CKernels
import Model

/// One modality of a batch: the states of all posts one below the other, their means, what the
/// attention makes of them, and the derivatives by each of these.
final class ModalityStates {
    private let width: Int
    private let kernels: Kernels
    private let workers: Workers

    /// Each post's rows; nil where it does not have this modality.
    private(set) var posts: [Range<Int>?] = []
    private(set) var rows = 0
    /// H or V: (rows, width).
    let states: Floats
    let statesBack: FloatMemory
    /// t0 or v0: (posts, width); zeros where there is none.
    let means: FloatMemory
    let meansBack: FloatMemory
    /// t1 or v1.
    let summaries: FloatMemory
    let summariesBack: FloatMemory
    private let memory: FloatMemory

    /// - Parameter states: room for the states.
    init(
        states: FloatMemory, maximumPosts: Int, width: Int, _ kernels: Kernels, _ workers: Workers
    ) {
        self.width = width
        self.kernels = kernels
        self.workers = workers
        memory = states
        self.states = states.start
        statesBack = FloatMemory(zeros: states.count)
        func perPost() -> FloatMemory { FloatMemory(zeros: maximumPosts * width) }
        (means, meansBack, summaries, summariesBack) = (perPost(), perPost(), perPost(), perPost())
    }

    /// A new batch: `rowCounts` of each post, nil where it does not have this modality.
    func begin(rowCounts: [Int?]) {
        rows = 0
        posts = rowCounts.map { count in
            guard let count else { return nil }
            defer { rows += count }
            return rows..<rows + count
        }
        let used = posts.count * width
        for memory in [means, meansBack, summaries, summariesBack] {
            memory.start.update(repeating: 0, count: used)
        }
    }

    func takeMean(ofPost post: Int) {
        guard let rows = posts[post] else { return }
        kernels.table.pointee.column_means(
            states + rows.lowerBound * width, rows.count, width, means.start + post * width)
    }

    /// Means in place of attention.
    func summariseByMeans() {
        summaries.start.update(from: means.start, count: posts.count * width)
    }

    /// Its way back: the states' derivative is then that through the means alone.
    func summariseByMeansBack() {
        for at in 0..<posts.count * width { meansBack.start[at] += summariesBack.start[at] }
        statesBack.start.update(repeating: 0, count: rows * width)
    }

    /// Adds to the derivative by a post's states what comes through their mean.
    func addMeanBack(ofPost post: Int) {
        guard let rows = posts[post] else { return }
        let share = 1 / Float(rows.count)
        for row in rows {
            kernels.table.pointee.add_scaled(
                statesBack.start + row * width, meansBack.start + post * width, share, width)
        }
    }
}

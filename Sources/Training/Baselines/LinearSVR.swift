import CLiblinear
import Glibc
import Synchronization

/// Linear support vector regression by liblinear.
///
/// Minimises |w|^2 / 2 + C sum over rows of max(0, |y - w x| - epsilon)^k, k = 2 for the squared
/// and 1 for the absolute loss; each x has a 1 at its end, so that w's last value is the bias.
package enum LinearSVR {
    package enum Loss: String, Sendable, Codable {
        case squared, absolute
    }

    /// How well a model fits is decided by these; how far liblinear goes is not: it stops where the
    /// primal gradient (squared) has fallen to 1e-5 of the first, or the dual one (absolute) to
    /// 1e-6, or after 1,000 passes.
    package struct Settings: Sendable, Codable, Equatable {
        package var loss: Loss
        package var c: Double
        package var epsilon: Double

        package init(loss: Loss, c: Double, epsilon: Double) {
            self.loss = loss
            self.c = c
            self.epsilon = epsilon
        }
    }

    /// liblinear prints and draws from rand() for the whole process: one training at a time.
    private static let turn = Mutex(())

    /// - Parameters:
    ///   - rows: at least one.
    ///   - targets: one a row, finite.
    /// - Returns: rows.width weights and the bias. The same input gives the same bits.
    package static func train(
        _ rows: SparseRows, targets: [Double], settings: Settings
    ) throws(TrainingError) -> [Double] {
        precondition(rows.count == targets.count && rows.count > 0, "one target a row")
        var parameter = parameter()
        switch settings.loss {
        case .squared:
            parameter.solver_type = Int32(L2R_L2LOSS_SVR)
            parameter.eps = 1e-5
        case .absolute:
            parameter.solver_type = Int32(L2R_L1LOSS_SVR_DUAL)
            parameter.eps = 1e-6
        }
        parameter.C = settings.c
        parameter.p = settings.epsilon

        var nodes = rows.nodes
        var targets = targets
        return try turn.withLock { _ throws(TrainingError) in
            try nodes.withUnsafeMutableBufferPointer { nodes throws(TrainingError) in
                try targets.withUnsafeMutableBufferPointer { targets throws(TrainingError) in
                    var starts = rows.starts.map { start in nodes.baseAddress.map { $0 + start } }
                    return try starts.withUnsafeMutableBufferPointer {
                        starts throws(TrainingError) in
                        var problem = problem()
                        problem.l = Int32(targets.count)
                        problem.n = Int32(rows.width + 1)
                        problem.y = targets.baseAddress
                        problem.x = starts.baseAddress
                        problem.bias = 1
                        if let reason = check_parameter(&problem, &parameter) {
                            throw .invalid("liblinear refuses: \(String(cString: reason))")
                        }
                        set_print_string_function { _ in }
                        srand(1)
                        var model = CLiblinear.train(&problem, &parameter)
                        defer { free_and_destroy_model(&model) }
                        guard let weights = model?.pointee.w else {
                            throw .invalid("liblinear gave no model; there is too little memory")
                        }
                        return Array(UnsafeBufferPointer(start: weights, count: rows.width + 1))
                    }
                }
            }
        }
    }
}

/// A sparse matrix by rows, as liblinear wants it: columns count from 1, each row ends in a 1 for
/// the bias and an end mark.
package struct SparseRows {
    package let width: Int
    fileprivate private(set) var nodes: [feature_node] = []
    fileprivate private(set) var starts: [Int] = []

    package init(width: Int) {
        self.width = width
    }

    package var count: Int { starts.count }

    /// - Parameter values: by rising column, columns in 0 ..< width.
    package mutating func append(_ values: some Sequence<(column: Int, value: Double)>) {
        starts.append(nodes.count)
        for (column, value) in values where value != 0 {
            nodes.append(feature_node(index: Int32(column + 1), value: value))
        }
        nodes.append(feature_node(index: Int32(width + 1), value: 1))
        nodes.append(feature_node(index: -1, value: 0))
    }
}

import CKernels
import Model

/// A table of vectors, one a row: rows are taken for a batch, and derivatives brought back to them.
final class Embedding {
    private let parameters: Parameters
    private let kernels: Kernels
    let slot: Parameters.Slot

    init(_ parameters: Parameters, _ slot: Parameters.Slot, _ kernels: Kernels) {
        self.parameters = parameters
        self.slot = slot
        self.kernels = kernels
    }

    /// - Parameters:
    ///   - mask: dropout's, (rows, columns), or nil.
    ///   - to: (rows, stride).
    func take(_ rows: some Sequence<Int>, mask: [Float]?, into to: Floats) {
        let (columns, stride) = (slot.columns, slot.stride)
        for (index, row) in rows.enumerated() {
            let vector = to + index * stride
            vector.update(from: parameters.value(slot) + row * stride, count: stride)
            if let mask {
                for k in 0..<columns { vector[k] *= mask[index * columns + k] }
            }
        }
    }

    /// Adds the derivatives to those of the rows, in order.
    func addBack(_ rows: some Sequence<Int>, mask: [Float]?, _ back: Floats) {
        let (columns, stride) = (slot.columns, slot.stride)
        for (index, row) in rows.enumerated() {
            let vector = back + index * stride
            if let mask {
                for k in 0..<columns { vector[k] *= mask[index * columns + k] }
            }
            kernels.table.pointee.add_scaled(
                parameters.gradient(slot) + row * stride, vector, 1, stride)
        }
    }
}

import Model

/// The parameters of a network with their gradients and Adam's moments: four pieces of memory of
/// one layout, so that whatever treats all parameters alike is one loop.
final class Parameters {
    /// A matrix (rows, columns) of parameters; a vector is one row. Rows lie `stride` floats apart,
    /// and what lies between the columns and the stride is zero for ever.
    struct Slot {
        let name: String
        /// As the tensor is stored: (rows, columns), or (columns).
        let shape: [Int]
        let rows: Int
        /// The columns are in so many equal blocks, each filled up to whole panels: 4 for the gates
        /// of an LSTM, 1 otherwise.
        let blocks: Int
        let columns: Int
        let stride: Int
        let offset: Int

        var count: Int { rows * stride }
    }

    private(set) var slots: [Slot] = []
    let values: FloatMemory
    let gradients: FloatMemory
    let means: FloatMemory
    let squares: FloatMemory
    private let places: [String: Int]

    var count: Int { values.count }

    /// - Parameter shapes: of all tensors, in the order in which they are stored.
    init(_ shapes: [(name: String, shape: [Int], blocks: Int)], _ kernels: Kernels) {
        var offset = 0
        var places: [String: Int] = [:]
        for (name, shape, blocks) in shapes {
            let columns = shape.last ?? 1
            let slot = Slot(
                name: name, shape: shape, rows: shape.count > 1 ? shape[0] : 1, blocks: blocks,
                columns: columns, stride: blocks * kernels.padded(columns / blocks),
                offset: offset)
            places[name] = slots.count
            slots.append(slot)
            offset += slot.count
        }
        self.places = places
        values = FloatMemory(zeros: offset)
        gradients = FloatMemory(zeros: offset)
        means = FloatMemory(zeros: offset)
        squares = FloatMemory(zeros: offset)
    }

    func slot(_ name: String) -> Slot? { places[name].map { slots[$0] } }

    func value(_ slot: Slot) -> UnsafeMutablePointer<Float> { values.start + slot.offset }
    func gradient(_ slot: Slot) -> UnsafeMutablePointer<Float> { gradients.start + slot.offset }

    /// The tensor of a slot in one of the four memories, dense.
    func tensor(_ slot: Slot, in memory: FloatMemory) -> [Float] {
        var tensor: [Float] = []
        tensor.reserveCapacity(slot.rows * slot.columns)
        forEachBlock(slot, in: memory) { tensor.append(contentsOf: $0) }
        return tensor
    }

    func setTensor(_ tensor: [Float], _ slot: Slot, in memory: FloatMemory) {
        precondition(tensor.count == slot.rows * slot.columns)
        var next = 0
        forEachBlock(slot, in: memory) { block in
            for column in block.indices { block[column] = tensor[next + column] }
            next += block.count
        }
    }

    private func forEachBlock(
        _ slot: Slot, in memory: FloatMemory,
        _ body: (UnsafeMutableBufferPointer<Float>) -> Void
    ) {
        let (columns, stride) = (slot.columns / slot.blocks, slot.stride / slot.blocks)
        for block in 0..<slot.rows * slot.blocks {
            let start = memory.start + slot.offset + block * stride
            body(UnsafeMutableBufferPointer(start: start, count: columns))
        }
    }
}

import CKernels

/// The weights of the network behind the backbone (equations and notation: MODEL.md of this
/// module), packed for one instruction set. Immutable; a `Head` runs it.
package final class PackedHead: Sendable {
    package let shape: HeadShape
    package let kernels: Kernels
    /// As it lies on disk: a post reads a few of its rows.
    let word: Tensor
    let lstm: LSTM
    let imageProjection: PackedMatrix
    let userResidual: PackedMatrix
    let text: IntraAttention
    let image: IntraAttention
    let inter: InterAttention
    let dense: [Dense]
    private let memory: FloatMemory
    /// Where in it the weights lie that `encode` does not need.
    private let userPart: Range<Int>

    /// Bytes of packed weights, the word embedding aside.
    package var bytes: Int { memory.count * 4 }

    /// Guided attention within one modality: A sees the modality, B the other one, C the user.
    struct IntraAttention: Sendable {
        let a: PackedMatrix
        let b: PackedMatrix
        let c: PackedMatrix
        let h: Vector
    }

    /// Attention between the modalities, guided by the user.
    struct InterAttention: Sendable {
        let text: PackedMatrix
        let image: PackedMatrix
        let user: PackedMatrix
        let w: Vector
    }

    struct Dense: Sendable {
        let weight: PackedMatrix
        let bias: Vector
    }

    /// Columns and biases in the order of the kernel: groups of `kernels.panel` units, each with
    /// its four gates.
    struct LSTM: Sendable {
        /// Its panels are the gates of the groups.
        let input: PackedMatrix
        /// (groups, d, gates, panel).
        let recurrent: Vector
        /// (groups, gates, panel).
        let bias: Vector
        let groups: Int
    }

    /// A vector of weights, filled up with zeros.
    struct Vector: @unchecked Sendable {
        // Sendable: written once, before it is shared.
        let start: UnsafePointer<Float>
        fileprivate let memory: FloatMemory
    }

    package init(
        weights file: Safetensors, shape: HeadShape, kernels: Kernels
    ) throws(ModelError) {
        let d = shape.dimension
        self.shape = shape
        self.kernels = kernels
        let packing = Packing(file, kernels, floats: Self.floats(shape, kernels))
        func matrix(_ name: String, _ inputs: Int, _ outputs: Int) throws(ModelError)
            -> PackedMatrix
        {
            try packing.matrix(file.tensor(name, shape: [inputs, outputs]))
        }
        // A vocabulary of nothing keeps one unused row: a tensor cannot be empty.
        word = try file.tensor("word", shape: [max(1, shape.vocabulary), d])
        lstm = try packing.lstm(d)
        imageProjection = try matrix("W_img", shape.channels, d)
        let guides = (
            text: (try matrix("text.A", d, d), try matrix("text.B", d, d)),
            image: (try matrix("image.A", d, d), try matrix("image.B", d, d))
        )
        let used = packing.used
        text = IntraAttention(
            a: guides.text.0, b: guides.text.1, c: try matrix("text.C", d, d),
            h: try packing.vector("text.h", d))
        image = IntraAttention(
            a: guides.image.0, b: guides.image.1, c: try matrix("image.C", d, d),
            h: try packing.vector("image.h", d))
        userResidual = try matrix("W_r", d, d)
        inter = InterAttention(
            text: try matrix("inter.W_text", d, d), image: try matrix("inter.W_image", d, d),
            user: try matrix("inter.W_u", d, d), w: try packing.vector("inter.w", d))
        var dense: [Dense] = []
        for (index, (inputs, outputs)) in shape.layers.enumerated() {
            dense.append(
                Dense(
                    weight: try matrix("dense\(index + 1).W", inputs, outputs),
                    bias: try packing.vector("dense\(index + 1).b", outputs)))
        }
        self.dense = dense
        memory = packing.memory
        userPart = used..<packing.used
    }

    /// tanh(S A) of some rows of states, filled up.
    func gate(
        _ attention: IntraAttention, _ states: UnsafePointer<Float>, rows: Int,
        into gated: UnsafeMutablePointer<Float>
    ) {
        let stride = attention.a.stride
        attention.a.multiply(states, stride: stride, rows: rows, into: gated)
        kernels.table.pointee.tanh(gated, rows * stride)
    }

    /// Asks for the weights of the user's part, so that they are near when they are needed.
    func fetchUserPart() {
        ck_prefetch(memory.start + userPart.lowerBound, userPart.count)
    }

    /// All packed weights of a head, in floats.
    private static func floats(_ shape: HeadShape, _ kernels: Kernels) -> Int {
        let d = shape.dimension
        let width = kernels.padded(d)
        let square = PackedMatrix.floats(inputs: d, outputs: d, kernels)
        return 10 * square  // A, B, C twice, W_text, W_image, W_u, W_r
            + PackedMatrix.floats(inputs: shape.channels, outputs: d, kernels)
            + 3 * width  // h twice, w
            + 2 * gates * square + gates * width  // W, U, b of the LSTM
            + shape.layers.reduce(0) {
                $0 + PackedMatrix.floats(inputs: $1.inputs, outputs: $1.outputs, kernels)
                    + kernels.padded($1.outputs)
            }
    }
}

/// Gates of an LSTM unit.
let gates = 4

/// Puts one weight after the other into one piece of memory: large pages then hold them all.
private final class Packing {
    let memory: FloatMemory
    private let file: Safetensors
    private let kernels: Kernels
    private(set) var used = 0

    init(_ file: Safetensors, _ kernels: Kernels, floats: Int) {
        self.file = file
        self.kernels = kernels
        memory = FloatMemory(zeros: floats)
    }

    private func take(_ floats: Int) -> UnsafeMutablePointer<Float> {
        precondition(used + floats <= memory.count)
        defer { used += floats }
        return memory.start + used
    }

    func matrix(_ tensor: Tensor) -> PackedMatrix {
        let (inputs, outputs) = (tensor.shape[0], tensor.shape[1])
        return packed(tensor.pointer, inputs, outputs, stride: outputs)
    }

    private func packed(
        _ from: UnsafePointer<Float>, _ inputs: Int, _ outputs: Int, stride: Int
    ) -> PackedMatrix {
        let to = take(PackedMatrix.floats(inputs: inputs, outputs: outputs, kernels))
        return PackedMatrix(
            from, inputs: inputs, outputs: outputs, stride: stride, to, in: memory, kernels)
    }

    func vector(_ name: String, _ count: Int) throws(ModelError) -> PackedHead.Vector {
        let to = take(kernels.padded(count))
        let tensor = try file.tensor(name, shape: [count])
        to.update(from: tensor.pointer, count: count)
        return PackedHead.Vector(start: UnsafePointer(to), memory: memory)
    }

    func lstm(_ d: Int) throws(ModelError) -> PackedHead.LSTM {
        let input = try file.tensor("lstm.W", shape: [d, gates * d])
        let recurrent = try file.tensor("lstm.U", shape: [d, gates * d])
        let bias = try file.tensor("lstm.b", shape: [gates * d])
        let panel = kernels.panel
        let groups = dividedUp(d, panel)
        let recurrentTo = take(groups * d * gates * panel)
        let biasTo = take(groups * gates * panel)
        let inputTo = take(groups * gates * d * panel)
        for group in 0..<groups {
            let units = min(panel, d - group * panel)
            for gate in 0..<gates {
                let column = gate * d + group * panel
                let place = group * gates + gate
                kernels.table.pointee.pack(
                    input.pointer + column, gates * d, d, units, inputTo + place * d * panel)
                (biasTo + place * panel).update(from: bias.pointer + column, count: units)
                for row in 0..<d {
                    (recurrentTo + ((group * d + row) * gates + gate) * panel)
                        .update(from: recurrent.pointer + row * gates * d + column, count: units)
                }
            }
        }
        return PackedHead.LSTM(
            input: PackedMatrix(
                packed: inputTo, inputs: d, panels: groups * gates, in: memory, kernels),
            recurrent: PackedHead.Vector(start: UnsafePointer(recurrentTo), memory: memory),
            bias: PackedHead.Vector(start: UnsafePointer(biasTo), memory: memory), groups: groups)
    }
}

extension HeadShape {
    /// The dense layers, the last of which puts out the score.
    var layers: [(inputs: Int, outputs: Int)] {
        let widths = [dimension] + dense + [1]
        return (1..<widths.count).map { (widths[$0 - 1], widths[$0]) }
    }
}

import CKernels
import Model

/// Dense layers with ReLU between them, and their derivatives. The last one puts out the score.
final class DenseLayers {
    private struct Layer {
        let weight: Linear
        let bias: Parameters.Slot
        /// What comes out of it, and the derivative by it.
        let output: FloatMemory
        let outputBack: FloatMemory
    }

    private let layers: [Layer]
    private let parameters: Parameters
    private let kernels: Kernels

    init(
        _ parts: NetworkParts, count: Int, maximumPosts: Int
    ) throws(TrainingError) {
        parameters = parts.parameters
        kernels = parts.kernels
        var layers: [Layer] = []
        for number in 1...count {
            let weight = try parts.linear("dense\(number).W", true)
            layers.append(
                Layer(
                    weight: weight, bias: try parts.slot("dense\(number).b"),
                    output: FloatMemory(zeros: maximumPosts * weight.stride),
                    outputBack: FloatMemory(zeros: maximumPosts * weight.stride)))
        }
        self.layers = layers
    }

    var biases: [Parameters.Slot] { layers.map(\.bias) }

    /// - Parameter x: (rows, stride).
    /// - Returns: the scores.
    func forward(_ x: Floats, stride: Int, rows: Int) -> [Float] {
        var (input, inputStride) = (x, stride)
        for (index, layer) in layers.enumerated() {
            let (output, width) = (layer.output.start, layer.weight.stride)
            layer.weight.multiply(input, stride: inputStride, rows: rows, into: output)
            let bias = parameters.value(layer.bias)
            let isLast = index == layers.count - 1
            for row in 0..<rows {
                let y = output + row * width
                for k in 0..<width {
                    let sum = y[k] + bias[k]
                    y[k] = isLast || sum > 0 ? sum : 0
                }
            }
            (input, inputStride) = (output, width)
        }
        return (0..<rows).map { input[$0 * inputStride] }
    }

    /// - Parameters:
    ///   - scoresBack: the derivative by each score.
    ///   - xBack: (rows, the inputs of the first layer, filled up), added to.
    func backward(
        _ x: Floats, stride: Int, _ scoresBack: [Float], addedTo xBack: Floats
    ) {
        let rows = scoresBack.count
        for (index, layer) in layers.enumerated().reversed() {
            let (back, width) = (layer.outputBack.start, layer.weight.stride)
            if index == layers.count - 1 {
                back.update(repeating: 0, count: rows * width)
                for row in 0..<rows { back[row * width] = scoresBack[row] }
            } else {
                kernels.table.pointee.relu_back(back, layer.output.start, rows * width)
            }
            kernels.table.pointee.add_column_sums(
                back, width, rows, width, parameters.gradient(layer.bias))
            if index > 0 {
                let below = layers[index - 1]
                layer.weight.weightBack(
                    below.output.start, stride: below.weight.stride, rows: rows, back)
                below.outputBack.start.update(
                    repeating: 0, count: rows * below.weight.stride)
                layer.weight.inputBack(back, rows: rows, addedTo: below.outputBack.start)
            } else {
                layer.weight.weightBack(x, stride: stride, rows: rows, back)
                layer.weight.inputBack(back, rows: rows, addedTo: xBack)
            }
        }
    }
}

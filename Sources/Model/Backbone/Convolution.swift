import CKernels
import COpenBLAS

/// A 3x3 convolution with padding 1, bias and ReLU over a square, channels last, its weights
/// packed once: im2col and OpenBLAS' sgemm, tile by tile.
///
/// Tiles do not depend on the number of threads, so neither does the result, to the last bit.
package final class Convolution: Sendable {
    package let inputs: Int
    package let outputs: Int
    /// (3, 3, inputs) x outputs: a row of im2col times this is one pixel's outputs.
    private nonisolated(unsafe) let weight: UnsafeMutablePointer<Float>
    private nonisolated(unsafe) let bias: UnsafeMutablePointer<Float>

    /// Pixels convolved at a time: enough rows to feed sgemm, few enough that their patches stay
    /// in the second-level cache for narrow layers and below 5 MB for wide ones.
    private static let tilePixels = 224

    /// - Parameters:
    ///   - weight: (outputs, inputs, 3, 3), as torchvision keeps it.
    ///   - bias: (outputs).
    package init(
        weight from: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>, inputs: Int
    ) {
        let outputs = bias.count
        precondition(from.count == outputs * inputs * 9)
        self.inputs = inputs
        self.outputs = outputs
        weight = allocateFloats(from.count)
        for o in 0..<outputs {
            for c in 0..<inputs {
                for k in 0..<9 {
                    weight[(k * inputs + c) * outputs + o] = from[(o * inputs + c) * 9 + k]
                }
            }
        }
        self.bias = allocateFloats(outputs)
        _ = UnsafeMutableBufferPointer(start: self.bias, count: outputs).update(
            fromContentsOf: bias)
        openblas_set_num_threads(1)  // the work is split here, not there
    }

    deinit {
        weight.deallocate()
        bias.deallocate()
    }

    /// Scratch memory that `run` needs, per worker.
    package var scratchFloats: Int { Self.tilePixels * 9 * inputs }

    /// - Parameters:
    ///   - input: (side, side, inputs).
    ///   - output: (side, side, outputs), not overlapping the input.
    ///   - scratch: `workers.count` times `scratchStride` floats.
    ///   - scratchStride: at least `scratchFloats`.
    package func run(
        _ input: UnsafeMutablePointer<Float>, side: Int, output: UnsafeMutablePointer<Float>,
        scratch: UnsafeMutablePointer<Float>, scratchStride: Int, workers: Workers
    ) {
        precondition(scratchStride >= scratchFloats)
        let pixels = side * side
        let columns = 9 * inputs
        workers.run(tasks: (pixels + Self.tilePixels - 1) / Self.tilePixels) { tile, worker in
            let first = tile * Self.tilePixels
            let count = min(Self.tilePixels, pixels - first)
            let patches = scratch + worker * scratchStride
            let to = output + first * self.outputs
            ck_im2col_3x3(input, side, side, self.inputs, first, count, patches)
            cblas_sgemm(
                CblasRowMajor, CblasNoTrans, CblasNoTrans,
                Int32(count), Int32(self.outputs), Int32(columns),
                1, patches, Int32(columns), self.weight, Int32(self.outputs),
                0, to, Int32(self.outputs))
            ck_bias_relu(to, self.bias, count, self.outputs)
        }
    }

    /// The same with memory of its own: for tests and single layers.
    package func run(_ input: [Float], side: Int, workers: Workers) -> [Float] {
        precondition(input.count == side * side * inputs)
        let from = allocateFloats(input.count)
        let to = allocateFloats(side * side * outputs)
        let scratch = allocateFloats(scratchFloats * workers.count)
        defer {
            from.deallocate()
            to.deallocate()
            scratch.deallocate()
        }
        _ = UnsafeMutableBufferPointer(start: from, count: input.count)
            .update(fromContentsOf: input)
        run(
            from, side: side, output: to, scratch: scratch, scratchStride: scratchFloats,
            workers: workers)
        return Array(UnsafeBufferPointer(start: to, count: side * side * outputs))
    }
}

/// Memory for floats, aligned to 64 bytes: a cache line, and the widest vector.
func allocateFloats(_ count: Int) -> UnsafeMutablePointer<Float> {
    UnsafeMutableRawPointer.allocate(byteCount: max(1, count) * 4, alignment: 64)
        .bindMemory(to: Float.self, capacity: max(1, count))
}

import CKernels

/// A row-major float32 matrix that the kernels read and write: rows lie `stride` floats apart, and
/// the columns between `columns` and `stride` are zeros.
///
/// A view: it keeps its memory alive, and whoever shares it agrees on who writes.
package struct Matrix: @unchecked Sendable {
    // Sendable: written before it is shared.
    package let rows: Int
    package let columns: Int
    let stride: Int
    let start: UnsafeMutablePointer<Float>
    private let memory: FloatMemory

    /// The first rows of `memory`, from `offset` on.
    init(_ memory: FloatMemory, offset: Int = 0, rows: Int, columns: Int, stride: Int) {
        precondition(offset + rows * stride <= memory.count && columns <= stride)
        self.memory = memory
        self.rows = rows
        self.columns = columns
        self.stride = stride
        start = memory.start + offset
    }

    /// A dense copy: rows x columns.
    package var values: [Float] {
        Array(unsafeUninitializedCapacity: rows * columns) { dense, count in
            for row in 0..<rows {
                for column in 0..<columns {
                    dense[row * columns + column] = start[row * stride + column]
                }
            }
            count = rows * columns
        }
    }
}

/// A matrix of weights (inputs, outputs), packed into panels of `kernels.panel` outputs, the last
/// one filled up with zeros.
struct PackedMatrix: @unchecked Sendable {
    // Sendable: written once, before it is shared.
    let inputs: Int
    let panels: Int
    private let start: UnsafePointer<Float>
    private let memory: FloatMemory
    private let kernels: Kernels

    /// Outputs, filled up.
    var stride: Int { panels * kernels.panel }

    static func floats(inputs: Int, outputs: Int, _ kernels: Kernels) -> Int {
        inputs * kernels.padded(outputs)
    }

    /// - Parameter panels: (panels, inputs, panel), inside `memory`, which it keeps alive.
    init(
        packed panels: UnsafePointer<Float>, inputs: Int, panels count: Int,
        in memory: FloatMemory, _ kernels: Kernels
    ) {
        self.inputs = inputs
        self.panels = count
        self.start = panels
        self.memory = memory
        self.kernels = kernels
    }

    /// Packs `from`, (inputs, outputs) with rows `stride` apart, into `to`: room for `floats`
    /// inside `memory`.
    init(
        _ from: UnsafePointer<Float>, inputs: Int, outputs: Int, stride: Int,
        _ to: UnsafeMutablePointer<Float>, in memory: FloatMemory, _ kernels: Kernels
    ) {
        kernels.table.pointee.pack(from, stride, inputs, outputs, to)
        self.init(
            packed: to, inputs: inputs, panels: dividedUp(outputs, kernels.panel), in: memory,
            kernels)
    }

    /// Packs the transpose of `matrix`, whose first `outputs` columns count.
    init(
        transposing matrix: PackedMatrix, outputs: Int, _ to: UnsafeMutablePointer<Float>,
        in memory: FloatMemory
    ) {
        let (kernels, panel) = (matrix.kernels, matrix.kernels.panel)
        let groups = dividedUp(matrix.inputs, panel)
        for group in 0..<groups {
            for from in 0..<dividedUp(outputs, panel) {
                kernels.table.pointee.pack_transposed(
                    matrix.start + (from * matrix.inputs + group * panel) * panel, panel,
                    min(panel, outputs - from * panel), min(panel, matrix.inputs - group * panel),
                    to + (group * outputs + from * panel) * panel)
            }
        }
        self.init(packed: to, inputs: outputs, panels: groups, in: memory, kernels)
    }

    /// y (rows, stride) = x (rows, inputs) · self, of the given panels.
    func multiply(
        _ x: UnsafePointer<Float>, stride: Int, rows: Int, panels: Range<Int>? = nil,
        into y: UnsafeMutablePointer<Float>
    ) {
        for panel in panels ?? 0..<self.panels {
            kernels.table.pointee.multiply(
                x, stride, rows, start + panel * inputs * kernels.panel, inputs,
                y + panel * kernels.panel, self.stride)
        }
    }

    /// Likewise, but y += x · self.
    func multiplyAdd(
        _ x: UnsafePointer<Float>, stride: Int, rows: Int, panels: Range<Int>,
        onto y: UnsafeMutablePointer<Float>
    ) {
        for panel in panels {
            kernels.table.pointee.multiply_add(
                x, stride, rows, start + panel * inputs * kernels.panel, inputs,
                y + panel * kernels.panel, self.stride)
        }
    }

    /// As multiply, then y = max(0, y + bias), bias being filled up like y.
    func multiplyReLU(
        _ x: UnsafePointer<Float>, stride: Int, rows: Int, bias: UnsafePointer<Float>,
        panels: Range<Int>? = nil, into y: UnsafeMutablePointer<Float>
    ) {
        for panel in panels ?? 0..<self.panels {
            kernels.table.pointee.multiply_relu(
                x, stride, rows, start + panel * inputs * kernels.panel, inputs,
                bias + panel * kernels.panel, y + panel * kernels.panel, self.stride)
        }
    }
}

extension Kernels {
    /// A number of columns, filled up to whole panels.
    package func padded(_ columns: Int) -> Int { dividedUp(columns, panel) * panel }
}

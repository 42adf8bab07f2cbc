import CKernels
import COpenBLAS

/// A dense row-major float32 matrix.
package struct Matrix: Sendable, Equatable {
    package let rows: Int
    package let columns: Int
    package var values: [Float]

    package init(rows: Int, columns: Int) {
        self.init(
            rows: rows, columns: columns, values: [Float](repeating: 0, count: rows * columns))
    }

    package init(rows: Int, columns: Int, values: [Float]) {
        precondition(values.count == rows * columns)
        self.rows = rows
        self.columns = columns
        self.values = values
    }

    /// self · tensor, with tensor (columns, n).
    func times(_ tensor: Tensor) -> Matrix {
        let outputs = tensor.shape[1]
        precondition(tensor.shape[0] == columns)
        var result = Matrix(rows: rows, columns: outputs)
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), Int32(outputs), Int32(columns),
            1, values, Int32(columns), tensor.pointer, Int32(outputs), 0, &result.values,
            Int32(outputs))
        return result
    }

    mutating func tanh() { ck_tanh(&values, values.count) }

    mutating func scaleColumns(by factor: [Float]) {
        ck_scale_columns(&values, factor, rows, columns)
    }

    mutating func addToEveryRow(_ bias: Tensor) {
        let bias = bias.pointer
        for row in 0..<rows {
            for column in 0..<columns { values[row * columns + column] += bias[column] }
        }
    }

    var rowMean: [Float] {
        var mean = [Float](repeating: 0, count: columns)
        ck_column_means(values, rows, columns, &mean)
        return mean
    }
}

import CKernels
import Foundation
import Model
import Testing

/// Each kernel of the head against a plain loop in float64, for every instruction set that this
/// machine can run, at lengths that leave every rest.
struct KernelTests {
    /// Memory as the kernels want it: aligned, and there until the test is over.
    private final class Memory {
        private var pieces: [UnsafeMutableRawPointer] = []

        func floats(_ values: [Float]) -> UnsafeMutablePointer<Float> {
            let piece = UnsafeMutableRawPointer.allocate(
                byteCount: max(1, values.count) * 4, alignment: Int(CK_ALIGNMENT))
            pieces.append(piece)
            return piece.initializeMemory(as: Float.self, from: values, count: values.count)
        }

        func floats(repeating value: Float = 0, count: Int) -> UnsafeMutablePointer<Float> {
            floats([Float](repeating: value, count: count))
        }

        func free() {
            for piece in pieces { piece.deallocate() }
            pieces = []
        }
    }

    private func values(_ start: UnsafePointer<Float>, _ count: Int) -> [Float] {
        Array(UnsafeBufferPointer(start: start, count: count))
    }

    private struct Noise {
        var generator = SplitMix64(seed: 9)
        mutating func values(_ count: Int, limit: Float = 1) -> [Float] {
            (0..<count).map { _ in (Float(generator.next() >> 40) / 8_388_608 - 1) * limit }
        }
    }

    static let sets: [String] = Kernels.available.map(\.name)

    private func kernels(_ name: String) throws -> ck_kernels {
        let index = try #require(Self.sets.firstIndex(of: name))
        return try #require(ck_kernels_at(index)).pointee
    }

    /// In units of float32's last place at the expected value.
    private func unitsApart(_ found: Float, _ expected: Double) -> Double {
        let place = max(
            Double(Float.leastNonzeroMagnitude),
            Double(Float(expected).magnitude.nextUp - Float(expected).magnitude))
        return abs(Double(found) - expected) / place
    }

    // MARK: Functions

    @Test(arguments: sets)
    func tanhIsRightEverywhere(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        // Every exponent and sign, many fractions.
        var inputs: [Float] = []
        for bits in stride(from: UInt64(0), to: 1 << 32, by: 20_011) {
            inputs.append(Float(bitPattern: UInt32(bits)))
        }
        inputs += [0, -0.0, .infinity, -.infinity, .nan, .leastNonzeroMagnitude]
        inputs += [Float.leastNormalMagnitude, 9.0, 9.0109, 9.02, -10, .greatestFiniteMagnitude]
        while inputs.count % kernels.panel != 0 { inputs.append(0.1) }
        let x = memory.floats(inputs)
        kernels.tanh(x, inputs.count)
        var worst = 0.0
        for (input, found) in zip(inputs, values(x, inputs.count)) {
            guard !input.isNaN else {
                #expect(found.isNaN)
                continue
            }
            worst = max(worst, unitsApart(found, tanh(Double(input))))
            #expect(found.sign == input.sign && found.magnitude <= 1)
        }
        #expect(worst < 3)
    }

    /// exp is seen through a softmax over x and 0: e^x / (1 + e^x).
    @Test(arguments: sets)
    func softmaxOfTwoIsRightEverywhere(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        let x = memory.floats(count: kernels.panel)
        for input in stride(from: Float(-120), through: 120, by: 0.0173) {
            x.update(repeating: -.infinity, count: kernels.panel)
            (x[0], x[kernels.panel - 1]) = (input, 0)
            kernels.softmax(x, kernels.panel)
            let expected = 1 / (1 + exp(-Double(input)))
            #expect(unitsApart(x[0], expected) < 3, "\(input)")
            #expect(values(x, kernels.panel).dropFirst().dropLast().allSatisfy { $0 == 0 })
        }
    }

    @Test(arguments: sets)
    func softmaxSumsToOne(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        var noise = Noise()
        for count in 1...3 * kernels.panel {
            let inputs = noise.values(count, limit: 30)
            let padded = (count + kernels.panel - 1) / kernels.panel * kernels.panel
            let x = memory.floats(inputs + [Float](repeating: -.infinity, count: padded - count))
            kernels.softmax(x, padded)
            let top = Double(inputs.max() ?? 0)
            let powers = inputs.map { exp(Double($0) - top) }
            let sum = powers.reduce(0, +)
            #expect(largestDifference(values(x, count), powers.map { $0 / sum }) < 2e-7)
            #expect(values(x, padded).dropFirst(count).allSatisfy { $0 == 0 })
        }
        let x = memory.floats([Float](repeating: 1, count: kernels.panel - 1) + [.nan])
        kernels.softmax(x, kernels.panel)
        #expect(values(x, kernels.panel).contains { $0.isNaN })
    }

    // MARK: Rows and columns

    @Test(arguments: sets)
    func columnsAreScaledAddedAndAveraged(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        var noise = Noise()
        for (rows, panels) in [(1, 1), (2, 1), (5, 3), (50, 2), (196, 1)] {
            let columns = panels * kernels.panel
            let matrix = noise.values(rows * columns)
            let factor = noise.values(columns)

            let scaled = memory.floats(matrix)
            kernels.scale_columns(scaled, memory.floats(factor), rows, columns)
            #expect(
                values(scaled, matrix.count)
                    == matrix.indices.map { matrix[$0] * factor[$0 % columns] })

            let mean = memory.floats(count: columns)
            kernels.column_means(memory.floats(matrix), rows, columns, mean)
            let expected = (0..<columns).map { column in
                (0..<rows).reduce(0.0) { $0 + Double(matrix[$1 * columns + column]) } / Double(rows)
            }
            #expect(largestDifference(values(mean, columns), expected) < 1e-6)

            let sum = memory.floats(factor)
            kernels.add_scaled(sum, memory.floats(matrix), 0.37, columns)
            #expect(
                largestDifference(
                    values(sum, columns),
                    (0..<columns).map {
                        Double(factor[$0]) + Double(matrix[$0]) * Double(Float(0.37))
                    })
                    < 1e-6)
        }
    }

    @Test(arguments: sets)
    func packingKeepsEveryValue(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        let panel = kernels.panel
        for columns in 1...2 * panel + 1 {
            let (rows, stride) = (3, columns + 2)
            // Not aligned on purpose: weights lie in their file as they like.
            let from = memory.floats((0..<rows * stride + 1).map { Float($0 + 1) })
            let panels = (columns + panel - 1) / panel
            let to = memory.floats(repeating: .nan, count: panels * rows * panel)
            kernels.pack(from + 1, stride, rows, columns, to)
            let expected = (0..<panels * rows * panel).map { place in
                let (row, column) = (
                    place / panel % rows, place / (rows * panel) * panel + place % panel
                )
                return column < columns ? from[1 + row * stride + column] : 0
            }
            #expect(values(to, expected.count) == expected)
        }
    }

    @Test(arguments: sets)
    func dotProductsAreThoseOfRows(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        var noise = Noise()
        for k in [1, 2, 5].map({ $0 * kernels.panel }) {
            for aRows in 1...5 {
                for bRows in 1...9 {
                    let (a, b) = (noise.values(aRows * k), noise.values(bRows * k))
                    let stride = bRows + 3
                    let c = memory.floats(repeating: 7, count: aRows * stride)
                    kernels.dots(
                        memory.floats(a), aRows, memory.floats(b), bRows, k, c, stride)
                    for row in 0..<aRows {
                        for column in 0..<stride {
                            let found = c[row * stride + column]
                            guard column < bRows else {
                                #expect(found == 7)
                                continue
                            }
                            let expected = (0..<k).reduce(0.0) {
                                $0 + Double(a[row * k + $1]) * Double(b[column * k + $1])
                            }
                            #expect(abs(Double(found) - expected) < 1e-5)
                        }
                    }
                }
            }
        }
    }

    // MARK: LSTM

    @Test(arguments: sets, [0, 1])
    func lstmStepAgreesWithThePlainLoop(set: String, hard: Int32) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        let panel = kernels.panel
        var noise = Noise()
        for k in [0, 1, 2, 3, 8, 17, 33, 512] {
            let input = noise.values(4 * panel, limit: 4)
            let bias = noise.values(4 * panel)
            let previous = noise.values(k + 1)
            let recurrent = noise.values(k * 4 * panel, limit: 0.1)
            let before = noise.values(panel)
            let (cell, hidden) = (memory.floats(before), memory.floats(count: panel))
            let previousMemory = memory.floats(previous)
            kernels.lstm(
                memory.floats(input), memory.floats(bias), previousMemory + 1, k,
                memory.floats(recurrent), cell, hidden, hard)

            for unit in 0..<panel {
                let z = (0..<4).map { gate in
                    (0..<k).reduce(
                        Double(input[gate * panel + unit]) + Double(bias[gate * panel + unit])
                    ) {
                        $0 + Double(previous[$1 + 1])
                            * Double(recurrent[($1 * 4 + gate) * panel + unit])
                    }
                }
                func gate(_ x: Double) -> Double {
                    hard == 1 ? min(1, max(0, 0.2 * x + 0.5)) : 1 / (1 + exp(-x))
                }
                let c = gate(z[1]) * Double(before[unit]) + gate(z[0]) * tanh(z[2])
                #expect(abs(Double(cell[unit]) - c) < 2e-6)
                #expect(abs(Double(hidden[unit]) - gate(z[3]) * tanh(c)) < 2e-6)
            }
        }
    }

    /// The gate itself, over the whole range: with an open candidate and nothing to forget, the
    /// cell is the input gate's value.
    @Test(arguments: sets)
    func gatesAreRightEverywhere(set: String) throws {
        let kernels = try kernels(set)
        let memory = Memory()
        defer { memory.free() }
        let panel = kernels.panel
        let (input, bias) = (memory.floats(count: 4 * panel), memory.floats(count: 4 * panel))
        (input + 2 * panel).update(repeating: 20, count: panel)  // tanh(20) = 1
        let hidden = memory.floats(count: panel)
        func cell(_ x: Float, hard: Int32) -> Float {
            input.update(repeating: x, count: panel)
            let cell = memory.floats(count: panel)
            kernels.lstm(
                input, bias, bias, 0, bias, cell, hidden, hard)
            #expect(Set(values(cell, panel).map(\.bitPattern)).count == 1)
            return cell[0]
        }
        for x in stride(from: Float(-88), through: 120, by: 0.0271) {
            #expect(unitsApart(cell(x, hard: 0), 1 / (1 + exp(-Double(x)))) < 3, "\(x)")
        }
        #expect(cell(-.infinity, hard: 0) == 0 && cell(.infinity, hard: 0) == 1)
        #expect(cell(-100, hard: 0) < 1e-38)
        #expect(cell(.nan, hard: 0).isNaN && cell(.nan, hard: 1).isNaN)
        #expect(cell(-.infinity, hard: 1) == 0 && cell(.infinity, hard: 1) == 1)
        for x in stride(from: Float(-4), through: 4, by: 0.013) {
            let expected = min(1, max(0, 0.2 * Double(x) + 0.5))
            #expect(abs(Double(cell(x, hard: 1)) - expected) < 1.2e-7)
        }
    }
}

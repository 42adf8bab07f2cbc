import CKernels

/// How one convolution is computed.
package enum ConvolutionMethod: Sendable, Equatable {
    /// A row of outputs is one matrix product over the pixels' 3x3 neighbourhoods.
    case direct
    /// Winograd's F(6x6, 3x3), so many tiles at a time through all three steps: what lies between
    /// the steps stays close; the weights are read again for each group of tiles.
    case winograd(tilesAtATime: Int)
    /// The same, each step for the whole image before the next: weights too large for any cache
    /// are read once.
    case winogradInSteps
}

/// A 3x3 convolution with padding 1, bias and ReLU, and an optional 2x2 max-pool, channels last:
/// weights transformed and packed once, immutable afterwards.
///
/// Which thread computes what does not change the result, to the last bit.
package final class Convolution: Sendable {
    package let inputs: Int
    package let outputs: Int
    package let method: ConvolutionMethod
    private let kernels: Kernels
    private let weight: FloatMemory
    private let bias: FloatMemory

    /// Panels of `kernels.panel` outputs, the last one filled up with zeros.
    private let panels: Int

    package var bytes: Int { (weight.count + bias.count) * 4 }

    /// Floating-point operations of the products for one image.
    package func operations(side: Int) -> Int {
        switch method {
        case .direct: 2 * 9 * inputs * outputs * side * side
        case .winograd, .winogradInSteps:
            2 * points * inputs * outputs * ck_tiles(side) * ck_tiles(side)
        }
    }

    /// Channels of an image in memory: zeros fill up the last panel.
    package static func padded(_ channels: Int, _ kernels: Kernels) -> Int {
        dividedUp(channels, kernels.panel) * kernels.panel
    }

    /// - Parameters:
    ///   - weight: (outputs, inputs, 3, 3), as torchvision keeps it.
    ///   - bias: (outputs).
    package init(
        weight from: [Float], bias: [Float], inputs: Int,
        method: ConvolutionMethod, kernels: Kernels, workers: Workers
    ) {
        let outputs = bias.count
        precondition(from.count == outputs * inputs * 9 && outputs > 0 && inputs > 0)
        self.inputs = inputs
        self.outputs = outputs
        self.method = method
        self.kernels = kernels
        let panel = kernels.panel
        panels = dividedUp(outputs, panel)
        self.bias = FloatMemory(zeros: panels * panel)
        _ = self.bias.buffer.update(fromContentsOf: bias)

        switch method {
        case .direct:
            // Rows in the order of ck_pack_row_3x3: (kx, ky, input).
            weight = FloatMemory(zeros: 9 * inputs * panels * panel)
            for o in 0..<outputs {
                for c in 0..<inputs {
                    for ky in 0..<3 {
                        for kx in 0..<3 {
                            let row = (o / panel * 9 + kx * 3 + ky) * inputs + c
                            weight.start[row * panel + o % panel] =
                                from[(o * inputs + c) * 9 + ky * 3 + kx]
                        }
                    }
                }
            }
        case .winograd, .winogradInSteps:
            let panels = panels
            let memory = FloatMemory(count: points * panels * inputs * panel)
            workers.run(tasks: panels) { index, _ in
                ck_winograd_pack(
                    from, outputs, inputs, index * panel, panel,
                    memory.start + index * inputs * panel, panels * inputs * panel)
            }
            weight = memory
        }
    }

    // MARK: Running

    /// Scratch floats that `run` needs for all workers together.
    package func scratchFloats(
        side: Int, pool: Bool, workers: Int, after first: Convolution? = nil
    ) -> Int {
        switch method {
        case .direct:
            return workers * (directScratch(side) + (pool ? rowPair(side) : 0))
        case .winograd(let tilesAtATime):
            let strip =
                first.map { borderedFloats(tilesAtATime) + $0.directScratch(side) } ?? 0
            return workers * (points * stride(tiles: tilesAtATime).both + strip)
        case .winogradInSteps:
            let across = ck_tiles(side)
            return points * stride(tiles: across * across).both
        }
    }

    /// - Parameters:
    ///   - input: (side, side, inputs), channels padded; those of a direct convolution are not.
    ///   - first: a direct convolution that comes before this one: `input` is its input, and its
    ///     output is made piece by piece, never as a whole. Only for `.winograd`.
    ///   - output: (side, side, outputs), or (side / 2, side / 2, outputs) where pooled, channels
    ///     padded; not overlapping the input.
    ///   - scratch: `scratchFloats` floats, aligned.
    package func run(
        _ input: UnsafeMutablePointer<Float>, after first: Convolution? = nil, side: Int,
        pool: Bool, output: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>,
        workers: Workers
    ) {
        let out = image(output, side: pool ? side / 2 : side, channels: outputs)
        switch method {
        case .direct:
            precondition(first == nil)
            runRows(input, side, pool, out, scratch, workers)
        case .winograd(let tilesAtATime):
            if let first {
                runRectangles(
                    tilesAtATime, input, after: first, side, pool, out, scratch, workers)
            } else {
                runGroups(tilesAtATime, input, side, pool, out, scratch, workers)
            }
        case .winogradInSteps:
            precondition(first == nil)
            runSteps(input, side, pool, out, scratch, workers)
        }
    }

    /// The same from one dense array to another, with memory of its own: for single layers.
    package func run(_ input: [Float], side: Int, pool: Bool, workers: Workers) -> [Float] {
        precondition(input.count == side * side * inputs)
        let stride = method == .direct ? inputs : Self.padded(inputs, kernels)
        let from = FloatMemory(zeros: side * side * stride)
        for (index, value) in input.enumerated() {
            from.start[index / inputs * stride + index % inputs] = value
        }
        let outputSide = pool ? side / 2 : side
        let to = FloatMemory(count: outputSide * outputSide * Self.padded(outputs, kernels))
        let scratch = FloatMemory(
            count: scratchFloats(side: side, pool: pool, workers: workers.count))
        run(
            from.start, side: side, pool: pool, output: to.start, scratch: scratch.start,
            workers: workers)
        return dense(to, pixels: outputSide * outputSide)
    }

    /// An output of `run` without the channels that fill up the last panel.
    func dense(_ output: FloatMemory, pixels: Int) -> [Float] {
        let padded = Self.padded(outputs, kernels)
        return Array(unsafeUninitializedCapacity: pixels * outputs) { dense, count in
            guard let to = dense.baseAddress else { return }
            for pixel in 0..<pixels {
                (to + pixel * outputs).initialize(
                    from: output.start + pixel * padded, count: outputs)
            }
            count = pixels * outputs
        }
    }

    /// Every thread takes the next row of the output; a pooled one is made of two.
    private func runRows(
        _ input: UnsafeMutablePointer<Float>, _ side: Int, _ pool: Bool, _ out: ck_image,
        _ scratch: UnsafeMutablePointer<Float>, _ workers: Workers
    ) {
        let packed = directScratch(side)
        let each = packed + (pool ? rowPair(side) : 0)
        workers.run(tasks: out.height) { row, worker in
            let memory = scratch + worker * each
            guard pool else {
                return self.convolve(
                    row..<row + 1, 0..<side, of: input, side: side, packed: memory, into: out)
            }
            var pair = self.image(memory + packed, side: side, channels: self.outputs)
            pair.first_row = 2 * row
            self.convolve(
                2 * row..<2 * row + 2, 0..<side, of: input, side: side, packed: memory, into: pair)
            var out = out
            ck_maxpool_2x2(pair.pixels, side, out.channels, ck_pixel(&out, row, 0))
        }
    }

    /// Every thread takes the next group of tiles and brings it from the input to the output.
    private func runGroups(
        _ tilesAtATime: Int, _ input: UnsafeMutablePointer<Float>, _ side: Int, _ pool: Bool,
        _ out: ck_image, _ scratch: UnsafeMutablePointer<Float>, _ workers: Workers
    ) {
        let across = ck_tiles(side)
        let tiles = across * across
        // As many for each thread, so that none waits long for the last one.
        let groups = dividedUp(tiles, tilesAtATime * workers.count) * workers.count
        let each = points * stride(tiles: tilesAtATime).both
        let source = image(input, side: side, channels: inputs)
        workers.run(tasks: groups) { group, worker in
            let part = part(group, of: groups, in: tiles)
            self.convolve(
                Tiles(first: part.lowerBound, columns: part.count, rows: 1, across: across),
                source, side, pool, out, scratch + worker * each)
        }
    }

    /// The same with the layer before: each thread takes the next rectangle of tiles, computes the
    /// pixels of the first convolution that it needs, and goes on from there. What neighbours
    /// share is computed twice; in return that output, the largest of the network, never leaves
    /// the cache.
    private func runRectangles(
        _ tilesAtATime: Int, _ input: UnsafeMutablePointer<Float>, after first: Convolution,
        _ side: Int, _ pool: Bool, _ out: ck_image, _ scratch: UnsafeMutablePointer<Float>,
        _ workers: Workers
    ) {
        let across = ck_tiles(side)
        let (high, wide) = Self.rectangle(tilesAtATime)
        let (down, along) = (dividedUp(across, high), dividedUp(across, wide))
        let products = points * stride(tiles: tilesAtATime).both
        let border = borderedFloats(tilesAtATime)
        let each = products + border + first.directScratch(side)
        workers.run(tasks: down * along) { task, worker in
            let memory = scratch + worker * each
            let rows = part(task / along, of: down, in: across)
            let columns = part(task % along, of: along, in: across)
            var source = self.image(memory + products, side: side, channels: self.inputs)
            let (y, x) = (pixels(of: rows, side: side), pixels(of: columns, side: side))
            (source.first_row, source.first_column, source.columns) = (
                y.lowerBound, x.lowerBound, x.count
            )
            first.convolve(
                y, x, of: input, side: side, packed: memory + products + border, into: source)
            self.convolve(
                Tiles(
                    first: rows.lowerBound * across + columns.lowerBound, columns: columns.count,
                    rows: rows.count, across: across),
                source, side, pool, out, memory)
        }
    }

    private func runSteps(
        _ input: UnsafeMutablePointer<Float>, _ side: Int, _ pool: Bool, _ out: ck_image,
        _ scratch: UnsafeMutablePointer<Float>, _ workers: Workers
    ) {
        let across = ck_tiles(side)
        let tiles = across * across
        let stride = stride(tiles: tiles)
        let products = scratch + points * stride.input
        let source = image(input, side: side, channels: inputs)
        func row(_ index: Int) -> Tiles {
            Tiles(first: index * across, columns: across, rows: 1, across: across)
        }
        workers.run(tasks: across) { index, _ in
            self.evaluate(
                row(index), source, scratch + index * across * source.channels, stride.input)
        }
        let halves = min(2, panels)
        workers.run(tasks: points * halves) { task, _ in
            self.multiply(
                point: task / halves, part(task % halves, of: halves, in: self.panels), scratch,
                stride.input, rows: tiles, products, stride.output)
        }
        workers.run(tasks: across) { index, _ in
            self.interpolate(
                row(index), products + index * across * out.channels, stride.output, side, pool,
                out)
        }
    }

    // MARK: The steps

    /// `rows` rows of `columns` tiles each, of an image with `across` tiles in a row.
    private struct Tiles {
        let first: Int
        let columns: Int
        let rows: Int
        let across: Int
        var count: Int { rows * columns }
    }

    /// All three steps for a few tiles.
    private func convolve(
        _ tiles: Tiles, _ input: ck_image, _ side: Int, _ pool: Bool, _ out: ck_image,
        _ memory: UnsafeMutablePointer<Float>
    ) {
        let stride = stride(tiles: tiles.count)
        let products = memory + points * stride.input
        evaluate(tiles, input, memory, stride.input)
        for point in 0..<points {
            multiply(
                point: point, 0..<panels, memory, stride.input, rows: tiles.count, products,
                stride.output)
        }
        interpolate(tiles, products, stride.output, side, pool, out)
    }

    private func evaluate(
        _ tiles: Tiles, _ input: ck_image, _ v: UnsafeMutablePointer<Float>, _ stride: Int
    ) {
        var input = input
        for row in 0..<tiles.rows {
            kernels.table.pointee.evaluate_tiles(
                &input, tiles.first + row * tiles.across, tiles.columns,
                v + row * tiles.columns * input.channels, stride)
        }
    }

    private func multiply(
        point: Int, _ panels: Range<Int>, _ v: UnsafeMutablePointer<Float>, _ vStride: Int,
        rows: Int, _ products: UnsafeMutablePointer<Float>, _ productStride: Int
    ) {
        let from = v + point * vStride
        let to = products + point * productStride
        for panel in panels {
            kernels.table.pointee.multiply(
                from, Self.padded(inputs, kernels), rows,
                weight.start + (point * self.panels + panel) * inputs * kernels.panel, inputs,
                to + panel * kernels.panel, self.panels * kernels.panel)
        }
    }

    private func interpolate(
        _ tiles: Tiles, _ products: UnsafeMutablePointer<Float>, _ stride: Int, _ side: Int,
        _ pool: Bool, _ out: ck_image
    ) {
        var out = out
        for row in 0..<tiles.rows {
            kernels.table.pointee.interpolate_tiles(
                pool ? 1 : 0, products + row * tiles.columns * out.channels, stride, bias.start,
                side, side, tiles.first + row * tiles.across, tiles.columns, &out)
        }
    }

    /// A rectangle of outputs of a direct convolution.
    private func convolve(
        _ rows: Range<Int>, _ columns: Range<Int>, of input: UnsafeMutablePointer<Float>,
        side: Int, packed: UnsafeMutablePointer<Float>, into out: ck_image
    ) {
        let k = 9 * inputs
        var out = out
        for row in rows {
            ck_pack_row_3x3(
                input, side, side, inputs, row, columns.lowerBound, columns.count, packed)
            let to = ck_pixel(&out, row, columns.lowerBound)
            for panel in 0..<panels {
                let outputs = panel * kernels.panel
                kernels.table.pointee.multiply_relu(
                    packed, 3 * inputs, columns.count, weight.start + outputs * k, k,
                    bias.start + outputs, to + outputs, out.channels)
            }
        }
    }

    // MARK: Memory

    private func image(
        _ pixels: UnsafeMutablePointer<Float>, side: Int, channels: Int
    ) -> ck_image {
        ck_image(
            pixels: pixels, height: side, width: side, channels: Self.padded(channels, kernels),
            first_row: 0, first_column: 0, columns: side)
    }

    private func directScratch(_ side: Int) -> Int { aligned((side + 2) * 3 * inputs) }

    private func rowPair(_ side: Int) -> Int { 2 * side * Self.padded(outputs, kernels) }

    /// Nearly a square, which has the least border, of at most so many tiles.
    private static func rectangle(_ tiles: Int) -> (high: Int, wide: Int) {
        var high = 1
        while (high + 1) * (high + 1) <= tiles { high += 1 }
        return (high, tiles / high)
    }

    /// A rectangle's input, with a border of a pixel.
    private func borderedFloats(_ tiles: Int) -> Int {
        let (high, wide) = Self.rectangle(tiles)
        let m = Int(CK_TILE)
        return (high * m + 2) * (wide * m + 2) * Self.padded(inputs, kernels)
    }

    /// Floats from one point's matrix to the next: a cache line more than the matrix, since
    /// at distances of a power of two all points would fall into the same few sets of a cache.
    private func stride(tiles: Int) -> (input: Int, output: Int, both: Int) {
        let input = tiles * Self.padded(inputs, kernels) + floatsInALine
        let output = tiles * Self.padded(outputs, kernels) + floatsInALine
        return (input, output, input + output)
    }
}

/// The input pixels of a row or column of tiles, within the image.
private func pixels(of tiles: Range<Int>, side: Int) -> Range<Int> {
    let m = Int(CK_TILE)
    return max(0, tiles.lowerBound * m - 1)..<min(side, tiles.upperBound * m + 1)
}

private let points = Int(CK_POINTS)
private let floatsInALine = Int(CK_ALIGNMENT) / 4

private func aligned(_ count: Int) -> Int { dividedUp(count, floatsInALine) * floatsInALine }

package func dividedUp(_ count: Int, _ by: Int) -> Int { (count + by - 1) / by }

/// The index-th of `parts` nearly equal ranges of 0..<count.
private func part(_ index: Int, of parts: Int, in count: Int) -> Range<Int> {
    count * index / parts..<count * (index + 1) / parts
}

import CKernels
import Glibc

/// What is kept of a post's encoding for learning: its states H and V in 8 bits, a scale a row
/// (format: MODEL.md of this module). The gated products are not kept: they follow from the states
/// and the weights (`Head.expand`). 124 KB at dimension 512, 50 words and 196 regions.
package struct KeptEncoding: Equatable, Sendable {
    package let bytes: [UInt8]

    private static let version: UInt8 = 1
    private static let headerBytes = 8
    /// States are values of tanh, or less: none is beyond 1.
    private static let largestScale: Float = 1 / 127

    /// - Parameter encoding: with finite states, as those of a post whose score is finite are.
    package init(_ encoding: PostEncoding) {
        let parts = [encoding.text, encoding.image].compactMap { $0?.states }
        let rows = parts.reduce(0) { $0 + $1.rows }
        let dimension = parts.first?.columns ?? 0
        let count = Self.bytes(rows: rows, dimension: dimension)
        bytes = [UInt8](unsafeUninitializedCapacity: count) { bytes, initialized in
            let memory = UnsafeMutableRawBufferPointer(bytes)
            memory[0] = Self.version
            memory[1] = 0
            let sizes = [
                encoding.text?.states.rows ?? 0, encoding.image?.states.rows ?? 0, dimension,
            ]
            for (index, size) in sizes.enumerated() {
                let size = UInt16(size).littleEndian
                memory.storeBytes(of: size, toByteOffset: 2 + 2 * index, as: UInt16.self)
            }
            var scaleAt = Self.headerBytes
            var rowAt = scaleAt + 4 * rows
            for states in parts {
                for row in 0..<states.rows {
                    guard let to = memory.baseAddress else { break }
                    let scale = ck_quantize(
                        states.start + row * states.stride, dimension,
                        (to + rowAt).assumingMemoryBound(to: Int8.self))
                    memory.storeBytes(
                        of: scale.bitPattern.littleEndian, toByteOffset: scaleAt, as: UInt32.self)
                    scaleAt += 4
                    rowAt += dimension
                }
            }
            initialized = count
        }
    }

    /// - Throws: where the bytes are not an encoding that a network of this shape has made.
    package init(bytes: [UInt8], shape: HeadShape) throws(ModelError) {
        func refuse(_ reason: String) -> ModelError {
            .invalid("kept encoding: \(reason); was it kept by another model?")
        }
        guard bytes.count >= Self.headerBytes else {
            throw refuse("\(bytes.count) bytes are less than a header")
        }
        guard bytes[0] == Self.version, bytes[1] == 0 else {
            throw refuse("version \(bytes[0]) is not known, only \(Self.version)")
        }
        self.bytes = bytes
        guard wordRows == 0 || shape.parts.reads_text && wordRows <= shape.maximumWords else {
            throw refuse("\(wordRows) words, the model reads at most \(shape.maximumWords)")
        }
        guard regionRows == 0 || shape.parts.reads_image && regionRows == shape.regions else {
            throw refuse("\(regionRows) regions, the model's images have \(shape.regions)")
        }
        let rows = wordRows + regionRows
        guard dimension == (rows == 0 ? 0 : shape.dimension) else {
            throw refuse("dimension \(dimension), the model's is \(shape.dimension)")
        }
        let expected = Self.bytes(rows: rows, dimension: dimension)
        guard bytes.count == expected else {
            throw refuse("\(bytes.count) bytes, \(expected) expected")
        }
        for row in 0..<rows {
            let scale = scale(row)
            // False for NaN.
            guard scale >= 0, scale <= Self.largestScale else {
                throw refuse("the scale of row \(row) is \(scale)")
            }
        }
        let values = bytes.withUnsafeBytes { bytes in
            memchr(
                bytes.baseAddress.unsafelyUnwrapped + Self.headerBytes + 4 * rows, 0x80,
                rows * dimension)
        }
        guard values == nil else { throw refuse("a value is -128") }
    }

    private static func bytes(rows: Int, dimension: Int) -> Int {
        headerBytes + rows * (4 + dimension)
    }

    // MARK: Reading

    /// 0 where there is no text, or no image.
    var wordRows: Int { size(0) }
    var regionRows: Int { size(1) }
    private var dimension: Int { size(2) }

    private func size(_ index: Int) -> Int {
        bytes.withUnsafeBytes {
            Int(
                UInt16(
                    littleEndian: $0.loadUnaligned(fromByteOffset: 2 + 2 * index, as: UInt16.self)))
        }
    }

    private func scale(_ row: Int) -> Float {
        bytes.withUnsafeBytes {
            let at = Self.headerBytes + 4 * row
            let bits = $0.loadUnaligned(fromByteOffset: at, as: UInt32.self)
            return Float(bitPattern: UInt32(littleEndian: bits))
        }
    }

    /// The states of the rows from `first` on: words, then regions.
    func dequantize(from first: Int, into states: Matrix, _ kernels: Kernels) {
        let values = Self.headerBytes + 4 * (wordRows + regionRows)
        bytes.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            for row in 0..<states.rows {
                let from = start + values + (first + row) * dimension
                kernels.table.pointee.dequantize(
                    from.assumingMemoryBound(to: Int8.self), scale(first + row), dimension,
                    states.start + row * states.stride)
            }
        }
    }
}

/// Makes encodings of what was kept of them: the states from their 8 bits, and from these the gated
/// products, by the same steps as `Head.encode`. A result depends on the bytes and the weights
/// alone, to the last bit: not on the number of threads nor on what else is expanded.
///
/// One caller at a time.
final class EncodingExpander {
    /// Posts whose guides are computed in one product; so few that they stay in the third-level
    /// cache from their states to their products.
    private static let postsAtATime = 16
    /// Rows in a task.
    private static let rowsAtATime = 100

    private let weights: PackedHead
    private let kernels: Kernels
    private let workers: Workers
    private let width: Int
    /// (posts, width): t0, v0, tanh(v0 B) and tanh(t0 B').
    private let means: (text: FloatMemory, image: FloatMemory)
    private let guides: (text: FloatMemory, image: FloatMemory)
    /// What the last encodings lie in: used again once nobody holds any of them.
    private var memory = FloatMemory(count: 0)

    init(weights: PackedHead, workers: Workers) {
        self.weights = weights
        self.workers = workers
        kernels = weights.kernels
        let width = kernels.padded(weights.shape.dimension)
        self.width = width
        func perPost() -> FloatMemory { FloatMemory(zeros: Self.postsAtATime * width) }
        means = (perPost(), perPost())
        guides = (perPost(), perPost())
    }

    /// One piece of memory holds them all: 4 bytes x 2 x rows x dimension a post.
    func expand(_ kept: [KeptEncoding]) -> [PostEncoding] {
        let rows = kept.reduce(0) { $0 + $1.wordRows + $1.regionRows }
        let floats = 2 * rows * width
        if memory.count < floats || !isKnownUniquelyReferenced(&memory) {
            memory = FloatMemory(count: floats)
        }
        var used = 0
        func modality(_ rows: Int) -> PostEncoding.Modality? {
            func matrix() -> Matrix {
                defer { used += rows * width }
                return Matrix(
                    memory, offset: used, rows: rows, columns: weights.shape.dimension,
                    stride: width)
            }
            return rows == 0 ? nil : PostEncoding.Modality(states: matrix(), gated: matrix())
        }
        let posts = kept.map {
            PostEncoding(text: modality($0.wordRows), image: modality($0.regionRows))
        }
        for first in stride(from: 0, to: posts.count, by: Self.postsAtATime) {
            let group = first..<min(posts.count, first + Self.postsAtATime)
            expand(Array(kept[group]), into: Array(posts[group]))
        }
        return posts
    }

    private func expand(_ kept: [KeptEncoding], into posts: [PostEncoding]) {
        let (table, width) = (kernels.table, width)
        workers.run(tasks: 2 * posts.count) { task, _ in
            let (post, isImage) = (task / 2, task % 2 == 1)
            let modality = isImage ? posts[post].image : posts[post].text
            guard let states = modality?.states else { return }
            kept[post].dequantize(
                from: isImage ? kept[post].wordRows : 0, into: states, self.kernels)
            let means = isImage ? self.means.image : self.means.text
            table.pointee.column_means(
                states.start, states.rows, width, means.start + post * width)
        }

        let panels = weights.text.b.panels
        workers.run(tasks: 2 * panels) { task, _ in
            let panel = task / 2
            let (b, means, guides) =
                task % 2 == 0
                ? (self.weights.text.b, self.means.image, self.guides.text)
                : (self.weights.image.b, self.means.text, self.guides.image)
            b.multiply(
                means.start, stride: width, rows: posts.count, panels: panel..<panel + 1,
                into: guides.start)
            for post in 0..<posts.count {
                table.pointee.tanh(
                    guides.start + post * width + panel * self.kernels.panel, self.kernels.panel)
            }
        }

        var tasks: [(post: Int, isImage: Bool, rows: Range<Int>)] = []
        for (post, encoding) in posts.enumerated() {
            for (isImage, modality) in [(true, encoding.image), (false, encoding.text)] {
                guard let rows = modality?.states.rows else { continue }
                let parts = dividedUp(rows, Self.rowsAtATime)
                tasks += (0..<parts).map { (post, isImage, share($0, of: parts, in: rows)) }
            }
        }
        workers.run(tasks: tasks.count) { [tasks] task, _ in
            let (post, isImage, rows) = tasks[task]
            guard let modality = isImage ? posts[post].image : posts[post].text else { return }
            let first = rows.lowerBound * width
            let gated = modality.gated.start + first
            self.weights.gate(
                isImage ? self.weights.image : self.weights.text, modality.states.start + first,
                rows: rows.count, into: gated)
            // An absent guide is left out.
            if posts[post].text != nil, posts[post].image != nil {
                let guides = isImage ? self.guides.image : self.guides.text
                table.pointee.scale_columns(
                    gated, guides.start + post * width, rows.count, width)
            }
        }
    }
}

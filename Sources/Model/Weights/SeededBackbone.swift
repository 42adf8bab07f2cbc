import Glibc

/// A backbone that is wholly named by its seed, its blocks and its side: the same weights wherever
/// they are made.
package struct SeededBackbone: Sendable {
    package let seed: UInt64
    package let blocks: [[Int]]
    /// Of the square that pictures are stretched to, in pixels.
    package let side: Int

    package static let normalization = Normalization.torchvision

    /// For networks that look at no image.
    package static let smallest = SeededBackbone(seed: 1, blocks: [[1]], side: 2)

    /// Pictures for calibration: few, since each goes through a network of plain loops, and
    /// small, since statistics per channel need no more pixels.
    private static let calibrationPictures = 4
    private static let calibrationSide = 112
    /// Above this the backbone is too blind to be of use: an error, not a warning.
    private static let maximumMeanCosine = 0.98

    package init(seed: UInt64, blocks: [[Int]], side: Int) {
        self.seed = seed
        self.blocks = blocks
        self.side = side
    }

    /// - Parameter weights: fresh from the seed; goes on to be used for what lies behind the backbone.
    func make(
        _ weights: inout SeededWeights, workers: Workers, progress: (String) -> Void
    ) throws(ModelError) -> (file: SafetensorsWriter, report: SeededWeights.BackboneReport) {
        let side = min(side, Self.calibrationSide)
        let pictures = (0..<Self.calibrationPictures).map {
            SampleScene(seed: seed &+ UInt64($0)).render(width: side, height: side)
        }
        let made = weights.backbone(
            blocks: blocks, pictures: pictures, normalization: Self.normalization,
            workers: workers, progress: progress)
        guard made.report.meanCosine < Self.maximumMeanCosine || isBlind else {
            throw .invalid(
                "with seed \(seed) the backbone cannot tell pictures apart (mean cosine "
                    + "\(made.report.meanCosine)); try another seed or wider blocks")
        }
        return made
    }

    private var isBlind: Bool { blocks == Self.smallest.blocks }

    /// The weights' file, made when it is first asked for and kept in the user's cache.
    ///
    /// - Parameter sha256: that it must have; nil where nothing names it.
    package func cachedFile(sha256 expected: String? = nil) throws(ModelError) -> MappedFile {
        let layers = blocks.map { $0.map(String.init).joined(separator: ".") }
        let name = "backbone-\(seed)-\(layers.joined(separator: "-"))-\(side).safetensors"
        let path = "\(try Self.cacheFolder())/\(name)"
        if access(path, R_OK) != 0 {
            var weights = SeededWeights(seed: seed)
            let made = try make(&weights, workers: Workers(count: 2)) { _ in }
            // Others may be making the same file at the same time: threads, processes, and those of
            // another container, which may have the same id.
            let part = "\(path).\(UInt64.random(in: .min ... .max))"
            try writeFile(made.file.bytes(), to: part)
            guard rename(part, path) == 0 else {
                throw .invalid("cannot write \(path): \(String(cString: strerror(errno)))")
            }
        }
        let file = try MappedFile(path: path)
        if let expected {
            let found = file.sha256()
            guard found == expected else {
                throw .invalid(
                    "\(path) has SHA-256 \(found.prefix(12))..., expected "
                        + "\(expected.prefix(12))...; delete it, it is made anew; where that does "
                        + "not help, seed, blocks or side were changed after the checksum was "
                        + "written")
            }
        }
        return file
    }

    private static func cacheFolder() throws(ModelError) -> String {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        let base = variable("XDG_CACHE_HOME") ?? variable("HOME").map { "\($0)/.cache" } ?? "/tmp"
        do {
            try makeFolder("\(base)/uhan")
        } catch {
            throw .invalid("\(error); set XDG_CACHE_HOME to a folder that can be written to")
        }
        return "\(base)/uhan"
    }
}

import Model

/// A post's image as the scorer takes it.
package enum PostImage: Sendable {
    /// - sha256: of the bytes it was decoded from, under which its features are kept; nil where
    ///   they are not to be kept.
    case pixels(Pixels, sha256: String?)
    /// Those of the same bytes, seen before: there is nothing left to decode.
    case features([Float])

    /// What it holds in memory. (Features are shared with the cache, yet outlive their place in it.)
    package var byteCount: Int {
        switch self {
        case .pixels(let pixels, _): pixels.rgb.count
        case .features(let features): features.count * MemoryLayout<Float>.stride
        }
    }
}

/// From an image's bytes to what the scorer takes: the one way of `uhan score` and the daemon.
/// Synchronous; may be used by several threads at once.
package struct PostImageReader: Sendable {
    let side: Int
    let limits: ImageLimits
    let cache: FeatureCache

    /// Looks for the bytes among those seen before, and decodes them where they are new.
    ///
    /// - Parameter sha256: the hash of `bytes`, where the caller has made sure of it already.
    package func image(
        of bytes: [UInt8], sha256: String? = nil
    ) throws(ImageError) -> PostImage {
        let sha256 = sha256 ?? sha256Hex(bytes)
        if let features = cache.features(ofImage: sha256) { return .features(features) }
        let pixels = try JPEG.decodeSquare(bytes, side: side, limits: limits)
        return .pixels(pixels, sha256: sha256)
    }
}

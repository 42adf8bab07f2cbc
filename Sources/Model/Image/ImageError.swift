/// Why bytes did not become a picture (or a picture did not become bytes).
package enum ImageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The bytes are something else; `found` names it ("a PNG").
    case notJPEG(found: String)

    /// The decoder gave up, or would have had to invent or repair pixels: data missing, bad
    /// Huffman codes, misplaced restart markers. A picture is never scored on invented pixels.
    case corrupt(String)

    /// A limit on bytes, pixels or memory: see ``ImageLimits``.
    case tooLarge(String)

    /// A limit on the scans of a progressive picture, or on the work they add up to.
    case tooManyScans(String)

    /// A JPEG of a kind that is not read here: arithmetic coding, 12 bits, lossless, ...
    case unsupported(String)

    /// The system had no memory left.
    case outOfMemory

    /// The pixels or the quality given to the encoder make no JPEG.
    case cannotEncode(String)

    /// A short word that does not change, for records and metrics.
    package var reason: String {
        switch self {
        case .notJPEG: "not_jpeg"
        case .corrupt: "corrupt"
        case .tooLarge: "too_large"
        case .tooManyScans: "too_many_scans"
        case .unsupported: "unsupported"
        case .outOfMemory: "out_of_memory"
        case .cannotEncode: "cannot_encode"
        }
    }

    package var description: String {
        switch self {
        case .notJPEG(let found):
            "the image is not a JPEG but \(found); send it as JPEG"
        case .corrupt(let text):
            "the JPEG is damaged (\(text)); send the whole, undamaged file"
        case .tooLarge(let text):
            "the JPEG is too large: \(text); send a smaller one"
        case .tooManyScans(let text):
            "the JPEG has too many scans: \(text); send it with fewer scans, or as baseline JPEG"
        case .unsupported(let text):
            "the JPEG is of a kind that is not read here (\(text)); "
                + "send it as a baseline or progressive JPEG of 8 bits"
        case .outOfMemory:
            "no memory left to decode or encode the JPEG; give the process more"
        case .cannotEncode(let text):
            "the pixels cannot be encoded as JPEG: \(text)"
        }
    }
}

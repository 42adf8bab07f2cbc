/// What can be wrong with a model on disk. The text names the file or tensor, what was expected,
/// what was found, and what to do.
package enum ModelError: Error, Equatable, Sendable, CustomStringConvertible {
    case unreadable(path: String, reason: String)
    case malformed(path: String, reason: String)
    case missingTensor(name: String, path: String)
    case wrongShape(tensor: String, path: String, expected: [Int], found: [Int])
    case wrongType(tensor: String, path: String, expected: String, found: String)
    case notFinite(tensor: String, path: String, index: Int)
    case checksum(path: String, expected: String, found: String)
    case count(what: String, path: String, expected: Int, found: Int)
    case unsupported(path: String, reason: String)
    case invalid(String)

    package var description: String {
        switch self {
        case .unreadable(let path, let reason):
            "cannot read \(path): \(reason)"
        case .malformed(let path, let reason):
            "\(path) is damaged or not what its name says: \(reason)"
        case .missingTensor(let name, let path):
            "\(path) has no tensor '\(name)'; is it the right file for this bundle?"
        case .wrongShape(let tensor, let path, let expected, let found):
            "tensor '\(tensor)' in \(path): expected shape \(expected), found \(found); "
                + "the file and config.json do not belong together"
        case .wrongType(let tensor, let path, let expected, let found):
            "tensor '\(tensor)' in \(path): expected \(expected), found \(found); convert it"
        case .notFinite(let tensor, let path, let index):
            "tensor '\(tensor)' in \(path): value \(index) is not finite; the weights are unusable"
        case .checksum(let path, let expected, let found):
            "\(path) has SHA-256 \(found.prefix(12))..., config.json names \(expected.prefix(12))...; "
                + "the file was changed, swapped or only partly copied: restore it"
        case .count(let what, let path, let expected, let found):
            "\(path): expected \(expected) \(what), found \(found)"
        case .unsupported(let path, let reason):
            "\(path): \(reason)"
        case .invalid(let reason):
            reason
        }
    }
}

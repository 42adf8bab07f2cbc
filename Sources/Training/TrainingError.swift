/// What keeps the offline half from going on; the text says what to do next.
package enum TrainingError: Error, Equatable, CustomStringConvertible {
    /// A file that cannot be read or written.
    case file(path: String, reason: String)
    /// A line of a file that is not what it should be; lines count from 1.
    case line(path: String, line: Int, reason: String)
    /// Things that do not belong together, or a request that cannot be met.
    case invalid(String)

    package var description: String {
        switch self {
        case .file(let path, let reason): "\(path): \(reason)"
        case .line(let path, let line, let reason): "\(path):\(line): \(reason)"
        case .invalid(let reason): reason
        }
    }
}

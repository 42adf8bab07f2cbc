import Glibc
import Model

/// The folder's path from the root, without symbolic links.
package func absolutePath(ofFolder folder: String) throws(TrainingError) -> String {
    guard let resolved = realpath(folder, nil) else {
        throw .file(path: folder, reason: String(cString: strerror(errno)))
    }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// What `body` does, its model errors in the words of the offline half.
func asTrainingError<Value>(
    _ body: () throws(ModelError) -> Value
) throws(TrainingError) -> Value {
    do throws(ModelError) {
        return try body()
    } catch {
        throw .invalid("\(error)")
    }
}

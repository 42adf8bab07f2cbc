/// What keeps a picture from being drawn or written.
package enum DrawingError: Error, Equatable, CustomStringConvertible {
    /// Cairo's own words.
    case cairo(String)
    /// A picture larger, or smaller, than can be drawn.
    case size(width: Int, height: Int)
    /// A file that cannot be written.
    case file(String)
    /// A photo that cannot be written into a page.
    case photo(String)

    package var description: String {
        switch self {
        case .cairo(let reason): "cannot draw: \(reason)"
        case .size(let width, let height):
            "cannot draw a picture of \(width) x \(height) pixels; "
                + "give sides of 1 to \(Surface.maximumSide)"
        case .file(let reason): reason
        case .photo(let reason): "cannot put the photo into the page: \(reason)"
        }
    }
}

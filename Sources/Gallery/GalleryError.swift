/// What keeps a gallery from being made; the text says what to do next.
package struct GalleryError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}

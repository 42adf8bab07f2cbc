/// A string that equals another only if it has the same code points, as in Python.
///
/// Swift's `String` equality is canonical equivalence: as keys of a dictionary the Hangul syllable
/// "가" and its two jamo would be one word, with one of two embedding rows.
package struct CodePoints: Hashable, Sendable {
    package let string: String

    package init(_ string: String) {
        self.string = string
    }

    package static func == (left: CodePoints, right: CodePoints) -> Bool {
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var string = string
        string.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

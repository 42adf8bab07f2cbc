/// A text that is never shown, whoever prints what holds it. Empty: none.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// What replaces a secret wherever it would be shown.
    package static let hidden = "<hidden>"

    package let text: String

    package init(_ text: String = "") {
        self.text = text
    }

    package var isEmpty: Bool { text.isEmpty }
    package var description: String { isEmpty ? "" : Self.hidden }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["text": description]) }
}

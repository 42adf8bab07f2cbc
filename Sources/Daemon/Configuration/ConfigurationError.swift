/// Everything that is wrong with a configuration, so that it is put right in one go.
package struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    package struct Problem: Hashable, Sendable, CustomStringConvertible {
        /// The key, flag or file that is meant.
        package let subject: String
        /// What is wrong and what to do; never shows a secret.
        package let message: String

        package var description: String { "\(subject): \(message)" }
    }

    package let problems: [Problem]

    package var description: String {
        let count = problems.count == 1 ? "a problem" : "\(problems.count) problems"
        let lines = ["the configuration has \(count):"] + problems.map { "  \($0)" }
        return lines.joined(separator: "\n")
    }
}

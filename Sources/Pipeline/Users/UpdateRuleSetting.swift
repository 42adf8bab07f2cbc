/// A number of an `UpdateRule` that can be set: the one list behind the daemon's configuration
/// (`updates.NAME`) and `uhan replay --rule NAME=VALUE`.
package struct UpdateRuleSetting: Sendable {
    package let name: String
    /// A sentence.
    package let help: String
    package let range: ClosedRange<Double>
    package let isWhole: Bool
    private let read: @Sendable (UpdateRule) -> Double
    private let write: @Sendable (inout UpdateRule, Double) -> Void

    package func value(in rule: UpdateRule) -> Double { read(rule) }

    /// What is accepted, in words: "a whole number from 1 to 100".
    package var accepts: String {
        "a \(isWhole ? "whole number" : "number") from \(Self.text(range.lowerBound)) to "
            + Self.text(range.upperBound)
    }

    /// - Returns: false where the value is not accepted; the rule then stays as it is.
    package func set(_ value: Double, in rule: inout UpdateRule) -> Bool {
        guard range.contains(value), !isWhole || value == value.rounded() else { return false }
        write(&rule, value)
        return true
    }

    /// The value in digits, as it is typed.
    package func text(in rule: UpdateRule) -> String { Self.text(value(in: rule)) }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(Float(value))"
    }

    package static func named(_ name: String) -> UpdateRuleSetting? {
        all.first { $0.name == name }
    }

    package static let all: [UpdateRuleSetting] = [
        .real("rate", \.learningRate, 1e-5...10, "The longest way of a coordinate in one step."),
        .whole("steps", \.steps, 1...100, "Steps of Adam in an update."),
        .real(
            "epsilon", \.epsilon, 1e-8...1_000,
            "Gradients far smaller than this move the vector in proportion to their size."),
        .real(
            "huber_delta", \.huberDelta, 0.01...100,
            "No label pulls harder than one that is so far from its score."),
        .real(
            "prior_pull", \.priorPull, 0...1_000,
            "The pull toward the vector of an unknown user, in loss per squared distance."),
        .real(
            "maximum_evidence", \.maximumEvidence, 0...1_000_000,
            "A trained vector stands for so many labels at most."),
        .real(
            "trained_user_evidence", \.trainedUserEvidence, 0...1_000_000,
            "And for so many where the model does not say how many it was trained on."),
        .real("maximum_step", \.maximumStep, 0.001...1_000, "The longest way of one update."),
        .real(
            "maximum_unproven_step", \.maximumUnprovenStep, 0.001...1_000,
            "The same while no post is held out."),
        .real(
            "maximum_distance", \.maximumDistanceFromPrior, 0.001...1_000,
            "The longest way from the vector of the model."),
        .whole(
            "labels_per_new_label", \.labelsPerNewLabel, 1...1_000,
            "An update follows one new label for so many of the user's."),
        .whole(
            "maximum_labels_between_updates", \.maximumLabelsBetweenUpdates, 1...1_000,
            "But after so many at the latest."),
        .real(
            "maximum_seconds_between_updates", \.maximumSecondsBetweenUpdates, 1...315_576_000,
            "Or when the newest observation is so much younger than at the last update."),
        .whole(
            "minimum_posts_to_hold_out", \.minimumPostsToHoldOut, 2...1_000,
            "With fewer labelled posts all of them teach, and none is held out."),
        .whole(
            "posts_per_held_out", \.postsPerHeldOut, 2...1_000,
            "Of so many labelled posts one is held out."),
        .whole(
            "halvings", \.halvings, 0...10,
            "So often a step that is refused is tried again at half its length."),
    ]

    private static func real(
        _ name: String, _ field: WritableKeyPath<UpdateRule, Float> & Sendable,
        _ range: ClosedRange<Double>, _ help: String
    ) -> UpdateRuleSetting {
        UpdateRuleSetting(
            name: name, help: help, range: range, isWhole: false,
            read: { Double($0[keyPath: field]) }, write: { $0[keyPath: field] = Float($1) })
    }

    private static func real(
        _ name: String, _ field: WritableKeyPath<UpdateRule, Double> & Sendable,
        _ range: ClosedRange<Double>, _ help: String
    ) -> UpdateRuleSetting {
        UpdateRuleSetting(
            name: name, help: help, range: range, isWhole: false,
            read: { $0[keyPath: field] }, write: { $0[keyPath: field] = $1 })
    }

    private static func whole(
        _ name: String, _ field: WritableKeyPath<UpdateRule, Int> & Sendable,
        _ range: ClosedRange<Double>, _ help: String
    ) -> UpdateRuleSetting {
        UpdateRuleSetting(
            name: name, help: help, range: range, isWhole: true,
            read: { Double($0[keyPath: field]) }, write: { $0[keyPath: field] = Int($1) })
    }
}

import Pipeline

/// What learning has come to since the start.
package struct LearningStatus: Sendable {
    /// What became of observations, at each horizon.
    package var labels: [LabelOutcome: Int] = [:]
    /// What became of updates.
    package var updates: [UpdateOutcome.Reason: Int] = [:]
    /// What updates have taken, waits for the processor included.
    package var updateMilliseconds = 0.0
    package var judged = 0
    package var rolledBack = 0
    package var forgotten = 0
    /// Posts of which an update could learn nothing, as their encodings were not there (any more).
    package var missingEncodings = 0
    /// Encodings that could not be kept.
    package var lostEncodings = 0
    /// Users in memory, and what they take.
    package var users = 0
    package var userBytes = 0

    package init() {}

    mutating func count(_ report: LearningReport) {
        switch report {
        case .label(let outcome): labels[outcome, default: 0] += 1
        case .judged: judged += 1
        case .updated(_, let result):
            updates[result.outcome.reason, default: 0] += 1
            missingEncodings += result.missingEncodings
        case .rolledBack: rolledBack += 1
        case .forgotten: forgotten += 1
        case .versionUnknown: break
        }
    }
}

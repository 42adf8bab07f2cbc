/// How long a score takes of late: the mean over the last few, by the scorer's own account.
struct ScoringPace: Sendable {
    private static let capacity = 16

    private var recent: [Double] = []
    private var next = 0

    /// 0 before the first score.
    var milliseconds: Double {
        recent.isEmpty ? 0 : recent.reduce(0, +) / Double(recent.count)
    }

    mutating func add(_ scoring: Scoring) {
        let milliseconds = Double(
            scoring.backboneMilliseconds + scoring.encodeMilliseconds + scoring.scoreMilliseconds)
        guard milliseconds.isFinite, milliseconds >= 0 else { return }
        if recent.count < Self.capacity {
            recent.append(milliseconds)
        } else {
            recent[next] = milliseconds
            next = (next + 1) % Self.capacity
        }
    }
}

import Glibc

/// Which observed view counts are a post's labels, and what they say.
///
/// The label of horizon h is the first observation in [h, 1.25 h] after posting. Views come in any
/// order, so "first" is by `observedAt`: one that is nearer to h than the label replaces it, and so
/// does a later word on the same moment. Where any age counts (no horizon), the first to arrive is
/// the label, and only another word on the same moment replaces it.
package struct LabelRule: Sendable, Hashable {
    /// The last moment that counts, in horizons after posting.
    package static let windowEnd = 1.25
    package static let maximumTrackedHorizons = 7
    /// Seconds: to ten years.
    package static let horizons: ClosedRange<Double> = 1...315_576_000
    package static let secondsPerDay = 86_400.0
    static let horizonsExpected = "a horizon of 1 to 315576000 seconds (ten years)"
    /// A label lies within, whatever the views: 10^12 of them in a millionth of a day are 60.8.
    package static let labels: ClosedRange<Float> = -64...64
    private static let minimumDaysBounds = 1e-6...3_652.5

    /// Seconds after posting, the model's own; nil where any age counts.
    package var horizon: Double?
    /// Horizons that only judge, in seconds.
    package var trackedHorizons: [Double]
    /// Younger posts count as this old, in days.
    package var minimumDays: Double

    package init(horizon: Double?, trackedHorizons: [Double] = [], minimumDays: Double) {
        self.horizon = horizon
        self.trackedHorizons = trackedHorizons
        self.minimumDays = minimumDays
    }

    /// What makes the rule unusable and what to do about it; nil where it can be used.
    package var problem: String? {
        let horizons = trackedHorizons + (horizon.map { [$0] } ?? [])
        if let wrong = horizons.first(where: { !Self.horizons.contains($0) }) {
            return "\(wrong) seconds cannot be a horizon; give \(Self.horizonsExpected)"
        }
        if Set(horizons).count < horizons.count {
            return "a horizon is given twice; leave one"
        }
        if trackedHorizons.count > Self.maximumTrackedHorizons {
            return "\(trackedHorizons.count) horizons are tracked; leave at most "
                + "\(Self.maximumTrackedHorizons)"
        }
        if !Self.minimumDaysBounds.contains(minimumDays) {
            return "\(minimumDays) cannot be the minimum of days; give 1e-6 to 3652.5"
        }
        return nil
    }

    /// The popularity score, log2(max(views, 1) / max(days, minimumDays)) + 1: the target in
    /// training, and the label while learning.
    ///
    /// - Parameter seconds: since posting.
    package static func label(views: Double, seconds: Double, minimumDays: Double) -> Float {
        Float(log2(max(views, 1) / max(seconds / secondsPerDay, minimumDays)) + 1)
    }

    /// - Parameters:
    ///   - postedAt: seconds since 1970.
    ///   - observedAt: seconds since 1970.
    package func label(views: Int64, postedAt: Double, observedAt: Double) -> Float {
        Self.label(
            views: Double(views), seconds: observedAt - postedAt, minimumDays: minimumDays)
    }

    /// What came of an observation at one horizon.
    package struct Join: Equatable, Sendable {
        package var horizon: Double?
        package var outcome: LabelOutcome
        /// What the learner is told; nil unless the label was taken or corrected.
        package var lesson: JoinedLabel?
    }

    /// Joins an observation with its post, at the model's horizon first and then at the tracked
    /// ones, and keeps in `post.labels` what became one. The same observation again changes
    /// nothing.
    package func join(_ view: ViewEvent, with post: inout ScoredPost) -> [Join] {
        var joins = [join(view, with: &post, at: horizon, teaches: true)]
        for tracked in trackedHorizons {
            joins.append(join(view, with: &post, at: tracked, teaches: false))
        }
        return joins
    }

    private func join(
        _ view: ViewEvent, with post: inout ScoredPost, at horizon: Double?, teaches: Bool
    ) -> Join {
        let place = post.labels.firstIndex { $0.horizon == horizon }
        let outcome = outcome(
            of: view, postedAt: post.postedAt, at: horizon, label: place.map { post.labels[$0] })
        guard outcome == .taken || outcome == .correction else {
            return Join(horizon: horizon, outcome: outcome)
        }
        let label = ScoredPost.Label(
            horizon: horizon, views: view.views, observedAt: view.observedAt)
        if let place {
            post.labels[place] = label
        } else {
            post.labels.append(label)
            // Horizons may be tracked no longer, and others instead.
            if post.labels.count > ScoredPost.maximumLabels,
                let stale = post.labels.firstIndex(where: { !isTracked($0.horizon) })
            {
                post.labels.remove(at: stale)
            }
        }
        var plain = post
        plain.labels = []
        return Join(
            horizon: horizon, outcome: outcome,
            lesson: JoinedLabel(
                post: plain, horizon: horizon, teaches: teaches, views: view.views,
                observedAt: view.observedAt,
                label: self.label(
                    views: view.views, postedAt: post.postedAt, observedAt: view.observedAt),
                isCorrection: outcome == .correction))
    }

    private func isTracked(_ horizon: Double?) -> Bool {
        horizon == self.horizon || trackedHorizons.contains { $0 == horizon }
    }

    /// - Parameter label: the one that the post has at this horizon.
    private func outcome(
        of view: ViewEvent, postedAt: Double, at horizon: Double?, label: ScoredPost.Label?
    ) -> LabelOutcome {
        let age = view.observedAt - postedAt
        guard age >= 0 else { return .beforePost }
        if let horizon {
            guard age >= horizon else { return .tooEarly }
            guard age <= Self.windowEnd * horizon else { return .tooLate }
        }
        guard let label else { return .taken }
        if view.observedAt == label.observedAt {
            return view.views == label.views ? .repeated : .correction
        }
        guard horizon != nil else { return .alreadyLabelled }
        return view.observedAt < label.observedAt ? .correction : .farther
    }
}

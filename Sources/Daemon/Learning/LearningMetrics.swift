import Metrics
import Pipeline

/// Learning as metrics, for whatever exporter the process has installed. Names follow Prometheus'
/// conventions; errors are in units of the score.
struct LearningMetrics: Sendable {
    private let steps = Recorder(label: "uhan_update_step_norm")
    private let labelAges = Recorder(label: "uhan_label_age_seconds")
    private let judged = Counter(label: "uhan_labels_judged_total")

    func count(_ report: LearningReport) {
        switch report {
        case .label(let outcome):
            Counter(label: "uhan_views_total", dimensions: [("outcome", outcome.rawValue)])
                .increment()
        case .judged(let label):
            judged.increment()
            labelAges.record(label.observedAt - label.post.postedAt)
        case .updated(_, let result):
            Counter(
                label: "uhan_updates_total",
                dimensions: [("outcome", result.outcome.reason.rawValue)]
            ).increment()
            if result.outcome.vector != nil { steps.record(result.outcome.stepNorm) }
        case .rolledBack: Counter(label: "uhan_rollbacks_total").increment()
        case .forgotten: Counter(label: "uhan_users_forgotten_total").increment()
        case .versionUnknown: break
        }
    }

    /// The model's own horizon: the first.
    func show(_ snapshot: ProgressiveValidation.Snapshot) {
        guard let horizon = snapshot.horizons.first else { return }
        show(horizon.overall, span: "all")
        show(horizon.window, span: "recent")
    }

    private func show(_ figures: ProgressiveValidation.Snapshot.Figures, span: String) {
        let systems = [
            ("published", figures.published), ("frozen", figures.frozen),
            ("user_mean", figures.userMean), ("global_mean", figures.globalMean),
        ]
        for (system, errors) in systems {
            guard let errors else { continue }
            gauge("uhan_progressive_mse", errors.mse, [("system", system), ("span", span)])
        }
        // Above 0: learning helps.
        if let gain = figures.gainOverFrozen {
            gauge("uhan_learning_gain_mse", gain.mse, [("over", "frozen"), ("span", span)])
        }
        if let gain = figures.gainOverUserMean {
            gauge("uhan_learning_gain_mse", gain.mse, [("over", "user_mean"), ("span", span)])
        }
    }

    private func gauge(_ label: String, _ value: Double, _ dimensions: [(String, String)]) {
        Gauge(label: label, dimensions: dimensions).record(value)
    }
}

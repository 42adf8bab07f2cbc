import Metrics
import Pipeline

/// Learning as metrics, for whatever exporter the process has installed. Names follow Prometheus'
/// conventions; errors are in units of the score.
struct LearningMetrics: Sendable {
    private let factory: any MetricsFactory
    private let steps: Recorder
    private let labelAges: Recorder
    private let judged: Counter

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        steps = Recorder(label: "uhan_update_step_norm", factory: factory)
        labelAges = Recorder(label: "uhan_label_age_seconds", factory: factory)
        judged = Counter(label: "uhan_labels_judged_total", factory: factory)
    }

    func count(_ report: LearningReport) {
        switch report {
        case .label(let outcome):
            counter("uhan_views_total", [("outcome", outcome.rawValue)]).increment()
        case .judged(let label):
            judged.increment()
            labelAges.record(label.observedAt - label.post.postedAt)
        case .updated(_, let result):
            counter("uhan_updates_total", [("outcome", result.outcome.reason.rawValue)])
                .increment()
            if result.outcome.vector != nil { steps.record(result.outcome.stepNorm) }
        case .rolledBack: counter("uhan_rollbacks_total").increment()
        case .forgotten: counter("uhan_users_forgotten_total").increment()
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

    private func counter(_ label: String, _ dimensions: [(String, String)] = []) -> Counter {
        Counter(label: label, dimensions: dimensions, factory: factory)
    }

    private func gauge(_ label: String, _ value: Double, _ dimensions: [(String, String)]) {
        Gauge(label: label, dimensions: dimensions, factory: factory).record(value)
    }
}

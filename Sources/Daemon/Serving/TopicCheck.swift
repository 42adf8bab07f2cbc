import Kafka
import Pipeline

/// Asks for the topics before the consumer joins its group: one that is missing would otherwise
/// show as silence, or as transactions that abort without end, and partitions that do not match as
/// users whose records are scattered.
///
/// (Brokers that create topics when they are asked for create these.)
final class TopicCheck {
    struct Topics {
        /// Must have the same number of partitions.
        var coPartitioned: [String]
        /// Of those, the ones that should be compacted.
        var changelogs: [String] = []
        /// Of those, the ones whose old records may be deleted as well.
        var aging: Set<String> = []
        var others: [String] = []
    }

    private static let intervalMilliseconds: Milliseconds = 1_000
    private static let reportIntervalMilliseconds: Milliseconds = 10_000
    private static let requestTimeoutMilliseconds = 1_000

    private let admin: Admin
    private let topics: Topics
    private let reports: ReportLog
    private var nextAt: Milliseconds = 0
    private var nextReportAt: Milliseconds = 0
    /// What the last call found to be in the way, in words.
    private(set) var waiting: String?

    init(
        _ topics: Topics, configuration: ClientConfiguration, reports: ReportLog
    ) throws(KafkaError) {
        admin = try Admin(configuration: configuration)
        self.topics = topics
        self.reports = reports
    }

    /// - Returns: true when all topics are there, or may not be asked for; until then it is to be
    ///   called again.
    /// - Throws: where the topics are there and cannot be served.
    func passes(at uptime: Milliseconds) throws(CoPartitioning.UnequalCounts) -> Bool {
        guard uptime >= nextAt else { return false }
        nextAt = uptime + Self.intervalMilliseconds
        let all = topics.coPartitioned + topics.others
        let counts: [String: Int]
        do throws(KafkaError) {
            counts = try admin.partitionCounts(
                ofTopics: all, timeoutMilliseconds: Self.requestTimeoutMilliseconds)
        } catch  where error.action == .retry {
            waiting = "the brokers: they do not answer"
            report(at: uptime) { reports.brokersAway(error) }
            return false
        } catch {
            // The right to read or write a topic does not always come with that to describe it.
            reports.couldNot("ask for the topics", error)
            return true
        }
        try CoPartitioning(topics.coPartitioned).check(partitionCounts: counts)
        let missing = all.filter { counts[$0] == nil }
        guard missing.isEmpty else {
            waiting = "topics that are missing: \(missing.joined(separator: ", "))"
            report(at: uptime) { reports.topicsMissing(missing) }
            return false
        }
        warnOfUncompacted()
        return true
    }

    /// Users whose old records are deleted are forgotten; a changelog that keeps all takes ever longer
    /// to restore.
    private func warnOfUncompacted() {
        guard !topics.changelogs.isEmpty else { return }
        do throws(KafkaError) {
            let policies = try admin.topicSetting(
                "cleanup.policy", ofTopics: topics.changelogs,
                timeoutMilliseconds: Self.requestTimeoutMilliseconds)
            for topic in topics.changelogs {
                guard let policy = policies[topic] else { continue }
                let parts = Set(policy.split(separator: ",").map { $0.trimmed })
                let allowed = topics.aging.contains(topic) ? ["compact", "delete"] : ["compact"]
                guard !parts.contains("compact") || !parts.isSubset(of: allowed) else { continue }
                reports.changelogNotCompacted(topic, policy: policy, allowed: allowed)
            }
        } catch {
            reports.couldNot("ask whether the changelogs are compacted", error)
        }
    }

    private func report(at uptime: Milliseconds, _ body: () -> Void) {
        guard uptime >= nextReportAt else { return }
        nextReportAt = uptime + Self.reportIntervalMilliseconds
        body()
    }
}

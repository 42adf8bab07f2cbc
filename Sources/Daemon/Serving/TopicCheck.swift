import Kafka
import Pipeline

/// Asks for the topics before the consumer joins its group: one that is missing would otherwise
/// show as silence, or as transactions that abort without end.
///
/// (Brokers that create topics when they are asked for create these.)
final class TopicCheck {
    private static let intervalMilliseconds: Milliseconds = 1_000
    private static let reportIntervalMilliseconds: Milliseconds = 10_000
    private static let requestTimeoutMilliseconds = 1_000

    private let admin: Admin
    private let topics: [String]
    private let reports: ReportLog
    private var nextAt: Milliseconds = 0
    private var nextReportAt: Milliseconds = 0

    init(
        _ topics: [String], configuration: ClientConfiguration, reports: ReportLog
    ) throws(KafkaError) {
        admin = try Admin(configuration: configuration)
        self.topics = topics
        self.reports = reports
    }

    /// - Returns: true when all topics are there, or may not be asked for; until then it is to be
    ///   called again.
    func passes(at uptime: Milliseconds) -> Bool {
        guard uptime >= nextAt else { return false }
        nextAt = uptime + Self.intervalMilliseconds
        do throws(KafkaError) {
            var missing: [String] = []
            for topic in topics {
                let count = try admin.partitionCount(
                    ofTopic: topic, timeoutMilliseconds: Self.requestTimeoutMilliseconds)
                if count == nil { missing.append(topic) }
            }
            guard !missing.isEmpty else { return true }
            report(at: uptime) { reports.topicsMissing(missing) }
        } catch  where error.action == .retry {
            report(at: uptime) { reports.brokersAway(error) }
        } catch {
            // The right to read or write a topic does not always come with that to describe it.
            reports.couldNot("ask for the topics", error)
            return true
        }
        return false
    }

    private func report(at uptime: Milliseconds, _ body: () -> Void) {
        guard uptime >= nextReportAt else { return }
        nextReportAt = uptime + Self.reportIntervalMilliseconds
        body()
    }
}

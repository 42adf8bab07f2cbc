import Daemon
import Foundation
import Kafka
import Pipeline
import Testing

/// The daemon and its HTTP server together: when it is ready, and what its metrics tell.
@Suite struct ReadinessTests {
    @Test func itIsReadyOnceTheBrokersAnswerAndThenCountsWhatItDoes() async throws {
        let stage = try Stage()
        let peer = try await stage.peer()
        let posts = try (0..<12).map { try Post.inline("post-\($0)", picture: UInt64($0 % 3)) }
        try await peer.publish(posts)
        try await peer.publish([Post("broken").with(raw: "{")])
        try stage.broker.setDown()
        try await HTTPStage(beside: stage).whileAnswering { (client, _) async throws in
            try await eventually("it waits for the brokers") {
                let answer = try await client.answer("/readyz")
                return answer.status == 503
                    && answer.body.contains("[\"the brokers: they do not answer\"]")
            }
            #expect(try await client.answer("/livez").status == 200)
            try stage.broker.setUp()
            try await eventually("it is ready") {
                try await client.answer("/readyz").status == 200
            }
            try await eventually("all are published") {
                let page = try await PrometheusPage(client.answer("/metrics").body)
                return page.value("uhan_scores_published_total") == 12
                    && page.value("uhan_dead_letters_total", ["reason": "malformed_event"]) == 1
                    && page.value("uhan_bytes_in_flight") == 0
                    && page.total("uhan_image_cache_hits_total") == 9
                    // Known some seconds later than the rest.
                    && page.families["uhan_consumer_lag_records"]?.samples.count == 2
            }
            let page = try await PrometheusPage(client.answer("/metrics").body)
            #expect(page.value("uhan_ready") == 1)
            #expect(page.value("uhan_records_read_total", ["topic": "posts"]) == 13)
            #expect(page.value("uhan_event_to_score_seconds_count") == 12)
            #expect(page.value("uhan_image_cache_misses_total") == 3)
            for name in ["queue", "encode", "score"] {
                #expect(page.value("uhan_stage_seconds_count", ["stage": name]) == 12, "\(name)")
            }
            #expect(page.value("uhan_stage_seconds_count", ["stage": "backbone"]) == 3)
            #expect(page.value("uhan_batch_records_sum") == 13)
            #expect(
                page.value("uhan_transactions_total", ["outcome": "committed"])
                    == page.value("uhan_batch_records_count"))
            #expect(page.value("uhan_transactions_total", ["outcome": "aborted"]) == 0)
            #expect(
                page.value(
                    "uhan_model_info",
                    ["version": stage.bundle.version, "delivery": "exactly_once"]) == 1)
            #expect(page.value("uhan_metric_series_refused_total") == 0)
            #expect(page.families.values.allSatisfy { !$0.help.isEmpty })
        }
    }

    @Test func fromTheFirstMomentOfAStopItIsNotReadyAndStillAlive() async throws {
        var stage = try Stage(partitions: 1)
        stage.configuration.shutdown.budgetMilliseconds = 2_000
        let peer = try await stage.peer()
        try await peer.publish(try (0..<600).map { try .inline("post-\($0)", picture: UInt64($0)) })
        let served = stage
        try await HTTPStage(beside: served).whileAnswering { (client, stop) async throws in
            try await eventually("it is ready") {
                try await client.answer("/readyz").status == 200
            }
            try await peer.answers(1)
            // The stop takes its time, as a batch's fate is open.
            try served.broker.setRoundTrip(milliseconds: 60_000)
            // Many times the time after which a batch is published.
            try await Task.sleep(for: .seconds(1))
            let slow = try await client.open()
            try await slow.send("GET /livez HT")
            await stop()
            let ready = try await client.answer("/readyz")
            #expect(ready.status == 503 && ready.body.contains("stopping"))
            #expect(try await client.answer("/livez").status == 200)
            let page = try await PrometheusPage(client.answer("/metrics").body)
            #expect(page.value("uhan_ready") == 0)
        }
    }

    @Test func anInstanceWithoutPartitionsIsReadyToo() async throws {
        let first = try Stage(partitions: 1)
        var second = first
        second.configuration.kafka.transactionalID = "spare"
        second.configuration.kafka.groupInstanceID = "spare"
        let spare = second
        try await HTTPStage(beside: first).whileAnswering { (client, _) async throws in
            try await eventually("the first is ready") {
                try await client.answer("/readyz").status == 200
            }
            var stage = HTTPStage()
            stage.score = spare.service(status: stage.status)
            try await stage.whileAnswering { (client, _) async throws in
                try await eventually("the spare one is ready") {
                    try await client.answer("/readyz").status == 200
                }
            }
        }
    }
}

extension Stage {
    fileprivate func service(status: StatusBoard) -> ScoreService {
        ScoreService(
            configuration: configuration, bundle: bundle, logger: log.logger, status: status)
    }
}

/// What is told of a metric: its name, what it means, and, of a histogram, its buckets.
package struct MetricDefinition: Sendable {
    package enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    package let name: String
    package let help: String
    /// Inclusive upper bounds of buckets, ascending; infinity is added.
    package let bounds: [Double]

    package init(_ name: String, _ help: String, bounds: [Double] = Self.stages) {
        self.name = name
        self.help = help
        self.bounds = bounds
    }

    /// Seconds: from what a cached image takes to a whole budget of retries.
    package static let stages = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
    ]
    /// Seconds: from the fastest answer to an hour of lag.
    private static let latencies = [
        0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300, 900, 3_600,
    ]
    private static let counts: [Double] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096]
    private static let days = [0.25, 1, 2, 3, 5, 7, 10, 14, 30, 90, 365].map { $0 * 86_400 }
    private static let norms = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

    static let refusedSeries = MetricDefinition(
        "uhan_metric_series_refused_total",
        "Attempts to add a series that found no room, or a name of another kind.")

    /// All that the daemon records, in the order of a post's way.
    package static let all = [
        MetricDefinition(
            "uhan_model_info",
            "1; the labels say which model is served and how outputs are "
                + "delivered."),
        MetricDefinition(
            "uhan_ready", "1 where /readyz answers 200: posts are being scored, or could be."),
        MetricDefinition("uhan_records_read_total", "Records taken from the input topics."),
        MetricDefinition(
            "uhan_consumer_lag_records",
            "Records behind the last stable offset, for each partition of this instance."),
        MetricDefinition("uhan_records_in_flight", "Records taken and not yet published."),
        MetricDefinition("uhan_bytes_in_flight", "What they hold: events, images, answers."),
        MetricDefinition("uhan_reading_paused", "1 while reading posts waits for room."),
        MetricDefinition("uhan_image_retries_total", "Images to be tried again."),
        MetricDefinition(
            "uhan_images_unusable_total", "Posts scored without their image, by the reason."),
        MetricDefinition(
            "uhan_stage_seconds",
            "Of each scored post, the time in the stages that it went through: fetch, decode, "
                + "queue, backbone, encode, score."),
        MetricDefinition(
            "uhan_image_cache_hits_total", "Posts whose image was known: VGG16 did not run."),
        MetricDefinition(
            "uhan_image_cache_misses_total", "Posts whose image VGG16 had to see."),
        MetricDefinition(
            "uhan_image_cache_evictions_total", "Known images that had to make room."),
        MetricDefinition("uhan_image_cache_images", "Known images."),
        MetricDefinition("uhan_image_cache_bytes", "What they take."),
        MetricDefinition("uhan_scores_published_total", "Scores in committed batches."),
        MetricDefinition(
            "uhan_posts_expired_total", "Posts whose deadline was past or could not be met."),
        MetricDefinition("uhan_dead_letters_total", "Records that were refused, by the reason."),
        MetricDefinition(
            "uhan_records_given_up_total",
            "Records taken and left to whoever has their partition next."),
        MetricDefinition(
            "uhan_event_to_score_seconds",
            "From the timestamp of a post's record to the commit of its score.",
            bounds: latencies),
        MetricDefinition("uhan_batch_records", "Records in a published batch.", bounds: counts),
        MetricDefinition(
            "uhan_transaction_seconds", "From the begin of a transaction to its commit."),
        MetricDefinition(
            "uhan_transactions_total",
            "Batches by their outcome; after producer_lost it is read back whether they were "
                + "committed."),
        MetricDefinition("uhan_publish_retries_total", "Steps of publishing that were repeated."),
        MetricDefinition("uhan_views_total", "Observed views, by what became of them."),
        MetricDefinition("uhan_labels_judged_total", "Labels compared with what was published."),
        MetricDefinition(
            "uhan_label_age_seconds", "Age of a post when the views that judge it were counted.",
            bounds: days),
        MetricDefinition("uhan_updates_total", "Updates of users' vectors, by their outcome."),
        MetricDefinition(
            "uhan_update_step_norm", "Length of the step of an accepted update.", bounds: norms),
        MetricDefinition(
            "uhan_progressive_mse",
            "Mean squared error against the labels, in units of the score: of what was published, "
                + "and of what would have been said without learning."),
        MetricDefinition(
            "uhan_learning_gain_mse",
            "By how much the error of what was published is lower; above 0 learning helps."),
        MetricDefinition("uhan_learned_users", "Users' learned vectors in memory."),
        MetricDefinition("uhan_learned_user_bytes", "What they take."),
        MetricDefinition(
            "uhan_encodings_lost_total", "Encodings of posts that could not be kept."),
        MetricDefinition(
            "uhan_update_seconds_total", "Time that updates took, waits for the processor included."
        ),
        MetricDefinition("uhan_rollbacks_total", "Users taken back to an earlier vector."),
        MetricDefinition("uhan_users_forgotten_total", "Users forgotten at request."),
        MetricDefinition("uhan_http_requests_total", "HTTP requests, by path and status."),
    ]
}

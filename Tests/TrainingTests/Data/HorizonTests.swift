import Foundation
import Model
import Pipeline
import Testing
import Training

/// Targets at one age of the posts: what a daemon that learns with that horizon takes as labels.
@Suite struct HorizonTests {
    private static let day = 86_400

    private static func seen(
        _ pid: String, _ uid: String = "ann", views: Int, at seconds: Int?
    ) -> String {
        let time = seconds.map { ",\"observed_at\":\($0)" } ?? ""
        return "{\"pid\":\"\(pid)\",\"uid\":\"\(uid)\",\"views\":\"\(views)\"\(time)}"
    }

    private static func settings(horizonDays: Double?) -> PreparationSettings {
        var settings = PreparationSettings.none
        settings.horizonDays = horizonDays
        return settings
    }

    private func targets(_ result: Preparation.Result) -> [String: Float] {
        Dictionary(uniqueKeysWithValues: result.posts.map { ($0.pid, $0.target) })
    }

    @Test func theFirstObservationFromTheHorizonToAQuarterLaterCounts() throws {
        let day = Self.day
        let posts = ["a", "b", "c", "d", "e", "f", "g"].map {
            RawPost(pid: $0, day: 0, views: nil, observedDay: nil)
        }
        let views = [
            // Out of order, with ages on both sides of the window.
            Self.seen("a", views: 512, at: 30 * day), Self.seen("a", views: 80, at: 5 * day),
            Self.seen("a", views: 64, at: 4 * day), Self.seen("a", views: 2, at: 1 * day),
            // Its two ends belong to it, a second more or less does not.
            Self.seen("b", views: 64, at: 4 * day), Self.seen("c", views: 80, at: 5 * day),
            Self.seen("d", views: 64, at: 4 * day - 1), Self.seen("e", views: 80, at: 5 * day + 1),
            // A later word on the same moment.
            Self.seen("f", views: 8, at: 4 * day), Self.seen("f", views: 128, at: 4 * day),
        ]
        let result = try RawPost.prepare(posts, Self.settings(horizonDays: 4), views: views)
        #expect(targets(result) == ["a": 5, "b": 5, "c": 5, "f": 6])
        #expect(result.report.dropped(by: .outsideHorizon) == 2)
        #expect(result.report.dropped(by: .noViews) == 1)
        let dropped = result.report.dropped.first { $0.filter == .outsideHorizon }
        #expect(dropped?.examples == ["d", "e"])
    }

    @Test func whatAPostSaysOfItselfIsAnObservationToo() throws {
        let posts = [
            RawPost(pid: "kept", day: 0, views: "64", observedDay: 4),
            RawPost(pid: "early", day: 0, views: "8", observedDay: 2),
            RawPost(pid: "nearer", day: 0, views: "10", observedDay: 5),
            RawPost(pid: "undated", day: 0, views: "64", observedDay: nil),
        ]
        let views = [
            Self.seen("kept", views: 80, at: 5 * Self.day),
            Self.seen("early", views: 128, at: 4 * Self.day),
            Self.seen("nearer", views: 128, at: 4 * Self.day),
            Self.seen("kept", views: 1, at: nil),
        ]
        let result = try RawPost.prepare(posts, Self.settings(horizonDays: 4), views: views)
        #expect(targets(result) == ["kept": 5, "early": 6, "nearer": 6])
        #expect(result.report.dropped(by: .noObservationTime) == 1)

        var assumed = Self.settings(horizonDays: 4)
        assumed.observedAt = Double(4 * Self.day)
        let later = try RawPost.prepare(posts, assumed, views: views)
        #expect(targets(later) == ["kept": -1, "early": 6, "nearer": 6, "undated": 5])
    }

    /// Whatever comes in whatever order, preparation and daemon take the same label.
    @Test func itIsTheLabelThatTheDaemonWouldTake() throws {
        var random = SplitMix64(seed: 7)
        func draw(_ count: Int) -> Int { Int(random.next() >> 33) % count }
        let rule = LabelRule(horizon: 4 * 86_400, minimumDays: 1)
        var posts: [RawPost] = []
        var lines: [String] = []
        var labels: [String: Float] = [:]
        var isDropped = 0
        for number in 0..<300 {
            let pid = "p\(number)"
            posts.append(RawPost(pid: pid, day: 10, views: nil, observedDay: nil))
            var scored = ScoredPost(
                pid: pid, uid: "ann", model: "m", postedAt: Double(10 * Self.day), score: 0,
                userVector: "unknown", frozenScore: 0, userMean: nil, userLabels: 0)
            for _ in 0...draw(5) {
                // Quarters of days, from before the post to past the window; some twice.
                let time = 10 * Self.day + (draw(24) - 2) * Self.day / 4
                let views = 1 << draw(12)
                lines.append(Self.seen(pid, views: views, at: time))
                _ = rule.join(
                    ViewEvent(
                        pid: pid, uid: "ann", views: Int64(views), observedAt: Double(time)),
                    with: &scored)
            }
            if let label = scored.labels.first {
                labels[pid] = rule.label(
                    views: label.views, postedAt: scored.postedAt, observedAt: label.observedAt)
            } else {
                isDropped += 1
            }
        }
        let result = try RawPost.prepare(posts, Self.settings(horizonDays: 4), views: lines)
        #expect(targets(result) == labels)
        #expect(labels.count > 100 && isDropped > 20)
        #expect(
            result.report.dropped(by: .outsideHorizon)
                + result.report.dropped(by: .observedBeforePosted) == isDropped)
    }

    @Test(arguments: [0, -1, .infinity, .nan, 4_000.0]) func noHorizonAtAll(days: Double) {
        let error = #expect(throws: TrainingError.self) {
            try Preparation(settings: Self.settings(horizonDays: days))
        }
        #expect(error.map { "\($0)".contains("horizon") } == true)
    }

    // MARK: On the way to the daemon

    @Test func theDatasetRemembersTheHorizonAndOldOnesHaveNone() throws {
        let folder = try DataFolder()
        let posts = (1...10).map { RawPost(pid: "p\($0)", day: Double($0), observedDay: 1000) }
        func write(_ name: String, _ settings: PreparationSettings) throws -> PreparedDataset {
            _ = try PreparedDataset.write(
                RawPost.prepare(posts), to: folder.file(name), name: "trial", settings: settings,
                imagesFolder: "/", inputs: [])
            return try PreparedDataset(folder: folder.file(name))
        }
        let (without, with) = (
            try write("a", .none), try write("b", Self.settings(horizonDays: 7))
        )
        #expect(without.settings.horizonDays == nil && with.settings.horizonDays == 7)
        #expect(without.version != with.version)
        // No word of it: so datasets that were made before keep their version.
        let record = String(decoding: try folder.bytes(of: "a/prepared.json"), as: UTF8.self)
        #expect(!record.contains("horizon"))
    }

    @Test func aTrainedBundleNamesTheHorizonAndTheUsersHistories() throws {
        let folder = try DataFolder()
        // Everything is observed 16 days after posting.
        for days in [nil, 16.0] {
            let name = days == nil ? "any" : "horizon"
            let data = try TrainingData(
                PlantedPosts.write(
                    .user, in: folder, name: name, settings: Self.settings(horizonDays: days)),
                features: nil, maximumWords: 6)
            var training = PlantedPosts.settings(.uhanText)
            training.maximumEpochs = 1
            try TrainingRun(training, on: data, in: folder.file("\(name)-model"))
            let bundle = try ModelBundle(folder: folder.file("\(name)-model"))
            #expect(bundle.configuration.target.horizon_days == days)
            #expect(bundle.users.hasHistories)
            for user in data.users {
                let targets = data.dataset.posts.filter { $0.uid == user && $0.part == .train }
                    .map { Double($0.target) }
                let history = try #require(bundle.users.history(of: user))
                #expect(history.posts == targets.count && history.posts > 20)
                let mean = targets.reduce(0, +) / Double(targets.count)
                #expect(abs(Double(history.mean) - mean) < 1e-6)
            }
            #expect(bundle.users.history(of: "stranger") == nil)
        }
    }
}

import Pipeline
import Testing

/// What becomes of posts.
@Suite struct ScorePathTests {
    // MARK: - The way of one post

    @Test func aTraceIsCarriedFromThePostToItsAnswerAndTheLastAnswerIsKeptByPost() throws {
        var story = Story.underWay { $0.latestTopic = "latest" }
        let trace = Array("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".utf8)
        let headers = [
            RecordHeader(key: "traceparent", value: trace),
            RecordHeader(key: "traceparent", value: Array("another".utf8)),
            RecordHeader(key: "tracestate", value: [UInt8](repeating: 120, count: 513)),
            RecordHeader(key: "mine", value: Array("1".utf8)),
        ]
        let value = #"{"uid":"u","pid":"a \"cat\""}"#
        _ = story.tell(
            .record(
                Record(
                    partition: Story.posts(0), offset: 0, key: Array("u".utf8),
                    value: Array(value.utf8), headers: headers, timestamp: 0)))
        _ = story.scored(1, score: 3)
        _ = story.wait(1_000)
        _ = story.answer(.done)
        let (score, latest) = (story.produced[0], story.produced[1])
        #expect(story.produced.count == 2)
        #expect(score.headers == [RecordHeader(key: "traceparent", value: trace)])
        #expect(latest.topic == "latest" && latest.key == Array(#"["u","a \"cat\""]"#.utf8))
        #expect(latest.value == score.value && latest.headers == score.headers)
    }

    @Test func aPostIsPreparedScoredAndPublishedWithItsOffset() throws {
        var story = Story()
        #expect(story.tell(.start) == ["publish createProducer"])
        #expect(story.answer(.done) == [])
        #expect(story.tell(.assigned([Story.posts(0)])) == [])

        #expect(story.take("cat", offset: 7) == ["prepare #1 cat, attempt 1, by 30000"])
        #expect(story.wait(100) == [])
        #expect(story.prepared(1) == ["score #1 cat with pixels 1"])
        #expect(story.wait(300) == [])
        #expect(story.scored(1, score: 3.5) == [])

        #expect(story.wait(100) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce cat=3.5"])
        #expect(story.answer(.done) == ["publish sendOffsets 0:8"])
        #expect(story.answer(.done) == ["publish commit"])
        #expect(story.load.records == 1)
        #expect(story.answer(.done) == [])
        #expect(story.load == Story.Path.Load())

        let output = try #require(story.produced.first)
        #expect(output.key == Array("u".utf8))
        let event = try ScoreEvent(parsing: try #require(output.value))
        #expect(event.origin == .init(topic: "posts", partition: 0, offset: 7))
        #expect(event.eventTime == 1_699_999_999_000)
        #expect(event.scoredAt == 1_700_000_000_400)
        guard case .scored(let scored) = event.outcome else {
            Issue.record("not scored")
            return
        }
        #expect(scored.timings.queue == 100)
        #expect(scored.viewsPerDay == 5.656854249492381)
        #expect(
            story.reports == [
                .scored(Story.posts(0), offset: 7, flags: [], scored.timings),
                // From the timestamp of the record to the commit.
                .batchPublished(records: 1, milliseconds: 0, latencies: [1_500]),
            ])
    }

    @Test func aPostWithoutAnImageIsScoredAtOnce() {
        var story = Story.underWay()
        #expect(story.take("words", offset: 0, image: false) == ["score #1 words with no image"])
    }

    @Test func imagesArePreparedSideBySideAndPostsScoredOneByOne() {
        var story = Story.underWay { $0.maximumPreparedPosts = 3 }
        #expect(story.take("a", offset: 0) == ["prepare #1 a, attempt 1, by 30000"])
        #expect(story.take("b", offset: 1) == ["prepare #2 b, attempt 1, by 30000"])
        #expect(story.take("c", offset: 2) == ["prepare #3 c, attempt 1, by 30000"])
        #expect(story.take("d", offset: 3) == [])
        #expect(story.take("e", offset: 4) == [])
        // The scorer does not wait for the first, and what it takes makes room for the next.
        #expect(
            story.prepared(3) == [
                "score #3 c with pixels 3", "prepare #4 d, attempt 1, by 30000",
            ])
        // Images that are ready and wait for the scorer keep their room.
        #expect(story.prepared(2) == [])
        #expect(story.prepared(1) == [])
        #expect(story.load.prepared == 2)
        // The oldest first.
        #expect(
            story.scored(3) == [
                "score #1 a with pixels 1", "prepare #5 e, attempt 1, by 30000",
            ])
    }

    @Test func postsWithoutImagesTakeNoRoomFromThoseWithOne() {
        var story = Story.underWay { $0.maximumPreparedPosts = 1 }
        #expect(story.take("a", offset: 0, image: false) == ["score #1 a with no image"])
        #expect(story.take("b", offset: 1, image: false) == [])
        #expect(story.take("c", offset: 2, image: false) == [])
        #expect(story.take("d", offset: 3) == ["prepare #4 d, attempt 1, by 30000"])
    }

    // MARK: - Dead letters

    @Test(
        arguments: [
            ("u", nil, "empty_value"),
            ("u", "", "empty_value"),
            ("u", "{", "malformed_event"),
            ("u", #"{"uid":"u"}"#, "malformed_event"),
            ("u", #"{"uid":"u","pid":"1","image":"1.jpg"}"#, "malformed_event"),
            ("v", #"{"uid":"u","pid":"1"}"#, "key_mismatch"),
            (nil, #"{"uid":"u","pid":"1"}"#, "key_mismatch"),
        ] as [(String?, String?, String)])
    func aRecordThatIsNoPostIsADeadLetter(_ key: String?, _ value: String?, _ reason: String) {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        #expect(story.take(key: key, value: value, offset: 4) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce \(reason)"])
        #expect(story.answer(.done) == ["publish sendOffsets 0:5"])
        #expect(story.produced.first?.key == key.map { Array($0.utf8) })
        #expect(story.produced.first?.value == value.map { Array($0.utf8) })
    }

    @Test func theErrorForAMissingKeySaysWhatToDo() {
        var story = Story.underWay()
        _ = story.take(key: nil, value: #"{"uid":"u","pid":"1"}"#, offset: 0)
        #expect(
            story.reports == [
                .deadLettered(
                    Story.posts(0), offset: 0, .keyMismatch,
                    "field \"key\": found no key, expected the event's uid, \"u\": produce with "
                        + "the user id as key")
            ])
    }

    @Test func aRecordThatIsTooLargeIsADeadLetterWithoutItsValue() {
        var story = Story.underWay {
            $0.eventLimits.maximumEventBytes = 100
            $0.maximumOutputBytes = 1_000
            $0.commitIntervalMilliseconds = 0
        }
        _ = story.take(key: "u", value: String(repeating: " ", count: 2_000), offset: 0)
        #expect(story.answer(.done) == ["publish produce event_too_large"])
        #expect(story.produced.first?.value == nil)
    }

    @Test func aPermanentFailureOfTheImageIsADeadLetter() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        _ = story.take("a", offset: 0)
        #expect(
            story.preparationFailed(1, .permanent(.imageUndecodable, "a PNG"))
                == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce image_undecodable"])
    }

    @Test func aPostThatTheModelCannotScoreIsADeadLetter() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        _ = story.take("a", offset: 0, image: false)
        #expect(
            story.tell(.scored(Ticket(number: 1), .failure(ScoringFailure("no")))).first
                == "publish begin")
        #expect(story.answerAll().first == "publish produce scoring_failed")

        for score in [Float.nan, .infinity, 2_000] {
            var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
            _ = story.take("b", offset: 1, image: false)
            _ = story.scored(1, score: score)
            #expect(story.answer(.done) == ["publish produce scoring_failed"])
        }
    }

    @Test func aScoreThatIsTooLargeIsADeadLetter() {
        var story = Story.underWay {
            $0.maximumOutputBytes = 400
            $0.commitIntervalMilliseconds = 0
        }
        _ = story.takeAndScore(String(repeating: "p", count: 200), offset: 0)
        #expect(story.answer(.done) == ["publish produce scoring_failed"])
        #expect(story.load.records == 1)
        let isScored = story.reports.contains { if case .scored = $0 { true } else { false } }
        #expect(!isScored)
        #expect(story.answerAll().count == 2)
        #expect(story.reports.last == .batchPublished(records: 1, milliseconds: 0, latencies: []))
    }

    // MARK: - Posts without their image

    @Test(
        arguments: [
            .imageUndecodable, .imageRefused, .imageChecksumMismatch,
        ] as [DeadLetterReason])
    func anImageThatCannotBeUsedMayBeLeftOut(_ reason: DeadLetterReason) {
        var story = Story.underWay { $0.unusableImage = .scoreWithout }
        _ = story.take("a", offset: 0)
        #expect(
            story.preparationFailed(1, .permanent(reason, "no")) == ["score #1 a with no image"])
        #expect(story.reports == [.imageUnusable(Story.posts(0), offset: 0, reason, "no")])
    }

    @Test func anImageThatCannotBeHadMayBeLeftOut() {
        var story = Story.underWay {
            $0.unusableImage = .scoreWithout
            $0.retryBudgetMilliseconds = 1_000
            $0.firstRetryDelayMilliseconds = 400
        }
        _ = story.take("a", offset: 0)
        _ = story.preparationFailed(1, .transient("timeout"))
        _ = story.wait(400)
        #expect(
            story.preparationFailed(1, .transient("host down")) == ["score #1 a with no image"])
        #expect(
            story.reports.last
                == .imageUnusable(
                    Story.posts(0), offset: 0, .imageUnavailable,
                    "host down (gave up after 2 attempts)"))
    }

    @Test func aPostWhoseWorkerDoesNotAnswerMayGoOnWithout() {
        var story = Story.underWay {
            $0.unusableImage = .scoreWithout
            $0.retryBudgetMilliseconds = 1_000
            $0.maximumPreparedPosts = 1
        }
        _ = story.take("a", offset: 0)
        #expect(story.wait(1_001) == ["cancel #1", "score #1 a with no image"])
        _ = story.scored(1)
        // The worker's room is free only when it has answered, and its image comes too late.
        #expect(story.take("b", offset: 1) == [])
        #expect(story.load.preparing == 1)
        #expect(story.prepared(1) == ["prepare #2 b, attempt 1, by 2001"])
    }

    @Test func aWorkerThatIsLateKeepsItsRoomWhenItsPostIsGivenUp() {
        var story = Story.underWay {
            $0.unusableImage = .scoreWithout
            $0.retryBudgetMilliseconds = 1_000
            $0.maximumPreparedPosts = 1
        }
        _ = story.take("scoring", offset: 0, image: false)
        _ = story.take("a", offset: 1)
        #expect(story.wait(1_001) == ["cancel #2"])
        _ = story.tell(.lost([Story.posts(0)]))
        #expect(story.load.records == 0)
        #expect(story.load.preparing == 1)
        #expect(story.take("b", partition: 1, offset: 0) == [])
        #expect(story.prepared(2) == ["prepare #3 b, attempt 1, by 2001"])
    }

    // MARK: - Retries

    @Test func aTransientFailureIsTriedAgainWithGrowingDelays() {
        var story = Story.underWay {
            $0.retryBudgetMilliseconds = 2_000
            $0.firstRetryDelayMilliseconds = 100
            $0.maximumRetryDelayMilliseconds = 300
        }
        #expect(story.take("a", offset: 0) == ["prepare #1 a, attempt 1, by 2000"])
        var delays: [Milliseconds] = []
        for attempt in 2...5 as ClosedRange<Int> {
            #expect(story.preparationFailed(1, .transient("timeout")) == [])
            var delay: Milliseconds = 0
            var lines: [String] = []
            while lines.isEmpty {
                lines = story.wait(50)
                delay += 50
            }
            delays.append(delay)
            // The budget counts from the first attempt.
            #expect(lines == ["prepare #1 a, attempt \(attempt), by 2000"])
        }
        #expect(delays == [100, 200, 300, 300])
        #expect(story.prepared(1) == ["score #1 a with pixels 1"])
    }

    @Test func aHostThatNamesATimeIsNotAskedBefore() {
        var story = Story.underWay { $0.retryBudgetMilliseconds = 5_000 }
        _ = story.take("a", offset: 0)
        #expect(
            story.preparationFailed(1, .transient("busy", retryAfterMilliseconds: 3_000)) == [])
        #expect(story.wait(2_999) == [])
        #expect(story.wait(1) == ["prepare #1 a, attempt 2, by 5000"])
        // What is shorter than our own delay changes nothing.
        #expect(story.preparationFailed(1, .transient("busy", retryAfterMilliseconds: 1)) == [])
        #expect(story.wait(499) == [])
        #expect(story.wait(1) == ["prepare #1 a, attempt 3, by 5000"])
    }

    @Test(arguments: [5_000, Milliseconds.max])
    func aTimeBeyondTheBudgetIsNotWaitedFor(_ milliseconds: Milliseconds) {
        var story = Story.underWay {
            $0.retryBudgetMilliseconds = 5_000
            $0.commitIntervalMilliseconds = 0
        }
        _ = story.take("a", offset: 0)
        #expect(
            story.preparationFailed(1, .transient("busy", retryAfterMilliseconds: milliseconds))
                == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce image_unavailable"])
    }

    @Test func retriesEndWithTheBudget() {
        var story = Story.underWay {
            $0.retryBudgetMilliseconds = 1_000
            $0.firstRetryDelayMilliseconds = 400
            $0.commitIntervalMilliseconds = 0
        }
        _ = story.take("a", offset: 0)
        _ = story.preparationFailed(1, .transient("timeout"))
        #expect(story.wait(400) == ["prepare #1 a, attempt 2, by 1000"])
        // The next attempt would begin after the end.
        #expect(story.preparationFailed(1, .transient("host down")) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce image_unavailable"])
        #expect(
            story.reports.last
                == .deadLettered(
                    Story.posts(0), offset: 0, .imageUnavailable,
                    "host down (gave up after 2 attempts)"))
    }

    @Test func aWorkerThatDoesNotAnswerHoldsNothingUp() {
        var story = Story.underWay {
            $0.retryBudgetMilliseconds = 1_000
            $0.commitIntervalMilliseconds = 0
            $0.maximumPreparedPosts = 1
        }
        _ = story.take("a", offset: 0)
        #expect(story.wait(1_000) == [])
        #expect(story.wait(1) == ["cancel #1", "publish begin"])
        #expect(story.answerAll().first == "publish produce image_unavailable")
        // Its room is free only when it has answered, and the answer changes nothing else.
        #expect(story.take("b", offset: 1) == [])
        #expect(story.prepared(1) == ["prepare #2 b, attempt 1, by 2001"])
    }

    // MARK: - Deadlines

    @Test func aPostPastItsDeadlineIsNotFetched() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        #expect(
            story.take("late", offset: 0, scoreBy: 1_699_999_999.999) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce late expired"])
        #expect(story.answer(.done) == ["publish sendOffsets 0:1"])
    }

    @Test func aPostWhoseDeadlinePassesBeforeItsTurnIsNotScored() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        _ = story.take("first", offset: 0, image: false)
        _ = story.take("late", offset: 1, image: false, scoreBy: 1_700_000_000.5)
        _ = story.take("in time", offset: 2, image: false, scoreBy: 1_700_000_000.501)
        _ = story.wait(501)
        #expect(story.scored(1) == ["score #3 in time with no image", "publish begin"])
        #expect(story.answer(.done) == ["publish produce first=3.0, late expired"])
        #expect(story.reports.contains(.expired(Story.posts(0), offset: 1)))
    }

    @Test func aDeadlineEndsRetriesToo() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        _ = story.take("a", offset: 0, scoreBy: 1_700_000_000.1)
        _ = story.preparationFailed(1, .transient("timeout"))
        #expect(story.wait(250) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce a expired"])
    }

    @Test func onlyDeadlinesFollowTheWallClock() {
        var story = Story.underWay()
        _ = story.take("a", offset: 0)
        story.moveWallClock(by: 3_600_000)
        #expect(story.preparationFailed(1, .transient("timeout")) == [])
        story.moveWallClock(by: -7_200_000)
        #expect(story.wait(250) == ["prepare #1 a, attempt 2, by 30000"])
    }

    // MARK: - Repeats

    private func flags(_ story: Story) throws -> [[ScoreFlag]] {
        try story.produced.map { output in
            let event = try ScoreEvent(parsing: output.value ?? [])
            guard case .scored(let scored) = event.outcome else { return [] }
            return scored.flags
        }
    }

    @Test func aPostIdSeenAgainIsScoredAgainAndMarked() throws {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 1_000 }
        for (offset, pid) in ["a", "b", "a", "a"].enumerated() {
            _ = story.takeAndScore(pid, offset: Int64(offset))
        }
        _ = story.wait(1_000)
        _ = story.answer(.done)
        #expect(try flags(story) == [[], [], [.repeated], [.repeated]])
    }

    /// Swift's `String` takes both for the same text.
    @Test func postIdsOfOtherCodePointsAreOtherPosts() throws {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 1_000 }
        for (offset, pid) in ["caf\u{E9}", "cafe\u{301}", "cafe\u{301}"].enumerated() {
            _ = story.takeAndScore(pid, offset: Int64(offset))
        }
        _ = story.wait(1_000)
        _ = story.answer(.done)
        #expect(try flags(story) == [[], [], [.repeated]])
    }

    @Test func onlySoManyPostIdsAreRemembered() throws {
        var story = Story.underWay {
            $0.rememberedPosts = 2
            $0.commitIntervalMilliseconds = 1_000
        }
        for (offset, pid) in ["a", "b", "c", "a", "c"].enumerated() {
            _ = story.takeAndScore(pid, offset: Int64(offset))
        }
        _ = story.wait(1_000)
        _ = story.answer(.done)
        #expect(try flags(story) == [[], [], [], [], [.repeated]])
    }

    @Test func aRecordTakenAnewIsNotARepeatOfItself() throws {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 0 }
        _ = story.take("a", offset: 0)
        _ = story.tell(.revoked([Story.posts(0), Story.posts(1)]))
        _ = story.tell(.assigned([Story.posts(0)]))
        _ = story.take("a", offset: 0, image: false)
        _ = story.scored(2)
        _ = story.answer(.done)
        #expect(try flags(story) == [[]])
    }

    // MARK: - Backpressure

    @Test func partitionsArePausedAtTheHighWaterMarkAndResumedAtTheLowOne() {
        var story = Story.underWay {
            $0.highWaterRecords = 3
            $0.lowWaterRecords = 1
            $0.maximumBatchRecords = 1
        }
        _ = story.take("a", offset: 0, image: false)
        _ = story.take("b", offset: 1, image: false)
        #expect(story.take("c", offset: 2, image: false) == ["pause 0 1"])
        #expect(story.scored(1) == ["score #2 b with no image", "publish begin"])
        #expect(story.answerAll().last == "publish commit")
        #expect(story.load.records == 2)
        #expect(story.scored(2) == ["score #3 c with no image", "publish begin"])
        #expect(story.answerAll().last == "resume 0 1")
    }

    @Test func bytesCountToo() {
        var story = Story.underWay {
            $0.highWaterBytes = 5_000
            $0.lowWaterBytes = 100
            $0.commitIntervalMilliseconds = 0
        }
        let title = String(repeating: "x", count: 3_000)
        #expect(
            story.take(key: "u", value: #"{"uid":"u","pid":"1","title":"\#(title)"}"#, offset: 0)
                == ["score #1 1 with no image", "pause 0 1"])
        _ = story.scored(1)
        #expect(story.load.bytes < 1_000)
        #expect(story.answerAll().last == "resume 0 1")
        #expect(story.load.bytes == 0)
    }

    @Test func partitionsThatComeWhileOthersArePausedArePaused() {
        var story = Story.underWay {
            $0.highWaterRecords = 1
            $0.lowWaterRecords = 0
        }
        #expect(story.take("a", offset: 0, image: false).last == "pause 0 1")
        #expect(story.tell(.assigned([Story.posts(2)])) == ["pause 2"])
    }

    // MARK: - Records that are not for this path

    @Test func recordsOfPartitionsThatAreNotOursAreIgnored() {
        var story = Story.underWay()
        #expect(story.take("a", partition: 5, offset: 0) == [])
        #expect(story.load.records == 0)
    }

    @Test func aRecordIsTakenOnce() {
        var story = Story.underWay()
        _ = story.take("a", offset: 4)
        #expect(story.take("a", offset: 4) == [])
        #expect(story.take("z", offset: 3) == [])
        #expect(story.load.records == 1)
    }

    @Test func aConsumerThatGoesBackIsReportedAndWhatItBringsSkipped() {
        var story = Story.underWay()
        for offset in 7...8 as ClosedRange<Int64> { _ = story.take("a", offset: offset) }
        for offset in 0...8 as ClosedRange<Int64> {
            #expect(story.take("again", offset: offset) == [])
        }
        let reset = Story.Path.Report.offsetReset(Story.posts(0), from: 9, to: 0)
        #expect(story.reports == [reset])
        // From there it goes on, and a second time is reported again.
        #expect(story.take("b", offset: 9) == ["prepare #3 b, attempt 1, by 30000"])
        #expect(story.take("again", offset: 5) == [])
        #expect(story.reports == [reset, .offsetReset(Story.posts(0), from: 10, to: 5)])
        // A new assignment begins wherever the consumer does.
        _ = story.tell(.lost([Story.posts(0)]))
        _ = story.tell(.assigned([Story.posts(0)]))
        #expect(story.take("c", offset: 0) == ["prepare #4 c, attempt 1, by 30000"])
    }
}

import Pipeline
import Testing

/// How outputs and offsets are published, and what happens when that fails.
@Suite struct ScorePathPublishingTests {
    // MARK: - Batches

    @Test func anUnfinishedPostHoldsBackWhatFollowsInItsPartitionOnly() {
        var story = Story.underWay()
        _ = story.take("slow", partition: 0, offset: 0)
        _ = story.take("b", partition: 0, offset: 1, image: false)
        _ = story.scored(2)
        _ = story.take("c", partition: 1, offset: 9, image: false)
        _ = story.scored(3)
        #expect(story.wait(500) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce c=3.0"])
        #expect(story.answer(.done) == ["publish sendOffsets 1:10"])
        _ = story.answerAll()
        #expect(story.wait(10_000) == [])
        _ = story.prepared(1)
        #expect(story.scored(1) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce slow=3.0, b=3.0"])
        #expect(story.answer(.done) == ["publish sendOffsets 0:2"])
    }

    @Test func aBatchIsPublishedWhenItIsLargeEnough() {
        var story = Story.underWay { $0.maximumBatchRecords = 2 }
        _ = story.takeAndScore("a", offset: 0)
        #expect(story.takeAndScore("b", offset: 1).last == "publish begin")
        // What is finished meanwhile goes with the next batch.
        _ = story.takeAndScore("c", offset: 2)
        _ = story.takeAndScore("d", offset: 3)
        #expect(
            story.answerAll() == [
                "publish produce a=3.0, b=3.0", "publish sendOffsets 0:2", "publish commit",
                "publish begin", "publish produce c=3.0, d=3.0", "publish sendOffsets 0:4",
                "publish commit",
            ])
    }

    @Test func aBatchIsPublishedWhenItHasEnoughBytes() {
        var story = Story.underWay { $0.maximumBatchBytes = 500 }
        _ = story.takeAndScore("a", offset: 0)
        #expect(story.takeAndScore("b", offset: 1).last == "publish begin")
    }

    @Test func aBatchIsPublishedWhenItHasWaitedLongEnough() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 200 }
        _ = story.takeAndScore("a", offset: 0)
        #expect(story.wait(199) == [])
        #expect(story.wait(1) == ["publish begin"])
    }

    @Test func theWaitCountsFromTheBeginOfTheLastBatch() {
        var story = Story.underWay { $0.commitIntervalMilliseconds = 200 }
        _ = story.wait(1_000)
        #expect(story.takeAndScore("a", offset: 0).last == "publish begin")
        _ = story.answerAll()
        _ = story.wait(50)
        #expect(story.takeAndScore("b", offset: 1) == ["score #2 b with no image"])
        _ = story.wait(100)
        #expect(story.takeAndScore("c", offset: 2) == ["score #3 c with no image"])
        #expect(story.wait(49) == [])
        #expect(story.wait(1) == ["publish begin"])
        #expect(story.answerAll().first == "publish produce b=3.0, c=3.0")
    }

    @Test func nothingIsPublishedBeforeThereIsAProducer() {
        var story = Story { $0.commitIntervalMilliseconds = 0 }
        _ = story.tell(.start)
        _ = story.tell(.assigned([Story.posts(0)]))
        #expect(story.takeAndScore("a", offset: 0) == ["score #1 a with no image"])
        // Partitions came meanwhile; a predecessor's transaction may just have been finished.
        #expect(story.answer(.done) == ["publish readCommitted 0"])
        #expect(story.answer(.committed([:])) == ["publish begin"])
    }

    // MARK: - Retry, abort, fatal

    /// "a" and "b" are scored, and their batch has come to the given step.
    private func story(at step: String) -> Story {
        var story = Story.underWay { $0.maximumBatchRecords = 2 }
        _ = story.takeAndScore("a", offset: 0)
        var lines = story.takeAndScore("b", offset: 1)
        while lines.last?.hasPrefix("publish \(step)") != true {
            lines = story.answer(.done)
            if lines.isEmpty { return story }
        }
        return story
    }

    @Test(arguments: [
        ("begin", "publish begin"), ("sendOffsets", "publish sendOffsets 0:2"),
        ("commit", "publish commit"),
    ])
    func aStepThatMayBeRepeatedIsRepeated(_ step: String, _ line: String) {
        var story = story(at: step)
        for delay in [50, 100, 200] as [Milliseconds] {
            #expect(story.answer(.retry("timeout")) == [])
            #expect(story.wait(delay - 1) == [])
            #expect(story.wait(1) == [line])
        }
        _ = story.answerAll()
        #expect(story.load.records == 0)
    }

    @Test(arguments: ["produce", "sendOffsets", "commit"])
    func anAbortedBatchIsPublishedAnewWithTheSameBytes(_ step: String) {
        var story = story(at: step)
        let first = story.produced
        #expect(story.answer(.abort("coordinator moved")) == ["publish abort"])
        #expect(story.answer(.done) == ["publish readCommitted 0 1"])
        #expect(story.answer(.committed([:])) == [])
        #expect(story.wait(49) == [])
        #expect(story.wait(1) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce a=3.0, b=3.0"])
        #expect(story.produced == first)
    }

    @Test func recordsHalfHandedOverAreNotHandedOverAgain() {
        var story = story(at: "produce")
        #expect(story.answer(.retry("queue full")) == ["publish abort"])
    }

    @Test(arguments: ["begin", "produce", "sendOffsets", "commit"])
    func aProducerThatIsLostIsReplacedAndTheBatchPublishedAnew(_ step: String) {
        var story = story(at: step)
        #expect(story.answer(.fatal("fenced")) == [])
        #expect(story.wait(50) == ["publish createProducer"])
        #expect(story.answer(.done) == ["publish readCommitted 0 1"])
        #expect(story.answer(.committed([:])) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce a=3.0, b=3.0"])
    }

    @Test func whatWasCommittedThoughTheReplyWasLostIsNotPublishedAgain() {
        var story = story(at: "commit")
        _ = story.takeAndScore("c", offset: 2)
        _ = story.answer(.fatal("connection lost"))
        _ = story.wait(50)
        _ = story.answer(.done)
        // The brokers finished the transaction: "a" and "b" are out.
        #expect(story.answer(.committed([Story.posts(0): 2])) == [])
        #expect(story.load.records == 1)
        #expect(story.wait(500) == ["publish begin"])
        #expect(story.answer(.done) == ["publish produce c=3.0"])
    }

    @Test func recordsThatAnotherPublishedMeanwhileAreNotTaken() {
        var story = story(at: "commit")
        _ = story.take("slow", offset: 2)
        _ = story.answer(.fatal("connection lost"))
        _ = story.wait(50)
        _ = story.answer(.done)
        #expect(story.answer(.committed([Story.posts(0): 10])) == ["cancel #3"])
        #expect(story.load.records == 0)
        #expect(story.take("z", offset: 9) == [])
        #expect(story.take("z", offset: 10) != [])
    }

    @Test func aTransactionThatTakesTooLongIsAborted() {
        var story = story(at: "sendOffsets")
        _ = story.answer(.retry("timeout"))
        #expect(story.wait(30_000) == ["publish sendOffsets 0:2"])
        _ = story.answer(.retry("timeout"))
        #expect(story.wait(1) == ["publish abort"])
    }

    @Test func aCommitThatTakesTooLongCannotBeAborted() {
        var story = story(at: "commit")
        _ = story.answer(.retry("timeout"))
        #expect(story.wait(30_000) == ["publish commit"])
        _ = story.answer(.retry("timeout"))
        #expect(story.wait(1) == [])
        #expect(story.wait(100) == ["publish createProducer"])
    }

    @Test func anAbortThatFailsCostsTheProducer() {
        var story = story(at: "sendOffsets")
        _ = story.answer(.abort("refused"))
        #expect(story.answer(.abort("refused again")) == [])
        #expect(story.wait(50) == ["publish createProducer"])
    }

    @Test func tooManyAbortsInARowCostTheProducer() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.maximumConsecutiveAborts = 2
        }
        #expect(story.takeAndScore("a", offset: 0).last == "publish begin")
        for _ in 0..<2 {
            _ = story.answer(.abort("refused"))
            _ = story.answer(.done)
            _ = story.answer(.committed([:]))
            #expect(story.wait(2_000) == ["publish begin"])
        }
        #expect(story.answer(.abort("refused")) == [])
        #expect(story.wait(2_000) == ["publish createProducer"])
    }

    @Test func tooManyProducersLostInARowEndThePath() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.maximumConsecutiveLostProducers = 2
        }
        _ = story.takeAndScore("a", offset: 0)
        for _ in 0..<2 {
            #expect(story.answer(.fatal("fenced")) == [])
            #expect(story.wait(2_000) == ["publish createProducer"])
        }
        #expect(
            story.answer(.fatal("fenced")) == ["stopped failed(\"creating the producer: fenced\")"])
        #expect(story.load == Story.Path.Load())
        #expect(story.take("b", offset: 1) == [])
        #expect(story.tell(.revoked([Story.posts(0)])) == ["confirmRevoked 0"])
    }

    // MARK: - Another instance

    @Test func anInstanceLeftOverFencesOnceAndIsFencedForGood() {
        var story = story(at: "commit")
        #expect(story.answer(.fenced("PRODUCER_FENCED")) == [])
        #expect(story.wait(50) == ["publish createProducer"])
        #expect(story.answer(.done) == ["publish readCommitted 0 1"])
        #expect(story.answer(.committed([:])) == ["publish begin"])
        _ = story.answerAll()
        #expect(story.load.records == 0)
    }

    /// Publishes "a" after so long, and is fenced at that.
    private func fence(_ story: inout Story, after milliseconds: Milliseconds) -> [String] {
        _ = story.wait(milliseconds)
        return story.answer(.fenced("PRODUCER_FENCED"))
    }

    /// Gets a new producer and commits with it.
    private func recover(_ story: inout Story, offset: Int64) {
        #expect(story.wait(2_000) == ["publish createProducer"])
        _ = story.answer(.done)
        #expect(story.answer(.committed([:])) == ["publish begin"])
        _ = story.answerAll()
        #expect(story.takeAndScore("p", offset: offset).last == "publish begin")
    }

    @Test func twoInstancesThatFenceEachOtherDoNotGoOnForEver() throws {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("p", offset: 0)
        for offset in 1...4 as ClosedRange<Int64> {
            #expect(fence(&story, after: 60_000) == [])
            // Each has its turn: a commit lies between.
            recover(&story, offset: offset)
        }
        let last = try #require(fence(&story, after: 60_000).last)
        #expect(
            last.hasPrefix("stopped failed(\"another instance uses the same transactional id"))
    }

    @Test func fencingsLongAgoDoNotCount() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("p", offset: 0)
        for offset in 1...20 as ClosedRange<Int64> {
            #expect(fence(&story, after: 150_000) == [])
            recover(&story, offset: offset)
        }
    }

    // MARK: - Records that are too large

    /// A score, a dead letter of 5,000 bytes and a score are about to be published.
    private func storyWithALargeDeadLetter(
        _ change: (inout ScorePathConfiguration) -> Void = { _ in }
    ) -> Story {
        var story = Story.underWay {
            $0.maximumBatchRecords = 3
            change(&$0)
        }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.take(key: "u", value: String(repeating: "x", count: 5_000), offset: 1)
        _ = story.take("b", offset: 2, image: false)
        _ = story.scored(3)
        return story
    }

    @Test(arguments: [1, 2, 3])
    func aDeadLetterThatABrokerRefusesIsPublishedWithoutWhatMadeItLarge(_ steps: Int) throws {
        var story = storyWithALargeDeadLetter()
        for _ in 0..<steps { _ = story.answer(.done) }
        let first = story.produced
        let bytes = story.load.bytes
        #expect(story.answer(.tooLarge("MSG_SIZE_TOO_LARGE")) == ["publish abort"])
        #expect(story.reports.contains(.deadLettersReduced(records: 1)))
        #expect(story.load.bytes < bytes - 4_900)
        _ = story.answer(.done)
        _ = story.answer(.committed([:]))
        #expect(story.wait(50) == ["publish begin"])
        // In the same order, and the scores are what they were.
        #expect(story.answer(.done) == ["publish produce a=3.0, malformed_event, b=3.0"])
        #expect(story.produced[0] == first.first ?? story.produced[0])
        let letter = story.produced[1]
        #expect(letter.key == Array("u".utf8))
        #expect(letter.value == nil)
        #expect(
            letter.headers.map(\.key) == [
                "uhan.reason", "uhan.error", "uhan.topic", "uhan.partition", "uhan.offset",
                "uhan.omitted_value_bytes",
            ])
        _ = story.answerAll()
        #expect(story.load == Story.Path.Load())
    }

    @Test func whatIsRefusedEvenReducedEndsAsBefore() {
        var story = storyWithALargeDeadLetter {
            $0.maximumConsecutiveAborts = 1
            $0.maximumConsecutiveLostProducers = 0
        }
        _ = story.answer(.done)
        _ = story.answer(.tooLarge("too large"))
        _ = story.answer(.done)
        _ = story.answer(.committed([:]))
        _ = story.wait(50)
        #expect(story.answer(.tooLarge("too large")).last?.hasPrefix("stopped failed") == true)
        // There was nothing left to reduce.
        #expect(story.reports.count { $0 == .deadLettersReduced(records: 1) } == 1)
    }

    @Test func aBatchWithoutDeadLettersStaysAsItIs() {
        var story = story(at: "commit")
        let first = story.produced
        #expect(story.answer(.tooLarge("too large")) == ["publish abort"])
        _ = story.answer(.done)
        _ = story.answer(.committed([:]))
        _ = story.wait(50)
        _ = story.answer(.done)
        #expect(story.produced == first)
    }

    @Test func whatWasReducedCountsWithTheSizeThatItHas() {
        var story = Story.underWay { $0.maximumBatchBytes = 5_000 }
        let letter = String(repeating: "x", count: 5_000)
        #expect(story.take(key: "u", value: letter, offset: 0) == ["publish begin"])
        _ = story.answer(.done)
        _ = story.answer(.tooLarge("too large"))
        _ = story.answer(.done)
        _ = story.answer(.committed([:]))
        #expect(story.wait(499) == [])
        #expect(story.wait(1) == ["publish begin"])
        _ = story.answerAll()
        #expect(story.takeAndScore("a", offset: 1) == ["score #2 a with no image"])
    }

    @Test func onlyTheBatchThatWasRefusedIsReduced() {
        var story = storyWithALargeDeadLetter()
        _ = story.take(key: "u", value: String(repeating: "y", count: 700), offset: 3)
        _ = story.answer(.done)
        _ = story.answer(.tooLarge("too large"))
        _ = story.answer(.done)
        _ = story.answer(.committed([:]))
        _ = story.wait(50)
        for _ in 0..<4 { _ = story.answer(.done) }
        #expect(story.wait(500) == ["publish begin"])
        _ = story.answer(.done)
        #expect(story.produced.first?.value?.count == 700)
    }

    // MARK: - Failing for good

    @Test func brokersThatCannotBeReachedAreWaitedFor() {
        var story = Story()
        #expect(story.tell(.start) == ["publish createProducer"])
        for _ in 0..<1_000 {
            #expect(story.answer(.retry("no brokers")) == [])
            #expect(story.wait(2_000) == ["publish createProducer"])
        }
        #expect(story.answer(.done) == [])
    }

    @Test func aCommitEndsTheCountingOfFailures() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.maximumConsecutiveLostProducers = 1
        }
        for offset in 0..<5 as Range<Int64> {
            #expect(story.takeAndScore("\(offset)", offset: offset).last == "publish begin")
            _ = story.answer(.fatal("broken"))
            #expect(story.wait(2_000) == ["publish createProducer"])
            _ = story.answer(.done)
            #expect(story.answer(.committed([:])) == ["publish begin"])
            _ = story.answerAll()
        }
    }

    // MARK: - At least once

    @Test func atLeastOnceFlushesOutputsBeforeOffsets() {
        var story = Story.underWay {
            $0.delivery = .atLeastOnce
            $0.maximumBatchRecords = 1
        }
        #expect(story.takeAndScore("a", offset: 0).last == "publish produce a=3.0")
        #expect(story.answer(.done) == ["publish flush"])
        #expect(story.answer(.retry("timeout")) == [])
        #expect(story.wait(50) == ["publish flush"])
        #expect(story.answer(.done) == ["publish commitOffsets 0:1"])
        #expect(story.answer(.done) == [])
        #expect(story.load.records == 0)
    }

    @Test func atLeastOnceReducesWhatIsTooLargeToo() {
        var story = storyWithALargeDeadLetter { $0.delivery = .atLeastOnce }
        _ = story.answer(.done)
        #expect(story.answer(.tooLarge("too large")) == [])
        #expect(story.wait(50) == ["publish produce a=3.0, malformed_event, b=3.0"])
        #expect(story.produced[1].value == nil)
    }

    @Test func atLeastOncePublishesAgainWhatFailed() {
        var story = Story.underWay {
            $0.delivery = .atLeastOnce
            $0.maximumBatchRecords = 1
        }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.answer(.done)
        #expect(story.answer(.abort("not delivered")) == [])
        #expect(story.wait(50) == ["publish produce a=3.0"])
    }
}

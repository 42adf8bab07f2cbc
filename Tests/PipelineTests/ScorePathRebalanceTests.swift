import Pipeline
import Testing

/// Partitions that come and go, and the end.
@Suite struct ScorePathRebalanceTests {
    private let both = [Story.posts(0), Story.posts(1)]

    // MARK: - Revoked

    @Test func withNothingInHandPartitionsAreGivenUpAtOnce() {
        var story = Story.underWay()
        #expect(story.tell(.revoked(both)) == ["confirmRevoked 0 1"])
    }

    @Test func whatIsScoredIsPublishedFirstAndTheRestIsGivenUp() {
        var story = Story.underWay()
        _ = story.takeAndScore("a", offset: 0)
        _ = story.take("b", offset: 1)
        #expect(story.tell(.revoked(both)) == ["cancel #2", "publish begin"])
        #expect(
            story.answerAll() == [
                "publish produce a=3.0", "publish sendOffsets 0:1", "publish commit",
                "confirmRevoked 0 1",
            ])
        #expect(story.reports.contains(.givenUp(records: 1)))
        #expect(story.load.records == 0)
    }

    @Test func anOpenTransactionIsFinishedAndWhatFollowedItToo() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        #expect(story.takeAndScore("a", offset: 0).last == "publish begin")
        _ = story.answer(.done)
        _ = story.takeAndScore("b", offset: 1)
        #expect(story.tell(.revoked(both)) == [])
        #expect(
            story.answerAll() == [
                "publish sendOffsets 0:1", "publish commit", "publish begin",
                "publish produce b=3.0", "publish sendOffsets 0:2", "publish commit",
                "confirmRevoked 0 1",
            ])
    }

    @Test func aBatchThatFailsMeanwhileIsAbortedAndGivenUp() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.answer(.done)
        _ = story.tell(.revoked(both))
        #expect(story.answer(.abort("refused")) == ["publish abort"])
        #expect(story.answer(.done) == ["publish readCommitted 0 1", "confirmRevoked 0 1"])
        #expect(story.load.records == 0)
        #expect(story.answer(.committed([Story.posts(0): 4])) == [])
    }

    @Test func theRebalanceIsHeldUpForABoundedTime() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.revokeBudgetMilliseconds = 1_000
        }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.answer(.done)
        _ = story.answer(.done)
        _ = story.answer(.retry("timeout"))
        #expect(story.tell(.revoked(both)) == [])
        #expect(story.wait(999) == ["publish sendOffsets 0:1"])
        _ = story.answer(.retry("timeout"))
        #expect(story.wait(1) == ["publish abort", "confirmRevoked 0 1"])
        #expect(story.load.records == 0)
    }

    @Test func anAnswerThatComesWhenTheTimeIsOverIsTheLastButTheAbort() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.revokeBudgetMilliseconds = 1_000
        }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.answer(.retry("timeout"))
        #expect(story.tell(.revoked(both)) == [])
        #expect(story.wait(900) == ["publish begin"])
        story.passTime(100)
        #expect(story.answer(.done) == ["publish abort", "confirmRevoked 0 1"])
        #expect(story.answer(.retry("timeout")) == [])
        #expect(story.wait(50) == ["publish abort"])
    }

    @Test func aCommitThatHoldsUpTheRebalanceIsLeftToTheBrokers() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.revokeBudgetMilliseconds = 1_000
        }
        _ = story.takeAndScore("a", offset: 0)
        for _ in 0..<3 { _ = story.answer(.done) }
        _ = story.answer(.retry("timeout"))
        _ = story.tell(.revoked(both))
        #expect(story.wait(999) == ["publish commit"])
        _ = story.answer(.retry("timeout"))
        // The new owner reads offsets only when the new producer has ended this transaction.
        #expect(story.wait(1) == ["confirmRevoked 0 1"])
        #expect(story.wait(100) == ["publish createProducer"])
    }

    @Test func withoutAProducerTheRebalanceDoesNotWait() {
        var story = Story()
        _ = story.tell(.start)
        _ = story.tell(.assigned(both))
        _ = story.takeAndScore("a", offset: 0)
        #expect(story.tell(.revoked(both)) == ["confirmRevoked 0 1"])
    }

    @Test func partitionsThatStayGoOn() {
        var story = Story.underWay()
        _ = story.take("stays", partition: 0, offset: 0)
        _ = story.take("leaves", partition: 1, offset: 0)
        #expect(story.tell(.revoked([Story.posts(1)])) == ["cancel #2", "confirmRevoked 1"])
        #expect(story.take("gone", partition: 1, offset: 1) == [])
        #expect(story.prepared(1) == ["score #1 stays with pixels 1"])
    }

    @Test func answersThatComeLateChangeNothing() {
        var story = Story.underWay()
        _ = story.take("a", offset: 0)
        _ = story.take("b", offset: 1)
        _ = story.prepared(1)
        #expect(story.tell(.revoked(both)) == ["cancel #1", "cancel #2", "confirmRevoked 0 1"])
        _ = story.tell(.assigned(both))
        #expect(story.take("a", offset: 0) == ["prepare #3 a, attempt 1, by 30000"])
        // The scorer is busy with #1 until it answers.
        #expect(story.prepared(3) == [])
        #expect(story.prepared(2) == [])
        #expect(story.scored(1) == ["score #3 a with pixels 3"])
        #expect(story.load.publishable == 0)
    }

    // MARK: - Lost

    @Test func aTransactionWhosePartitionsAreLostIsAbortedAtOnce() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.answer(.done)
        _ = story.answer(.done)
        #expect(story.answer(.retry("timeout")) == [])
        #expect(story.tell(.lost(both)) == ["publish abort", "confirmRevoked 0 1"])
        #expect(story.load.records == 0)
    }

    @Test func aCommitUnderWayIsAskedForUntilItsEndIsKnown() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("a", offset: 0)
        for _ in 0..<3 { _ = story.answer(.done) }
        _ = story.answer(.retry("timeout"))
        #expect(story.tell(.lost(both)) == ["confirmRevoked 0 1"])
        #expect(story.wait(50) == ["publish commit"])
        #expect(story.answer(.done) == [])
    }

    @Test func aTransactionOfOtherPartitionsGoesOn() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("a", partition: 0, offset: 0)
        _ = story.answer(.retry("timeout"))
        #expect(story.tell(.lost([Story.posts(1)])) == ["confirmRevoked 1"])
        #expect(story.wait(50) == ["publish begin"])
    }

    // MARK: - Stop

    @Test func aStopPublishesWhatIsScoredAndGivesUpTheRest() {
        var story = Story.underWay()
        _ = story.takeAndScore("a", offset: 0)
        _ = story.take("b", offset: 1)
        #expect(story.tell(.stop) == ["pause 0 1", "cancel #2", "publish begin"])
        #expect(story.take("c", offset: 2) == [])
        #expect(story.answerAll().suffix(2) == ["publish commit", "stopped clean"])
        #expect(story.tell(.revoked(both)) == ["confirmRevoked 0 1"])
        #expect(story.tell(.tick) == [])
    }

    @Test func withNothingInHandAStopIsImmediate() {
        var story = Story()
        #expect(story.tell(.stop) == ["stopped clean"])
    }

    @Test func partitionsThatComeDuringTheStopArePaused() {
        var story = Story.underWay()
        _ = story.takeAndScore("a", offset: 0)
        _ = story.tell(.stop)
        #expect(story.tell(.assigned([Story.posts(2)])) == ["pause 2"])
        #expect(story.take("b", partition: 2, offset: 0) == [])
    }

    @Test func aStopAbortsWhatItCannotFinish() {
        var story = Story.underWay {
            $0.maximumBatchRecords = 1
            $0.stopBudgetMilliseconds = 8_000
        }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.answer(.retry("timeout"))
        #expect(story.tell(.stop) == ["pause 0 1"])
        #expect(story.wait(5_999) == ["publish begin"])
        _ = story.answer(.retry("timeout"))
        #expect(story.wait(1) == ["publish abort"])
        #expect(
            story.answer(.done) == ["publish readCommitted 0 1", "stopped unfinished"])
    }

    @Test func aStopEndsEvenWhenNothingAnswers() {
        var story = Story.underWay { $0.maximumBatchRecords = 1 }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.tell(.stop)
        #expect(story.wait(8_000).last == "stopped unfinished")
        #expect(story.load.records == 0)
    }

    @Test func aStopWithoutBrokersDoesNotWaitForThem() {
        var story = Story()
        _ = story.tell(.start)
        _ = story.answer(.retry("no brokers"))
        #expect(story.tell(.stop) == ["stopped clean"])
    }

    @Test func aRebalanceThatComesWithTheStopIsAnswered() {
        var story = Story.underWay()
        _ = story.takeAndScore("a", offset: 0)
        _ = story.tell(.stop)
        #expect(story.tell(.revoked(both)) == [])
        #expect(
            story.answerAll().suffix(3) == [
                "publish commit", "confirmRevoked 0 1", "stopped clean",
            ])
    }
}

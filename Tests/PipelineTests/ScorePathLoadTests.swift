import Pipeline
import Testing

/// How posts share the scorer, and what becomes of them where there are more than it can take.
@Suite struct ScorePathLoadTests {
    // MARK: - Handing over ahead

    @Test func theScorerHasWorkWhileATransactionIsCommitted() {
        var story = Story.underWay {
            $0.maximumScoringPosts = 3
            $0.commitIntervalMilliseconds = 0
        }
        #expect(story.take("a", offset: 0, image: false) == ["score #1 a with no image"])
        #expect(story.take("b", offset: 1, image: false) == ["score #2 b with no image"])
        #expect(story.take("c", offset: 2, image: false) == ["score #3 c with no image"])
        #expect(story.take("d", offset: 3, image: false) == [])
        // The next is handed over before the transaction, which takes its time, is begun.
        #expect(story.scored(1) == ["score #4 d with no image", "publish begin"])
        // Answers come in any order; what is published keeps that of the records.
        #expect(story.answerAll().first == "publish produce a=3.0")
        #expect(story.scored(3) == [])
        #expect(story.scored(2) == ["publish begin"])
        #expect(story.answerAll().first == "publish produce b=3.0, c=3.0")
    }

    @Test func whatIsGivenUpKeepsItsPlaceWithTheScorerUntilAnswered() {
        var story = Story.underWay { $0.maximumScoringPosts = 2 }
        _ = story.take("a", offset: 0, image: false)
        _ = story.take("b", offset: 1, image: false)
        _ = story.tell(.revoked([Story.posts(0)]))
        _ = story.tell(.assigned([Story.posts(0)]))
        #expect(story.take("a", offset: 0, image: false) == [])
        #expect(story.scored(2) == ["score #3 a with no image"])
    }

    // MARK: - Answering at once

    @Test func aScoreThatNothingElseIsInHandWithIsPublishedAtOnce() {
        var story = Story.underWay { $0.idleIntervalMilliseconds = 0 }
        #expect(story.takeAndScore("a", offset: 0).last == "publish begin")
        _ = story.answerAll()
        // With others under way it waits, to share their transaction.
        _ = story.take("b", offset: 1)
        #expect(story.take("c", partition: 1, offset: 0, image: false).count == 1)
        #expect(story.scored(3) == [])
        _ = story.prepared(2)
        #expect(story.scored(2) == ["publish begin"])
        // What was finished first is published first.
        #expect(story.answerAll().first == "publish produce c=3.0, b=3.0")
    }

    @Test func aQuietStreamMayWaitALittleForMore() {
        var story = Story.underWay { $0.idleIntervalMilliseconds = 100 }
        _ = story.takeAndScore("a", offset: 0)
        _ = story.wait(60)
        #expect(story.takeAndScore("b", offset: 1).last == "score #2 b with no image")
        #expect(story.wait(99) == [])
        #expect(story.wait(1) == ["publish begin"])
        #expect(story.answerAll().first == "publish produce a=3.0, b=3.0")
    }

    // MARK: - Deadlines under load

    /// Scores take 100 ms here, and one is under way.
    private func busyStory(_ change: (inout ScorePathConfiguration) -> Void = { _ in }) -> Story {
        var story = Story.underWay {
            $0.commitIntervalMilliseconds = 50
            $0.idleIntervalMilliseconds = 0
            $0.maximumScoringPosts = 2
            change(&$0)
        }
        _ = story.take("first", offset: 0, image: false)
        _ = story.scored(1, milliseconds: 100)
        _ = story.answerAll()
        _ = story.take("under way", offset: 1, image: false)
        return story
    }

    @Test func aPostThatCannotBeScoredInTimeIsNotScored() {
        // The one before it, its own score, the commit interval: 250 ms.
        var story = busyStory()
        _ = story.take("hopeless", offset: 2, image: false, scoreBy: 1_700_000_000.249)
        #expect(story.reports.contains(.expired(Story.posts(0), offset: 2)))
        #expect(
            story.take("possible", offset: 3, image: false, scoreBy: 1_700_000_000.25)
                == ["score #4 possible with no image"])
    }

    @Test func aPostThatCannotBeScoredInTimeIsNotEvenFetched() {
        var story = busyStory()
        _ = story.take("image", offset: 2)
        // Behind the post under way and the one being fetched.
        _ = story.take("hopeless", offset: 3, scoreBy: 1_700_000_000.349)
        #expect(story.reports.contains(.expired(Story.posts(0), offset: 3)))
        #expect(
            story.take("possible", offset: 4, scoreBy: 1_700_000_000.35)
                == ["prepare #5 possible, attempt 1, by 30000"])
    }

    @Test func aPostWithoutADeadlineIsScoredHoweverLongThatTakes() {
        var story = busyStory { $0.maximumScoringPosts = 1 }
        for offset in 2..<20 as Range<Int64> {
            _ = story.take("post \(offset)", offset: offset, image: false)
        }
        _ = story.wait(600_000)
        for ticket in 2..<20 as Range<UInt64> {
            #expect(story.scored(ticket).first?.hasPrefix("score #\(ticket + 1)") == true)
        }
    }

    /// One slow score (a machine that stood still) must not keep deadlines from ever being met.
    @Test func aPaceMeasuredWronglyIsPutRight() {
        var story = busyStory()
        _ = story.scored(2, milliseconds: 3_600_000)
        _ = story.answerAll()
        var scored = 0
        for index in 0..<40 {
            let scoreBy = 1_700_000_001.0
            let offset = Int64(index + 2)
            let lines = story.take("post \(index)", offset: offset, image: false, scoreBy: scoreBy)
            guard lines.contains(where: { $0.hasPrefix("score") }) else { continue }
            scored += 1
            _ = story.scored(UInt64(index + 3), milliseconds: 100)
            _ = story.answerAll()
        }
        #expect(scored == 40)
    }
}

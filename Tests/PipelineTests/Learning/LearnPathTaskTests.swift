import Pipeline
import Testing

/// Tasks that come and go, transactions that fail, and how much is in hand.
@Suite struct LearnPathTaskTests {
    private let newUser = Recollection.learner(nil)

    private func found(_ pid: String) -> Recollection { .post(LearningStory.remembered(pid)) }

    // MARK: - Restoring

    @Test func aTasksRecordsWaitForItsState() {
        var story = LearningStory(isRestored: false)
        let two = [2] as [Int32]
        #expect(
            story.assign(two) == [
                "restore 2, generation 3", "pause posts[2] views[2] lessons[2]",
            ])
        #expect(
            story.tell(.restored(2, generation: 3, [])) == [
                "resume lessons[2] posts[2] views[2]"
            ])
        // Once is enough.
        #expect(story.tell(.restored(2, generation: 3, [])) == [])
        #expect(
            story.tell(.restored(0, generation: 1, [])) == [
                "resume lessons[0] posts[0] views[0]"
            ])
    }

    @Test func aStateOfAnEarlierAssignmentIsNotBelieved() {
        var story = LearningStory(isRestored: false)
        #expect(
            story.tell(.revoked(LearningStory.partitions([0, 1]))) == [
                "release 0", "release 1",
                "confirmRevoked posts[0] views[0] lessons[0] posts[1] views[1] lessons[1]",
            ])
        // Answered too late, with nothing assigned.
        #expect(story.tell(.restored(0, generation: 1, [])) == [])
        #expect(story.assign([0]).first == "restore 0, generation 3")
        let old = EarlyView(
            ViewEvent(pid: "a", uid: "u", views: 5, observedAt: LearningStory.postedAt + 1_100),
            number: 4)
        #expect(story.tell(.restored(0, generation: 1, [old])) == [])
        #expect(
            story.tell(.restored(0, generation: 3, [])) == [
                "resume lessons[0] posts[0] views[0]"
            ])
        #expect(story.tell(.restored(0, generation: 3, [old])) == [])
        _ = story.post("a")
        #expect(story.commit().last == "store in 0: post a with [], encoding a")
    }

    @Test func viewsThatWaitedComeBackWithTheTask() {
        var story = LearningStory(isRestored: false)
        let view = ViewEvent(
            pid: "a", uid: "u", views: 5, observedAt: LearningStory.postedAt + 1_100)
        _ = story.tell(.restored(0, generation: 1, [EarlyView(view, number: 4)]))
        _ = story.view("b")
        _ = story.recalled(1, .post(nil))
        _ = story.post("a")
        #expect(
            story.commit().last
                == "store in 0: early b 5, no early a 4, post a with [5], encoding a")
    }

    @Test func aTaskIsThereFromItsFirstPartitionToItsLast() {
        var story = LearningStory()
        let posts = Partition(topic: "posts", number: 2)
        let views = Partition(topic: "views", number: 2)
        #expect(story.tell(.assigned([posts])).first == "restore 2, generation 3")
        #expect(story.tell(.assigned([views])) == ["pause views[2]"])
        #expect(story.tell(.restored(2, generation: 3, [])) == ["resume posts[2] views[2]"])
        #expect(story.tell(.revoked([posts])) == ["confirmRevoked posts[2]"])
        #expect(story.tell(.revoked([views])) == ["release 2", "confirmRevoked views[2]"])
    }

    @Test func aTaskThatComesWhileThePathIsFullIsResumedWhenThereIsRoom() {
        var story = LearningStory {
            $0.highWaterRecords = 1
            $0.lowWaterRecords = 0
        }
        _ = story.post("a")
        #expect(story.load.isPaused)
        #expect(story.assign([2]).last == "pause posts[2] views[2] lessons[2]")
        #expect(story.tell(.restored(2, generation: 3, [])) == [])
        let lines = story.commit()
        #expect(lines.contains("resume posts[0] posts[1] posts[2]"))
        #expect(lines.contains { $0.hasPrefix("resume lessons[0]") && $0.contains("views[2]") })
    }

    @Test func aTaskThatIsRestoredLaterThanThereIsRoomIsResumedThen() {
        var story = LearningStory {
            $0.highWaterRecords = 1
            $0.lowWaterRecords = 0
        }
        _ = story.post("a")
        _ = story.assign([2])
        #expect(!story.commit().contains { $0.contains("posts[2]") })
        #expect(
            story.tell(.restored(2, generation: 3, [])) == ["resume lessons[2] posts[2] views[2]"])
    }

    // MARK: - Transactions

    @Test func nothingIsStoredBeforeTheCommitIsKnown() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        #expect(story.beginCommit() == ["publish produce label 8 of a, joins[0] post a with [8]"])
        #expect(story.takeReports().isEmpty)
        #expect(story.tell(.published(.done)) == ["store in 0: post a with [8]"])
        #expect(story.takeReports() == [.label(.taken)])
        #expect(story.commit() == [], "once")
    }

    @Test func afterAnAbortTheSameIsPublishedAgainAndStoredOnce() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        let first = story.beginCommit()
        _ = story.tell(.published(.abort("refused")))
        #expect(story.tell(.published(.done)) == ["publish readCommitted"])
        #expect(story.tell(.published(.committed([:]))) == [])
        #expect(story.takeReports().isEmpty)
        // What comes meanwhile goes on from there.
        _ = story.view("a", views: 9, age: 1_050)
        _ = story.recalled(2, found("a"))
        #expect(
            story.commit() == [
                first[0] + ", correction 9 of a, joins[0] post a with [9]",
                "store in 0: post a with [8], post a with [9]",
            ])
        #expect(story.takeReports() == [.label(.taken), .label(.correction)])
    }

    @Test func whereTheCommitMayHaveComeThroughTheTopicsAreAsked() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        _ = story.lesson(LearningStory.label("a"), task: 1)
        _ = story.recalled(2, newUser)
        _ = story.learned(2, [1])
        _ = story.beginCommit()
        _ = story.tell(.published(.fatal("broken")))
        #expect(story.wait(1_000) == ["publish createProducer"])
        #expect(story.tell(.published(.done)) == ["publish readCommitted"])
        let offsets =
            [
                Partition(topic: "views", number: 0): 1, Partition(topic: "lessons", number: 1): 1,
            ] as [Partition: Int64]
        #expect(story.tell(.published(.committed(offsets))) == ["catch up 0", "catch up 1"])
        #expect(story.takeReports().map(LearnPathTests.name) == ["taken", "judged", "updated"])
        #expect(story.load.learningRecords == 0)
        // Memory is not believed.
        _ = story.view("a", views: 9, age: 1_050)
        _ = story.recalled(3, found("a"))
        #expect(story.commit().last == "store in 0: post a with [9]")
    }

    @Test func whatDidNotComeThroughIsNotCaughtUp() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        _ = story.beginCommit()
        _ = story.tell(.published(.fatal("broken")))
        _ = story.wait(1_000)
        _ = story.tell(.published(.done))
        #expect(story.tell(.published(.committed([:]))) == ["publish begin"])
        #expect(story.commit().last == "store in 0: post a with [8]")
    }

    @Test func onlyWhatTheTransactionHeldIsStored() {
        var story = LearningStory { $0.maximumBatchRecords = 2 }
        for pid in ["a", "b", "c"] { _ = story.post(pid) }
        #expect(story.beginCommit().first?.contains("score of b") == true)
        #expect(
            story.tell(.published(.done)).first
                == "store in 0: post a with [], encoding a, post b with [], encoding b")
        #expect(story.load.records == 1)
        #expect(story.commit().last == "store in 0: post c with [], encoding c")
    }

    // MARK: - Leaving

    @Test func anUpdateUnderWayIsGivenUpWithItsTask() {
        var story = LearningStory()
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(1, newUser)
        #expect(
            story.tell(.revoked(LearningStory.partitions([0]))) == [
                "cancel #1", "release 0", "confirmRevoked posts[0] views[0] lessons[0]",
            ])
        #expect(story.learned(1, [1]) == [])
        #expect(story.commit() == [])
        // It comes again, elsewhere or here, and nothing is known of the first time.
        _ = story.assign([0])
        _ = story.tell(.restored(0, generation: story.generation, []))
        story.goBack("lessons")
        _ = story.lesson(LearningStory.label("a"))
        #expect(story.learned(1, [1]) == [])
        #expect(story.recalled(2, newUser) == ["learn #2 u from a in 0"])
        #expect(story.learning?.labelCount == 1)
    }

    @Test func whatWasAppliedIsPublishedBeforeATaskLeaves() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        _ = story.view("b")
        #expect(story.tell(.revoked(LearningStory.partitions([0]))) == ["publish begin"])
        #expect(
            story.commit().suffix(3) == [
                "store in 0: post a with [8]", "release 0",
                "confirmRevoked posts[0] views[0] lessons[0]",
            ])
        #expect(story.recalled(2, found("b")) == [])
    }

    @Test func whatIsLostLeavesNothingBehind() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        _ = story.view("w", of: "w")
        _ = story.recalled(2, .post(nil))
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(3, newUser)
        _ = story.learned(3, [1])
        _ = story.tell(.lost(LearningStory.partitions([0])))
        #expect(story.load.learningRecords == 0)
        _ = story.assign([0])
        _ = story.tell(.restored(0, generation: story.generation, []))
        story.goBack("views")
        story.goBack("lessons")
        _ = story.view("a", views: 5)
        _ = story.recalled(4, found("a"))
        _ = story.lesson(LearningStory.label("b"))
        #expect(story.recalled(5, newUser) == ["learn #5 u from b in 0"])
        _ = story.post("w", of: "w")
        #expect(
            story.commit().last
                == "store in 0: post a with [5], post w with [], encoding w")
    }

    @Test func aStopGivesUpAnUpdateAndPublishesTheRest() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(2, newUser)
        let lines = story.tell(.stop)
        #expect(lines.contains("cancel #2") && lines.last == "publish begin")
        #expect(story.learned(2, [1]) == [])
        #expect(story.tell(.restored(0, generation: 1, [])) == [])
        #expect(
            story.commit() == [
                "publish produce label 8 of a, joins[0] post a with [8]",
                "store in 0: post a with [8]", "stopped clean",
            ])
    }

    @Test func aStopDoesNotWaitForAState() {
        var story = LearningStory(isRestored: false)
        #expect(story.tell(.stop).last == "stopped clean")
        #expect(story.tell(.restored(0, generation: 1, [])) == [])
        #expect(story.recalled(1, .post(nil)) == [])
    }

    // MARK: - Backpressure

    @Test func tooManyViewsAndLessonsDoNotHoldUpPosts() {
        var story = LearningStory {
            $0.learning?.highWaterRecords = 2
            $0.learning?.lowWaterRecords = 0
        }
        _ = story.view("a")
        #expect(
            story.lesson(LearningStory.label("b")) == [
                "recall #2 user u in 0", "pause lessons[0] lessons[1] views[0] views[1]",
            ])
        #expect(!story.load.isPaused)
        #expect(story.post("c") == [])
        #expect(story.assign([2]).last == "pause posts[2] views[2] lessons[2]")
        #expect(story.tell(.restored(2, generation: 3, [])) == ["resume posts[2]"])
        _ = story.recalled(1, found("a"))
        // One lesson is left: resumed at the low mark, not before.
        #expect(!story.commit().contains { $0.hasPrefix("resume") })
        _ = story.recalled(2, newUser)
        _ = story.learned(2, nil)
        #expect(
            story.commit().last
                == "resume lessons[0] lessons[1] lessons[2] views[0] views[1] views[2]")
    }

    @Test func tooManyPostsHoldUpViewsAndLessonsAsWell() {
        var story = LearningStory {
            $0.highWaterRecords = 1
            $0.lowWaterRecords = 0
        }
        #expect(
            story.post("a") == [
                "pause posts[0] posts[1]", "pause lessons[0] lessons[1] views[0] views[1]",
            ])
        let lines = story.commit()
        #expect(
            lines.suffix(2) == [
                "resume posts[0] posts[1]", "resume lessons[0] lessons[1] views[0] views[1]",
            ])
    }
}

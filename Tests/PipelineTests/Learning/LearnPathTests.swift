import Pipeline
import Testing

/// From a view to a lesson, and from a lesson to a better vector.
@Suite struct LearnPathTests {
    private let none = Recollection.post(nil)
    private let newUser = Recollection.learner(nil)

    private func found(_ pid: String, of uid: String = "u") -> Recollection {
        .post(LearningStory.remembered(pid, of: uid))
    }

    // MARK: - Posts and views

    @Test func aPostIsRememberedInTheTransactionOfItsScore() {
        var story = LearningStory()
        #expect(story.post("a") == [])
        #expect(
            story.commit() == [
                "publish produce score of a, joins[0] post a with [], encodings[0] encoding a",
                "store in 0: post a with [], encoding a",
            ])
        #expect(
            story.stored.first == .post(LearningStory.remembered("a")),
            "what was published, and what else would have been")
    }

    @Test func whetherAPostWasThereBeforeIsKnownBeforeItsTurnEnds() {
        var story = LearningStory()
        #expect(story.takePost("a") == ["recall #1 post a of u in 0"])
        _ = story.scored(1, "a")
        #expect(story.commit() == [])
        _ = story.recalled(1, none)
        #expect(story.commit().last == "store in 0: post a with [], encoding a")
    }

    @Test("A post that comes again does not take the place of the first, however long ago that was")
    func aPostThatComesAgain() {
        var story = LearningStory()
        _ = story.post("a", score: 5, before: LearningStory.remembered("a"))
        #expect(story.commit() == ["publish produce score of a"])
        // What another model has scored teaches this one nothing.
        _ = story.post("c", before: LearningStory.remembered("c", model: "earlier"))
        #expect(story.commit().last == "store in 0: post c with [], encoding c")
    }

    @Test func aViewThatComesAfterItsPostBecomesALesson() {
        var story = LearningStory()
        #expect(story.view("a", task: 1) == ["recall #1 post a of u in 1"])
        #expect(story.recalled(1, found("a")) == [])
        #expect(
            story.commit() == [
                "publish produce label 8 of a, joins[1] post a with [8]",
                "store in 1: post a with [8]",
            ])
        #expect(story.produced.map(\.partition) == [1, 1], "in the partition of its task")
        #expect(story.takeReports() == [.label(.taken)])
    }

    @Test func aViewWhosePostIsInHandDoesNotNeedTheStore() {
        var story = LearningStory()
        _ = story.post("a")
        _ = story.view("a")
        // The store does not know of the post yet.
        _ = story.recalled(2, none)
        #expect(
            story.commit() == [
                "publish produce score of a, joins[0] post a with [], encodings[0] encoding a, "
                    + "label 8 of a, joins[0] post a with [8]",
                "store in 0: post a with [], encoding a, post a with [8]",
            ])
    }

    @Test func aViewThatComesBeforeItsPostWaitsForIt() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, none)
        #expect(
            story.commit() == [
                "publish produce joins[0] early a 0", "store in 0: early a 0",
            ])
        _ = story.view("a", views: 9, age: 1_050)
        _ = story.recalled(2, none)
        _ = story.post("a")
        #expect(
            story.commit() == [
                "publish produce joins[0] early a 1, score of a, label 8 of a, correction 9 of a, "
                    + "joins[0] no early a 0, joins[0] no early a 1, joins[0] post a with [9], "
                    + "encodings[0] encoding a",
                "store in 0: early a 1, no early a 0, no early a 1, post a with [9], encoding a",
            ])
        #expect(
            story.takeReports() == [
                .label(.postUnknownWaiting), .label(.postUnknownWaiting), .label(.taken),
                .label(.correction),
            ])
    }

    @Test func aViewIsOfItsUsersPost() {
        var story = LearningStory()
        _ = story.post("a", of: "u")
        _ = story.commit()
        _ = story.view("a", of: "w")
        _ = story.recalled(2, none)
        _ = story.view("a", of: "u", task: 1)
        _ = story.recalled(3, none)
        // Another user's, and one in another task: both wait.
        #expect(story.commit().first == "publish produce joins[0] early a 0, joins[1] early a 0")
    }

    @Test func viewsThatWaitAreBoundedAndTheUsersOldestGoesFirst() {
        var story = LearningStory {
            $0.learning?.maximumEarlyViews = 3
            $0.learning?.maximumEarlyViewsOfUser = 2
        }
        for (ticket, uid) in [(1, "u"), (2, "u"), (3, "w"), (4, "u"), (5, "x")] as [(UInt64, _)] {
            _ = story.view("\(uid)\(ticket)", of: uid)
            _ = story.recalled(ticket, none)
        }
        #expect(
            story.commit().last
                == "store in 0: early u1 0, early u2 1, early w3 2, early u4 3, no early u1 0, "
                + "early x5 4, no early u2 1")
        #expect(story.takeReports().count { $0 == .label(.earlyViewsFull) } == 2)
    }

    @Test func aViewWaitsForALimitedTime() {
        var story = LearningStory { $0.learning?.earlyViewSeconds = 100 }
        _ = story.view("a", age: -50)
        _ = story.recalled(1, none)
        _ = story.view("b", age: -150)
        _ = story.recalled(2, none)
        #expect(story.commit().last == "store in 0: early a 0, early b 1")
        // By the time of the records, and the oldest first.
        let later = Milliseconds((LearningStory.postedAt + 51) * 1_000)
        _ = story.take(
            "views", key: "u",
            ViewEvent(pid: "c", uid: "u", views: 1, observedAt: LearningStory.postedAt).json,
            timestamp: later)
        _ = story.recalled(3, none)
        #expect(story.commit().last == "store in 0: no early a 0, no early b 1, early c 2")
        #expect(
            story.takeReports().suffix(3) == [
                .label(.earlyViewExpired), .label(.earlyViewExpired), .label(.postUnknownWaiting),
            ])
    }

    @Test func theSameObservationAgainChangesNothing() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.view("a")
        _ = story.recalled(1, found("a"))
        _ = story.recalled(2, found("a"))
        #expect(
            story.commit() == [
                "publish produce label 8 of a, joins[0] post a with [8]",
                "store in 0: post a with [8]",
            ])
        #expect(story.takeReports() == [.label(.taken), .label(.repeated)])
    }

    @Test func aNearerObservationCorrectsAndAFartherOneDoesNot() {
        var story = LearningStory()
        for (ticket, age) in [1_100, 1_200, 1_050, 900, 1_300].enumerated() {
            _ = story.view("a", views: Int64(age), age: Double(age))
            _ = story.recalled(UInt64(ticket + 1), found("a"))
        }
        #expect(
            story.commit().first
                == "publish produce label 1100 of a, joins[0] post a with [1100], "
                + "correction 1050 of a, joins[0] post a with [1050]")
        #expect(
            story.takeReports() == [
                .label(.taken), .label(.farther), .label(.correction), .label(.tooEarly),
                .label(.tooLate),
            ])
    }

    @Test func trackedHorizonsJudgeAndDoNotTeach() throws {
        var story = LearningStory { $0.learning?.labels.trackedHorizons = [1_150] }
        _ = story.view("a", age: 1_200)
        _ = story.recalled(1, found("a"))
        #expect(
            story.commit().first
                == "publish produce label 8 of a, label 8 of a, joins[0] post a with [8, 8]")
        let lessons = try story.produced.prefix(2).map { try Lesson(parsing: $0.value ?? []) }
        let teaching = lessons.map { lesson in
            if case .label(let label) = lesson { label.teaches } else { false }
        }
        #expect(teaching == [true, false])

        // It is judged by, and nothing else.
        _ = story.takeReports()
        _ = story.lesson(LearningStory.label("a", teaches: false))
        #expect(story.recalled(2, newUser) == [])
        #expect(story.commit() == ["publish produce "])
        let reports = story.takeReports()
        #expect(reports.count == 1)
        guard case .judged = reports.first else {
            Issue.record("\(reports)")
            return
        }
    }

    @Test func aPostOfAnotherModelTeachesNothing() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, .post(LearningStory.remembered("a", model: "older")))
        _ = story.lesson(LearningStory.label("a", model: "older"))
        #expect(story.recalled(2, newUser) == [])
        #expect(story.commit() == ["publish produce "])
        #expect(story.takeReports() == [.label(.otherModel), .label(.otherModel)])
    }

    @Test func aPostThatDoesNotSayWhenItWasMadeIsOnlyScored() {
        var story = LearningStory()
        _ = story.post("a", postdate: nil, timestamp: nil)
        #expect(story.commit() == ["publish produce score of a"])
        #expect(story.takeReports() == [.label(.noPostTime)])
        // Its record's time is good enough.
        _ = story.post("b", postdate: nil)
        #expect(story.commit().last == "store in 0: post b with [], encoding b")
        // What it says itself is better.
        _ = story.post("c", postdate: 1_600_000_000)
        _ = story.commit()
        guard case .post(let post) = story.stored.first else {
            Issue.record("\(story.stored)")
            return
        }
        #expect(post.postedAt == 1_600_000_000)
    }

    @Test func aPostThatComesAgainDoesNotTakeThePlaceOfTheFirst() {
        var story = LearningStory()
        _ = story.post("a")
        _ = story.view("a")
        _ = story.recalled(2, none)
        _ = story.post("a", score: 9)
        #expect(
            story.commit().last == "store in 0: post a with [], encoding a, post a with [8]")
        // Another user's of the same name is another post.
        _ = story.post("a", of: "w")
        #expect(story.commit().last == "store in 0: post a with [], encoding a")
    }

    @Test func aPostThatIsTakenAnewIsNotARepeatOfItself() {
        var story = LearningStory()
        _ = story.post("a")
        _ = story.tell(.lost(LearningStory.partitions([0])))
        _ = story.assign([0])
        _ = story.tell(.restored(0, generation: story.generation, []))
        story.goBack("posts")
        _ = story.post("a")
        #expect(story.commit().last == "store in 0: post a with [], encoding a")
    }

    // MARK: - Unreadable

    @Test func whatCannotBeReadIsADeadLetter() {
        var story = LearningStory()
        #expect(story.take("views", key: "u", nil) == [])
        _ = story.take("views", key: "u", Array("{".utf8))
        _ = story.take(
            "views", key: "other", ViewEvent(pid: "a", uid: "u", views: 1, observedAt: 1).json)
        _ = story.take("lessons", key: "u", nil)
        _ = story.take("lessons", key: "u", Array("{}".utf8))
        _ = story.take("lessons", key: "other", Lesson.forget(uid: "u").json)
        #expect(
            story.deadLetters == [
                .emptyValue, .malformedEvent, .keyMismatch, .emptyValue, .malformedEvent,
                .keyMismatch,
            ])
        #expect(
            story.commit()
                == [
                    "publish produce "
                        + [String](repeating: "dead letter", count: 6)
                        .joined(separator: ", ")
                ])
        #expect(story.load.learningRecords == 0)
    }

    // MARK: - The order of things

    @Test func recallsAreAnsweredInAnyOrderAndAppliedInThatOfTheRecords() {
        var story = LearningStory()
        _ = story.view("a", views: 1)
        _ = story.view("b", views: 2)
        _ = story.view("c", views: 3)
        _ = story.recalled(3, found("c"))
        _ = story.recalled(2, found("b"))
        #expect(story.load.publishable == 0)
        _ = story.recalled(1, found("a"))
        #expect(
            story.commit().last
                == "store in 0: post a with [1], post b with [2], post c with [3]")
    }

    @Test func aRecallThatWasOvertakenByAChangeDoesNotCount() {
        var story = LearningStory()
        _ = story.view("a", views: 1)
        _ = story.view("a", views: 2, age: 1_050)
        _ = story.recalled(1, found("a"))
        // Both were asked for before the first label was stored.
        _ = story.commit()
        _ = story.recalled(2, found("a"))
        #expect(story.commit().last == "store in 0: post a with [2]")
        #expect(story.takeReports() == [.label(.taken), .label(.correction)])
        // Nobody remembers any more: what is recalled counts.
        _ = story.view("a", views: 3)
        _ = story.recalled(3, found("a"))
        #expect(story.commit().last == "store in 0: post a with [3]")
    }

    @Test func anAnswerToAnotherQuestionCostsNobodyAnything() {
        var story = LearningStory()
        _ = story.view("a")
        _ = story.recalled(1, newUser)
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(2, none)
        _ = story.lesson(.rollback(uid: "u", version: 1))
        _ = story.recalled(3, .posts(pids: []))
        #expect(story.commit() == ["publish produce "])
    }

    // MARK: - Lessons

    @Test func lessonsOfATaskAreLearntOneAfterTheOther() {
        var story = LearningStory()
        #expect(story.lesson(LearningStory.label("a")) == ["recall #1 user u in 0"])
        _ = story.lesson(LearningStory.label("b"))
        _ = story.recalled(2, newUser)
        #expect(story.recalled(1, newUser) == ["learn #1 u from a in 0"])
        // The second goes on from what the first has led to, not from what is stored.
        #expect(story.learned(1, [1]) == ["learn #2 u from a b in 0"])
        #expect(story.learning?.current?.values == [1])
        #expect(story.learned(2, [2]) == [])
        #expect(
            story.commit() == [
                "publish produce users[0] user u v1, users[0] user u v2",
                "store in 0: user u v1, user u v2",
            ])
        #expect(
            story.takeReports().map(Self.name) == ["judged", "updated", "judged", "updated"])
    }

    @Test func anUpdateHoldsUpNeitherPostsNorOtherTasks() {
        var story = LearningStory()
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(1, newUser)
        _ = story.lesson(LearningStory.label("b", of: "w"))
        _ = story.recalled(2, newUser)
        _ = story.post("p")
        _ = story.view("p")
        _ = story.recalled(4, none)
        _ = story.lesson(LearningStory.label("c", of: "x"), task: 1)
        #expect(story.recalled(5, newUser) == ["learn #5 x from c in 1"])
        _ = story.learned(5, nil)
        #expect(
            story.commit().suffix(2) == [
                "store in 0: post p with [], encoding p, post p with [8]",
                "store in 1: user x v0",
            ])
        // Only its own task's lessons wait.
        #expect(story.load.learningRecords == 2)
        #expect(story.learned(1, [1]) == ["learn #2 w from b in 0"])
    }

    @Test func anUpdateThatIsRefusedLeavesTheVectorAndKeepsTheLabel() {
        var story = LearningStory()
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(1, newUser)
        _ = story.learned(1, nil)
        #expect(story.commit().last == "store in 0: user u v0")
        guard case .user(let state) = story.stored.first else { return }
        #expect(state.labelCount == 1 && state.labelsSinceUpdate == 0)
        #expect(state.updateTriedAt == LearningStory.postedAt + 1_100)
    }

    @Test func aCorrectionTeachesAndDoesNotJudgeAgain() {
        var story = LearningStory()
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(1, newUser)
        _ = story.learned(1, nil)
        _ = story.lesson(LearningStory.label("a", views: 80, isCorrection: true))
        _ = story.recalled(2, newUser)
        #expect(story.learning?.posts.map(\.label).count == 1)
        _ = story.learned(2, [1])
        #expect(story.commit().last == "store in 0: user u v0, user u v1")
        #expect(story.takeReports().map(Self.name) == ["judged", "updated", "updated"])
    }

    @Test func whereNoUpdateIsDueTheLabelIsTakenAtOnce() {
        var story = LearningStory {
            $0.learning?.updates.labelsPerNewLabel = 1
            $0.learning?.updates.maximumLabelsBetweenUpdates = 8
        }
        var state = LearnerState(uid: "u", model: "m")
        state.labelCount = 100
        state.updateTried(at: LearningStory.postedAt + 1_100)
        _ = story.lesson(LearningStory.label("a"))
        #expect(story.recalled(1, .learner(state)) == [])
        #expect(story.commit().last == "store in 0: user u v0")
    }

    @Test func thePostThatLeavesTheWindowLosesItsEncoding() {
        var story = LearningStory()
        var state = LearnerState(uid: "u", model: "m")
        for number in 0..<LearnerState.maximumPosts {
            if case .label(let label) = LearningStory.label("p\(number)") { state.take(label) }
        }
        _ = story.lesson(LearningStory.label("new"))
        _ = story.recalled(1, .learner(state))
        _ = story.learned(1, [1])
        #expect(
            story.commit() == [
                "publish produce encodings[0] no encoding p0, users[0] user u v1",
                "store in 0: no encoding p0, user u v1",
            ])
    }

    @Test func whileFrozenLabelsAreTakenAndNoVectorIsUpdated() {
        var story = LearningStory()
        _ = story.tell(.freeze(true))
        _ = story.lesson(LearningStory.label("a"))
        #expect(story.recalled(1, newUser) == [])
        _ = story.lesson(.rollback(uid: "u", version: 9))
        _ = story.recalled(2, newUser)
        #expect(story.commit().last == "store in 0: user u v0")
        #expect(story.takeReports().map(Self.name) == ["judged", "version unknown"])
        _ = story.tell(.freeze(false))
        _ = story.lesson(LearningStory.label("b"))
        #expect(story.recalled(3, newUser) == ["learn #3 u from b in 0"])
    }

    @Test func aRollbackGoesToAVersionThatIsThere() throws {
        var state = LearnerState(uid: "u", model: "m")
        state.adopt([1], at: 1)
        state.adopt([2], at: 2)
        var story = LearningStory()
        #expect(story.lesson(.rollback(uid: "u", version: 1)) == ["recall #1 user u in 0"])
        _ = story.recalled(1, .learner(state))
        _ = story.lesson(.rollback(uid: "u", version: 7))
        _ = story.recalled(2, .learner(state))
        #expect(
            story.commit() == [
                "publish produce users[0] user u v3", "store in 0: user u v3",
            ])
        guard case .user(let back) = try #require(story.stored.first) else { return }
        #expect(back.current?.values == [1] && back.current?.rolledBackTo == 1)
        #expect(back.current?.learnedAt == LearningStory.postedAt, "the time of the record")
        #expect(
            story.takeReports() == [
                .rolledBack(uid: "u", version: 1), .versionUnknown(uid: "u", version: 7),
            ])
    }

    // MARK: - Forgetting

    @Test func forgettingClearsEverythingOfTheUser() {
        var story = LearningStory()
        _ = story.view("early")
        _ = story.recalled(1, none)
        _ = story.view("theirs", of: "w")
        _ = story.recalled(2, none)
        _ = story.commit()
        _ = story.post("inHand")
        #expect(story.lesson(.forget(uid: "u")) == ["recall #4 posts of u in 0"])
        _ = story.recalled(4, .posts(pids: ["old", "b"]))
        #expect(
            story.commit() == [
                "publish produce score of inHand, joins[0] post inHand with [], "
                    + "encodings[0] encoding inHand, users[0] no user u, joins[0] no post b, "
                    + "encodings[0] no encoding b, joins[0] no post inHand, "
                    + "encodings[0] no encoding inHand, joins[0] no post old, "
                    + "encodings[0] no encoding old, joins[0] no early early 0",
                "store in 0: post inHand with [], encoding inHand, no user u, no post b, "
                    + "no encoding b, no post inHand, no encoding inHand, no post old, "
                    + "no encoding old, no early early 0",
            ])
        #expect(story.takeReports().last == .forgotten(uid: "u", posts: 3))
        // Whoever waits of other users goes on waiting, and what comes after begins anew.
        _ = story.post("theirs", of: "w")
        #expect(story.commit().last?.contains("no early theirs 1") == true)
        _ = story.lesson(LearningStory.label("new"))
        _ = story.recalled(6, newUser)
        #expect(story.learning?.labelCount == 1)
    }

    @Test func labelledPostsThatNobodyWaitsForAreForgottenToo() {
        var story = LearningStory()
        var state = LearnerState(uid: "u", model: "m")
        state.posts = [
            .init(pid: "old", label: 1, postedAt: 1, observedAt: 2, number: 0)
        ]
        state.labelCount = 1
        _ = story.lesson(LearningStory.label("b"))
        _ = story.recalled(1, .learner(state))
        _ = story.learned(1, nil)
        _ = story.lesson(.forget(uid: "u"))
        _ = story.recalled(2, .posts(pids: []))
        #expect(
            story.commit().last
                == "store in 0: user u v0, no user u, no post b, no encoding b, no post old, "
                + "no encoding old")
    }

    @Test func aPostThatIsStoredWhileTheLessonWaitsIsForgottenToo() {
        var story = LearningStory()
        _ = story.post("inHand")
        _ = story.lesson(LearningStory.label("slow", of: "w"))
        #expect(story.recalled(2, newUser) == ["learn #2 w from slow in 0"])
        _ = story.lesson(.forget(uid: "u"))
        // The answer was looked up before any of the two was stored.
        _ = story.recalled(3, .posts(pids: []))
        _ = story.post("later")
        _ = story.post("theirs", of: "w")
        #expect(story.commit().last?.contains("post later") == true)
        _ = story.learned(2, nil)
        #expect(
            story.commit().last
                == "store in 0: user w v0, no user u, no post inHand, no encoding inHand, "
                + "no post later, no encoding later")
    }

    @Test func aViewDoesNotBringBackAForgottenPost() {
        var story = LearningStory()
        _ = story.lesson(.forget(uid: "u"))
        _ = story.view("a", views: 1)
        _ = story.recalled(1, .posts(pids: ["a"]))
        // One was taken before the user was forgotten, one after, and the store still has the post.
        _ = story.view("a", views: 2)
        _ = story.recalled(2, found("a"))
        _ = story.recalled(3, found("a"))
        #expect(
            story.commit().last
                == "store in 0: no user u, no post a, no encoding a, early a 0, early a 1")
        // Nor is another user's held for forgotten, or what comes later.
        _ = story.view("b", of: "w")
        _ = story.recalled(4, found("b", of: "w"))
        _ = story.view("b")
        _ = story.recalled(5, found("b"))
        #expect(story.commit().last == "store in 0: post b with [8], post b with [8]")
    }

    @Test func aViewThatOutlivesTheLessonDoesNotBringThePostBackEither() {
        var story = LearningStory()
        _ = story.lesson(.forget(uid: "u"))
        _ = story.recalled(1, .posts(pids: ["a"]))
        _ = story.view("first", of: "w")
        _ = story.view("a")
        _ = story.recalled(3, found("a"))
        _ = story.commit()
        _ = story.recalled(2, none)
        #expect(story.commit().last == "store in 0: early first 0, early a 1")
    }

    @Test func aPostThatComesAfterForgettingIsRemembered() {
        var story = LearningStory()
        _ = story.lesson(.forget(uid: "u"))
        _ = story.recalled(1, .posts(pids: ["a"]))
        _ = story.post("new")
        _ = story.view("new")
        _ = story.recalled(3, none)
        #expect(
            story.commit().last
                == "store in 0: no user u, no post a, no encoding a, post new with [], "
                + "encoding new, post new with [8]")
        // Twice forgotten: what came between goes with the second.
        _ = story.lesson(.forget(uid: "u"))
        _ = story.lesson(.forget(uid: "u"))
        _ = story.recalled(4, .posts(pids: ["new"]))
        _ = story.post("between")
        _ = story.view("between")
        _ = story.recalled(5, .posts(pids: ["new"]))
        _ = story.recalled(7, none)
        _ = story.commit()
        #expect(
            story.stored.last
                == .earlyView(
                    ViewEvent(
                        pid: "between", uid: "u", views: 8,
                        observedAt: LearningStory.postedAt + 1_100),
                    number: 0))
    }

    @Test func aLessonToForgetThatIsGivenUpForgetsNothing() {
        var story = LearningStory()
        _ = story.lesson(.forget(uid: "u"))
        _ = story.tell(.revoked(LearningStory.partitions([0])))
        _ = story.assign([0])
        _ = story.tell(.restored(0, generation: story.generation, []))
        _ = story.view("a")
        _ = story.recalled(2, found("a"))
        #expect(story.commit().last == "store in 0: post a with [8]")
        // Nor does it stand in the way of the next.
        _ = story.lesson(.forget(uid: "u"))
        _ = story.recalled(3, .posts(pids: ["a"]))
        _ = story.view("a")
        _ = story.recalled(4, found("a"))
        #expect(
            story.commit().last == "store in 0: no user u, no post a, no encoding a, early a 0")
    }

    @Test func aVectorThatIsLearntAgainStartsFromNothing() {
        var state = LearnerState(uid: "u", model: "m")
        state.adopt([1], at: 1)
        var story = LearningStory()
        _ = story.lesson(.forget(uid: "u"))
        _ = story.lesson(LearningStory.label("a"))
        _ = story.recalled(1, .posts(pids: []))
        // Looked up before the lesson to forget was stored.
        #expect(story.recalled(2, .learner(state)) == ["learn #2 u from a in 0"])
        #expect(story.learning?.current == nil && story.learning?.labelCount == 1)
    }

    static func name(_ report: LearningReport) -> String {
        switch report {
        case .label(let outcome): outcome.rawValue
        case .judged: "judged"
        case .updated: "updated"
        case .rolledBack: "rolled back"
        case .versionUnknown: "version unknown"
        case .forgotten: "forgotten"
        }
    }
}

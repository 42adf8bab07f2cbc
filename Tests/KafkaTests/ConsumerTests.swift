import Dispatch
import Kafka
import Synchronization
import Testing

@Suite(.blocking) struct ConsumerTests {
    let cluster: Cluster
    let posts = TopicPartition(topic: "posts", partition: 0)

    init() throws {
        cluster = try Cluster()
        try cluster.broker.createTopic("posts", partitions: 1)
    }

    func values(_ messages: [ConsumedMessage]) -> [String?] { messages.map { text($0.value) } }

    // MARK: - Position

    @Test func pauseStopsAndResumeGoesOnWhereItStopped() throws {
        try cluster.write(numbered(0..<10, topic: "posts"))
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        #expect(values(try read(4, from: consumer)) == ["0", "1", "2", "3"])

        try consumer.pause([posts])
        for _ in 0..<10 {
            #expect(try consumer.poll(timeoutMilliseconds: 50) == nil)
        }
        try consumer.resume([posts])
        #expect(values(try read(3, from: consumer)) == ["4", "5", "6"])

        // Resuming what was not paused changes nothing.
        try consumer.resume([posts])
        #expect(values(try read(3, from: consumer)) == ["7", "8", "9"])
    }

    @Test func theHandlerChoosesWhereReadingStarts() throws {
        try cluster.write(numbered(0..<5, topic: "posts"))
        let consumer = try cluster.consumer { _, event in
            event == .assigned([posts]) ? [posts: 3] : [:]
        }
        try consumer.subscribe(topics: ["posts"])
        #expect(values(try read(2, from: consumer)) == ["3", "4"])
    }

    /// Also for a static member, which closes without leaving the group.
    @Test(arguments: [[:], ["group.instance.id": "one", "session.timeout.ms": "3000"]])
    func committedOffsetsAreWhereTheNextConsumerStarts(membership: [String: String]) throws {
        try cluster.write(numbered(0..<5, topic: "posts"))
        do {
            let first = try cluster.consumer(membership)
            try first.subscribe(topics: ["posts"])
            _ = try read(4, from: first)
            #expect(try first.committed([posts], timeoutMilliseconds: patience) == [:])
            try first.commit([posts: 2], timeoutMilliseconds: patience)
            #expect(try first.committed([posts], timeoutMilliseconds: patience) == [posts: 2])
            #expect(try first.close(timeoutMilliseconds: patience))
        }
        let second = try cluster.consumer(membership)
        try second.subscribe(topics: ["posts"])
        #expect(values(try read(3, from: second)) == ["2", "3", "4"])
    }

    @Test func aCommitForAGroupThatMovedOnAsksForAnAbort() throws {
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        cluster.broker.pushErrors(.offsetCommit, [.illegalGeneration])
        let error = try kafkaError {
            try consumer.commit([posts: 2], timeoutMilliseconds: patience)
        }
        #expect(error.action == .abort)
    }

    /// Another member's transaction may hold the offset open, or its coordinator be on the move.
    @Test(arguments: [
        EmbeddedBroker.ErrorCode.unstableOffsetCommit, .coordinatorLoadInProgress,
        .coordinatorNotAvailable, .notCoordinator,
    ])
    func committedOffsetsThatAreNotSettledYetAreAskedForAgain(
        _ code: EmbeddedBroker.ErrorCode
    ) throws {
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        try consumer.commit([posts: 2], timeoutMilliseconds: patience)
        cluster.broker.pushErrors(.offsetFetch, Array(repeating: code, count: 100))
        let error = try kafkaError {
            _ = try consumer.committed([posts], timeoutMilliseconds: 1000)
        }
        #expect(error.action == .retry, "\(error)")

        cluster.broker.clearErrors(.offsetFetch)
        var committed: [TopicPartition: Int64] = [:]
        try repeating {
            committed = try consumer.committed([posts], timeoutMilliseconds: patience)
        }
        #expect(committed == [posts: 2])
    }

    @Test func lagIsWhatLiesBetweenThePositionAndTheStableEnd() throws {
        try cluster.write(numbered(0..<10, topic: "posts"))
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        #expect(consumer.lag() == [:])
        _ = try read(4, from: consumer)
        try consumer.pause([posts])
        try poll(consumer) { consumer.lag() == [posts: 6] }
        let (first, end) = try consumer.queryOffsets(posts, timeoutMilliseconds: patience)
        #expect(first == 0)
        #expect(end == 10)

        try consumer.resume([posts])
        _ = try read(6, from: consumer)
        try poll(consumer) { consumer.lag() == [posts: 0] }
    }

    @Test func anEmptyPartitionHasNoLag() throws {
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.lag() == [posts: 0] }
    }

    // MARK: - Rebalance

    @Test func partitionsMoveBetweenTwoMembers() throws {
        try cluster.broker.createTopic("shared", partitions: 2)
        let zero = TopicPartition(topic: "shared", partition: 0)
        let one = TopicPartition(topic: "shared", partition: 1)
        var story: [String: [Rebalance]] = [:]
        var assignedWhileRevoking: Set<TopicPartition> = []
        func member(_ name: String) throws -> Consumer {
            let consumer = try cluster.consumer(["session.timeout.ms": "3000"]) { consumer, event in
                story[name, default: []].append(event)
                if assignedWhileRevoking.isEmpty, case .revoked = event {
                    // Still ours: this is where a transaction is finished or aborted.
                    assignedWhileRevoking = consumer.assignment
                    _ = try consumer.groupMetadata()
                }
                return [:]
            }
            try consumer.subscribe(topics: ["shared"])
            return consumer
        }
        let first = try member("a")
        try poll(first) { first.assignment == [zero, one] }
        #expect(story["a"] == [.assigned([zero, one])])

        let second = try member("b")
        try poll(first) {
            let message = try second.poll(timeoutMilliseconds: 50)
            #expect(message == nil)
            return first.assignment.count == 1 && second.assignment.count == 1
        }
        #expect(first.assignment.union(second.assignment) == [zero, one])
        #expect(story["a"]?[1] == .revoked([zero, one]))
        #expect(assignedWhileRevoking == [zero, one])

        #expect(try second.close(timeoutMilliseconds: patience))
        #expect(second.assignment == [])
        guard case .revoked = try #require(story["b"]).last else {
            Issue.record("closing revokes")
            return
        }
        try poll(first) { first.assignment == [zero, one] }
    }

    @Test(arguments: [EmbeddedBroker.ErrorCode.unknownMemberID, .illegalGeneration])
    func partitionsOfAMemberThatTheGroupForgotAreLost(
        _ code: EmbeddedBroker.ErrorCode
    ) throws {
        var story: [Rebalance] = []
        let consumer = try cluster.consumer { _, event in
            story.append(event)
            return [:]
        }
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        cluster.broker.pushErrors(.heartbeat, [code])
        try poll(consumer) { story.count == 3 }
        #expect(story == [.assigned([posts]), .lost([posts]), .assigned([posts])])
        #expect(consumer.assignment == [posts])
    }

    @Test func aFencedStaticMemberIsFinished() throws {
        let consumer = try cluster.consumer(["group.instance.id": "one"])
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        cluster.broker.pushErrors(.heartbeat, [.fencedInstanceID])
        let error = try kafkaError { try poll(consumer) { false } }
        #expect(error.action == .fatal)
        #expect(error.isFenced)
    }

    struct Refusal: Error {}

    @Test func whatTheHandlerThrowsComesOutOfPoll() throws {
        let consumer = try cluster.consumer { _, _ in throw Refusal() }
        try consumer.subscribe(topics: ["posts"])
        #expect(throws: Refusal.self) { try poll(consumer) { false } }
        #expect(consumer.assignment == [])
    }

    @Test func whatWasFetchedBeforeALossIsReadAgainAfterIt() throws {
        var story: [Rebalance] = []
        let consumer = try cluster.consumer { _, event in
            story.append(event)
            return [:]
        }
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        // While nobody polls, records arrive, and the group forgets the member.
        try cluster.write(numbered(0..<3, topic: "posts"))
        cluster.broker.pushErrors(.heartbeat, [.unknownMemberID])
        sleep(milliseconds: 1000)
        var seen: [String?] = []
        while seen.count < 3 {
            guard let message = try consumer.poll(timeoutMilliseconds: 500) else { continue }
            #expect(story == [.assigned([posts]), .lost([posts]), .assigned([posts])])
            seen.append(text(message.value))
        }
        #expect(seen == ["0", "1", "2"])
    }

    @Test func aPauseEndsWithTheAssignment() throws {
        var story: [Rebalance] = []
        let consumer = try cluster.consumer { _, event in
            story.append(event)
            return [:]
        }
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        try consumer.pause([posts])
        cluster.broker.pushErrors(.heartbeat, [.unknownMemberID])
        try poll(consumer) { story.count == 3 }
        try cluster.write(numbered(0..<3, topic: "posts"))
        #expect(values(try read(3, from: consumer)) == ["0", "1", "2"])
    }

    /// A consumer above its high-water mark is assigned more: with `cooperative-sticky` nobody
    /// would pause what is new later.
    @Test(arguments: ["range", "cooperative-sticky"])
    func whatTheHandlerPausesStaysSilentUntilItIsResumed(strategy: String) throws {
        try cluster.broker.createTopic("shared", partitions: 2)
        try cluster.write(
            numbered(0..<3, topic: "shared") + numbered(10..<13, topic: "shared", partition: 1))
        let zero = TopicPartition(topic: "shared", partition: 0)
        let one = TopicPartition(topic: "shared", partition: 1)
        let consumer = try cluster.consumer([
            "partition.assignment.strategy": strategy
        ]) { consumer, event in
            guard event == .assigned([zero, one]) else { return [:] }
            try consumer.pause([zero, one])
            // Room after all, for one of them.
            try consumer.resume([one])
            return [zero: 1]
        }
        try consumer.subscribe(topics: ["shared"])
        #expect(values(try read(3, from: consumer)) == ["10", "11", "12"])
        for _ in 0..<20 {
            #expect(try consumer.poll(timeoutMilliseconds: 50) == nil)
        }
        try consumer.resume([zero])
        #expect(values(try read(2, from: consumer)) == ["1", "2"])
    }

    @Test func cooperativeMembersKeepWhatStays() throws {
        try cluster.broker.createTopic("shared", partitions: 2)
        let zero = TopicPartition(topic: "shared", partition: 0)
        let one = TopicPartition(topic: "shared", partition: 1)
        var story: [Rebalance] = []
        let cooperative = [
            "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": "3000",
        ]
        let first = try cluster.consumer(cooperative) { _, event in
            story.append(event)
            return [:]
        }
        try first.subscribe(topics: ["shared"])
        try poll(first) { first.assignment == [zero, one] }

        let second = try cluster.consumer(cooperative)
        try second.subscribe(topics: ["shared"])
        try poll(first) {
            let message = try second.poll(timeoutMilliseconds: 50)
            #expect(message == nil)
            return first.assignment.count == 1 && second.assignment.count == 1
        }
        let kept = try #require(first.assignment.first)
        let moved = kept == zero ? one : zero
        #expect(second.assignment == [moved])
        #expect(
            story.filter { $0 != .assigned([]) } == [.assigned([zero, one]), .revoked([moved])])

        // What stays is read on, and what has moved is read there.
        try cluster.write(
            numbered(0..<2, topic: "shared", partition: kept.partition)
                + numbered(2..<4, topic: "shared", partition: moved.partition))
        #expect(values(try read(2, from: first)) == ["0", "1"])
        #expect(values(try read(2, from: second)) == ["2", "3"])
    }

    // MARK: - Waking

    @Test func aPollUnderWayIsWokenFromAnotherThread() throws {
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        let wake = consumer.makeWaker()
        let start = ContinuousClock.now
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(300)) { wake() }
        // Housekeeping may end a poll too: what counts is that none lasts to its end.
        #expect(try consumer.poll(timeoutMilliseconds: 2 * patience) == nil)
        #expect(ContinuousClock.now - start < .milliseconds(patience))
    }

    /// Lives as long as the client whose log lines go to it.
    final class Witness: Sendable {}

    @Test func aWakerDoesNotKeepItsClientAlive() throws {
        var witness: Witness? = Witness()
        weak let living = witness
        var consumer: Consumer? = try Consumer(
            configuration: ClientConfiguration(
                bootstrapServers: cluster.broker.bootstrapServers,
                properties: ["group.id": "readers"], log: { [witness] _ in _ = witness })
        ) { _, _ in [:] }
        witness = nil
        #expect(living != nil)

        let wake = try #require(consumer).makeWaker()
        consumer = nil
        for _ in 0..<100 where living != nil { sleep(milliseconds: 20) }
        #expect(living == nil)
        wake()
    }

    // MARK: - Ending

    @Test func aClosedConsumerHasLeft() throws {
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        #expect(try consumer.close(timeoutMilliseconds: patience))
        #expect(consumer.assignment == [])
        #expect(try consumer.close(timeoutMilliseconds: patience))
        #expect(try consumer.poll(timeoutMilliseconds: 50) == nil)
    }

    @Test(arguments: [true, false])
    func aRebalanceThatNobodyAnsweredDoesNotKeepAConsumerFromEnding(closing: Bool) throws {
        var consumer: Consumer? = try cluster.consumer()
        try consumer?.subscribe(topics: ["posts"])
        // Longer than it takes to be assigned something.
        sleep(milliseconds: 4000)
        let start = ContinuousClock.now
        if closing {
            let closed = try consumer?.close(timeoutMilliseconds: patience)
            #expect(closed == true)
        }
        consumer = nil
        #expect(ContinuousClock.now - start < .milliseconds(patience))
        #expect(!cluster.log.all.contains { $0.facility == "DESTROY" })
    }

    /// librdkafka then ends by itself and throws away what it is asked meanwhile: an answer given at
    /// the wrong moment would be waited for without end.
    @Test func consumersEndWhileTheyAreBeingAssignedSomething() throws {
        let count = 40
        let closed = Mutex(0)
        let ended = DispatchSemaphore(value: 0)
        // Apart, so that one that does not end fails the test and does not stall it.
        DispatchQueue(label: "closing").async { [cluster] in
            defer { ended.signal() }
            var consumers: [Consumer] = []
            for number in 0..<count {
                guard let consumer = try? cluster.consumer(group: "group-\(number)") else { return }
                try? consumer.subscribe(topics: ["posts"])
                consumers.append(consumer)
            }
            // Longer than it takes to be assigned something.
            sleep(milliseconds: 5000)
            for consumer in consumers
            where (try? consumer.close(timeoutMilliseconds: patience)) == true {
                closed.withLock { $0 += 1 }
            }
        }
        #expect(ended.wait(timeout: .now() + .milliseconds(patience)) == .success)
        #expect(closed.withLock { $0 } == count)
    }

    @Test func aConsumerThatIsDroppedEndsInBoundedTime() throws {
        try cluster.write(numbered(0..<3, topic: "posts"))
        var consumer: Consumer? = try cluster.consumer()
        try consumer?.subscribe(topics: ["posts"])
        _ = try read(1, from: #require(consumer))
        let start = ContinuousClock.now
        consumer = nil
        #expect(ContinuousClock.now - start < .milliseconds(patience))
        #expect(!cluster.log.all.contains { $0.facility == "DESTROY" })
    }
}

import Kafka
import Testing

@Suite(.blocking, .timeLimit(.minutes(5))) struct CoPartitioningTests {
    static let topics = ["posts", "views", "lessons"]
    let together = CoPartitioning(topics)

    func partitions(_ numbers: Range<Int32>, of topics: [String] = topics) -> [TopicPartition] {
        topics.flatMap { topic in
            numbers.map { TopicPartition(topic: topic, partition: $0) }
        }
    }

    // MARK: - Checks

    @Test func equalCountsPass() throws {
        try together.check(partitionCounts: ["posts": 6, "views": 6, "lessons": 6, "scores": 1])
        // One that is missing is waited for by others.
        try together.check(partitionCounts: ["posts": 6, "lessons": 6])
        try together.check(partitionCounts: [:])
    }

    @Test func unequalCountsSayWhichAndWhatToDo() throws {
        let error = try #require(throws: CoPartitioning.UnequalCounts.self) {
            try together.check(partitionCounts: ["posts": 6, "views": 4, "scores": 1])
        }
        #expect(error.counts == ["posts": 6, "views": 4])
        #expect("\(error)".contains("posts has 6, views has 4"))
        #expect("\(error)".contains("Make new topics"))
    }

    @Test func anAssignmentWithOtherNumbersOfATopicIsFound() {
        #expect(together.unequalNumbers(in: partitions(2..<4)) == nil)
        #expect(together.unequalNumbers(in: [TopicPartition]()) == nil)
        #expect(
            together.unequalNumbers(
                in: partitions(0..<2, of: ["posts", "views"]) + partitions(0..<1, of: ["lessons"]))
                == ["posts": [0, 1], "views": [0, 1], "lessons": [0]])
    }

    @Test(arguments: [
        ("range", true), (" range ", true), ("range,range", true), ("range,roundrobin", false),
        ("roundrobin", false), ("cooperative-sticky", false), ("", false), ("range,", false),
    ])
    func onlyRangeKeepsTopicsTogether(strategy: String, expected: Bool) {
        #expect(CoPartitioning.isKept(byAssignmentStrategy: strategy) == expected)
    }

    // MARK: - A group

    /// Two members, then one: what is told of each topic is the same, at every step.
    @Test func membersGetTheSameNumbersOfAllTopics() throws {
        let cluster = try Cluster()
        for topic in Self.topics { try cluster.broker.createTopic(topic, partitions: 5) }
        var story: [String: [Rebalance]] = [:]
        func member(_ name: String) throws -> Consumer {
            let consumer = try cluster.consumer { _, event in
                story[name, default: []].append(event)
                return [:]
            }
            try consumer.subscribe(topics: Self.topics)
            return consumer
        }
        let first = try member("a")
        try poll(first) { first.assignment == Set(partitions(0..<5)) }

        let second = try member("b")
        try poll(first) {
            let message = try second.poll(timeoutMilliseconds: 50)
            #expect(message == nil)
            return !second.assignment.isEmpty && !first.assignment.isEmpty
                && first.assignment.count + second.assignment.count == 15
        }
        // An uneven share goes to the same member for every topic.
        let larger = first.assignment.count > second.assignment.count ? first : second
        let smaller = larger === first ? second : first
        #expect(larger.assignment == Set(partitions(0..<3)))
        #expect(smaller.assignment == Set(partitions(3..<5)))

        #expect(try second.close(timeoutMilliseconds: patience))
        try poll(first) { first.assignment == Set(partitions(0..<5)) }

        // Everything is taken away, in one piece, before anything else is given.
        for (name, events) in story {
            for (index, event) in events.enumerated() {
                switch event {
                case .assigned(let partitions):
                    #expect(index % 2 == 0, "\(name): \(events)")
                    #expect(together.unequalNumbers(in: partitions) == nil, "\(name): \(events)")
                case .revoked(let partitions), .lost(let partitions):
                    #expect(index % 2 == 1, "\(name): \(events)")
                    #expect(together.unequalNumbers(in: partitions) == nil, "\(name): \(events)")
                }
            }
        }
    }

    /// As when a new version joins a group of old ones: `range` shares out topic by topic.
    @Test func aMemberThatSubscribesToLessTearsTopicsApart() throws {
        let cluster = try Cluster()
        for topic in Self.topics { try cluster.broker.createTopic(topic, partitions: 4) }
        let old = try cluster.consumer()
        try old.subscribe(topics: ["posts"])
        try poll(old) { old.assignment.count == 4 }
        let new = try cluster.consumer()
        try new.subscribe(topics: Self.topics)
        try poll(new) {
            let message = try old.poll(timeoutMilliseconds: 50)
            #expect(message == nil)
            return new.assignment.count == 10 && old.assignment.count == 2
        }
        #expect(together.unequalNumbers(in: new.assignment) != nil)
    }

    /// Inputs are held back while the state that they need is restored.
    @Test func inputsStayPausedFromTheAssignmentUntilTheyAreResumed() throws {
        let cluster = try Cluster()
        for topic in Self.topics { try cluster.broker.createTopic(topic, partitions: 2) }
        try cluster.write(
            Self.topics.flatMap { topic in
                (0..<2).flatMap { numbered(0..<3, topic: topic, partition: $0) }
            })
        let consumer = try cluster.consumer { consumer, event in
            if case .assigned(let partitions) = event { try consumer.pause(partitions) }
            return [:]
        }
        try consumer.subscribe(topics: Self.topics)
        try poll(consumer) { consumer.assignment == Set(partitions(0..<2)) }
        for _ in 0..<10 { #expect(try consumer.poll(timeoutMilliseconds: 50) == nil) }

        // One task is restored, then the other.
        for number in Int32(0)..<2 {
            try consumer.resume(partitions(number..<number + 1))
            let messages = try read(9, from: consumer)
            for topic in Self.topics {
                let ours = messages.filter { $0.topicPartition.topic == topic }
                #expect(ours.map { text($0.value) } == ["0", "1", "2"])
                #expect(ours.allSatisfy { $0.topicPartition.partition == number })
            }
        }
    }

    /// What is fetched of all topics lies in one queue, first in, first out: a record waits behind
    /// what is in it (`queued.min.messages` and one fetch), and not behind a backlog.
    @Test func aBacklogOfOneTopicDoesNotKeepOthersAway() throws {
        let cluster = try Cluster()
        for topic in Self.topics { try cluster.broker.createTopic(topic, partitions: 1) }
        let backlog = 20_000
        let producer = try cluster.producer(["batch.num.messages": "100"])
        for record in numbered(0..<backlog, topic: "posts") {
            try repeating { try producer.produce(record) }
        }
        try producer.flush(timeoutMilliseconds: patience)

        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: Self.topics)
        _ = try read(1, from: consumer)
        try cluster.write(numbered(0..<1, topic: "views") + numbered(0..<1, topic: "lessons"))
        var waitedFor = 0
        var others: Set<String> = []
        while others.count < 2 {
            let topic = try read(1, from: consumer)[0].topicPartition.topic
            if topic == "posts" { waitedFor += 1 } else { others.insert(topic) }
        }
        #expect(waitedFor < backlog / 4)
    }
}

import Kafka
import Testing

/// Brokers go away, come back, and move things about; clients wait and go on.
@Suite(.blocking) struct OutageTests {
    /// Runs `body`, which must not hang.
    func within(
        _ limit: Duration, sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () throws -> Void
    ) rethrows {
        let start = ContinuousClock.now
        try body()
        let took = ContinuousClock.now - start
        #expect(took < limit, sourceLocation: sourceLocation)
    }

    @Test func consumerAndProducerOutliveABrokerThatIsAway() throws {
        let cluster = try Cluster()
        try cluster.broker.createTopic("posts", partitions: 1)
        let producer = try cluster.transactionalProducer()
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        func transaction(_ range: Range<Int>) throws {
            try producer.begin()
            for record in numbered(range, topic: "posts") { try producer.produce(record) }
        }
        try transaction(0..<1)
        try producer.commit(timeoutMilliseconds: patience)
        #expect(try read(1, from: consumer).map { text($0.value) } == ["0"])

        try cluster.broker.setDown()
        try transaction(1..<3)
        let error = try kafkaError { try producer.commit(timeoutMilliseconds: 500) }
        #expect(error.action == .retry)
        #expect(error.isTimeout)
        // Which of the two it is depends on which connections the consumer had.
        try poll(consumer) {
            cluster.log.contains(error: "_ALL_BROKERS_DOWN")
                || cluster.log.contains(error: "_TRANSPORT")
        }

        try cluster.broker.setUp()
        try repeating { try producer.commit(timeoutMilliseconds: 2000) }
        #expect(producer.deliveries.delivered == 2)
        #expect(try read(2, from: consumer).map { text($0.value) } == ["1", "2"])
    }

    @Test func aTopicThatDoesNotExistYetIsWaitedFor() throws {
        let cluster = try Cluster()
        try cluster.broker.createTopic("posts", partitions: 1)
        cluster.broker.setError(ofTopic: "posts", .unknownTopicOrPartition)
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { cluster.log.contains(error: "UNKNOWN_TOPIC_OR_PART") }
        #expect(consumer.assignment == [])

        cluster.broker.setError(ofTopic: "posts", nil)
        try cluster.write(numbered(0..<1, topic: "posts"))
        #expect(try read(1, from: consumer).count == 1)
    }

    @Test func leadersMove() throws {
        let cluster = try Cluster(brokers: 2)
        let posts = TopicPartition(topic: "posts", partition: 0)
        try cluster.broker.createTopic("posts", partitions: 1)
        try cluster.broker.setLeader(of: posts, broker: 1)
        let producer = try cluster.transactionalProducer()
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        for round in 0..<4 {
            try cluster.broker.setLeader(of: posts, broker: 1 + round % 2)
            try producer.begin()
            for record in numbered(round * 3..<round * 3 + 3, topic: "posts") {
                try producer.produce(record)
            }
            try repeating { try producer.commit(timeoutMilliseconds: patience) }
            let expected = (round * 3..<round * 3 + 3).map { "\($0)" }
            #expect(try read(3, from: consumer).map { text($0.value) } == expected)
        }
    }

    @Test func coordinatorsMove() throws {
        let cluster = try Cluster(brokers: 2)
        let posts = TopicPartition(topic: "posts", partition: 0)
        try cluster.broker.createTopic("posts", partitions: 1)
        try cluster.broker.setCoordinator(.group, of: "readers", broker: 1)
        try cluster.broker.setCoordinator(.transaction, of: "test", broker: 1)
        let producer = try cluster.transactionalProducer()
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        for round in 0..<4 {
            let broker = 1 + round % 2
            try cluster.broker.setCoordinator(.group, of: "readers", broker: broker)
            try cluster.broker.setCoordinator(.transaction, of: "test", broker: broker)
            try producer.begin()
            for record in numbered(round..<round + 1, topic: "posts") {
                try producer.produce(record)
            }
            #expect(try kept(producer, consumer, posts, offset: Int64(round)))
            #expect(try read(1, from: consumer).map { text($0.value) } == ["\(round)"])
        }
    }

    /// Offsets and commit, aborting and redoing nothing: a moved coordinator costs retries only.
    func kept(
        _ producer: Producer, _ consumer: Consumer, _ partition: TopicPartition, offset: Int64
    ) throws -> Bool {
        try repeating {
            try producer.sendOffsets(
                [partition: offset], group: consumer.groupMetadata(),
                timeoutMilliseconds: patience)
        }
        try repeating { try producer.commit(timeoutMilliseconds: patience) }
        return producer.deliveries.delivered == 1
    }

    @Test func aBrokerThatIsNeverThereCostsTheGivenTimeOnly() throws {
        let log = LogLines()
        let nowhere = ClientConfiguration(
            bootstrapServers: "127.0.0.1:1",
            properties: ["group.id": "g", "transactional.id": "t"], log: log.append)
        let posts = TopicPartition(topic: "posts", partition: 0)
        // Each call is given a tenth of what would count as hanging.
        let given = 300
        let hanging = Duration.milliseconds(given * 10)
        func expectRetry(
            sourceLocation: SourceLocation = #_sourceLocation, _ call: () throws -> Void
        ) throws {
            try within(hanging, sourceLocation: sourceLocation) {
                let error = try kafkaError(sourceLocation: sourceLocation, call)
                #expect(error.action == .retry, "\(error)", sourceLocation: sourceLocation)
            }
        }

        var consumer: Consumer? = try Consumer(configuration: nowhere) { _, _ in [:] }
        if let consumer {
            try consumer.subscribe(topics: ["posts"])
            try within(hanging) {
                let message = try consumer.poll(timeoutMilliseconds: given)
                #expect(message == nil)
            }
            try expectRetry { try consumer.commit([posts: 1], timeoutMilliseconds: given) }
            try expectRetry { _ = try consumer.committed([posts], timeoutMilliseconds: given) }
            try expectRetry { _ = try consumer.queryOffsets(posts, timeoutMilliseconds: given) }
            try within(hanging) { _ = try consumer.close(timeoutMilliseconds: given) }
        }
        within(.seconds(30)) { consumer = nil }

        var producer: Producer? = try Producer(configuration: nowhere)
        if let producer {
            try expectRetry { try producer.initTransactions(timeoutMilliseconds: given) }
            try expectRetry { try producer.initTransactions(timeoutMilliseconds: given) }
        }
        within(.seconds(30)) { producer = nil }
        #expect(log.all.contains { $0.facility == "FAIL" })
    }

    /// Connections stay up, but nothing is answered: nothing tells a client that it waits in vain.
    @Test func aBrokerThatIsSilentCostsTheGivenTimeOnly() throws {
        let cluster = try Cluster()
        let posts = TopicPartition(topic: "posts", partition: 0)
        try cluster.broker.createTopic("posts", partitions: 1)
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["posts"])
        try poll(consumer) { consumer.assignment == [posts] }
        let group = try consumer.groupMetadata()
        _ = try consumer.queryOffsets(posts, timeoutMilliseconds: patience)
        let admin = try Admin(configuration: cluster.configuration())
        _ = try admin.partitionCounts(ofTopics: ["posts"], timeoutMilliseconds: patience)
        let beginning = try cluster.producer(["transactional.id": "beginning"])
        func writing(_ id: String) throws -> Producer {
            let producer = try cluster.transactionalProducer(["transactional.id": id])
            try producer.begin()
            for record in numbered(0..<1, topic: "posts") { try producer.produce(record) }
            try producer.flush(timeoutMilliseconds: patience)
            return producer
        }
        var sending: Producer? = try writing("sending")
        let committing = try writing("committing")
        let aborting = try writing("aborting")

        try cluster.broker.setRoundTrip(milliseconds: 600_000)
        // Each call is given a tenth of what would count as hanging.
        let given = 300
        let hanging = Duration.milliseconds(given * 10)
        func expectRetry(
            sourceLocation: SourceLocation = #_sourceLocation, _ call: () throws -> Void
        ) throws {
            try within(hanging, sourceLocation: sourceLocation) {
                let error = try kafkaError(sourceLocation: sourceLocation, call)
                #expect(error.action == .retry, "\(error)", sourceLocation: sourceLocation)
            }
        }
        try expectRetry { try beginning.initTransactions(timeoutMilliseconds: given) }
        try expectRetry { try committing.commit(timeoutMilliseconds: given) }
        try expectRetry { try aborting.abort(timeoutMilliseconds: given) }
        if let sending {
            for _ in 0..<2 {
                try expectRetry {
                    try sending.sendOffsets([posts: 1], group: group, timeoutMilliseconds: given)
                }
            }
            try expectRetry { try sending.commit(timeoutMilliseconds: given) }
            try expectRetry { try sending.abort(timeoutMilliseconds: given) }
            for record in numbered(1..<2, topic: "posts") { try sending.produce(record) }
            try expectRetry { try sending.flush(timeoutMilliseconds: given) }
        }
        within(hanging) { sending = nil }
        try expectRetry {
            _ = try admin.partitionCounts(ofTopics: ["posts"], timeoutMilliseconds: given)
        }
        try expectRetry { try consumer.commit([posts: 1], timeoutMilliseconds: given) }
        try expectRetry { _ = try consumer.committed([posts], timeoutMilliseconds: given) }
        try expectRetry { _ = try consumer.queryOffsets(posts, timeoutMilliseconds: given) }
        try within(hanging) { _ = try consumer.poll(timeoutMilliseconds: given) }
        try within(hanging) { _ = try consumer.close(timeoutMilliseconds: given) }
    }

    /// The broker is silent, then answers what has piled up; or it never does, and is asked again
    /// on a new connection.
    @Test(arguments: [false, true])
    func offsetsAreSentWhenTheSilenceEnds(aborting: Bool) throws {
        let cluster = try Cluster()
        try cluster.broker.createTopic("posts", partitions: 1)
        let posts = TopicPartition(topic: "posts", partition: 0)
        let group = try cluster.consumer().groupMetadata()
        let producer = try cluster.transactionalProducer(["socket.timeout.ms": "1000"])
        try producer.begin()
        for record in numbered(0..<1, topic: "posts") { try producer.produce(record) }
        try producer.flush(timeoutMilliseconds: patience)

        try cluster.broker.setRoundTrip(milliseconds: 600_000)
        let error = try kafkaError {
            try producer.sendOffsets([posts: 1], group: group, timeoutMilliseconds: 300)
        }
        #expect(error.action == .retry, "\(error)")
        #expect(error.isTimeout)
        try cluster.broker.setRoundTrip(milliseconds: 0)

        if aborting {
            try repeating { try producer.abort(timeoutMilliseconds: 300) }
            try producer.begin()
            for record in numbered(1..<2, topic: "posts") { try producer.produce(record) }
        }
        try repeating {
            try producer.sendOffsets([posts: 1], group: group, timeoutMilliseconds: 300)
        }
        try repeating { try producer.commit(timeoutMilliseconds: 300) }
        #expect(producer.deliveries.delivered == 1)
    }

    @Test func aDroppedProducerDoesNotWaitForDeliveries() throws {
        let cluster = try Cluster()
        try cluster.broker.createTopic("posts", partitions: 1)
        var producer: Producer? = try cluster.producer()
        try cluster.broker.setDown()
        for record in numbered(0..<100, topic: "posts") { try producer?.produce(record) }
        within(.seconds(30)) { producer = nil }
    }
}

import Kafka
import Testing

@Suite(.blocking) struct RoundTripTests {
    let cluster: Cluster

    init() throws { cluster = try Cluster() }

    @Test func aRecordComesBackAsItWasWritten() throws {
        try cluster.broker.createTopic("records", partitions: 1)
        let written = [
            ProducerRecord(
                topic: "records", partition: 0, key: bytes("user"), value: bytes("post"),
                headers: [
                    ("trace", bytes("a")), ("trace", bytes("b")), ("nothing", nil), ("empty", []),
                ],
                timestampMilliseconds: 1_700_000_000_123),
            ProducerRecord(topic: "records", partition: 0, key: bytes("user"), value: nil),
            ProducerRecord(topic: "records", partition: 0, key: nil, value: []),
            ProducerRecord(topic: "records", partition: 0, key: [], value: [0, 255, 0]),
        ]
        try cluster.write(written)

        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["records"])
        let read = try read(written.count, from: consumer)
        for (index, (written, read)) in zip(written, read).enumerated() {
            #expect(read.topicPartition == TopicPartition(topic: "records", partition: 0))
            #expect(read.offset == Int64(index))
            #expect(read.key == written.key)
            #expect(read.value == written.value)
            #expect(read.headers.map(\.name) == written.headers.map(\.name))
            #expect(read.headers.map(\.value) == written.headers.map(\.value))
            #expect(read.timestampMilliseconds != nil)
        }
        #expect(read[0].timestampMilliseconds == 1_700_000_000_123)
        #expect(read[0].byteCount == 4 + 4 + 6 + 6 + 7 + 5)
        #expect(try consumer.close(timeoutMilliseconds: patience))
    }

    /// Java's default partitioner, written down independently: murmur2 of the key, its sign bit
    /// cleared, modulo the number of partitions.
    static func javaPartition(_ key: [UInt8], of count: Int) -> Int32 {
        let multiplier: UInt32 = 0x5bd1_e995
        var hash: UInt32 = 0x9747_b28c ^ UInt32(key.count)
        var rest = key[...]
        while rest.count >= 4 {
            var word: UInt32 = 0
            for (place, byte) in rest.prefix(4).enumerated() {
                word |= UInt32(byte) << (8 * UInt32(place))
            }
            word = word &* multiplier
            word ^= word >> 24
            word = word &* multiplier
            hash = (hash &* multiplier) ^ word
            rest = rest.dropFirst(4)
        }
        if !rest.isEmpty {
            for (place, byte) in rest.enumerated() {
                hash ^= UInt32(byte) << (8 * UInt32(place))
            }
            hash = hash &* multiplier
        }
        hash ^= hash >> 13
        hash = hash &* multiplier
        hash ^= hash >> 15
        return Int32(Int(hash & 0x7fff_ffff) % count)
    }

    @Test func theFormulaIsJavas() {
        // From Kafka's own UtilsTest.testMurmur2, signs cleared, modulo 1,000,003.
        let known: [(String, Int32)] = [
            ("21", -973_932_308), ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ]
        for (key, hash) in known {
            let expected = Int32(Int(hash & 0x7fff_ffff) % 1_000_003)
            #expect(Self.javaPartition(bytes(key), of: 1_000_003) == expected, "\(key)")
        }
    }

    @Test func keysLandWhereJavaPutsThem() throws {
        let partitions = 7
        try cluster.broker.createTopic("keyed", partitions: partitions)
        let keys =
            ["21", "foobar", "a-little-bit-long-string", "", "é"] + (0..<45).map { "user-\($0)" }
        try cluster.write(
            keys.map { ProducerRecord(topic: "keyed", key: bytes($0), value: bytes($0)) })

        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["keyed"])
        for message in try read(keys.count, from: consumer) {
            let key = try #require(message.key)
            #expect(
                message.topicPartition.partition == Self.javaPartition(key, of: partitions),
                "key \(text(key) ?? "")")
        }
    }

    @Test func aCommittedTransactionIsThereAndAnAbortedOneIsPurged() throws {
        try cluster.broker.createTopic("scores", partitions: 1)
        let consumer = try cluster.consumer()
        try consumer.subscribe(topics: ["scores"])
        try poll(consumer) { !consumer.assignment.isEmpty }

        let producer = try cluster.transactionalProducer(["linger.ms": "10000"])
        #expect(producer.isTransactional && !producer.isInTransaction)

        // Aborted while still queued: never reaches the broker.
        try producer.begin()
        #expect(producer.isInTransaction)
        for record in numbered(0..<3, topic: "scores") { try producer.produce(record) }
        try producer.abort(timeoutMilliseconds: patience)
        #expect(!producer.isInTransaction)
        #expect(producer.deliveries.purged == 3)
        #expect(producer.deliveries.delivered == 0)

        // Committed, with the offsets that it comes from.
        try producer.begin()
        for record in numbered(3..<5, topic: "scores") { try producer.produce(record) }
        try producer.sendOffsets(
            [TopicPartition(topic: "posts", partition: 0): 5], group: consumer.groupMetadata(),
            timeoutMilliseconds: patience)
        try producer.commit(timeoutMilliseconds: patience)
        #expect(!producer.isInTransaction)
        #expect(producer.deliveries.delivered == 2)
        #expect(producer.deliveries.purged == 0)

        #expect(try read(2, from: consumer).map { text($0.value) } == ["3", "4"])
    }

    @Test func withoutTransactionsAFlushTellsWhatWasNotDelivered() throws {
        try cluster.broker.createTopic("scores", partitions: 1)
        let producer = try cluster.producer()
        cluster.broker.pushErrors(.produce, [.messageTooLarge])
        for record in numbered(0..<1, topic: "scores") { try producer.produce(record) }
        let error = try kafkaError { try producer.flush(timeoutMilliseconds: patience) }
        #expect(error.action == .abort)
        #expect(error.isMessageTooLarge)
        #expect(error.text.contains("scores[0]"))

        for record in numbered(1..<2, topic: "scores") { try producer.produce(record) }
        try producer.flush(timeoutMilliseconds: patience)
    }

    /// Where a record of the last transaction went is known once that is committed.
    @Test func theLastOffsetsOfATransactionAreTold() throws {
        try cluster.broker.createTopic("users", partitions: 3)
        let users = (0..<3).map { TopicPartition(topic: "users", partition: $0) }
        let producer = try cluster.transactionalProducer()
        try producer.begin()
        for record in numbered(0..<4, topic: "users", partition: 2)
            + numbered(0..<1, topic: "users")
        {
            try producer.produce(record)
        }
        try producer.commit(timeoutMilliseconds: patience)
        #expect(producer.deliveries.lastOffsets == [users[0]: 0, users[2]: 3])

        // Of this transaction alone.
        try producer.begin()
        #expect(producer.deliveries.lastOffsets == [:])
        for record in numbered(4..<6, topic: "users", partition: 2) { try producer.produce(record) }
        try producer.commit(timeoutMilliseconds: patience)
        #expect(producer.deliveries.lastOffsets == [users[2]: 5])

        try producer.begin()
        try producer.abort(timeoutMilliseconds: patience)
        #expect(producer.deliveries.lastOffsets == [:])
    }

    @Test func theLastOffsetsOutsideTransactionsOutliveAFlush() throws {
        try cluster.broker.createTopic("users", partitions: 2)
        let producer = try cluster.producer()
        for partition in Int32(0)..<2 {
            for record in numbered(0..<3, topic: "users", partition: partition) {
                try producer.produce(record)
            }
            try producer.flush(timeoutMilliseconds: patience)
        }
        #expect(producer.deliveries.delivered == 0)
        #expect(
            producer.deliveries.lastOffsets == [
                TopicPartition(topic: "users", partition: 0): 2,
                TopicPartition(topic: "users", partition: 1): 2,
            ])
    }

    @Test func topicsAreAskedFor() throws {
        try cluster.broker.createTopic("posts", partitions: 5)
        try cluster.broker.createTopic("views", partitions: 3)
        let admin = try Admin(configuration: cluster.configuration())
        func counts(_ topics: String...) throws -> [String: Int] {
            try admin.partitionCounts(ofTopics: topics, timeoutMilliseconds: patience)
        }
        #expect(try counts("posts", "views") == ["posts": 5, "views": 3])
        #expect(try counts("views") == ["views": 3])
        cluster.broker.setError(ofTopic: "posts", .unknownTopicOrPartition)
        #expect(try counts("posts", "views") == ["views": 3])
    }

    @Test func askingForASettingEndsWhenTheTimeIsUp() throws {
        let admin = try Admin(configuration: cluster.configuration())
        let error = try kafkaError {
            _ = try admin.topicSetting(
                "cleanup.policy", ofTopics: ["users"], timeoutMilliseconds: 500)
        }
        #expect(error.text.contains("cleanup.policy"))
    }

    /// The embedded broker has no controller to create topics; asking it ends when the time is up.
    @Test func creatingTopicsEndsWhenTheTimeIsUp() throws {
        let admin = try Admin(configuration: cluster.configuration())
        let error = try kafkaError {
            try admin.createTopics(
                [.init(name: "new", partitions: 2, configuration: ["cleanup.policy": "compact"])],
                timeoutMilliseconds: 500)
        }
        #expect(error.text.contains("create topics"))
        #expect(error.action == .retry, "\(error)")
    }
}

import CRdkafka

/// Questions about a cluster, and topics made in it: for start-up checks and for tests.
package final class Admin {
    package struct NewTopic: Sendable {
        package var name: String
        package var partitions: Int
        /// -1 takes the broker's default.
        package var replicationFactor: Int
        /// As in `cleanup.policy=compact`.
        package var configuration: [String: String]

        package init(
            name: String, partitions: Int, replicationFactor: Int = -1,
            configuration: [String: String] = [:]
        ) {
            self.name = name
            self.partitions = partitions
            self.replicationFactor = replicationFactor
            self.configuration = configuration
        }
    }

    private let handle: ClientHandle

    /// Connects in the background.
    package init(configuration: ClientConfiguration) throws(KafkaError) {
        handle = try ClientHandle(
            RD_KAFKA_PRODUCER, properties: configuration.properties, log: configuration.log)
    }

    /// The number of partitions of a topic, nil if there is no such topic. (A broker, or the
    /// embedded one, that creates topics when they are asked for creates this one.)
    package func partitionCount(
        ofTopic name: String, timeoutMilliseconds: Int
    ) throws(KafkaError) -> Int? {
        guard let topic = rd_kafka_topic_new(handle.pointer, name, nil) else {
            throw KafkaError(rd_kafka_last_error(), doing: "ask for topic \(name)")
        }
        defer { rd_kafka_topic_destroy(topic) }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        try handle.check(
            rd_kafka_metadata(
                handle.pointer, 0, topic, &metadata, Int32(clamping: timeoutMilliseconds)),
            doing: "ask for topic \(name)")
        guard let metadata else { return nil }
        defer { rd_kafka_metadata_destroy(metadata) }
        guard metadata.pointee.topic_cnt > 0 else { return nil }
        let answer = metadata.pointee.topics[0]
        if answer.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART { return nil }
        try handle.check(answer.err, doing: "ask for topic \(name)")
        return Int(answer.partition_cnt)
    }

    /// Creates topics; one that exists already is left as it is.
    package func createTopics(
        _ topics: [NewTopic], timeoutMilliseconds: Int
    ) throws(KafkaError) {
        var reason = Reason()
        var wanted: [OpaquePointer?] = []
        defer {
            for new in wanted { rd_kafka_NewTopic_destroy(new) }
        }
        for topic in topics {
            guard
                let new = rd_kafka_NewTopic_new(
                    topic.name, Int32(clamping: topic.partitions),
                    Int32(clamping: topic.replicationFactor), &reason.characters,
                    Reason.maximumBytes)
            else {
                throw KafkaError(
                    code: RD_KAFKA_RESP_ERR__INVALID_ARG.rawValue,
                    text: "create topic \(topic.name): \(reason.text)", action: .fatal)
            }
            wanted.append(new)
            for (name, value) in topic.configuration {
                try handle.check(
                    rd_kafka_NewTopic_set_config(new, name, value),
                    doing: "set \(name) of topic \(topic.name)")
            }
        }
        let options = rd_kafka_AdminOptions_new(handle.pointer, RD_KAFKA_ADMIN_OP_CREATETOPICS)
        defer { rd_kafka_AdminOptions_destroy(options) }
        let timeout = Int32(clamping: timeoutMilliseconds)
        try handle.check(
            rd_kafka_AdminOptions_set_request_timeout(
                options, timeout, &reason.characters, Reason.maximumBytes),
            doing: "create topics")
        let answers = EventQueue(owning: rd_kafka_queue_new(handle.pointer), of: handle)
        rd_kafka_CreateTopics(handle.pointer, &wanted, wanted.count, options, answers.pointer)
        guard let event = answers.poll(timeoutMilliseconds: timeout),
            let result = rd_kafka_event_CreateTopics_result(event.pointer)
        else { throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, doing: "create topics") }
        try handle.check(rd_kafka_event_error(event.pointer), doing: "create topics")
        var count = 0
        let results = rd_kafka_CreateTopics_result_topics(result, &count)
        for index in 0..<count {
            guard let topic = results?[index] else { continue }
            let error = rd_kafka_topic_result_error(topic)
            if error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS { continue }
            try handle.check(
                error, doing: "create topic \(String(cString: rd_kafka_topic_result_name(topic)))")
        }
    }
}

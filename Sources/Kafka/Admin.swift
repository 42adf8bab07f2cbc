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

    /// The numbers of partitions; a topic that does not exist is missing. (A broker, or the
    /// embedded one, that creates topics when they are asked for creates these.)
    package func partitionCounts(
        ofTopics names: [String], timeoutMilliseconds: Int
    ) throws(KafkaError) -> [String: Int] {
        let doing = "ask for topics \(names.joined(separator: ", "))"
        // librdkafka asks for all topics that it knows of, and forgets them with their handles.
        var topics: [OpaquePointer] = []
        defer {
            for topic in topics { rd_kafka_topic_destroy(topic) }
        }
        for name in names {
            guard let topic = rd_kafka_topic_new(handle.pointer, name, nil) else {
                throw KafkaError(rd_kafka_last_error(), doing: doing)
            }
            topics.append(topic)
        }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        try handle.check(
            rd_kafka_metadata(
                handle.pointer, 0, nil, &metadata, Int32(clamping: timeoutMilliseconds)),
            doing: doing)
        guard let metadata else { return [:] }
        defer { rd_kafka_metadata_destroy(metadata) }
        var counts: [String: Int] = [:]
        for index in 0..<Int(metadata.pointee.topic_cnt) {
            let answer = metadata.pointee.topics[index]
            let name = String(cString: answer.topic)
            guard names.contains(name), answer.err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            else { continue }
            try handle.check(answer.err, doing: "ask for topic \(name)")
            counts[name] = Int(answer.partition_cnt)
        }
        return counts
    }

    /// What topics are configured with, as in `cleanup.policy`, defaults included. (Not with the
    /// embedded broker: there the time runs out.)
    package func topicSetting(
        _ setting: String, ofTopics names: [String], timeoutMilliseconds: Int
    ) throws(KafkaError) -> [String: String] {
        let doing = "ask for \(setting) of topics \(names.joined(separator: ", "))"
        var reason = Reason()
        var resources: [OpaquePointer?] = names.map {
            rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, $0)
        }
        defer {
            for resource in resources { rd_kafka_ConfigResource_destroy(resource) }
        }
        let options = rd_kafka_AdminOptions_new(handle.pointer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS)
        defer { rd_kafka_AdminOptions_destroy(options) }
        let timeout = Int32(clamping: timeoutMilliseconds)
        try handle.check(
            rd_kafka_AdminOptions_set_request_timeout(
                options, timeout, &reason.characters, Reason.maximumBytes),
            doing: doing)
        let answers = EventQueue(owning: rd_kafka_queue_new(handle.pointer), of: handle)
        rd_kafka_DescribeConfigs(
            handle.pointer, &resources, resources.count, options, answers.pointer)
        guard let event = answers.poll(timeoutMilliseconds: timeout),
            let result = rd_kafka_event_DescribeConfigs_result(event.pointer)
        else { throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, doing: doing) }
        try handle.check(rd_kafka_event_error(event.pointer), doing: doing)
        var settings: [String: String] = [:]
        var count = 0
        let described = rd_kafka_DescribeConfigs_result_resources(result, &count)
        for index in 0..<count {
            guard let topic = described?[index] else { continue }
            let name = String(cString: rd_kafka_ConfigResource_name(topic))
            try handle.check(
                rd_kafka_ConfigResource_error(topic), doing: "ask for \(setting) of topic \(name)")
            var entryCount = 0
            let entries = rd_kafka_ConfigResource_configs(topic, &entryCount)
            for index in 0..<entryCount {
                guard let entry = entries?[index],
                    String(cString: rd_kafka_ConfigEntry_name(entry)) == setting,
                    let value = rd_kafka_ConfigEntry_value(entry)
                else { continue }
                settings[name] = String(cString: value)
            }
        }
        return settings
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

    /// Deletes topics; one that does not exist is no error.
    package func deleteTopics(
        _ names: [String], timeoutMilliseconds: Int
    ) throws(KafkaError) {
        let doing = "delete topics \(names.joined(separator: ", "))"
        var unwanted: [OpaquePointer?] = names.map { rd_kafka_DeleteTopic_new($0) }
        defer {
            for topic in unwanted { rd_kafka_DeleteTopic_destroy(topic) }
        }
        let answers = EventQueue(owning: rd_kafka_queue_new(handle.pointer), of: handle)
        rd_kafka_DeleteTopics(
            handle.pointer, &unwanted, unwanted.count, nil, answers.pointer)
        guard let event = answers.poll(timeoutMilliseconds: Int32(clamping: timeoutMilliseconds)),
            let result = rd_kafka_event_DeleteTopics_result(event.pointer)
        else { throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, doing: doing) }
        try handle.check(rd_kafka_event_error(event.pointer), doing: doing)
        var count = 0
        let results = rd_kafka_DeleteTopics_result_topics(result, &count)
        for index in 0..<count {
            guard let topic = results?[index] else { continue }
            let error = rd_kafka_topic_result_error(topic)
            if error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART { continue }
            try handle.check(error, doing: doing)
        }
    }
}

import Daemon
import Foundation
import Kafka
import Pipeline
import Testing

/// A stage with all topics of learning, and a daemon that learns.
struct LearningStage: Sendable {
    static let partitions = 2
    private static let topics = Stage.topics

    var stage: Stage
    let peer: Peer

    /// At least once: the embedded broker keeps no offsets of transactions, which a second start
    /// needs.
    init(
        delivery: Delivery = .atLeastOnce, encodings: String = "",
        configure: (inout ServeConfiguration) -> Void = { _ in }
    ) async throws {
        stage = try Stage(partitions: Self.partitions)
        var topics = [Self.topics.views, Self.topics.lessons, Self.topics.users, Self.topics.joins]
        if !encodings.isEmpty { topics.append(encodings) }
        for topic in topics {
            try stage.broker.createTopic(topic, partitions: Self.partitions)
        }
        stage.configuration.delivery = delivery
        stage.configuration.topics.encodings = encodings
        stage.configuration.learning.isEnabled = true
        stage.configuration.learning.stateFolder = stage.folder.file("state")
        configure(&stage.configuration)
        peer = try await stage.peer()
    }

    var stateFolder: String { stage.configuration.learning.stateFolder }
    var status: LearningStatus { stage.status.status.learning }

    func view(
        _ views: ViewEvent..., partition: Int32? = nil
    ) async throws {
        try await peer.publish(
            records: views.map {
                ProducerRecord(
                    topic: Self.topics.views, partition: partition, key: Array($0.uid.utf8),
                    value: $0.json)
            })
    }

    func tell(_ lesson: Lesson, partition: Int32) async throws {
        try await peer.publish(records: [
            ProducerRecord(
                topic: Self.topics.lessons, partition: partition, key: Array(lesson.uid.utf8),
                value: lesson.json)
        ])
    }

    /// The user's posts, each scored, viewed and taken as a label before the next one comes.
    ///
    /// - Returns: the vectors that the posts were scored with.
    func teach(_ pids: [String], by uid: String = "anna") async throws -> [String] {
        var vectors: [String] = []
        for pid in pids {
            let answers = await peer.answers.count
            let judged = status.judged
            try await peer.publish(.inline(pid, by: uid))
            let scores = try await peer.answers(answers + 1).scores()
            vectors.append(try #require(scores[pid]?.scored).userVector)
            try await view(.of(pid, by: uid))
            try await eventually("the label of \(pid) is taken") { status.judged > judged }
        }
        return vectors
    }

    // MARK: - What stands in the topics

    func lessons() throws -> [(partition: Int32, lesson: Lesson)] {
        try records(Self.topics.lessons).map {
            #expect($0.key == Array(try Lesson(parsing: $0.value ?? []).uid.utf8))
            return ($0.topicPartition.partition, try Lesson(parsing: $0.value ?? []))
        }
    }

    func labels() throws -> [JoinedLabel] {
        try lessons().compactMap { if case .label(let label) = $0.lesson { label } else { nil } }
    }

    /// The user's records, in order; each in the partition that the user's posts are in.
    func userRecords(_ uid: String) throws -> [LearnerState] {
        try changes(Self.topics.users).compactMap { change in
            if case .user(let state) = change, state.uid == uid { state } else { nil }
        }
    }

    func changes(_ topic: String) throws -> [StateChange] {
        try records(topic).map { try StateChange(key: $0.key ?? [], value: $0.value) }
    }

    func partitions(_ topic: String) throws -> Set<Int32> {
        Set(try records(topic).map(\.topicPartition.partition))
    }

    private func records(_ topic: String) throws -> [ConsumedMessage] {
        let reader = LogReader(
            configuration: ClientConfiguration(
                bootstrapServers: stage.broker.bootstrapServers, properties: Stage.quick))
        let starts = (0..<Int32(Self.partitions)).map {
            (TopicPartition(topic: topic, partition: $0), Int64?.none)
        }
        var records: [ConsumedMessage] = []
        _ = try reader.read(
            [TopicPartition: Int64?](uniqueKeysWithValues: starts),
            stallTimeoutMilliseconds: Int(patience) * 1_000
        ) { event in
            if case .record(let record) = event { records.append(record) }
        }
        return records
    }

    // MARK: - The state folder

    func stateFiles(_ prefix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: stateFolder).sorted()
            .filter { $0.hasPrefix(prefix) }.map { "\(stateFolder)/\($0)" }
    }

    func stateFiles(containing text: String) throws -> [String] {
        try stateFiles("").filter {
            try Data(contentsOf: URL(fileURLWithPath: $0)).range(of: Data(text.utf8)) != nil
        }
    }
}

extension ViewEvent {
    /// Long after the post was made, so that no clock matters.
    static let observedAt = 4_000_000_000.0

    static func of(
        _ pid: String, by uid: String = "anna", views: Int64 = 1_000_000,
        at seconds: Double = observedAt
    ) -> ViewEvent {
        ViewEvent(pid: pid, uid: uid, views: views, observedAt: seconds)
    }
}

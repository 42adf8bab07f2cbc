/// Topics whose records belong together by the number of their partition: what one partition of
/// one topic leads to is in the same numbers of the others.
///
/// Kafka promises nothing of the kind. It holds as long as all have the same number of partitions,
/// are written with the same partitioner, and every member of the group subscribes to all of them
/// with the `range` assignor.
package struct CoPartitioning: Sendable {
    package let topics: [String]

    package init(_ topics: [String]) { self.topics = topics }

    /// Topics that should have the same number of partitions and do not.
    package struct UnequalCounts: Error, Equatable, CustomStringConvertible {
        package let counts: [String: Int]

        package var description: String {
            let list = counts.sorted { $0.key < $1.key }.map { "\($0.key) has \($0.value)" }
            return """
                topics that belong together have different numbers of partitions: \
                \(list.joined(separator: ", ")). Make new topics with one number for all (adding \
                partitions to a topic sends its keys elsewhere), copy what must be kept, and name \
                them in the configuration
                """
        }
    }

    /// - Parameter counts: partitions by topic; other topics, and missing ones, do not matter.
    package func check(partitionCounts counts: [String: Int]) throws(UnequalCounts) {
        let ours = counts.filter { topics.contains($0.key) }
        if Set(ours.values).count > 1 { throw UnequalCounts(counts: ours) }
    }

    /// The topics of which the same numbers should have been assigned and were not: another member
    /// subscribes to other topics, or partitions were added to one. Nil if all is well.
    package func unequalNumbers(in assignment: some Sequence<TopicPartition>) -> [String: [Int32]]?
    {
        var numbers = [String: [Int32]](uniqueKeysWithValues: Set(topics).map { ($0, []) })
        for partition in assignment { numbers[partition.topic]?.append(partition.partition) }
        numbers = numbers.mapValues { $0.sorted() }
        return Set(numbers.values).count > 1 ? numbers : nil
    }

    /// Whether a `partition.assignment.strategy` gives each member equal numbers of all topics.
    /// With a list the group may settle on any of its entries.
    package static func isKept(byAssignmentStrategy strategy: String) -> Bool {
        let names = strategy.split(separator: ",", omittingEmptySubsequences: false).map { name in
            name.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
        }
        return names.allSatisfy { Array($0) == Array("range") }
    }
}

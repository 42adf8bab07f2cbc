import Model

extension LearnerState {
    /// Far beyond what views can give: 10^12 views in a day are 41, one view in 2 million days -20.
    package static let labelRange: ClosedRange<Float> = -20...45

    /// The label, or the end of `labelRange` that it lies beyond; nil where it is not a finite
    /// number.
    package static func bounded(_ label: Float) -> Float? {
        label.isFinite ? min(max(label, labelRange.lowerBound), labelRange.upperBound) : nil
    }

    /// Takes a label that teaches.
    ///
    /// One of a post that is in the window takes the place of the post's earlier label. A correction
    /// of a post that has left the window comes too late and changes nothing, and so does a label
    /// that is not a finite number.
    ///
    /// - Returns: the post that had to leave the window, whose encoding is no longer needed.
    @discardableResult
    package mutating func take(_ joined: JoinedLabel) -> String? {
        guard let label = Self.bounded(joined.label) else { return nil }
        let pid = CodePoints(joined.post.pid)
        if let index = posts.firstIndex(where: { CodePoints($0.pid) == pid }) {
            labelSum += Double(label) - Double(posts[index].label)
            posts[index].label = label
            posts[index].observedAt = joined.observedAt
            labelsSinceUpdate += 1
            return nil
        }
        guard !joined.isCorrection else { return nil }
        posts.append(
            LabelledPost(
                pid: joined.post.pid, label: label, postedAt: joined.post.postedAt,
                observedAt: joined.observedAt, number: labelCount))
        labelCount += 1
        labelSum += Double(label)
        labelsSinceUpdate += 1
        return posts.count > Self.maximumPosts ? posts.removeFirst().pid : nil
    }

    /// An update was tried, with whatever outcome.
    ///
    /// - Parameter at: when the label that led to it was observed.
    package mutating func updateTried(at: Double) {
        labelsSinceUpdate = 0
        updateTriedAt = at
    }

    /// A new vector stands for the user from here on.
    package mutating func adopt(_ values: [Float], at: Double) {
        append(values, at: at, rolledBackTo: nil)
    }

    /// An earlier vector stands for the user again, under a new version number.
    ///
    /// - Returns: false where the record does not carry that version (any more).
    package mutating func rollBack(to version: Int, at: Double) -> Bool {
        guard let earlier = vectors.first(where: { $0.version == version }) else { return false }
        append(earlier.values, at: at, rolledBackTo: version)
        return true
    }

    private mutating func append(_ values: [Float], at: Double, rolledBackTo: Int?) {
        vectors.append(
            Vector(
                version: (current?.version ?? 0) + 1, values: values, learnedAt: at,
                labels: labelCount, rolledBackTo: rolledBackTo))
        vectors.removeFirst(max(0, vectors.count - Self.maximumVectors))
    }
}

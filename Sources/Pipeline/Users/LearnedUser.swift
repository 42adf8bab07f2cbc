/// What scoring needs to know of what was learnt about a user.
package struct LearnedUser: Equatable, Sendable {
    /// 0 where no vector was learnt yet.
    package var version: Int
    /// d values; nil where the bundle's (or the unknown user's) vector stands.
    package var vector: [Float]?
    package var labelCount: Int
    /// nil where there is no label.
    package var labelMean: Float?

    package init(version: Int, vector: [Float]?, labelCount: Int, labelMean: Float?) {
        self.version = version
        self.vector = vector
        self.labelCount = labelCount
        self.labelMean = labelMean
    }

    package init(_ state: LearnerState) {
        self.init(
            version: state.current?.version ?? 0, vector: state.current?.values,
            labelCount: state.labelCount, labelMean: state.labelMean)
    }
}

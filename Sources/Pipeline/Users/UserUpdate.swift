/// Scores of some posts as a function of one user's vector alone; everything else stands still.
package protocol UserScores {
    /// Posts.
    var count: Int { get }
    /// `count` scores for a vector of d values.
    func scores(_ user: [Float]) -> [Float]
    /// Scores, and the gradient of a loss with respect to the vector (d values).
    ///
    /// - Parameter back: from the `count` scores to the loss's derivative by each.
    func gradient(
        _ user: [Float], back: ([Float]) -> [Float]
    ) -> (scores: [Float], gradient: [Float])
}

/// What became of an update.
package struct UpdateOutcome: Equatable, Sendable {
    package enum Reason: String, CaseIterable, Sendable {
        case accepted
        /// Every step that served the training posts made the held-out posts worse.
        case heldOutWorse = "held_out_worse"
        /// No step made the objective smaller, or numbers were not finite.
        case noStep = "no_step"
        /// No labelled post of the user could be scored.
        case noEncodings = "no_encodings"
    }

    /// The sum of the posts' Huber losses; the prior's pull is not in it.
    package struct Loss: Equatable, Sendable {
        package var posts: Int
        /// Under the current vector.
        package var before: Double
        /// Under the last vector tried.
        package var after: Double

        package init(posts: Int, before: Double, after: Double) {
            self.posts = posts
            self.before = before
            self.after = after
        }
    }

    package var reason: Reason
    /// d finite values; nil unless accepted.
    package var vector: [Float]?
    /// Of the last step tried: its Euclidean length.
    package var stepNorm: Float
    package var training: Loss
    package var heldOut: Loss

    package init(
        reason: Reason, vector: [Float]?, stepNorm: Float, training: Loss, heldOut: Loss
    ) {
        self.reason = reason
        self.vector = vector
        self.stepNorm = stepNorm
        self.training = training
        self.heldOut = heldOut
    }

    static let noEncodings = UpdateOutcome(
        reason: .noEncodings, vector: nil, stepNorm: 0,
        training: Loss(posts: 0, before: 0, after: 0), heldOut: Loss(posts: 0, before: 0, after: 0))
}

/// How a user's vector u learns from labelled posts while everything else stands still:
///
///     minimise  sum over training posts of Huber(score - label) + pull |u - prior|^2
///
/// by a few steps of Adam, in bounds, accepted only if posts that were held out of the step do not
/// get worse. The sum grows with every post and the pull does not: so it weakens with evidence.
///
/// Everything here follows from its arguments to the last bit: no clock, no chance, one order of
/// operations.
package struct UpdateRule: Hashable, Sendable {
    // When.

    /// An update is due after one new label for each so many of the user's history, rounded up: new
    /// users learn at every label, others less often. Above 0.
    package var labelsPerNewLabel = 8
    /// But after this many at the latest. Above 0.
    package var maximumLabelsBetweenUpdates = 8
    /// Or once the newest observation is so much younger than the last update's, in seconds of
    /// record time. Above 0.
    package var maximumSecondsBetweenUpdates = 86_400.0

    // The objective.

    /// Where the loss goes over from residual^2 / 2 to a straight line, in units of the score: no
    /// label pulls harder than a residual of this size. Above 0.
    package var huberDelta: Float = 2
    /// The pull toward the prior of an unknown user, in loss per squared distance: about half the
    /// variance of labels around the scores over a coordinate's variance between users. At least 0.
    package var priorPull: Float = 0.5
    /// A trained vector stands for as many labels as it was trained on, but for so many at most:
    /// users change, and old labels say less. At least 0.
    package var maximumEvidence = 8.0
    /// And for so many where the bundle does not say how many it was trained on. At least 0.
    package var trainedUserEvidence = 8.0

    // Adam (Kingma, Ba: "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1).

    /// At least 1.
    package var steps = 8
    /// The longest that one step moves one coordinate, about. Above 0.
    package var learningRate: Float = 0.05
    /// Decay of the gradient's mean and of its square's. 0..<1.
    package var beta1: Float = 0.9
    package var beta2: Float = 0.999
    /// In units of the gradient: far smaller gradients move u in proportion to their size, and not
    /// by the learning rate, so that a label that was predicted well changes little. Above 0.
    package var epsilon: Float = 1

    // Bounds, as Euclidean lengths. Above 0.

    package var maximumStep: Float = 1
    /// The same where no post was held out, and nothing shows that the step helps.
    package var maximumUnprovenStep: Float = 0.5
    package var maximumDistanceFromPrior: Float = 4

    // Acceptance.

    /// With fewer posts all of them teach. Above 1.
    package var minimumPostsToHoldOut = 4
    /// Of so many posts, one is held out (but at least one). Above 1.
    package var postsPerHeldOut = 8
    /// So often a step that is refused is tried again at half its length. At least 0.
    package var halvings = 2

    package init() {}

    /// Whether the user's vector should be updated now. The caller then calls `updateTried`.
    package func isDue(_ state: LearnerState) -> Bool {
        guard state.labelsSinceUpdate > 0 else { return false }
        let enough = (state.labelCount + labelsPerNewLabel - 1) / labelsPerNewLabel
        if state.labelsSinceUpdate >= min(enough, maximumLabelsBetweenUpdates) {
            return true
        }
        guard let tried = state.updateTriedAt, let newest = state.posts.map(\.observedAt).max()
        else { return false }
        return newest - tried >= maximumSecondsBetweenUpdates
    }

    /// How many of a user's posts are held out: the newest ones.
    ///
    /// So every label first judges the vector and then teaches, a few labels later, and the current
    /// vector has never been trained on a held-out post, which makes the comparison fair. Posts
    /// held out for good never teach, and when there is one, an unlucky one refuses every step;
    /// posts held out in rotation have taught the current vector, which therefore looks better on
    /// them than it is.
    package func heldOutCount(ofPosts count: Int) -> Int {
        count < minimumPostsToHoldOut ? 0 : max(1, count / postsPerHeldOut)
    }

    /// One update.
    ///
    /// - Parameters:
    ///   - current: the vector to start from, d finite values.
    ///   - prior: d finite values.
    ///   - evidence: how many labels the prior already stands for; 0 for an unknown user.
    ///   - posts: in the order of their numbers. One whose label is not finite counts as missing.
    ///   - scores: of the same posts.
    package func update(
        from current: [Float], prior: [Float], evidence: Double,
        posts: [LearnerState.LabelledPost], scores: some UserScores
    ) -> UpdateOutcome {
        precondition(posts.count == scores.count && current.count == prior.count)
        let labels = posts.map { LearnerState.bounded($0.label) }
        let usable = labels.indices.filter { labels[$0] != nil }
        guard !usable.isEmpty else { return .noEncodings }
        let heldOut = usable.suffix(heldOutCount(ofPosts: usable.count))
        let training = usable.dropLast(heldOut.count)
        let pull = priorPull * Float(1 + evidence)

        func residual(_ post: Int, _ scores: [Float]) -> Float {
            scores[post] - (labels[post] ?? scores[post])
        }
        func loss(_ posts: some Sequence<Int>, _ scores: [Float]) -> Double {
            posts.reduce(0) { $0 + huber(residual($1, scores)) }
        }
        func objective(_ user: [Float], _ scores: [Float]) -> Double {
            loss(training, scores) + Double(pull) * squaredDistance(user, prior)
        }

        // Where Adam goes.
        var user = current
        var adam = Adam(self, dimension: user.count)
        var scoresBefore: [Float] = []
        for step in 0..<steps {
            let result = scores.gradient(user) { scores in
                var derivatives = [Float](repeating: 0, count: scores.count)
                for post in training {
                    derivatives[post] = max(-huberDelta, min(huberDelta, residual(post, scores)))
                }
                return derivatives
            }
            if step == 0 { scoresBefore = result.scores }
            var gradient = result.gradient
            for index in user.indices {
                gradient[index] += 2 * pull * (user[index] - prior[index])
            }
            adam.step(&user, gradient)
        }

        // Not too far from the prior, and not too far at once. Where the current vector is within
        // the distance, so is everything between the two.
        shorten(&user, from: prior, to: maximumDistanceFromPrior)
        shorten(
            &user, from: current, to: heldOut.isEmpty ? maximumUnprovenStep : maximumStep)

        // All the way, or half of it, or a quarter.
        let objectiveBefore = objective(current, scoresBefore)
        let trainingBefore = loss(training, scoresBefore)
        let heldOutBefore = loss(heldOut, scoresBefore)
        var outcome = UpdateOutcome(
            reason: .noStep, vector: nil, stepNorm: 0,
            training: .init(posts: training.count, before: trainingBefore, after: trainingBefore),
            heldOut: .init(posts: heldOut.count, before: heldOutBefore, after: heldOutBefore))
        for attempt in 0...halvings {
            if attempt > 0 {
                for index in user.indices {
                    user[index] = current[index] + (user[index] - current[index]) / 2
                }
            }
            guard user.allSatisfy(\.isFinite) else { break }
            let scoresAfter = scores.scores(user)
            outcome.stepNorm = Float(squaredDistance(user, current).squareRoot())
            outcome.training.after = loss(training, scoresAfter)
            outcome.heldOut.after = loss(heldOut, scoresAfter)
            guard objective(user, scoresAfter) < objectiveBefore else { continue }
            if outcome.heldOut.after <= heldOutBefore {
                outcome.reason = .accepted
                outcome.vector = user
                break
            }
            outcome.reason = .heldOutWorse
        }
        return outcome
    }

    /// Huber: "Robust estimation of a location parameter", 1964.
    private func huber(_ residual: Float) -> Double {
        let (size, delta) = (abs(Double(residual)), Double(huberDelta))
        return size <= delta ? size * size / 2 : delta * (size - delta / 2)
    }
}

private struct Adam {
    private let rule: UpdateRule
    private var mean: [Float]
    private var square: [Float]
    /// beta^t.
    private var power1: Float = 1
    private var power2: Float = 1

    init(_ rule: UpdateRule, dimension: Int) {
        self.rule = rule
        mean = [Float](repeating: 0, count: dimension)
        square = mean
    }

    mutating func step(_ user: inout [Float], _ gradient: [Float]) {
        power1 *= rule.beta1
        power2 *= rule.beta2
        for index in user.indices {
            let g = gradient[index]
            mean[index] = rule.beta1 * mean[index] + (1 - rule.beta1) * g
            square[index] = rule.beta2 * square[index] + (1 - rule.beta2) * g * g
            let root = (square[index] / (1 - power2)).squareRoot()
            user[index] -= rule.learningRate * (mean[index] / (1 - power1)) / (root + rule.epsilon)
        }
    }
}

private func squaredDistance(_ left: [Float], _ right: [Float]) -> Double {
    var sum = 0.0
    for index in left.indices {
        let difference = Double(left[index]) - Double(right[index])
        sum += difference * difference
    }
    return sum
}

/// Moves `vector` toward `origin` until it is at most `length` away.
private func shorten(_ vector: inout [Float], from origin: [Float], to length: Float) {
    let distance = Float(squaredDistance(vector, origin).squareRoot())
    guard distance > length else { return }
    let scale = length / distance
    for index in vector.indices {
        vector[index] = origin[index] + (vector[index] - origin[index]) * scale
    }
}

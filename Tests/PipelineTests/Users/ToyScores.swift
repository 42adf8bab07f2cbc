import Glibc
import Model
import Pipeline

/// A model small enough to see through: score = x . u + tanh(z . u) for each post. Without `z`
/// linear in u.
struct ToyScores: UserScores {
    var x: [[Float]]
    var z: [[Float]]?
    var count: Int { x.count }

    init(x: [[Float]], z: [[Float]]? = nil) {
        self.x = x
        self.z = z
    }

    func scores(_ user: [Float]) -> [Float] {
        x.indices.map { post in
            let bent = z.map { tanhf(dot($0[post], user)) } ?? 0
            return dot(x[post], user) + bent
        }
    }

    func gradient(
        _ user: [Float], back: ([Float]) -> [Float]
    ) -> (scores: [Float], gradient: [Float]) {
        let scores = scores(user)
        var gradient = [Float](repeating: 0, count: user.count)
        for (post, slope) in back(scores).enumerated() {
            for index in user.indices {
                gradient[index] += slope * x[post][index]
                if let z {
                    let bent = tanhf(dot(z[post], user))
                    gradient[index] += slope * (1 - bent * bent) * z[post][index]
                }
            }
        }
        return (scores, gradient)
    }
}

func dot(_ left: [Float], _ right: [Float]) -> Float {
    var sum: Float = 0
    for index in left.indices { sum += left[index] * right[index] }
    return sum
}

func distance(_ left: [Float], _ right: [Float]) -> Float {
    let difference = zip(left, right).map { $0 - $1 }
    return dot(difference, difference).squareRoot()
}

/// Labels as a user's window holds them.
func window(_ labels: [Float]) -> [LearnerState.LabelledPost] {
    labels.enumerated().map { number, label in
        LearnerState.LabelledPost(
            pid: "p\(number)", label: label, postedAt: Double(number),
            observedAt: Double(number) + 10, number: number)
    }
}

/// About normal: the sum of 12 uniform numbers, less 6.
struct NormalNumbers {
    private var generator: SplitMix64

    init(seed: UInt64) { generator = SplitMix64(seed: seed) }

    mutating func next() -> Float {
        (0..<12).reduce(-6) { sum, _ in sum + Float.random(in: 0..<1, using: &generator) }
    }

    /// A first feature of 1, which shifts all scores alike, and `count` - 1 that tell posts apart.
    mutating func features(_ count: Int) -> [Float] {
        [1] + (1..<count).map { _ in next() / 2 }
    }
}

import Foundation
import Gallery
import Testing

@Suite struct GalleryOracleTests {
    /// Bayes' rule done the long way: many users drawn from the population, each weighed by how
    /// probable it makes the scores seen.
    @Test(arguments: [[], [6.0], [3.5, 4.0], [8.0, 6.5, 7.5]])
    func itSaysWhatWeighingTheWholePopulationSays(scores: [Double]) {
        let gallery = Gallery(seed: 12, users: 60_000, posts: 1_000)
        let posts = (0..<6).map { gallery.post($0) }
        var oracle = GalleryOracle(law: gallery.law)
        for (post, score) in zip(posts, scores) { oracle.learn(post, score: score) }

        let noise = pow(gallery.law.noiseDeviation, 2)
        let weights = gallery.users.map { user in
            let squares = zip(posts, scores).reduce(0) {
                $0 + pow($1.1 - expectedScore(of: $1.0, by: user, law: gallery.law), 2)
            }
            return exp(-squares / (2 * noise))
        }
        let sum = weights.reduce(0, +)
        for post in posts {
            let each = gallery.users.map { expectedScore(of: post, by: $0, law: gallery.law) }
            let mean = zip(weights, each).reduce(0) { $0 + $1.0 * $1.1 } / sum
            let variance =
                zip(weights, each).reduce(0) { $0 + $1.0 * pow($1.1 - mean, 2) } / sum + noise
            let found = oracle.expectation(of: post)
            #expect(abs(found.score - mean) < 0.05)
            #expect(abs(found.variance - variance) < 0.04 * variance + 0.01)
        }
    }

    @Test func itsErrorFallsToTheNoiseAndIsTheOneItExpects() throws {
        let gallery = Gallery(
            seed: 5, users: 20, posts: 14_000, newUsers: .init(count: 200, day: 0))
        let new = Set(gallery.users.suffix(200).map(\.uid))
        var oracles: [String: (labels: Int, oracle: GalleryOracle)] = [:]
        var sums = [(posts: Int, squares: Double, variances: Double)](
            repeating: (0, 0, 0), count: 22)
        for index in 0..<gallery.postCount {
            let post = gallery.post(index)
            guard new.contains(post.uid) else { continue }
            var (labels, oracle) =
                oracles[post.uid] ?? (labels: 0, oracle: GalleryOracle(law: gallery.law))
            guard labels < sums.count else { continue }
            let expectation = oracle.expectation(of: post)
            sums[labels].posts += 1
            sums[labels].squares += pow(post.score - expectation.score, 2)
            sums[labels].variances += expectation.variance
            oracle.learn(post, score: post.score)
            oracles[post.uid] = (labels + 1, oracle)
        }
        func figures(_ labels: ClosedRange<Int>) -> (found: Double, expected: Double) {
            let posts = sums[labels].reduce(0) { $0 + $1.posts }
            return (
                sums[labels].reduce(0) { $0 + $1.squares } / Double(posts),
                sums[labels].reduce(0) { $0 + $1.variances } / Double(posts)
            )
        }
        let (none, few, many) = (figures(0...0), figures(3...8), figures(12...21))
        // Two standard errors of a mean of so many squares.
        #expect(abs(none.found / none.expected - 1) < 0.25)
        #expect(abs(few.found / few.expected - 1) < 0.1)
        #expect(abs(many.found / many.expected - 1) < 0.1)
        let noise = pow(gallery.law.noiseDeviation, 2)
        #expect(none.expected > 1.8 && few.expected < 0.8 && few.expected > many.expected)
        #expect(many.expected > noise && many.expected < 1.5 * noise)
    }

    @Test func aGalleryWithNewUsersTellsTheBestPossible() throws {
        let folder = try Folder()
        let gallery = Gallery(
            seed: 4, users: 20, posts: 400, newUsers: .init(count: 4, day: 1))
        let figures = try #require(try write(gallery, to: folder).new_users_oracle)
        #expect(figures.map(\.labels) == [0, 1, 2, 5, 10, 20])
        #expect(figures.allSatisfy { $0.posts == 4 })
        #expect(figures[0].expected_mse > figures[5].expected_mse)

        // The first one, done again.
        let fresh = GalleryOracle(law: gallery.law)
        let first = gallery.users.suffix(4).compactMap { user in
            (0..<400).map { gallery.post($0) }.first { $0.uid == user.uid }
        }
        let squares = first.map { pow($0.observedScore - fresh.expectation(of: $0).score, 2) }
        #expect(abs(figures[0].mse - squares.reduce(0, +) / 4) < 1e-9)
    }
}

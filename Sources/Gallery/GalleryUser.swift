import Model

/// A user of the gallery with what is planted in them.
package struct GalleryUser: Sendable, Codable, Equatable {
    package let uid: String
    package let group: Int
    /// How far their posts lie above the usual.
    package let audience: Double
    /// Their own taste for each colour, on top of the group's.
    package let colors: [String: Double]
    /// The topics that their audience responds to: the group's, but for some that are their own.
    package let warm: [GalleryTopic]
    /// When they come, as a part of the gallery's posts: 0 is from the start.
    package let joins: Double
    /// How often they post, beside others.
    package let activity: Int

    /// A block of so many users, neighbours in activity, has all groups and audiences of all
    /// sizes: the shares of variance then do not hang on one user who posts a lot.
    private static let block = 8
    /// The means of a sample of eight normal variates in order.
    private static let sizes = [-1.4236, -0.8522, -0.4728, -0.1525, 0.1525, 0.4728, 0.8522, 1.4236]
    private static let audienceDeviation = 1.35

    static func all(count: Int, law: GalleryLaw, seed: UInt64) -> [GalleryUser] {
        var users: [GalleryUser] = []
        users.reserveCapacity(count)
        var sizes: [Double] = []
        var groups: [Int] = []
        for rank in 0..<count {
            if rank % block == 0 {
                var random = SceneRandom(seed: seed, stream: .groups, index: rank / block)
                sizes = random.shuffled(Self.sizes)
                groups = random.shuffled((0..<block).map { $0 % GalleryLaw.groupCount })
            }
            var random = SceneRandom(seed: seed, stream: .users, index: rank)
            let group = groups[rank % block]
            let size = sizes[rank % block] + 0.3 * random.gaussian()
            users.append(
                GalleryUser(
                    uid: name(rank), group: group,
                    audience: ExactMath.rounded(audienceDeviation * size),
                    colors: Dictionary(
                        uniqueKeysWithValues: GalleryColor.allCases.map {
                            ($0.rawValue, ExactMath.rounded(0.15 * random.gaussian()))
                        }),
                    warm: warm(law.groups[group].warm, using: &random),
                    joins: joins(rank: rank, using: &random),
                    // Zipf and Mandelbrot's law, in whole numbers.
                    activity: 1_000_000_000 / (rank + 4)))
        }
        return users
    }

    /// One user in three has one warm topic of their own in place of one of the group's.
    private static func warm(
        _ groups: [GalleryTopic], using random: inout SceneRandom
    ) -> [GalleryTopic] {
        var warm = groups
        if random.chance(percent: 33) {
            let cold = GalleryTopic.allCases.filter { !groups.contains($0) }
            warm[random.number(in: 0...(warm.count - 1))] = random.pick(cold)
        }
        return warm
    }

    /// Most are there from the start. Some come on the way, one in ten only towards the end, and
    /// those who post most are there from the start.
    private static func joins(rank: Int, using random: inout SceneRandom) -> Double {
        let draw = random.number(in: 0...99)
        let at = random.unit()
        guard rank >= block else { return 0 }
        return switch draw {
        case 0..<10: ExactMath.rounded(0.78 + 0.2 * at)
        case 10..<30: ExactMath.rounded(0.78 * at)
        default: 0
        }
    }

    private static func name(_ rank: Int) -> String {
        "user-" + padded(rank, digits: 5)
    }
}

func padded(_ number: Int, digits: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
}

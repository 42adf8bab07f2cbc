import Model

/// A user of the gallery with what is planted in them.
package struct GalleryUser: Sendable, Codable, Equatable {
    package let uid: String
    package private(set) var group: Int
    /// How far their posts lie above the usual.
    package private(set) var audience: Double
    /// Their own taste for each colour, on top of the group's.
    package private(set) var colors: [String: Double]
    /// The topics that their audience responds to: the group's, but for some that are their own.
    package private(set) var warm: [GalleryTopic]
    /// When they come, as a part of the gallery's posts: 0 is from the start.
    package let joins: Double
    /// How often they post, beside others.
    package let activity: Int
    /// What is true of them once tastes have changed; nil where they stay as they are.
    package private(set) var later: Later?

    /// The tastes and the audience of another user, taken over as a whole.
    package struct Later: Sendable, Codable, Equatable {
        package let takes_after: String
        package let group: Int
        package let audience: Double
        package let colors: [String: Double]
        package let warm: [GalleryTopic]
    }

    /// A block of so many users, neighbours in activity, has all groups and audiences of all
    /// sizes: the shares of variance then do not hang on one user who posts a lot.
    private static let block = 8
    /// The means of a sample of eight normal variates in order.
    static let sizes = [-1.4236, -0.8522, -0.4728, -0.1525, 0.1525, 0.4728, 0.8522, 1.4236]
    /// Of one user's size around one of these.
    static let sizeDeviation = 0.3
    static let audienceDeviation = 1.35
    /// Of their own taste for a colour.
    static let colorDeviation = 0.15
    /// Who have one warm topic of their own in place of one of the group's.
    static let ownTopicPercent = 33

    // MARK: The population

    static func all(count: Int, law: GalleryLaw, seed: UInt64) -> [GalleryUser] {
        drawn(count: count, law: law, seed: seed, streams: (.groups, .users)) { rank, random in
            GalleryUserPlace(
                uid: "user-" + padded(rank, digits: 5), joins: joins(rank: rank, using: &random),
                // Zipf and Mandelbrot's law, in whole numbers.
                activity: 1_000_000_000 / (rank + 4))
        }
    }

    /// Users like all others, who come at one time and post equally often.
    ///
    /// - Parameter activity: of all of them together.
    static func newcomers(
        count: Int, joins: Double, activity: Int, law: GalleryLaw, seed: UInt64
    ) -> [GalleryUser] {
        drawn(count: count, law: law, seed: seed, streams: (.newGroups, .newUsers)) { rank, _ in
            GalleryUserPlace(
                uid: "new-" + padded(rank, digits: 5), joins: joins, activity: activity / count)
        }
    }

    private static func drawn(
        count: Int, law: GalleryLaw, seed: UInt64,
        streams: (groups: SceneRandom.Stream, users: SceneRandom.Stream),
        place: (_ rank: Int, inout SceneRandom) -> GalleryUserPlace
    ) -> [GalleryUser] {
        var users: [GalleryUser] = []
        users.reserveCapacity(count)
        var sizes: [Double] = []
        var groups: [Int] = []
        for rank in 0..<count {
            if rank % block == 0 {
                var random = SceneRandom(seed: seed, stream: streams.groups, index: rank / block)
                sizes = random.shuffled(Self.sizes)
                groups = random.shuffled((0..<block).map { $0 % GalleryLaw.groupCount })
            }
            var random = SceneRandom(seed: seed, stream: streams.users, index: rank)
            let group = groups[rank % block]
            let size = sizes[rank % block] + sizeDeviation * random.gaussian()
            let colors = Dictionary(
                uniqueKeysWithValues: GalleryColor.allCases.map {
                    ($0.rawValue, ExactMath.rounded(colorDeviation * random.gaussian()))
                })
            let warm = warm(law.groups[group].warm, using: &random)
            let place = place(rank, &random)
            users.append(
                GalleryUser(
                    uid: place.uid, group: group,
                    audience: ExactMath.rounded(audienceDeviation * size), colors: colors,
                    warm: warm, joins: place.joins, activity: place.activity))
        }
        return users
    }

    /// One user in three has one warm topic of their own in place of one of the group's.
    private static func warm(
        _ groups: [GalleryTopic], using random: inout SceneRandom
    ) -> [GalleryTopic] {
        var warm = groups
        if random.chance(percent: ownTopicPercent) {
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

    // MARK: Tastes that change

    /// Marks a share of the users, evenly over their activity: later each of them takes after
    /// another user, who is in another group and posts about as often.
    static func changeTastes(of users: inout [GalleryUser], share: Double, seed: UInt64) {
        let before = users
        for start in stride(from: 0, to: users.count, by: block) {
            let end = min(start + block, users.count)
            // Rounded over all blocks so far, so that the share is kept on the whole.
            let wanted =
                Int((Double(end) * share).rounded()) - Int((Double(start) * share).rounded())
            var random = SceneRandom(seed: seed, stream: .tasteChange, index: start / block)
            for rank in random.shuffled(Array(start..<end)).prefix(wanted) {
                // A last block may be short: then with the one before.
                let neighbours = before[max(0, min(start, users.count - block))..<end]
                let others = random.shuffled(
                    neighbours.filter { $0.group != before[rank].group })
                // Who was there from the start has been learnt best.
                guard let model = others.min(by: { $0.joins < $1.joins }) else { continue }
                users[rank].later = Later(
                    takes_after: model.uid, group: model.group, audience: model.audience,
                    colors: model.colors, warm: model.warm)
            }
        }
    }

    /// The same user once tastes have changed.
    var afterChange: GalleryUser {
        guard let later else { return self }
        var user = self
        user.group = later.group
        user.audience = later.audience
        user.colors = later.colors
        user.warm = later.warm
        user.later = nil
        return user
    }
}

/// What of a user is not drawn from the population.
private struct GalleryUserPlace {
    let uid: String
    let joins: Double
    let activity: Int
}

func padded(_ number: Int, digits: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
}

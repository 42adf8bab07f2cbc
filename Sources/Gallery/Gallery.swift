import Model

/// A made-up gallery of posts whose law of popularity is known. GALLERY.md says what is planted.
///
/// Everything follows from the seed, the two counts and what happens on the way, and each post from
/// its index alone: posts may be made in any order, by several threads at once, and without end.
package struct Gallery: Sendable {
    package let seed: UInt64
    package let postCount: Int
    package let tasteChange: TasteChange?
    package let newUsers: NewUsers?
    package let law: GalleryLaw
    /// Those who are there without `newUsers`, then the new ones.
    package let users: [GalleryUser]
    /// Of the users without the new ones, from the first one on: who of them posts next is drawn by
    /// activity.
    private let activityUpTo: [Int]

    package static let posts = 100...100_000
    package static let userCounts = 4...100_000
    package static let newUserCounts = 1...1_000

    /// From one day on some of the users have other tastes and another audience.
    package struct TasteChange: Sendable, Codable, Equatable {
        /// Counted from the first post's, which is 0.
        package var day: Int
        /// Of the users, above 0 and at most 1.
        package var share: Double

        package init(day: Int, share: Double) {
            self.day = day
            self.share = share
        }
    }

    /// Users who come on one day and from then on write half of the posts, each as many as the
    /// others.
    package struct NewUsers: Sendable, Codable, Equatable {
        package var count: Int
        /// Counted from the first post's, which is 0.
        package var day: Int

        package init(count: Int, day: Int) {
            self.count = count
            self.day = day
        }
    }

    /// One user for 60 posts, and at least 20.
    package static func usualUsers(posts: Int) -> Int {
        max(20, posts / 60)
    }

    /// Without the new ones.
    package var regularUserCount: Int { activityUpTo.count }

    /// The days that so many posts take.
    package static func days(posts: Int) -> ClosedRange<Int> {
        0...((posts - 1) / postsPerDay)
    }

    /// - Parameter posts: how many posts the gallery has. It decides when late users come; posts
    ///   with a greater index may be asked for as well.
    package init(
        seed: UInt64, users: Int, posts: Int, tasteChange: TasteChange? = nil,
        newUsers: NewUsers? = nil
    ) {
        precondition(Self.userCounts.contains(users), "\(users) users")
        precondition(posts > 0, "\(posts) posts")
        self.seed = seed
        postCount = posts
        self.tasteChange = tasteChange
        self.newUsers = newUsers
        law = GalleryLaw(seed: seed)
        var all = GalleryUser.all(count: users, law: law, seed: seed)
        if let tasteChange {
            GalleryUser.changeTastes(of: &all, share: tasteChange.share, seed: seed)
        }
        var sum = 0
        activityUpTo = all.map {
            sum += $0.activity
            return sum
        }
        if let newUsers {
            let joins = Double(newUsers.day * Self.postsPerDay) / Double(posts)
            all += GalleryUser.newcomers(
                count: newUsers.count, joins: ExactMath.rounded(joins), activity: sum, law: law,
                seed: seed)
        }
        self.users = all
    }

    package init(seed: UInt64, posts: Int) {
        self.init(seed: seed, users: Self.usualUsers(posts: posts), posts: posts)
    }

    /// - Parameter index: from 0; times go up with it.
    package func post(_ index: Int) -> GalleryPost {
        var random = SceneRandom(seed: seed, stream: .picture, index: index)
        let hasPicture = !random.chance(percent: 3)
        let place = random.pick(ScenePlace.allCases)
        let light = random.pick(SceneLight.allCases)
        let picture = GalleryPicture(place: place, light: light, using: &random)
        // Places and colours are dealt out at random, so the first object is as good as any.
        let subject = hasPicture ? picture.objects.first?.kind : nil
        var words = SceneRandom(seed: seed, stream: .text, index: index)
        let text = GalleryText(subject: subject, place: place, light: light, using: &words)
        return GalleryPost(
            index: index, author: author(of: index), text: text,
            picture: hasPicture ? picture : nil, law: law, postedAt: postedAt(index), seed: seed)
    }

    // MARK: Who posts

    /// The user of the post, as they are by then.
    private func author(of index: Int) -> GalleryUser {
        let day = index / Self.postsPerDay
        if let newUsers, day >= newUsers.day {
            // A draw of its own: whose posts the others are stays as it is.
            var random = SceneRandom(seed: seed, stream: .newAuthor, index: index)
            if random.chance(percent: 50) {
                return users[regularUserCount + random.number(in: 0...(newUsers.count - 1))]
            }
        }
        let user = users[rank(ofAuthorOf: index)]
        return tasteChange.map { day >= $0.day } ?? false ? user.afterChange : user
    }

    private func rank(ofAuthorOf index: Int) -> Int {
        var random = SceneRandom(seed: seed, stream: .author, index: index)
        let progress = Double(index) / Double(postCount)
        let total = activityUpTo[activityUpTo.count - 1]
        // The first users are there from the start and post most, so this ends soon.
        for _ in 0..<1000 {
            let rank = firstIndex(above: random.number(in: 0...(total - 1)))
            if users[rank].joins <= progress { return rank }
        }
        return 0
    }

    /// The first user whose running sum is above `draw`.
    private func firstIndex(above draw: Int) -> Int {
        var (low, high) = (0, activityUpTo.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if activityUpTo[middle] > draw {
                high = middle
            } else {
                low = middle + 1
            }
        }
        return low
    }

    // MARK: When

    /// The first of January 2015.
    private static let start = 1_420_070_400
    private static let secondsPerPost = 900
    private static let postsPerDay = 86_400 / secondsPerPost

    private func postedAt(_ index: Int) -> Int {
        var random = SceneRandom(seed: seed, stream: .time, index: index)
        return Self.start + index * Self.secondsPerPost
            + random.number(in: 0...(Self.secondsPerPost - 1))
    }
}

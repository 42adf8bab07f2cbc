import Model

/// A made-up gallery of posts whose law of popularity is known. GALLERY.md says what is planted.
///
/// Everything follows from the seed and the two counts, and each post from its index alone: posts
/// may be made in any order, by several threads at once, and without end.
package struct Gallery: Sendable {
    package let seed: UInt64
    package let postCount: Int
    package let law: GalleryLaw
    package let users: [GalleryUser]
    /// Of the users, from the first one on: who of them posts next is drawn by activity.
    private let activityUpTo: [Int]

    package static let posts = 100...100_000
    package static let userCounts = 4...100_000

    /// One user for 60 posts, and at least 20.
    package static func usualUsers(posts: Int) -> Int {
        max(20, posts / 60)
    }

    /// - Parameter posts: how many posts the gallery has. It decides when late users come; posts
    ///   with a greater index may be asked for as well.
    package init(seed: UInt64, users: Int, posts: Int) {
        precondition(Self.userCounts.contains(users), "\(users) users")
        precondition(posts > 0, "\(posts) posts")
        self.seed = seed
        postCount = posts
        law = GalleryLaw(seed: seed)
        self.users = GalleryUser.all(count: users, law: law, seed: seed)
        var sum = 0
        activityUpTo = self.users.map {
            sum += $0.activity
            return sum
        }
    }

    package init(seed: UInt64, posts: Int) {
        self.init(seed: seed, users: Self.usualUsers(posts: posts), posts: posts)
    }

    /// - Parameter index: from 0; times go up with it.
    package func post(_ index: Int) -> GalleryPost {
        let author = author(of: index)
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
            index: index, author: author, text: text, picture: hasPicture ? picture : nil,
            law: law, postedAt: postedAt(index), seed: seed)
    }

    private func author(of index: Int) -> GalleryUser {
        var random = SceneRandom(seed: seed, stream: .author, index: index)
        let progress = Double(index) / Double(postCount)
        let total = activityUpTo[activityUpTo.count - 1]
        // The first users are there from the start and post most, so this ends soon.
        for _ in 0..<1000 {
            let draw = random.number(in: 0...(total - 1))
            let user = users[firstIndex(above: draw)]
            if user.joins <= progress { return user }
        }
        return users[0]
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

    /// The first of January 2015.
    private static let start = 1_420_070_400
    private static let secondsPerPost = 900

    private func postedAt(_ index: Int) -> Int {
        var random = SceneRandom(seed: seed, stream: .time, index: index)
        return Self.start + index * Self.secondsPerPost
            + random.number(in: 0...(Self.secondsPerPost - 1))
    }
}

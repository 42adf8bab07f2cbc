import Foundation
import Gallery
import Model
import Testing

/// What a stream to learn from has: tastes that change, users who come, views that come in.
@Suite struct GalleryStreamTests {
    private static let posts = 1_200
    private static let changeDay = 6

    private func gallery(
        tasteChange: Gallery.TasteChange? = nil, newUsers: Gallery.NewUsers? = nil
    ) -> Gallery {
        Gallery(
            seed: 8, users: 40, posts: Self.posts, tasteChange: tasteChange, newUsers: newUsers)
    }

    private func day(of post: GalleryPost, in gallery: Gallery) -> Int {
        (post.postedAt - 1_420_070_400) / 86_400
    }

    // MARK: Tastes that change

    @Test func whoTakesAfterWhom() throws {
        let users = gallery(tasteChange: .init(day: Self.changeDay, share: 0.25)).users
        let byID = Dictionary(uniqueKeysWithValues: users.map { ($0.uid, $0) })
        let changed = users.filter { $0.later != nil }

        // A quarter of those who post most, and of those who post least.
        #expect(changed.count == 10)
        for start in stride(from: 0, to: 40, by: 8) {
            #expect(users[start..<start + 8].count { $0.later != nil } == 2)
        }
        for user in changed {
            let later = try #require(user.later)
            let model = try #require(byID[later.takes_after])
            #expect(model.group != user.group)
            #expect(later.group == model.group && later.audience == model.audience)
            #expect(later.colors == model.colors && later.warm == model.warm)
            #expect(abs(try rank(model.uid) - rank(user.uid)) < 8)
        }
        let shifts = changed.map { abs(($0.later?.audience ?? 0) - $0.audience) }
        #expect(shifts.reduce(0, +) / 10 > 0.5)
    }

    private func rank(_ uid: String) throws -> Int {
        try #require(Int(uid.dropFirst("user-".count)))
    }

    @Test(arguments: [(4, 1.0, 4), (9, 1.0, 9), (21, 0.5, 11), (21, 0.01, 0)])
    func anyNumberOfUsersMayChange(users: Int, share: Double, changed: Int) {
        let gallery = Gallery(
            seed: 3, users: users, posts: 100, tasteChange: .init(day: 0, share: share))
        #expect(gallery.users.count { $0.later != nil } == changed)
        for user in gallery.users {
            #expect(user.later.map { $0.group != user.group } ?? true)
        }
    }

    @Test func tastesChangeOnTheDayAndNothingElseDoes() throws {
        let (plain, changing) = (
            gallery(), gallery(tasteChange: .init(day: Self.changeDay, share: 0.5))
        )
        let users = Dictionary(uniqueKeysWithValues: changing.users.map { ($0.uid, $0) })
        var moved = 0
        for index in 0..<Self.posts {
            let (before, after) = (plain.post(index), changing.post(index))
            #expect(after.pid == before.pid && after.uid == before.uid)
            #expect(after.title == before.title && after.tags == before.tags)
            #expect(after.postedAt == before.postedAt)
            #expect(after.picture?.objects == before.picture?.objects)
            #expect(after.parts.noise == before.parts.noise)
            let later = try #require(users[after.uid]).later
            guard let later, day(of: after, in: changing) >= Self.changeDay else {
                #expect(after.expectedScore == before.expectedScore)
                #expect(after.observations == before.observations)
                continue
            }
            #expect(after.group == later.group && after.parts.user == later.audience)
            #expect(after.words.allSatisfy { $0.warm == later.warm.contains($0.topic) })
            // What the shared law says for such tastes.
            let group = changing.law.groups[later.group]
            for (object, appeal) in zip(after.picture?.objects ?? [], after.colorAppeals) {
                let color = object.color.rawValue
                let expected =
                    try #require(changing.law.colors[color])
                    + #require(group.colors[color]) + #require(later.colors[color])
                #expect(abs(appeal - expected) < 0.0002)
            }
            moved += after.expectedScore == before.expectedScore ? 0 : 1
        }
        #expect(moved > 150)
    }

    /// So a vector that was learnt for the one is the right one for the other.
    @Test func whoTakesAfterAUserHasTheScoresThatThisUserWouldHave() throws {
        let gallery = gallery(tasteChange: .init(day: 0, share: 1))
        let users = Dictionary(uniqueKeysWithValues: gallery.users.map { ($0.uid, $0) })
        for index in 0..<200 {
            let post = gallery.post(index)
            let later = try #require(users[post.uid]?.later)
            let model = try #require(users[later.takes_after])
            #expect(
                abs(post.expectedScore - expectedScore(of: post, by: model, law: gallery.law))
                    < 0.0005)
        }
    }

    // MARK: New users

    @Test func newUsersComeOnTheDayAndWriteHalfOfThePosts() throws {
        let (plain, coming) = (gallery(), gallery(newUsers: .init(count: 12, day: Self.changeDay)))
        let new = coming.users.suffix(12)
        #expect(Array(coming.users.prefix(40)) == plain.users)
        #expect(Set(new.map(\.group)).count == 4 && Set(new.map(\.audience)).count == 12)
        #expect(new.allSatisfy { $0.joins == 0.48 })

        var counts: [String: Int] = [:]
        var late = 0
        for index in 0..<Self.posts {
            let (before, after) = (plain.post(index), coming.post(index))
            #expect(after.title == before.title && after.tags == before.tags)
            #expect(after.postedAt == before.postedAt && after.parts.noise == before.parts.noise)
            if new.contains(where: { $0.uid == after.uid }) {
                #expect(day(of: after, in: coming) >= Self.changeDay)
                counts[after.uid, default: 0] += 1
            } else {
                #expect(after.uid == before.uid && after.expectedScore == before.expectedScore)
            }
            late += day(of: after, in: coming) >= Self.changeDay ? 1 : 0
        }
        #expect(counts.count == 12 && counts.values.allSatisfy { $0 >= 12 })
        #expect((45...55).contains(counts.values.reduce(0, +) * 100 / late))
    }

    @Test func theFolderTellsWhatHappens() throws {
        let folder = try Folder()
        let gallery = Gallery(
            seed: 2, users: 24, posts: 300, tasteChange: .init(day: 2, share: 0.5),
            newUsers: .init(count: 3, day: 1))
        let report = try write(gallery, to: folder)
        #expect(try folder.report() == report)
        #expect(report.users == 24 && report.taste_change == gallery.tasteChange)
        #expect(report.new_users == gallery.newUsers)
        #expect(try folder.records("users.jsonl", as: GalleryUser.self) == gallery.users)
        let truths = try folder.records("truth.jsonl", as: GalleryRecord.Truth.self)
        #expect(
            truths.map(\.expected_score) == (0..<300).map { gallery.post($0).expectedScore })

        // A stopped run is gone on with as it was begun, and not otherwise.
        let stopped = try Folder()
        try writeFile(
            Array(
                #"{"format":"uhan-gallery","format_version":1,"posts":300,"seed":2,"users":24}"#
                    .utf8), to: "\(stopped.path)/unfinished.json")
        #expect(throws: GalleryError.self) { try write(gallery, to: stopped) }
        let without = try write(Gallery(seed: 2, users: 24, posts: 300), to: stopped)
        #expect(without.sha256 != report.sha256)
        let json = String(decoding: try stopped.bytes("gallery.json"), as: UTF8.self)
        #expect(!json.contains("taste_change") && !json.contains("new_users"))
    }

    // MARK: Views

    /// A label of horizon h is an observation in [h, 1.25 h]: each post has exactly one for each of
    /// these horizons, and some come in late or out of order.
    @Test(arguments: [1, 3, 7, 30]) func eachPostHasALabelOfThisHorizon(days: Int) {
        let gallery = gallery()
        let horizon = days * 86_400
        for index in 0..<300 {
            let post = gallery.post(index)
            let ages = post.observations.map { $0.observedAt - post.postedAt }
            #expect(ages.count { $0 >= horizon && 4 * $0 <= 5 * horizon } == 1)
        }
    }
}

/// The law as GALLERY.md states it, for any user.
func expectedScore(of post: GalleryPost, by user: GalleryUser, law: GalleryLaw) -> Double {
    let group = law.groups[user.group]
    let objects = post.picture?.objects ?? []
    let appeals = objects.map {
        let color = $0.color.rawValue
        return law.colors[color, default: .nan] + group.colors[color, default: .nan]
            + user.colors[color, default: .nan]
    }
    let subject =
        post.isSubjectNamed ? 0 : objects.firstIndex { $0.kind == group.favorite }
    let image =
        subject.map { appeals[$0] } ?? appeals.reduce(0, +) / Double(max(1, appeals.count))
    let warm = post.words.filter { user.warm.contains($0.topic) }.map {
        law.topics[$0.topic.rawValue, default: .nan]
            + group.topics[$0.topic.rawValue, default: .nan]
            + law.words[$0.word, default: .nan]
    }
    let text = warm.reduce(0, +) / Double(max(1, warm.count))
    let place = post.picture.map { law.places[$0.place.word, default: .nan] } ?? 0
    return law.base + user.audience + image + text + place
}

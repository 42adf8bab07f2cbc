import Foundation
import Gallery
import Model
import Testing

/// The law as GALLERY.md states it, worked out again from the files alone.
@Suite struct GalleryLawTests {
    private let report: GalleryReport
    private let posts: [GalleryRecord.Post]
    private let truths: [GalleryRecord.Truth]
    private let users: [String: GalleryUser]

    /// Made once for all tests.
    private static let folder = Result {
        let folder = try Folder()
        _ = try write(Gallery(seed: 6, users: 40, posts: 600), to: folder)
        return folder
    }

    init() throws {
        let folder = try Self.folder.get()
        report = try folder.report()
        posts = try folder.records("posts.jsonl", as: GalleryRecord.Post.self)
        truths = try folder.records("truth.jsonl", as: GalleryRecord.Truth.self)
        users = Dictionary(
            uniqueKeysWithValues: try folder.records("users.jsonl", as: GalleryUser.self)
                .map { ($0.uid, $0) })
    }

    @Test func scoresFollowFromTheLaw() throws {
        let law = report.law
        for (post, truth) in zip(posts, truths) {
            let user = try #require(users[post.uid])
            let group = law.groups[user.group]

            let appeals = try truth.objects.map { object in
                let color = object.color.rawValue
                return try #require(law.colors[color]) + #require(group.colors[color])
                    + #require(user.colors[color])
            }
            let image =
                if let subject = truth.subject {
                    appeals[subject]
                } else {
                    appeals.isEmpty ? 0 : appeals.reduce(0, +) / Double(appeals.count)
                }

            // The topics are read off the text, as anybody may who knows the words.
            let text = "\(post.title) \(post.alltags)".lowercased().split(separator: " ")
            var warm: [Double] = []
            for topic in GalleryTopic.allCases where user.warm.contains(topic) {
                for word in topic.words where text.contains(Substring(word)) {
                    warm.append(
                        try #require(law.topics[topic.rawValue])
                            + #require(group.topics[topic.rawValue]) + #require(law.words[word]))
                }
            }
            let words = warm.isEmpty ? 0 : warm.reduce(0, +) / Double(warm.count)
            let place = try truth.place.map { try #require(law.places[$0]) } ?? 0

            let expected = law.base + user.audience + image + words + place
            #expect(abs(truth.expected_score - expected) < 0.0005)
            #expect(abs(truth.score - truth.expected_score - truth.parts.noise) < 0.0002)
            #expect(abs(truth.parts.image - image) < 0.0005)
            #expect(abs(truth.parts.text - words) < 0.0005)
        }
    }

    @Test func theSubjectIsTheOneThatTheTextNamesOrTheGroupFavours() throws {
        var (named, favored, undecided) = (0, 0, 0)
        for (post, truth) in zip(posts, truths) {
            let text = "\(post.title) \(post.alltags)".lowercased().split(separator: " ")
            let inText = GalleryKind.allCases.filter { kind in
                text.contains(Substring(kind.word))
            }
            let favorite = report.law.groups[truth.group].favorite
            if let kind = inText.first {
                #expect(inText.count == 1 && truth.subject_named)
                let subject = try #require(truth.subject)
                #expect(truth.objects[subject].kind == kind)
                named += 1
            } else if let index = truth.objects.firstIndex(where: { $0.kind == favorite }) {
                #expect(truth.subject == index)
                favored += 1
            } else {
                #expect(truth.subject == nil)
                undecided += 1
            }
        }
        #expect(named > 400 && favored > 10 && undecided > 10)
    }

    @Test func viewsAreTheScoreTimesDaysAndTheOraclesErrorIsTheStatedOne() throws {
        var (squares, absolutes) = (0.0, 0.0)
        for (post, truth) in zip(posts, truths) {
            let seconds = try #require(Double(post.observed_at)) - #require(Double(post.postdate))
            let days = seconds / 86_400
            let views = try #require(Double(post.views))
            #expect(abs(views - days * exp2(truth.score - 1)) <= 0.5 + 1e-6 * views)
            let residual = log2(max(1, views) / days) + 1 - truth.expected_score
            squares += residual * residual
            absolutes += abs(residual)
        }
        let count = Double(posts.count)
        #expect(abs(report.oracle.mse - squares / count) < 1e-9)
        #expect(abs(report.oracle.mae - absolutes / count) < 1e-9)
        #expect((0.2...0.45).contains(report.oracle.mse))
    }

    @Test func theUserMattersMostAndTextMoreThanImage() {
        let shares = report.shares
        #expect(shares.user > shares.text && shares.text > shares.image)
        #expect(shares.image > shares.place && shares.noise < 0.2)
        #expect(report.global_mean.mse > 5 * report.oracle.mse)
    }

    @Test func aFewUsersPostALotAndManyALittleAndSomeComeLate() {
        let gallery = Gallery(seed: 7, posts: 12_000)
        let authors = (0..<12_000).map { gallery.post($0).uid }
        var counts: [String: Int] = [:]
        for author in authors { counts[author, default: 0] += 1 }
        let ordered = counts.values.sorted(by: >)

        #expect(gallery.users.count == 200)
        #expect(ordered.prefix(20).reduce(0, +) > 12_000 * 35 / 100)
        #expect(ordered[ordered.count / 2] < 60)
        let early = Set(authors.prefix(12_000 * 70 / 100))
        let newcomers = Set(authors.suffix(12_000 * 20 / 100)).subtracting(early)
        #expect((5...60).contains(newcomers.count))
    }

    @Test func textsHaveFourToTwentyWordsOrNone() {
        let texts = posts.map { "\($0.title) \($0.alltags)".split(separator: " ") }
        #expect(texts.allSatisfy { $0.isEmpty || (4...20).contains($0.count) })
        #expect(texts.allSatisfy { Set($0.map { $0.lowercased() }).count == $0.count })
        #expect((1...40).contains(texts.count { $0.isEmpty }))
        #expect((1...50).contains(posts.count { $0.image == nil }))
        #expect(posts.map(\.postdate) == posts.map(\.postdate).sorted())
    }

    @Test func noWordMeansTwoThings() {
        let topics = GalleryTopic.allCases.flatMap(\.words)
        let kinds = GalleryKind.allCases.map(\.word)
        let scenes = ScenePlace.allCases.map(\.word) + SceneLight.allCases.map(\.word)
        let planted = topics + kinds + scenes
        let colors = Set(GalleryColor.allCases.map(\.rawValue))
        var others: Set<String> = []
        for index in 0..<600 {
            let post = Gallery(seed: 6, users: 40, posts: 600).post(index)
            others.formUnion(
                "\(post.title) \(post.tags)".lowercased().split(separator: " ").map(String.init))
        }
        others.subtract(planted)
        #expect(Set(planted).count == planted.count)
        #expect(others.count > 80)
        #expect(others.isDisjoint(with: colors))
    }
}

import Daemon
import Foundation
import Model
import Pipeline
import Testing

/// An image that was seen before is neither decoded nor run through the backbone.
@Suite struct KnownImageTests {
    private func scorer(
        _ bundle: ModelBundle, cacheBytes: Int = PostScorer.defaultCacheBytes
    ) throws -> PostScorer {
        try PostScorer(
            bundle: bundle, workers: Workers(count: 1), maximumCacheBytes: cacheBytes,
            nanoseconds: { 0 })
    }

    private let posts = [
        PostEvent(pid: "1", uid: "anna", title: "sunset over the lake", image: .inline([])),
        PostEvent(pid: "2", uid: "ben", title: "boat", image: .inline([])),
        PostEvent(pid: "3", uid: "nobody", image: .inline([])),
    ]

    @Test func itsScoresAreThoseOfAScorerThatSeesItForTheFirstTime() throws {
        let bundle = try TinyModel.shared.get()
        let jpeg = try Pictures.jpeg(1)
        let remembering = try scorer(bundle)
        let reader = remembering.imageReader()
        for (index, post) in posts.enumerated() {
            let result = remembering.score(post, image: try reader.image(of: jpeg))
            let first = try scorer(bundle)
            let expected = first.score(post, image: try first.imageReader().image(of: jpeg))
            #expect(result.imageWasKnown == (index > 0))
            #expect(!expected.imageWasKnown)
            #expect(result.features == expected.features)
            // Every bit: score, words' and regions' attention, shares.
            #expect(result.prediction == expected.prediction)
            #expect(result.flags == expected.flags)
        }
        let counts = remembering.cache.counts
        #expect(counts.misses == 1)
        #expect(counts.hits == posts.count - 1)
        #expect(counts.images == 1)
    }

    @Test func whatIsKnownIsNotDecoded() throws {
        let remembering = try scorer(try TinyModel.shared.get())
        let reader = remembering.imageReader()
        let jpeg = try Pictures.jpeg(2)
        let first = try reader.image(of: jpeg)
        guard case .pixels(_, let sha256) = first else {
            Issue.record("\(first)")
            return
        }
        #expect(sha256 == sha256Hex(jpeg))
        _ = remembering.score(posts[0], image: first)
        guard case .features = try reader.image(of: jpeg) else {
            Issue.record("decoded again")
            return
        }
        // Other bytes are another image, whatever they decode to.
        guard case .pixels = try reader.image(of: jpeg + [0]) else {
            Issue.record("taken for another")
            return
        }
    }

    /// Both are decoded before either is scored.
    @Test func twoPostsWithOneImageOnTheirWayTogetherRunTheBackboneOnce() throws {
        let remembering = try scorer(try TinyModel.shared.get())
        let reader = remembering.imageReader()
        let jpeg = try Pictures.jpeg(3)
        let images = try [reader.image(of: jpeg), reader.image(of: jpeg)]
        let results = zip(posts, images).map { remembering.score($0, image: $1) }
        #expect(results.map(\.imageWasKnown) == [false, true])
        #expect(results[0].features == results[1].features)
        #expect(remembering.cache.counts.misses == 1)
    }

    @Test func withoutACacheEveryImageIsSeenAnewWithTheSameScore() throws {
        let bundle = try TinyModel.shared.get()
        let forgetting = try scorer(bundle, cacheBytes: 0)
        let jpeg = try Pictures.jpeg(1)
        let results = try (0..<2).map { _ in
            forgetting.score(posts[0], image: try forgetting.imageReader().image(of: jpeg))
        }
        #expect(results.allSatisfy { !$0.imageWasKnown })
        #expect(results[0].prediction == results[1].prediction)
        #expect(forgetting.cache.counts.images == 0)
    }

    @Test func theCacheKeepsWithinItsBudgetAndForgetsWhatWasUsedLeast() throws {
        let bundle = try TinyModel.shared.get()
        let size =
            bundle.configuration.regions * bundle.configuration.channels * 4
            + RecentlyUsed<String, [Float]>.overheadBytes
        let remembering = try scorer(bundle, cacheBytes: 2 * size)
        let reader = remembering.imageReader()
        let known = try [1, 2, 1, 3, 1, 2].map { (seed: UInt64) in
            let image = try reader.image(of: Pictures.jpeg(seed))
            return remembering.score(posts[0], image: image).imageWasKnown
        }
        #expect(known == [false, false, true, false, true, false])
        let counts = remembering.cache.counts
        #expect(counts.bytes == 2 * size)
        #expect(counts.evictions == 2)
    }

    @Test func theDaemonScoresAnImagePostedAgainAsItDidTheFirstTime() async throws {
        let stage = try Stage(partitions: 1)
        try stage.folder.write(Pictures.jpeg(5), to: "a.jpg")
        let posts = try [
            Post.inline("first", by: "anna", picture: 5),
            Post("by file", by: "ben").with(url: stage.folder.url("a.jpg")),
            Post.inline("named", by: "carla", picture: 5)
                .with("image_sha256", sha256Hex(Pictures.jpeg(5))),
            Post.inline("another", by: "anna", picture: 6),
        ]
        let peer = try await stage.peer()
        // One after the other, so that each finds what the one before has left.
        let answers = try await stage.whileServing {
            for (index, post) in posts.enumerated() {
                try await peer.publish(post)
                try await peer.answers(index + 1)
            }
            return await peer.answers
        }
        let scores = try answers.scores()
        for post in posts {
            var post = post
            if post.pid == "by file" { post.picture = try Pictures.jpeg(5) }
            let expected = try stage.expectation(for: post).prediction
            #expect(scores[post.pid]?.scored?.score == expected.score, "\(post.pid)")
        }
        let images = stage.status.status.images
        #expect(images.hits == 2)
        #expect(images.misses == 2)
        #expect(images.images == 2)
    }
}

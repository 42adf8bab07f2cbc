import Model
import NIOPosix
import Pipeline

/// Two threads that score: one runs the backbone (its team of workers helps), the other all that
/// comes after it, so that the backbone goes on with the next image meanwhile. What needs no
/// backbone (a post without an image, an image seen before) does not wait for it.
final class ScoringThreads: Sendable {
    private let seeing = NIOThreadPool(numberOfThreads: 1)
    private let judging = NIOThreadPool(numberOfThreads: 1)
    /// Touched by `seeing`'s thread alone.
    private nonisolated(unsafe) let scorer: PostScorer
    private let head: PostHead
    private let cache: FeatureCache
    /// Where learning is on.
    private let learning: LearningState?

    init(scorer: sending PostScorer, learning: LearningState? = nil) {
        self.learning = learning
        head = scorer.head
        cache = scorer.cache
        self.scorer = scorer
        seeing.start()
        judging.start()
    }

    var cacheCounts: FeatureCache.Counts { cache.counts }

    /// Answers exactly once, on one of the threads. Posts with new images are answered in order.
    ///
    /// - Parameter task: whose users the post's user is one of.
    func score(
        _ post: PostEvent, image: PostImage?, task: Int32,
        answer: @escaping @Sendable (Result<Scoring, ScoringFailure>) -> Void
    ) {
        switch image {
        case nil: judge(post, .nothing, task, answer)
        case .features(let features): judge(post, .known(features), task, answer)
        case .pixels:
            seeing.submit { [self] state in
                guard state == .active else { return answer(.failure(Self.stopping)) }
                judge(post, scorer.see(image), task, answer)
            }
        }
    }

    private func judge(
        _ post: PostEvent, _ seen: PostScorer.Seen, _ task: Int32,
        _ answer: @escaping @Sendable (Result<Scoring, ScoringFailure>) -> Void
    ) {
        judging.submit { [self] state in
            guard state == .active else { return answer(.failure(Self.stopping)) }
            do throws(StoreError) {
                let known = try learning.map { learning throws(StoreError) in
                    PostHead.Learning(user: try learning.users.user(post.uid, task: task))
                }
                let scoring = head.score(post, seen: seen, learning: known)
                    .scoring(of: head.bundle)
                guard scoring.score.isFinite else {
                    return answer(
                        .failure(ScoringFailure("the score is not a finite number")))
                }
                if let encoding = scoring.learning?.encoding {
                    learning?.keep(encoding: encoding, uid: post.uid, pid: post.pid, in: task)
                }
                answer(.success(scoring))
            } catch {
                answer(.failure(ScoringFailure("the user's vector: \(error)")))
            }
        }
    }

    private static let stopping = ScoringFailure("the daemon is stopping")

    /// Runs one post through, so that the first real one finds memory touched and pages mapped.
    func warmUp() async {
        let side = head.bundle.configuration.image.side
        let pixels = SampleScene(seed: 1).render(width: side, height: side)
        await withCheckedContinuation { done in
            score(
                PostEvent(pid: "warm-up", uid: "warm-up", title: "warm up"),
                image: .pixels(pixels, sha256: nil), task: -1
            ) { _ in done.resume() }
        }
    }

    /// What is under way ends; what waits is answered as failed.
    func shutdown() async {
        try? await seeing.shutdownGracefully()
        try? await judging.shutdownGracefully()
    }
}

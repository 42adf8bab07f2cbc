import Model
import NIOPosix
import Pipeline

/// The one thread that scores; the backbone's worker threads help it.
final class ScoringThread: Sendable {
    private let thread = NIOThreadPool(numberOfThreads: 1)
    /// Touched by `thread` alone.
    private nonisolated(unsafe) let scorer: PostScorer

    init(scorer: sending PostScorer) {
        self.scorer = scorer
        thread.start()
    }

    /// Answers exactly once, on the scoring thread.
    func score(
        _ post: PostEvent, pixels: Pixels?,
        answer: @escaping @Sendable (Result<Scoring, ScoringFailure>) -> Void
    ) {
        thread.submit { [self] state in
            guard state == .active else {
                return answer(.failure(ScoringFailure("the daemon is stopping")))
            }
            let scoring = scorer.score(post, pixels: pixels).scoring(of: scorer.bundle)
            answer(
                scoring.score.isFinite
                    ? .success(scoring)
                    : .failure(ScoringFailure("the score is not a finite number")))
        }
    }

    /// Runs one post through, so that the first real one finds memory touched and pages mapped.
    func warmUp() async {
        let side = scorer.bundle.configuration.image.side
        await withCheckedContinuation { done in
            score(
                PostEvent(pid: "warm-up", uid: "warm-up", title: "warm up"),
                pixels: SampleScene(seed: 1).render(width: side, height: side)
            ) { _ in done.resume() }
        }
    }

    func shutdown() async {
        try? await thread.shutdownGracefully()
    }
}

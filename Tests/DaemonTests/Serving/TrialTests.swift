import Daemon
import Pipeline
import Testing

/// What the benchmarks of the running daemon stand on, small.
@Suite struct TrialTests {
    private func trial(posts count: Int) throws -> Trial {
        Trial(
            .init(
                bundle: try TinyModel.shared.get(), threads: 1,
                posts: try TrialPosts(count: count, images: nil, drawnSide: 48), bootstrap: nil,
                embeddedFetchWaitMilliseconds: 5))
    }

    @Test func everyPostIsAnsweredAndNoImageIsKnown() async throws {
        // More than are drawn: the rest are the same pictures with other bytes.
        let count = 70
        let answers = try await trial(posts: count).run { load in
            try load.saturate(posts: 10, maximumAhead: 4)
                + load.saturate(posts: count - 10, maximumAhead: 100)
        }
        #expect(Set(answers.map(\.event.pid)) == Set((0..<count).map { "\($0)" }))
        for answer in answers {
            // Decoded and seen, not remembered.
            #expect(try #require(answer.scored).timings.backbone > 0)
            #expect(answer.dueNanoseconds <= answer.publishedNanoseconds)
            #expect(answer.publishedNanoseconds < answer.readNanoseconds)
        }
    }

    @Test func postsComeAtTheirTimesAndThoseWhoseDeadlineIsPastExpire() async throws {
        let arrivals = (0..<20).map { 0.005 * Double($0) }
        let (inTime, late) = try await trial(posts: 40).run { load in
            let inTime = try load.arrive(at: arrivals, deadlineMilliseconds: 3_600_000)
            // Past before they come.
            let late = try load.arrive(at: arrivals, deadlineMilliseconds: -1_000)
            return (inTime, late)
        }
        #expect(inTime.count { $0.scored != nil } == 20)
        #expect(late.count { $0.scored != nil } == 0)
        let due = inTime.sorted { Int($0.event.pid) ?? 0 < Int($1.event.pid) ?? 0 }
            .map(\.dueNanoseconds)
        for (first, second) in zip(due, due.dropFirst()) {
            #expect(abs(Double(second - first) - 5e6) < 1e3)
        }
    }
}

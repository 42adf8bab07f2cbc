import Pipeline
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The score path in a world where everything goes wrong, seed by seed.
///
/// `UHAN_SIMULATION_SEED=n` runs that seed alone and prints what happened in it;
/// `UHAN_SIMULATION_SEEDS=n` runs so many.
@Suite struct SimulationTests {
    private static let seeds = environment("UHAN_SIMULATION_SEEDS") ?? 5_000

    @Test func everyRecordHasExactlyOneOutputWhateverHappens() async {
        if let seed = Self.environment("UHAN_SIMULATION_SEED") {
            let (violation, _) = Simulation.run(seed: seed, isTracing: true)
            #expect(violation == nil)
            return
        }
        var coverage = Coverage()
        let chunks = 8 as UInt64
        await withTaskGroup(of: (failures: [String], coverage: Coverage).self) { group in
            for chunk in 0..<chunks {
                group.addTask {
                    var failures: [String] = []
                    var coverage = Coverage()
                    for seed in stride(from: chunk, to: Self.seeds, by: Int(chunks)) {
                        let outcome = Simulation.run(seed: seed)
                        coverage.add(outcome.coverage)
                        if let violation = outcome.violation {
                            failures.append("\(violation)\n\(Self.replayLine(seed))")
                        }
                    }
                    return (failures, coverage)
                }
            }
            for await part in group {
                for failure in part.failures { Issue.record("\(failure)") }
                coverage.add(part.coverage)
            }
        }
        expectEveryFaultAtEveryStep(coverage)
    }

    /// A simulation that no longer crashes where it should proves nothing.
    private func expectEveryFaultAtEveryStep(_ coverage: Coverage) {
        for step in PublishStep.kinds {
            for fault in StepFault.allCases {
                let meeting = Coverage.Meeting(step: step, fault: fault)
                #expect(coverage.meetings[meeting, default: 0] > 0, "\(fault) never met \(step)")
            }
        }
        for happening in Coverage.expectedHappenings {
            #expect(coverage.happenings[happening, default: 0] > 0, "never: \(happening)")
        }
        // Logs are never reset here, and no failure may look as if they were.
        #expect(coverage.happenings["offset reset"] == nil)
    }

    @Test(arguments: [
        (PlantedBug.offsetsBeforeScores, Violation.Kind.lost),
        (.noAbortOnRevoke, .duplicate),
        (.retryThatReorders, .order),
        (.commitAfterLoss, .duplicate),
        (.memoryBelievedAfterLostReply, .duplicate),
        (.revocationIgnored, .duplicate),
        (.vectorVisibleBeforeCommit, .uncommitted),
        (.labelLostAfterOffset, .learning),
        (.updateFiredByTheClock, .learning),
        (.takenBeforeRestored, .learning),
        (.recallOvertakesStore, .learning),
        (.catchUpForgotten, .learning),
        (.earlyViewsLost, .learning),
        (.restoredBeforeOffsets, .learning),
    ])
    func findsPlantedBug(_ bug: PlantedBug, as kind: Violation.Kind) {
        for seed in 0..<2_000 as Range<UInt64> {
            if let violation = Simulation.run(seed: seed, bug: bug).violation {
                #expect(violation.kind == kind, "seed \(seed): \(violation)")
                return
            }
        }
        Issue.record("\(bug) was not found")
    }

    @Test func aSeedGivesTheSameStoryEachTime() {
        for seed in 0..<50 as Range<UInt64> {
            let first = Simulation.run(seed: seed, bug: .offsetsBeforeScores)
            let second = Simulation.run(seed: seed, bug: .offsetsBeforeScores)
            #expect(first.violation?.description == second.violation?.description)
            #expect(first.coverage.meetings == second.coverage.meetings)
        }
    }

    private static func replayLine(_ seed: UInt64) -> String {
        "UHAN_SIMULATION_SEED=\(seed) swift test -c release --filter SimulationTests"
            + ".everyRecordHasExactlyOneOutputWhateverHappens"
    }

    private static func environment(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }
}

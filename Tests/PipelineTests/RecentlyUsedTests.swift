import Model
import Pipeline
import Testing

@Suite struct RecentlyUsedTests {
    private typealias Kept = RecentlyUsed<String, Int>
    private static let one = 100 + Kept.overheadBytes

    @Test func whatHasGoneUnusedForLongestMakesRoom() {
        var kept = Kept(maximumBytes: 3 * Self.one)
        #expect(kept.keep(1, for: "a", byteCount: 100) == 0)
        #expect(kept.keep(2, for: "b", byteCount: 100) == 0)
        #expect(kept.keep(3, for: "c", byteCount: 100) == 0)
        #expect(kept.value(for: "a") == 1)
        #expect(kept.keep(4, for: "d", byteCount: 100) == 1)
        #expect(kept.value(for: "b") == nil)
        #expect(["a", "c", "d"].map { kept.value(for: $0) } == [1, 3, 4])
        #expect(kept.count == 3)
        #expect(kept.byteCount == 3 * Self.one)
    }

    @Test func aLargeOneMakesSeveralGoAndATooLargeOneNone() {
        var kept = Kept(maximumBytes: 4 * Self.one)
        for key in ["a", "b", "c", "d"] { kept.keep(0, for: key, byteCount: 100) }
        #expect(kept.keep(9, for: "large", byteCount: 100 + 2 * Self.one) == 3)
        #expect(kept.value(for: "d") == 0)
        #expect(kept.keep(9, for: "too large", byteCount: 4 * Self.one) == 0)
        #expect(kept.value(for: "too large") == nil)
        #expect(kept.count == 2)
    }

    @Test func aKeyKeptAgainHasTheNewValueAndItsSizeOnce() {
        var kept = Kept(maximumBytes: 10 * Self.one)
        kept.keep(1, for: "a", byteCount: 100)
        kept.keep(2, for: "a", byteCount: 300)
        #expect(kept.value(for: "a") == 2)
        #expect(kept.count == 1)
        #expect(kept.byteCount == 300 + Kept.overheadBytes)
        // One that has grown beyond the budget is not kept as it was.
        kept.keep(3, for: "a", byteCount: 10 * Self.one)
        #expect(kept.value(for: "a") == nil)
        #expect(kept.byteCount == 0)
    }

    @Test func aBudgetOfNothingKeepsNothing() {
        var kept = Kept(maximumBytes: 0)
        kept.keep(1, for: "a", byteCount: 0)
        #expect(kept.value(for: "a") == nil)
        #expect(kept.count == 0)
    }

    /// Against the plainest thing that keeps the same rule: a list in the order of use.
    @Test func itKeepsWhatAPlainListWouldKeep() {
        for seed in 0..<50 as Range<UInt64> {
            var generator = SplitMix64(seed: seed)
            let budget = Int(generator.next() % 5_000)
            var kept = Kept(maximumBytes: budget)
            var list: [(key: String, value: Int, bytes: Int)] = []
            for step in 0..<2_000 {
                let key = "\(generator.next() % 20)"
                let index = list.firstIndex { $0.key == key }
                if generator.next() % 2 == 0 {
                    let expected = index.map { list.remove(at: $0) }
                    if let expected { list.append(expected) }
                    #expect(kept.value(for: key) == expected?.value)
                } else {
                    let size = Int(generator.next() % 1_000)
                    if let index { list.remove(at: index) }
                    let bytes = size + Kept.overheadBytes
                    if bytes <= budget {
                        while list.reduce(bytes, { $0 + $1.bytes }) > budget { list.removeFirst() }
                        list.append((key, step, bytes))
                    }
                    kept.keep(step, for: key, byteCount: size)
                }
                #expect(kept.byteCount == list.reduce(0) { $0 + $1.bytes }, "seed \(seed)")
                #expect(kept.count == list.count, "seed \(seed)")
            }
        }
    }
}

import Pipeline
import Testing

@Suite struct WorkingTests {
    private var working = Working<String, Int>()

    @Test mutating func whatWasSetCountsAsLongAsSomebodyNeedsIt() {
        working.pin("a")
        #expect(working.value("a", recalled: 1) == 1)
        working.set("a", 2)
        #expect(working.value("a", recalled: 1) == 2)
        #expect(working.value("a", recalled: nil) == 2)
        // The next record has asked for a recall before the first one's change was stored.
        working.pin("a")
        working.unpin("a")
        #expect(working.value("a", recalled: 1) == 2)
        working.unpin("a")
        #expect(working.value("a", recalled: 3) == 3)
        #expect(working.isEmpty)
    }

    @Test mutating func goneIsNotTheSameAsUnchanged() {
        working.pin("a")
        working.pin("b")
        working.set("a", nil)
        #expect(working.value("a", recalled: 1) == nil)
        #expect(working.value("b", recalled: 1) == 1)
        working.set("a", 4)
        #expect(working.value("a", recalled: 1) == 4)
    }

    @Test mutating func aKeyMayBeGoneFromTheStart() {
        working.pin("a", isGone: true)
        #expect(working.value("a", recalled: 1) == nil)
        // Whoever has it already knows better.
        working.pin("b")
        working.set("b", 2)
        working.pin("b", isGone: true)
        #expect(working.value("b", recalled: 1) == 2)
    }

    @Test mutating func nothingIsKeptForKeysThatNobodyHas() {
        working.set("a", 1)
        working.unpin("a")
        #expect(working.value("a", recalled: nil) == nil)
        #expect(working.isEmpty)
        working.pin("b")
        #expect(Array(working.keys) == ["b"])
    }
}

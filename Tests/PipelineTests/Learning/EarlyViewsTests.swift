import Pipeline
import Testing

@Suite struct EarlyViewsTests {
    private func view(_ pid: String, of uid: String = "u", at time: Double = 0) -> ViewEvent {
        ViewEvent(pid: pid, uid: uid, views: 1, observedAt: time)
    }

    private func names(_ views: [EarlyView]) -> [String] {
        views.map { "\($0.view.uid)/\($0.view.pid)#\($0.number)" }
    }

    @Test func theViewsOfAPostWaitInTheirOrder() {
        var views = EarlyViews(maximumCount: 10, ofUser: 10)
        for pid in ["a", "b", "a"] { _ = views.wait(view(pid)) }
        _ = views.wait(view("a", of: "w"))
        #expect(names(views.take(uid: "u", pid: "a")) == ["u/a#0", "u/a#2"])
        #expect(views.take(uid: "u", pid: "a").isEmpty)
        #expect(views.count == 2)
        #expect(names(views.take(uid: "u")) == ["u/b#1"])
        #expect(names(views.take(uid: "w", pid: "a")) == ["w/a#3"])
        #expect(views.count == 0)
    }

    @Test func idsAreToldApartByCodePoints() {
        var views = EarlyViews(maximumCount: 10, ofUser: 10)
        _ = views.wait(view("\u{AC00}"))
        #expect(views.take(uid: "u", pid: "\u{1100}\u{1161}").isEmpty)
        _ = views.wait(view("p", of: "\u{AC00}"))
        #expect(views.take(uid: "\u{1100}\u{1161}").isEmpty)
    }

    @Test func whereThereIsNoRoomTheOldestGoes() {
        var views = EarlyViews(maximumCount: 2, ofUser: 2)
        #expect(views.wait(view("a")).dropped == nil)
        #expect(views.wait(view("b", of: "w")).dropped == nil)
        #expect(views.wait(view("c", of: "x")).dropped.map { names([$0]) } == ["u/a#0"])
        #expect(views.count == 2)
        _ = views.take(uid: "w", pid: "b")
        #expect(views.wait(view("d", of: "y")).dropped == nil)
        #expect(views.wait(view("e", of: "z")).dropped.map { names([$0]) } == ["x/c#2"])
    }

    @Test func aUserWithTooManyDropsTheirOwn() {
        var views = EarlyViews(maximumCount: 100, ofUser: 2)
        _ = views.wait(view("theirs", of: "w"))
        for number in 0..<1_000 {
            let dropped = views.wait(view("p\(number)")).dropped
            #expect(dropped?.view.pid == (number < 2 ? nil : "p\(number - 2)"))
        }
        #expect(names(views.take(uid: "u")) == ["u/p998#999", "u/p999#1000"])
        #expect(names(views.take(uid: "w")) == ["w/theirs#0"])
    }

    @Test func viewsExpireFromTheOldestOn() {
        var views = EarlyViews(maximumCount: 10, ofUser: 10)
        for (pid, time) in [("a", 5), ("b", 3), ("c", 20), ("d", 1)] as [(_, Double)] {
            _ = views.wait(view(pid, at: time))
        }
        #expect(views.expire(observedBefore: 5).isEmpty)
        #expect(names(views.expire(observedBefore: 6)) == ["u/a#0", "u/b#1"])
        // One that claims to be of the future holds up what came later, within the bounds.
        #expect(views.count == 2)
        #expect(views.take(uid: "u", pid: "a").isEmpty)
    }

    @Test func numbersGoOnWhereTheyEnded() {
        // They come in any order, and with gaps.
        let left = [900_000_000_000, 7, 30].map { EarlyView(view("p\($0)"), number: $0) }
        var views = EarlyViews(maximumCount: 3, ofUser: 3, left)
        #expect(views.count == 3)
        let (early, dropped) = views.wait(view("new"))
        #expect(early.number == 900_000_000_001)
        #expect(dropped?.number == 7)
        #expect(names(views.expire(observedBefore: 1)).count == 3)
        #expect(views.wait(view("again")).early.number == 900_000_000_002)
    }

    @Test func manyComeAndGo() {
        var views = EarlyViews(maximumCount: 10, ofUser: 10)
        _ = views.wait(view("stays"))
        for number in 0..<10_000 {
            _ = views.wait(view("p\(number)"))
            #expect(views.take(uid: "u", pid: "p\(number)").count == 1)
        }
        #expect(names(views.expire(observedBefore: 1)) == ["u/stays#0"])
    }
}

import Model

/// The views of one task that came before their post, in the order in which they came: bounded in
/// number, in how many are one user's and, by record time, in how long they wait.
package struct EarlyViews: Sendable {
    private struct Key: Hashable, Sendable {
        var uid: CodePoints
        var pid: CodePoints
    }

    private let maximumCount: Int
    private let maximumCountOfUser: Int
    private var byNumber: [Int: EarlyView] = [:]
    /// Ascending, as everywhere here.
    private var numbers: [Key: [Int]] = [:]
    private var numbersOfUser: [CodePoints: [Int]] = [:]
    /// All from `oldest` on, with some that are gone.
    private var order: [Int] = []
    private var oldest = 0
    private var next = 0

    /// - Parameter views: those waiting when the task was last left.
    package init(maximumCount: Int, ofUser maximumCountOfUser: Int, _ views: [EarlyView] = []) {
        self.maximumCount = maximumCount
        self.maximumCountOfUser = maximumCountOfUser
        for early in views.sorted(by: { $0.number < $1.number }) {
            insert(early)
            next = early.number + 1
        }
    }

    package var count: Int { byNumber.count }

    /// - Returns: the new one, and one that has to make room: the user's oldest, or else the oldest
    ///   of all.
    package mutating func wait(_ view: ViewEvent) -> (early: EarlyView, dropped: EarlyView?) {
        let early = EarlyView(view, number: next)
        next += 1
        insert(early)
        let ofUser = numbersOfUser[CodePoints(view.uid)] ?? []
        if ofUser.count > maximumCountOfUser, let first = ofUser.first {
            return (early, remove(first))
        }
        guard byNumber.count > maximumCount, let oldest = oldestView() else { return (early, nil) }
        return (early, remove(oldest.number))
    }

    /// Those of a post, in the order in which they came; they wait no longer.
    package mutating func take(uid: String, pid: String) -> [EarlyView] {
        let waiting = numbers[Key(uid: CodePoints(uid), pid: CodePoints(pid))] ?? []
        return waiting.compactMap { remove($0) }
    }

    /// All of a user's.
    package mutating func take(uid: String) -> [EarlyView] {
        (numbersOfUser[CodePoints(uid)] ?? []).compactMap { remove($0) }
    }

    /// Those observed before `time` (seconds since 1970), as far as they are the oldest.
    package mutating func expire(observedBefore time: Double) -> [EarlyView] {
        var expired: [EarlyView] = []
        while let early = oldestView(), early.view.observedAt < time {
            if let early = remove(early.number) { expired.append(early) }
        }
        return expired
    }

    private mutating func oldestView() -> EarlyView? {
        while oldest < order.count {
            if let early = byNumber[order[oldest]] { return early }
            oldest += 1
        }
        return nil
    }

    private mutating func insert(_ early: EarlyView) {
        byNumber[early.number] = early
        numbers[key(early), default: []].append(early.number)
        numbersOfUser[CodePoints(early.view.uid), default: []].append(early.number)
        order.append(early.number)
        if order.count > 2 * byNumber.count + 64 {
            order.removeAll { byNumber[$0] == nil }
            oldest = 0
        }
    }

    private mutating func remove(_ number: Int) -> EarlyView? {
        guard let early = byNumber.removeValue(forKey: number) else { return nil }
        let (key, uid) = (key(early), CodePoints(early.view.uid))
        numbers[key]?.removeAll { $0 == number }
        if numbers[key]?.isEmpty == true { numbers[key] = nil }
        numbersOfUser[uid]?.removeAll { $0 == number }
        if numbersOfUser[uid]?.isEmpty == true { numbersOfUser[uid] = nil }
        return early
    }

    private func key(_ early: EarlyView) -> Key {
        Key(uid: CodePoints(early.view.uid), pid: CodePoints(early.view.pid))
    }
}

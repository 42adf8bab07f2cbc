import Model

/// The views of one task that came before their post, in the order in which they came: bounded in
/// number and, by record time, in how long they wait.
struct EarlyViews: Sendable {
    private struct Key: Hashable, Sendable {
        var uid: CodePoints
        var pid: CodePoints
    }

    private let maximumCount: Int
    private var byNumber: [Int: EarlyView] = [:]
    private var numbers: [Key: [Int]] = [:]
    /// Numbers below are gone.
    private var oldest = 0
    private var next = 0

    /// - Parameter views: those waiting when the task was last left.
    init(maximumCount: Int, _ views: [EarlyView] = []) {
        self.maximumCount = maximumCount
        for early in views.sorted(by: { $0.number < $1.number }) {
            insert(early)
            next = early.number + 1
        }
        oldest = views.map(\.number).min() ?? 0
    }

    var count: Int { byNumber.count }

    /// - Returns: the new one, and the oldest, where it has to make room.
    mutating func wait(_ view: ViewEvent) -> (early: EarlyView, dropped: EarlyView?) {
        let early = EarlyView(view, number: next)
        next += 1
        insert(early)
        guard byNumber.count > maximumCount, let oldest = oldestView() else { return (early, nil) }
        return (early, remove(oldest))
    }

    /// Those of a post, in the order in which they came; they wait no longer.
    mutating func take(uid: String, pid: String) -> [EarlyView] {
        let waiting = numbers[Key(uid: CodePoints(uid), pid: CodePoints(pid))] ?? []
        return waiting.compactMap { byNumber[$0] }.map { remove($0) }
    }

    /// All of a user's.
    mutating func take(uid: String) -> [EarlyView] {
        let uid = CodePoints(uid)
        return byNumber.values.filter { CodePoints($0.view.uid) == uid }
            .sorted { $0.number < $1.number }.map { remove($0) }
    }

    /// Those observed before `time` (seconds since 1970), as far as they are the oldest.
    mutating func expire(observedBefore time: Double) -> [EarlyView] {
        var expired: [EarlyView] = []
        while let early = oldestView(), early.view.observedAt < time {
            expired.append(remove(early))
        }
        return expired
    }

    private mutating func oldestView() -> EarlyView? {
        while oldest < next {
            if let early = byNumber[oldest] { return early }
            oldest += 1
        }
        return nil
    }

    private mutating func insert(_ early: EarlyView) {
        byNumber[early.number] = early
        numbers[key(early), default: []].append(early.number)
    }

    private mutating func remove(_ early: EarlyView) -> EarlyView {
        byNumber[early.number] = nil
        numbers[key(early)]?.removeAll { $0 == early.number }
        if numbers[key(early)]?.isEmpty == true { numbers[key(early)] = nil }
        return early
    }

    private func key(_ early: EarlyView) -> Key {
        Key(uid: CodePoints(early.view.uid), pid: CodePoints(early.view.pid))
    }
}

import Model
import Pipeline

/// Which row of the checkpoint a change is about.
enum RowKey: Hashable, Sendable {
    case user(uid: CodePoints, model: CodePoints)
    case post(uid: CodePoints, pid: CodePoints)
    case earlyView(uid: CodePoints, pid: CodePoints, number: Int)

    /// nil for encodings, which have a file of their own.
    init?(_ change: StateChange) {
        switch change {
        case .user(let state):
            self = .user(uid: CodePoints(state.uid), model: CodePoints(state.model))
        case .forgottenUser(let uid, let model):
            self = .user(uid: CodePoints(uid), model: CodePoints(model))
        case .post(let post):
            self = .post(uid: CodePoints(post.uid), pid: CodePoints(post.pid))
        case .forgottenPost(let uid, let pid):
            self = .post(uid: CodePoints(uid), pid: CodePoints(pid))
        case .earlyView(let view, let number):
            self = .earlyView(
                uid: CodePoints(view.uid), pid: CodePoints(view.pid), number: number)
        case .forgottenEarlyView(let uid, let pid, let number):
            self = .earlyView(uid: CodePoints(uid), pid: CodePoints(pid), number: number)
        case .encoding, .forgottenEncoding: return nil
        }
    }
}

/// Changes on their way to the file: the last one of each row, in the order in which the rows came.
struct PendingChanges: Sendable {
    private(set) var changes: [StateChange] = []
    private var places: [RowKey: Int] = [:]
    private(set) var byteCount = 0
    var reached: Reached?

    var isEmpty: Bool { changes.isEmpty && reached == nil }

    func change(_ key: RowKey) -> StateChange? {
        places[key].map { changes[$0] }
    }

    mutating func add(_ change: StateChange) {
        guard let key = RowKey(change) else { return }
        byteCount += change.approximateBytes
        if let place = places[key] {
            byteCount -= changes[place].approximateBytes
            changes[place] = change
        } else {
            places[key] = changes.count
            changes.append(change)
        }
    }

    /// Adds what came later.
    mutating func add(_ later: PendingChanges) {
        for change in later.changes { add(change) }
        reached = later.reached ?? reached
    }
}

extension StateChange {
    /// What it takes in memory, about.
    fileprivate var approximateBytes: Int {
        switch self {
        case .user(let state):
            512 + 64 * state.posts.count
                + state.vectors.reduce(0) { $0 + 96 + 4 * $1.values.count }
        case .encoding(_, _, _, let bytes): 512 + bytes.count
        default: 512
        }
    }
}

/// A change of the learning state of one task (the partitions of one number). It becomes a record of
/// a compacted topic in the transaction that commits what it follows from, and, once that is
/// committed, a row of the checkpoint.
package enum StateChange: Equatable, Sendable {
    /// On the users topic.
    case user(LearnerState)
    case forgottenUser(uid: String, model: String)
    /// On the joins topic.
    case post(ScoredPost)
    case forgottenPost(uid: String, pid: String)
    /// A view that came before its post; `number` tells several of one post apart.
    case earlyView(ViewEvent, number: Int)
    case forgottenEarlyView(uid: String, pid: String, number: Int)
    /// The post's `KeptEncoding`, where encodings are published too.
    case encoding(uid: String, pid: String, model: String, bytes: [UInt8])
    case forgottenEncoding(uid: String, pid: String)
}

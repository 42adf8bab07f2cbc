/// What becomes of an observed view count at one horizon of one model. The set is closed: each is
/// counted under its name.
package enum LabelOutcome: String, CaseIterable, Sendable {
    /// It is the first in the horizon's window, and so the post's label.
    case taken
    /// It replaces the label: the same moment with other views, or nearer to the horizon.
    case correction
    /// It is the label already.
    case repeated
    /// The label that the post has is nearer to the horizon.
    case farther
    /// The post has a label, and any age counts: the first one stays.
    case alreadyLabelled = "already_labelled"
    /// The post was younger than the horizon.
    case tooEarly = "too_early"
    /// The post was older than 1.25 times the horizon.
    case tooLate = "too_late"
    /// Observed before the post was made: one of the two times is wrong.
    case beforePost = "before_post"
    /// No such post is known yet; it waits.
    case postUnknownWaiting = "post_unknown_waiting"
    /// No such post is known, and no place to wait is left.
    case earlyViewsFull = "early_views_full"
    /// It waited, and its post did not come in time.
    case earlyViewExpired = "early_view_expired"
    /// The post is another user's.
    case wrongUser = "wrong_user"
    /// The post was scored by a version of the model that is not served any more.
    case otherModel = "other_model"
    /// The post does not say when it was made.
    case noPostTime = "no_post_time"
}

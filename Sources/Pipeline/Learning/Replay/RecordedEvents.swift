import Model

/// An event of a replay, at the time at which it reached the topics.
package struct RecordedEvent: Sendable {
    package enum Content: Sendable {
        /// A line of a file of posts.
        case post([UInt8], uid: String)
        case view(ViewEvent)
    }

    /// Milliseconds since 1970.
    package var time: Milliseconds
    package var content: Content

    package init(time: Milliseconds, _ content: Content) {
        self.time = time
        self.content = content
    }
}

/// Recorded posts and views, put into the order of their times. All lines are held in memory.
package struct RecordedEvents: Sendable {
    /// What was read and what was left out, by cause.
    package struct Counts: Codable, Equatable, Sendable {
        package var posts = 0
        package var views = 0
        /// Lines that hold no such event.
        package var unreadableLines = 0
        package var postsLeftOut = 0
        package var postsWithoutTime = 0
        /// In a file of posts: views of which nothing says when they were counted.
        package var viewsWithoutTime = 0
        /// Views of posts that are not replayed.
        package var viewsOfNoPost = 0

        package init() {}

        enum CodingKeys: String, CodingKey {
            case posts, views
            case unreadableLines = "unreadable_lines"
            case postsLeftOut = "posts_left_out"
            case postsWithoutTime = "posts_without_time"
            case viewsWithoutTime = "views_without_time"
            case viewsOfNoPost = "views_of_no_post"
        }
    }

    private struct PostKey: Hashable, Sendable {
        let uid: CodePoints
        let pid: CodePoints
    }

    /// Seconds from posting to the delivery of a view, in place of its own time; nil: it comes when
    /// it was observed.
    private let deliveryDelay: Double?
    /// Seconds since 1970, for posts whose lines have views and do not say when they were counted.
    private let observedAt: Double?
    private var posts: [RecordedEvent] = []
    private var views: [RecordedEvent] = []
    private var postedAt: [PostKey: Double] = [:]
    package private(set) var counts = Counts()

    package init(deliveryDelaySeconds: Double? = nil, observedAt: Double? = nil) {
        deliveryDelay = deliveryDelaySeconds
        self.observedAt = observedAt
    }

    /// - Parameters:
    ///   - withViews: the line's own views count.
    ///   - isWanted: whether a post is replayed, by its pid and when it was posted.
    /// - Throws: where the line is no post; it is counted.
    package mutating func readPost(
        _ line: [UInt8], withViews: Bool,
        where isWanted: (String, Double) -> Bool = { _, _ in true }
    ) throws(EventError) {
        do throws(EventError) {
            let post = try PostEvent(parsing: line, from: .file)
            guard let posted = post.postedAt else {
                counts.postsWithoutTime += 1
                return
            }
            guard isWanted(post.pid, posted) else {
                counts.postsLeftOut += 1
                return
            }
            let view = withViews ? try self.view(of: post, line) : nil
            postedAt[PostKey(uid: CodePoints(post.uid), pid: CodePoints(post.pid))] = posted
            posts.append(RecordedEvent(time: milliseconds(posted), .post(line, uid: post.uid)))
            counts.posts += 1
            if let view { add(view, postedAt: posted) }
        } catch {
            counts.unreadableLines += 1
            throw error
        }
    }

    /// A line of a file of views, after all posts.
    ///
    /// - Throws: where the line is no view; it is counted.
    package mutating func readView(_ line: [UInt8]) throws(EventError) {
        do throws(EventError) {
            let view = try ViewEvent(parsing: line)
            let key = PostKey(uid: CodePoints(view.uid), pid: CodePoints(view.pid))
            guard let posted = postedAt[key] else {
                counts.viewsOfNoPost += 1
                return
            }
            add(view, postedAt: posted)
        } catch {
            counts.unreadableLines += 1
            throw error
        }
    }

    /// All events: at one time the posts first, then the views, each in the order of the files. So
    /// no post learns from a view of its own moment.
    package var inOrder: [RecordedEvent] {
        let all = posts + views
        return all.indices.sorted { (all[$0].time, $0) < (all[$1].time, $1) }.map { all[$0] }
    }

    private mutating func add(_ view: ViewEvent, postedAt: Double) {
        let time = deliveryDelay.map { postedAt + $0 } ?? view.observedAt
        views.append(RecordedEvent(time: milliseconds(time), .view(view)))
        counts.views += 1
    }

    private mutating func view(of post: PostEvent, _ line: [UInt8]) throws(EventError) -> ViewEvent?
    {
        let fields = try EventFields(
            line, maximumBytes: EventLimits().maximumEventBytes, ifTooLarge: "")
        guard fields.has("views") else { return nil }
        let views = try fields.count("views", maximum: ViewEvent.maximumViews)
        guard let observedAt = try fields.seconds("observed_at") ?? observedAt else {
            counts.viewsWithoutTime += 1
            return nil
        }
        return ViewEvent(pid: post.pid, uid: post.uid, views: views, observedAt: observedAt)
    }

    private func milliseconds(_ seconds: Double) -> Milliseconds {
        Milliseconds((seconds * 1_000).rounded())
    }
}

import Glibc
import Model
import Pipeline

/// From raw posts to a prepared dataset: lines go in one by one, then the rules are applied in
/// their order. The same lines in the same order give the same dataset.
package struct Preparation {
    /// What comes out, still without a folder.
    package struct Result: Sendable {
        /// In time order, those of one second by post id.
        package var posts: [PreparedPost]
        /// Most frequent first, those of one frequency by code point.
        package var vocabulary: [String]
        /// The users of the training part, by code point.
        package var users: [String]
        package var report: PreparationReport
    }

    /// Posts, and bytes of their text, beyond these are refused: all is held in memory.
    package static let maximumPosts = 1_000_000
    package static let maximumTextBytes = 2 << 30
    /// More views than any post can have had.
    package static let maximumViews = 1e15

    private struct Text {
        var title: String
        var tags: String
        var description: String

        var all: String { "\(title) \(tags) \(description)" }
    }

    private enum Image {
        case none
        /// Relative to the folder of images; the hash that the record gives, if it gives one.
        case path(String, sha256: String?)
        /// A URL, or bytes inside the record.
        case elsewhere
        /// Read and hashed.
        case read(String, sha256: String)
    }

    private struct Post {
        let pid: String
        var uid: String
        let postedAt: Double?
        var text: Text
        var image: Image
        var views: Double?
        var observedAt: Double?
        var part: PreparedPost.Part?
    }

    private enum Place {
        case part(PreparedPost.Part)
        case dropped
    }

    private let settings: PreparationSettings
    private var posts: [Post] = []
    private var places: [CodePoints: Int] = [:]
    private var split: [CodePoints: Place] = [:]
    private var textBytes = 0
    private var report = PreparationReport()

    package init(settings: PreparationSettings) throws(TrainingError) {
        try settings.check()
        self.settings = settings
    }

    // MARK: Reading

    /// Takes a line of the file of posts, without its end.
    ///
    /// - Returns: why the line cannot be read; nil where it can.
    package mutating func readPost(
        _ line: [UInt8], number: Int
    ) throws(TrainingError) -> String? {
        do throws(EventError) {
            let event = try PostEvent(parsing: line, from: .file)
            let outcome = try Outcome(line)
            try Self.requireOneLine(event.pid, "pid")
            try Self.requireOneLine(event.uid, "uid")
            report.postsRead += 1
            guard places[CodePoints(event.pid)] == nil else {
                report.drop(event.pid, by: .duplicate)
                return nil
            }
            places[CodePoints(event.pid)] = posts.count
            posts.append(post(event, outcome))
        } catch {
            report.badPosts.add(number, "\(error)")
            return "\(error)"
        }
        guard posts.count <= Self.maximumPosts, textBytes <= Self.maximumTextBytes else {
            throw .invalid(
                "more than \(Self.maximumPosts) posts or \(Self.maximumTextBytes >> 20) MiB of "
                    + "text; prepare fewer at once")
        }
        return nil
    }

    private mutating func post(_ event: PostEvent, _ outcome: Outcome) -> Post {
        func kept(_ field: PreparationSettings.TextField, _ text: String) -> String {
            settings.text.contains(field) ? text : ""
        }
        let text = Text(
            title: kept(.title, event.title), tags: kept(.tags, event.tags),
            description: kept(.description, event.description))
        textBytes += text.title.utf8.count + text.tags.utf8.count + text.description.utf8.count
        let image: Image =
            switch event.image {
            case nil: .none
            case .relativePath(let path):
                .path(path, sha256: event.imageSHA256.map { hexadecimal($0) })
            case .url, .inline: .elsewhere
            }
        return Post(
            pid: event.pid, uid: event.uid, postedAt: event.postedAt, text: text, image: image,
            views: outcome.views, observedAt: outcome.observedAt)
    }

    /// Takes a line of a file of view counts (pid, uid, views, observed_at), after all posts. The
    /// last observation of a post counts, by observed_at; with a horizon the first one in its
    /// window, in whatever order they come. Of two at one time the later line counts.
    ///
    /// - Returns: why the line cannot be read; nil where it can.
    package mutating func readViews(_ line: [UInt8], number: Int) -> String? {
        do throws(EventError) {
            let event = try PostEvent(parsing: line, from: .file)
            let outcome = try Outcome(line)
            guard let views = outcome.views else {
                throw EventError(field: "views", found: "nothing", expected: Outcome.viewsExpected)
            }
            report.viewsRead += 1
            guard let place = places[CodePoints(event.pid)],
                CodePoints(posts[place].uid) == CodePoints(event.uid)
            else {
                report.strayViews.add(event.pid)
                return nil
            }
            // Without a horizon a time that is given goes before one that is assumed.
            let assumed = settings.horizon == nil ? nil : settings.observedAt
            let observedAt = outcome.observedAt ?? assumed
            guard counts(observedAt, for: posts[place]) else { return nil }
            posts[place].views = views
            posts[place].observedAt = observedAt
            return nil
        } catch {
            report.badViews.add(number, "\(error)")
            return "\(error)"
        }
    }

    /// Whether views observed then take the place of those that the post has.
    private func counts(_ observedAt: Double?, for post: Post) -> Bool {
        guard post.views != nil else { return true }
        if let horizon = settings.horizon {
            guard Self.isInWindow(observedAt, post.postedAt, horizon) else { return false }
            guard Self.isInWindow(post.observedAt, post.postedAt, horizon) else { return true }
            return observedAt ?? 0 <= post.observedAt ?? 0
        }
        guard let before = post.observedAt else { return true }
        return observedAt.map { $0 >= before } ?? false
    }

    /// Whether an observation can be a label of this horizon, as `LabelRule` says.
    private static func isInWindow(
        _ observedAt: Double?, _ postedAt: Double?, _ horizon: Double
    ) -> Bool {
        guard let observedAt, let postedAt else { return false }
        let age = observedAt - postedAt
        return age >= horizon && age <= LabelRule.windowEnd * horizon
    }

    /// Takes the file that says which post belongs to which part: lines of a post id, a tab and
    /// `train`, `validation`, `test` or `none`; a first line `pid<tab>part` is passed over.
    package mutating func readSplit(path: String) throws(TrainingError) {
        let lines = try asTrainingError { () throws(ModelError) in
            try MappedFile(path: path).lines(maximumCount: Self.maximumPosts)
        }
        guard lines.count <= Self.maximumPosts else {
            throw .file(path: path, reason: "more than \(Self.maximumPosts) lines")
        }
        for (index, line) in lines.enumerated() {
            func bad(_ reason: String) -> TrainingError {
                .line(path: path, line: index + 1, reason: reason)
            }
            let fields = line.utf8.split(
                separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false
            ).map { String(Substring($0)) }
            guard fields.count == 2 else {
                throw bad("found \(fields.count) fields, expected two: post id, tab, part")
            }
            var part = fields[1]
            if part.utf8.last == UInt8(ascii: "\r") { part = String(part.dropLast()) }
            if index == 0, fields[0] == "pid", part == "part" { continue }
            let place: Place
            if let known = PreparedPost.Part(rawValue: part) {
                place = .part(known)
            } else if part == "none" {
                place = .dropped
            } else {
                throw bad("the part is '\(part)', expected train, validation, test or none")
            }
            guard split.updateValue(place, forKey: CodePoints(fields[0])) == nil else {
                throw bad("the post '\(fields[0])' a second time; leave one line of it")
            }
        }
    }

    /// A line of users.txt is one user, so an id must be one line.
    private static func requireOneLine(_ id: String, _ field: String) throws(EventError) {
        guard !id.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D }) else {
            throw EventError(field: field, found: "a line end", expected: "an id of one line")
        }
    }

    // MARK: The rules

    /// Applies the rules to what was read.
    ///
    /// - Parameter sha256: of the file of an image, by its path relative to the folder of images;
    ///   the error it throws says why the image cannot be used.
    package consuming func finish(
        sha256: (_ image: String) throws(TrainingError) -> String
    ) throws(TrainingError) -> Result {
        guard report.postsRead > 0 else {
            let reason = report.badPosts.first.first.map { "line \($0.line): \($0.reason)" }
            throw .invalid("no post could be read; \(reason ?? "the file is empty")")
        }
        keepLabelled()
        sortByTime()
        if let field = settings.shuffle { shuffle(field) }
        readImages(sha256)
        if settings.requiresImage {
            keep(.noImage) { if case .read = $0.image { true } else { false } }
        }
        if settings.english == .ascii {
            keep(.notEnglish) { $0.text.all.utf8.allSatisfy { $0 < 0x80 } }
        }
        divide()
        let vocabulary = try makeVocabulary()
        keepLongEnough(vocabulary)
        keepActiveUsers()
        return try result(vocabulary)
    }

    private mutating func keep(
        _ filter: PreparationReport.Filter, _ isKept: (Post) -> Bool
    ) {
        posts = posts.filter { post in
            let kept = isKept(post)
            if !kept { report.drop(post.pid, by: filter) }
            return kept
        }
    }

    private mutating func keepLabelled() {
        keep(.noPostdate) { $0.postedAt != nil }
        keep(.noViews) { $0.views != nil }
        for place in posts.indices where posts[place].observedAt == nil {
            posts[place].observedAt = settings.observedAt
        }
        keep(.noObservationTime) { $0.observedAt != nil }
        keep(.observedBeforePosted) { $0.observedAt ?? 0 >= $0.postedAt ?? 0 }
        if let horizon = settings.horizon {
            keep(.outsideHorizon) { Self.isInWindow($0.observedAt, $0.postedAt, horizon) }
        }
    }

    private mutating func sortByTime() {
        posts.sort {
            let (left, right) = ($0.postedAt ?? 0, $1.postedAt ?? 0)
            return left != right ? left < right : isBefore($0.pid, $1.pid)
        }
    }

    private mutating func shuffle(_ field: PreparationSettings.Shuffle) {
        // Another stream than the authors' split draws from.
        var generator = SplitMix64(seed: ~settings.seed)
        let source = permutation(posts.count, &generator)
        switch field {
        case .images:
            let images = posts.map(\.image)
            for place in posts.indices { posts[place].image = images[source[place]] }
        case .users:
            let users = posts.map(\.uid)
            for place in posts.indices { posts[place].uid = users[source[place]] }
        case .text:
            let texts = posts.map(\.text)
            for place in posts.indices { posts[place].text = texts[source[place]] }
        }
    }

    /// Each file once, however many posts show it.
    private mutating func readImages(
        _ sha256: (String) throws(TrainingError) -> String
    ) {
        var known: [CodePoints: Swift.Result<String, TrainingError>] = [:]
        for place in posts.indices {
            switch posts[place].image {
            case .none, .read: continue
            case .elsewhere:
                report.unusableImages.add(
                    "\(posts[place].pid): an image by URL or inside the record is not read here; "
                        + "save it as a file")
                posts[place].image = .none
            case .path(let path, let expected):
                let found: Swift.Result<String, TrainingError>
                if let before = known[CodePoints(path)] {
                    found = before
                } else {
                    found = Swift.Result { () throws(TrainingError) in try sha256(path) }
                    known[CodePoints(path)] = found
                }
                switch found {
                case .success(let hash) where expected == nil || hash == expected:
                    posts[place].image = .read(path, sha256: hash)
                case .success:
                    report.unusableImages.add("\(path): not the bytes that image_sha256 names")
                    posts[place].image = .none
                case .failure(let error):
                    report.unusableImages.add("\(error)")
                    posts[place].image = .none
                }
            }
        }
    }

    private mutating func divide() {
        let count = posts.count
        switch settings.split {
        case .time:
            for place in posts.indices {
                posts[place].part =
                    place < count * 7 / 10 ? .train : place < count * 8 / 10 ? .validation : .test
            }
        case .authors:
            let train = count * 7 / 10
            for place in 0..<train { posts[place].part = .train }
            var generator = SplitMix64(seed: settings.seed)
            let rest = permutation(count - train, &generator)
            for (drawn, place) in rest.enumerated() {
                posts[train + place].part = drawn < rest.count / 3 ? .validation : .test
            }
        case .file:
            for (pid, _) in split where places[pid] == nil { report.straySplit.count += 1 }
            report.straySplit.examples =
                split.keys.filter { places[$0] == nil }.map(\.string).sorted(by: isBefore)
                .prefix(PreparationReport.maximumExamples).map(\.self)
            for place in posts.indices {
                if case .part(let part) = split[CodePoints(posts[place].pid)] {
                    posts[place].part = part
                }
            }
            let split = split
            keep(.notInSplit) { split[CodePoints($0.pid)] != nil }
            keep(.splitNone) { $0.part != nil }
        }
    }

    /// The words of the training part, and of no other.
    private mutating func makeVocabulary() throws(TrainingError) -> [String] {
        var counts: [CodePoints: Int] = [:]
        for post in posts where post.part == .train {
            for word in Tokenizer.words(post.text.all) { counts[CodePoints(word), default: 0] += 1 }
        }
        let kept = counts.filter { $0.value >= settings.minimumWordCount }
        guard kept.count <= Vocabulary.maximumCount else {
            throw .invalid(
                "the training part has \(kept.count) words, at most \(Vocabulary.maximumCount) "
                    + "can be used; drop the rare ones with --minimum-word-count")
        }
        report.distinctWords = counts.count
        report.rareWords = counts.count - kept.count
        report.words = kept.count
        return kept.sorted {
            $0.value != $1.value ? $0.value > $1.value : isBefore($0.key.string, $1.key.string)
        }.map(\.key.string)
    }

    private mutating func keepLongEnough(_ vocabulary: [String]) {
        guard settings.minimumWords > 0 else { return }
        let known = Set(vocabulary.map(CodePoints.init))
        let countsAll = settings.minimumWordCount == 0
        keep(.tooFewWords) { [minimumWords = settings.minimumWords] post in
            let words = Tokenizer.words(post.text.all)
            let count = countsAll ? words.count : words.count { known.contains(CodePoints($0)) }
            return count >= minimumWords
        }
    }

    private mutating func keepActiveUsers() {
        guard let maximum = settings.users else { return }
        var counts: [CodePoints: Int] = [:]
        for post in posts { counts[CodePoints(post.uid), default: 0] += 1 }
        let ranked = counts.sorted {
            $0.value != $1.value ? $0.value > $1.value : isBefore($0.key.string, $1.key.string)
        }
        let kept = Set(ranked.prefix(maximum).map(\.key))
        keep(.inactiveUser) { kept.contains(CodePoints($0.uid)) }
    }

    private mutating func result(_ vocabulary: [String]) throws(TrainingError) -> Result {
        let known = Set(vocabulary.map(CodePoints.init))
        var prepared: [PreparedPost] = []
        prepared.reserveCapacity(posts.count)
        var users: [PreparedPost.Part: Set<CodePoints>] = [:]
        var images: Set<String> = []
        for post in posts {
            guard let part = post.part, let postedAt = post.postedAt, let views = post.views,
                let observedAt = post.observedAt
            else { continue }  // cannot be: the rules before have dropped it
            var (path, hash): (String?, String?) = (nil, nil)
            if case .read(let image, let sha256) = post.image { (path, hash) = (image, sha256) }
            prepared.append(
                PreparedPost(
                    pid: post.pid, uid: post.uid, part: part, postedAt: postedAt,
                    target: LabelRule.label(
                        views: views, seconds: observedAt - postedAt,
                        minimumDays: settings.minimumDays),
                    title: post.text.title, tags: post.text.tags,
                    description: post.text.description, image: path, imageSHA256: hash))
            report[part].posts += 1
            users[part, default: []].insert(CodePoints(post.uid))
            if let hash {
                report[part].postsWithImage += 1
                images.insert(hash)
            }
            if !Tokenizer.words(post.text.all).contains(where: { known.contains(CodePoints($0)) }) {
                report[part].postsWithoutKnownWord += 1
            }
        }
        guard report.train.posts > 0 else {
            throw .invalid(
                "no post is left in the training part; of \(report.postsRead) posts "
                    + report.dropped.map { "\($0.posts) were dropped (\($0.filter.explanation))" }
                    .joined(separator: ", ") + ": give more posts, or switch a rule off")
        }
        for part in PreparedPost.Part.allCases { report[part].users = users[part]?.count ?? 0 }
        let trained = (users[.train] ?? []).map(\.string).sorted(by: isBefore)
        report.users = trained.count
        report.distinctImages = images.count
        return Result(posts: prepared, vocabulary: vocabulary, users: trained, report: report)
    }
}

/// A record's views, and when they were counted.
private struct Outcome {
    var views: Double?
    var observedAt: Double?

    static let viewsExpected = "a whole number, 0 to 10^15"

    /// - Parameter line: one that `PostEvent` has read, so an object within bounds.
    init(_ line: [UInt8]) throws(EventError) {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: line)
        } catch {
            throw EventError(found: error.found, expected: error.expected)
        }
        guard case .object(let members) = value else {
            throw EventError(found: value.summary, expected: "a JSON object")
        }
        views = try Self.number(
            "views", of: members, in: 0...Preparation.maximumViews, expected: Self.viewsExpected)
        if let views, views != views.rounded() {
            throw EventError(field: "views", found: "\(views)", expected: Self.viewsExpected)
        }
        // The last second of the year 9999; what lies beyond was given in milliseconds.
        observedAt = try Self.number(
            "observed_at", of: members, in: 0...253_402_300_799,
            expected: "seconds since 1970, 0 to 253402300799")
    }

    /// A number, or a string that holds one; nil where absent, null or empty.
    private static func number(
        _ field: String, of members: [CodePoints: JSONValue], in range: ClosedRange<Double>,
        expected: String
    ) throws(EventError) -> Double? {
        let text: String
        switch members[field] {
        case nil, .null, .string(""): return nil
        case .string(let value), .number(let value): text = value
        case .some(let other):
            throw EventError(field: field, found: other.summary, expected: expected)
        }
        // Swift reads "nan", "inf" and "0x10", too.
        let isDecimal = text.utf8.allSatisfy { 0x30...0x39 ~= $0 || "+-.eE".utf8.contains($0) }
        guard isDecimal, text.utf8.count <= 64, let number = Double(text), range.contains(number)
        else {
            throw EventError(
                field: field, found: members[field]?.summary ?? "nothing", expected: expected)
        }
        return number
    }
}

/// By code point: the order of UTF-8's bytes.
private func isBefore(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}

/// 0..<count in a random order (Fisher, Yates; Durstenfeld 1964), the same on every machine.
private func permutation(_ count: Int, _ generator: inout SplitMix64) -> [Int] {
    var order = Array(0..<count)
    for last in stride(from: count - 1, to: 0, by: -1) {
        // The upper half of the product: a number in 0...last, uniform to 1 in 2^40.
        let drawn = generator.next().multipliedFullWidth(by: UInt64(last + 1)).high
        order.swapAt(last, Int(drawn))
    }
    return order
}

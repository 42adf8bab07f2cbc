import Model

/// Whether attention points at what is planted (the "pointing game", Zhang and others, "Top-down
/// neural attention by excitation backprop", 2016).
///
/// A hit: the centre of the most attended region (of equals the first) lies inside the box. Beside
/// it stands the share of the picture that the box covers, the hit rate of a region taken at
/// random. With several boxes that share is their union's. The mass is the attention inside the
/// box, each region counting with the part of it that the box covers: attention that looks
/// everywhere alike has the box's share as its mass.
package struct PointingGame: Sendable, Codable, Equatable {
    /// Over the boxes of the posts' subjects; posts without one do not count.
    package let subject: Result?
    /// Over all objects of a post; posts without objects do not count.
    package let anyObject: Result?

    private enum CodingKeys: String, CodingKey {
        case subject
        case anyObject = "any_object"
    }

    package struct Case: Sendable {
        package var uid: String
        /// side x side weights, row by row from the top, that add up to 1.
        package var attention: [Float]
        package var truth: GalleryTruth.Post

        package init(uid: String, attention: [Float], truth: GalleryTruth.Post) {
            self.uid = uid
            self.attention = attention
            self.truth = truth
        }
    }

    package struct Result: Sendable, Codable, Equatable {
        package var posts: Int
        package var users: Int
        /// Share of posts with a hit.
        package var hitRate: Evaluation.Figure
        /// Mean share of the picture that is inside.
        package var area: Double
        /// hitRate / area: 1 is chance.
        package var ratio: Evaluation.Figure
        /// Mean attention inside.
        package var mass: Evaluation.Figure
        /// mass / area: 1 is even attention.
        package var massRatio: Evaluation.Figure
        /// Posts without the centre of any region inside: too small a box to be hit.
        package var unreachable: Int

        private enum CodingKeys: String, CodingKey {
            case posts, users, area, ratio, mass, unreachable
            case hitRate = "hit_rate"
            case massRatio = "mass_ratio"
        }
    }

    /// - Parameter side: regions of a row, and rows.
    /// - Throws: where attention has the wrong size or is not finite.
    package static func play(
        _ cases: [Case], side: Int = 14, bootstrap: UserBootstrap = UserBootstrap()
    ) throws(TrainingError) -> PointingGame {
        for played in cases {
            guard played.attention.count == side * side,
                played.attention.allSatisfy({ $0.isFinite && $0 >= 0 })
            else {
                throw .invalid(
                    "the attention of post \(played.truth.pid) has \(played.attention.count) "
                        + "weights or some that are not 0 or more; expected \(side * side)")
            }
        }
        return PointingGame(
            subject: result(
                cases, side: side, bootstrap: bootstrap,
                boxes: { post in post.subject.map { [Box(post.objects[$0])] } ?? [] }),
            anyObject: result(
                cases, side: side, bootstrap: bootstrap, boxes: { $0.objects.map(Box.init) }))
    }

    private static func result(
        _ cases: [Case], side: Int, bootstrap: UserBootstrap,
        boxes: (GalleryTruth.Post) -> [Box]
    ) -> Result? {
        var tallies: [CodePoints: Tally] = [:]
        for played in cases {
            let boxes = boxes(played.truth)
            if boxes.isEmpty { continue }
            tallies[CodePoints(played.uid), default: Tally()].add(
                Tally(attention: played.attention, boxes: boxes, side: side))
        }
        let users = tallies.sorted {
            $0.key.string.utf8.lexicographicallyPrecedes($1.key.string.utf8)
        }.map(\.value)
        var whole = Tally()
        for user in users { whole.add(user) }
        guard whole.posts > 0, whole.area > 0 else { return nil }

        var drawn: [Tally] = []
        if users.count > 1 {
            bootstrap.forEachResample(users: users.count) { weights in
                var sum = Tally()
                for (user, weight) in zip(users, weights) where weight > 0 {
                    sum.add(user, times: weight)
                }
                drawn.append(sum)
            }
        }
        func figure(_ value: (Tally) -> Double) -> Evaluation.Figure {
            Evaluation.Figure(
                value: value(whole),
                interval: drawn.isEmpty ? nil : bootstrap.interval(of: drawn.map(value)))
        }
        return Result(
            posts: Int(whole.posts), users: users.count,
            hitRate: figure { $0.hits / $0.posts }, area: whole.area / whole.posts,
            ratio: figure { $0.hits / $0.area }, mass: figure { $0.mass / $0.posts },
            massRatio: figure { $0.mass / $0.area }, unreachable: Int(whole.unreachable))
    }
}

/// Part of a picture, all between 0 and 1.
private struct Box {
    let left: Double
    let top: Double
    let right: Double
    let bottom: Double

    init(_ object: GalleryTruth.Object) {
        let sides = object.box.map { min(max($0, 0), 1) }
        (left, top, right, bottom) = (sides[0], sides[1], sides[2], sides[3])
    }

    func contains(_ x: Double, _ y: Double) -> Bool {
        left <= x && x < right && top <= y && y < bottom
    }
}

/// Sums over posts.
private struct Tally {
    var posts = 0.0
    var hits = 0.0
    var area = 0.0
    var mass = 0.0
    var unreachable = 0.0

    init() {}

    init(attention: [Float], boxes: [Box], side: Int) {
        posts = 1
        func isInside(_ region: Int) -> Bool {
            let x = (Double(region % side) + 0.5) / Double(side)
            let y = (Double(region / side) + 0.5) / Double(side)
            return boxes.contains { $0.contains(x, y) }
        }
        var most = 0
        for region in attention.indices where attention[region] > attention[most] {
            most = region
        }
        hits = isInside(most) ? 1 : 0
        unreachable = attention.indices.contains(where: isInside) ? 0 : 1

        // Between the edges of boxes and regions every cell is wholly inside or wholly outside.
        let lines = (0...side).map { Double($0) / Double(side) }
        let columns = Set(lines + boxes.flatMap { [$0.left, $0.right] }).sorted()
        let rows = Set(lines + boxes.flatMap { [$0.top, $0.bottom] }).sorted()
        for (top, bottom) in zip(rows, rows.dropFirst()) {
            for (left, right) in zip(columns, columns.dropFirst()) {
                let (x, y) = ((left + right) / 2, (top + bottom) / 2)
                guard boxes.contains(where: { $0.contains(x, y) }) else { continue }
                let cell = (right - left) * (bottom - top)
                let row = min(Int(y * Double(side)), side - 1)
                let column = min(Int(x * Double(side)), side - 1)
                area += cell
                mass += cell * Double(side * side) * Double(attention[row * side + column])
            }
        }
    }

    mutating func add(_ other: Tally, times: Double = 1) {
        posts += times * other.posts
        hits += times * other.hits
        area += times * other.area
        mass += times * other.mass
        unreachable += times * other.unreachable
    }
}

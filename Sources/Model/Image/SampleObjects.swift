/// What can stand, swim or fly in a ``SampleScene``.
enum SceneObject: CaseIterable, Sendable {
    case sun, moon, birds, balloon, kite
    case boat, ferry
    case house, tree, pine, tent, windmill, lighthouse, umbrella, cactus, flower

    var word: String {
        switch self {
        case .sun: "sun"
        case .moon: "moon"
        case .birds: "birds"
        case .balloon: "balloon"
        case .kite: "kite"
        case .boat: "boat"
        case .ferry: "ferry"
        case .house: "house"
        case .tree: "tree"
        case .pine: "pine"
        case .tent: "tent"
        case .windmill: "windmill"
        case .lighthouse: "lighthouse"
        case .umbrella: "umbrella"
        case .cactus: "cactus"
        case .flower: "flower"
        }
    }

    /// Whether it is painted in the colour that the words may name.
    var isColored: Bool {
        switch self {
        case .balloon, .kite, .boat, .ferry, .house, .tent, .lighthouse, .umbrella, .flower: true
        case .sun, .moon, .birds, .tree, .pine, .windmill, .cactus: false
        }
    }

    var isAloft: Bool {
        switch self {
        case .sun, .moon, .birds, .balloon, .kite: true
        default: false
        }
    }

    var isAfloat: Bool {
        self == .boat || self == .ferry
    }

    func preposition(in place: ScenePlace) -> String {
        if isAloft {
            return "over"
        }
        return isAfloat ? "on" : place == .sea ? "by" : place.preposition
    }
}

/// An object of a scene, and where it is. Positions are parts of the picture, so that the same
/// scene can be drawn in any size and shape.
struct PlacedObject: Sendable {
    let kind: SceneObject
    let color: SceneWords.NamedColor
    /// Thousandths of the width.
    let across: Int
    /// Thousandths of the way from far to near; in the sky, from high to low.
    let along: Int
    /// Percent of the usual.
    let size: Int
    /// Decides details.
    let variety: UInt64

    func draw(on canvas: inout SampleCanvas, in landscape: SceneLandscape) {
        let x = landscape.width * across / 1000
        let y: Int
        let percent: Int
        if kind.isAloft {
            let lowest = kind == .sun || kind == .moon ? 66 : 58
            y = landscape.horizon * (18 + along * (lowest - 18) / 1000) / 100
            percent = size
        } else if kind.isAfloat {
            y = landscape.water(nearness: along)
            percent = size * (55 + along * 60 / 1000) / 100
        } else {
            y = landscape.ground(nearness: along)
            percent = size * (60 + along * 60 / 1000) / 100
        }
        var pen = Pen(
            canvas: canvas, origin: ScenePoint(x, y), percent: percent, light: landscape.light)
        draw(with: &pen)
        canvas = pen.canvas
    }

    private func draw(with pen: inout Pen) {
        switch kind {
        case .sun: drawSun(&pen)
        case .moon: drawMoon(&pen)
        case .birds: drawBirds(&pen)
        case .balloon: drawBalloon(&pen)
        case .kite: drawKite(&pen)
        case .boat: drawBoat(&pen)
        case .ferry: drawFerry(&pen)
        case .house: drawHouse(&pen)
        case .tree: drawTree(&pen)
        case .pine: drawPine(&pen)
        case .tent: drawTent(&pen)
        case .windmill: drawWindmill(&pen)
        case .lighthouse: drawLighthouse(&pen)
        case .umbrella: drawUmbrella(&pen)
        case .cactus: drawCactus(&pen)
        case .flower: drawFlower(&pen)
        }
    }

    private var dark: SceneColor { color.color.mixed(with: SceneColor(20, 16, 30), 90) }
    private var bright: SceneColor { color.color.mixed(with: SceneColor(255, 255, 255), 70) }

    // MARK: In the sky: the origin is the middle.

    private func drawSun(_ pen: inout Pen) {
        let isLow = pen.light == .sunset || pen.light == .dawn
        let core = isLow ? SceneColor(255, 226, 150) : SceneColor(255, 250, 216)
        pen.glow(radius: 330, isLow ? SceneColor(255, 180, 90) : SceneColor(255, 250, 220), 200)
        pen.shine(0, 0, 58, 58, ScenePaint(core))
    }

    private func drawMoon(_ pen: inout Pen) {
        pen.glow(radius: 220, SceneColor(150, 170, 220), 130)
        pen.shine(0, 0, 52, 52, ScenePaint(SceneColor(238, 236, 216), SceneColor(214, 214, 202)))
        for (x, y, radius) in [(-18, -12, 12), (14, 16, 15), (20, -22, 8), (-10, 26, 7)] {
            pen.shine(x, y, radius, radius, ScenePaint(SceneColor(206, 204, 190)))
        }
    }

    private func drawBirds(_ pen: inout Pen) {
        var random = SceneRandom(seed: variety)
        for _ in 0..<random.number(in: 4...7) {
            let x = random.number(in: -150...150)
            let y = random.number(in: -90...90)
            let span = random.number(in: 24...40)
            let lift = span * random.number(in: 30...60) / 100
            for side in [-1, 1] {
                pen.polygon(
                    [
                        (x, y), (x + side * span / 2, y - lift),
                        (x + side * span, y - lift / 2), (x + side * span / 2, y - lift + 7),
                        (x, y + 7),
                    ], ScenePaint(SceneColor(34, 34, 42)))
            }
        }
    }

    private func drawBalloon(_ pen: inout Pen) {
        let cloth = ScenePaint(bright, dark)
        let other = ScenePaint(SceneColor(250, 240, 214), SceneColor(196, 172, 140))
        for x in [-16, 16] {
            pen.polygon([(x * 3, 70), (x * 3 + 3, 70), (x + 2, 178), (x - 1, 178)], Pen.wood)
        }
        pen.polygon([(-92, 50), (92, 50), (26, 140), (-26, 140)], cloth)
        pen.polygon([(-34, 50), (34, 50), (10, 140), (-10, 140)], other)
        pen.ellipse(0, 0, 106, 108, cloth)
        pen.ellipse(0, 0, 72, 108, other)
        pen.ellipse(0, 0, 38, 108, cloth)
        pen.polygon([(-22, 172), (22, 172), (18, 208), (-18, 208)], Pen.wood)
    }

    private func drawKite(_ pen: inout Pen) {
        let lean = Int(variety % 41) - 20
        pen.polygon([(lean, -84), (54, 0), (0, 0)], ScenePaint(bright))
        pen.polygon([(lean, -84), (-54, 0), (0, 0)], ScenePaint(color.color))
        pen.polygon([(-54, 0), (0, 0), (-lean, 108)], ScenePaint(dark))
        pen.polygon([(54, 0), (0, 0), (-lean, 108)], ScenePaint(color.color))
        for knot in 0..<4 {
            let x = -lean + (knot % 2 == 0 ? 16 : -6) + knot * 6
            let y = 126 + knot * 30
            pen.polygon(
                [(x - 14, y - 8), (x + 14, y + 8), (x + 14, y - 8), (x - 14, y + 8)],
                ScenePaint(knot % 2 == 0 ? bright : dark))
        }
    }

    // MARK: On the water: the origin is the middle of the water line.

    private func drawBoat(_ pen: inout Pen) {
        pen.ellipse(0, 14, 130, 12, ScenePaint(dark), opacity: 90)
        pen.polygon([(-5, -262), (5, -262), (5, -40), (-5, -40)], Pen.wood)
        let sail = ScenePaint(SceneColor(252, 250, 240), SceneColor(226, 220, 204))
        pen.polygon([(10, -256), (10, -58), (122, -58)], sail)
        pen.polygon([(-10, -226), (-10, -58), (-86, -58)], ScenePaint(bright, color.color))
        pen.polygon([(-126, -46), (136, -46), (96, 8), (-92, 8)], ScenePaint(color.color, dark))
        pen.polygon(
            [(-126, -46), (136, -46), (130, -36), (-120, -36)],
            ScenePaint(SceneColor(250, 246, 236)))
    }

    private func drawFerry(_ pen: inout Pen) {
        pen.ellipse(0, 14, 180, 12, ScenePaint(dark), opacity: 90)
        let white = ScenePaint(SceneColor(246, 246, 240), SceneColor(214, 216, 214))
        pen.polygon([(20, -190), (62, -190), (62, -110), (20, -110)], ScenePaint(color.color))
        pen.polygon([(20, -190), (62, -190), (62, -172), (20, -172)], Pen.ink)
        pen.polygon([(-96, -122), (104, -122), (104, -84), (-96, -84)], white)
        pen.polygon([(-136, -86), (146, -86), (146, -44), (-136, -44)], white)
        for window in 0..<8 {
            let x = -120 + window * 32
            pen.polygon([(x, -74), (x + 18, -74), (x + 18, -58), (x, -58)], Pen.glass)
        }
        pen.polygon(
            [(-186, -52), (178, -52), (146, 10), (-150, 10)],
            ScenePaint(color.color, dark))
    }

    // MARK: On the ground: the origin is the middle of the foot.

    private func drawHouse(_ pen: inout Pen) {
        pen.shadow(150)
        let wall = ScenePaint(SceneColor(246, 236, 214), SceneColor(216, 200, 172))
        let brick = ScenePaint(SceneColor(150, 78, 62))
        pen.polygon([(52, -256), (84, -256), (84, -160), (52, -160)], brick)
        pen.polygon([(-120, -150), (120, -150), (120, 0), (-120, 0)], wall)
        pen.polygon(
            [(-150, -142), (-72, -238), (72, -238), (150, -142)],
            ScenePaint(color.color, dark))
        pen.polygon([(-24, -92), (24, -92), (24, 0), (-24, 0)], Pen.wood)
        let pane = pen.light == .night ? Pen.lamp : Pen.glass
        for x in [-92, 48] {
            pen.polygon(
                [(x - 4, -116), (x + 48, -116), (x + 48, -58), (x - 4, -58)],
                ScenePaint(SceneColor(250, 250, 246)))
            let window = [(x, -112), (x + 44, -112), (x + 44, -62), (x, -62)]
            if pen.light == .night {
                pen.shine(window, pane)
            } else {
                pen.polygon(window, pane)
            }
        }
    }

    private func drawTree(_ pen: inout Pen) {
        pen.shadow(120)
        pen.polygon([(-15, -150), (15, -150), (24, 0), (-24, 0)], Pen.wood)
        let autumn = variety % 3 == 0
        let leaf = autumn ? SceneColor(204, 118, 40) : SceneColor(62, 128, 54)
        let shade = leaf.mixed(with: SceneColor(14, 40, 30), 120)
        for (x, y, radius) in [(-62, -168, 70), (62, -172, 70), (0, -150, 76), (0, -236, 86)] {
            pen.ellipse(x, y, radius, radius, ScenePaint(leaf.lighter(by: 22), shade))
        }
        var random = SceneRandom(seed: variety)
        for _ in 0..<26 {
            let x = random.number(in: -96...96)
            let y = random.number(in: -290 ... -130)
            pen.ellipse(
                x * (y + 420) / 290, y, 16, 12, ScenePaint(leaf.lighter(by: 34)), opacity: 110)
        }
    }

    private func drawPine(_ pen: inout Pen) {
        pen.shadow(90)
        pen.polygon([(-14, -60), (14, -60), (16, 0), (-16, 0)], Pen.wood)
        let green = SceneColor(40, 98, 66)
        let paint = ScenePaint(green.lighter(by: 20), SceneColor(14, 52, 42))
        for (top, bottom, half) in [(-190, -40, 104), (-262, -120, 82), (-326, -200, 58)] {
            pen.polygon([(0, top), (half, bottom), (0, bottom - 18), (-half, bottom)], paint)
        }
    }

    private func drawTent(_ pen: inout Pen) {
        pen.shadow(150)
        pen.polygon([(-20, -140), (96, -118), (176, 0), (110, 0)], ScenePaint(dark))
        pen.polygon([(-20, -140), (110, 0), (-142, 0)], ScenePaint(bright, color.color))
        let inside = [(-20, -112), (20, 0), (-58, 0)]
        if pen.light == .night {
            pen.shine(inside, Pen.lamp)
        } else {
            pen.polygon(inside, Pen.ink)
        }
    }

    private func drawWindmill(_ pen: inout Pen) {
        pen.shadow(120)
        pen.polygon(
            [(-48, -220), (48, -220), (82, 0), (-82, 0)],
            ScenePaint(SceneColor(238, 228, 208), SceneColor(190, 172, 146)))
        pen.polygon([(-20, -64), (20, -64), (20, 0), (-20, 0)], Pen.wood)
        pen.ellipse(0, -222, 56, 40, ScenePaint(SceneColor(150, 66, 54), SceneColor(96, 40, 38)))
        // Four sails, turned by a random slope: (a, b) is a direction of length about 180.
        let slopes = [(178, 30), (164, 76), (140, 114), (112, 142)]
        let (a, b) = slopes[Int(variety % 4)]
        for (x, y) in [(a, b), (-b, a), (-a, -b), (b, -a)] {
            let (sideX, sideY) = (-y / 6, x / 6)
            pen.polygon(
                [
                    (0, -222), (x, y - 222), (x + sideX, y + sideY - 222),
                    (x / 5 + sideX, y / 5 + sideY - 222),
                ],
                ScenePaint(SceneColor(250, 246, 236), SceneColor(214, 206, 190)))
            pen.polygon(
                [
                    (-sideX / 7, -sideY / 7 - 222), (x - sideX / 7, y - sideY / 7 - 222),
                    (x + sideX / 7, y + sideY / 7 - 222), (sideX / 7, sideY / 7 - 222),
                ],
                Pen.wood)
        }
        pen.ellipse(0, -222, 10, 10, Pen.ink)
    }

    private func drawLighthouse(_ pen: inout Pen) {
        let stone = ScenePaint(SceneColor(120, 112, 108), SceneColor(66, 62, 66))
        pen.polygon([(-170, 30), (-120, -24), (-40, -44), (60, -36), (130, -14), (180, 30)], stone)
        let white = SceneColor(250, 246, 238)
        for band in 0..<5 {
            let top = -320 + band * 60
            let (upper, lower) = (34 + band * 5, 39 + band * 5)
            pen.polygon(
                [(-upper, top), (upper, top), (lower, top + 60), (-lower, top + 60)],
                ScenePaint(band % 2 == 0 ? color.color : white))
        }
        pen.polygon([(-44, -328), (44, -328), (44, -316), (-44, -316)], Pen.ink)
        if pen.light == .night || pen.light == .sunset {
            pen.glow(radius: 260, SceneColor(255, 236, 160), 170, atHeight: -350)
        }
        pen.shine([(-24, -372), (24, -372), (24, -328), (-24, -328)], Pen.lamp)
        pen.polygon([(-34, -370), (0, -412), (34, -370)], ScenePaint(color.color, dark))
    }

    private func drawUmbrella(_ pen: inout Pen) {
        pen.shadow(110)
        pen.polygon([(-5, -190), (5, -190), (5, 0), (-5, 0)], Pen.wood)
        let rim = [-130, -80, -28, 28, 80, 130]
        for panel in 0..<5 {
            let paint =
                panel % 2 == 0
                ? ScenePaint(color.color) : ScenePaint(SceneColor(250, 246, 238))
            pen.polygon(
                [
                    (0, -236), (rim[panel] * 3 / 5, -206), (rim[panel], -136),
                    (rim[panel + 1], -136),
                    (rim[panel + 1] * 3 / 5, -206),
                ], paint)
        }
        pen.polygon(
            [(60, -22), (170, -22), (176, -4), (54, -4)],
            ScenePaint(bright, color.color))
    }

    private func drawCactus(_ pen: inout Pen) {
        pen.shadow(80)
        let paint = ScenePaint(SceneColor(92, 148, 82), SceneColor(38, 92, 58))
        for (left, right, top, bottom) in [
            (-30, 30, -240, 0), (-96, -62, -186, -96), (-96, -10, -124, -90),
            (60, 92, -206, -126), (10, 92, -150, -118),
        ] {
            pen.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], paint)
        }
        for (x, y, radius) in [(0, -240, 30), (-79, -186, 17), (76, -206, 16)] {
            pen.ellipse(x, y, radius, radius, ScenePaint(SceneColor(100, 156, 88)))
        }
        for x in [-15, 0, 15] {
            pen.polygon(
                [(x - 1, -236), (x + 2, -236), (x + 2, 0), (x - 1, 0)],
                ScenePaint(SceneColor(56, 108, 66)))
        }
        pen.ellipse(0, -270, 14, 12, ScenePaint(SceneColor(236, 110, 150)))
    }

    private func drawFlower(_ pen: inout Pen) {
        let stem = ScenePaint(SceneColor(70, 140, 60), SceneColor(36, 92, 44))
        pen.polygon([(-6, -190), (6, -190), (8, 0), (-8, 0)], stem)
        pen.polygon([(0, -50), (44, -112), (74, -104), (50, -60)], stem)
        pen.polygon([(0, -30), (-48, -86), (-78, -74), (-50, -36)], stem)
        let petal = ScenePaint(bright, color.color)
        for (x, y) in [(0, -58), (50, -29), (50, 29), (0, 58), (-50, 29), (-50, -29)] {
            pen.ellipse(x, y - 210, 38, 38, petal)
        }
        let eye = color.word == "yellow" ? SceneColor(120, 72, 30) : SceneColor(248, 206, 66)
        pen.ellipse(0, -210, 34, 34, ScenePaint(eye.lighter(by: 16), eye))
    }
}

/// Draws shapes around an origin, at a size, in the scene's light.
private struct Pen {
    var canvas: SampleCanvas
    let origin: ScenePoint
    let percent: Int
    let light: SceneLight

    static let wood = ScenePaint(SceneColor(124, 84, 52), SceneColor(84, 56, 38))
    static let ink = ScenePaint(SceneColor(36, 34, 42))
    static let glass = ScenePaint(SceneColor(150, 190, 214), SceneColor(84, 124, 156))
    static let lamp = ScenePaint(SceneColor(255, 226, 140), SceneColor(255, 198, 96))

    mutating func polygon(
        _ corners: [(Int, Int)], _ paint: ScenePaint, opacity: Int = 256
    ) {
        let shape = SceneShape.polygon(corners.map { point($0.0, $0.1) })
        canvas.fill(shape, paint.lit(by: light.onThings), opacity: opacity)
    }

    mutating func ellipse(
        _ x: Int, _ y: Int, _ radiusX: Int, _ radiusY: Int, _ paint: ScenePaint,
        opacity: Int = 256
    ) {
        canvas.fill(
            around(x, y, radiusX, radiusY), paint.lit(by: light.onThings), opacity: opacity)
    }

    /// Shapes that give light themselves.
    mutating func shine(_ corners: [(Int, Int)], _ paint: ScenePaint) {
        canvas.fill(.polygon(corners.map { point($0.0, $0.1) }), paint)
    }

    mutating func shine(_ x: Int, _ y: Int, _ radiusX: Int, _ radiusY: Int, _ paint: ScenePaint) {
        canvas.fill(around(x, y, radiusX, radiusY), paint)
    }

    mutating func glow(
        radius: Int, _ color: SceneColor, _ strength: Int, atHeight height: Int = 0
    ) {
        canvas.glow(
            at: point(0, height), radius: radius * percent / 100, color, strength: strength)
    }

    mutating func shadow(_ halfWidth: Int) {
        ellipse(16, 4, halfWidth, halfWidth / 8, ScenePaint(SceneColor(20, 24, 34)), opacity: 100)
    }

    private func point(_ x: Int, _ y: Int) -> ScenePoint {
        ScenePoint(origin.x + x * percent / 100, origin.y + y * percent / 100)
    }

    private func around(_ x: Int, _ y: Int, _ radiusX: Int, _ radiusY: Int) -> SceneShape {
        .ellipse(
            center: point(x, y), radiusX: radiusX * percent / 100,
            radiusY: radiusY * percent / 100)
    }
}

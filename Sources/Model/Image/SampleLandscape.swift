/// The time of day and the weather of a ``SampleScene``.
package enum SceneLight: CaseIterable, Sendable {
    case dawn, noon, overcast, sunset, night

    package var word: String {
        switch self {
        case .dawn: "morning"
        case .noon: "summer"
        case .overcast: "cloudy"
        case .sunset: "sunset"
        case .night: "night"
        }
    }

    var sky: ScenePaint {
        switch self {
        case .dawn: ScenePaint(SceneColor(128, 168, 214), SceneColor(252, 214, 190))
        case .noon: ScenePaint(SceneColor(44, 118, 208), SceneColor(176, 218, 244))
        case .overcast: ScenePaint(SceneColor(134, 146, 160), SceneColor(206, 212, 216))
        case .sunset: ScenePaint(SceneColor(70, 56, 124), SceneColor(255, 152, 66))
        case .night: ScenePaint(SceneColor(8, 12, 36), SceneColor(34, 46, 92))
        }
    }

    /// What falls on things; 256 is full.
    var onThings: SceneColor {
        switch self {
        case .dawn: SceneColor(250, 228, 222)
        case .noon: SceneColor(256, 256, 250)
        case .overcast: SceneColor(206, 212, 220)
        case .sunset: SceneColor(240, 176, 150)
        case .night: SceneColor(76, 88, 128)
        }
    }

    var cloud: SceneColor {
        switch self {
        case .dawn: SceneColor(255, 232, 226)
        case .noon: SceneColor(255, 255, 255)
        case .overcast: SceneColor(160, 168, 178)
        case .sunset: SceneColor(232, 96, 92)
        case .night: SceneColor(44, 54, 88)
        }
    }
}

/// Where a ``SampleScene`` is.
package enum ScenePlace: CaseIterable, Sendable {
    case sea, beach, lake, forest, mountains, meadow, desert, city, snow

    package var word: String {
        switch self {
        case .sea: "sea"
        case .beach: "beach"
        case .lake: "lake"
        case .forest: "forest"
        case .mountains: "mountains"
        case .meadow: "meadow"
        case .desert: "desert"
        case .city: "city"
        case .snow: "snow"
        }
    }

    var otherWord: String {
        switch self {
        case .sea: "ocean"
        case .beach: "sand"
        case .lake: "water"
        case .forest: "woods"
        case .mountains: "hiking"
        case .meadow: "grass"
        case .desert: "dunes"
        case .city: "skyline"
        case .snow: "winter"
        }
    }

    var preposition: String {
        switch self {
        case .beach, .lake, .sea: "at"
        default: "in"
        }
    }

    var objects: [SceneObject] {
        switch self {
        case .sea: [.boat, .ferry, .lighthouse, .birds, .sun, .moon, .balloon]
        case .beach: [.umbrella, .boat, .birds, .kite, .sun, .moon, .flower]
        case .lake: [.boat, .ferry, .birds, .balloon, .sun, .moon, .tent]
        case .forest: [.tree, .pine, .house, .tent, .birds, .flower, .moon]
        case .mountains: [.house, .pine, .tent, .balloon, .birds, .sun, .moon]
        case .meadow: [.windmill, .tree, .flower, .house, .kite, .balloon, .sun, .moon]
        case .desert: [.cactus, .tent, .birds, .sun, .moon, .balloon]
        case .city: [.balloon, .birds, .tree, .kite, .sun, .moon]
        case .snow: [.pine, .house, .tent, .birds, .sun, .moon]
        }
    }

    /// Where the ground begins, in thousandths of the height.
    fileprivate var horizon: Int {
        switch self {
        case .sea, .lake, .desert: 520
        case .beach: 430
        case .forest, .snow: 500
        case .mountains: 560
        case .meadow: 540
        case .city: 700
        }
    }

    /// From the farthest to the nearest.
    fileprivate var layers: [SceneLayer] {
        switch self {
        case .sea:
            [SceneLayer(.haze, at: -10, relief: 90, cell: 260), SceneLayer(.water, at: 0)]
        case .beach:
            [SceneLayer(.water, at: 0), SceneLayer(.sand, at: 420, relief: 70, cell: 700)]
        case .lake:
            [
                SceneLayer(.rock, at: -20, relief: 300, cell: 330),
                SceneLayer(.firs, at: 20, relief: 50, cell: 300), SceneLayer(.water, at: 60),
                SceneLayer(.grass, at: 800, relief: 120, cell: 500),
            ]
        case .forest:
            [
                SceneLayer(.haze, at: -60, relief: 200, cell: 400),
                SceneLayer(.firs, at: 40, relief: 160, cell: 300),
                SceneLayer(.firs, at: 330, relief: 100, cell: 260),
                SceneLayer(.grass, at: 460, relief: 40, cell: 400),
            ]
        case .mountains:
            [
                SceneLayer(.rock, at: -30, relief: 440, cell: 300),
                SceneLayer(.firs, at: 130, relief: 90, cell: 400),
                SceneLayer(.grass, at: 300, relief: 80, cell: 600),
            ]
        case .meadow:
            [
                SceneLayer(.haze, at: -40, relief: 140, cell: 330),
                SceneLayer(.grass, at: 20, relief: 90, cell: 420),
                SceneLayer(.flowers, at: 260, relief: 60, cell: 600),
            ]
        case .desert:
            [
                SceneLayer(.haze, at: -20, relief: 110, cell: 280),
                SceneLayer(.dunes, at: 60, relief: 140, cell: 420),
                SceneLayer(.dunes, at: 480, relief: 180, cell: 640),
            ]
        case .city:
            [
                SceneLayer(.farTowers, at: 0, relief: 330, cell: 240),
                SceneLayer(.towers, at: 150, relief: 400, cell: 300),
                SceneLayer(.water, at: 330), SceneLayer(.grass, at: 860, relief: 30, cell: 500),
            ]
        case .snow:
            [
                SceneLayer(.haze, at: -40, relief: 260, cell: 300),
                SceneLayer(.firs, at: 60, relief: 100, cell: 300),
                SceneLayer(.snow, at: 160, relief: 110, cell: 520),
            ]
        }
    }
}

private enum SceneMaterial {
    case water, sand, grass, flowers, firs, rock, dunes, haze, snow, farTowers, towers
}

/// A piece of ground behind others: what it is of, and how its upper edge runs.
private struct SceneLayer {
    let material: SceneMaterial
    /// Thousandths of the way from the horizon down to the lower edge of the picture.
    let position: Int
    /// How far the upper edge rises above its position, at most, in scene units.
    let relief: Int
    /// Over what distance it rises and falls.
    let cell: Int

    init(_ material: SceneMaterial, at position: Int, relief: Int = 0, cell: Int = 1024) {
        self.material = material
        self.position = position
        self.relief = relief
        self.cell = cell
    }
}

/// Sky and ground of a scene at a given size: the colour at each point.
struct SceneLandscape {
    let light: SceneLight
    let place: ScenePlace
    let width: Int
    let height: Int
    let horizon: Int

    private let noise: SceneNoise
    private let layers: [SceneLayer]
    /// Of each layer, the upper edge at each scene unit of the width.
    private let edges: [[Int]]
    private let cloudiness: Int

    init(place: ScenePlace, light: SceneLight, noise: SceneNoise, width: Int, height: Int) {
        self.place = place
        self.light = light
        self.noise = noise
        self.width = width
        self.height = height
        let horizon = height * (place.horizon - 40 + noise.value(1, 1) * 80 / 256) / 1000
        self.horizon = horizon
        layers = place.layers
        cloudiness = light == .overcast ? 150 : 20 + noise.value(2, 2) * 90 / 256
        edges = place.layers.enumerated().map { index, layer in
            let base = horizon + (height - horizon) * layer.position / 1000
            return (0...width).map { x in
                let at = ScenePoint(x + 4096 * index, 331 * index)
                return base - Self.rise(of: layer, at: at, noise)
            }
        }
    }

    /// The height at which things stand that are this near: 0 at the back, 1000 at the front.
    func ground(nearness: Int) -> Int {
        let back =
            switch place {
            case .sea: 120
            case .lake: 180
            case .beach: 560
            case .city: 900
            case .forest: 540
            default: 420
            }
        return horizon + (height - horizon) * (back + (940 - back) * nearness / 1000) / 1000
    }

    /// The height at which things swim that are this near.
    func water(nearness: Int) -> Int {
        let (back, front) =
            switch place {
            case .beach: (120, 330)
            case .lake: (200, 640)
            default: (150, 760)
            }
        return horizon + (height - horizon) * (back + (front - back) * nearness / 1000) / 1000
    }

    func color(_ at: ScenePoint) -> SceneColor {
        let column = min(at.x, width)
        for index in layers.indices.reversed() where at.y >= edges[index][column] {
            let depth = at.y - edges[index][column]
            return groundColor(layers[index].material, at, depth: depth, layer: index)
        }
        return skyColor(at)
    }

    private static func rise(of layer: SceneLayer, at: ScenePoint, _ noise: SceneNoise) -> Int {
        guard layer.relief > 0 else {
            return 0
        }
        let slope = noise.cloudy(at, cell: layer.cell) * layer.relief / 256
        switch layer.material {
        case .firs:
            // Pointed trees side by side, each with its own height.
            let tree = at.x / 26
            let fromMiddle = abs(at.x - tree * 26 - 13)
            return slope + noise.value(tree, 77) * 50 / 256 + (13 - fromMiddle) * 4
        case .towers, .farTowers:
            let tower = at.x / (layer.material == .towers ? 84 : 58)
            return 60 + noise.value(tower, 99) * layer.relief / 256
        case .sand, .grass, .flowers, .dunes, .snow:
            return noise.smooth(at, cellWidth: layer.cell, cellHeight: 64) * layer.relief / 256
        default:
            return slope
        }
    }

    private func skyColor(_ at: ScenePoint) -> SceneColor {
        let depth = min(256, at.y * 256 / max(1, horizon))
        var color = light.sky.top.mixed(with: light.sky.bottom, depth * depth / 256)
        if light == .night, depth < 250 {
            let star = noise.value(at.x / 5, at.y / 5 + 5000)
            if star > 252 {
                color = color.mixed(with: SceneColor(240, 240, 255), 90 + (star - 252) * 50)
            }
        }
        // Clouds flatten towards the horizon.
        let cloud = noise.cloudy(ScenePoint(at.x, at.y * (256 + depth) / 160), cell: 360)
        let cover = min(230, max(0, (cloud - 160 + cloudiness) * 4))
        return color.mixed(with: light.cloud, cover * (300 - depth) / 300)
    }

    private func groundColor(
        _ material: SceneMaterial, _ at: ScenePoint, depth: Int, layer: Int
    ) -> SceneColor {
        let near = min(256, depth * 256 / max(1, height - horizon))
        let lit = light.onThings
        switch material {
        case .water:
            return waterColor(at, near: near)
        case .sand:
            if depth < 22, light != .night {  // the surf
                let foam = noise.cloudy(at, cell: 60, flatness: 2)
                return SceneColor(244, 244, 238).lit(by: lit)
                    .mixed(with: light.sky.bottom, max(0, foam - 90))
            }
            let ripple = noise.cloudy(at, cell: 160, flatness: 5) / 8
            let grain = noise.value(at.x / 3, at.y / 3) / 16
            return SceneColor(212, 184, 136).lighter(by: ripple + grain - 24).lit(by: lit)
        case .grass, .flowers:
            let patch = noise.cloudy(at, cell: 220, flatness: 2) - 128
            let blade = noise.smooth(at, cellWidth: 5, cellHeight: 22) / 6
            let green = SceneColor(84 + patch / 4, 132 + patch / 5, 52)
            let color = green.lighter(by: blade - 20 - near / 10).lit(by: lit)
            return material == .flowers ? withBlossom(color, at) : color
        case .firs:
            let needle = noise.smooth(at, cellWidth: 7, cellHeight: 16) / 8
            let far = max(0, 90 - 60 * layer)
            return SceneColor(26, 62, 46).lighter(by: needle - depth / 12).lit(by: lit)
                .mixed(with: light.sky.bottom, far)
        case .rock:
            let fold = noise.cloudy(ScenePoint(at.x + at.y / 2, at.y), cell: 120)
            let ragged = noise.cloudy(at, cell: 90) / 2
            let isSnow = depth < 70 + ragged && at.y + 2 * ragged < horizon
            let stone = isSnow ? SceneColor(236, 240, 248) : SceneColor(112, 112, 122)
            return stone.lighter(by: (fold - 140) / 2).lit(by: lit)
                .mixed(with: light.sky.bottom, 70)
        case .dunes:
            let ripple = noise.cloudy(ScenePoint(at.x + 2 * at.y, 3 * at.y), cell: 90, flatness: 4)
            let slope = noise.smooth(at, cellWidth: 300, cellHeight: 200) / 5
            return SceneColor(206, 138, 76).lighter(by: ripple / 9 + slope - 46).lit(by: lit)
        case .haze:
            return SceneColor(92, 112, 138).lighter(by: noise.cloudy(at, cell: 80) / 12)
                .lit(by: lit).mixed(with: light.sky.bottom, 130)
        case .snow:
            let drift = noise.cloudy(at, cell: 260, flatness: 4) / 4
            let glint = noise.value(at.x / 3, at.y / 3) > 250 ? 20 : 0
            return SceneColor(208, 218, 234).lighter(by: drift - 30 + glint).lit(by: lit)
        case .farTowers:
            return SceneColor(104, 112, 132).lit(by: lit).mixed(with: light.sky.bottom, 120)
        case .towers:
            return towerColor(at, depth: depth)
        }
    }

    private func waterColor(_ at: ScenePoint, near: Int) -> SceneColor {
        let deep = light == .overcast ? SceneColor(64, 84, 96) : SceneColor(20, 84, 130)
        let mirrored = light.sky.bottom.mixed(with: deep.lit(by: light.onThings), 70 + near / 2)
        // Waves are seen flatter the farther away they are.
        let wave = noise.cloudy(
            ScenePoint(at.x, at.y * 300 / (60 + near)), cell: 50 + near / 2, flatness: 5)
        let crest = max(0, wave - 140) * (light == .night ? 1 : 2)
        return mirrored.lighter(by: (wave - 128) / 5)
            .mixed(with: light.sky.bottom.lighter(by: 20), min(200, crest))
    }

    private func towerColor(_ at: ScenePoint, depth: Int) -> SceneColor {
        let tower = at.x / 84
        let tint = noise.value(tower, 13) / 4
        let wall = SceneColor(70 + tint, 72 + tint, 86 + tint / 2).lit(by: light.onThings)
        let (column, row) = (at.x / 14, depth / 20)
        let isWindow = at.x % 14 > 4 && depth % 20 > 8 && depth > 12 && at.x % 84 > 8
        guard isWindow else {
            return wall
        }
        let isLamp = noise.value(column, row + 300) > (light == .night ? 120 : 235)
        return isLamp ? SceneColor(255, 216, 130) : wall.mixed(with: light.sky.bottom, 90)
    }

    private func withBlossom(_ grass: SceneColor, _ at: ScenePoint) -> SceneColor {
        let (column, row) = (at.x / 18, at.y / 12)
        let kind = noise.value(column, row + 900)
        let dx = at.x - column * 18 - 4 - kind % 10
        let dy = at.y - row * 12 - 6
        guard kind > 176, dx * dx + dy * dy * 2 < 14 else {
            return grass
        }
        let blossoms = [
            SceneColor(238, 74, 66), SceneColor(250, 222, 90), SceneColor(244, 240, 244),
            SceneColor(164, 110, 206),
        ]
        return blossoms[kind % blossoms.count].lit(by: light.onThings)
    }
}

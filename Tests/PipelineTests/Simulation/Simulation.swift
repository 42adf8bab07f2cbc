import Model
import Pipeline

/// One seed: up to two daemons that share the partitions, a while of faults, then calm until
/// everything is drained, then the verdict.
struct Simulation {
    private static let sessionTimeout: Milliseconds = 1_000
    private static let maximumSteps = 60_000

    private var world: World
    private var processes: [SimulatedProcess] = []
    /// Names without a living process, and when one is started.
    private var restarts: [(name: String, at: Milliseconds)] = []
    /// Members that the group will miss.
    private var silentMembers: [(member: Int, removedAt: Milliseconds)] = []
    private var incarnations = 0
    private let bug: PlantedBug?

    /// - Returns: what went wrong, nil where nothing did, and where the seed has been.
    static func run(
        seed: UInt64, bug: PlantedBug? = nil, isTracing: Bool = false
    ) -> (violation: Violation?, coverage: Coverage) {
        var simulation = Simulation(
            world: World(seed: seed, learns: bug?.isOfLearning, isTracing: isTracing), bug: bug)
        simulation.run()
        return (simulation.world.violation, simulation.world.coverage)
    }

    private init(world: World, bug: PlantedBug?) {
        self.world = world
        self.bug = bug
    }

    private mutating func run() {
        for name in ["A", "B"].prefix(1 + world.random(2)) {
            start(name)
        }
        let faultySteps = 200 + world.random(1_200)
        for step in 0..<Self.maximumSteps {
            if step == faultySteps { calmDown() }
            if world.hasFaults { disturb() }
            doOneThing()
            world.advance(by: Milliseconds(world.chance(50) ? world.random(60) : world.random(5)))
            removeSilentMembers()
            restartTheDead()
            if world.violation != nil { return }
            if !world.hasFaults, step % 8 == 0, processes.allSatisfy(\.isQuiet), world.isDrained {
                world.checkLogs()
                world.checkLearning(processes)
                return
            }
        }
        world.fail(.stuck, "no output for \(world.missing)")
    }

    private mutating func start(_ name: String) {
        incarnations += 1
        world.disks[name, default: SimulatedDisk()].holder = incarnations
        var process = SimulatedProcess(
            name: name, incarnation: incarnations, configuration: world.configuration, bug: bug)
        process.start(&world)
        processes.append(process)
    }

    private mutating func doOneThing() {
        let awake = processes.indices.filter { processes[$0].frozenUntil <= world.now.uptime }
        guard let index = world.pick(awake) else { return }
        do throws(SimulatedProcess.Death) {
            try processes[index].act(&world)
            if world.hasFaults, processes[index].isBetweenSteps, world.chance(60) {
                moveGroup(index)
            }
            if world.hasFaults, processes[index].isHalfSent, world.chance(60) {
                freeze(index, for: Milliseconds(1_000 + world.random(3_000)))
            }
        } catch {
            world.trace { "-- \(processes[index].name) ends: \(error.text)" }
            world.checkStop(of: processes[index])
            bury(index)
        }
    }

    private mutating func bury(_ index: Int) {
        let dead = processes.remove(at: index)
        if let member = dead.member {
            silentMembers.append((member, world.now.uptime + Self.sessionTimeout))
        }
        if !dead.isReplaced {
            let pause = world.chance(30) ? world.random(8_000) : world.random(200)
            restarts.append((dead.name, world.now.uptime + Milliseconds(pause)))
        }
    }

    private mutating func removeSilentMembers() {
        guard !silentMembers.isEmpty else { return }
        let now = world.now.uptime
        for silent in silentMembers where silent.removedAt <= now {
            world.broker.withGroup { $0.remove(silent.member) }
        }
        silentMembers.removeAll { $0.removedAt <= now }
    }

    private mutating func restartTheDead() {
        guard !restarts.isEmpty else { return }
        let due = restarts.filter { $0.at <= world.now.uptime }
        restarts.removeAll { $0.at <= world.now.uptime }
        for restart in due {
            start(restart.name)
        }
    }

    // MARK: - Faults

    private mutating func disturb() {
        guard world.chance(world.disturbanceRate), !processes.isEmpty else { return }
        let index = world.random(processes.count)
        switch world.random(9) {
        case 0:
            world.happened("crash")
            bury(index)
        case 1...3: moveGroup(index)
        case 4: freeze(index, for: Milliseconds(world.random(500)))
        case 5: freeze(index, for: Milliseconds(world.random(5_000)))
        case 6:
            world.happened("replaced while frozen")
            guard !processes[index].isReplaced else { return }
            freeze(index, for: Milliseconds(world.random(400)))
            replace(index)
        case 7:
            world.happened("stop")
            processes[index].askToStop(&world)
        default: world.moveWallClock()
        }
    }

    private mutating func moveGroup(_ index: Int) {
        if world.chance(500) {
            world.happened("rebalance")
            world.broker.withGroup { $0.rebalance(joined: nil) }
        } else if let member = processes[index].member {
            world.happened("thrown out")
            world.broker.withGroup { $0.remove(member) }
        }
    }

    private mutating func freeze(_ index: Int, for duration: Milliseconds) {
        world.happened("freeze")
        processes[index].freeze(until: world.now.uptime + duration)
        if duration > Self.sessionTimeout, let member = processes[index].member {
            silentMembers.append((member, world.now.uptime + Self.sessionTimeout))
        }
    }

    /// A second process with the same names is started: the first one is fenced, and does not
    /// know it yet.
    private mutating func replace(_ index: Int) {
        processes[index].isReplaced = true
        if let member = processes[index].member {
            world.broker.withGroup { $0.remove(member) }
        }
        start(processes[index].name)
    }

    private mutating func calmDown() {
        world.happened("calm")
        world.hasFaults = false
        for index in processes.indices {
            processes[index].frozenUntil = 0
        }
    }
}

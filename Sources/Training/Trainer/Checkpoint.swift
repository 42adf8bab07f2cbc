import Glibc
import Model

/// What training needs to go on as if it had never stopped, to the last bit: parameters, Adam's
/// moments, the best parameters so far, and the number of steps (draws follow from that).
///
/// `checkpoint.json` is written last and names the tensors' file, so that a kill at any moment
/// leaves either the old checkpoint or the new one.
struct Checkpoint: Codable {
    private static let file = "checkpoint.json"

    var tensors: String
    var sha256: String
    var steps: Int
    /// Squared errors and posts since the last check.
    var errorSum: Double
    var errorCount: Int
    var record: TrainingRecord

    private static let states: [Learner.State] = [.values, .means, .squares]

    static func write(
        _ learner: Learner, best: [String: [Float]], errorSum: Double, errorCount: Int,
        record: TrainingRecord, to folder: String
    ) throws(TrainingError) {
        let old = try load(folder: folder)
        var tensors = SafetensorsWriter()
        for (name, shape) in learner.tensors {
            for state in Self.states {
                tensors.add(
                    "\(state.rawValue)/\(name)", shape: shape, learner.tensor(name, state) ?? [])
            }
            if let values = best[name] { tensors.add("best/\(name)", shape: shape, values) }
        }
        let bytes = tensors.bytes()
        let name = "checkpoint-\(learner.steps).safetensors"
        try asTrainingError { () throws(ModelError) in
            try writeFile(bytes, to: "\(folder)/\(name)")
        }
        try writeJSON(
            Checkpoint(
                tensors: name, sha256: sha256Hex(bytes), steps: learner.steps,
                errorSum: errorSum, errorCount: errorCount, record: record),
            to: "\(folder)/\(file)")
        if let old, old.tensors != name { unlink("\(folder)/\(old.tensors)") }
    }

    static func load(folder: String) throws(TrainingError) -> Checkpoint? {
        try readJSONIfThere(Checkpoint.self, at: "\(folder)/\(file)")
    }

    static func remove(folder: String) throws(TrainingError) {
        guard let checkpoint = try load(folder: folder) else { return }
        unlink("\(folder)/\(file)")
        unlink("\(folder)/\(checkpoint.tensors)")
    }

    /// Puts everything back.
    /// - Returns: the best parameters so far.
    func restore(_ learner: Learner, folder: String) throws(TrainingError) -> [String: [Float]] {
        let tensors = try asTrainingError { () throws(ModelError) in
            let file = try MappedFile(path: "\(folder)/\(self.tensors)")
            try file.requireChecksum(sha256)
            return try Safetensors(file: file)
        }
        func read(_ name: String, _ shape: [Int]) throws(TrainingError) -> [Float] {
            try asTrainingError { () throws(ModelError) in
                try tensors.tensor(name, shape: shape).contents()
            }
        }
        var best: [String: [Float]] = [:]
        for (name, shape) in learner.tensors {
            for state in Self.states {
                try learner.setTensor(name, read("\(state.rawValue)/\(name)", shape), state)
            }
            if tensors.shape(of: "best/\(name)") != nil {
                best[name] = try read("best/\(name)", shape)
            }
        }
        learner.ready(steps: steps)
        return best
    }
}

import Glibc
import Model

/// What training needs to go on as if it had never stopped, to the last bit: parameters, Adam's
/// moments, the best parameters so far, and the number of steps (draws follow from that).
///
/// There are two files for tensors, written in turns. `checkpoint.json` is written after them and
/// names the one that counts, so that a kill at any moment leaves either the old checkpoint or the
/// new one.
struct Checkpoint: Codable {
    private static let file = "checkpoint.json"
    private static let tensorFiles = ["checkpoint-a.safetensors", "checkpoint-b.safetensors"]

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
        let name = Self.tensorFiles[old?.tensors == Self.tensorFiles[0] ? 1 : 0]
        try asTrainingError { () throws(ModelError) in
            try writeFile(bytes, to: "\(folder)/\(name)")
        }
        try writeJSON(
            Checkpoint(
                tensors: name, sha256: sha256Hex(bytes), steps: learner.steps,
                errorSum: errorSum, errorCount: errorCount, record: record),
            to: "\(folder)/\(file)")
    }

    static func load(folder: String) throws(TrainingError) -> Checkpoint? {
        try readJSONIfThere(Checkpoint.self, at: "\(folder)/\(file)")
    }

    static func remove(folder: String) {
        for name in [file] + tensorFiles {
            unlink("\(folder)/\(name)")
            unlink("\(folder)/\(name).part")
        }
    }

    /// Puts everything back.
    /// - Returns: the best parameters so far.
    func restore(_ learner: Learner, folder: String) throws(TrainingError) -> [String: [Float]] {
        let path = "\(folder)/\(self.tensors)"
        guard let file = try? MappedFile(path: path), file.sha256() == sha256 else {
            throw .file(
                path: path,
                reason: "not the file that checkpoint.json names; restore it, or delete "
                    + "checkpoint.json there to train from the beginning")
        }
        let tensors = try asTrainingError { () throws(ModelError) in try Safetensors(file: file) }
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

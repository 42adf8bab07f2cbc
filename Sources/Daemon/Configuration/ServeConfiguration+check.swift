import Glibc
import Kafka
import Model

extension ServeConfiguration {
    /// Whether what the settings name can be used on this machine. Connects to nothing, writes
    /// nothing.
    ///
    /// - Parameter openModel: opens the bundle that `model` names.
    /// - Throws: All problems found.
    package func checkMachine(
        openModel: () throws -> ModelBundle
    ) throws(ConfigurationError) {
        var problems: [ConfigurationError.Problem] = []
        func report(_ subject: String, _ message: String) {
            problems.append(ConfigurationError.Problem(subject: subject, message: message))
        }
        do {
            let bundle = try openModel()
            if let problem = labels.rule(for: bundle.configuration.target).problem {
                report("labels.tracked_horizons_days", "with this model: \(problem)")
            }
        } catch {
            report("model", "\(error)")
        }
        do throws(KafkaError) {
            try consumer { _ in }.checkConsumer()
            let transactionalID = delivery == .exactlyOnce ? kafka.transactionalID : nil
            try producer(transactionalID: transactionalID) { _ in }.checkProducer()
        } catch {
            report("kafka.properties", error.text)
        }
        for root in images.fetching.fileRoots {
            if let reason = Self.obstacle(to: R_OK | X_OK, folder: root) {
                report("images.file_roots", "\(root) cannot be read: \(reason)")
            }
        }
        if learning.isEnabled, let reason = stateFolderProblem {
            report("learning.state_folder", reason)
        }
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
    }

    /// The folder, or the one above it in which it would be made, must take files.
    private var stateFolderProblem: String? {
        let folder = learning.stateFolder
        if access(folder, F_OK) == 0 {
            return Self.obstacle(to: W_OK | X_OK, folder: folder)
                .map { "\(folder) cannot be written to: \($0)" }
        }
        let slash = folder.lastIndex(of: "/")
        let above = slash.map { $0 == folder.startIndex ? "/" : String(folder[..<$0]) } ?? "."
        return Self.obstacle(to: W_OK | X_OK, folder: above)
            .map { "\(folder) cannot be made in \(above): \($0)" }
    }

    private static func obstacle(to mode: Int32, folder: String) -> String? {
        var status = stat()
        guard stat(folder, &status) == 0 else { return String(cString: strerror(errno)) }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "it is not a folder" }
        return access(folder, mode) == 0 ? nil : String(cString: strerror(errno))
    }
}

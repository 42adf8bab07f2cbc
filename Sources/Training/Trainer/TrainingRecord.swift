/// `training.json`: what was trained on what, and how it went.
package struct TrainingRecord: Sendable, Equatable, Codable {
    package static let file = "training.json"

    package var settings: TrainingSettings
    /// The prepared dataset's version.
    package var dataset: String
    /// Of the gallery's gallery.json, where the posts are a synthetic gallery's.
    package var gallery_sha256: String?
    /// Of the features; nil where no image was read.
    package var features: FeatureIdentity?
    /// Posts to train on and to validate with whose image has features.
    package var images: Int?
    package var checks: [Check] = []
    package var finished = false
    /// Why training ended: "patience", "epochs"; nil while it goes on.
    package var ended_by: String?
    /// Of computing, over all runs of the program.
    package var seconds = 0.0

    /// A measurement of the validation error.
    package struct Check: Sendable, Equatable, Codable {
        package var step: Int
        package var epoch: Double
        /// Mean squared error of the training batches since the check before.
        package var training_error: Double
        package var validation_error: Double
        package var is_best: Bool
    }

    package var best: Check? { checks.last { $0.is_best } }

    /// That of a folder; nil where it has none.
    package static func load(folder: String) throws(TrainingError) -> TrainingRecord? {
        try readJSONIfThere(TrainingRecord.self, at: "\(folder)/\(file)")
    }
}

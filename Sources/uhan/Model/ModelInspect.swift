import ArgumentParser
import Model

struct ModelInspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Check a model bundle and say what it holds.",
        discussion: """
            Loads the bundle as the daemon would, every checksum, shape and value checked, and \
            prints one JSON object.

              uhan model inspect model
            """)

    @Argument(help: "The bundle's folder.")
    var bundle: String

    private struct Report: Encodable {
        let version: String
        let name: String
        let untrained: Bool
        let dimension: Int
        let dense: [Int]
        let image_side: Int
        let normalization: String
        let regions: Int
        let backbone_blocks: [[Int]]
        let backbone_origin: String
        let backbone_sha256: String
        let maximum_words: Int
        let lstm_gate: String
        let words: Int
        let users: Int
        let user_histories: Bool
        let minimum_days: Double
        let smearing: Double?
        let horizon_days: Double?
    }

    func run() throws {
        let model = try openModel(bundle)
        _ = try model.makeBackbone(workers: Workers(count: 1))
        let configuration = model.configuration
        try printJSON(
            Report(
                version: model.version, name: configuration.name, untrained: model.isUntrained,
                dimension: configuration.dimension, dense: configuration.dense,
                image_side: configuration.image.side,
                normalization: configuration.image.normalization.rawValue,
                regions: configuration.regions, backbone_blocks: configuration.backbone.blocks,
                backbone_origin: configuration.backbone.origin,
                backbone_sha256: configuration.backbone.sha256,
                maximum_words: configuration.maximum_words,
                lstm_gate: configuration.lstm_gate.rawValue, words: model.vocabulary.count,
                users: model.users.count, user_histories: model.users.hasHistories,
                minimum_days: configuration.target.minimum_days,
                smearing: configuration.target.smearing,
                horizon_days: configuration.target.horizon_days))
        if model.isUntrained { say("untrained weights: scores made with them mean nothing") }
    }
}

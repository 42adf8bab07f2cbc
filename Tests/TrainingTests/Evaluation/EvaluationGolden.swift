import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What scikit-learn, SciPy and NumPy say: `Tests/Golden/evaluation`, written by
/// `Scripts/golden-evaluation.py`.
enum EvaluationGolden {
    struct TFIDF: Decodable {
        let vocabulary: [String]
        let training: [String]
        let texts: [String]
        let idf: [Double]
        let rows: [[Double]]
    }

    struct SVR: Decodable {
        struct Case: Decodable {
            let loss: String
            let c: Double
            let epsilon: Double
            let weights: [Double]
            let objective: Double
            let predictions: [Double]
        }
        let rows: [[Double]]
        let targets: [Double]
        let others: [[Double]]
        let cases: [Case]
    }

    struct Color: Decodable {
        let width: Int
        let height: Int
        let rgb: [UInt8]
        let values: [Double]
    }

    struct Metrics: Decodable {
        let users: [String]
        let targets: [Float]
        let predictions: [Float]
        let mse: Double
        let mae: Double
        let spearman: Double
        let macro_mse: Double
        let macro_mae: Double
        let macro_spearman: Double
        let spearman_users: Int
        let sample: [Double]
        let percentiles: [Double]
    }

    static func load<Content: Decodable>(_ type: Content.Type, _ name: String) throws -> Content {
        let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        let path = tests.joined(separator: "/") + "/Golden/evaluation/" + name
        return try JSONDecoder().decode(type, from: Data(MappedFile(path: path).contents()))
    }
}

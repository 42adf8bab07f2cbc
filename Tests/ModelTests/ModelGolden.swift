import Model
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What PyTorch in float64 makes of small networks: `Tests/Golden/model`, written by
/// `Scripts/golden-model.py`. Its README names every tensor.
enum ModelGolden {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        let number: Int
        let bundle: String
        let name: String
        let title: String
        let alltags: String
        let description: String?
        let uid: String
        let image: String?
        let words: [String]
        let ids: [Int32]
        let score: Double

        var testDescription: String { "\(number): \(name) (\(bundle))" }
    }

    struct Layer: Decodable, Sendable, CustomTestStringConvertible {
        struct Sample: Decodable, Sendable {
            let y: Int
            let x: Int
            let channel: Int
            let value: Double

            init(from decoder: any Decoder) throws {
                var values = try decoder.unkeyedContainer()
                y = try values.decode(Int.self)
                x = try values.decode(Int.self)
                channel = try values.decode(Int.self)
                value = try values.decode(Double.self)
            }
        }
        let name: String
        let seed: UInt64
        let side: Int
        let input_channels: Int
        let output_channels: Int
        let weight_shift: Int
        let bias_shift: Int
        let first_input: [Float]
        let first_weight: [Float]
        let first_bias: [Float]
        let l2_norm: Double
        let samples: [Sample]

        var testDescription: String { name }
    }

    static let folder: String = {
        let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
        return tests.joined(separator: "/") + "/Golden/model"
    }()

    static let cases: [Case] = load("cases.json")
    static let layers: [Layer] = load("vgg16-layers.json")

    /// The tensor `case/step`; nil where the case has no such step.
    static func step(_ name: String, of golden: Case) throws -> [Double]? {
        let file = try Safetensors(path: "\(folder)/cases.safetensors")
        let tensor = "\(golden.number)/\(name)"
        guard let shape = file.shape(of: tensor) else { return nil }
        return try file.tensor(tensor, shape: shape).values.map(Double.init)
    }

    static func pixels(_ name: String) throws -> Pixels {
        let file = try MappedFile(path: "\(folder)/images/\(name).rgb")
        return Pixels(width: 96, height: 96, rgb: file.contents())
    }

    /// No golden file at all fails every test that uses it: an empty list of cases would pass.
    private static func load<Content: Decodable>(_ name: String) -> [Content] {
        let data = try? Data(contentsOf: URL(filePath: "\(folder)/\(name)"))
        return data.flatMap { try? JSONDecoder().decode([Content].self, from: $0) } ?? []
    }
}

/// |a - b| / |b|, Euclidean.
func relativeError(_ a: [Double], _ b: [Double]) -> Double {
    guard a.count == b.count else { return .infinity }
    let difference = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let norm = b.reduce(0) { $0 + $1 * $1 }
    return (difference / max(norm, 1e-300)).squareRoot()
}

func relativeError(_ a: [Float], _ b: [Double]) -> Double {
    relativeError(a.map(Double.init), b)
}

func largestDifference(_ a: [Float], _ b: [Double]) -> Double {
    guard a.count == b.count else { return .infinity }
    return zip(a, b).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
}

/// A strict reader of Prometheus' text format, version 0.0.4: what is not exactly as described there
/// is an error.
struct PrometheusPage {
    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    struct Sample: Equatable {
        let name: String
        let labels: [String: String]
        let value: Double
    }

    struct Family {
        var type: String
        var help: String
        var samples: [Sample] = []
    }

    private(set) var families: [String: Family] = [:]

    init(_ text: String) throws {
        guard text.last == "\n" else { throw Problem(description: "the last line has no end") }
        var current = ""
        var help: (name: String, text: String)?
        for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
            let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
                .map(String.init)
            if line.hasPrefix("# HELP "), words.count == 4 {
                help = (words[2], words[3])
            } else if line.hasPrefix("# TYPE "), words.count == 4 {
                guard families[words[2]] == nil,
                    ["counter", "gauge", "histogram"].contains(words[3]),
                    help == nil || help?.name == words[2]
                else { throw Problem(description: "unexpected: \(line)") }
                current = words[2]
                families[current] = Family(type: words[3], help: help?.text ?? "")
                help = nil
            } else {
                let sample = try Self.sample(line)
                let suffixes =
                    families[current]?.type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                guard suffixes.contains(where: { sample.name == current + $0 }),
                    families[current]?.samples.contains(where: {
                        $0.name == sample.name && $0.labels == sample.labels
                    }) == false
                else { throw Problem(description: "out of place, or twice: \(line)") }
                families[current]?.samples.append(sample)
            }
        }
        for (name, family) in families { try Self.check(name, family) }
    }

    /// - Returns: nil where there is no such sample.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        families.values.lazy.flatMap(\.samples)
            .first { $0.name == name && $0.labels == labels }?.value
    }

    /// Over all labels.
    func total(_ name: String) -> Double {
        families.values.flatMap(\.samples).filter { $0.name == name }.reduce(0) { $0 + $1.value }
    }

    private static func check(_ name: String, _ family: Family) throws {
        let isCounter = family.type == "counter"
        guard isCounter == name.hasSuffix("_total") else {
            throw Problem(description: "\(name) is a \(family.type)")
        }
        for sample in family.samples where family.type != "gauge" && sample.value < 0 {
            throw Problem(description: "negative: \(sample)")
        }
        guard family.type == "histogram" else { return }
        let groups = Dictionary(grouping: family.samples) { sample in
            sample.labels.filter { $0.key != "le" }
        }
        for (labels, samples) in groups {
            let buckets = samples.filter { $0.name == "\(name)_bucket" }
            let bounds = buckets.compactMap { $0.labels["le"].flatMap(Self.number) }
            let count = samples.first { $0.name == "\(name)_count" }?.value
            guard bounds.count == buckets.count, zip(bounds, bounds.dropFirst()).allSatisfy(<),
                zip(buckets, buckets.dropFirst()).allSatisfy({ $0.value <= $1.value }),
                bounds.last == .infinity, buckets.last?.value == count,
                samples.contains(where: { $0.name == "\(name)_sum" })
            else { throw Problem(description: "no histogram: \(name) \(labels)") }
        }
    }

    private static func sample(_ line: Substring) throws -> Sample {
        let problem = Problem(description: "no sample: \(line)")
        let name = line.prefix { isOfName($0) }
        guard let first = name.first, !first.isNumber else { throw problem }
        var rest = line.dropFirst(name.count)
        var labels: [String: String] = [:]
        if rest.first == "{" {
            rest.removeFirst()
            while rest.first != "}" {
                let label = rest.prefix { isOfName($0) }
                rest = rest.dropFirst(label.count)
                guard !label.isEmpty, rest.hasPrefix("=\"") else { throw problem }
                rest = rest.dropFirst(2)
                var value = ""
                while let character = rest.popFirst(), character != "\"" {
                    guard character == "\\" else {
                        value.append(character)
                        continue
                    }
                    switch rest.popFirst() {
                    case "\\": value.append("\\")
                    case "\"": value.append("\"")
                    case "n": value.append("\n")
                    default: throw problem
                    }
                }
                guard labels.updateValue(value, forKey: String(label)) == nil else { throw problem }
                guard rest.first == "," || rest.first == "}" else { throw problem }
                if rest.first == "," {
                    rest.removeFirst()
                    guard rest.first != "}" else { throw problem }
                }
            }
            rest.removeFirst()
        }
        guard rest.first == " ", let value = number(String(rest.dropFirst())) else { throw problem }
        return Sample(name: String(name), labels: labels, value: value)
    }

    private static func number(_ text: String) -> Double? {
        switch text {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        case "NaN": .nan
        default: text.contains(where: \.isLetter) && !text.contains("e") ? nil : Double(text)
        }
    }

    private static func isOfName(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || character == "_")
    }
}

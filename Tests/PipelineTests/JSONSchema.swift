import Model
import Pipeline

/// As much of JSON Schema (draft 2020-12) as the schemas of this project use. A keyword that is
/// not known here is an error, so that no schema says more than is checked.
struct JSONSchema {
    private let root: JSONValue

    init(_ root: JSONValue) {
        self.root = root
    }

    /// What is wrong with the value, each with its place; empty when it validates.
    func errors(in value: JSONValue) -> [String] {
        errors(value, root, "$")
    }

    private func errors(_ value: JSONValue, _ schema: JSONValue, _ place: String) -> [String] {
        guard case .object(let keywords) = schema else { return ["\(place): no schema"] }
        return keywords.sorted { $0.key.string < $1.key.string }.flatMap { keyword, argument in
            errors(value, keyword.string, argument, keywords, place)
        }
    }

    private func errors(
        _ value: JSONValue, _ keyword: String, _ argument: JSONValue,
        _ keywords: [CodePoints: JSONValue], _ place: String
    ) -> [String] {
        func require(_ condition: Bool) -> [String] {
            condition ? [] : ["\(place): \(value.summary) against \(keyword) \(argument)"]
        }
        switch (keyword, argument, value) {
        case ("$schema", _, _), ("$id", _, _), ("$defs", _, _), ("title", _, _),
            ("description", _, _), ("contentEncoding", _, _):
            return []
        case ("$ref", .string(let reference), _):
            guard let target = definition(reference) else { return ["\(place): \(reference)?"] }
            return errors(value, target, place)
        case ("const", _, _):
            return require(value == argument)
        case ("enum", .array(let values), _):
            return require(values.contains(value))
        case ("type", .string(let name), _):
            return require(value.has(type: name))
        case ("type", .array(let names), _):
            return require(names.contains { name in value.has(type: name.text) })
        case ("allOf", .array(let schemas), _):
            return schemas.flatMap { errors(value, $0, place) }
        case ("oneOf", .array(let schemas), _):
            return require(schemas.count { errors(value, $0, place).isEmpty } == 1)
        case ("not", let schema, _):
            return require(!errors(value, schema, place).isEmpty)

        case ("required", .array(let names), .object(let members)):
            return names.filter { members[$0.text] == nil }.map { "\(place): no \($0.text)" }
        case ("properties", .object(let schemas), .object(let members)):
            return members.sorted { $0.key.string < $1.key.string }.flatMap { name, member in
                schemas[name].map { errors(member, $0, "\(place).\(name.string)") } ?? []
            }

        case ("prefixItems", .array(let schemas), .array(let elements)):
            return zip(schemas, elements).enumerated().flatMap { index, pair in
                errors(pair.1, pair.0, "\(place)[\(index)]")
            }
        case ("items", let schema, .array(let elements)):
            return elements.enumerated().flatMap { index, element in
                errors(element, schema, "\(place)[\(index)]")
            }
        case ("minItems", let bound, .array(let elements)):
            return require(Double(elements.count) >= bound.double)
        case ("maxItems", let bound, .array(let elements)):
            return require(Double(elements.count) <= bound.double)
        case ("uniqueItems", .bool(true), .array(let elements)):
            return require(Set(elements.map { "\($0)" }).count == elements.count)

        case ("minimum", let bound, .number):
            return require(value.double >= bound.double)
        case ("maximum", let bound, .number):
            return require(value.double <= bound.double)

        case ("minLength", let bound, .string(let text)):
            return require(Double(text.unicodeScalars.count) >= bound.double)
        case ("maxLength", let bound, .string(let text)):
            return require(Double(text.unicodeScalars.count) <= bound.double)
        case ("pattern", .string(let pattern), .string(let text)):
            guard let regex = try? Regex(pattern) else { return ["\(place): pattern \(pattern)?"] }
            return require(text.contains(regex))

        case ("required", _, _), ("properties", _, _), ("prefixItems", _, _), ("items", _, _),
            ("minItems", _, _), ("maxItems", _, _), ("uniqueItems", _, _), ("minimum", _, _),
            ("maximum", _, _), ("minLength", _, _), ("maxLength", _, _), ("pattern", _, _):
            return []  // It speaks of another type.
        default:
            return ["\(place): the keyword \(keyword) is not known to this check"]
        }
    }

    private func definition(_ reference: String) -> JSONValue? {
        let prefix = "#/$defs/"
        guard reference.hasPrefix(prefix), case .object(let members) = root,
            case .object(let definitions) = members["$defs"]
        else { return nil }
        return definitions[String(reference.dropFirst(prefix.count))]
    }
}

extension JSONValue {
    var text: String {
        if case .string(let text) = self { text } else { "" }
    }

    var double: Double {
        if case .number(let digits) = self { Double(digits) ?? .nan } else { .nan }
    }

    func has(type name: String) -> Bool {
        switch (name, self) {
        case ("null", .null), ("boolean", .bool), ("number", .number), ("string", .string),
            ("array", .array), ("object", .object):
            true
        case ("integer", .number): double == double.rounded()
        default: false
        }
    }
}

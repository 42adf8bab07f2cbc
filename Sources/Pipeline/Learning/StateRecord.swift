import Model

/// The compacted topics that hold the learning state.
package enum StateTopic: String, CaseIterable, Sendable {
    /// A user's vectors, by user and model: `schemas/user.v1.json`.
    case users
    /// Scored posts and early views that wait for each other: `schemas/scored-post.v1.json` and
    /// `schemas/view.v1.json`.
    case joins
    /// Kept encodings of posts: bytes, not JSON.
    case encodings
}

/// A change as it stands in its topic.
package struct StateRecord: Equatable, Sendable {
    package var topic: StateTopic
    package var key: [UInt8]
    /// nil, a tombstone, where something is forgotten.
    package var value: [UInt8]?
}

extension StateChange {
    package var record: StateRecord {
        let key = self.key
        return StateRecord(topic: key.topic, key: key.json, value: value)
    }

    private var key: StateKey {
        switch self {
        case .user(let state): .user(model: state.model, uid: state.uid)
        case .forgottenUser(let uid, let model): .user(model: model, uid: uid)
        case .post(let post): .post(uid: post.uid, pid: post.pid)
        case .forgottenPost(let uid, let pid): .post(uid: uid, pid: pid)
        case .earlyView(let view, let number): .early(uid: view.uid, pid: view.pid, number: number)
        case .forgottenEarlyView(let uid, let pid, let number):
            .early(uid: uid, pid: pid, number: number)
        case .encoding(let uid, let pid, _, _), .forgottenEncoding(let uid, let pid):
            .encoding(uid: uid, pid: pid)
        }
    }

    private var value: [UInt8]? {
        switch self {
        case .user(let state): state.json
        case .post(let post): post.json
        case .earlyView(let view, _): view.json
        case .encoding(_, _, let model, let bytes): EncodingValue(model: model, bytes: bytes).value
        case .forgottenUser, .forgottenPost, .forgottenEarlyView, .forgottenEncoding: nil
        }
    }

    /// Reads a record back. The key says what it is of.
    ///
    /// - Throws: `StateError` where key or value is not what `record` gives, or the two do not
    ///   speak of the same user, post or model.
    package init(key: [UInt8], value: [UInt8]?) throws(StateError) {
        do throws(JSONError) {
            let parsed = try StateKey(parsing: key)
            self =
                if let value { try Self(parsed, value) } else { Self(forgetting: parsed) }
        } catch {
            throw StateError(key: key, found: error.found, expected: error.expected)
        }
    }

    private init(forgetting key: StateKey) {
        self =
            switch key {
            case .user(let model, let uid): .forgottenUser(uid: uid, model: model)
            case .post(let uid, let pid): .forgottenPost(uid: uid, pid: pid)
            case .early(let uid, let pid, let number):
                .forgottenEarlyView(uid: uid, pid: pid, number: number)
            case .encoding(let uid, let pid): .forgottenEncoding(uid: uid, pid: pid)
            }
    }

    private init(_ key: StateKey, _ value: [UInt8]) throws(JSONError) {
        switch key {
        case .user(let model, let uid):
            let state = try LearnerState(parsing: value)
            try Self.require("uid", state.uid, is: uid)
            try Self.require("model", state.model, is: model)
            self = .user(state)
        case .post(let uid, let pid):
            let post = try ScoredPost(parsing: value)
            try Self.require("uid", post.uid, is: uid)
            try Self.require("pid", post.pid, is: pid)
            self = .post(post)
        case .early(let uid, let pid, let number):
            let view = try ViewEvent(record: value)
            try Self.require("uid", view.uid, is: uid)
            try Self.require("pid", view.pid, is: pid)
            self = .earlyView(view, number: number)
        case .encoding(let uid, let pid):
            let encoding = try EncodingValue(parsing: value)
            self = .encoding(uid: uid, pid: pid, model: encoding.model, bytes: encoding.bytes)
        }
    }

    /// - Throws: where the record holds a vector of this model that is not of the model's size.
    package func requireDimension(_ dimension: Int, of model: String) throws(StateError) {
        guard case .user(let state) = self, CodePoints(state.model) == CodePoints(model),
            let count = state.current?.values.count, count != dimension
        else { return }
        throw StateError(
            key: record.key, found: "vectors of \(count) values", expected: "\(dimension) values")
    }

    private static func require(
        _ name: String, _ found: String, is expected: String
    ) throws(JSONError) {
        guard CodePoints(found) == CodePoints(expected) else {
            throw JSONError(
                found: "\(name) \"\(found.clipped)\" in the value",
                expected: "\"\(expected.clipped)\" as in the key")
        }
    }
}

/// A record of the learning state that cannot be read. Going on without it would be learning from
/// another state than the committed one, so whoever restores has to stop.
package struct StateError: Error, Equatable, Sendable, CustomStringConvertible {
    /// As text; at most 200 characters of it.
    package var key: String
    package var found: String
    package var expected: String

    init(key: [UInt8], found: String, expected: String) {
        let text = String(decoding: key.prefix(200), as: UTF8.self)
        self.key = key.count > 200 ? text + "..." : text
        self.found = found
        self.expected = expected
    }

    package var description: String {
        "the state record with key \(key) cannot be read: found \(found), expected \(expected). "
            + "If a newer version wrote it, run that one; else give up what it holds by producing "
            + "a record with this key and no value to its topic and partition"
    }
}

/// What a state record is of. Its bytes name it under compaction, so each key has one spelling:
/// `["user","<model>","<uid>"]`, `["post","<uid>","<pid>"]`, `["early","<uid>","<pid>",<number>]`,
/// `["encoding","<uid>","<pid>"]`.
private enum StateKey {
    case user(model: String, uid: String)
    case post(uid: String, pid: String)
    case early(uid: String, pid: String, number: Int)
    case encoding(uid: String, pid: String)

    var topic: StateTopic {
        switch self {
        case .user: .users
        case .post, .early: .joins
        case .encoding: .encodings
        }
    }

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.array { array in
            switch self {
            case .user(let model, let uid):
                array.string("user")
                array.string(model)
                array.string(uid)
            case .post(let uid, let pid):
                array.string("post")
                array.string(uid)
                array.string(pid)
            case .early(let uid, let pid, let number):
                array.string("early")
                array.string(uid)
                array.string(pid)
                array.integer(Int64(number))
            case .encoding(let uid, let pid):
                array.string("encoding")
                array.string(uid)
                array.string(pid)
            }
        }
        return writer.bytes
    }

    /// Whole in JSON, and far from the end of Int: they count up.
    private static let maximumNumber = 1 << 53

    init(parsing bytes: [UInt8]) throws(JSONError) {
        let unknown = JSONError(
            found: "a key of another kind",
            expected: "[\"user\",model,uid], [\"post\",uid,pid], [\"early\",uid,pid,number] or "
                + "[\"encoding\",uid,pid]")
        guard case .array(let parts) = try JSONValue(parsing: bytes), 3...4 ~= parts.count,
            case .string(let kind) = parts[0], case .string(let first) = parts[1],
            case .string(let second) = parts[2]
        else { throw unknown }
        switch (kind, parts.dropFirst(3).first) {
        case ("user", nil): self = .user(model: first, uid: second)
        case ("post", nil): self = .post(uid: first, pid: second)
        case ("early", .number(let digits)):
            guard let number = Int(digits), 0..<Self.maximumNumber ~= number else { throw unknown }
            self = .early(uid: first, pid: second, number: number)
        case ("encoding", nil): self = .encoding(uid: first, pid: second)
        default: throw unknown
        }
        guard json == bytes else {
            throw JSONError(
                found: "another spelling of the key \(String(decoding: json, as: UTF8.self))",
                expected: "that one")
        }
    }
}

/// The value of an encoding's record: the byte 1 (this format), the length in bytes of the model's
/// version (16 bits, little-endian), the version in UTF-8, and then the bytes of the encoding.
private struct EncodingValue {
    private static let format: UInt8 = 1
    private static let headerBytes = 3

    var model: String
    var bytes: [UInt8]

    init(model: String, bytes: [UInt8]) {
        self.model = model
        self.bytes = bytes
    }

    /// The record's value.
    var value: [UInt8] {
        let name = Array(model.utf8)
        let header = [Self.format, UInt8(name.count & 0xFF), UInt8(name.count >> 8 & 0xFF)]
        return header + name + bytes
    }

    init(parsing value: [UInt8]) throws(JSONError) {
        guard value.count > Self.headerBytes, value[0] == Self.format else {
            throw JSONError(
                found: value.first.map { "\(value.count) bytes that begin with \($0)" }
                    ?? "no bytes",
                expected: "an encoding, which begins with \(Self.format)")
        }
        let length = Int(value[1]) | Int(value[2]) << 8
        let rest = value.dropFirst(Self.headerBytes)
        guard 1...EventLimits.identifierBytes ~= length, length < rest.count,
            let model = String(validating: rest.prefix(length), as: UTF8.self)
        else {
            throw JSONError(
                found: "no model's version of \(length) bytes before an encoding",
                expected: "one of 1 to \(EventLimits.identifierBytes) bytes, in UTF-8")
        }
        self.model = model
        bytes = Array(rest.dropFirst(length))
    }
}

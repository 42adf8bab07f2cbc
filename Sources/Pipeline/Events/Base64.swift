/// Base64 of RFC 4648, section 4: the standard alphabet, padded, without line breaks, and with
/// the unused bits of the last character zero, so that each byte string has one spelling.
package enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let invalid: UInt8 = 0xFF
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: invalid, count: 256)
        for (value, character) in alphabet.enumerated() {
            values[Int(character)] = UInt8(value)
        }
        return values
    }()

    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var index = 0
        while index < bytes.count {
            let count = min(3, bytes.count - index)
            var group = UInt32(bytes[index]) << 16
            if count > 1 { group |= UInt32(bytes[index + 1]) << 8 }
            if count > 2 { group |= UInt32(bytes[index + 2]) }
            text.append(alphabet[Int(group >> 18)])
            text.append(alphabet[Int(group >> 12 & 63)])
            text.append(count > 1 ? alphabet[Int(group >> 6 & 63)] : UInt8(ascii: "="))
            text.append(count > 2 ? alphabet[Int(group & 63)] : UInt8(ascii: "="))
            index += 3
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// - Throws: what was found where, in words.
    package static func decode(_ text: String) throws(JSONError) -> [UInt8] {
        var text = text
        let outcome: Result<[UInt8], JSONError> = text.withUTF8 { characters in
            do throws(JSONError) {
                return .success(try decode(characters))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private static func decode(
        _ characters: UnsafeBufferPointer<UInt8>
    ) throws(JSONError) -> [UInt8] {
        guard !characters.isEmpty else { return [] }
        guard characters.count % 4 == 0 else {
            throw explain(characters)
        }
        let padding =
            characters[characters.count - 1] != UInt8(ascii: "=")
            ? 0 : characters[characters.count - 2] != UInt8(ascii: "=") ? 1 : 2
        let groups = characters.count / 4
        let bytes = values.withUnsafeBufferPointer { values in
            [UInt8](unsafeUninitializedCapacity: groups * 3) { bytes, count in
                // One test for all characters: only the marker of an invalid one has the top bit.
                var seen: UInt8 = 0
                for group in 0..<(padding == 0 ? groups : groups - 1) {
                    let a = values[Int(characters[4 * group])]
                    let b = values[Int(characters[4 * group + 1])]
                    let c = values[Int(characters[4 * group + 2])]
                    let d = values[Int(characters[4 * group + 3])]
                    seen |= a | b | c | d
                    bytes[3 * group] = a << 2 | b >> 4
                    bytes[3 * group + 1] = b << 4 | c >> 2
                    bytes[3 * group + 2] = c << 6 | d
                }
                count = groups * 3 - padding
                if padding > 0 {
                    let last = 4 * (groups - 1)
                    let a = values[Int(characters[last])]
                    let b = values[Int(characters[last + 1])]
                    let c = padding == 1 ? values[Int(characters[last + 2])] : 0
                    seen |= a | b | c
                    bytes[3 * (groups - 1)] = a << 2 | b >> 4
                    if padding == 1 { bytes[3 * (groups - 1) + 1] = b << 4 | c >> 2 }
                    let unused = padding == 1 ? c & 0b11 : b & 0b1111
                    if unused != 0 { seen |= 0x80 }
                }
                if seen & 0x80 != 0 { count = 0 }
            }
        }
        guard !bytes.isEmpty else { throw explain(characters) }
        return bytes
    }

    /// Reached only with text that is not base64: says what is wrong with it.
    private static func explain(_ characters: UnsafeBufferPointer<UInt8>) -> JSONError {
        let expected = "base64 (A-Z a-z 0-9 + /, padded with =, no line breaks)"
        if characters.starts(with: "data:".utf8) {
            return JSONError(found: "a data: URL", expected: "\(expected) without a data: prefix")
        }
        let body = characters.prefix { values[Int($0)] != invalid }
        let rest = characters[body.count...]
        if let character = rest.first,
            character != UInt8(ascii: "=") || rest.count > 2
                || rest.contains(where: { $0 != UInt8(ascii: "=") })
        {
            let name =
                0x21...0x7E ~= character
                ? "'\(Unicode.Scalar(character))'"
                : "byte 0x\(String(character, radix: 16, uppercase: true))"
            return JSONError(found: "\(name) at character \(body.count)", expected: expected)
        }
        if characters.count % 4 != 0 {
            return JSONError(
                found: "\(characters.count) characters", expected: "\(expected), a multiple of 4")
        }
        return JSONError(
            found: "a last character whose unused bits are not zero", expected: expected)
    }
}

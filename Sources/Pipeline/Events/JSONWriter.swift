/// Writes JSON, without blanks, in the order of the calls.
struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    private var needsComma = false

    mutating func object(_ body: (inout JSONWriter) -> Void) {
        bracketed("{", "}", body)
    }

    mutating func array(_ body: (inout JSONWriter) -> Void) {
        bracketed("[", "]", body)
    }

    mutating func name(_ name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    mutating func string(_ text: String) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { characters in
            // Kilobytes of base64 go through here, without a character to escape.
            if characters.contains(where: Self.needsEscape) {
                for byte in characters { append(escaped: byte) }
            } else {
                bytes += characters
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 || byte == 0x7F
    }

    private mutating func append(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0..<0x20, 0x7F:
            let digits = String(byte, radix: 16)
            bytes += Array("\\u00".utf8) + (byte < 0x10 ? [0x30] : []) + Array(digits.utf8)
        default:
            bytes.append(byte)
        }
    }

    mutating func bool(_ value: Bool) {
        separate()
        bytes += (value ? "true" : "false").utf8
    }

    mutating func integer(_ value: Int64) {
        separate()
        bytes += String(value).utf8
    }

    /// The shortest digits that read back as the same Float. JSON has no word for infinities and
    /// NaN: null.
    mutating func number(_ value: Float) {
        separate()
        bytes += (value.isFinite ? "\(value)" : "null").utf8
    }

    /// Likewise for a Double.
    mutating func number(_ value: Double) {
        separate()
        bytes += (value.isFinite ? "\(value)" : "null").utf8
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func bracketed(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) -> Void
    ) {
        separate()
        bytes.append(UInt8(ascii: open))
        needsComma = false
        body(&self)
        bytes.append(UInt8(ascii: close))
        needsComma = true
    }
}

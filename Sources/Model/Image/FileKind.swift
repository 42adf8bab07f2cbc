/// What bytes that are no JPEG are, in words, judged by how they begin.
enum FileKind {
    /// A noun phrase with its article, to stand behind "not a JPEG but": "a PNG".
    static func name(of bytes: [UInt8]) -> String {
        let start = bytes.prefix(256)
        if start.isEmpty {
            return "an empty file"
        }
        for (signature, name) in signatures where start.starts(with: signature) {
            return name
        }
        return riffName(start) ?? isoMediaName(start) ?? textName(start)
            ?? "data of an unknown kind that begins with \(hexadecimal(start.prefix(8)))"
    }

    private static let signatures: [(signature: [UInt8], name: String)] = [
        ([0x89] + ascii("PNG\r\n\u{1A}\n"), "a PNG"),
        (ascii("GIF87a"), "a GIF"),
        (ascii("GIF89a"), "a GIF"),
        (ascii("II*\0"), "a TIFF or a camera's raw file"),
        (ascii("MM\0*"), "a TIFF or a camera's raw file"),
        (ascii("BM"), "a BMP"),
        ([0, 0, 1, 0], "an ICO"),
        ([0xFF, 0x0A], "a JPEG XL"),
        ([0, 0, 0, 0x0C] + ascii("JXL \r\n"), "a JPEG XL"),
        ([0, 0, 0, 0x0C] + ascii("jP  \r\n"), "a JPEG 2000"),
        ([0xFF, 0x4F, 0xFF, 0x51], "a JPEG 2000"),
        (ascii("8BPS"), "a Photoshop file"),
        (ascii("%PDF-"), "a PDF"),
        ([0x1A, 0x45, 0xDF, 0xA3], "a WebM or Matroska video"),
        ([0x1F, 0x8B], "a gzip archive"),
        (ascii("PK\u{3}\u{4}"), "a ZIP archive"),
    ]

    private static func riffName(_ start: ArraySlice<UInt8>) -> String? {
        guard start.starts(with: ascii("RIFF")) else {
            return nil
        }
        switch Array(start.dropFirst(8).prefix(4)) {
        case ascii("WEBP"): return "a WebP"
        case ascii("AVI "): return "an AVI video"
        default: return "a RIFF file"
        }
    }

    /// MP4 and its relatives: a box "ftyp" with the brands that the file follows.
    private static func isoMediaName(_ start: ArraySlice<UInt8>) -> String? {
        guard start.dropFirst(4).starts(with: ascii("ftyp")) else {
            return nil
        }
        let boxSize = start.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        let brands = Array(start.prefix(boxSize).dropFirst(8))
        let names = stride(from: 0, to: brands.count, by: 4).map {
            String(decoding: brands[$0..<min($0 + 4, brands.count)], as: UTF8.self)
        }
        if !Set(names).isDisjoint(with: ["avif", "avis"]) {
            return "an AVIF"
        }
        if !Set(names).isDisjoint(with: ["heic", "heix", "heim", "heis", "hevc", "mif1", "msf1"]) {
            return "a HEIC"
        }
        return names.first == "qt  " ? "a QuickTime video" : "an MP4 video"
    }

    private static func textName(_ start: ArraySlice<UInt8>) -> String? {
        let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let body = start.starts(with: byteOrderMark) ? start.dropFirst(3) : start
        let isText = body.allSatisfy { $0 >= 0x20 && $0 != 0x7F || (0x09...0x0D).contains($0) }
        guard isText else {
            return nil
        }
        let text = String(decoding: body, as: UTF8.self).lowercased().drop { $0.isWhitespace }
        if ["<!doctype html", "<html", "<head", "<body"].contains(where: text.hasPrefix) {
            return "an HTML page"
        }
        if text.hasPrefix("<svg") || text.hasPrefix("<?xml") && text.contains("<svg") {
            return "an SVG"
        }
        if text.hasPrefix("<?xml") {
            return "an XML document"
        }
        if text.hasPrefix("data:") {
            return "a data URL"
        }
        if body.starts(with: ascii("/9j/")) {
            return "a JPEG in base64, encoded once too often"
        }
        return text.hasPrefix("{") || text.hasPrefix("[") ? "JSON" : "plain text"
    }

    private static func ascii(_ text: String) -> [UInt8] {
        Array(text.utf8)
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }
}

/// How a camera was held: the values of EXIF's tag 0x0112, with the corner of the scene at which
/// the first row and the first column of the stored pixels lie.
enum Orientation: Int {
    case topLeft = 1
    case topRight
    case bottomRight
    case bottomLeft
    case leftTop
    case rightTop
    case rightBottom
    case leftBottom

    /// Turns stored pixels upright.
    ///
    /// - Parameter stored: side x side interleaved RGB pixels.
    func applied(toSquare stored: [UInt8], side: Int) -> [UInt8] {
        if self == .topLeft {
            return stored
        }
        var upright = [UInt8](repeating: 0, count: stored.count)
        let last = side - 1
        for y in 0..<side {
            for x in 0..<side {
                let (row, column) =
                    switch self {
                    case .topLeft: (y, x)
                    case .topRight: (y, last - x)
                    case .bottomRight: (last - y, last - x)
                    case .bottomLeft: (last - y, x)
                    case .leftTop: (x, y)
                    case .rightTop: (last - x, y)
                    case .rightBottom: (last - x, last - y)
                    case .leftBottom: (x, last - y)
                    }
                let from = 3 * (row * side + column)
                let to = 3 * (y * side + x)
                upright[to] = stored[from]
                upright[to + 1] = stored[from + 1]
                upright[to + 2] = stored[from + 2]
            }
        }
        return upright
    }
}

/// The one thing needed from a photograph's metadata. Nothing in it can fail: what is absent,
/// cut off or nonsense leaves the picture as it is stored.
enum EXIF {
    /// The orientation in the first Exif segment before the picture's data.
    static func orientation(ofJPEG bytes: [UInt8]) -> Orientation {
        var position = 2
        while let marker = nextMarker(in: bytes, at: &position) {
            switch marker {
            case 0xDA, 0xD9:  // start of scan, end of image
                return .topLeft
            case 0x01, 0xD0...0xD8:  // markers without a segment
                continue
            default:
                break
            }
            let length = ByteFields(bytes: bytes[position...], isLittleEndian: false)
            guard let size = length.unsigned16(at: 0), size >= 2,
                size <= bytes.count - position
            else {
                return .topLeft
            }
            let segment = bytes[(position + 2)..<(position + size)]
            position += size
            if marker == 0xE1, segment.starts(with: Array("Exif\0\0".utf8)) {
                return orientation(ofTIFF: segment.dropFirst(6)) ?? .topLeft
            }
        }
        return .topLeft
    }

    /// The next marker's code at or after `position`, which moves behind it. Like libjpeg, skips
    /// bytes that are no marker.
    static func nextMarker(in bytes: [UInt8], at position: inout Int) -> UInt8? {
        while position + 1 < bytes.count {
            let code = bytes[position + 1]
            if bytes[position] == 0xFF, code != 0xFF, code != 0 {
                position += 2
                return code
            }
            position += 1
        }
        return nil
    }

    private static func orientation(ofTIFF bytes: ArraySlice<UInt8>) -> Orientation? {
        let isLittleEndian: Bool
        if bytes.starts(with: Array("II*\0".utf8)) {
            isLittleEndian = true
        } else if bytes.starts(with: Array("MM\0*".utf8)) {
            isLittleEndian = false
        } else {
            return nil
        }
        let tiff = ByteFields(bytes: bytes, isLittleEndian: isLittleEndian)
        let entrySize = 12
        guard let directory = tiff.unsigned32(at: 4), let count = tiff.unsigned16(at: directory)
        else {
            return nil
        }
        for index in 0..<count {
            let entry = directory + 2 + index * entrySize
            guard let tag = tiff.unsigned16(at: entry) else {
                return nil
            }
            if tag == 0x0112 {
                return orientation(ofEntryAt: entry, in: tiff)
            }
        }
        return nil
    }

    private static func orientation(ofEntryAt entry: Int, in tiff: ByteFields) -> Orientation? {
        guard let type = tiff.unsigned16(at: entry + 2), tiff.unsigned32(at: entry + 4) == 1 else {
            return nil
        }
        let value =
            switch type {
            case 3: tiff.unsigned16(at: entry + 8)
            case 4: tiff.unsigned32(at: entry + 8)  // not by the standard, but written
            default: Int?.none
            }
        return value.flatMap(Orientation.init(rawValue:))
    }
}

/// Numbers at offsets from the start of a piece of a file; nil where the piece ends before.
private struct ByteFields {
    let bytes: ArraySlice<UInt8>
    let isLittleEndian: Bool

    func unsigned16(at offset: Int) -> Int? {
        unsigned(at: offset, size: 2)
    }

    func unsigned32(at offset: Int) -> Int? {
        unsigned(at: offset, size: 4)
    }

    private func unsigned(at offset: Int, size: Int) -> Int? {
        guard offset >= 0, offset <= bytes.count - size else {
            return nil
        }
        let start = bytes.startIndex + offset
        let field = bytes[start..<(start + size)]
        return isLittleEndian
            ? field.reversed().reduce(0) { $0 << 8 | Int($1) }
            : field.reduce(0) { $0 << 8 | Int($1) }
    }
}

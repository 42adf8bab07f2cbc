extension JPEG {
    /// The width and height of a picture as it is to be seen, upright by its EXIF orientation; nil
    /// where no frame header is found. Only the proportions of a picture need it, whose pixels
    /// come as a square (`decodeSquare`).
    package static func uprightSize(of bytes: [UInt8]) -> (width: Int, height: Int)? {
        var position = 2
        while let marker = EXIF.nextMarker(in: bytes, at: &position) {
            switch marker {
            case 0xDA, 0xD9:  // start of scan, end of image
                return nil
            case 0x01, 0xD0...0xD8:  // markers without a segment
                continue
            default:
                break
            }
            guard position + 7 <= bytes.count else { return nil }
            func number(_ offset: Int) -> Int {
                Int(bytes[position + offset]) << 8 | Int(bytes[position + offset + 1])
            }
            // Start of a frame: SOF0 ... SOF15 without DHT, JPG and DAC.
            if 0xC0...0xCF ~= marker, ![0xC4, 0xC8, 0xCC].contains(marker) {
                let (height, width) = (number(3), number(5))
                guard width > 0, height > 0 else { return nil }
                let isTurned = EXIF.orientation(ofJPEG: bytes).rawValue >= 5
                return isTurned ? (height, width) : (width, height)
            }
            position += max(2, number(0))
        }
        return nil
    }
}

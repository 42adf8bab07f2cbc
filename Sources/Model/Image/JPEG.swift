import CJPEG

/// JPEG bytes to the square of pixels that the network looks at, and pixels to JPEG bytes.
package enum JPEG {
    /// Decodes a JPEG and stretches it to side x side pixels.
    ///
    /// In this order, the same for training and serving:
    /// 1. decoded at the smallest of the scales 1/8, 1/4, 1/2, 1 that leaves both sides at least
    ///    `side` long (accurate integer DCT, smoothed chroma upsampling);
    /// 2. grey, RGB, YCbCr, CMYK and YCCK to RGB; four components are inks as Adobe writes them
    ///    (inverted), light is `255 - K` less the inks' share of it, and colour profiles are
    ///    not applied;
    /// 3. stretched, not cropped: a triangle filter with antialiasing, 8-bit fixed point, rows
    ///    before columns;
    /// 4. turned as its EXIF orientation says.
    ///
    /// The pixels are those of Pillow's `draft`, `convert("RGB")`, `resize(..., BILINEAR)` and
    /// the orientation's `transpose`, bit for bit, up to Pillow 12. Pillow 13 resizes some tall
    /// pictures columns first, which changes values by at most 1; resizing the width and then
    /// the height there gives the pixels of this function again.
    ///
    /// What libjpeg warns about decides what happens to a damaged file. Where it would go on with
    /// pixels of its own making, the picture is refused as ``ImageError/corrupt(_:)`` with
    /// libjpeg's text. Where the pixels remain what the file says, it is accepted: bytes
    /// between segments, an unknown Adobe transform code, an unknown JFIF version, progressive
    /// parameters in a sequential scan. Bytes after the end marker are not looked at.
    ///
    /// - Parameter side: 1 ... 4096.
    package static func decodeSquare(
        _ bytes: [UInt8], side: Int, limits: ImageLimits = ImageLimits(),
        kernels: JPEGKernels = .chosen
    ) throws(ImageError) -> Pixels {
        precondition((1...Int(CJPEG_MAXIMUM_SIDE)).contains(side), "side is \(side)")
        guard bytes.starts(with: [0xFF, 0xD8]) else {
            throw .notJPEG(found: FileKind.name(of: bytes))
        }
        var limits = limits.forC
        var message = Message()
        var status = CJPEG_OK
        let size = side * side * 3
        let rgb = [UInt8](unsafeUninitializedCapacity: size) { rgb, count in
            status = cjpeg_decode_square(
                kernels.table, bytes, bytes.count, Int32(side), &limits, rgb.baseAddress,
                &message.characters)
            count = status == CJPEG_OK ? size : 0
        }
        switch status {
        case CJPEG_OK: break
        case CJPEG_NOT_JPEG: throw .notJPEG(found: FileKind.name(of: bytes))
        case CJPEG_TOO_LARGE: throw .tooLarge(message.text)
        case CJPEG_TOO_MANY_SCANS: throw .tooManyScans(message.text)
        case CJPEG_UNSUPPORTED: throw .unsupported(message.text)
        case CJPEG_OUT_OF_MEMORY: throw .outOfMemory
        default: throw .corrupt(message.text)
        }
        let upright = EXIF.orientation(ofJPEG: bytes).applied(toSquare: rgb, side: side)
        return Pixels(width: side, height: side, rgb: upright)
    }

    /// Encodes pixels as a baseline JPEG (YCbCr 4:2:0, no metadata).
    ///
    /// - Parameter quality: 1 ... 100, libjpeg's scale.
    package static func encode(_ pixels: Pixels, quality: Int) throws(ImageError) -> [UInt8] {
        var encoded: UnsafeMutablePointer<UInt8>?
        var count = 0
        var message = Message()
        let status = cjpeg_encode(
            pixels.rgb, Int32(clamping: pixels.width), Int32(clamping: pixels.height),
            Int32(clamping: quality), &encoded, &count, &message.characters)
        guard status == CJPEG_OK else {
            throw status == CJPEG_OUT_OF_MEMORY ? .outOfMemory : .cannotEncode(message.text)
        }
        defer { cjpeg_free(encoded) }
        return [UInt8](UnsafeBufferPointer(start: encoded, count: count))
    }
}

/// The text that a C call leaves behind.
private struct Message {
    var characters = [CChar](repeating: 0, count: Int(CJPEG_MESSAGE_SIZE))

    var text: String {
        let bytes = characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

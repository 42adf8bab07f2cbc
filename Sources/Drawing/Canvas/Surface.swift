import CCairo
import Model

/// Pixels in memory: the owner of one `cairo_surface_t`. Opaque RGB, black at first.
package final class Surface {
    /// 1 GiB at the most, and within cairo's own limit of 32,767.
    static let maximumSide = 16_384

    let handle: OpaquePointer?
    package let width: Int
    package let height: Int

    init(width: Int, height: Int) throws(DrawingError) {
        guard 1...Self.maximumSide ~= width, 1...Self.maximumSide ~= height else {
            throw .size(width: width, height: height)
        }
        self.width = width
        self.height = height
        handle = cairo_image_surface_create(CAIRO_FORMAT_RGB24, Int32(width), Int32(height))
        try check(cairo_surface_status(handle))
    }

    convenience init(_ pixels: Pixels) throws(DrawingError) {
        try self.init(width: pixels.width, height: pixels.height)
        cairo_surface_flush(handle)
        guard let data = cairo_image_surface_get_data(handle) else { return }
        let stride = Int(cairo_image_surface_get_stride(handle))
        pixels.rgb.withUnsafeBufferPointer { rgb in
            for y in 0..<height {
                let row = UnsafeMutableRawPointer(data + y * stride)
                    .assumingMemoryBound(to: UInt32.self)
                for x in 0..<width {
                    let from = 3 * (y * width + x)
                    row[x] =
                        UInt32(rgb[from]) << 16 | UInt32(rgb[from + 1]) << 8
                        | UInt32(rgb[from + 2])
                }
            }
        }
        cairo_surface_mark_dirty(handle)
    }

    deinit {
        cairo_surface_destroy(handle)
    }

    package func pixels() -> Pixels {
        cairo_surface_flush(handle)
        let stride = Int(cairo_image_surface_get_stride(handle))
        let data = cairo_image_surface_get_data(handle)
        let count = width * height * 3
        let rgb = [UInt8](unsafeUninitializedCapacity: count) { rgb, initialized in
            rgb.initialize(repeating: 0)
            initialized = count
            guard let data else { return }
            for y in 0..<height {
                let row = UnsafeRawPointer(data + y * stride).assumingMemoryBound(to: UInt32.self)
                for x in 0..<width {
                    let to = 3 * (y * width + x)
                    rgb[to] = UInt8(truncatingIfNeeded: row[x] >> 16)
                    rgb[to + 1] = UInt8(truncatingIfNeeded: row[x] >> 8)
                    rgb[to + 2] = UInt8(truncatingIfNeeded: row[x])
                }
            }
        }
        return Pixels(width: width, height: height, rgb: rgb)
    }

    /// The same pixels give the same bytes.
    package func png() throws(DrawingError) -> [UInt8] {
        var bytes: [UInt8] = []
        let status = withUnsafeMutablePointer(to: &bytes) { bytes in
            cairo_surface_write_to_png_stream(
                handle,
                { closure, data, count in
                    guard let closure, let data else { return CAIRO_STATUS_WRITE_ERROR }
                    closure.assumingMemoryBound(to: [UInt8].self).pointee
                        .append(contentsOf: UnsafeBufferPointer(start: data, count: Int(count)))
                    return CAIRO_STATUS_SUCCESS
                }, bytes)
        }
        try check(status)
        return bytes
    }
}

func check(_ status: cairo_status_t) throws(DrawingError) {
    guard status == CAIRO_STATUS_SUCCESS else {
        throw .cairo(String(cString: cairo_status_to_string(status)))
    }
}

/// Writes a picture or a page whole, or not at all.
package func writePicture(_ bytes: [UInt8], to path: String) throws(DrawingError) {
    do throws(ModelError) {
        try writeFile(bytes, to: path)
    } catch {
        throw .file("\(error)")
    }
}

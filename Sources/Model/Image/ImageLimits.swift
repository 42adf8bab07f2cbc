import CJPEG

/// How much a picture from outside may cost. What exceeds a limit is refused with
/// ``ImageError/tooLarge(_:)`` or ``ImageError/tooManyScans(_:)``, before the cost arises.
package struct ImageLimits: Sendable, Equatable {
    /// Of the file.
    package var maximumBytes = 16 << 20

    /// Of the picture as the header declares it. The default, 64 Mi, holds the pictures of a
    /// 64-megapixel telephone (9248 x 6936).
    package var maximumPixels = 64 << 20

    /// What decoding one picture may allocate, known from the header before it is allocated.
    ///
    /// Most pictures take a few MiB whatever their size, as rows are resampled while they come.
    /// A progressive picture takes 3 bytes a pixel (4:2:0) to 6 (4:4:4), or 8 with four
    /// components: its coefficients are all kept until the last scan. The default, 256 MiB,
    /// holds 64 Mi pixels at 4:2:0 and 42 Mi at 4:4:4.
    package var maximumMemoryBytes = 256 << 20

    /// Of a progressive picture. Encoders in use write about 10.
    package var maximumScans = 100

    /// Over all scans of a picture in several scans: blocks times coefficients in the band of
    /// the scan. Encoders in use write scripts that visit each coefficient about 3 times; the
    /// default, 1000 million, allows 64 Mi pixels at 4:2:0 ten visits each, about a second.
    package var maximumCoefficientVisits = 1_000_000_000

    package init() {}

    var forC: cjpeg_limits {
        cjpeg_limits(
            maximum_bytes: Int(clamping: maximumBytes),
            maximum_pixels: UInt64(clamping: maximumPixels),
            maximum_memory_bytes: UInt64(clamping: maximumMemoryBytes),
            maximum_scans: Int32(clamping: maximumScans),
            maximum_coefficient_visits: UInt64(clamping: maximumCoefficientVisits))
    }
}

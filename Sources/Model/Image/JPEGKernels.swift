import CJPEG
import Glibc

/// The loops of JPEG decoding and resampling, compiled for one instruction set. All give the same
/// pixels, bit for bit.
package struct JPEGKernels: @unchecked Sendable {
    // Sendable: points to a constant table of functions without state.
    let table: OpaquePointer

    /// avx512, avx2, neon, portable; or that of one of the two below.
    package var name: String { String(cString: cjpeg_kernels_name(table)) }

    /// Those that this machine can run, best first; never empty.
    package static let available: [JPEGKernels] = {
        var found: [JPEGKernels] = []
        while let table = cjpeg_kernels_at(found.count) { found.append(JPEGKernels(table: table)) }
        return found
    }()

    /// Plain loops, and libjpeg's own Huffman decoding: what the others are compared with.
    package static let reference = JPEGKernels(table: cjpeg_reference_kernels())

    /// libjpeg's decoding and nothing after it: all pixels become 0. For measuring.
    package static let libjpegAlone = JPEGKernels(table: cjpeg_libjpeg_alone())

    /// The set that ``Kernels/environmentVariable`` names, where there is one of that name here, or
    /// else the best one. It is ``Kernels/chosen()`` that tells of a name that is wrong.
    package static let chosen: JPEGKernels = {
        let wanted = getenv(Kernels.environmentVariable).map { String(cString: $0) }
        return available.first { $0.name == wanted } ?? available[0]
    }()
}

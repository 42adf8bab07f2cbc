import Glibc

/// Memory for floats, freed with its owner. Aligned to 64 bytes, a cache line and the widest
/// vector; large pieces lie in large pages where the kernel has some, since walking through
/// hundreds of megabytes in pages of 4 KB costs more than the data.
package final class FloatMemory: @unchecked Sendable {
    // Sendable: who shares it agrees on who writes; weights are written once, before sharing.
    package let start: UnsafeMutablePointer<Float>
    package let count: Int

    var buffer: UnsafeMutableBufferPointer<Float> { .init(start: start, count: count) }

    private static let largePage = 2 << 20

    package init(count: Int) {
        self.count = count
        let bytes = max(1, count) * 4
        let isLarge = bytes >= Self.largePage
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: bytes, alignment: isLarge ? Self.largePage : 64)
        if isLarge { madvise(memory, bytes, MADV_HUGEPAGE) }
        start = memory.bindMemory(to: Float.self, capacity: max(1, count))
    }

    package convenience init(zeros count: Int) {
        self.init(count: count)
        start.update(repeating: 0, count: count)
    }

    deinit { start.deallocate() }
}

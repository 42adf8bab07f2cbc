import CKernels
import Glibc

/// The C kernels of one instruction set. All sets compute the same, to rounding; the best one
/// that the machine can run is chosen when a model is loaded.
package struct Kernels: @unchecked Sendable {
    // Sendable: points to a constant table of functions without state.
    package let table: UnsafePointer<ck_kernels>

    /// avx512, avx2, neon or portable.
    package var name: String { String(cString: table.pointee.name) }

    /// Columns of a packed panel of weights.
    package var panel: Int { table.pointee.panel }

    /// Those that this machine can run, best first; never empty.
    package static let available: [Kernels] = {
        var found: [Kernels] = []
        while let table = ck_kernels_at(found.count) { found.append(Kernels(table: table)) }
        return found
    }()

    /// Names the set to use in place of the best one.
    package static let environmentVariable = "UHAN_INSTRUCTION_SET"

    /// The set that the environment names, or else the best one.
    package static func chosen() throws(ModelError) -> Kernels {
        guard let wanted = getenv(environmentVariable).map({ String(cString: $0) }), !wanted.isEmpty
        else { return available[0] }
        guard let kernels = available.first(where: { $0.name == wanted }) else {
            throw .invalid(
                "\(environmentVariable) is '\(wanted)'; this program on this machine has "
                    + available.map(\.name).joined(separator: ", "))
        }
        return kernels
    }
}

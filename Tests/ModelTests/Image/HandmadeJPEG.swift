/// Progressive grey JPEGs written out by hand, mid-grey all over: whatever a header can claim and
/// however many scans one wants, in a few bytes.
struct HandmadeJPEG {
    /// One band of coefficients, at one of their bits.
    struct Scan {
        var first: Int
        var last: Int
        /// The bit positions before and after this scan; 0 before means that it is the first.
        var from = 0
        var to = 0

        static let constant = Scan(first: 0, last: 0)
    }

    var width: Int
    var height: Int
    var components = 1

    /// The header, then the scans, each of which says for every block: nothing but zeros.
    func bytes(scans: [Scan]) -> [UInt8] {
        let blocks = (width + 7) / 8 * ((height + 7) / 8)
        return header + scans.flatMap { bytes(of: $0, blocks: blocks) } + [0xFF, 0xD9]
    }

    /// The header, and a scan that holds nothing: for what is refused before any data is read.
    var claim: [UInt8] {
        header + head(of: .constant) + [0xFF, 0xD9]
    }

    private var header: [UInt8] {
        var frame = [8] + word(height) + word(width) + [UInt8(components)]
        for component in 1...components {
            frame += [UInt8(component), 0x11, 0]
        }
        let oneShortCode: [UInt8] = [1] + [UInt8](repeating: 0, count: 15)
        var bytes: [UInt8] = [0xFF, 0xD8]
        bytes += segment(0xDB, [0] + [UInt8](repeating: 1, count: 64))
        bytes += segment(0xC2, frame)
        // Of constants: "no difference". Of bands: "nothing in the next 2^14 + n blocks".
        bytes += segment(0xC4, [0x00] + oneShortCode + [0x00])
        bytes += segment(0xC4, [0x10] + oneShortCode + [0xE0])
        return bytes
    }

    private func bytes(of scan: Scan, blocks: Int) -> [UInt8] {
        var data = BitWriter()
        if scan.first == 0 {
            for _ in 0..<blocks {
                data.write(0, bits: 1)
            }
        } else {
            for _ in 0..<((blocks + 32766) / 32767) {
                data.write(0, bits: 1)
                data.write((1 << 14) - 1, bits: 14)
            }
        }
        return head(of: scan) + data.finished()
    }

    private func head(of scan: Scan) -> [UInt8] {
        let bits = scan.from << 4 | scan.to
        return segment(0xDA, [1, 1, 0, UInt8(scan.first), UInt8(scan.last), UInt8(bits)])
    }

    private func segment(_ marker: UInt8, _ content: [UInt8]) -> [UInt8] {
        [0xFF, marker] + word(content.count + 2) + content
    }

    private func word(_ value: Int) -> [UInt8] {
        [UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
    }
}

/// The bits of a scan, with the zero that follows each byte of all ones.
private struct BitWriter {
    private var bytes: [UInt8] = []
    private var pending = 0
    private var pendingBits = 0

    mutating func write(_ value: Int, bits: Int) {
        for bit in (0..<bits).reversed() {
            pending = pending << 1 | (value >> bit & 1)
            pendingBits += 1
            if pendingBits == 8 {
                bytes.append(UInt8(pending))
                if pending == 0xFF {
                    bytes.append(0)
                }
                pending = 0
                pendingBits = 0
            }
        }
    }

    func finished() -> [UInt8] {
        var padded = self
        while padded.pendingBits != 0 {
            padded.write(1, bits: 1)
        }
        return padded.bytes
    }
}

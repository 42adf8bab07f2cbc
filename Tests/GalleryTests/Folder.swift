import Foundation
import Gallery
import Model

/// A folder that goes away with the test.
final class Folder: Sendable {
    let path: String

    init() throws {
        path =
            FileManager.default.temporaryDirectory
            .appendingPathComponent("uhan-gallery-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func bytes(_ name: String) throws -> [UInt8] {
        try MappedFile(path: "\(path)/\(name)").contents()
    }

    func records<Record: Decodable>(_ name: String, as type: Record.Type) throws -> [Record] {
        try bytes(name).split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(type, from: Data($0))
        }
    }

    func report() throws -> GalleryReport {
        try JSONDecoder().decode(GalleryReport.self, from: Data(bytes("gallery.json")))
    }
}

func write(_ gallery: Gallery, to folder: Folder, threads: Int = 2) throws -> GalleryReport {
    try GalleryFolder(path: folder.path).write(
        gallery, workers: Workers(count: threads), progress: { _ in })
}

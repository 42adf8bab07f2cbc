import Model
import Pipeline

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Posts for a trial, no two with the same image bytes, their images in a temporary folder.
///
/// Where there are more posts than images, an image is used again with a few bytes of its own after
/// its end: other bytes and another hash, the same work for the decoder.
package final class TrialPosts: Sendable {
    package enum Failure: Error, CustomStringConvertible {
        case noImages(String)

        package var description: String {
            switch self {
            case .noImages(let folder): "\(folder) holds no .jpg files"
            }
        }
    }

    private static let maximumImages = 1_000
    private static let drawnImages = 48
    package static let defaultUsers = 97

    package let count: Int
    private let users: Int
    let folder: String
    /// The mean size of the images.
    package let bytesPerImage: Int

    /// - Parameters:
    ///   - images: a folder of JPEG files; nil: pictures drawn here, `drawnSide` pixels a side.
    ///   - users: who post in turn.
    package init(
        count: Int, images: String?, drawnSide: Int, users: Int = TrialPosts.defaultUsers
    ) throws {
        self.count = count
        self.users = users
        folder = try temporaryDirectory(named: "uhan-trial")
        do {
            let originals = try Self.originals(count, images, drawnSide: drawnSide)
            var bytes = 0
            for index in 0..<count {
                let image = originals[index % originals.count] + Array("post \(index)".utf8)
                bytes += image.count
                try writeFile(image, to: "\(folder)/\(index).jpg")
            }
            bytesPerImage = bytes / max(1, count)
        } catch {
            removeDirectory(folder)
            throw error
        }
    }

    deinit { removeDirectory(folder) }

    private static func originals(
        _ count: Int, _ images: String?, drawnSide side: Int
    ) throws -> [[UInt8]] {
        guard let images else {
            return try (0..<min(count, drawnImages)).map { index in
                let scene = SampleScene(seed: UInt64(index))
                return try JPEG.encode(scene.render(width: side, height: side), quality: 85)
            }
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: images).sorted()
            .filter { $0.lowercased().hasSuffix(".jpg") || $0.lowercased().hasSuffix(".jpeg") }
            .prefix(min(count, maximumImages))
        guard !names.isEmpty else { throw Failure.noImages(images) }
        return try names.map { try MappedFile(path: "\(images)/\($0)").contents() }
    }

    func user(of index: Int) -> String { "user-\(index % users)" }

    /// The record of post `index`.
    ///
    /// - Parameter scoreBy: seconds since 1970.
    func record(_ index: Int, scoreBy: Double?) throws -> PostSource.Outgoing {
        let scene = SampleScene(seed: UInt64(index))
        return try PostSource.Outgoing(
            PostJSON(
                uid: user(of: index), pid: "\(index)", title: scene.title,
                alltags: scene.tags.joined(separator: " "),
                image_url: URL(filePath: "\(folder)/\(index).jpg").absoluteString,
                score_by: scoreBy))
    }
}

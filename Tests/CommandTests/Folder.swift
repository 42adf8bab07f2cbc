import Foundation
import Model

/// A folder of a test's own, gone when the test is.
final class Folder: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("uhan-tests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String {
        try write(Array(text.utf8), to: name)
    }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }

    func bytes(of name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: file(name))))
    }

    /// A picture as cameras write them, small.
    func writePicture(_ seed: UInt64, to name: String) throws {
        try write(Self.picture(seed), to: name)
    }

    static func picture(_ seed: UInt64) throws -> [UInt8] {
        try JPEG.encode(SampleScene(seed: seed).render(width: 96, height: 64), quality: 85)
    }
}

/// A model so small that a score takes milliseconds, made by the program itself.
enum TinyModel {
    static let sizes = [
        "--dimension", "16", "--side", "64", "--blocks", "4/8/8/8/8", "--dense", "16,16",
    ]

    /// In `folder`, by name.
    static func make(in folder: Folder, name: String = "model", seed: Int = 1) async throws
        -> String
    {
        let path = folder.file(name)
        let ending = try await Program.run(
            ["model", "init", "--seed", "\(seed)", "--output", path] + sizes)
        guard ending.status == 0 else { throw NotMade(ending: ending) }
        return path
    }

    struct NotMade: Error {
        let ending: Program.Ending
    }
}

import Glibc
import Model

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A prepared dataset: what `uhan prepare` leaves and everything that trains or evaluates reads.
///
/// A folder with `posts.jsonl` (one ``PreparedPost`` a line, in time order), `vocabulary.txt` (a
/// word a line, most frequent first, those of one frequency by code point), `users.txt` (the users
/// of the training part, an id a line, by code point) and `prepared.json`, written last: a folder
/// that has it is whole.
package struct PreparedDataset: Sendable {
    package let folder: String
    /// `name@` and 12 hex digits, of the settings and of the files' checksums.
    package let version: String
    package let settings: PreparationSettings
    /// What the posts' `image` is relative to.
    package let imagesFolder: String
    /// Of the gallery's gallery.json, where the posts are a synthetic gallery's.
    package let gallerySHA256: String?
    package let report: PreparationReport
    /// In time order.
    package let posts: [PreparedPost]
    package let vocabulary: [String]
    /// The users of the training part, by code point.
    package let users: [String]
    /// Training posts of each user; a user without any is not in it.
    package let historyLengths: [CodePoints: Int]

    package static let format = "uhan-dataset"
    package static let formatVersion = 1

    /// A file that the dataset was made of.
    package struct Input: Codable, Sendable, Equatable {
        /// posts, views, split or gallery.
        package var role: String
        package var file: String
        package var bytes: Int
        package var sha256: String

        package init(role: String, path: String) throws(TrainingError) {
            self.role = role
            file = path.split(separator: "/").last.map(String.init) ?? path
            let mapped = try asTrainingError { () throws(ModelError) in
                try MappedFile(path: path)
            }
            var status = stat()
            bytes = stat(path, &status) == 0 ? Int(status.st_size) : 0
            sha256 = mapped.sha256()
        }
    }

    /// `prepared.json`.
    private struct Record: Codable {
        var format = PreparedDataset.format
        var format_version = PreparedDataset.formatVersion
        var name: String
        var version: String
        var settings: PreparationSettings
        var images_folder: String
        var inputs: [Input]
        var report: PreparationReport
        /// SHA-256 of each file, by name.
        var files: [String: String]

        func computedVersion() throws -> String {
            var text = Array(try Self.encoder.encode(settings))
            for (file, sha256) in files.sorted(by: { $0.key < $1.key }) {
                text += Array("\n\(file) \(sha256)".utf8)
            }
            let shuffle = settings.shuffle.map { "-shuffled-\($0.rawValue)" } ?? ""
            return "\(name)\(shuffle)@\(sha256Hex(text).prefix(12))"
        }

        static var encoder: JSONEncoder {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return encoder
        }
    }

    private static let postsFile = "posts.jsonl"
    private static let vocabularyFile = "vocabulary.txt"
    private static let usersFile = "users.txt"
    private static let recordFile = "prepared.json"
    private static let maximumRecordBytes = 16 << 20

    // MARK: Writing

    /// Makes the folder with `result` in it.
    ///
    /// - Parameter imagesFolder: an absolute path.
    /// - Returns: the dataset's version.
    package static func write(
        _ result: Preparation.Result, to folder: String, name: String,
        settings: PreparationSettings, imagesFolder: String, inputs: [Input]
    ) throws(TrainingError) -> String {
        try requireAbsent(in: folder)
        try asTrainingError { () throws(ModelError) in try makeFolder(folder) }
        var record = Record(
            name: name, version: "", settings: settings, images_folder: imagesFolder,
            inputs: inputs, report: result.report, files: [:])
        do {
            let encoder = Record.encoder
            var lines: [UInt8] = []
            for post in result.posts {
                lines += try encoder.encode(post)
                lines.append(newline)
            }
            for (file, bytes) in [
                (postsFile, lines), (vocabularyFile, Self.lines(result.vocabulary)),
                (usersFile, Self.lines(result.users)),
            ] {
                try writeFile(bytes, to: "\(folder)/\(file)")
                record.files[file] = sha256Hex(bytes)
            }
            record.version = try record.computedVersion()
            encoder.outputFormatting.insert(.prettyPrinted)
            try writeFile(
                Array(try encoder.encode(record)) + [newline], to: "\(folder)/\(recordFile)")
        } catch {
            throw .invalid("the dataset cannot be written: \(error)")
        }
        return record.version
    }

    /// - Throws: where the folder holds a dataset already.
    package static func requireAbsent(in folder: String) throws(TrainingError) {
        guard access("\(folder)/\(recordFile)", F_OK) != 0 else {
            throw .invalid(
                "\(folder) already holds a prepared dataset; choose another folder, or delete it")
        }
    }

    private static let newline = UInt8(ascii: "\n")

    private static func lines(_ texts: [String]) -> [UInt8] {
        var bytes: [UInt8] = []
        for text in texts {
            bytes += text.utf8
            bytes.append(newline)
        }
        return bytes
    }

    // MARK: Loading

    /// Loads a dataset, every checksum checked.
    package init(folder: String) throws(TrainingError) {
        let record = try Self.record(in: folder)
        func open(_ name: String) throws(TrainingError) -> MappedFile {
            let file = try asTrainingError { () throws(ModelError) in
                try MappedFile(path: "\(folder)/\(name)")
            }
            guard let expected = record.files[name], file.sha256() == expected else {
                throw .file(
                    path: file.path,
                    reason: "not the file that prepared.json names; restore it, or prepare the "
                        + "dataset anew")
            }
            return file
        }
        self.folder = folder
        version = record.version
        settings = record.settings
        imagesFolder = record.images_folder
        gallerySHA256 = record.inputs.first { $0.role == "gallery" }?.sha256
        report = record.report
        posts = try Self.posts(of: open(Self.postsFile))
        let (words, ids) = (try open(Self.vocabularyFile), try open(Self.usersFile))
        vocabulary = try asTrainingError { () throws(ModelError) in
            try words.lines(maximumCount: Vocabulary.maximumCount)
        }
        users = try asTrainingError { () throws(ModelError) in
            try ids.lines(maximumCount: Preparation.maximumPosts)
        }
        var lengths: [CodePoints: Int] = [:]
        for post in posts where post.part == .train {
            lengths[CodePoints(post.uid), default: 0] += 1
        }
        historyLengths = lengths
    }

    /// Every image once, in the order of the first post that shows it.
    package func distinctImages() -> [(sha256: String, path: String)] {
        var seen: Set<String> = []
        return posts.compactMap { post in
            guard let sha256 = post.imageSHA256, let path = post.image,
                seen.insert(sha256).inserted
            else { return nil }
            return (sha256, path)
        }
    }

    private static func record(in folder: String) throws(TrainingError) -> Record {
        let path = "\(folder)/\(recordFile)"
        guard access(path, F_OK) == 0 else {
            throw .file(
                path: path,
                reason: "\(String(cString: strerror(errno))); a dataset is made by 'uhan prepare'")
        }
        let file = try asTrainingError { () throws(ModelError) in try MappedFile(path: path) }
        let bytes = file.contents(maximumBytes: maximumRecordBytes)
        let record: Record
        let version: String
        do {
            record = try JSONDecoder().decode(Record.self, from: Data(bytes))
            version = try record.computedVersion()
        } catch {
            throw .file(
                path: path, reason: "not a prepared dataset's: prepare it anew (\(error))")
        }
        guard record.format == Self.format, record.format_version == formatVersion else {
            throw .file(
                path: path,
                reason: "format \(record.format) \(record.format_version), expected "
                    + "\(Self.format) \(formatVersion); prepare the dataset anew")
        }
        guard record.version == version else {
            throw .file(
                path: path,
                reason: "it was changed: what it says makes \(version), it calls itself "
                    + "\(record.version); prepare the dataset anew")
        }
        return record
    }

    private static func posts(of file: MappedFile) throws(TrainingError) -> [PreparedPost] {
        let decoder = JSONDecoder()
        var posts: [PreparedPost] = []
        for line in file.contents().split(separator: newline) {
            do {
                posts.append(try decoder.decode(PreparedPost.self, from: Data(line)))
            } catch {
                throw .line(
                    path: file.path, line: posts.count + 1, reason: "not a prepared post: \(error)")
            }
        }
        return posts
    }
}

import Foundation
import Model
import Testing
import Training

@Suite struct PreparedDatasetTests {
    private static let posts: [RawPost] = (10..<40).map { day in
        var post = RawPost(pid: "p\(day)", uid: day % 3 == 0 ? "ann" : "böb", day: Double(day))
        post.title = "Line\nend \u{2028} \"quoted\" 🌅"
        post.tags = "sea word\(day)"
        post.views = "\(day * 7)"
        post.observedDay = Double(day) + 3.3
        post.image = day % 2 == 0 ? "i/\(day % 4).jpg" : nil
        return post
    }

    @discardableResult
    private func write(
        to folder: String, _ settings: PreparationSettings = .none, name: String = "trial"
    ) throws -> (result: Preparation.Result, version: String) {
        let result = try RawPost.prepare(Self.posts, settings)
        let version = try PreparedDataset.write(
            result, to: folder, name: name, settings: settings, imagesFolder: "/images",
            inputs: [])
        return (result, version)
    }

    @Test func whatIsWrittenComesBackToTheLastBit() throws {
        let folder = try DataFolder()
        let (result, version) = try write(to: folder.file("a/b"))
        let dataset = try PreparedDataset(folder: folder.file("a/b"))
        #expect(dataset.posts == result.posts)
        #expect(
            dataset.posts.map(\.target.bitPattern) == result.posts.map(\.target.bitPattern))
        #expect(dataset.vocabulary == result.vocabulary)
        #expect(dataset.users == ["ann", "böb"])
        #expect(dataset.report == result.report)
        #expect(dataset.settings == .none)
        #expect(dataset.version == version)
        #expect(dataset.imagesFolder == "/images")
        #expect(dataset.historyLengths == [CodePoints("ann"): 7, CodePoints("böb"): 14])
        #expect(dataset.distinctImages().map(\.path) == ["i/2.jpg", "i/0.jpg"])
        // Nothing half-made is left behind.
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.file("a/b")).sorted()
                == ["posts.jsonl", "prepared.json", "users.txt", "vocabulary.txt"])
    }

    @Test func theSamePostsGiveTheSameBytes() throws {
        let folder = try DataFolder()
        try write(to: folder.file("a"))
        try write(to: folder.file("b"))
        for name in ["posts.jsonl", "vocabulary.txt", "users.txt", "prepared.json"] {
            #expect(try folder.bytes(of: "a/\(name)") == folder.bytes(of: "b/\(name)"))
        }
    }

    @Test func theVersionNamesTheSettingsAndTheControl() throws {
        let folder = try DataFolder()
        let plain = try write(to: folder.file("a")).version
        #expect(plain.wholeMatch(of: /trial@[0-9a-f]{12}/) != nil)
        var settings = PreparationSettings.none
        settings.shuffle = .users
        let shuffled = try write(to: folder.file("b"), settings).version
        #expect(shuffled.wholeMatch(of: /trial-shuffled-users@[0-9a-f]{12}/) != nil)
        settings.shuffle = nil
        settings.minimumDays = 2
        #expect(try write(to: folder.file("c"), settings).version != plain)
        #expect(try PreparedDataset(folder: folder.file("c")).settings == settings)
    }

    @Test func aDatasetIsNotOverwritten() throws {
        let folder = try DataFolder()
        try write(to: folder.file("a"))
        let error = #expect(throws: TrainingError.self) { try write(to: folder.file("a")) }
        #expect("\(try #require(error))".contains("already holds a prepared dataset"))
    }

    @Test(arguments: ["posts.jsonl", "vocabulary.txt", "users.txt", "prepared.json"])
    func aChangedOrMissingFileIsFound(name: String) throws {
        let folder = try DataFolder()
        try write(to: folder.file("a"))
        var text = String(decoding: try folder.bytes(of: "a/\(name)"), as: UTF8.self)
        text = text.replacingOccurrences(
            of: name == "prepared.json" ? "\"minimum_words\" : 0" : "n", with: "\"x\" : 0")
        try folder.write(text, to: "a/\(name)")
        let changed = #expect(throws: TrainingError.self) {
            try PreparedDataset(folder: folder.file("a"))
        }
        #expect("\(try #require(changed))".contains(name))
        try folder.delete("a/\(name)")
        let missing = #expect(throws: TrainingError.self) {
            try PreparedDataset(folder: folder.file("a"))
        }
        #expect("\(try #require(missing))".contains(name))
    }

    @Test func settingsThatWereEditedAreFound() throws {
        let folder = try DataFolder()
        try write(to: folder.file("a"))
        let text = String(decoding: try folder.bytes(of: "a/prepared.json"), as: UTF8.self)
        let edited = text.replacingOccurrences(
            of: "\"minimum_days\" : 1", with: "\"minimum_days\" : 2")
        #expect(edited != text)
        try folder.write(edited, to: "a/prepared.json")
        let error = #expect(throws: TrainingError.self) {
            try PreparedDataset(folder: folder.file("a"))
        }
        #expect("\(try #require(error))".contains("it was changed"))
    }
}

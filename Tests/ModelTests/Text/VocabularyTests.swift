import Glibc
import Model
import Testing

@Suite struct VocabularyTests {
    @Test func aWordsIdIsItsLine() throws {
        let vocabulary = try Vocabulary(words: ["rain", "berlin", "straße"])
        #expect(vocabulary.count == 3)
        #expect(vocabulary.id(of: "rain") == 0)
        #expect(vocabulary.id(of: "straße") == 2)
        #expect(vocabulary.id(of: "strasse") == nil)
        #expect(vocabulary.id(of: "Rain") == nil)
    }

    @Test func encodesTitleThenTagsThenDescription() throws {
        let vocabulary = try Vocabulary(words: ["rain", "berlin", "wet", "night"])
        let text = vocabulary.encode(
            title: "Wet NIGHT,", tags: "berlin unknown wet", description: "rain", maximumWords: 50)
        #expect(text.words == ["wet", "night", "berlin", "wet", "rain"])
        #expect(text.ids == [2, 3, 1, 2, 0])
        #expect(
            vocabulary.encode(title: "nothing", tags: "known here", maximumWords: 50)
                == TokenizedText(ids: [], words: []))
    }

    @Test func titleAndTagsAreTwoWords() throws {
        let vocabulary = try Vocabulary(words: ["rain", "bow", "rainbow"])
        #expect(vocabulary.encode(title: "rain", tags: "bow", maximumWords: 50).ids == [0, 1])
    }

    @Test func dropsUnknownWordsBeforeItCuts() throws {
        let vocabulary = try Vocabulary(words: ["aa", "bb", "cc"])
        let text = vocabulary.encode(title: "xx aa yy bb zz cc", tags: "aa", maximumWords: 3)
        #expect(text.words == ["aa", "bb", "cc"])

        let sixty = String(repeating: "unknown cc ", count: 60)
        #expect(vocabulary.encode(title: "", tags: sixty, maximumWords: 50).ids.count == 50)
        #expect(vocabulary.encode(title: "aa", tags: "", maximumWords: 0).ids.isEmpty)
    }

    /// The Hangul syllable and its jamo are canonically equivalent, so `String` calls them equal;
    /// both are word characters, and to Python they are two words.
    @Test func tellsCanonicallyEquivalentWordsApart() throws {
        let composed = "\u{AC00}\u{AC00}"
        let decomposed = "\u{1100}\u{1161}\u{1100}\u{1161}"
        #expect(composed == decomposed)

        let vocabulary = try Vocabulary(words: [composed, decomposed])
        #expect(vocabulary.id(of: composed) == 0)
        #expect(vocabulary.id(of: decomposed) == 1)
        #expect(
            vocabulary.encode(title: decomposed, tags: composed, maximumWords: 50).ids == [1, 0])
    }

    @Test func readsAFileWithAndWithoutALastNewline() throws {
        for contents in ["rain\nberlin\n中国\n", "rain\nberlin\n中国"] {
            let vocabulary = try load(Array(contents.utf8))
            #expect(vocabulary.count == 3)
            #expect(vocabulary.id(of: "中国") == 2)
        }
        #expect(try load([]).count == 0)
    }

    @Test(arguments: [
        ("rain\n\nberlin\n", "line 2 is empty"),
        ("rain\nberlin\n\n", "line 3 is empty"),
        ("rain\nberlin\nwet\nrain\n", "line 4 repeats the word 'rain' of line 1"),
        ("rain\r\nberlin\r\n", "line 1 holds a line end"),
        ("\u{FEFF}rain\n", "byte order mark"),
    ])
    func refusesADamagedFileByLine(contents: String, expected: String) {
        expectMalformed(Array(contents.utf8), expected)
    }

    @Test func refusesWhatIsNotUTF8() {
        expectMalformed(Array("rain\n".utf8) + [0x62, 0xFC, 0x72, 0x0A], "line 2 is not UTF-8")
    }

    @Test func namesAFileThatIsMissing() {
        let error = #expect(throws: ModelError.self) {
            try Vocabulary(file: MappedFile(path: "/no/such/vocabulary.txt"))
        }
        #expect(error?.description.contains("/no/such/vocabulary.txt") == true)
    }

    private func expectMalformed(_ contents: [UInt8], _ reason: String) {
        let error = #expect(throws: ModelError.self) { try load(contents) }
        #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
    }

    private func load(_ contents: [UInt8]) throws -> Vocabulary {
        var template = Array("/tmp/uhan-vocabulary-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        defer {
            close(descriptor)
            unlink(path)
        }
        try #require(write(descriptor, contents, contents.count) == contents.count)
        return try Vocabulary(file: MappedFile(path: path))
    }
}

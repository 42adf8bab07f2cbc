import Pipeline
import Testing

@Suite struct PostEventTests {
    private func post(
        _ text: String, from source: PostEvent.Source = .topic
    ) throws(EventError) -> PostEvent {
        try PostEvent(parsing: Array(text.utf8), from: source)
    }

    private func error(_ text: String, from source: PostEvent.Source = .topic) -> EventError? {
        do throws(EventError) {
            _ = try post(text, from: source)
            return nil
        } catch {
            return error
        }
    }

    @Test func readsTheChallengesFieldsAndTheImage() throws {
        let event = try post(
            """
            {"uid":"25893@N22","pid":"565381","category":"Whether&Season","ispublic":"1",
             "title":"Tristesse","alltags":"berlin wet rain","description":"A puddle",
             "postdate":"1457273948","latitude":"52.5","image_url":"https://example.org/1.jpg",
             "image_sha256":"00FF\(String(repeating: "0a", count: 30))","score_by":1457274248.25}
            """)
        #expect(
            event
                == PostEvent(
                    pid: "565381", uid: "25893@N22", title: "Tristesse", tags: "berlin wet rain",
                    description: "A puddle", postedAt: 1_457_273_948,
                    image: .url("https://example.org/1.jpg"),
                    imageSHA256: [0, 255] + [UInt8](repeating: 10, count: 30),
                    scoreBy: 1_457_274_248.25))
    }

    @Test func needsOnlyTheIdentifiers() throws {
        #expect(try post(#"{"uid":"u","pid":"p"}"#) == PostEvent(pid: "p", uid: "u"))
    }

    @Test func takesNumbersForStringsAndStringsForNumbers() throws {
        let event = try post(
            #"{"uid":25893,"pid":123456789012345678901234567890,"title":7,"postdate":"1.5e9"}"#)
        #expect(event.uid == "25893")
        #expect(event.pid == "123456789012345678901234567890")
        #expect(event.title == "7")
        #expect(event.postedAt == 1_500_000_000)
    }

    @Test func nullAndTheEmptyStringAreAbsent() throws {
        let event = try post(
            """
            {"uid":"u","pid":"p","title":null,"alltags":"","postdate":null,"score_by":"",
             "image_url":null,"image_base64":"","image":null,"image_sha256":null}
            """)
        #expect(event == PostEvent(pid: "p", uid: "u"))
    }

    @Test func decodesAnInlineImage() throws {
        let event = try post(#"{"uid":"u","pid":"p","image_base64":"\/9j\/"}"#)
        #expect(event.image == .inline([0xFF, 0xD8, 0xFF]))
    }

    @Test func anImagePathIsForFilesAlone() throws {
        let text = #"{"uid":"u","pid":"p","image":"images/1.jpg"}"#
        #expect(try post(text, from: .file).image == .relativePath("images/1.jpg"))
        #expect(
            error(text)?.description
                == "field \"image\": found the path \"images/1.jpg\", expected image_url or "
                + "image_base64 (a path means nothing on a topic)")
        for path in ["/etc/passwd", "..", "../x", "a/../../x", "a/.."] {
            #expect(
                error("{\"uid\":\"u\",\"pid\":\"p\",\"image\":\"\(path)\"}", from: .file) != nil)
        }
        #expect(error(#"{"uid":"u","pid":"p","image":"..a/b..jpg"}"#, from: .file) == nil)
    }

    @Test func skipsTheHeaderOfASchemaRegistry() throws {
        let value = [0, 0, 0, 1, 2] + Array(#"{"uid":"u","pid":"p"}"#.utf8)
        #expect(try PostEvent(parsing: value, from: .topic) == PostEvent(pid: "p", uid: "u"))
    }

    @Test(arguments: [
        ("[]", "found an array, expected a JSON object"),
        ("{}", "field \"pid\": found nothing, expected an id of 1 to 256 bytes"),
        (#"{"pid":"1"}"#, "field \"uid\": found nothing, expected an id of 1 to 256 bytes"),
        (#"{"pid":"1","uid":null}"#, "field \"uid\": found null, expected an id of 1 to 256 bytes"),
        (#"{"pid":"","uid":"u"}"#, "field \"pid\": found \"\", expected an id of 1 to 256 bytes"),
        (#"{"pid":true,"uid":"u"}"#, "field \"pid\": found true, expected a string"),
        (
            #"{"pid":"1","uid":"u","alltags":["a"]}"#,
            "field \"alltags\": found an array, expected a string"
        ),
        (
            #"{"pid":"1","uid":"u","postdate":"yesterday"}"#,
            "field \"postdate\": found \"yesterday\", "
                + "expected seconds since 1970, 0 to 253402300799"
        ),
        (
            #"{"pid":"1","uid":"u","postdate":"nan"}"#,
            "field \"postdate\": found \"nan\", expected seconds since 1970, 0 to 253402300799"
        ),
        (
            #"{"pid":"1","uid":"u","score_by":1e999}"#,
            "field \"score_by\": found the number 1e999, "
                + "expected seconds since 1970, 0 to 253402300799"
        ),
        (
            #"{"pid":"1","uid":"u","score_by":1457274248500}"#,
            "field \"score_by\": found the number 1457274248500, expected seconds since 1970, "
                + "0 to 253402300799"
        ),
        (
            #"{"pid":"1","uid":"u","image_url":"ftp://h/1.jpg"}"#,
            "field \"image_url\": found \"ftp://h/1.jpg\", expected http://, https:// or file:// "
                + "and no blanks"
        ),
        (
            #"{"pid":"1","uid":"u","image_url":"http://h/a b"}"#,
            "field \"image_url\": found \"http://h/a b\", expected http://, https:// or file:// "
                + "and no blanks"
        ),
        (
            #"{"pid":"1","uid":"u","image_url":"http://h/1","image_base64":"AAAA"}"#,
            "field \"image_url\": found image_base64 as well, expected one image per post"
        ),
        (
            #"{"pid":"1","uid":"u","image_base64":"data:image/jpeg;base64,AAAA"}"#,
            "field \"image_base64\": found a data: URL, expected base64 (A-Z a-z 0-9 + /, padded "
                + "with =, no line breaks) without a data: prefix"
        ),
        (
            #"{"pid":"1","uid":"u","image_sha256":"abc"}"#,
            "field \"image_sha256\": found \"abc\" (3 characters), expected 64 hexadecimal digits"
        ),
        (#"{"pid":"1","uid":"u""#, "found the end after 20 bytes, expected ',' or '}'"),
        (
            #"{"pid":"1","uid":"u","uid":"v"}"#,
            "found the name \"uid\" a second time at byte 21, expected each name once in an object"
        ),
    ])
    func saysWhatIsWrong(_ text: String, _ description: String) {
        let error = error(text)
        #expect(error?.description == description)
        #expect(error?.reason == .malformedEvent)
    }

    @Test func boundsEveryField() {
        for (field, limit) in [
            ("uid", 256), ("pid", 256), ("title", 8 << 10), ("alltags", 32 << 10),
            ("description", 64 << 10), ("image_url", 4 << 10),
        ] {
            func event(_ count: Int) -> String {
                var fields = ["uid": "u", "pid": "p"]
                let start = field == "image_url" ? "http://h/" : ""
                fields[field] = start + String(repeating: "x", count: count - start.utf8.count)
                return "{\(fields.map { "\"\($0)\":\"\($1)\"" }.joined(separator: ","))}"
            }
            #expect(error(event(limit)) == nil, "\(field)")
            #expect(
                error(event(limit + 1))?.description
                    == "field \"\(field)\": found \(limit + 1) bytes, expected at most \(limit)")
        }
    }

    @Test func boundsTheEvent() {
        let large = [UInt8](repeating: UInt8(ascii: " "), count: (2 << 20) + 1)
        #expect {
            try PostEvent(parsing: large, from: .topic)
        } throws: { error in
            (error as? EventError)?.reason == .eventTooLarge
        }
        #expect {
            try PostEvent(parsing: [], from: .topic)
        } throws: { error in
            (error as? EventError)?.reason == .emptyValue
        }
    }

    @Test func cutsLongTextsInErrors() {
        let found = error(
            #"{"pid":"1","uid":"u","postdate":"\#(String(repeating: "9", count: 64))"}"#)
        #expect(found?.found == "\"\(String(repeating: "9", count: 60))...\"")
    }
}

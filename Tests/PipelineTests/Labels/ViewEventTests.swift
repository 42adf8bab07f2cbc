import Pipeline
import Testing

@Suite struct ViewEventTests {
    private func view(_ text: String) throws(EventError) -> ViewEvent {
        try ViewEvent(parsing: Array(text.utf8))
    }

    private func error(_ text: String) -> EventError? {
        do throws(EventError) {
            _ = try view(text)
            return nil
        } catch {
            return error
        }
    }

    @Test func readsNumbersAndStringsAlike() throws {
        let expected = ViewEvent(
            pid: "565381", uid: "25893@N22", views: 630, observedAt: 1_457_363_948.5)
        #expect(
            try view(
                """
                {"pid":"565381","uid":"25893@N22","views":"630","observed_at":"1457363948.5",
                 "favs":"8","comments":null}
                """) == expected)
        #expect(
            try view(
                #"{"pid":565381,"uid":"25893@N22","views":6.3e2,"observed_at":1457363948.5}"#)
                == expected)
    }

    @Test func skipsTheHeaderOfASchemaRegistry() throws {
        let value =
            [0, 0, 0, 1, 2] + Array(#"{"uid":"u","pid":"p","views":0,"observed_at":0}"#.utf8)
        #expect(
            try ViewEvent(parsing: value)
                == ViewEvent(pid: "p", uid: "u", views: 0, observedAt: 0))
    }

    @Test func readsWhatItWrites() throws {
        for views in [0, 1, 999_999_999_999, ViewEvent.maximumViews] {
            for observedAt in [0, 1e-7, 1_457_363_948.123_456_7, 253_402_300_799] {
                let view = ViewEvent(
                    pid: "\"가\\\u{1F600}", uid: "é\n\u{7F}", views: views, observedAt: observedAt)
                #expect(try ViewEvent(parsing: view.json) == view)
            }
        }
    }

    @Test(arguments: [
        (#""views":1"#, "field \"observed_at\": found nothing, expected seconds since 1970, "),
        (#""views":1,"observed_at":"""#, "field \"observed_at\": found \"\", expected seconds "),
        (
            #""views":1,"observed_at":1457363948000"#,
            "field \"observed_at\": found the number 1457363948000, expected seconds since 1970, "
        ),
        (#""observed_at":1"#, "field \"views\": found nothing, expected a whole number, 0 to 1000"),
        (#""observed_at":1,"views":null"#, "field \"views\": found null, expected a whole number"),
        (#""observed_at":1,"views":-1"#, "field \"views\": found the number -1, expected a whole"),
        (
            #""observed_at":1,"views":1.5"#,
            "field \"views\": found the number 1.5, expected a whole"
        ),
        (#""observed_at":1,"views":"nan""#, "field \"views\": found \"nan\", expected a whole"),
        (#""observed_at":1,"views":"0x1""#, "field \"views\": found \"0x1\", expected a whole"),
        (#""observed_at":1,"views":1e999"#, "field \"views\": found the number 1e999, expected"),
        (
            #""observed_at":1,"views":1000000000001"#,
            "field \"views\": found the number 1000000000001, expected a whole number, 0 to "
                + "1000000000000"
        ),
        (#""observed_at":1,"views":[1]"#, "field \"views\": found an array, expected"),
    ])
    func saysWhatIsWrong(_ members: String, _ start: String) {
        let error = error(#"{"uid":"u","pid":"p",\#(members)}"#)
        #expect(error?.description.hasPrefix(start) == true, "\(String(describing: error))")
        #expect(error?.reason == .malformedEvent)
    }

    @Test func bounds() {
        func event(pid: Int, blanks: Int = 0) -> String {
            let pid = String(repeating: "p", count: pid)
            let blanks = String(repeating: " ", count: blanks)
            return #"{"uid":"u","pid":"\#(pid)","views":1,"observed_at":1\#(blanks)}"#
        }
        #expect(error(event(pid: 256)) == nil)
        #expect(error(event(pid: 257))?.field == "pid")
        #expect(error(event(pid: 0))?.field == "pid")
        let fitting = (16 << 10) - event(pid: 1).utf8.count
        #expect(error(event(pid: 1, blanks: fitting)) == nil)
        #expect(error(event(pid: 1, blanks: fitting + 1))?.reason == .eventTooLarge)
        #expect(error("")?.reason == .emptyValue)
    }
}

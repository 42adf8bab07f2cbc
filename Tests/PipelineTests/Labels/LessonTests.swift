import Model
import Pipeline
import Testing

@Suite struct LessonTests {
    private func error(_ text: String) -> EventError? {
        do throws(EventError) {
            _ = try Lesson(parsing: Array(text.utf8))
            return nil
        } catch {
            return error
        }
    }

    @Test func readsWhatItWrites() throws {
        var random = RandomState(seed: 1)
        for _ in 0..<1_000 {
            let uid = random.identifier()
            let lessons: [Lesson] = [
                .label(random.joinedLabel()),
                .rollback(uid: uid, version: random.number(1...Int.max)), .forget(uid: uid),
            ]
            for lesson in lessons { #expect(try Lesson(parsing: lesson.json) == lesson) }
        }
    }

    @Test func theLabelsOfAPostAreNotPartOfItsLesson() throws {
        var random = RandomState(seed: 2)
        var label = random.joinedLabel()
        label.post.labels = [.init(horizon: 60, views: 1, observedAt: 2)]
        guard case .label(let read) = try Lesson(parsing: Lesson.label(label).json) else {
            Issue.record("no label")
            return
        }
        #expect(read.post.labels.isEmpty)
    }

    @Test(arguments: [
        ("{}", "found nothing as \"schema\" of the event, expected a string"),
        (
            #"{"schema":"uhan.lesson.v2"}"#,
            "found schema \"uhan.lesson.v2\", expected \"uhan.lesson.v1\""
        ),
        (
            #"{"schema":"uhan.lesson.v1","kind":"praise","uid":"u"}"#,
            "found \"praise\" as \"kind\" of the event, "
                + "expected \"label\", \"rollback\", \"forget\""
        ),
        (
            #"{"schema":"uhan.lesson.v1","kind":"forget","uid":""}"#,
            "found \"\" as \"uid\" of the event, expected a string of 1 to 256 bytes"
        ),
        (
            #"{"schema":"uhan.lesson.v1","kind":"rollback","uid":"u","version":0}"#,
            "found the number 0 as \"version\" of the event, expected 1 to 9223372036854775807"
        ),
    ])
    func saysWhatIsWrong(_ text: String, _ description: String) {
        #expect(error(text)?.description == description)
        #expect(error(text)?.reason == .malformedEvent)
    }

    @Test func boundsTheLesson() {
        #expect(error("")?.reason == .emptyValue)
        #expect(error(String(repeating: " ", count: (16 << 10) + 1))?.reason == .eventTooLarge)
    }

    @Test func aLabelThatNoViewsGiveIsRefused() throws {
        var random = RandomState(seed: 3)
        var label = random.joinedLabel()
        for wrong in [64.1, -64.1, .infinity, -.infinity, .nan, 3e38] as [Float] {
            label.label = wrong
            #expect(throws: EventError.self) { try Lesson(parsing: Lesson.label(label).json) }
        }
    }
}

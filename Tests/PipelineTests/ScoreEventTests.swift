import Model
import Pipeline
import Testing

@Suite struct ScoreEventTests {
    private func scored(score: Float = 3.25, isRepeat: Bool = false) -> ScoreEvent {
        let scoring = Scoring(
            score: score, expectedViewsPerDay: 9.5, model: "m-1", userVector: "unknown",
            flags: [.untrained, .noImage, .unknownUser],
            attention: ScoreAttention(
                words: [.init("sun\"set", 0.75), .init("grüße", 0.25)],
                image: .init(rows: 1, columns: 4, weights: [0, 0.125, 0.25, 0.5]),
                textWeight: 0.625, imageWeight: 0.375),
            backboneMilliseconds: 480, encodeMilliseconds: 6.5, scoreMilliseconds: 0.5)
        var timings = ScoreEvent.Timings()
        timings.queue = 12
        timings.fetch = 40.25
        timings.decode = 9
        return ScoreEvent(
            pid: "p", uid: "u\n",
            outcome: .scored(.init(scoring, isRepeat: isRepeat, timings: timings)),
            eventTime: 1_457_273_948_123, scoredAt: 1_457_273_948_673,
            origin: .init(topic: "posts", partition: 3, offset: 1842))
    }

    @Test func writesOneLine() {
        #expect(
            String(decoding: scored(isRepeat: true).json, as: UTF8.self)
                == #"{"schema":"uhan.score.v1","status":"scored","pid":"p","uid":"u\u000a","#
                + #""score":3.25,"views_per_day":4.756828460010884,"expected_views_per_day":9.5,"#
                + #""model":"m-1","user_vector":"unknown","#
                + #""flags":["no_image","repeat","unknown_user","untrained"],"#
                + #""attention":{"words":[["sun\"set",0.75],["grüße",0.25]],"#
                + #""image":{"grid":[1,4],"max":0.5,"weights":"AECA/w=="},"#
                + #""modality":{"text":0.625,"image":0.375}},"#
                + #""timings_ms":{"queue":12.0,"fetch":40.25,"decode":9.0,"backbone":480.0,"#
                + #""encode":6.5,"score":0.5},"#
                + #""event_time":1457273948123,"scored_at":1457273948673,"#
                + #""origin":{"topic":"posts","partition":3,"offset":1842}}"#)
    }

    @Test func viewsPerDayAreTheModelsOwn() throws {
        for score in [-3, 0.1, 3.25, 9.876543, 150] as [Float] {
            guard case .scored(let written) = scored(score: score).outcome,
                case .scored(let read) = try ScoreEvent(parsing: scored(score: score).json).outcome
            else {
                Issue.record("no score")
                return
            }
            #expect(written.viewsPerDay == Prediction.viewsPerDay(score: score))
            #expect(read.viewsPerDay == written.viewsPerDay)
        }
    }

    @Test func readsWhatItWrites() throws {
        let event = scored()
        #expect(try ScoreEvent(parsing: event.json) == event)
        let expired = ScoreEvent(
            pid: "p", uid: "u", outcome: .expired(scoreBy: 1_457_274_248.5), eventTime: nil,
            scoredAt: 5, origin: .init(topic: "posts", partition: 0, offset: 0))
        #expect(try ScoreEvent(parsing: expired.json) == expired)
    }

    @Test func everyScoreComesBackBitForBit() throws {
        var generator = SplitMix64(seed: 2)
        for _ in 0..<2_000 {
            let score = Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
            guard score.isFinite, score < 100 else { continue }
            guard
                case .scored(let read) = try ScoreEvent(parsing: scored(score: score).json).outcome
            else {
                Issue.record("no score")
                return
            }
            #expect(read.score.bitPattern == score.bitPattern)
        }
    }

    @Test func aGridKeepsWeightsToATwoHundredFiftyFifthOfTheLargest() {
        var generator = SplitMix64(seed: 3)
        let weights = (0..<196).map { _ in Float(generator.next() >> 40) * 1e-9 }
        let grid = ScoreAttention.Grid(rows: 14, columns: 14, weights: weights)
        for (kept, weight) in zip(grid.weights, weights) {
            #expect(abs(kept - weight) <= grid.maximum / 509)
        }
        let nothing = ScoreAttention.Grid(rows: 1, columns: 2, weights: [0, 0])
        #expect(nothing.levels == [0, 0])
    }

    @Test func passesOverWhatALaterVersionMayAdd() throws {
        var text = String(decoding: scored().json, as: UTF8.self)
        text.removeLast()
        text += #","new":{"a":[1]}}"#
        text.replace("\"untrained\"", with: "\"brand_new\"")
        let event = try ScoreEvent(parsing: Array(text.utf8))
        guard case .scored(let read) = event.outcome else {
            Issue.record("no score")
            return
        }
        #expect(read.flags == [.noImage, .unknownUser])
    }

    @Test func refusesAnotherSchema() {
        #expect {
            try ScoreEvent(parsing: Array(#"{"schema":"uhan.score.v2"}"#.utf8))
        } throws: { error in
            (error as? JSONError)?.found == "schema \"uhan.score.v2\""
        }
    }

    @Test func aDeadLetterKeepsTheRecordAndSaysWhy() {
        let record = Record(
            partition: Partition(topic: "posts", number: 3), offset: 1843, key: [1], value: [2],
            headers: [
                RecordHeader(key: "trace", value: [3]),
                RecordHeader(key: "uhan.reason", value: Array("an earlier death".utf8)),
            ])
        let letter = DeadLetter(record: record, reason: .keyMismatch, error: "no key")
        let output = letter.output(to: "dead", maximumBytes: 1_000)
        #expect(output.topic == "dead")
        #expect(output.key == [1])
        #expect(output.value == [2])
        #expect(
            output.headers.map { "\($0.key)=\(String(decoding: $0.value ?? [], as: UTF8.self))" }
                == [
                    "trace=\u{3}", "uhan.reason=key_mismatch", "uhan.error=no key",
                    "uhan.topic=posts",
                    "uhan.partition=3", "uhan.offset=1843",
                ])
    }

    @Test func aDeadLetterThatNoBrokerWouldTakeGoesWithoutItsValue() {
        func output(key: Int, value: Int, header: Int) -> OutputRecord {
            let record = Record(
                partition: Partition(topic: "posts", number: 0), offset: 0,
                key: [UInt8](repeating: 0, count: key), value: [UInt8](repeating: 0, count: value),
                headers: [RecordHeader(key: "h", value: [UInt8](repeating: 0, count: header))])
            return DeadLetter(record: record, reason: .eventTooLarge, error: "e")
                .output(to: "dead", maximumBytes: 1_000)
        }
        func omitted(_ output: OutputRecord) -> [UInt8]? {
            output.headers.first { $0.key == "uhan.omitted_value_bytes" }?.value
        }
        #expect(omitted(output(key: 1, value: 10, header: 1)) == nil)
        let withoutValue = output(key: 1, value: 2_000, header: 1)
        #expect(withoutValue.value == nil)
        #expect(withoutValue.key == [0])
        #expect(withoutValue.headers.first?.key == "h")
        #expect(omitted(withoutValue) == Array("2000".utf8))
        let withoutHeaders = output(key: 1, value: 2_000, header: 2_000)
        #expect(withoutHeaders.headers.first?.key == "uhan.reason")
        #expect(withoutHeaders.key == [0])
        #expect(output(key: 2_000, value: 2_000, header: 1).key == nil)
    }

    @Test func aThousandEmptyHeadersAreNotSmall() {
        let record = Record(
            partition: Partition(topic: "posts", number: 0), offset: 0, key: [1], value: [2],
            headers: [RecordHeader](
                repeating: RecordHeader(key: "", value: nil), count: 1_000))
        let letter = DeadLetter(record: record, reason: .malformedEvent, error: "e")
        #expect(letter.output(to: "dead", maximumBytes: 20_000).headers.count == 1_005)
        let reduced = letter.output(to: "dead", maximumBytes: 10_000)
        #expect(reduced.headers.count == 6)
        #expect(reduced.key == [1])
    }

    @Test func aLongErrorTextIsCutBetweenCharacters() {
        let record = Record(
            partition: Partition(topic: "posts", number: 0), offset: 0, key: nil, value: nil)
        let letter = DeadLetter(
            record: record, reason: .malformedEvent, error: String(repeating: "é", count: 2_000))
        let output = letter.output(to: "dead", maximumBytes: 10_000)
        #expect(output.headers[1].value == Array(String(repeating: "é", count: 512).utf8))
    }
}

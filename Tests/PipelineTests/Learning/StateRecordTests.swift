import Model
import Pipeline
import Testing

@Suite struct StateRecordTests {
    private func key(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func error(_ key: [UInt8], _ value: [UInt8]?) -> StateError? {
        do throws(StateError) {
            _ = try StateChange(key: key, value: value)
            return nil
        } catch {
            return error
        }
    }

    /// Equality of strings is canonical equivalence, and of floats takes -0 for 0: bytes tell.
    private func expectSame(_ read: StateChange, _ change: StateChange) {
        #expect(read == change)
        #expect(read.record == change.record)
    }

    // MARK: There and back

    @Test func everyChangeComesBackBitForBit() throws {
        var random = RandomState(seed: 1)
        for _ in 0..<500 {
            let (uid, pid, model) = (random.identifier(), random.identifier(), random.identifier())
            let number = random.number(0...(1 << 53) - 1)
            let view = ViewEvent(
                pid: pid, uid: uid, views: Int64(random.number(0...1_000_000_000_000)),
                observedAt: random.seconds())
            let bytes = random.bytes(random.number(1...300))
            let changes: [StateChange] = [
                .user(random.learner()), .forgottenUser(uid: uid, model: model),
                .post(random.scoredPost()), .forgottenPost(uid: uid, pid: pid),
                .earlyView(view, number: number),
                .forgottenEarlyView(uid: uid, pid: pid, number: number),
                .encoding(uid: uid, pid: pid, model: model, bytes: bytes),
                .forgottenEncoding(uid: uid, pid: pid),
            ]
            for change in changes {
                let record = change.record
                expectSame(try StateChange(key: record.key, value: record.value), change)
            }
        }
    }

    @Test func aVectorThatIsNotOfTheModelsSizeIsToldByItsKey() throws {
        var state = LearnerState(uid: "u", model: "m")
        try StateChange.user(state).requireDimension(3, of: "m")
        state.vectors = [.init(version: 1, values: [1, 2], learnedAt: 1, labels: 1)]
        try StateChange.user(state).requireDimension(2, of: "m")
        try StateChange.user(state).requireDimension(3, of: "another")
        let error = #expect(throws: StateError.self) {
            try StateChange.user(state).requireDimension(3, of: "m")
        }
        #expect(error?.description.contains(#"["user","m","u"]"#) == true)
        #expect(error?.description.contains("vectors of 2 values, expected 3") == true)
    }

    @Test func vectorsComeBackWithEveryBit() throws {
        let values: [Float] = [
            0, -0.0, .leastNonzeroMagnitude, -.leastNormalMagnitude, .greatestFiniteMagnitude,
            0.1, .pi, -1 / 3,
        ]
        var state = LearnerState(uid: "u", model: "m")
        state.vectors = [.init(version: 1, values: values, learnedAt: 1, labels: 1)]
        state.labelSum = 0.1 + 0.2
        let read = try LearnerState(parsing: state.json)
        #expect(read.vectors[0].values.map(\.bitPattern) == values.map(\.bitPattern))
        #expect(read.labelSum.bitPattern == (0.1 + 0.2).bitPattern)
    }

    // MARK: Keys

    @Test func keysAreArraysThatSayOfWhat() {
        let state = LearnerState(uid: "25893@N22", model: "uhan-1")
        let view = ViewEvent(pid: "p\"", uid: "é", views: 1, observedAt: 2)
        for (change, topic, text) in [
            (.user(state), .users, #"["user","uhan-1","25893@N22"]"#),
            (.forgottenUser(uid: "u", model: "m"), .users, #"["user","m","u"]"#),
            (.forgottenPost(uid: "u", pid: "p"), .joins, #"["post","u","p"]"#),
            (.earlyView(view, number: 3), .joins, #"["early","é","p\"",3]"#),
            (.forgottenEncoding(uid: "u", pid: "p"), .encodings, #"["encoding","u","p"]"#),
        ] as [(StateChange, StateTopic, String)] {
            #expect(change.record.topic == topic)
            #expect(change.record.key == key(text))
        }
    }

    @Test func anEncodingNamesItsModelBeforeItsBytes() {
        let record = StateChange.encoding(uid: "u", pid: "p", model: "m2", bytes: [7, 8]).record
        #expect(record.value == [1, 2, 0] + key("m2") + [7, 8])
    }

    @Test(arguments: [
        #"["user","m"]"#, #"["user","m","u",1]"#, #"["early","u","p"]"#, #"["early","u","p",-1]"#,
        #"["early","u","p",9007199254740992]"#, #"["early","u","p",1.5]"#,
        #"["early","u","p","1"]"#, #"["label","u","p"]"#, "{}", "",
        #"["post","u",1]"#, #"["post","u","p"#,
    ])
    func keysOfAnotherKindAreRefused(_ text: String) {
        #expect(error(key(text), nil) != nil)
    }

    /// Compaction would keep both.
    @Test(arguments: [
        #"["post", "u","p"]"#, #"["post","\u0075","p"]"#, #" ["post","u","p"]"#,
        #"["early","u","p",01]"#, #"["early","u","p",-0]"#,
    ])
    func anotherSpellingOfAKeyIsRefused(_ text: String) {
        #expect(error(key(text), nil) != nil)
    }

    @Test func aValueMustSpeakOfItsKey() throws {
        var random = RandomState(seed: 3)
        let post = StateChange.post(random.scoredPost()).record
        let user = StateChange.user(random.learner()).record
        let early = StateChange.earlyView(
            ViewEvent(pid: "p", uid: "u", views: 1, observedAt: 2), number: 0
        ).record
        for (key, value) in [
            (#"["post","u","p"]"#, post.value), (#"["user","m","u"]"#, user.value),
            (#"["early","u","q",0]"#, early.value), (#"["early","v","p",0]"#, early.value),
            (#"["post","u","p"]"#, early.value), (#"["user","m","u"]"#, []),
            (#"["encoding","u","p"]"#, post.value),
        ] {
            #expect(error(self.key(key), value) != nil, "\(key)")
        }
        #expect(
            error(key(#"["early","u","q",0]"#), early.value)?.description
                == "the state record with key [\"early\",\"u\",\"q\",0] cannot be read: found pid "
                + "\"p\" in the value, expected \"q\" as in the key. If a newer version wrote it, "
                + "run that one; else give up what it holds by producing a record with this key "
                + "and no value to its topic and partition")
    }

    // MARK: What is refused

    @Test(arguments: [
        ("nine vectors", "9 vectors"),
        ("thirty-three posts", "33 posts"),
        ("versions that stand still", "version 1 after 1 in vectors"),
        ("versions that go back", "version 1 after 2 in vectors"),
        ("sizes that differ", "vectors of 3 and 4 values"),
        ("no values", "0 bytes as \"values\" of version 1"),
        ("too many values", "16388 bytes as \"values\" of version 1"),
        ("a NaN", "nan as value 1 of version 1"),
        ("an infinity", "-inf as value 2 of version 1"),
        ("a sum that is none", "null as \"label_sum\" of the event"),
        ("a label beyond bounds", "the number 65.0 as \"label\" of posts"),
        ("a version of its own future", "the number 1 as \"rolled_back_to\" of vectors"),
        ("a negative count", "the number -1 as \"label_count\" of the event"),
    ])
    func aUserIsRefusedFor(_ fault: String, _ found: String) throws {
        func vector(_ version: Int, _ values: [Float] = [1, 2, 3]) -> LearnerState.Vector {
            LearnerState.Vector(version: version, values: values, learnedAt: 1, labels: 1)
        }
        let post = LearnerState.LabelledPost(
            pid: "p", label: 1, postedAt: 1, observedAt: 2, number: 0)
        var state = LearnerState(uid: "u", model: "m")
        state.vectors = [vector(1)]
        state.posts = [post]
        #expect(try LearnerState(parsing: state.json) == state)
        switch fault {
        case "nine vectors": state.vectors = (1...9).map { vector($0) }
        case "thirty-three posts": state.posts = Array(repeating: post, count: 33)
        case "versions that stand still": state.vectors = [vector(1), vector(1)]
        case "versions that go back": state.vectors = [vector(2), vector(1)]
        case "sizes that differ": state.vectors = [vector(1), vector(2, [1, 2, 3, 4])]
        case "no values": state.vectors = [vector(1, [])]
        case "too many values": state.vectors = [vector(1, .init(repeating: 0, count: 4_097))]
        case "a NaN": state.vectors[0].values[1] = .nan
        case "an infinity": state.vectors[0].values[2] = -.infinity
        case "a sum that is none": state.labelSum = .nan
        case "a label beyond bounds": state.posts[0].label = 65
        case "a version of its own future": state.vectors[0].rolledBackTo = 1
        default: state.labelCount = -1
        }
        let record = StateChange.user(state).record
        #expect(error(record.key, record.value)?.found == found)
    }

    @Test func twoLabelsOfOneHorizonAreRefused() {
        var random = RandomState(seed: 4)
        var post = random.scoredPost()
        post.labels = [60, 60].map { .init(horizon: $0, views: 1, observedAt: 1) }
        let record = StateChange.post(post).record
        #expect(error(record.key, record.value)?.found == "two labels of one horizon")
    }

    // MARK: Damage

    @Test func noTruncationIsRead() {
        var random = RandomState(seed: 5)
        let view = ViewEvent(pid: "p", uid: "u", views: 12, observedAt: 3)
        let changes: [StateChange] = [
            .user(random.learner()), .post(random.scoredPost()), .earlyView(view, number: 1),
        ]
        for change in changes {
            let record = change.record
            guard let value = record.value else { continue }
            for count in value.indices {
                #expect(error(record.key, Array(value[..<count])) != nil)
            }
            for count in record.key.indices {
                #expect(error(Array(record.key[..<count]), value) != nil)
            }
        }
    }

    /// Whatever bit flips, what is read keeps the bounds that the learner relies on.
    @Test func flippedBitsAreReadWithinBoundsOrRefused() throws {
        var state = LearnerState(uid: "u", model: "m")
        // A flip away from infinity and NaN.
        let values: [Float] = [1, 1.5, .greatestFiniteMagnitude, -1.75, 0, 3e38]
        state.vectors = (1...8).map { .init(version: $0, values: values, learnedAt: 1, labels: 1) }
        state.posts = [.init(pid: "p", label: 9, postedAt: 1, observedAt: 2, number: 0)]
        let record = StateChange.user(state).record
        let value = try #require(record.value)
        var (accepted, notFinite) = (0, 0)
        for place in value.indices {
            for bit in 0..<8 {
                var damaged = value
                damaged[place] ^= 1 << bit
                do throws(StateError) {
                    guard case .user(let read) = try StateChange(key: record.key, value: damaged)
                    else {
                        Issue.record("not a user")
                        continue
                    }
                    accepted += 1
                    #expect(read.vectors.count <= 8 && read.posts.count <= 32)
                    #expect(read.vectors.allSatisfy { $0.values.count == values.count })
                    #expect(read.vectors.allSatisfy { $0.values.allSatisfy(\.isFinite) })
                    #expect(read.posts.allSatisfy { LabelRule.labels.contains($0.label) })
                    #expect(read.labelSum.isFinite)
                } catch {
                    if error.expected == "finite values" { notFinite += 1 }
                }
            }
        }
        #expect(accepted > 100)
        #expect(notFinite > 10)
    }

    @Test func anyBytesAreReadOrRefused() {
        var random = RandomState(seed: 6)
        let keys = [#"["user","m","u"]"#, #"["post","u","p"]"#, #"["encoding","u","p"]"#]
        for round in 0..<3_000 {
            let bytes = random.bytes(random.number(0...64))
            if let error = error(key(keys[round % 3]), bytes) { #expect(!error.found.isEmpty) }
            #expect(error(bytes, bytes) != nil)
        }
    }

    @Test func aDamagedEncodingIsRefused() {
        let key = key(#"["encoding","u","p"]"#)
        for value in [
            [], [1], [1, 1, 0], [1, 1, 0, 0x61], [2, 1, 0, 0x61, 9], [1, 0, 0, 9],
            [1, 1, 0, 0xFF, 9], [1, 0xFF, 0xFF, 0x61, 9], [1, 3, 0, 0x61, 9],
        ] as [[UInt8]] {
            #expect(error(key, value) != nil, "\(value)")
        }
        #expect(error(key, [1, 1, 0, 0x61, 9]) == nil)
    }
}

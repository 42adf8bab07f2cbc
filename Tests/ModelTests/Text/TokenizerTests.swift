import Model
import Testing

/// The tokeniser against Python's `re.findall(r"\b\w\w+\b", text.lower())`.
@Suite struct TokenizerTests {
    @Test func readsAPostAsPythonDoes() {
        #expect(
            Tokenizer.words("The Quick_BROWN fox's 2nd café, a ß") == [
                "the", "quick_brown", "fox", "2nd", "café",
            ])
        #expect(Tokenizer.words("").isEmpty)
        #expect(Tokenizer.words("a b c ! 1").isEmpty)
    }

    @Test func splitsEveryGoldenTextLikePython() throws {
        let golden = try TextGolden.load(TextGolden.Tokens.self, "tokens.json")
        #expect(golden.cases.count >= 200)
        for example in golden.cases {
            let words = Tokenizer.words(example.text)
            #expect(
                words.map(codePoints) == example.words.map(codePoints),
                "\(example.text.debugDescription)")
        }
    }

    @Test func handlesATextOfAMillionCharacters() {
        let marks = String(repeating: "\u{301}", count: 250_000)
        let text = "ΑΣ" + marks + "Α " + String(repeating: "wort", count: 187_500)
        let words = Tokenizer.words(text)
        #expect(words.map(\.unicodeScalars.count) == [2, 750_000])
        #expect(words.first.map(codePoints) == [0x3B1, 0x3C3])
    }

    /// All code points one by one, so that a change of the standard library's Unicode data, and
    /// with it of what a trained vocabulary means, cannot pass unseen.
    @Test func knowsEveryCodePointOfUnicode14() throws {
        let golden = try TextGolden.load(TextGolden.Scalars.self, "scalars.json")
        let isWord = membership(golden.word)
        let isCased = membership(golden.cased)
        let isCaseIgnorable = membership(golden.ignorable)
        let lower = Dictionary(uniqueKeysWithValues: golden.lower.map { ($0.code, $0.mapped) })
        // Since 14.0 the first is no longer cased, the second no longer case-ignorable.
        let changedBesideSigma: Set<UInt32> = [0x0295, 0x1171E]

        var compared = 0
        var differing: [String] = []
        for code in UInt32(0)...0x10FFFF {
            guard let scalar = Unicode.Scalar(code), !isNewerThan14(scalar) else { continue }
            compared += 1

            // Between two letters the lower-cased word characters join or split the word.
            var expected: [[UInt32]] = [[0x78, 0x78]]
            for mapped in lower[code] ?? [code] {
                if isWord[Int(mapped)] {
                    expected[expected.count - 1].append(mapped)
                } else {
                    expected.append([])
                }
            }
            expected[expected.count - 1] += [0x79, 0x79]
            let character = String(Character(scalar))
            var agrees =
                Tokenizer.words("xx" + character + "yy").map(codePoints)
                == expected.filter { $0.count >= 2 }

            if !changedBesideSigma.contains(code) {
                // "1" makes a word of the sigma and is neither cased nor case-ignorable.
                let afterNothing = endsInFinalSigmaAnd1("-" + character + "Σ1")
                let afterLetter = endsInFinalSigmaAnd1("X" + character + "Σ1")
                agrees = agrees && afterNothing == isCased[Int(code)]
                agrees =
                    agrees && afterLetter == (isCased[Int(code)] || isCaseIgnorable[Int(code)])
            }
            if !agrees { differing.append("U+" + String(code, radix: 16, uppercase: true)) }
        }
        #expect(differing.isEmpty, "\(differing.count): \(differing.prefix(20))")
        #expect(compared > 1_000_000)
    }

    private func endsInFinalSigmaAnd1(_ text: String) -> Bool {
        Tokenizer.words(text).last.map { codePoints($0).suffix(2) == [0x3C2, 0x31] } ?? false
    }

    private func membership(_ ranges: [[UInt32]]) -> [Bool] {
        var members = [Bool](repeating: false, count: 0x110000)
        for range in ranges {
            for code in range[0]...range[1] { members[Int(code)] = true }
        }
        return members
    }

    private func isNewerThan14(_ scalar: Unicode.Scalar) -> Bool {
        (scalar.properties.age?.major ?? 0) > 14
    }
}

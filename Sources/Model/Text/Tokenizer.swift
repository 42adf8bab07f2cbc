/// Splits text into words exactly as Python 3's `re.findall(r"\b\w\w+\b", text.lower())` does.
///
/// That is the rule the vocabulary of a model is counted with, so every difference, however small,
/// silently turns known words into unknown ones. Everything here works on code points (Unicode
/// scalars): a combining mark or a zero-width joiner ends a word, a `_` does not, `ß` stays `ß`,
/// `İ` becomes `i` and a combining dot (so "İzmir" gives "zmir"), and `Σ` becomes `ς` at the end of
/// a word and `σ` elsewhere. A word is a longest run of at least two word characters.
///
/// The properties come from the standard library: Unicode 17.0 in Swift 6.3, where Python 3.11 has
/// 14.0. Of the code points assigned in 14.0 none differs in being a word character or in its
/// lower case; two (U+0295, U+1171E) differ in what they do to a `Σ` beside them. Code points
/// assigned since count here as what they are, and in Python 3.11 as no word characters.
package enum Tokenizer {
    /// The words of `text` in order, repeated as often as they occur.
    package static func words(_ text: String) -> [String] {
        var words: [String] = []
        forEachWord(of: text) { word in
            words.append(word)
            return true
        }
        return words
    }

    /// Hands the words of `text` to `body` in order until it answers false.
    static func forEachWord(of text: String, _ body: (String) -> Bool) {
        let scalars = text.unicodeScalars
        var run = Run()
        var index = scalars.startIndex
        while index < scalars.endIndex {
            let scalar = scalars[index]
            var goesOn = true
            if scalar.isASCII {
                let byte = lowercaseWordByte[Int(scalar.value)]
                goesOn = byte != 0 ? run.append(byte) : run.end(body)
            } else if scalar == "\u{3A3}" {
                run.append(isFinalSigma(at: index, in: scalars) ? "\u{3C2}" : "\u{3C3}")
            } else {
                for lowered in scalar.properties.lowercaseMapping.unicodeScalars where goesOn {
                    if isWordCharacter(lowered) {
                        run.append(lowered)
                    } else {
                        goesOn = run.end(body)
                    }
                }
            }
            if !goesOn { return }
            scalars.formIndex(after: &index)
        }
        _ = run.end(body)
    }

    /// `\w` of Python's `re` on `str`: `str.isalnum()` (a letter, a decimal digit or anything else
    /// with a numeric value) or `_`.
    static func isWordCharacter(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            true
        default:
            scalar.properties.numericType != nil || scalar == "_"
        }
    }

    /// Unicode's Final_Sigma condition as `str.lower()` tests it, on the text before lower-casing:
    /// a cased letter before and none after, looking past what is case-ignorable.
    private static func isFinalSigma(
        at sigma: String.UnicodeScalarView.Index, in scalars: String.UnicodeScalarView
    ) -> Bool {
        let isCased: (Unicode.Scalar?) -> Bool = { $0?.properties.isCased ?? false }
        let before = scalars[..<sigma].last { !$0.properties.isCaseIgnorable }
        guard isCased(before) else { return false }
        let after = scalars[scalars.index(after: sigma)...].first {
            !$0.properties.isCaseIgnorable
        }
        return !isCased(after)
    }

    /// For each ASCII code its lower case where it is a word character, otherwise 0.
    private static let lowercaseWordByte: [UInt8] = (0..<128).map { (code: UInt8) in
        switch code {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): code + 32
        case UInt8(ascii: "a")...UInt8(ascii: "z"): code
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): code
        default: 0
        }
    }
}

/// The run of word characters being read.
private struct Run {
    private var utf8: [UInt8] = []
    private var scalarCount = 0

    mutating func append(_ byte: UInt8) -> Bool {
        utf8.append(byte)
        scalarCount += 1
        return true
    }

    mutating func append(_ scalar: Unicode.Scalar) {
        utf8.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        scalarCount += 1
    }

    /// Ends the run; gives it to `body` where it is a word (two characters or more).
    mutating func end(_ body: (String) -> Bool) -> Bool {
        guard scalarCount > 0 else { return true }
        defer {
            utf8.removeAll(keepingCapacity: true)
            scalarCount = 0
        }
        return scalarCount >= 2 ? body(String(decoding: utf8, as: UTF8.self)) : true
    }
}

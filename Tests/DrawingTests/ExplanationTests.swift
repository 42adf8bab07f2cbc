import Drawing
import Model
import Pipeline
import Testing

/// Pictures and pages of posts, friendly and hostile.
struct ExplanationTests {
    private let photo = Photo(
        square: SampleScene(seed: 1).render(width: 64, height: 64), width: 640, height: 480)

    private func part(_ change: Float, random: Float, weaker: Int) -> Faithfulness.Part {
        Faithfulness.Part(
            removed: 10, of: 196, change: change, randomMean: random, randomDeviation: 0.01,
            draws: 20, weakerDraws: weaker)
    }

    private func reading(
        _ uid: String = "anna", score: Float = 4, flags: [ScoreFlag] = [],
        words: [String] = ["sunset", "lake"], hasRegions: Bool = true,
        faithfulness: Faithfulness? = nil
    ) -> Explanation.Reading {
        Explanation.Reading(
            uid: uid, score: score, flags: flags,
            words: words.enumerated().map { index, word in
                ScoreAttention.Word(
                    word, 2 * Float(index + 1) / Float(words.count * (words.count + 1)))
            },
            regions: hasRegions
                ? AttentionMap(rows: 2, columns: 2, weights: [0.1, 0.2, 0.3, 0.4]) : nil,
            textWeight: 0.25, imageWeight: 0.75,
            faithfulness: faithfulness
                ?? Faithfulness(regions: part(-0.5, random: 0.1, weaker: 20), words: nil))
    }

    private func explanation(
        title: String = "Sunset", tags: String = "", photo: Photo?,
        _ readings: [Explanation.Reading]
    ) -> Explanation {
        Explanation(
            pid: "42", title: title, tags: tags, model: "m@1", photo: photo, readings: readings)
    }

    private func page(_ explanation: Explanation) throws -> String {
        String(decoding: try ExplanationPage(explanation).html(), as: UTF8.self)
    }

    @Test func aPageSaysItInWordsAndNeedsNothingFromOutside() throws {
        let page = try page(
            explanation(tags: "lake", photo: photo, [reading(flags: [.untrained])]))
        for text in [
            "Sunset", "4.00", "about 8.0 views a day", "25 %", "75 %", "untrained model",
            "data-share=\"67 %\">lake<", "40 % of the attention",
            "Without the 10 most attended regions (of 196) the score falls by 0.500.",
            "Without 10 at random it moves by 0.100 ± 0.010 (20 draws).", "5.0 ×",
            "The attention points at what the score rests on.", "default-src 'none'",
            "prefers-color-scheme: dark",
        ] {
            #expect(page.contains(text), "\(text)")
        }
        // Pictures lie in the page itself.
        let sources = page.components(after: "src=\"")
        #expect(
            sources.count == 2 && sources.allSatisfy { $0.hasPrefix("data:image/jpeg;base64,") })
        for outside in ["http:", "https:", "url(", "@import", "<link", "<script", "href="] {
            #expect(!page.contains(outside), "\(outside)")
        }
    }

    @Test func attentionNoBetterThanChanceIsCalledSo() throws {
        let chance = Faithfulness(
            regions: part(0.1, random: 0.1, weaker: 9), words: part(0.001, random: 0.002, weaker: 1)
        )
        let page = try page(explanation(photo: photo, [reading(faithfulness: chance)]))
        #expect(page.contains("No more than chance"))
        #expect(page.contains("Neither moves the score"))
    }

    private static let hostile = [
        "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</title></style><h1>",
        "' onmouseover='x", "&lt;", "a\u{0}b\u{1B}[31m", "\u{202E}gpj.exe", "👩‍👩‍👧‍👦🏳️‍🌈", "שלום עולם مرحبا",
        "日本語のタイトル", String(repeating: "W", count: 9_000),
        "e" + String(repeating: "\u{301}", count: 900),
        "", "   ",
    ]

    @Test(arguments: hostile)
    func noTextBreaksOut(_ text: String) throws {
        let explanation = explanation(
            title: text, tags: text, photo: nil,
            [
                reading(text.isEmpty ? "u" : text, words: [text, "word"], hasRegions: false),
                reading("second", words: [text]),
            ])
        let page = try page(explanation)
        for tag in ["<script", "<img", "</title></style>", "' onmouseover", "\u{0}", "\u{1B}"] {
            #expect(!page.contains(tag), "\(tag)")
        }
        #expect(page.components(after: "<title>").count == 1)
        #expect(try ExplanationCard(explanation).png().count > 1_000)
        var grid = ExplanationGrid()
        try grid.add(explanation, page: "a.html")
        let index = String(decoding: try grid.html(), as: UTF8.self)
        #expect(!index.contains("<script") && !index.contains("onerror=alert(1)>"))
        #expect(try grid.png().count > 1_000)
    }

    @Test func aThousandWordsAndNoneAreDrawn() throws {
        let many = (0..<1_000).map { "word\($0)" }
        let full = explanation(photo: photo, [reading(words: many)])
        let surface = try ExplanationCard(full).surface()
        #expect(surface.height < 2_000)
        #expect(try page(full).components(after: "<bdi class=\"word").count == 1_000)

        let nothing = explanation(
            title: "", photo: nil,
            [
                reading(
                    flags: [.noImage, .noText, .unknownUser, .untrained], words: [],
                    hasRegions: false, faithfulness: Faithfulness(regions: nil, words: nil))
            ])
        #expect(try ExplanationCard(nothing).png().count > 1_000)
        let page = try page(nothing)
        for text in [
            "(without a title)", "no picture", "no known word", "user unknown to the model",
            "cannot be checked",
        ] {
            #expect(page.contains(text), "\(text)")
        }
    }

    @Test func twoUsersStandSideBySideWithTheirDifference() throws {
        let explanation = explanation(
            photo: photo,
            [reading("anna", score: 4), reading("ben", score: 5, flags: [.unknownUser])])
        let page = try page(explanation)
        #expect(
            page.contains(
                "For ben the post scores 1.00 higher than for anna: 2.0 times as many views a day.")
        )
        #expect(page.components(after: "src=\"").count == 3)
        let one = try ExplanationCard(self.explanation(photo: photo, [reading()])).surface()
        let two = try ExplanationCard(explanation).surface()
        #expect(two.width > one.width)
    }

    @Test func theSheetLinksEveryPost() throws {
        var grid = ExplanationGrid()
        for number in 0..<7 {
            try grid.add(
                explanation(title: "Post \(number)", photo: photo, [reading()]),
                page: "post-\(number).html")
        }
        let index = String(decoding: try grid.html(), as: UTF8.self)
        for number in 0..<7 {
            #expect(index.contains("href=\"post-\(number).html\""))
            #expect(index.contains("Post \(number)"))
        }
        #expect(index.components(after: "src=\"").allSatisfy { $0.hasPrefix("data:") })
        #expect(try grid.png().starts(with: [0x89, 0x50, 0x4E, 0x47]))
        #expect(try ExplanationGrid().png().starts(with: [0x89, 0x50, 0x4E, 0x47]))
    }
}

extension String {
    /// What follows each occurrence of `mark`.
    func components(after mark: String) -> [Substring] {
        var found: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: mark) {
            rest = rest[range.upperBound...]
            found.append(rest)
        }
        return found
    }
}

import Model
import Pipeline

/// An explanation as a page that needs nothing from outside: pictures lie in it, a word shows its
/// weight when pointed at, and so does a region.
package struct ExplanationPage: Sendable {
    private let explanation: Explanation

    package init(_ explanation: Explanation) {
        self.explanation = explanation
    }

    /// Of the photo in the page, in pixels.
    private static let maximumSide = 640
    private static let maximumTitle = 300
    private static let maximumTags = 1_200

    package func html() throws(DrawingError) -> [UInt8] {
        let photo = try explanation.photo?.upright(maximumSide: Self.maximumSide).pixels()
        let view = try photo.map { (photo) throws(DrawingError) in
            "<div class=\"view\"><img alt=\"The photo\" src=\"\(try HTML.address(of: photo))\">"
                + "</div>"
        }
        var body = """
            <h1>\(HTML.isolated(HTML.clipped(explanation.heading, Self.maximumTitle)))</h1>
            <p class="faint">\(HTML.isolated(explanation.origin))</p>
            \(flags(explanation.commonFlags))

            """
        let photoColumn = """
            <section><h2>The photo</h2>
            \(view ?? "<div class=\"none\">no picture</div>")
            </section>
            """
        if explanation.readings.count == 1 {
            let reading = explanation.readings[0]
            body += """
                <div class="columns">
                <div>\(photoColumn)
                \(score(reading))
                \(shares(reading))
                </div>
                <div><section><h2>Where the model looked</h2>
                \(try heatMap(reading))
                </section>
                \(words(reading))
                </div>
                </div>
                \(check(reading))

                """
        } else {
            let differences = explanation.differences
                .map { "<p><strong>\(HTML.isolated($0))</strong></p>" }.joined(separator: "\n")
            body += """
                <div class="columns">
                <div>\(photoColumn)
                <section><h2>What the user changes</h2>
                \(differences)
                </section>
                </div>

                """
            for reading in explanation.readings {
                body += """
                    <div><section><h2>For \(HTML.isolated(reading.uid))\
                    \(flags(explanation.ownFlags(reading)))</h2>
                    \(try heatMap(reading))
                    </section>
                    \(score(reading))
                    \(shares(reading))
                    \(words(reading))
                    \(check(reading))
                    </div>

                    """
            }
            body += "</div>\n"
        }
        if !explanation.tags.isEmpty {
            body += """
                <p class="faint">Tags: \
                \(HTML.isolated(HTML.clipped(explanation.tags, Self.maximumTags)))</p>

                """
        }
        return HTML.page(
            title: explanation.heading, body: body, columns: explanation.readings.count + 1)
    }

    private func flags(_ flags: [ScoreFlag]) -> String {
        guard !flags.isEmpty else { return "" }
        let pills = flags.map { "<span>\(HTML.escaped(Explanation.text($0)))</span>" }
        return "<span class=\"flags\">\(pills.joined())</span>"
    }

    private func heatMap(_ reading: Explanation.Reading) throws(DrawingError) -> String {
        guard let photo = explanation.photo, let regions = reading.regions else {
            return "<div class=\"none\">nothing to look at</div>"
        }
        let picture = try HeatMap(photo: photo, attention: regions)
            .surface(maximumSide: Self.maximumSide).pixels()
        let cells = regions.weights.map {
            "<i title=\"\(Numbers.percent(Double($0))) of the attention\"></i>"
        }
        let even = regions.even / regions.brightest
        let most =
            "\(Numbers.percent(regions.brightest)), "
            + "\(Numbers.decimal(regions.brightest / regions.even, places: 1)) × even"
        return """
            <div class="view"><img alt="The photo with the model's attention" \
            src="\(try HTML.address(of: picture))">
            <div class="regions" style="grid-template: repeat(\(regions.rows), 1fr) / \
            repeat(\(regions.columns), 1fr)">\(cells.joined())</div></div>
            <div class="scale"><b style="left: \(share(even))"></b></div>
            <div class="ends"><span>0</span><span>line: even, \
            \(Numbers.percent(regions.even))</span><span>\(most)</span></div>
            """
    }

    private func score(_ reading: Explanation.Reading) -> String {
        """
        <section><div class="score"><strong>\(reading.scoreText)</strong>\
        <span><small>score</small> \(reading.views)</span></div>
        <p class="faint">\(Explanation.scale)</p></section>
        """
    }

    private func shares(_ reading: Explanation.Reading) -> String {
        """
        <section><h2>What counted how much</h2>
        \(bar("Text", Double(reading.textWeight), "text", Numbers.percent(Double(reading.textWeight))))
        \(bar("Picture", Double(reading.imageWeight), "image", Numbers.percent(Double(reading.imageWeight))))
        </section>
        """
    }

    private func bar(
        _ name: String, _ size: Double, _ colour: String, _ text: String
    ) -> String {
        """
        <div class="bar"><span>\(name)</span><div><b style="width: \(share(size)); \
        background: var(--\(colour))"></b></div><span>\(text)</span></div>
        """
    }

    private func words(_ reading: Explanation.Reading) -> String {
        guard !reading.words.isEmpty else {
            return """
                <section><h2>Which words it read closely</h2>
                <p class="faint">no word that the model knows</p></section>
                """
        }
        let words = reading.words.map { word in
            let strength = min(1, max(0, Double(word.weight) / reading.strongestWord))
            let text = Numbers.percent(Double(word.weight))
            return """
                <bdi class="word\(strength > 0.85 ? " strong" : "")" \
                style="--strength: \(fraction(strength))" data-share="\(text)">\
                \(HTML.escaped(word.text))</bdi>
                """
        }
        return """
            <section><h2>Which words it read closely</h2>
            <div class="words">\(words.joined(separator: "\n"))</div>
            <p class="faint">Point at a word for its share of the attention.</p></section>
            """
    }

    private func check(_ reading: Explanation.Reading) -> String {
        let evidence = reading.evidence.map { evidence in
            let part = evidence.part
            let longest = Double(max(abs(part.change), part.randomMean, 1e-9))
            func row(_ name: String, _ size: Float, _ colour: String) -> String {
                bar(
                    name, Double(size) / longest, colour,
                    Numbers.decimal(Double(size), places: 3))
            }
            return """
                <div><p><strong>\(evidence.title)</strong></p>
                \(row("most attended", abs(part.change), evidence.title == "Text" ? "text" : "image"))
                \(row("random", part.randomMean, "random"))
                <div class="check"><strong>\(evidence.ratio)</strong>
                <div><p><strong style="font-size: 1rem">\(evidence.meaning)</strong></p>
                <p class="faint">\(evidence.finding)</p></div></div></div>
                """
        }
        let content =
            evidence.isEmpty
            ? "<p>\(Explanation.Reading.noEvidence)</p>"
            : "<div class=\"evidence\">\(evidence.joined(separator: "\n"))</div>"
        return """
            <section><h2>Does the score rest on what was looked at?</h2>
            \(content)
            </section>
            """
    }

    private func share(_ part: Double) -> String {
        "\(fraction(100 * min(1, max(0, part.isFinite ? part : 0))))%"
    }

    /// As style sheets write it.
    private func fraction(_ value: Double) -> String {
        "\((value * 1_000).rounded() / 1_000)"
    }
}

extension ExplanationGrid {
    /// The page of all posts, each linked to its own.
    package func html() throws(DrawingError) -> [UInt8] {
        var body = """
            <h1>Where the model looked</h1>
            \(isUntrained ? "<div class=\"flags\"><span>\(caption)</span></div>" : "<p class=\"faint\">\(caption)</p>")
            <div class="sheet">

            """
        for cell in cells {
            let picture = try cell.thumbnail.map { (thumbnail) throws(DrawingError) in
                "<img alt=\"\" src=\"\(try HTML.address(of: thumbnail))\">"
            }
            body += """
                <a href="\(HTML.escaped(cell.page))"><div class="thumb">\
                \(picture ?? "no picture")</div>
                <strong>\(HTML.escaped(cell.reading))</strong>
                <p class="faint">\(HTML.isolated(HTML.clipped(cell.heading, 120)))</p></a>

                """
        }
        return HTML.page(title: "Where the model looked", body: body + "</div>\n")
    }
}

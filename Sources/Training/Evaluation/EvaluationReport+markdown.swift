/// `table.md`: the report for people.
extension EvaluationReport {
    package var markdown: String {
        var text = "# Evaluation\n\n"
        text +=
            "\(grouped(dataset.test_posts)) test posts of \(grouped(dataset.test_users)) users, "
            + "dataset `\(dataset.version)`. The score is log2(views a day) + 1, so an error of 1 "
            + "is a factor of 2.\n"
        text += tables(history: "training posts")
        text += "\n## Settings\n\n" + settingsList
        return text
    }

    /// - Parameter history: what `by_history` counts.
    func tables(history: String) -> String {
        var text = "\n## Systems\n\n" + systemsTable
        text += systemsNotes
        for reference in references {
            text += "\n## Differences to \(reference)\n\n" + differencesTable(reference)
        }
        text += "\n## By history\n\n" + historyTable(history)
        return text
    }

    private var references: [String] {
        var names: [String] = []
        for difference in differences where !names.contains(difference.minus) {
            names.append(difference.minus)
        }
        return names
    }

    private static let columns: [(title: String, metric: Metric)] = [
        ("MSE", .mse), ("MAE", .mae), ("Spearman", .spearman), ("MSE per user", .macroMSE),
        ("MAE per user", .macroMAE), ("Spearman per user", .macroSpearman),
    ]

    private var systemsTable: String {
        var rows = [["System"] + Self.columns.map(\.title)]
        for system in systems {
            let cells = Self.columns.map { column -> String in
                guard let figure = system.metrics[column.metric] else { return "-" }
                var value = decimal(figure.value, 3)
                if isBest(figure.value, column.metric) { value = "**\(value)**" }
                if let spread = figure.spread { value += " ± \(decimal(spread, 3))" }
                return value + range(figure.interval)
            }
            rows.append([system.name] + cells)
        }
        if let irreducible = dataset.irreducible {
            rows.append(
                ["*irreducible*", decimal(irreducible.mse, 3), decimal(irreducible.mae, 3)]
                    + [String](repeating: "", count: Self.columns.count - 2))
        }
        return table(rows)
    }

    /// As printed: what looks the same is as good.
    private func isBest(_ value: Double, _ metric: Metric) -> Bool {
        let values = systems.compactMap { $0.metrics[metric]?.value }
        guard values.count > 1, let best = metric.isGain ? values.max() : values.min() else {
            return false
        }
        return decimal(value, 3) == decimal(best, 3)
    }

    private var systemsNotes: String {
        var text = """

            In brackets the \(confidenceText) interval over users (\(grouped(bootstrap.resamples)) \
            bootstrap draws of users with all their posts). "Per user" is the mean over users, each \
            user counting once; Spearman per user counts users with at least \
            \(minimum_posts_for_spearman) test posts; - where the predictions of every such user, \
            or of all posts, are constant. Best in bold.

            """
        if systems.contains(where: { $0.runs > 1 }) {
            let runs = systems.filter { $0.runs > 1 }.map { "\($0.name) \($0.runs)" }
            text +=
                "Mean over runs ± deviation between runs, with runs of "
                + "\(runs.joined(separator: ", ")); the interval does not cover that deviation.\n"
        }
        if dataset.irreducible != nil {
            text +=
                "Irreducible: the error of an oracle that knows the law which made the views, "
                + "over all of the gallery's posts.\n"
        }
        return text
    }

    private func differencesTable(_ reference: String) -> String {
        let columns = Self.columns.filter { !$0.metric.isGain }
        var rows = [["System"] + columns.map(\.title)]
        for difference in differences where difference.minus == reference {
            let cells = columns.map { column -> String in
                guard let value = difference.metrics[column.metric] else { return "-" }
                let text = signed(value.value, 3)
                let isClear = value.interval?.excludesZero == true
                return (isClear ? "**\(text)**" : text) + range(value.interval, signed: true)
            }
            rows.append([difference.system] + cells)
        }
        return table(rows) + """

            System minus \(reference): above 0 the system is worse. Intervals are paired (both \
            judged on the same draws of users); bold where 0 lies outside.

            """
    }

    private func historyTable(_ history: String) -> String {
        var rows = [["MSE by \(history) of the user"]]
        rows[0] += by_history.map(\.training_posts.name)
        rows.append(["test posts"] + by_history.map { grouped($0.posts) })
        rows.append(["users"] + by_history.map { grouped($0.users) })
        for system in systems {
            rows.append(
                [system.name]
                    + by_history.map { bucket in
                        bucket.systems[system.name]?[.mse].map {
                            decimal($0.value, 3) + range($0.interval)
                        } ?? "-"
                    })
        }
        return table(rows)
    }

    private var settingsList: String {
        var lines = ["dataset: `\(dataset.version)`"]
        if let sha256 = dataset.gallery_sha256 { lines.append("gallery: SHA-256 `\(sha256)`") }
        lines += dataset.settings.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        lines.append(
            "bootstrap: \(grouped(bootstrap.resamples)) resamples of users, seed \(bootstrap.seed), "
                + "percentile interval")
        for system in systems {
            for (file, sha256) in system.files.sorted(by: { $0.key < $1.key }) {
                lines.append("\(system.name), \(file): SHA-256 `\(sha256)`")
            }
        }
        return lines.map { "- \($0)\n" }.joined()
    }

    private func range(_ interval: UserBootstrap.Interval?, signed isSigned: Bool = false) -> String
    {
        guard let interval else { return "" }
        let text = { isSigned ? signed($0, 3) : decimal($0, 3) }
        return " [\(text(interval.low)), \(text(interval.high))]"
    }
}

/// The first row is the head; columns after the first are aligned to the right.
private func table(_ rows: [[String]]) -> String {
    var text = ""
    for (index, row) in rows.enumerated() {
        text += "| " + row.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n"
        if index == 0 {
            text += "|---|" + row.dropFirst().map { _ in "---:|" }.joined() + "\n"
        }
    }
    return text
}

/// With exactly so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = (abs(value) * scale).rounded()
    guard scaled < 1e15 else { return "\(value)" }
    let whole = Int(scaled)
    let sign = value < 0 && whole != 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(whole)" }
    let fraction = String(whole % Int(scale))
    let zeros = String(repeating: "0", count: digits - fraction.count)
    return "\(sign)\(whole / Int(scale)).\(zeros)\(fraction)"
}

private func signed(_ value: Double, _ digits: Int) -> String {
    let text = decimal(value, digits)
    return text.hasPrefix("-") ? text : "+" + text
}

/// 12,345
func grouped(_ count: Int) -> String {
    var text = ""
    for (index, digit) in String(count).reversed().enumerated() {
        if index > 0 && index % 3 == 0 { text.append(",") }
        text.append(digit)
    }
    return String(text.reversed())
}

import Model
import Pipeline

/// What every page has: a head that lets nothing in from outside, and styles for light and dark.
enum HTML {
    /// Text as text, whatever it holds. What drives a reader or a terminal becomes U+FFFD.
    static func escaped(_ text: String) -> String {
        var safe = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": safe += "&amp;"
            case "<": safe += "&lt;"
            case ">": safe += "&gt;"
            case "\"": safe += "&quot;"
            case "'": safe += "&#39;"
            case "\n", "\t": safe += " "
            default:
                let isControl = scalar.properties.generalCategory == .control
                safe.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
            }
        }
        return safe
    }

    /// Text from outside: its direction is its own and reaches no further.
    static func isolated(_ text: String) -> String {
        "<bdi>\(escaped(text))</bdi>"
    }

    static func clipped(_ text: String, _ maximumCharacters: Int) -> String {
        text.count <= maximumCharacters ? text : "\(text.prefix(maximumCharacters))…"
    }

    /// An address that holds the picture itself.
    static func address(of picture: Pixels) throws(DrawingError) -> String {
        do throws(ImageError) {
            return "data:image/jpeg;base64,"
                + Base64.encode(try JPEG.encode(picture, quality: 88))
        } catch {
            throw .photo("\(error)")
        }
    }

    /// - Parameter columns: side by side, where the window is wide enough.
    static func page(title: String, body: String, columns: Int = 2) -> [UInt8] {
        Array(
            """
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
            style-src 'unsafe-inline'">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(escaped(clipped(title, 160)))</title>
            <style>
            \(style)
            </style>
            <body style="--columns: \(max(3, columns))">
            \(body)
            </html>

            """.utf8)
    }

    private static let inferno =
        "linear-gradient(to right, \(Inferno.stops.map(\.css).joined(separator: ", ")))"

    private static let style = """
        :root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --faint: #5b646d;
          --line: #d8dde2; --panel: #f4f6f8; --text: #0072b2; --image: #e69f00;
          --random: #a6aeb6; --warn-ground: #ffe9d6; --warn: #9a3b00; }
        @media (prefers-color-scheme: dark) {
          :root { --ground: #15181c; --ink: #e8ebee; --faint: #9aa4ae; --line: #333a42;
            --panel: #20252b; --text: #4aa8de; --image: #e9a820; --random: #6d7680;
            --warn-ground: #40260f; --warn: #ffc48f; } }
        * { box-sizing: border-box; }
        body { margin: 0 auto; max-width: calc(420px * var(--columns)); padding: 28px 24px 48px; background: var(--ground);
          color: var(--ink); font: 16px/1.45 "DejaVu Sans", system-ui, sans-serif; }
        h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 6px; overflow-wrap: anywhere; }
        h2 .flags { font-weight: normal; margin-left: 8px; }
        h2 .flags > span { margin: 0 6px 0 0; padding: 0 9px; }
        h2 { font-size: 1rem; color: var(--faint); margin: 0 0 8px; overflow-wrap: anywhere; }
        p { margin: 0 0 8px; overflow-wrap: anywhere; }
        .faint { color: var(--faint); font-size: .84rem; }
        .flags > span { display: inline-block; background: var(--warn-ground); color: var(--warn);
          border-radius: 12px; padding: 2px 11px; margin: 4px 6px 0 0; font-size: .84rem; }
        .columns { display: grid; gap: 28px; margin-top: 22px; align-items: start;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }
        .columns > * { min-width: 0; }
        section { margin-bottom: 26px; }
        .view { position: relative; border-radius: 6px; overflow: hidden; line-height: 0; }
        .view img { width: 100%; display: block; }
        .regions { position: absolute; inset: 0; display: grid; }
        .regions i:hover { outline: 2px solid #fff; box-shadow: 0 0 0 3px #000; }
        .none { background: var(--panel); border-radius: 6px; padding: 70px 20px;
          text-align: center; color: var(--faint); }
        .scale { height: 10px; margin-top: 12px; position: relative; background: \(inferno); }
        .scale b { position: absolute; top: -3px; height: 16px; width: 2px;
          background: var(--ink); }
        .ends { display: flex; justify-content: space-between; gap: 10px; font-size: .8rem;
          color: var(--faint); margin-top: 5px; }
        .score { display: flex; gap: 16px; align-items: last baseline; flex-wrap: wrap; }
        .score strong { font-size: 2.9rem; line-height: 1.1; }
        .score small { display: block; font-weight: normal; font-size: .84rem;
          color: var(--faint); }
        .score span { font-size: 1.2rem; font-weight: bold; }
        .bar { display: grid; grid-template-columns: 8.2em 1fr 4.6em; gap: 8px;
          align-items: center; margin: 5px 0; font-size: .92rem; }
        .bar div { background: var(--panel); border-radius: 4px; height: 18px; overflow: hidden; }
        .bar div b { display: block; height: 100%; }
        .bar span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
        .words { line-height: 2.2; }
        .word { position: relative; padding: 3px 7px; border-radius: 5px; margin-right: 3px;
          background: rgb(0 114 178 / calc(.06 + .84 * var(--strength)));
          overflow-wrap: anywhere; -webkit-box-decoration-break: clone;
          box-decoration-break: clone; }
        .word.strong { color: #fff; }
        .word:hover::after { content: attr(data-share); position: absolute; left: 50%;
          bottom: 100%; transform: translateX(-50%); background: var(--ink);
          color: var(--ground); padding: 1px 9px; border-radius: 5px; font-size: .84rem;
          line-height: 1.6; white-space: nowrap; z-index: 1; }
        .check { display: grid; gap: 4px 14px; margin-top: 12px; grid-template-columns: max-content 1fr; }
        .check strong { font-size: 1.35rem; line-height: 1.2; }
        .check p { margin: 0; }
        .evidence { display: grid; gap: 28px; margin-top: 10px;
          grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
        .sheet { display: grid; gap: 20px; margin-top: 22px;
          grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); }
        .sheet a { color: inherit; text-decoration: none; min-width: 0; }
        .sheet a:hover strong { text-decoration: underline; }
        .sheet .thumb { aspect-ratio: 1; background: var(--panel); border-radius: 6px;
          display: flex; align-items: center; justify-content: center; color: var(--faint);
          overflow: hidden; margin-bottom: 8px; }
        .sheet img { max-width: 100%; max-height: 100%; width: 100%; height: 100%;
          object-fit: contain; }
        .sheet p { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical;
          overflow: hidden; margin: 0; }
        """
}

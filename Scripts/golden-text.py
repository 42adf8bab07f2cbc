#!/usr/bin/env python3
"""Writes the golden data of the tokeniser: what Python itself makes of text.

    python3.11 Scripts/golden-text.py            # writes Tests/Golden/text/

Needs nothing but Python. Two files:

tokens.json    strings and their words, `re.findall(r"\\b\\w\\w+\\b", text.lower())`:
               {"unicode": "14.0.0", "cases": [{"text": "...", "words": ["...", ...]}, ...]}

scalars.json   the properties behind that rule, of every code point (surrogates aside):
               {"unicode": "14.0.0",
                "word": [[first, last], ...]            \\w matches it
                "lower": [[code, [mapped, ...]], ...]   its own lower case is something else
                "cased": [[first, last], ...]           makes a following sigma final
                "ignorable": [[first, last], ...]} is looked past by a sigma
               A code point that is case-ignorable is not listed as cased: str.lower() never asks.

Which Unicode version. Python 3.11 has 14.0; Swift's standard library has its own, newer one (17.0
in Swift 6.3). Compared over all code points, of those assigned in 14.0 exactly two differ, and only
in what they do to a capital sigma beside them:

    U+0295   LATIN LETTER PHARYNGEAL VOICED FRICATIVE   now Lo (was Ll): not cased
    U+1171E  AHOM CONSONANT SIGN MEDIAL RA              now Mc (was Mn): not ignorable

Neither is in tokens.json, nor is any code point that Unicode 14.0 leaves unassigned (later letters
are word characters to the newer of the two); the script refuses such strings.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "Tests" / "Golden" / "text"
CHANGED_SINCE_14 = {0x0295, 0x1171E}
SIGMA = "\u03a3"
FINAL_SIGMA = "\u03c2"

WORD = re.compile(r"\b\w\w+\b")


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


# Grouped by what they try; everything unusual is escaped so that it can be seen.
TEXTS: list[str] = [
    # Nothing, and nearly nothing.
    "", " ", "\n", "a", "_", "1", "ab", "A", "AB", "a b", "a bc d", "__", "_ _", "a_", "_a", "0", "00",
    "?", "...", "a.b", "ab.cd",
    # Titles and tags as people write them.
    "Tristesse at the Federal Chancellery blackandwhite bw reflection berlin wet rain symmetry",
    "The Quick BROWN fOx", "Breakfast of champions!", "IMG_1234.JPG", "DSC00042 (edited) #2",
    "uploaded:by=flickstagram instagram:venue_name=thebagelstore instagram:photo=4600581602340",
    "snake_case_and__double_", "C++ and C# and F#", "e-mail@example.com", "http://example.com/a?b=c&d=e",
    "50mm f/1.8 ISO100 1/250s", "3.14159", "1,000,000", "rock'n'roll", "don't can't it's",
    "O\u2019Reilly\u2019s caf\u00e9", "l'\u00e9t\u00e9 d'o\u00f9", "\u00abguillemets\u00bb \u201equotes\u201c",
    "semi;colon,comma.period", "tab\tseparated\twords", "line\nbreaks\r\nof\rall kinds",
    "vertical\vtab form\ffeed", "next\u0085line line\u2028separator para\u2029graph",
    "no\u00a0break thin\u2009space ideographic\u3000space ogham\u1680space", "  leading and trailing  ",
    "<b>bold</b> &amp; &#39;entity&#39;", "\"quoted\" (parens) [brackets] {braces}", "under_score __init__ _x_ x_y",
    "a1 1a 1 a 11 aa", "x" * 300, "ab " * 200, "_" * 100, "a " * 100, "ab" + "\u0301b" * 50,
    "Wort" * 100 + " " + "\u4e2d" * 500 + " ende", ("Lorem ipsum DOLOR sit amet, " * 60).strip(),
    # Control characters and other invisible ones.
    "nul\0inside", "\0", "\0\0ab\0cd\0", "bell\aback\bspace", "del\x7fete", "esc\x1b[31mred", "\x1c\x1d\x1e\x1fab\x1fcd",
    "soft\u00adhyphen", "zero\u200bwidth\u200bspace", "zero\u200cwidth\u200cnonjoiner", "zero\u200dwidth\u200djoiner",
    "word\u2060joiner", "\ufeffbom at start", "bom\ufeffinside", "left\u200eto\u200fright", "\u202eoverride\u202c plain",
    "isolate\u2066x\u2069y ab", "variation\ufe0fselector", "tag\U000e0041\U000e0042chars", "inter\ufff9linear\ufffaanno\ufffbtation",
    "replacement\ufffdchar", "non\uffffcharacter \ufdd0ab", "private\ue000use \U000f0000ab \U0010fffdcd",
    "object\ufffcreplacement", "mongolian\u180evowel separator", "combining\u034fgrapheme joiner",
    # Combining marks end a word; precomposed letters do not.
    "cafe\u0301 caf\u00e9", "e\u0301", "ne\u0301e", "n\u0303an\u0303a", "A\u030angstro\u0308m", "\u0301ab", "ab\u0301", "a\u0301b\u0301c",
    "a\u0301\u0302\u0303\u0304bc", "Z\u0351\u036ba\u0343l\u0368g\u034co\u031b text", "Vi\u1ec7t Nam Vie\u0323\u0302t", "\u01d5ber U\u0308\u0304ber",
    "enclosed\u20ddcircle", "keycap 1\ufe0f\u20e3 12\ufe0f\u20e3", "x\u0338y not", "\u0344\u0340\u0341 ab\u0344cd",
    # Emoji.
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family", "ab\U0001f600cd", "\U0001f44d\U0001f3fd thumbs", "flag\U0001f1e9\U0001f1eade",
    "heart\u2764\ufe0fbeat", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f england", "\u263a\ufe0e ok",
    "no\u2122 \u00a9opy \u00aeeg", "\U0001f468\u200d\U0001f4bbcoder\U0001f469\u200d\U0001f680",
    # Lower-casing that is more than a shift.
    "STRASSE Stra\u00dfe STRA\u1e9eE", "\u00df", "\u00df\u00df", "\u0130stanbul \u0130ZM\u0130R", "\u0130", "\u0130\u0130", "a\u0130b", "ab\u0130cd", "\u0131\u0131 I\u0131",
    "D\u0130YARBAKIR d\u0131yarbak\u0131r", "I\u0307stanbul", "\u01c4UNGLA \u01c5ungla \u01c6ungla", "\u01c7 \u01c8 \u01cb", "\u0149ow", "\u01f0ump",
    "\u212bngstrom \u212aelvin \u2126hm", "\u023a\u023e \u2c65\u2c66", "\u1e9e\u1e9e", "\u10a0\u10a1 \u10d0\u10d1 \u1c90\u1c91", "\u13a0\u13a1 \uab70\uab71", "\u13f8\u13f0",
    "\u0531\u0532 \u0587\u0587", "\U00010400\U00010401\U00010428", "\U0001e900\U0001e901", "\U000118a0\U000118c0", "\ua7ae\u026a",
    "\u2160\u2161\u2162 \u2170\u2171 \u216e", "\u24b6\u24b7\u24b8 \u24d0\u24d1", "\u03f4eta \u03d1\u03f4", "\u1f88\u1f89 \u1fbc\u1fcc\u1ffc", "\uff21\uff22\uff23 \uff41\uff42",
    "\ufb01ne o\ufb03ce \ufb05op \ufb06", "\ufb13\ufb14", "\u0390\u03b0", "\u1e96\u1e97\u1e98",
    # Sigma: final only after a cased letter and before none, looking past what is ignorable.
    "\u03a3", "\u03a3\u03a3", "\u03a3\u03a3\u03a3", "\u039f\u0394\u039f\u03a3", "\u039f\u0394\u039f\u03a3 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3", "\u03a3\u039f\u03a6\u039f\u03a3.",
    "A\u03a3", "\u03a3A", "A\u03a3A", "A\u03a3 A", "A.\u03a3", "A.\u03a3.A", "A\u03a3.A", "A\u03a3'A", "A\u03a3-A", "A\u03a3:b", "A\u03a3\u00adb", "A\u0301\u03a3", "A\u03a3\u0301", "A\u03a3\u0301b",
    "1\u03a3", "1\u03a31", "A1\u03a3", "A\u03a31", "A_\u03a3", "A\u03a3_A", "\u4e2d\u03a3", "A\u4e2d\u03a3", "\u05d0\u03a3 A\u03a3\u05d0", "A\u03a3\u4e2dA", "A\u200d\u03a3\u200dB", "A\u200d\u03a3\u200d",
    "\u02b0\u03a3 \u02b0a\u03a3", "A\u02b0\u03a3", "\u00aa\u03a3\u00ba", "\u2160\u03a3 \u24b6\u03a3", "\u039c\u0391\u03a4\u0399\u0391\u03a3\u2019 ab", "\u039f\u03a3\n\u039f\u03a3\t\u039f\u03a3", "A\u0345\u03a3 \u0345\u03a3",
    "\u0391\u03a3\U0001f600 \u0391\U0001f600\u03a3", "A\u03a3\0A", "\U00010400\u03a3", "\U00010400\u03a3\U00010401", "\u03f9\u03a3 \u03f2\u03a3", "A\u0130\u03a3 \u0130\u03a3", "\u03c3\u03c2 \u03c2\u03c3 \u03a3\u03c2", "A" + "\u0301" * 40 + "\u03a3" + "\u0301" * 40 + "B",
    # Digits, numerals and other numbers.
    "\u0661\u0662\u0663 \u0967\u0968\u0969 \u0e51\u0e52 \uff11\uff12", "\U0001d7ce\U0001d7cf", "\U0001d400\U0001d401 \U0001d4d0\U0001d4d1", "x\u00b2 m\u00b3 10\u00b9", "\u00b2\u00b3", "\u2070\u2074\u2075", "H\u2082O CO\u2082",
    "\u00bd \u00bc\u00be 1\u00bd", "\u2153\u2154 \u215b", "\u2189\u2150", "\u2460\u2461\u2462 \u2474 \u2488\u2489", "\u2776\u2777 \u24ea\u24ff", "\u3007\u3021\u3022 \u5341\u767e", "\u3220\u3221 \u3280\u3281 \u32c0",
    "\u0bf0\u0bf1\u0bf2", "\u1369\u136a\u137c", "\u16ee\u16ef\u16f0", "\U00010107\U00010108 \U00010140\U00010141", "\U00012400\U00012401 \U0001d360", "\u09f4\u09f5 \u0f2a\u0f33", "\U0001f100\U0001f101\U0001f10b", "\u2183\u2184 \u2188\u2185",
    "\u00ba\u00aa no\u00ba 1\u00aa", "\u2126\u212e", "\u2180\u2181\u2182", "\ua8e0 \ua830\ua831", "\u0d58\u0d70", "\u1040\u1041\u1090 \u17f0\u17f1",
    # Scripts.
    "\u041c\u041e\u0421\u041a\u0412\u0410 \u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0419\u043e\u0433\u0430 \u0418\u0306", "\u0411\u044a\u043b\u0433\u0430\u0440\u0438\u044f \u0407\u0436\u0430\u043a", "\u4f60\u597d\u4e16\u754c", "\u5317\u4eac \u4e0a\u6d77", "\u4e2d", "\u6771\u4eac\u30bf\u30ef\u30fc \u3055\u304f\u3089", "\u304b\u3099 \u304c\u304e",
    "\u30fb\u4e2d\u9ed2\u30fb\u30c6\u30b9\u30c8\u30fb", "\uff76\uff9e\uff77\uff9e \uff71\uff70", "\u3005\u3006\u303b \u3031\u3032", "\uac00 \u1100\u1161", "\ud55c\uad6d\uc5b4 \ubd80\uc0b0", "\u3131\u314f \u1112\u1161\u11ab", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e", "\u0e01\u0e34\u0e19\u0e19\u0e49\u0e33",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0645\u064f\u062d\u064e\u0645\u064e\u0651\u062f", "\u0627\u0644\u0639\u0640\u0640\u0631\u0628\u064a\u0629", "\ufefb\ufe8e \ufdfa\ufdf2", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0b95\u0bcd\u0bb7 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "\u1019\u103c\u1014\u103a\u1019\u102c", "\u1797\u17b6\u179f\u17b6\u1781\u17d2\u1798\u17c2\u179a", "\u0f56\u0f7c\u0f51\u0f0b\u0f61\u0f72\u0f42", "\u12a0\u121b\u122d\u129b \u1270\u1228\u1275\u1361\u1270\u1228\u1275", "\u1820\u1821\u1826 \u1882", "\u16a0\u16a2\u16a6 \u16eb\u16a0\u16a2", "\u1403\u1404\u1450", "\u2c80\u2c81\u2c82 \u03e2\u03e3", "\ua722\ua723 \ua7b3\uab53",
    "\U00020000\U00020001 \U0002f800\U0002f801", "\uf900\uf901 \u8c48\u8c48", "\U00010330\U00010331", "\U00013000\U00013001", "\U0001b000\U0001b001", "\U0001d49c\U0001d49e \U0001d6d3\U0001d6d4", "\u02bbOkina Hawai\u02bbi \u02bcab", "\u02b0\u02b1 \u1d2c\u1d2d \ua770", "\u1d49\u1d4a\u2071\u207f",
    "mixed\u0421\u0443rillic \u0430bc", "abc\u05d0\u05d1\u05d2def", "\u06f1\u06f2abc \u0660x", "a\u00b7b \u0387a\u0387b col\u00b7lecci\u00f3", "\u00b5m \u03bcm \u339b \u3392", "caf\u00c9 \u00c0\u00c9\u00ce\u00d5\u00dc \u0160\u010d\u017d", "\u0141\u00f3d\u017a \u0110\u1ea1i \u00c6ther \u0152uvre \u00de\u00f3r \u00d0",
    "\u20ac100 $20 \u00a35 \u00a5en", "\u2200\u2203 \u2202x \u2211\u220f \u221e", "\u2190a\u2192b \u2191ab\u2193", "\u2113\u2115\u211d \u2145\u2146", "\ua92e\u203f\u2040ab\u203fcd a\uff3fb\ufe33c", "1\u20441 \u2044ab",
]  # fmt: skip


def check(text: str) -> None:
    for character in text:
        code = ord(character)
        noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        if code in CHANGED_SINCE_14 or (
            unicodedata.category(character) == "Cn" and not noncharacter
        ):
            sys.exit(f"U+{code:04X} in {text!r} differs between Unicode versions: leave it out")


def ranges(codes: Iterable[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def scalar_properties() -> dict[str, object]:
    word: list[int] = []
    lower: list[tuple[int, list[int]]] = []
    cased: list[int] = []
    ignorable: list[int] = []
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character = chr(code)
        if re.fullmatch(r"\w", character):
            word.append(code)
        mapped = [ord(part) for part in character.lower()]
        if mapped != [code]:
            lower.append((code, mapped))
        # str.lower() keeps both properties to itself; what it does to a sigma shows them.
        if (character + SIGMA).lower().endswith(FINAL_SIGMA):
            cased.append(code)
        elif ("A" + character + SIGMA).lower().endswith(FINAL_SIGMA):
            ignorable.append(code)
    return {
        "unicode": unicodedata.unidata_version,
        "word": ranges(word),
        "lower": lower,
        "cased": ranges(cased),
        "ignorable": ranges(ignorable),
    }


def main() -> None:
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(
            f"Python 3.11 (Unicode 14.0) is needed, this one has {unicodedata.unidata_version}"
        )
    if len(set(TEXTS)) != len(TEXTS):
        sys.exit("a text is there twice")
    for text in TEXTS:
        check(text)

    FOLDER.mkdir(parents=True, exist_ok=True)
    cases = ",\n".join(json.dumps({"text": text, "words": words(text)}) for text in TEXTS)
    (FOLDER / "tokens.json").write_text(
        f'{{"unicode": "{unicodedata.unidata_version}", "cases": [\n{cases}\n]}}\n'
    )
    (FOLDER / "scalars.json").write_text(
        json.dumps(scalar_properties(), separators=(",", ":")) + "\n"
    )
    print(f"{len(TEXTS)} texts, {sum(len(words(text)) for text in TEXTS)} words")


if __name__ == "__main__":
    main()

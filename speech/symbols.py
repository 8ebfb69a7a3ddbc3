"""Numbers, signs, addresses and abbreviations as words, for an English synthesizer.

Only what the synthesizer (hibari-tts) misreads or drops is rewritten; plain
numbers, times, dates, prices and most units it reads well by itself.
"""

import re
import unicodedata
from collections.abc import Callable

from speech.characters import without_emoji
from speech.maths_words import GREEK, SIGNS, SUBSCRIPTS

Replacement = str | Callable[[re.Match[str]], str]

_SUBSCRIPT_DIGITS = str.maketrans(SUBSCRIPTS[:10], "0123456789")
_N = r"\d+(?:,\d{3})*(?:\.\d+)?"
_CURRENCIES = {"USD": "dollars", "EUR": "euros", "GBP": "pounds", "$": "$", "€": "€", "£": "£"}
_FRACTIONS = {"2": "half", "3": "third", "4": "quarter", "5": "fifth", "6": "sixth"} | {
    "7": "seventh",
    "8": "eighth",
    "9": "ninth",
    "10": "tenth",
}
#: Units that the synthesizer does not know or takes for letters; singular by the "s".
_UNITS = {
    "m": "meters",
    "g": "grams",
    "s": "seconds",
    "h": "hours",
    "l": "liters",
    "L": "liters",
    "W": "watts",
    "V": "volts",
    "J": "joules",
    "N": "newtons",
    "Pa": "pascals",
    "kPa": "kilopascals",
    "kcal": "kilocalories",
    "dB": "decibels",
    "px": "pixels",
    "μs": "microseconds",
    "ns": "nanoseconds",
}
#: What these stand for after "square" or "cubic", and before or after "per".
_LENGTHS = {"m": "meters", "km": "kilometers", "cm": "centimeters", "mm": "millimeters"} | {
    "ft": "feet",
    "in": "inches",
    "mi": "miles",
    "yd": "yards",
}
_RATES = {
    "m/s": "meters per second",
    "km/s": "kilometers per second",
    "m/s²": "meters per second squared",
    "m/s^2": "meters per second squared",
    "kB/s": "kilobytes per second",
    "KB/s": "kilobytes per second",
    "MB/s": "megabytes per second",
    "GB/s": "gigabytes per second",
    "g/cm³": "grams per cubic centimeter",
    "kg/m³": "kilograms per cubic meter",
    "mg/l": "milligrams per liter",
    "req/s": "requests per second",
}
#: Abbreviations whose full stop the synthesizer takes for the end of a sentence.
_ABBREVIATIONS = {
    "i.e.": "that is",
    "e.g.": "for example",
    "etc.": "etcetera",
    "a.m.": "AM",
    "p.m.": "PM",
    "Ph.D.": "PhD",
    "M.D.": "MD",
    "viz.": "namely",
    "ca.": "about",
    "approx.": "approximately",
    "No.": "Number",
    "no.": "number",
    "Nos.": "Numbers",
    "Fig.": "Figure",
    "fig.": "figure",
    "Figs.": "Figures",
    "Eq.": "Equation",
    "eq.": "equation",
    "Sec.": "Section",
    "sec.": "section",
    "Ch.": "Chapter",
    "ch.": "chapter",
    "Vol.": "Volume",
    "vol.": "volume",
    "Ref.": "Reference",
    "Tab.": "Table",
    "App.": "Appendix",
    "Art.": "Article",
    "p.": "page",
    "pp.": "pages",
    **{
        f"{month[:3]}.": month
        for month in ("January", "February", "March", "April", "June", "July", "August")
    },
    "Sep.": "September",
    "Sept.": "September",
    "Oct.": "October",
    "Nov.": "November",
    "Dec.": "December",
}
#: These mean something else unless a number follows.
_BEFORE_NUMBER = frozenset(
    [
        *["No.", "no.", "Nos.", "p.", "pp.", "sec.", "ch.", "fig.", "eq.", "vol.", "ca.", "Art."],
        *["Tab.", "App.", "Sec.", "Ch.", "Vol.", "Ref.", "Jan.", "Mar.", "Jun."],
    ]
)


#: Longer numbers, digits, are no quantities: they are read digit by digit.
LONGEST_NUMBER = 15


def _alternatives(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_ABBREVIATION = re.compile(rf"(?<![\w.])({_alternatives(_ABBREVIATIONS)})(?=(\s+\d)?)(?!\w)")
_ADDRESS = re.compile(
    r"(?P<mail>(?<![\w.+-])(?:mailto:)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<url>\b(?:https?|ftp|file)://[^\s<>\"']+|\bwww\.[^\s<>\"']+)"
    r"|(?P<host>(?<![\w.@/-])(?:[a-z0-9-]+\.)+"
    r"(?:com|org|net|edu|gov|io|dev|app|co|ai|uk|de|fr|eu|info)(?:/[\w./~-]*[\w/])?(?![\w@-]))",
    re.IGNORECASE,
)


def _abbreviation(match: re.Match[str]) -> str:
    short, number = match[1], match[2]
    if short in _BEFORE_NUMBER and not number:
        return short
    word = _ABBREVIATIONS[short]
    # At the end of a text, the full stop of the sentence went with it.
    return word + "." if match.end() == len(match.string.rstrip()) else word


def _address(match: re.Match[str]) -> str:
    """Turn "https://www.example.com/docs?x=1" into "example dot com slash docs"."""
    address = re.sub(r"^(?:[a-z]+://|mailto:)", "", match.group(), flags=re.IGNORECASE)
    tail = re.search(r"[.,;:!?)\]]*$", address)
    end = tail.group() if tail else ""
    address = address[: len(address) - len(end)]
    address = re.sub(r"^www\.", "", address, flags=re.IGNORECASE)
    address = re.split(r"[?#]", address, maxsplit=1)[0].rstrip("/")
    for sign, word in (("@", "at"), ("/", "slash"), (":", "colon"), (".", "dot")):
        address = address.replace(sign, f" {word} ")
    address = re.sub(r"[-_~+%=&]+", " ", address)
    return f"{address.strip()}{end}"


def _scientific(match: re.Match[str]) -> str:
    sign = "minus " if match[2] == "-" else ""
    return f"{match[1]} times 10 to the power of {sign}{int(match[3])}"


def _vulgar_fraction(match: re.Match[str]) -> str:
    """Turn "1½" into "1 and one half", "⅔" into "two thirds"."""
    above, _, below = unicodedata.normalize("NFKC", match[2]).partition("⁄")
    words = fraction_words(above, below)
    return f"{match[1]} and {words}" if match[1] else words


def fraction_words(above: str, below: str) -> str:
    """Digits of a fraction to words: "three quarters", "2 over 17"."""
    words = _FRACTIONS.get(below, f"over {below}")
    plural = "s" if above != "1" and below in _FRACTIONS else ""
    count = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six"} | {
        "7": "seven",
        "8": "eight",
        "9": "nine",
    }
    return f"{count.get(above, above)} {words}{plural}"


def _measure(number: str, unit: str) -> str:
    """A number and its unit, "1 meter" but "2 meters"."""
    head, _, rest = unit.partition(" per ")
    if number in {"1", "-1"}:
        head = "foot" if head == "feet" else head.removesuffix("s")
    return f"{number} {head} per {rest}" if rest else f"{number} {head}"


def _area(match: re.Match[str]) -> str:
    kind = "square" if match[3] in {"²", "^2"} else "cubic"
    return _measure(match[1], f"{kind} {_LENGTHS[match[2]]}")


def _chemical(match: re.Match[str]) -> str:
    plain = match.group().translate(_SUBSCRIPT_DIGITS).upper()
    return " ".join(re.findall(r"\d+|\D", plain))


def _digits(match: re.Match[str]) -> str:
    return " ".join(match.group())


def _by_digit(match: re.Match[str]) -> str:
    return " ".join(match.group().replace(",", ""))


def _price(number: str, currency: str) -> str:
    word = _CURRENCIES[currency]
    return f"{word}{number}" if len(word) == 1 else f"{number} {word}"


def _rate(match: re.Match[str]) -> str:
    return _measure(match[1], _RATES[match[2]])


def _initials(text: str) -> str:
    letters = re.sub(r"\.\s?", " ", text).split()
    # "U S" is read letter by letter; "US" in capitals may be a word.
    return " ".join(letters) + " "


_GREEK_RUN = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]+")
#: Runs of Greek up to here are letters of mathematics, longer ones words.
_GREEK_LETTERS = 2


def _greek(match: re.Match[str]) -> str:
    run = match.group()
    known = len(run) <= _GREEK_LETTERS and all(letter in GREEK for letter in run)
    return " ".join(GREEK[letter] for letter in run).join("  ") if known else " "


_VULGAR = "".join(
    chr(code)
    for code in (*range(0xBC, 0xBF), *range(0x2150, 0x215F))
    if "⁄" in unicodedata.normalize("NFKC", chr(code))
)
_SIGN_WORDS = {sign: word for sign, word in SIGNS.items() if sign not in "−∘′″"}

#: Applied in this order.
_RULES: tuple[tuple[re.Pattern[str], Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Citations like [1] or [2, 3] and footnotes.
        (r"\s?\[\^?\d+(?:\s?[,–-]\s?\d+)*\](?!\()", ""),
        (r"\(([2-9]\d\d)\)\s?(\d{3}-\d{4})\b", r"\1-\2"),
        # Numbers.
        (
            rf"\d{{{LONGEST_NUMBER + 1},}}|\d{{1,3}}(?:,\d{{3}}){{{LONGEST_NUMBER // 3},}}",
            _by_digit,
        ),
        (rf"(?<![\w.])({_N})[eE]([+-]?)(\d{{1,3}})(?!\w)", _scientific),
        (rf"(?:(\d+)\s?)?([{_VULGAR}])", _vulgar_fraction),
        # "CO₂", "C₆H₁₂O₆": letter by letter.
        (r"\bCO2\b", "C O 2"),
        (rf"\b[A-Z][A-Za-z\d]*[{SUBSCRIPTS[:10]}][A-Za-z\d{SUBSCRIPTS[:10]}]*", _chemical),
        (r"(?<![\w.])(\d+)\.(\d+)\.(\d+)\.(\d+)(?![\w.])", r"\1 dot \2 dot \3 dot \4"),
        (r"(?<![\w.])(\d+)\.(\d+)\.(\d+)(?!\w|\.\d)", r"\1 point \2 point \3"),
        (r"\b[vV](\d+)\.(\d+)(?![\w.])", r"version \1 point \2"),
        (r"\b[vV](?=\d+ point \d)", "version "),
        (r"(?<![\w.,:/$€£+-])0\d{2,}(?![\w,:/%]|\.\d)", _digits),
        (r"\b24/7\b", "24 7"),
        (r"(?<![\w/.-])(\d+)/(10|100)(?![\w/])", r"\1 out of \2"),
        (r"(?<![\w:])(\d+):(\d)(?![\w:])", r"\1 to \2"),
        (r"(?<![\w:])(16|21):(9|10)(?![\w:])", r"\1 to \2"),
        (rf"([$€£]{_N})\s?(?:tn|T)\b", r"\1 trillion"),
        (rf"([$€£]{_N})\s?bn\b", r"\1 billion"),
        (rf"([$€£]{_N})\s?[-–]\s?([$€£]?)({_N})\b", r"\1 to \2\3"),
        (r"\$(\d[\d,.]*) to (\d)", r"$\1 to $\2"),
        (r"(\d%?)\s?[-–]\s?(\d+(?:\.\d+)?%)", r"\1 to \2"),
        (rf"(?<![\w.])({_N})\s?(?:–|—)\s?(?={_N})", r"\1 to "),
        (rf"(?<![\w.,])({_N})\s?(USD|EUR|GBP|[$€£])(?![\w\d])", lambda m: _price(m[1], m[2])),
        # A minus sign before a number; the synthesizer only knows the hyphen.
        (r"−(?=\d)", "-"),
        # Units.
        (rf"(?<![\w.])(-?{_N})\s?({_alternatives(_RATES)})(?!\w)", _rate),
        (rf"(?<![\w.])(-?{_N})\s?({_alternatives(_LENGTHS)})(²|³|\^2|\^3)", _area),
        (
            rf"(?<![\w.$€£])(-?{_N})\s({_alternatives(_UNITS)})(?![\w/'’])",
            lambda m: _measure(m[1], _UNITS[m[2]]),
        ),
        (r"(?<=\d)(\s?)μ(?=[mgsl]\b)", "\\1µ"),
        (rf"(?<![\w.])({_N})x(?=\s|$|[.,;:!?)])", r"\1 times"),
        (r"(?<=\d)\s?[x×]\s?(?=\d)", " by "),
        (r"(\d+)'\s?(\d{1,2})(?:\"|''|”)", r"\1 foot \2"),
        (r"[“”„«»]", '"'),
        # Quotes with a single mark; the synthesizer takes them for other signs.
        (r"‘|(?<![\w])['’](?=\w)|(?<=[^\W\d])['’](?!\w)", ""),
        # "file(s)", "print(x)".
        (r"(?<=[A-Za-z])\((e?s)\)", r"\1"),
        (r"\bO\(([^()]*)\)", r"O of \1"),
        (r"(?<=[A-Za-z0-9_])\(([^()]*)\)", r" \1 "),
        # Signs.
        (r"(?i)\b([cf])#", r"\1 sharp"),
        (r"(?<!\S)&(?!\S)|&&", " and "),
        (r"\|\|", " or "),
        (r"(?:~|≈)\s?(?=[\d$€£])", "about "),
        (r"<?-{1,2}>|=>|➜|➔|⟶", " → "),
        (r"^\s*(?:→|⇒|►|▶|»|›|[•●◦‣▪■□○✓✔✗✘☐☑★☆])\s*", ""),
        (r"[•●◦‣▪■□○✓✔✗✘☐☑★☆©®™]|(?<!\S)[←↑↓](?!\S)", " "),
        (r"(?<=[\w)])\s?(?:<=|≤)\s?", " is less than or equal to "),
        (r"(?<=[\w)])\s?(?:>=|≥)\s?", " is greater than or equal to "),
        (r"(?:<=|≤)\s?(?=\d)", " at most "),
        (r"(?:>=|≥)\s?(?=\d)", " at least "),
        (r"\s?!=\s?", " is not equal to "),
        (r"\s?===?\s?", " equals "),
        (r"(?<!\w)n/a(?!\w)", "not applicable"),
        (r"(?<=[A-Za-z])/(?=[A-Za-z])", "/"),
        # Lone Greek letters; the synthesizer makes noise of Greek words.
        (_GREEK_RUN.pattern, _greek),
        # Dashes between words are pauses.
        (r"\s+(?:--+|[-–—―])\s+|(?<=\w)--+(?=\w)|\s*[—―]\s*", ", "),
        (r"(?<!\S)-{1,2}(?=[A-Za-z])", ""),
        (r"\s?\|\s?", ", "),
        # Initials and dotted capitals ("U.S. Army", "J. K. Rowling").
        (r"\b(?:[A-Z]\.\s?){2,}(?=\s?[A-Z][a-z]|\s?[a-z,;:)])", lambda m: _initials(m.group())),
        (r"\b((?:[A-Z]\.){2,})$", lambda m: _initials(m[1]).strip() + "."),
        # What is left of markup, and what cannot be said.
        (r"[*_`^~\\{}\[\]]+", " "),
        (r"(?<![\w#])#+(?![\w#])", " "),
        (r"(?<![A-Za-z0-9])[<>]|[<>](?![A-Za-z0-9\s=])", " "),
        # Punctuation once.
        (r"\.{4,}", "..."),
        (r"…+(?:\.+)?", "…"),
        (r"([!?])(?:\s?[!?])+", lambda m: "?" if "?" in m.group() else "!"),
        (r"([,;:])(?:\s*[,;:])+", r"\1"),
        (r"[,;:]\s*([.!?])", r"\1"),
        (r"([.!?…])\s*[,;:](?!\d)", r"\1"),
        (r"\(\s*[,;.]*\s*\)|\"\s*\"", " "),
        (r"\s+([,.;:!?…)])(?!\d)", r"\1"),
        (r"\s+", " "),
        (r"^[\s,;:.!?)…]+(?=.)", ""),
    )
)


def plain_words(text: str) -> str:
    """One line of text without markup as words that the synthesizer reads well.

    Args:
        text: A clause or sentence; `visible` was applied.

    Returns:
        The text to speak, on one line, maybe empty.
    """
    text = without_emoji(text.replace("\n", " "))
    text = _ADDRESS.sub(_address, text)
    text = _ABBREVIATION.sub(_abbreviation, text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    for sign, word in _SIGN_WORDS.items():
        if sign in text:
            text = text.replace(sign, f" {word} ")
    return re.sub(r"\s+", " ", text).strip()

"""Text as it is written, with markup, turned into text as it is spoken (English or Chinese)."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from speech.characters import visible
from speech.chinese import CHINESE, chinese_area, chinese_marks, chinese_words, is_chinese
from speech.formulas import LATEX, formula_at, latex_words
from speech.maths import maths_words
from speech.symbols import plain_words
from speech.wording import HIBARI, Wording

#: Said once, for the first block of code in a text.
CODE_REMARK = "Code omitted."
CODE_REMARK_CHINESE = "代码略。"

#: Words of formulas stand in for private characters while markup is taken away.
_HELD = 0xE000
_MOST_HELD = 0x1800
_HELD_CHARS = re.compile(r"[\ue000-\uf8ff]")

_FENCE = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?(`{3,}|~{3,})(?!.*`)")
_RULE = re.compile(r" {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,}|={3,}\s*)")
_TABLE_LINE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*")
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*")
_DISPLAY_OPEN = re.compile(r"\s*(\$\$|\\\[|\\begin\{([a-z]+\*?)\})")
_QUOTE = re.compile(r"\s*(?:>(?!=)\s?)+")
_HEADING = re.compile(r"\s*#{1,6}\s+")
_ITEM = re.compile(r"\s*(?:[-*+•‣◦▪–]|(\d{1,3})[.)])\s+(?:\[[ xX]\]\s+)?")
#: What looks like a formula in here is none: addresses, paths, the targets of links.
_NO_FORMULA = re.compile(r"://|@|\]\(|^www\.|/.*\.[A-Za-z]|^/")
#: Displayed formulas longer than this, characters, are read as far as they go.
_LONGEST_DISPLAY = 1000
#: A word of the Latin script; a formula may have three letters in a row, "sin".
_ENGLISH = re.compile(r"[A-Za-z]{4}|\b(?:[Tt]he|[Aa]n?d?|[Ii]s|[Ii]n|[Oo]f|[Tt]o|[Ii]t|[Ss]o)\s")
#: Longer paragraphs are cleaned in parts, characters: some patterns look far ahead.
_LONGEST = 2000
_PARTS = re.compile(rf"[^\n]{{1,{_LONGEST}}}(?=\s|$)|[^\n]{{{_LONGEST}}}")
#: Signs that the synthesizer reads or pauses at, besides letters and digits.
_KEPT = frozenset(" .,;:!?…'’\"“”()-—%$€£¥₹₩¢&@#+=/<>§°±×÷²³µ½¼¾")
_STOPS = frozenset(".!?,;:…—。！？，、；：")
_WIDE_MARKS = frozenset("。！？，、；：「」『』（）《》·・～")
_CJK_MARKS = str.maketrans("。、·・", ".,,,")

_BREAK_TAG = re.compile(r"</?(?:br|p|div|li|tr|td|th|h[1-6])\b[^<>]*>", re.IGNORECASE)
_INLINE_TAG = re.compile(
    r"</?(?:span|b|i|em|strong|u|s|sub|sup|code|pre|a|img|ul|ol|table|kbd|mark|small|del|ins|"
    r"details|summary|center|font)\b[^<>]*>|<!--.*?-->",
    re.IGNORECASE,
)

_INLINE = MarkdownIt("commonmark").enable("strikethrough").disable("html_inline")


class SpokenText:
    """Cleans one text for speech, piece by piece.

    What spans pieces (blocks of code, displayed formulas, tables) is remembered,
    so an object serves one text. Pieces are those of `speech.sentences.clauses`:
    whole clauses, with their line breaks.

    Args:
        every_script: Letters of every script are kept; else those of the Latin one alone,
            for voices that have no sound for others. Formulas, numbers and units in Chinese
            are then read in Chinese.
        english: How formulas are read in all other text.
    """

    def __init__(self, *, every_script: bool = False, english: Wording = HIBARI) -> None:
        self._every_script = every_script
        self._english = english
        #: The language that was last seen; a bare formula has none of its own.
        self._wording = english
        self._fence = ""
        self._remarked = False
        #: The end of the displayed formula that is open, and its lines so far.
        self._display_end = ""
        self._display: list[str] = []
        self._at_line_start = True

    def feed(self, clause: str) -> str:
        """Clean the next piece.

        Args:
            clause: Text with markup; a line break in it ends a line.

        Returns:
            What to say, on one line; empty if there is nothing.
        """
        said = []
        if self._every_script and is_chinese(clause):
            self._wording = CHINESE
        elif _ENGLISH.search(clause):
            self._wording = self._english
        for line in visible(clause).splitlines(keepends=True):
            said.append(self._line(line.rstrip("\n"), ends=line.endswith("\n")))
            self._at_line_start = line.endswith("\n")
        return _joined(said)

    def finish(self) -> str:
        """What is left at the end of the text: a formula that was never closed."""
        formula, self._display = " ".join(self._display), []
        self._display_end = ""
        words = maths_words(formula, self._wording)
        return _only_speakable(words, every_script=self._every_script)

    def _line(self, line: str, *, ends: bool) -> str:
        if self._display_end:
            return self._display_line(line)
        if self._at_line_start:
            if fence := _FENCE.match(line):
                return self._toggle_fence(fence[1])
            if self._fence or _RULE.fullmatch(line) or _TABLE_LINE.fullmatch(line):
                return ""
            display = _DISPLAY_OPEN.match(line)
            if display and not LATEX.match(line, display.start(1)):
                return self._open_display(line, display)
            return self._block(line, ends=ends)
        return "" if self._fence else self._words(line)

    def _block(self, line: str, *, ends: bool) -> str:
        line = _QUOTE.sub("", line, count=1) if _QUOTE.match(line) else line
        if _TABLE_ROW.fullmatch(line):
            cells = [self._words(cell) for cell in line.strip().strip("|").split("|")]
            return _ended(", ".join(cell for cell in cells if cell))
        if heading := _HEADING.match(line):
            return _ended(self._words(line[heading.end() :].rstrip("# ")))
        if item := _ITEM.match(line):
            words = self._words(line[item.end() :])
            # "1, open the file": a full stop would make a sentence of the number.
            words = f"{item[1]}, {words}" if item[1] and words else words
            return _ended(words) if ends else words
        return self._words(line)

    def _toggle_fence(self, marks: str) -> str:
        if not self._fence:
            self._fence = marks
            remark = CODE_REMARK_CHINESE if self._wording is CHINESE else CODE_REMARK
            remark = "" if self._remarked else remark
            self._remarked = True
            return remark
        if marks.startswith(self._fence):
            self._fence = ""
        return ""

    def _open_display(self, line: str, opening: re.Match[str]) -> str:
        mark, environment = opening[1], opening[2]
        if environment:
            self._display_end = f"\\end{{{environment}}}"
            return self._display_line(line)
        self._display_end = "$$" if mark == "$$" else "\\]"
        return self._display_line(line[opening.end() :])

    def _display_line(self, line: str) -> str:
        body, end, rest = line.partition(self._display_end)
        self._display.append(body)
        if not end:
            # A stray "$$" must not swallow the rest of the text.
            return self.finish() if len(" ".join(self._display)) > _LONGEST_DISPLAY else ""
        if end.startswith("\\end"):
            self._display.append(end)
        said = self.finish()
        return _joined([_ended(said), self._words(rest)])

    def _words(self, text: str) -> str:
        return inline_words(text, every_script=self._every_script, wording=self._wording)


def spoken(text: str) -> str:
    """Clean a whole text for speech.

    Lines of one paragraph are joined, as Markdown does; headings, list items and
    rows of tables become sentences; code is left out with a remark.

    Args:
        text: Markdown or plain text, any length.

    Returns:
        What to say, on one line; empty if nothing in it can be spoken.
    """
    cleaner = SpokenText()
    lines = (part for line in paragraphs(text) for part in _parts(line))
    said = [cleaner.feed(line) for line in lines]
    return _joined([*said, cleaner.finish()])


def speakable(text: str) -> bool:
    """Whether anything in a text can be spoken by an English voice."""
    return bool(spoken(text))


def paragraphs(text: str) -> Iterator[str]:
    """Join the lines that Markdown takes for one paragraph.

    For text that was typed or pasted, which may be wrapped at some column: where
    `speech.sentences.clauses` is to cut it, give it `paragraphs(text)`.

    Args:
        text: Markdown or plain text.

    Yields:
        Paragraphs, headings, list items, rows of tables and lines of code, each
        with a line break; blank lines stay.
    """
    paragraph: list[str] = []
    fenced = False
    for line in visible(text).split("\n"):
        fence = _FENCE.match(line) is not None
        begins = any(
            pattern.match(line)
            for pattern in (_FENCE, _HEADING, _ITEM, _TABLE_ROW, _DISPLAY_OPEN, _QUOTE)
        )
        alone = fenced or fence or not line.strip() or _RULE.fullmatch(line) is not None
        if paragraph and (alone or begins):
            yield " ".join(paragraph) + "\n"
            paragraph = []
        if alone or _HEADING.match(line) or _TABLE_ROW.fullmatch(line) or _is_display(line):
            yield line + "\n"
        else:
            paragraph.append(line.strip() if paragraph else line)
        fenced ^= fence
    if paragraph:
        yield " ".join(paragraph) + "\n"


def inline_words(text: str, *, every_script: bool = False, wording: Wording = HIBARI) -> str:
    """Clean a stretch of text within a line: emphasis, links, code, maths, signs."""
    held: list[str] = []
    chinese = wording is CHINESE
    gap = " " if wording.spaced else ""

    def hold(words: str) -> str:
        if len(held) >= _MOST_HELD:
            return words
        held.append(chinese_words(words) if chinese else words)
        return chr(_HELD + len(held) - 1)

    text = LATEX.sub(lambda match: hold(latex_words(match, wording)), text)
    if chinese:
        text = chinese_area(text)
    text = _with_formulas_held(_without_html(text), hold, wording)
    text = _without_markup(text)
    words = plain_words(chinese_words(text) if chinese else text)
    words = _HELD_CHARS.sub(lambda match: held[ord(match.group()) - _HELD].join((gap, gap)), words)
    if chinese:
        words = chinese_marks(words)
    if not every_script:
        words = words.translate(_CJK_MARKS)
    return _only_speakable(words, every_script=every_script)


def _with_formulas_held(text: str, hold: Callable[[str], str], wording: Wording) -> str:
    """The text with its formulas in plain notation exchanged for what `hold` returns."""
    closed = [m.span() for m in re.finditer(r"\S+", text) if _NO_FORMULA.search(m.group())]
    out: list[str] = []
    at = 0
    while at < len(text):
        if closed and at >= closed[0][0]:
            _, end = closed.pop(0)
            out.append(text[at:end])
            at = end
            continue
        found = formula_at(text, at, wording)
        if found and not (closed and found[0] > closed[0][0]):
            at, words = found
            out.append(hold(words))
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _without_html(text: str) -> str:
    """Tags that break a line become pauses, superscripts powers, all others go.

    "1<sup>st</sup>" stays an ordinal.
    """
    text = re.sub(r"<sup>\s*(-?\d+|[A-Za-z])\s*</sup>", r"^\1", text)
    return _INLINE_TAG.sub("", _BREAK_TAG.sub(", ", text))


def _without_markup(text: str) -> str:
    """Markdown within a line as plain text: links by their text, images by their description."""
    (inline,) = _INLINE.parseInline(text)
    return "".join(_token_text(token) for token in inline.children or [])


def _token_text(token: Token) -> str:
    if token.type in {"softbreak", "hardbreak"}:
        return " "
    # An image has its description as content, the tokens of emphasis and links have none.
    return token.content


def _only_speakable(words: str, *, every_script: bool) -> str:
    """The words without what the voice has no sound for; empty if nothing is left."""
    is_letter = _is_letter if every_script else _is_latin
    kept = "".join(char if char in _KEPT or is_letter(char) else " " for char in words)
    kept = re.sub(r"\s+", " ", kept)
    kept = re.sub(r"\s+([,.;:!?)])(?!\d)", r"\1", kept)
    kept = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", kept)
    kept = re.sub(r"^[\s,;:.!?)…]+", "", kept).strip()
    return kept if any(char.isalnum() for char in kept) else ""


def _is_latin(char: str) -> bool:
    if char.isascii():
        return char.isalnum()
    return char.isalpha() and unicodedata.name(char, "").startswith("LATIN")


def _is_letter(char: str) -> bool:
    """A letter or digit of any script, a mark that belongs to one, or a mark of East Asian text."""
    return unicodedata.category(char)[0] in "LMN" or char in _WIDE_MARKS


def _ended(words: str) -> str:
    """The words as a sentence, so that the voice pauses after them."""
    bare = words.rstrip(')"”’')
    return f"{words}." if bare and bare[-1] not in _STOPS else words


def _joined(pieces: Iterable[str]) -> str:
    return " ".join(piece for piece in pieces if piece)


def _is_display(line: str) -> bool:
    return _DISPLAY_OPEN.match(line) is not None


def _parts(line: str) -> Iterator[str]:
    if len(line) <= _LONGEST:
        yield line
        return
    for part in _PARTS.finditer(line):
        yield part.group()

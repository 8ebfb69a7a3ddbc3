"""A stream of tokens cut into clauses that can be spoken one after the other."""

import re
import unicodedata
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

from stream2sentence import AVOID_PAUSE_WORDS
from stream2sentence.quick_yield_boundary import HOLD, SPLIT, get_boundary_detector

from speech.spoken import SpokenText

#: How many letters a character of East Asian scripts counts for: as long it takes to say.
WIDE = 3
#: Clauses, and sentences except before a line break, have at least this many characters:
#: "1." and "Yes." are spoken with what follows.
SHORTEST = 10
#: A longer sentence is cut inside, characters: about 14 s of speech.
LONGEST = 220
#: As long as somebody waits, and for the clause after that, characters: it has to be written
#: while the first one, which is short, is heard.
LONGEST_AT_FIRST = 100
#: Cuts inside a long sentence leave at least this part of it.
SHORTEST_CUT = 1 / 3
#: Without punctuation, the first clause is cut before the first joining word that has
#: so many words before it, at the latest after `MOST_WORDS`.
EARLIEST_WORD, MOST_WORDS = 4, 7

_TERMINATORS = frozenset(".?!…。．！？؟।۔")
_CLOSERS = frozenset("\"')]}”’»›」』）】〕》〉*_`~")
_SOFT = frozenset(",;:—，、；：،؛")
#: What stream2sentence's rules do not know, shown to them as what they do.
_PLAIN = str.maketrans("…*_`~", '.""""')
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")
#: Words that begin a new part of a sentence; "of" and "to" are too closely bound.
_JOINERS = (
    "and|but|or|so|because|although|though|while|when|where|if|unless|until|since|which|who|"
    "that|than|as|for|with|without|from|into|in|on|at|by|about|after|before|between|during|"
    "through|over|under|against|like|per"
)
_JOINER = re.compile(_JOINERS, re.IGNORECASE)
#: A number that counts items: "Steps: 1. Open ... 2. Save ...".
_ENUMERATOR = re.compile(r"(?:^|[.:;!?]\s+)\s*\d{1,2}$")
#: Inline markup that must reach the cleaner whole: code, maths, links, images.
_OPEN_SPAN = re.compile(
    r"^[^`]*`(?:[^`]*`[^`]*`)*[^`]*$"  # an odd number of back quotes
    r"|\\\((?!.*\\\))|\\\[(?!.*\\\])"
    r"|\[[^\]]*$|\]\([^)]*$"
    # A dollar that is no price, without its partner.
    r"|^(?:[^$]*\$[^$]*\$)*[^$]*\$(?![\s\d])[^$]*$",
    re.DOTALL,
)
_CUTS = (
    re.compile(r"[;:—,](?=\s)|[，、；：،؛—]"),
    re.compile(rf"(?=\s(?:{_JOINERS})\s)"),
    re.compile(r"(?=\s)"),
)


def clauses(tokens: Iterable[str], *, hurried: bool = True) -> Generator[str, None, None]:
    """Cut a stream of text into clauses, each as soon as its end is known.

    The first clause is short, so that speech can begin: it ends at the first
    comma or the like, or before a conjunction after four words. Then come (from
    the beginning, if nobody is `hurried`)
    whole sentences (by stream2sentence's rules, which know abbreviations,
    numbers and names), at most one token after their end; sentences longer than
    `LONGEST` are cut at clauses. A line break always ends a clause. Code, maths
    and links in a line are kept whole where they fit.

    Args:
        tokens: Any pieces of one text; how it is cut into pieces changes nothing
            but which clause has the white space between two clauses. Closed
            together with the result, if it can be closed.
        hurried: Somebody waits for the first clause while the text is being written.

    Yields:
        Parts of the text with white space as it was, never blank; joined, they
        are the text up to white space. At most `LONGEST` characters (wide ones count
        `WIDE`) and white space around them. The source is not read ahead.
    """
    cutter = ClauseCutter(hurried)
    source = iter(tokens)
    try:
        for token in source:
            yield from cutter.feed(token)
        yield from cutter.finish()
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def spoken_clauses(
    tokens: Iterable[str], *, hurried: bool = True, every_script: bool = False
) -> Generator[str, None, None]:
    """`clauses`, cleaned for speech; what cannot be spoken is left out.

    Args:
        tokens: As for `clauses`.
        hurried: As for `clauses`.
        every_script: As for `SpokenText`.

    Yields:
        What to say, never blank (see `speech.spoken.SpokenText`), with the line
        breaks that ended the clause: `speech.seams.pause_after` goes by them.
    """
    cleaner = SpokenText(every_script=every_script)
    with closing(clauses(tokens, hurried=hurried)) as source:
        for clause in source:
            if said := cleaner.feed(clause):
                yield said + "\n" * clause[len(clause.rstrip()) :].count("\n")
        if said := cleaner.finish():
            yield said


class ClauseCutter:
    """What `clauses` does, for those who are handed the text instead of asking for it.

    It holds the text since the last cut and what is known about it.

    Args:
        hurried: As for `clauses`.
        between_words: The first clause, too, ends at a mark only, unless this is set.
    """

    def __init__(self, hurried: bool = True, *, between_words: bool = True) -> None:
        self._between_words = between_words
        self._detector = get_boundary_detector("en")
        self._text = ""
        #: Marks in the text that may end a clause, not decided yet.
        self._marks: list[int] = []
        #: Somebody waits, and nothing that can be said has gone out yet.
        self._first = hurried
        self._longest = LONGEST_AT_FIRST if hurried else LONGEST

    def feed(self, token: str) -> Iterator[str]:
        """Take a piece of text and yield the clauses that it completes."""
        at = 0
        while at < len(token):
            char = token[at]
            at += 1
            self._text += char
            if char == "\n":
                # A blank line tells a paragraph from a line: keep it with the clause.
                while at < len(token) and token[at] == "\n":
                    self._text += "\n"
                    at += 1
                yield from self.finish()
                continue
            if char in _TERMINATORS or (self._first and char in _SOFT):
                self._marks.append(len(self._text) - 1)
            end = self._sentence_end()
            if end is None and self._first and char.isspace():
                end = self._forced_end()
            if end is None:
                end = self._long_end()
            if end is not None:
                clause, rest = self._text[:end], self._text[end:]
                yield from self._take(clause)
                yield from self.feed(rest)

    def finish(self) -> Iterator[str]:
        """Yield what is left; the text ends here."""
        if self._text.strip():
            yield from self._take(self._text)

    def _take(self, clause: str) -> Iterator[str]:
        self._text = ""
        self._marks.clear()
        if any(char.isalnum() for char in clause):
            if not self._first:
                self._longest = LONGEST
            self._first = False
        yield clause

    def _sentence_end(self) -> int | None:
        """Where the clause ends by punctuation; None while that is open."""
        while self._marks:
            mark = self._marks[0]
            end = self._end_of_mark(mark)
            if end is None:
                return None
            if end:
                return end
            self._marks.pop(0)
        return None

    def _end_of_mark(self, mark: int) -> int | None:
        """The end of a clause that ends with this mark; 0 if none does, None if it is open."""
        text = self._text
        soft = text[mark] in _SOFT
        end = mark + 1
        while end < len(text) and (
            text[end] in _CLOSERS or (not soft and text[end] in _TERMINATORS)
        ):
            end += 1
        following = text[end] if end < len(text) else None
        # A closing mark may follow; after a comma that is not worth the wait.
        if following is None and (not soft or text.count('"') % 2):
            return None
        inside = _OPEN_SPAN.search(text[:end]) or _ENUMERATOR.search(text[:mark])
        # "Node.js", "a,b", "x:y": no space, no end.
        joined = following is not None and following.isascii() and not following.isspace()
        if inside or _size(text[:end].strip()) < SHORTEST or (joined and text[mark].isascii()):
            return 0
        action = self._detector.classify(text.translate(_PLAIN), mark, following)
        if action == HOLD:
            return None
        return end if action == SPLIT else 0

    def _forced_end(self) -> int | None:
        """Where to cut the first clause although no punctuation has come."""
        words = list(re.finditer(r"\S+", self._text))
        if not self._between_words or self._marks or _OPEN_SPAN.search(self._text):
            return None
        for word in words[EARLIEST_WORD:]:
            if _JOINER.fullmatch(word.group()):
                return word.start()
        if len(words) < MOST_WORDS:
            return None
        for word in reversed(words[EARLIEST_WORD:]):
            if word.group().lower() not in AVOID_PAUSE_WORDS:
                return word.end()
        return None

    def _long_end(self) -> int | None:
        """Where to cut a clause that has grown too long."""
        begin = len(self._text) - len(self._text.lstrip())
        if begin == len(self._text):
            # Nothing but white space so far; how much does not matter.
            self._text = self._text[-LONGEST:]
            return None
        if _size(self._text[begin:]) <= self._longest:
            return None
        last = begin + _fitting(self._text[begin:], self._longest)
        first = begin + round((last - begin) * SHORTEST_CUT)
        for pattern in _CUTS:
            ends = [m.end() for m in pattern.finditer(self._text, first, last)]
            if ends:
                return ends[-1]
        # Accents and joined emoji stay with what they belong to.
        while last > first and _joins(self._text[last - 1 : last + 1]):
            last -= 1
        return last


def _size(text: str) -> int:
    """How long a text is to say, in letters."""
    return len(text) + (WIDE - 1) * len(_WIDE.findall(text))


def _fitting(text: str, size: int) -> int:
    """How many characters of a text are together of at most a size."""
    if not _WIDE.search(text):
        return min(size, len(text))
    for at, char in enumerate(text):
        size -= WIDE if _WIDE.match(char) else 1
        if size < 0:
            return at
    return len(text)


def _joins(pair: str) -> bool:
    """Whether two neighbouring characters make one sign."""
    joiner = "\u200d"
    return joiner in pair or unicodedata.category(pair[1]).startswith("M")

"""The text of a reply, as it is written, to units that are spoken one after the other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from speech.sentences import ClauseCutter
from speech.spoken import SpokenText
from speech.symbols import fraction_words
from speech.wording import ENGLISH

#: Marks of a reply's kind, and tokens that are no text.
_MARKS = re.compile(r"[☞☟☜]|<unk>|<\|[a-z_]+\|>")
#: A comma at the end of the first unit is spoken as the end of a sentence, as the published
#: server has it: the voice comes to rest there, so the unit does not sound cut off.
_REST = re.compile(r"[,，](?=\s*$)")
#: "3/4", but no date and no "24/7".
_FRACTION = re.compile(r"(?<![\w/.-])([1-9])/(10|[2-9])(?![\w/-])")


@dataclass(frozen=True, slots=True)
class Unit:
    """A clause or sentence.

    Attributes:
        words: As it was written, without white space around it.
        spoken: As the tokenizer gets it: what is read aloud, in small letters, with the space
            before it where there was one (to the model, " yes" is another word than "yes").
    """

    words: str
    spoken: str


class Units:
    """The units of one reply.

    Args:
        hurried: Somebody waits for the first one while the text is being written.
    """

    def __init__(self, *, hurried: bool = True) -> None:
        # Units are spoken without knowing of each other: a cut within a phrase would be heard.
        self._cutter = ClauseCutter(hurried, between_words=False)
        self._cleaner = SpokenText(every_script=True, english=ENGLISH)
        self._first = True
        self._spaced = False
        #: Text that could be no part of what is spoken, or is not known to be yet.
        self._silent = ""
        self._open = ""

    def push(self, text: str) -> Iterator[Unit]:
        """Take the next piece of the text, however it is cut; give units that are complete."""
        text = self._open + text
        # A mark may come in pieces: "<|im" waits for the rest.
        begun = re.search(r"<[|a-z_]*$", text)
        self._open = text[begun.start() :] if begun else ""
        text = text[: begun.start()] if begun else text
        for clause in self._cutter.feed(_MARKS.sub("", text)):
            yield from self._unit(clause, self._cleaner.feed(clause))

    def finish(self) -> Iterator[Unit]:
        """Give what is left, with a mark at its end or without."""
        text, self._open = self._open, ""
        clauses = [*self._cutter.feed(_MARKS.sub("", text)), *self._cutter.finish()]
        for clause in clauses:
            yield from self._unit(clause, self._cleaner.feed(clause))
        yield from self._unit("", self._cleaner.finish())

    def _unit(self, clause: str, said: str) -> Iterator[Unit]:
        words = self._silent + clause
        if not said:
            self._silent = words
            return
        spaced = self._spaced or clause[:1].isspace()
        self._spaced = clause[-1:].isspace()
        self._silent = ""
        spoken = _FRACTION.sub(_fraction, said).lower()
        if self._first:
            spoken = _REST.sub("。", spoken)
        elif spaced:
            spoken = f" {spoken}"
        self._first = False
        yield Unit(words.strip(), spoken)


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1], match[2]
    return fraction_words(above, below) if int(above) < int(below) else match.group()

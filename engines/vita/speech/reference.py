"""The published server's way from reply to speech, for comparison; `stream` is what replies use.

It differs where `stream` is better: it leaves text after the last mark unspoken, cuts "3.5" in
two, holds speech back however long no place in it is quiet, takes silence out of the first
sentence wherever a piece of it begins, and lets samples beyond full scale wrap around.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engines.vita.speech.chunks import Chunks
from engines.vita.speech.cutting import Pacing, Pieces, Samples
from engines.vita.speech.drawing import RULE, Rule, Uniform, write_codes
from engines.vita.speech.head import SpeechHead

#: After each of these the published server cuts.
MARKS = ",，.。?\n？!！、"
#: Shorter units wait for the next one, characters.
SHORTEST = 5
#: Put before the first unit, so that it is never too short.
FIRST_MARK = "$$FIRST_SENTENCE_MARK$$"

FIRST = Pacing(chunk=20, threshold=0.1)
LATER = Pacing(chunk=40, threshold=0.015)

#: Pieces of the first sentence begin with the first sample beyond it.
ONSET = 0.03

_STATES = re.compile(r"[☞☟☜]|<unk>|<\|im_end\|>")


@dataclass(frozen=True, slots=True)
class ReferenceUnit:
    """A unit as the published server speaks it.

    Attributes:
        text: For the tokenizer.
        pacing: In what pieces.
    """

    text: str
    pacing: Pacing


def split(reply: str) -> list[str]:
    """A reply cut after each mark; what follows the last one is lost."""
    return re.findall(rf"[^{MARKS}]*[{MARKS}]", reply)


def units(reply: str, rewrite: Callable[[str], str] = lambda text: text) -> Iterator[ReferenceUnit]:
    """The units of a whole reply.

    Args:
        reply: With its state mark.
        rewrite: How equations are put into words.
    """
    parts = split(FIRST_MARK + reply)
    while parts:
        unit = parts.pop(0)
        while len(unit) < SHORTEST and parts:
            unit += parts.pop(0)
        first = unit.startswith(FIRST_MARK)
        if first:
            unit = unit.removeprefix(FIRST_MARK).translate(str.maketrans(",，", "。。"))
        text = rewrite(_STATES.sub("", unit)).lower()
        yield ReferenceUnit(text, FIRST if first else LATER)


def demo_sentences(reply: str) -> list[str]:
    """The sentences of the published demo: nothing is lost but the marks.

    Args:
        reply: Its equations in words already.
    """
    return list(filter(None, map(str.strip, re.split(rf"[{MARKS}]", reply))))


def pcm(segment: Samples, *, first: bool) -> NDArray[np.int16]:
    """A segment as the published server sends it.

    Args:
        segment: float32 `[n]`.
        first: Whether it is of the first unit.
    """
    if first:
        (loud,) = np.nonzero(np.abs(segment) > ONSET)
        segment = segment[loud[0] if len(loud) else len(segment) :]
    return (segment * 32768).astype(np.int32).astype(np.int16)


def segments(
    head: SpeechHead,
    ids: Sequence[int],
    uniform: Uniform,
    *,
    pacing: Pacing,
    rule: Rule = RULE,
    most: int,
) -> Iterator[Samples]:
    """Speak one unit in the published server's pieces.

    Args:
        head: The weights.
        ids: Of the unit.
        uniform: Its random numbers.
        pacing: In what pieces.
        rule: How codes are chosen.
        most: Steps at most.
    """
    rows: Tensor = head.rows(list(ids))
    chunks = Chunks(head.codec, pacing.chunk)
    pieces = Pieces(pacing, slip=True)
    for code in write_codes(head.decoder, rows, uniform, rule=rule, most=most):
        piece = pieces.push(chunks.push(code))
        if len(piece):
            yield piece
    rest = pieces.finish(chunks.finish())
    if len(rest):
        yield rest

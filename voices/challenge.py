"""The sentence that somebody reads aloud to consent, and how well it was read."""

import re
import secrets
import unicodedata
from collections.abc import Sequence
from datetime import date
from itertools import pairwise

from rapidfuzz import fuzz

_WORD_LIST = """
amber anchor apple basket blanket bottle bridges button camera candle carpet castle
cherry chimney coffee copper corner cotton curtain dancer diamond dolphin dragon elephant
engine feather finger flower forest galaxy garden guitar hammer harbour honey
island jacket jungle kitchen ladder lantern lemon library magnet marble meadow melon
mirror monkey morning mountain museum needle number ocean orange paper parrot pencil
pepper picture pillow planet pocket potato pumpkin rabbit rainbow ribbon river
saddle salad season shadow silver spider summer sunset table teacher thunder ticket
tiger tomato tower tunnel turtle umbrella velvet village violin waggon walnut water
whisper window winter wizard yellow zebra
"""
#: Common words of two syllables or more that no other word of the list sounds like: short
#: words are what recognizers confuse.
WORDS = tuple(_WORD_LIST.split())
#: Enough that nobody has a recording of them at hand: 94 million sentences a day.
DRAWN = 4
#: How many of the drawn words must be heard: recognizers mishear one of four now and then.
#: An old recording, with the words of another sentence, has none.
NEEDED = 3
#: A drawn word counts as heard from this likeness (0 to 1) on: "harbor" is "harbour" (.92),
#: "wagon" is "waggon" (.91), "liver" is "river" (.8); no two words of the list reach it.
WORD_LIKENESS = 0.8
#: The whole sentence counts as read from this likeness on. Every word of the list, read in
#: such sentences by a synthesizer, passes with Moonshine tiny (tests/test_voices_consent.py).
#: The drawn words alone have about .6; the same sentence with four other words has up to .83
#: (of 1000 draws), so it is the drawn words that tell an old recording from a new reading.
SENTENCE_LIKENESS = 0.75

_CARDINALS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen"""
_ORDINALS = """zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh
twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"""
_NUMBERS = {
    word: number for text in (_CARDINALS, _ORDINALS) for number, word in enumerate(text.split())
}
_NUMBERS |= {"twenty": 20, "twentieth": 20, "thirty": 30, "thirtieth": 30}
_TENS = (20, 30)
_MONTHS = "January February March April May June July August September October November December"


def sentence_for(day: date) -> tuple[str, tuple[str, ...]]:
    """A sentence nobody has been asked to read, and the words drawn for it."""
    drawn = tuple(secrets.SystemRandom().sample(WORDS, DRAWN))
    month = _MONTHS.split()[day.month - 1]
    text = f"I lend my voice to Parley, on {month} {_ordinal(day.day)}: {' '.join(drawn)}."
    return text, drawn


def likeness(sentence: str, heard: str) -> float:
    """How much of a sentence was heard, 0 to 1: by letters, since words get split and joined."""
    return fuzz.ratio(_letters(sentence), _letters(heard)) / 100


def words_heard(drawn: Sequence[str], heard: str) -> int:
    """How many of the drawn words are among what was heard."""
    tokens = _tokens(heard)
    pairs = ["".join(pair) for pair in pairwise(tokens)]
    return sum(
        any(fuzz.ratio(word, token) >= 100 * WORD_LIKENESS for token in (*tokens, *pairs))
        for word in drawn
    )


def _ordinal(day: int) -> str:
    ordinals = _ORDINALS.split()
    if day < len(ordinals):
        return ordinals[day]
    tens, unit = divmod(day, 10)
    if not unit:
        return {2: "twentieth", 3: "thirtieth"}[tens]
    return f"{ {2: 'twenty', 3: 'thirty'}[tens] } {ordinals[unit]}"


def _letters(text: str) -> str:
    return "".join(_tokens(text))


def _tokens(text: str) -> list[str]:
    """Words in lower case without marks; numbers in digits, however they are written."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    tokens: list[str] = []
    tens = 0
    for word in re.findall(r"[a-z]+|\d+", re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", plain)):
        number = _NUMBERS.get(word)
        if tens and number is not None and 0 < number < 10:  # noqa: PLR2004  (a unit after tens)
            tokens[-1] = str(tens + number)
        else:
            tokens.append(word if number is None else str(number))
        tens = number if number in _TENS else 0
    return tokens

"""A transcript with times as subtitles: cues, SRT, WebVTT."""

import re
from collections.abc import Iterable, Sequence

from engines.messages import Span

#: Two lines of 42 characters, as broadcasters have it.
MOST_CHARACTERS = 84
#: Nobody should look at one cue for longer, seconds.
MOST_SECONDS = 7.0
#: A pause between words that ends a cue, seconds.
PAUSE = 0.8
#: Languages that put no spaces between words.
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km"})

_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)\]]*$")


def cues(spans: Sequence[Span], language: str | None) -> list[Span]:
    """Words, or longer stretches, joined to what is shown at once."""
    found: list[Span] = []
    space = "" if language in UNSPACED else " "
    for span in spans:
        last = found[-1] if found else None
        joined = f"{last.text}{space}{span.text}" if last else ""
        if last and _goes_on(last, span, joined):
            found[-1] = Span(joined, last.start, span.end)
        else:
            found.append(span)
    return found


def srt(shown: Iterable[Span]) -> str:
    """SubRip."""
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n"
        for number, cue in enumerate(shown, 1)
    )
    return "\n".join(blocks)


def vtt(shown: Iterable[Span]) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/)."""
    blocks = (
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_escaped(cue.text)}\n"
        for cue in shown
    )
    return "\n".join(["WEBVTT\n", *blocks])


def _goes_on(last: Span, span: Span, joined: str) -> bool:
    return (
        not _SENTENCE_END.search(last.text)
        and span.start - last.end < PAUSE
        and span.end - last.start <= MOST_SECONDS
        and len(joined) <= MOST_CHARACTERS
    )


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{mark}{milliseconds:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

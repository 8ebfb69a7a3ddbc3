"""Writing down what was said, beside a model that only hears it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.base import Cancel, Models, Stopwatch
from engines.cascade.parts import Recognizer
from engines.messages import Notice, Transcript
from errors import UnavailableError
from speech.pcm import Audio
from speech.segments import split

#: All of a short message; of one that goes on with lists of files, what has happened.
_SENTENCE = re.compile(r"[^\n]*?\.(?=\s|$)|[^\n]+")


@dataclass(frozen=True, slots=True)
class Subtitles:
    """The words of one turn.

    Attributes:
        models: Where the recognizer is borrowed from; it may have to be loaded first.
        recognizer: Its name.
        audio: What was said.
        language: ISO 639-1 code; None lets the recognizer decide.
    """

    models: Models
    recognizer: str
    audio: Audio
    language: str | None

    def write(self, watch: Stopwatch, cancel: Cancel) -> Iterator[Transcript | Notice]:
        """Transcripts of more and more of the clip, the last one final.

        It is empty if no word was heard, or nothing here can write it down: that is no reason not
        to answer, and a notice says why.

        Args:
            watch: Marked `recognized` once all is written down.
            cancel: Stops it within a segment.

        Raises:
            CancelledError: If `cancel` was set.
        """
        text, language = "", self.language
        try:
            with self.models.use(self.recognizer, cancel=cancel) as (recognizer,):
                for part in _parts(recognizer, self.audio, language, cancel):
                    text = f"{text} {part.text}".strip()
                    language = part.language
                    yield Transcript(text, False, (), part.heard, language)
            watch.mark("recognized")
        except UnavailableError as error:
            reason = _SENTENCE.match(str(error))
            yield Notice(
                "What you say is heard and answered, but it cannot be shown in writing: "
                f"{reason[0] if reason else 'nothing here writes it down.'}",
                once=True,
            )
        yield Transcript(text, True, (), self.audio.seconds, language)


def _parts(
    recognizer: Recognizer, audio: Audio, language: str | None, cancel: Cancel
) -> Iterator[Transcript]:
    for segment in split(audio):
        cancel.check()
        part = recognizer.recognize(segment.audio, language)
        language = language or part.language
        heard = segment.start + segment.audio.seconds
        yield Transcript(part.text, False, (), heard, language)

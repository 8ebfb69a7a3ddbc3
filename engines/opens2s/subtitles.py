"""Writing down what was said, beside a model that only hears it."""

from collections.abc import Iterator
from dataclasses import dataclass

from engines.base import Cancel, Transcript
from engines.cascade.parts import Recognizer
from speech.pcm import Audio
from speech.segments import split


@dataclass(frozen=True, slots=True)
class Subtitles:
    """The words of one turn.

    Attributes:
        recognizer: Borrowed for the turn.
        audio: What was said.
        language: ISO 639-1 code; None lets the recognizer decide.
    """

    recognizer: Recognizer
    audio: Audio
    language: str | None

    def write(self, cancel: Cancel) -> Iterator[Transcript]:
        """Transcripts of more and more of the clip; the last is final, empty if no word was heard.

        Raises:
            CancelledError: If `cancel` was set.
        """
        text, language = "", self.language
        for segment in split(self.audio):
            cancel.check()
            part = self.recognizer.recognize(segment.audio, language)
            language = language or part.language
            text = f"{text} {part.text}".strip()
            yield Transcript(text, False, (), segment.start + segment.audio.seconds, language)
        cancel.check()
        yield Transcript(text, True, (), self.audio.seconds, language)

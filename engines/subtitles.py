"""Writing down what was said, beside a model that only hears it."""

from collections.abc import Iterator
from dataclasses import dataclass

from engines.base import Cancel, Models
from engines.cascade.parts import Recognizer
from engines.messages import Transcript
from errors import UnavailableError
from speech.pcm import Audio
from speech.segments import split


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

    def write(self, cancel: Cancel) -> Iterator[Transcript]:
        """Transcripts of more and more of the clip, the last one final.

        It is empty if no word was heard, or nothing here can write it down: that is no reason not
        to answer, and the holder of the models has said why.

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
        except UnavailableError:
            pass
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

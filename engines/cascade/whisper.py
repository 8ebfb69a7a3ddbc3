"""The embedded multilingual recognizer: Whisper base on CTranslate2.

Source: https://github.com/SYSTRAN/faster-whisper (MIT).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.cascade.parts import RECOGNIZER_RATE, Recognized
from engines.messages import Span
from errors import InputError
from speech.pcm import Audio


class Whisper:
    """A `Recognizer` for 99 languages with word timings."""

    def __init__(self, folder: Path, threads: int, device: str = "cpu") -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415

        self._model: Any = WhisperModel(
            str(folder),
            device=device,
            compute_type="int8" if device == "cpu" else "float16",
            cpu_threads=threads,
            local_files_only=True,
        )

    def recognize(self, audio: Audio, language: str | None = None, prompt: str = "") -> Recognized:
        """Recognize one segment of at most 30 s; see `Recognizer`.

        Of a prompt the last 223 tokens count.
        """
        try:
            generator, info = self._model.transcribe(
                audio.resampled(RECOGNIZER_RATE).samples,
                language=language,
                word_timestamps=True,
                initial_prompt=prompt or None,
                # Segments are cut at pauses beforehand, so each stands alone: text of
                # an earlier one as prompt is what makes Whisper repeat itself.
                condition_on_previous_text=False,
            )
        except ValueError as error:
            raise InputError(
                f"Whisper does not know the language {language!r}. "
                "Give a two-letter code such as en, de or zh, or none to have it detected."
            ) from error
        segments = list(generator)
        spans = tuple(
            Span(word.word.strip(), float(word.start), float(word.end))
            for segment in segments
            for word in segment.words or ()
        )
        # Not joined from the words: only the segments know which scripts take no spaces.
        text = "".join(segment.text for segment in segments).strip()
        return Recognized(text, spans, info.language)

    def expecting(self, prompt: str) -> "Expecting":
        """The same recognizer after a text that may have come before; see `Attentive`."""
        return Expecting(self, prompt)


@dataclass(frozen=True, slots=True)
class Expecting:
    """A `Recognizer` that was told what to expect."""

    whisper: Whisper
    prompt: str

    def recognize(self, audio: Audio, language: str | None = None) -> Recognized:
        """Recognize one segment of at most 30 s; see `Recognizer`."""
        return self.whisper.recognize(audio, language, self.prompt)

"""The embedded English recognizer: Moonshine tiny, the fastest there is on a CPU.

Source: https://github.com/moonshine-ai/moonshine (MIT); the weights come inside
its package.
"""

import os
import threading
from pathlib import Path
from typing import Any

from engines.cascade.parts import RECOGNIZER_RATE, Recognized
from engines.messages import Span
from errors import InputError
from speech.pcm import Audio
from speech.segments import Segment, split

#: What is longer is cut at its pauses, seconds: the model times nothing within.
PHRASE = 8.0


class Moonshine:
    """A `Recognizer` for English with phrase timings."""

    def __init__(self) -> None:
        from moonshine_voice import ModelArch, Transcriber  # noqa: PLC0415
        from moonshine_voice.utils import get_assets_path  # noqa: PLC0415

        # As fast on one thread as on all (50 ms for 2.5 s of speech), and the other cores are
        # left to what runs beside it: the end of the turn is judged at the same time.
        os.environ.setdefault("MOONSHINE_ORT_SINGLE_THREAD", "1")
        # The native transcript belongs to the model and is overwritten by its next call.
        self._lock = threading.Lock()
        self._model: Any = Transcriber(
            Path(get_assets_path()) / "tiny-en",
            ModelArch.TINY,
            options={
                # The copy of the input that it would hand back costs more than the recognition.
                "return_audio_data": "false",
                # Nobody asks who speaks.
                "identify_speakers": "false",
                # It would cut by itself: 0.3 s of silence at the beginning become a word ("You").
                "vad_threshold": "0.0",
            },
        )

    def recognize(self, audio: Audio, language: str | None = None) -> Recognized:
        """Recognize one segment; see `Recognizer`."""
        if language not in (None, "en"):
            raise InputError(f"Moonshine hears English only, not {language!r}.")
        audio = audio.resampled(RECOGNIZER_RATE)
        short = audio.seconds <= PHRASE
        phrases = [Segment(audio, 0.0)] if short else split(audio, PHRASE)
        spans = tuple(span for phrase in phrases if (span := self._span(phrase)).text)
        return Recognized(" ".join(span.text for span in spans), spans, "en")

    def _span(self, phrase: Segment) -> Span:
        samples = phrase.audio.samples
        with self._lock:
            lines = self._model.transcribe_without_streaming(samples, RECOGNIZER_RATE).lines
        text = " ".join(line.text.strip() for line in lines).strip()
        return Span(text, phrase.start, phrase.start + phrase.audio.seconds)

    def close(self) -> None:
        """Free the native model."""
        self._model.close()

"""The embedded English recognizer: Moonshine tiny, the fastest there is on a CPU.

Source: https://github.com/moonshine-ai/moonshine (MIT); the weights come inside
its package.
"""

import os
import threading
from pathlib import Path
from typing import Any

from engines.base import Span
from engines.cascade.parts import RECOGNIZER_RATE, Recognized
from errors import InputError
from speech.pcm import Audio


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
            # The copy of the input that it would hand back costs more than the recognition.
            # Nobody asks who speaks.
            options={"return_audio_data": "false", "identify_speakers": "false"},
        )

    def recognize(self, audio: Audio, language: str | None = None) -> Recognized:
        """Recognize one segment; see `Recognizer`."""
        if language not in (None, "en"):
            raise InputError(f"Moonshine hears English only, not {language!r}.")
        samples = audio.resampled(RECOGNIZER_RATE).samples
        with self._lock:
            lines = self._model.transcribe_without_streaming(samples, RECOGNIZER_RATE).lines
        spans = tuple(
            Span(line.text.strip(), line.start_time, line.start_time + line.duration)
            for line in lines
            if line.text.strip()
        )
        return Recognized(" ".join(span.text for span in spans), spans, "en")

    def close(self) -> None:
        """Free the native model."""
        self._model.close()

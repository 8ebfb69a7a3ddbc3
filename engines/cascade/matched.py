"""A synthesizer's speech moved towards a reference recording: what `match` comes to here."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from engines.base import Cancel, Reference
from engines.cascade.parts import Synthesizer
from errors import InputError
from speech import matching, timbre
from speech.matching import Matcher, Plan
from speech.pcm import Audio, concatenate
from speech.speaker import SpeakerEncoder
from speech.timbre import Timbre, measure
from speech.tuning import CALIBRATION, tune

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """A voice of the synthesizer: what it says for calibration, and its timbre."""

    speech: Audio
    timbre: Timbre


class VoiceMatching:
    """Makes `Matcher`s for one synthesizer, shared by all requests.

    What it learns of a reference is kept with the reference. Itself it keeps only the
    timbre of the synthesizer's own voices.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: dict[str, _Own] = {}

    def matcher(
        self,
        synthesizer: Synthesizer,
        voice: str,
        reference: Reference,
        encoder: SpeakerEncoder,
        cancel: Cancel,
    ) -> Matcher:
        """What moves a voice of the synthesizer towards the reference.

        The first time it is tried out how far, which takes some seconds.

        Raises:
            InputError: If there is too little speech in the reference.
            CancelledError: Within one trial of `cancel` being set.
        """
        own = self._know(synthesizer, voice, cancel)
        target = _kept(
            reference,
            f"timbre-{timbre.VERSION}",
            Timbre.from_bytes,
            lambda: measure(reference.audio),
        )

        def tuned() -> Plan:
            wanted = encoder.embed(reference.audio)
            return tune(own.speech, own.timbre, target, wanted, encoder, cancel.check)

        kind = f"plan-{matching.VERSION}.{timbre.VERSION}-{voice}"
        plan = _kept(reference, kind, Plan.from_bytes, tuned)
        return Matcher(own.timbre, target, plan)

    def _know(self, synthesizer: Synthesizer, voice: str, cancel: Cancel) -> _Own:
        with self._lock:
            if voice not in self._own:
                random = np.random.default_rng(0)
                spoken = []
                for sentence in CALIBRATION:
                    cancel.check()
                    spoken.append(synthesizer.synthesize(sentence, voice, random))
                speech = concatenate(spoken)
                self._own[voice] = _Own(speech, measure(speech))
            return self._own[voice]


def _kept(
    reference: Reference,
    kind: str,
    read: Callable[[bytes], T],
    compute: Callable[[], T],
) -> T:
    """A feature from where the reference keeps it; one that cannot be read is made again."""
    try:
        return read(reference.keep(kind, lambda: compute().to_bytes()))  # type: ignore[attr-defined]
    except InputError:
        return compute()

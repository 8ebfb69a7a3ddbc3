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
from speech.speaker import SpeakerEncoder, similarity
from speech.timbre import Timbre, measure
from speech.tuning import CALIBRATION, TRIAL, tune

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """A voice of the synthesizer: what it says for calibration, and its timbre."""

    speech: Audio
    timbre: Timbre


class VoiceMatching:
    """Moves the speech of one synthesizer, shared by all requests.

    What it learns of a reference is kept with the reference. Itself it keeps only the
    timbre of the synthesizer's own voices.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: dict[str, _Own] = {}

    def mover(
        self,
        synthesizer: Synthesizer,
        voice: str,
        reference: Reference,
        encoder: SpeakerEncoder,
        cancel: Cancel,
    ) -> Callable[[Audio], Audio]:
        """What moves a voice of the synthesizer towards the reference.

        The first time it is tried out how far, which takes some seconds. A voice that is
        nearer as it is (the reference may be its own) is left as it is.

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
            Timbre.to_bytes,
        )

        def tuned() -> Plan:
            wanted = encoder.embed(reference.audio)
            return tune(own.speech, own.timbre, target, wanted, encoder, cancel.check)

        kind = f"plan-{matching.VERSION}.{timbre.VERSION}-{voice}"
        plan = _kept(reference, kind, Plan.from_bytes, tuned, Plan.to_bytes)
        matcher = Matcher(own.timbre, target, plan)

        def gains() -> bool:
            wanted = encoder.embed(reference.audio)
            speech = Audio(own.speech.samples[: round(TRIAL * own.speech.rate)], own.speech.rate)
            moved = matcher.match(speech)
            near = [similarity(encoder.embed(audio), wanted) for audio in (speech, moved)]
            return near[1] > near[0]

        gained = _kept(reference, f"gain-{kind}", _truth, gains, lambda gain: str(gain).encode())
        return matcher.match if gained else _as_it_is

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


def _as_it_is(audio: Audio) -> Audio:
    return audio


def _truth(content: bytes) -> bool:
    if content not in {b"True", b"False"}:
        raise InputError("This feature of a voice is damaged. Compute it again.")
    return content == b"True"


def _kept(
    reference: Reference,
    kind: str,
    read: Callable[[bytes], T],
    compute: Callable[[], T],
    write: Callable[[T], bytes],
) -> T:
    """A feature from where the reference keeps it; one that cannot be read is made again."""
    try:
        return read(reference.keep(kind, lambda: write(compute())))
    except InputError:
        return compute()

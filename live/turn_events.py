"""What happens to a turn, as `live.turns` tells it."""

from dataclasses import dataclass
from typing import Literal

from speech.pcm import Audio
from speech.vad import FRAME, RATE

Reason = Literal["complete", "hold", "silence", "longest", "commit"]


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks.

    Attributes:
        at: Samples received when it was decided, here and below.
        start: First sample of the utterance, padding included.
    """

    at: int
    start: int


@dataclass(frozen=True, slots=True)
class Barged:
    """Somebody speaks over the reply and goes on; it starts a turn as `SpeechStarted` does."""

    at: int
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class Paused:
    """The turn may be over: ask the judge, begin to answer.

    Attributes:
        at: See `SpeechStarted`.
        speech_end: End of the last frame with speech, fading or not, samples.
        utterance: 16 kHz, from the padding to `at`.
    """

    at: int
    speech_end: int
    utterance: Audio

    @property
    def speech(self) -> Audio:
        """What the judge should hear: the utterance without the pause.

        Smart Turn takes silence for the end, noisy silence above all. Up to one
        frame before `speech_end` (the VAD lets go late) it calls 2 to 3 of 30
        hesitations complete; with 0.1 s of pause, 3 to 9, the more the noisier.
        """
        end = len(self.utterance) - (self.at - self.speech_end) - FRAME
        return Audio(self.utterance.samples[:end], RATE)


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech goes on after a pause: what was begun in it is stale."""

    at: int


@dataclass(frozen=True, slots=True, eq=False)
class TurnEnded:
    """The turn is over.

    Attributes:
        at: See `SpeechStarted`.
        speech_end: See `Paused`.
        utterance: After a pause the very object of that `Paused`, so that what was
            begun then holds.
        reason: "complete": judged so; "hold": judged incomplete, but nothing more came;
            "silence": nobody judged; "longest": it went on for too long; "commit".
    """

    at: int
    speech_end: int
    utterance: Audio
    reason: Reason


TurnEvent = SpeechStarted | Barged | Paused | Resumed | TurnEnded

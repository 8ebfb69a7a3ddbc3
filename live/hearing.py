"""The ear of a session: what the client sends becomes turns, judged where they pause."""

import asyncio
from collections.abc import Callable

import numpy as np
import soxr
from numpy.typing import NDArray

from live.protocol import RATE, ProtocolError
from live.smart_turn import SmartTurn
from live.turn_events import Paused, TurnEvent
from live.turns import TurnDetector, TurnSettings
from speech.pcm import INT16_PEAK

#: What turns are taken on, Hz.
HEARING_RATE = 16_000
#: How much audio may come ahead of time, seconds.
EARLY = 30.0


class Hearing:
    """Follows one microphone.

    Attributes:
        turns: The detector.

    Args:
        settings: What makes a turn.
        judge: Gives what tells whether a pause ends a turn, or None while that is not
            there; then silence decides.
        act: Told the events of the detector, in order.
    """

    def __init__(
        self,
        settings: TurnSettings,
        judge: Callable[[], SmartTurn | None],
        act: Callable[[list[TurnEvent]], None],
    ) -> None:
        self.turns = TurnDetector(settings)
        self._judge = judge
        self._act = act
        self._resampler = soxr.ResampleStream(RATE, HEARING_RATE, 1, dtype="float32")
        self._until = 0.0

    def push(self, pcm: NDArray[np.int16]) -> None:
        """Take what comes next, int16 `[n]` at the rate of the protocol.

        Raises:
            ProtocolError: If it comes much faster than anybody can speak.
        """
        now = asyncio.get_running_loop().time()
        # A microphone cannot be early; a file that is sent at once may be, within reason.
        if self._until - now + len(pcm) / RATE > EARLY:
            raise ProtocolError(
                f"Audio came more than {EARLY:.0f} s faster than it can be spoken; "
                "this piece was dropped.",
                "rate_limit_exceeded",
            )
        self._until = max(self._until, now) + len(pcm) / RATE
        samples = pcm.astype(np.float32) / np.float32(INT16_PEAK)
        self._act(self.turns.push(self._resampler.resample_chunk(samples)))

    async def judge(self, paused: Paused) -> None:
        """Ask whether a turn is over, where that is how turns end."""
        judge, turns = self._judge(), self.turns
        if judge is None or turns.settings.kind != "semantic_vad":
            return
        loop = asyncio.get_running_loop()
        probability = await loop.run_in_executor(None, judge.probability, paused.speech)
        self._act(turns.judge(paused, probability))

    def clear(self) -> None:
        """Another microphone follows: forget the utterance and the time."""
        self.turns.clear()
        self._until = 0.0

    def since(self, sample: int) -> float:
        """How long ago a sample came in, seconds, by the samples since."""
        return (self.turns.received - sample) / HEARING_RATE


def milliseconds(samples: int) -> int:
    """Samples of what is heard as the protocol tells them."""
    return round(samples * 1000 / HEARING_RATE)

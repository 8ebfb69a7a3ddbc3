"""Clauses that come in pieces, joined into one stream without a gap, a click or a lost end."""

import numpy as np
from numpy.typing import NDArray

from speech.pcm import Audio
from speech.seams import FADE_SECONDS, FRAME_SECONDS, frame_levels, ramp_up

#: What is silence before and after a clause, dBFS. The loudest of a clause is not known while
#: it streams; speech lies at -20, and the breath of a neural voice at -60.
QUIET_DB = -50.0
#: Silence that is left at either end of a clause, seconds: soft consonants fade in it.
KEEP = 0.02
#: Before the first clause of a reply, seconds: somebody waits.
LEAD = 0.008
#: Two clauses without a pause between them overlap by this, seconds; others fade out and in.
CROSS = 0.02
#: Shorter pauses are none: the clause was cut between two words of a sentence.
SHORTEST_PAUSE = 0.1


class Joiner:
    """Joins the clauses of one reply: `push` for each piece, `end` after each clause, `finish`.

    All three give what can be heard now. Silence around a clause is replaced by the pause
    that is asked for. A clause that ends in a pause fades out and the next one fades in;
    clauses without a pause between them are cross-faded.

    Args:
        rate: Of all pieces, Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frame = max(1, round(FRAME_SECONDS * rate))
        self._fade = round(CROSS * rate)
        self._pending = np.zeros(0, np.float32)
        self._tail = self._pending
        self._pause = 0
        self._margin = round(LEAD * rate)
        self._begun = False  # This clause has sounded.
        self._joined = False  # Its beginning is joined to what was before.

    def push(self, audio: Audio) -> Audio:
        """Take the next piece of a clause."""
        self._pending = np.concatenate([self._pending, audio.samples])
        loud = self._loud()
        if not self._begun:
            if not len(loud):
                self._pending = self._pending[-self._margin - self._frame :]
                return self._audio(self._pending[:0])
            self._begun = True
            self._pending = self._pending[max(0, int(loud[0]) * self._frame - self._margin) :]
            loud = self._loud()
        if not self._joined and len(self._pending) < self._fade:
            return self._audio(self._pending[:0])
        before = self._join()
        # What is quiet may be the end, and the end may be faded into what follows.
        ready = max(0, self._last(loud) - self._fade)
        given, self._pending = self._pending[:ready], self._pending[ready:]
        return self._audio(np.concatenate([before, given]))

    def end(self, pause: float) -> Audio:
        """The clause is over (or broke off); `pause` seconds of silence are to follow."""
        if not self._begun:
            self._pending = self._pending[:0]
            return self._audio(self._pending)
        before = self._join()
        end = self._last(self._loud()) + round(KEEP * self._rate)
        kept, self._pending = self._pending[:end], self._pending[:0]
        cut = len(kept) - min(self._fade, len(kept))
        if pause < SHORTEST_PAUSE:
            self._tail, kept = kept[cut:], kept[:cut]
        else:
            kept = _faded_out(kept, cut)
        self._pause = round(pause * self._rate)
        self._margin = round(KEEP * self._rate)
        self._begun = self._joined = False
        return self._audio(np.concatenate([before, kept]))

    def finish(self) -> Audio:
        """The reply is over."""
        tail, self._tail = self._tail, self._tail[:0]
        return self._audio(_faded_out(tail, 0))

    def _join(self) -> NDArray[np.float32]:
        """Join the beginning of the clause; gives what comes before it."""
        if self._joined:
            return self._pending[:0]
        self._joined = True
        soft = round(FADE_SECONDS * self._rate)
        size = min(len(self._tail) or soft, len(self._pending))
        rising = ramp_up(size)
        self._pending = self._pending.copy()
        self._pending[:size] *= rising
        tail, self._tail = self._tail, self._tail[:0]
        if not len(tail):
            return np.zeros(self._pause, np.float32)
        self._pending[:size] += tail[len(tail) - size :] * rising[::-1]
        return tail[: len(tail) - size]

    def _loud(self) -> NDArray[np.intp]:
        """Frames of what is pending that are no silence."""
        return np.flatnonzero(frame_levels(self._pending, self._frame) > QUIET_DB)

    def _last(self, loud: NDArray[np.intp]) -> int:
        """Where what is pending falls silent."""
        return (int(loud[-1]) + 1) * self._frame if len(loud) else 0

    def _audio(self, samples: NDArray[np.float32]) -> Audio:
        return Audio(samples, self._rate)


def _faded_out(samples: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """The samples, falling to nothing from `start` on."""
    faded = samples.copy()
    faded[start:] *= ramp_up(len(samples) - start)[::-1]
    return faded

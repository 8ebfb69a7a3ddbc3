"""Joining synthesized clauses into one reply without gaps, clicks or lost ends."""

import re

import numpy as np
from numpy.typing import NDArray

from speech.pcm import Audio

#: Levels are taken over frames this long, seconds; a stop consonant is longer.
FRAME_SECONDS = 0.005
#: Ramp at a cut edge, seconds.
FADE_SECONDS = 0.005
#: Below this a clip is taken for silence as a whole, dBFS.
NO_SPEECH_DB = -80.0
#: Around a seam, the level is taken over this time on either side, seconds.
LOCAL_SECONDS = 0.02
#: The level that digital silence is taken for in `seam_jump` (-80 dBFS).
LEAST_LEVEL = 1e-4

#: Silence after a clause, seconds, by how it ends; about what readers leave.
PAUSES = {"paragraph": 0.45, "line": 0.34, "sentence": 0.28, "clause": 0.18, "comma": 0.12}
#: A clause that was cut between two words.
NO_PAUSE = 0.04

_CLOSERS = "\"')]}”’»」』）】*_ "


def trim(
    audio: Audio, keep: float = 0.02, threshold_db: float = -45.0, *, lead: float | None = None
) -> Audio:
    """Take the silence from both ends of a synthesized clause.

    Args:
        audio: One clause.
        keep: Silence to leave at each end, seconds: soft consonants fade out in it.
        threshold_db: What is silence, in dB below the loudest 5 ms of the clause. The
            softest endings (the "f" of "half", the "th" of "cloth") lie 25 dB below,
            a synthesizer's silence 60 dB and more.
        lead: Silence to leave at the beginning, if it is not `keep`.

    Returns:
        The clause with a short fade at either end; empty if it is all silence.
    """
    frame = max(1, round(FRAME_SECONDS * audio.rate))
    level = frame_levels(audio.samples, frame)
    if not len(level) or level.max() < NO_SPEECH_DB:
        return Audio(audio.samples[:0], audio.rate)
    loud = np.flatnonzero(level > level.max() + threshold_db)
    margin = round(keep * audio.rate)
    before = margin if lead is None else round(lead * audio.rate)
    start = max(0, int(loud[0]) * frame - before)
    end = min(len(audio), (int(loud[-1]) + 1) * frame + margin)
    samples = audio.samples[start:end].copy()
    ramp = ramp_up(min(round(FADE_SECONDS * audio.rate), len(samples) // 2))
    # Also at an edge that was not cut: what is joined to it may be silence.
    samples[: len(ramp)] *= ramp
    samples[len(samples) - len(ramp) :] *= ramp[::-1]
    return Audio(samples, audio.rate)


def pause_after(clause: str) -> float:
    """How long to be silent after a clause, seconds.

    Args:
        clause: As it was spoken, with its punctuation; a line break at its end tells
            the end of a line, a blank line the end of a paragraph.
    """
    end = clause[len(clause.rstrip()) :]
    if end.count("\n") > 1:
        return PAUSES["paragraph"]
    if "\n" in end:
        return PAUSES["line"]
    mark = clause.rstrip().rstrip(_CLOSERS)[-1:]
    if re.match(r"[.!?…。！？؟।۔]", mark):
        return PAUSES["sentence"]
    if re.match(r"[:;—–：；؛]", mark):
        return PAUSES["clause"]
    return PAUSES["comma"] if re.match(r"[,，、،]", mark) else NO_PAUSE


def seam_jump(audio: Audio, at: int) -> float:
    """How hard a seam jumps, for tests.

    Args:
        audio: The joined signal.
        at: Index of the first sample after the seam, 1 <= at < n.

    Returns:
        The step between the two samples at the seam over the RMS level of the
        20 ms on either side (at least -80 dBFS). In speech this stays below 1
        nearly everywhere; a cut through a loud vowel gives 1 to 4.
    """
    reach = round(LOCAL_SECONDS * audio.rate)
    local = audio.samples[max(0, at - reach) : at + reach].astype(np.float64)
    level = max(LEAST_LEVEL, float(np.sqrt(np.mean(local**2))))
    return abs(float(audio.samples[at]) - float(audio.samples[at - 1])) / level


def frame_levels(samples: NDArray[np.float32], frame: int) -> NDArray[np.float64]:
    """RMS level of each frame, dBFS; the last one may be shorter."""
    starts = np.arange(0, len(samples), frame)
    if not len(starts):
        return np.zeros(0)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    sizes = np.minimum(frame, len(samples) - starts)
    levels: NDArray[np.float64] = 10 * np.log10(power / sizes + 1e-20)
    return levels


def ramp_up(size: int) -> NDArray[np.float32]:
    """A rising half cosine from 0 to 1: without a kink at either end."""
    return ((1 - np.cos(np.pi * np.arange(size) / max(1, size))) / 2).astype(np.float32)

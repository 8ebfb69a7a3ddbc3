"""Is a recording good enough to take a voice from, and which part of it is best?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from speech.bandwidth import bandwidth
from speech.level import SILENCE_DB, duration_text, level_db
from speech.pcm import Audio, concatenate
from speech.speaker import SpeakerEncoder, similarity
from speech.vad import FRAME_SECONDS, RATE, Region, speech_probabilities, speech_regions

#: What is looked at of a recording, seconds; the rest would only cost time.
LONGEST_INPUT = 600.0
#: Speech that engines need and that is worth having, seconds.
SHORTEST = 3.0
ENOUGH = 8.0
LONGEST = 15.0
#: A stretch of speech is weighed in pieces of at most this, seconds.
PIECE = 3.0
#: What a second of pause costs an excerpt, in seconds of speech.
PAUSE_COST = 0.5
#: Speech softer than the rest counts less: nothing of it at so many dB below.
SOFT_DB = 20.0
#: A piece with this share of clipped samples counts nothing.
WORST_CLIPPING = 0.01
#: Probability of speech below which a frame is room and noise.
NO_SPEECH = 0.15
#: Frames around speech that are not taken for room (0.1 s): its ends lie in them.
MARGIN = 3
#: The best signal-to-noise ratio worth a difference, dB.
CLEANEST_DB = 60.0
#: A sample is clipped where it and its neighbour are this near to the loudest.
FLAT_TOP = 0.999
#: The loudest sample of a clipped recording is at least this.
FULL_SCALE = 0.5

#: From where a quality is worth a word of advice.
SOFT_LEVEL_DB = -40.0
SILENT_LEVEL_DB = -65.0
NOISY_SNR_DB = 15.0
CLIPPED = 0.001
NARROW_HZ = 5000.0
#: Two groups of pieces of a clip are compared, each at least this share of it.
GROUP_SHARE = 0.2
#: Below this similarity of the groups it is two people, below the other it may be. Measured
#: on 12 voices: alone they reach .71 (.81 but for one that was joined from two recordings);
#: of their 66 pairs half lie below the first, nine tenths below the second. To refuse one
#: who speaks alone is worse than to let two through with a warning, so the first is low.
TWO_SPEAKERS = 0.66
PERHAPS_TWO = 0.78
#: Rounds of k-means; it settles after three or four.
KMEANS_ROUNDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Excerpt:
    """A part of a recording.

    Attributes:
        start: Where it begins, seconds.
        end: Where it ends, seconds.
        audio: What it holds, at the rate of the recording.
    """

    start: float
    end: float
    audio: Audio


@dataclass(frozen=True, slots=True)
class Quality:
    """What a recording is worth as a reference.

    Attributes:
        seconds: Of the recording.
        speech: Seconds of speech in it.
        level: Of the speech, dBFS.
        clipped: Share of the samples that are cut off at full scale.
        snr: How far the speech lies above the noise between it, dB.
        rate: Samples a second.
        bandwidth: Highest frequency that is there, Hz.
        alike: How alike the two most different halves of its pieces are (`similarity`);
            1 where there is too little speech to tell.
        problems: Why it cannot be used, in words; empty if it can.
        advice: What would make it better, in words.
    """

    seconds: float
    speech: float
    level: float
    clipped: float
    snr: float
    rate: int
    bandwidth: float
    alike: float
    problems: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether a voice can be taken from it."""
        return not self.problems

    @property
    def one_speaker(self) -> bool:
        """Whether it is likely that one person speaks."""
        return self.alike >= PERHAPS_TWO

    def require(self) -> None:
        """Raise `InputError` with the problems if there are any."""
        if self.problems:
            raise InputError(" ".join(self.problems))


def choose(audio: Audio, shortest: float = SHORTEST, longest: float = LONGEST) -> Excerpt:
    """The part of a recording that tells most about the voice: much speech, loud and clean.

    Args:
        audio: Any rate; the first ten minutes are looked at.
        shortest: Speech that there must be, seconds.
        longest: Length of the excerpt at most, seconds.

    Raises:
        InputError: If there is less speech than `shortest` within `longest` seconds.
    """
    audio = _bounded(audio)
    pieces = _pieces(speech_regions(audio))
    weights = _weights(audio, pieces)
    best: tuple[float, float, Region] | None = None
    for first, (start, _) in enumerate(pieces):
        speech = worth = 0.0
        for (begin, end), weight in zip(pieces[first:], weights[first:], strict=True):
            if end - start > longest:
                break
            speech += end - begin
            worth += weight * (end - begin)
            score = worth - PAUSE_COST * (end - start - speech)
            if best is None or score > best[0]:
                best = score, speech, (start, end)
    if best is None or best[1] < shortest:
        found = f"At most {duration_text(best[1])}" if best else "No speech"
        raise InputError(
            f"{found} was found in one place in this recording; a voice needs at least "
            f"{duration_text(shortest)} of speech. Record a few sentences and try again."
        )
    start, end = best[2]
    return Excerpt(start, end, _part(audio, (start, end)))


def assess(audio: Audio, encoder: SpeakerEncoder) -> Quality:
    """Judge a recording before it is used as a reference.

    Args:
        audio: Any rate; the first ten minutes are looked at.
        encoder: Tells one speaker from two.

    Returns:
        Also for what cannot be used: `problems` says why.
    """
    whole, audio = audio.seconds, _bounded(audio)
    regions = speech_regions(audio)
    speech = sum((end - start for start, end in regions), 0.0)
    spoken = _joined(audio, regions)
    found = Quality(
        seconds=whole,
        speech=speech,
        level=level_db(spoken.samples) if speech else level_db(audio.samples),
        clipped=clipped_share(spoken.samples),
        snr=_snr(audio),
        rate=audio.rate,
        bandwidth=bandwidth(spoken),
        alike=_alike(spoken, encoder),
        problems=(),
        advice=(),
    )
    return _judged(found)


def clipped_share(samples: NDArray[np.float32]) -> float:
    """Share of samples on a flat top at the loudest level of the signal, 0 to 1."""
    if len(samples) <= 1:
        return 0.0
    size = np.abs(samples)
    peak = float(size.max())
    if peak < FULL_SCALE:
        return 0.0
    top = size >= FLAT_TOP * peak
    flat = top[1:] & top[:-1] & (np.sign(samples[1:]) == np.sign(samples[:-1]))
    return float(flat.mean())


def _judged(found: Quality) -> Quality:
    problems = tuple(_problems(found))
    return replace(found, problems=problems, advice=() if problems else tuple(_advice(found)))


def _problems(found: Quality) -> Iterator[str]:
    if found.level < SILENT_LEVEL_DB:
        yield "This recording is silent. Check the microphone and record again."
    elif not found.speech:
        yield (
            "No speech was found in this recording. Music and noise cannot be a voice: "
            "record somebody who speaks."
        )
    elif found.speech < SHORTEST:
        yield (
            f"There are only {duration_text(found.speech)} of speech in this recording. A voice "
            f"needs at least {duration_text(SHORTEST)}; {LONGEST:.0f} s are better."
        )
    elif found.alike < TWO_SPEAKERS:
        yield (
            "More than one voice seems to speak in this recording. Cut out the part where "
            "only one person speaks."
        )


def _advice(found: Quality) -> Iterator[str]:
    if found.speech < ENOUGH:
        yield (
            f"{duration_text(found.speech)} of speech will do; with 10 to {LONGEST:.0f} s the "
            "voice comes out closer."
        )
    if found.alike < PERHAPS_TWO:
        yield "There may be a second voice in it. If so, cut it out."
    if found.level < SOFT_LEVEL_DB:
        yield f"It is soft (level {found.level:.0f} dB). Go nearer to the microphone."
    if found.clipped > CLIPPED:
        yield "It is clipped: record with less gain, or further from the microphone."
    if found.snr < NOISY_SNR_DB:
        yield (
            f"It is noisy: the speech is only {found.snr:.0f} dB above the noise. "
            "Record in a quieter room."
        )
    if found.bandwidth < NARROW_HZ:
        yield (
            f"It sounds like a telephone: there is nothing above {found.bandwidth / 1000:.1f} kHz. "
            "A recording of 16 kHz or more gives a closer voice."
        )
    if found.seconds > LONGEST_INPUT:
        yield f"Only its first {duration_text(LONGEST_INPUT)} were looked at."


def _bounded(audio: Audio) -> Audio:
    return Audio(audio.samples[: round(LONGEST_INPUT * audio.rate)], audio.rate)


def _pieces(regions: list[Region]) -> list[Region]:
    """Stretches of speech cut into pieces of at most `PIECE` seconds."""
    pieces = []
    for start, end in regions:
        edges = np.linspace(start, end, math.ceil((end - start) / PIECE) + 1)
        pieces += [(float(a), float(b)) for a, b in pairwise(edges)]
    return pieces


def _weights(audio: Audio, pieces: list[Region]) -> list[float]:
    """What a second of each piece is worth, 0 to 1: less where it is soft or clipped."""
    parts = [_part(audio, piece).samples for piece in pieces]
    levels = [level_db(part) for part in parts]
    usual = float(np.median(levels)) if levels else SILENCE_DB
    return [
        max(0.0, 1 - max(0.0, usual - level) / SOFT_DB)
        * max(0.0, 1 - clipped_share(part) / WORST_CLIPPING)
        for part, level in zip(parts, levels, strict=True)
    ]


def _part(audio: Audio, region: Region) -> Audio:
    start, end = (round(second * audio.rate) for second in region)
    return Audio(audio.samples[start:end], audio.rate)


def _joined(audio: Audio, regions: list[Region]) -> Audio:
    parts = [_part(audio, region) for region in regions]
    return concatenate(parts) if parts else Audio(audio.samples[:0], audio.rate)


def _snr(audio: Audio) -> float:
    """Speech over the noise between it, dB, at most `CLEANEST_DB`; 0 where there is no speech."""
    audio = audio.resampled(RATE)
    probability = speech_probabilities(audio)
    frame = round(FRAME_SECONDS * RATE)
    whole = len(audio) // frame
    if not whole:
        return 0.0
    power = np.square(audio.samples[: whole * frame].reshape(-1, frame)).mean(axis=1)
    probability = probability[:whole]
    speech = power[probability > 1 - NO_SPEECH]
    near = np.convolve(probability > NO_SPEECH, np.ones(2 * MARGIN + 1), "same") > 0
    # A recording cut to its speech has no pauses: its softest moments are an upper bound.
    noise = power[~near] if (~near).any() else np.sort(power)[: max(1, whole // 20)]
    if not len(speech):
        return 0.0
    ratio = (speech.mean() - noise.mean()) / max(noise.mean(), 1e-12)
    return float(np.clip(10 * math.log10(max(ratio, 1e-6)), 0, CLEANEST_DB))


def _alike(spoken: Audio, encoder: SpeakerEncoder) -> float:
    """The pieces in two groups as different as can be: how alike the groups are.

    By k-means with k = 2, from the two pieces that differ most.
    """
    try:
        pieces = encoder.windows(spoken).embeddings
    except InputError:  # Too little speech to tell.
        return 1.0
    between = pieces @ pieces.T
    first, second = np.unravel_index(int(between.argmin()), between.shape)
    centres = pieces[[first, second]]
    group = np.zeros(len(pieces), int)
    for _ in range(KMEANS_ROUNDS):
        group = (pieces @ centres.T).argmax(axis=1)
        if min(np.bincount(group, minlength=2)) < GROUP_SHARE * len(pieces):
            return 1.0
        sums = np.stack([pieces[group == side].sum(axis=0) for side in (0, 1)])
        centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return similarity(centres[0], centres[1])

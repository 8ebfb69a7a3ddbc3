"""Long recordings cut at pauses, for recognizers that hear a limited window."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from speech.level import duration_text, level_db, level_text
from speech.pcm import Audio
from speech.vad import Region, iter_regions

#: Kept around the speech of a segment where there is room, seconds. With less, Moonshine hears
#: quotation marks and Chinese: 5.7 % of the words of 120 questions are wrong at 0.1, 2.7 at 0.2.
PAD = 0.2
#: Pauses from this length may be cut at, seconds; a closed "t" or "k" is shorter.
SHORTEST_PAUSE = 0.1
#: A longer pause always ends a segment, seconds: Whisper makes up words in silence.
LONGEST_PAUSE = 2.0
#: Where the quietest moment of speech without a pause is sought: steps of 10 ms,
#: averaged over 50 ms so that the valley between two periods of a low voice is no moment.
STEP_SECONDS = 0.01
SMOOTH_STEPS = 5
#: Below this level (dBFS) a clip is more likely too far away than without speech.
QUIET_DB = -40.0
#: Smaller windows would cut nearly every word.
SMALLEST_WINDOW = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording with speech in it.

    Attributes:
        audio: The samples as they are in the recording (a view, not a copy).
        start: Where it begins in the recording, seconds; exact to the sample.
    """

    audio: Audio
    start: float


def split(audio: Audio, max_seconds: float = 28.0) -> Iterator[Segment]:
    """Cut a recording into segments of speech that fit a recognizer's window.

    Segments are packed as full as they go; a full one ends at the longest pause
    in its second half. Speech without a pause is cut at its quietest moment.
    Silence between segments is left out.

    Args:
        audio: Any rate and length.
        max_seconds: Longest segment.

    Yields:
        Segments in order, without overlap, each as soon as its end is known;
        none if there is no speech.

    Raises:
        ValueError: If `max_seconds` is below `SMALLEST_WINDOW`.
    """
    if max_seconds < SMALLEST_WINDOW:
        raise ValueError(f"A window of {max_seconds} s is too small to cut speech for")
    room = max_seconds - 2 * PAD
    regions = iter_regions(audio, min_silence=SHORTEST_PAUSE, pad=0.0)
    edge = 0.0
    for parts, following in _packed(_bounded(audio, regions, room), room):
        start, end = parts[0][0], parts[-1][1]
        limit = audio.seconds if following is None else (end + following) / 2
        first = round(max(edge, start - PAD) * audio.rate)
        edge = min(limit, end + PAD)
        last = round(edge * audio.rate)
        yield Segment(Audio(audio.samples[first:last], audio.rate), first / audio.rate)


def no_speech_message(audio: Audio) -> str:
    """What to tell a person whose clip holds no speech, with what can be done about it."""
    level = level_db(audio.samples)
    if level_text(level) == "silent":
        advice = "Check that the microphone is on."
    elif level < QUIET_DB:
        advice = "Try closer to the microphone."
    else:
        advice = "It may hold only noise or music."
    heard = f"{duration_text(audio.seconds)}, {level_text(level)}"
    return f"I could not hear speech in this clip ({heard}). {advice}"


def _bounded(audio: Audio, regions: Iterable[Region], longest: float) -> Iterator[Region]:
    """The regions, those that are too long cut at their quietest moments."""
    for start, end in regions:
        rest = start
        while end - rest > longest:
            cut = _quietest(audio, rest + longest / 2, rest + longest)
            yield rest, cut
            rest = cut
        yield rest, end


def _packed(
    regions: Iterable[Region], longest: float
) -> Iterator[tuple[list[Region], float | None]]:
    """Neighbouring regions in groups of up to `longest` seconds.

    Yields:
        A group and the start of the region after it, None after the last.
    """
    group: list[Region] = []
    for region in regions:
        if group and region[0] - group[-1][1] > LONGEST_PAUSE:
            yield group, region[0]
            group = []
        group.append(region)
        while group[-1][1] - group[0][0] > longest:
            cut = _longest_pause(group, longest / 2)
            yield group[:cut], group[cut][0]
            group = group[cut:]
    if group:
        yield group, None


def _longest_pause(group: list[Region], earliest: float) -> int:
    """Index of the region after the best pause to cut at, for a group that is one too long."""
    last = len(group) - 1
    late = [i for i in range(1, last) if group[i - 1][1] - group[0][0] >= earliest]
    return max([*late, last], key=lambda i: group[i][0] - group[i - 1][1])


def _quietest(audio: Audio, start: float, end: float) -> float:
    """The quietest moment between two times, seconds."""
    step = max(1, round(STEP_SECONDS * audio.rate))
    first = round(start * audio.rate)
    samples = audio.samples[first : round(end * audio.rate)]
    steps = samples[: len(samples) // step * step].reshape(-1, step)
    power = np.mean(np.square(steps, dtype=np.float64), axis=1)
    smooth = np.convolve(power, np.full(SMOOTH_STEPS, 1 / SMOOTH_STEPS), mode="valid")
    at = int(np.argmin(smooth)) + SMOOTH_STEPS / 2
    return (first + at * step) / audio.rate

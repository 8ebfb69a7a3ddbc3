"""When speech starts, pauses and is over: a state machine over 16 kHz samples.

No threads, no clock, no I/O: time is counted in samples received, so the same
signal takes the same turns every time, in pieces of whatever size it comes.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import islice
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from live.turn_events import (
    Barged,
    Paused,
    Reason,
    Resumed,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
)
from speech.light_vad import LightDetector
from speech.pcm import Audio
from speech.vad import FRAME, FRAME_SECONDS, HYSTERESIS, RATE, SpeechDetector

Kind = Literal["semantic_vad", "server_vad"]
Vad = Literal["silero", "webrtc"]

#: Speech after a pause counts from this length on, samples: a click in a pause
#: neither drops the answer begun in it nor makes it longer.
RESUME = 2 * FRAME
#: So much less sure than `threshold` plus this, and speech may be fading: the VAD lets go
#: 25 ms sooner than at the end of its hysteresis, and about once a sentence for nothing.
FADING = HYSTERESIS
#: Speech that is no turn yet may have gaps shorter than this, samples.
GAP = 3 * FRAME
#: What `TurnSettings.longest` may be at most, seconds: the utterance is kept in memory.
LONGEST = 600.0


class Detector(Protocol):
    """See `SpeechDetector`."""

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `SpeechDetector.probabilities`."""
        ...


DETECTORS: dict[Vad, Callable[[], Detector]] = {"silero": SpeechDetector, "webrtc": LightDetector}


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What makes a turn. Durations in seconds, met to the nearest frame (32 ms).

    Attributes:
        kind: "semantic_vad" asks Smart Turn at every pause, "server_vad" counts
            silence only; None: the client commits by itself.
        vad: "silero", or "webrtc", which costs next to nothing and takes noise for speech.
        threshold: Probability from which a frame is speech.
        prefix_padding: What an utterance has of the time before its first speech frame.
        min_speech: A turn starts with that much speech; "no" has 300 ms of it, a cough less.
        pause: Fading and silence after which the turn may be over: the judge is asked, the
            answer begun.
        complete: Probability from which Smart Turn's answer means complete. Of 30 hesitations
            3.2 are cut at 0.5, 2.8 at 0.7, 2.0 at 0.8 and 1.2 at 0.9; of 50 complete sentences
            0.5, 1, 3 and 5.5 then wait for `hold`.
        endpoint: Silence that ends a turn judged complete.
        hold: Silence that ends a turn judged incomplete: Smart Turn is wrong about some
            complete questions, so nobody waits longer than that.
        silence_duration: Silence that ends a turn nobody has judged.
        interrupt_after: A reply is interrupted by that much speech over it.
        echo_grace: At the start of a reply, before the client has learnt to cancel its
            echo, speech does not count towards `interrupt_after`.
        longest: A longer utterance is ended.
    """

    kind: Kind | None = "semantic_vad"
    vad: Vad = "silero"
    threshold: float = 0.5
    prefix_padding: float = 0.3
    min_speech: float = 0.13
    pause: float = 0.032
    complete: float = 0.8
    endpoint: float = 0.2
    hold: float = 0.8
    silence_duration: float = 0.5
    interrupt_after: float = 0.25
    echo_grace: float = 0.3
    longest: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.longest <= LONGEST:
            raise InputError(f"longest must be more than 0 and at most {LONGEST:g} s.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in {"threshold", "complete"} and not 0 <= value <= 1:
                raise InputError(f"{field.name} must lie between 0 and 1.")
            if field.name not in {"kind", "vad"} and not 0 <= value <= self.longest:
                raise InputError(f"{field.name} must lie between 0 and {self.longest:g} s.")


@dataclass(slots=True)
class _Burst:
    """Speech in progress, in samples: its utterance's start, its first and its last speech.

    `rise` is the onset too, or a frame before, where the VAD was half sure: over a reply
    that is 32 ms sooner to be heard.
    """

    start: int
    rise: int
    onset: int
    end: int


class TurnDetector:
    """The turns of one signal.

    Args:
        settings: What makes a turn.
        vad: Has heard nothing yet; None makes the one that the settings name.
    """

    def __init__(
        self, settings: TurnSettings = TurnSettings(), vad: Detector | None = None
    ) -> None:
        self._settings = settings
        self._vad = vad or DETECTORS[settings.vad]()
        self._tape = _Tape()
        # Whole frames only; `_rest` is the beginning of the next one.
        self._at = 0
        self._rest = np.zeros(0, np.float32)
        # No utterance reaches back beyond here: the end of the one before.
        self._floor = 0
        self._voiced = False
        self._voiced_end = 0
        self._clear_end = 0
        self._rises = False
        self._burst: _Burst | None = None
        # Whether the burst is a turn already, then what is known of the pause it is in.
        self._turn = False
        self._paused: Paused | None = None
        self._probability: float | None = None
        self._again = 0
        self._reply: int | None = None
        self._deaf = False

    @property
    def received(self) -> int:
        """Samples received."""
        return self._at + len(self._rest)

    def utterance(self) -> Audio | None:
        """What was said so far of a turn that is not over: 16 kHz; None in a pause and outside."""
        if not self._turn or self._burst is None or self._paused is not None:
            return None
        return self._tape.cut(self._burst.start, self._at)

    @property
    def settings(self) -> TurnSettings:
        """What makes a turn.

        May be replaced between two calls: speech in progress goes on under the new
        ones. Only where the kind changes it is forgotten.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: TurnSettings) -> None:
        if settings.kind != self._settings.kind:
            self.clear()
        if settings.vad != self._settings.vad:
            self._vad = DETECTORS[settings.vad]()
        self._settings = settings

    def push(self, samples: NDArray[np.float32]) -> list[TurnEvent]:
        """Take what comes next.

        Answers of the judge count from the next call on, so more than a pause at
        once leaves it no chance.

        Args:
            samples: float32 `[n]` at 16 kHz, any n.
        """
        if self._deaf:
            samples = np.zeros_like(samples)
        given = np.concatenate([self._rest, samples])
        whole = len(given) // FRAME * FRAME
        # A copy, as the caller may use its buffer again.
        self._rest = given[whole:].copy()
        events: list[TurnEvent] = []
        # One by one: the numbers the model gives for many frames at once differ slightly.
        for frame in given[:whole].reshape(-1, FRAME):
            events += self._hear(frame)
        return events

    def judge(self, paused: Paused, probability: float) -> list[TurnEvent]:
        """Say how likely the turn was over at a pause; an answer that comes too late is ignored.

        Args:
            paused: The pause that was judged.
            probability: Smart Turn's answer, or a better one.

        Returns:
            The end of the turn, where it has waited for this answer.
        """
        if paused is not self._paused:
            return []
        self._probability = probability
        return [] if self._again else self._patience()

    def speaking(self, on: bool) -> None:
        """Whether a reply is being played, so that speech must go on to count.

        Said again while it plays, this changes nothing: the grace of its beginning is over.
        """
        if not on:
            self._reply = None
        elif self._reply is None:
            self._reply = self.received

    def hold_off(self, on: bool) -> None:
        """Take what comes for silence (half duplex: the microphone hears the reply)."""
        self._deaf = on

    def commit(self) -> list[TurnEvent]:
        """End the utterance here; nothing where there is none.

        Without turn detection the utterance is all that came since the last
        `commit` or `clear`, at most `longest`.
        """
        at = self.received
        if self.settings.kind is None:
            start = max(self._floor, at - _samples(self.settings.longest))
            if start == at:
                return []
            end = self._voiced_end if self._voiced_end > start else at
        elif self._burst is None:
            return []
        else:
            start, end = self._burst.start, self._burst.end
        utterance = self._tape.cut(start, at, self._rest)
        self.clear()
        return [TurnEnded(at, end, utterance, "commit")]

    def clear(self) -> None:
        """Forget the utterance in progress."""
        self._rewind(self.received)

    def _hear(self, frame: NDArray[np.float32]) -> list[TurnEvent]:
        settings = self.settings
        self._tape.append(frame)
        self._at += FRAME
        threshold = settings.threshold - (HYSTERESIS if self._voiced else 0)
        probability = float(self._vad.probabilities(frame)[0])
        self._voiced = probability >= threshold
        if self._voiced:
            self._voiced_end = self._at
        if probability >= settings.threshold + FADING:
            self._clear_end = self._at
        if settings.kind is None:
            self._tape.forget(max(self._floor, self._at - _samples(settings.longest)))
            return []
        if self._burst is None and self._voiced:
            onset = self._at - FRAME
            # The tape begins later than that where the padding has just been made longer.
            start = max(self._floor, onset - _samples(settings.prefix_padding), self._tape.start)
            self._burst = _Burst(start, onset - FRAME if self._rises else onset, onset, self._at)
        self._rises = probability >= settings.threshold - HYSTERESIS
        if self._burst is None:
            self._tape.forget(max(self._floor, self._at - _samples(settings.prefix_padding)))
            return []
        return self._in_turn(self._burst) if self._turn else self._before_turn(self._burst)

    def _before_turn(self, burst: _Burst) -> list[TurnEvent]:
        """Speech that may be too short to be a turn."""
        settings = self.settings
        if not self._voiced:
            if self._at - burst.end >= GAP:
                self._burst = None
            return []
        burst.end = self._at
        if self._reply is None:
            self._turn = burst.end - burst.onset >= _samples(settings.min_speech)
            return [SpeechStarted(self._at, burst.start)] if self._turn else []
        counts_from = max(burst.rise, self._reply + _samples(settings.echo_grace))
        self._turn = burst.end - counts_from >= _samples(settings.interrupt_after)
        return [Barged(self._at, burst.start)] if self._turn else []

    def _in_turn(self, burst: _Burst) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        if self._paused is not None and self._voiced:
            self._again += FRAME
            # It had only faded, and is clear again.
            swells = burst.end == self._at - FRAME and self._clear_end == self._at
            if swells or self._again >= RESUME:
                self._paused, self._probability, self._again = None, None, 0
                events.append(Resumed(self._at))
        elif not self._voiced:
            self._again = 0
        if self._voiced and self._paused is None:
            burst.end = self._at
        if self._paused is None and self._pauses(burst):
            self._paused = Paused(self._at, burst.end, self._tape.cut(burst.start, self._at))
            events.append(self._paused)
        if not self._voiced:
            events += self._patience()
        if self._turn and self._at - burst.start >= _samples(self.settings.longest):
            events.append(self._end("longest"))
        return events

    def _pauses(self, burst: _Burst) -> bool:
        """Whether it is time to think that the turn may be over."""
        pause = max(FRAME, _samples(self.settings.pause))
        # Fading counts once, or weak speech would be one pause after the other.
        faded = burst.onset < self._clear_end == self._at - pause
        return faded or self._at - burst.end >= pause

    def _patience(self) -> list[TurnEvent]:
        """The end of the turn, where the silence has lasted long enough."""
        settings = self.settings
        limit: float = settings.silence_duration
        reason: Reason = "silence"
        if settings.kind == "semantic_vad" and self._probability is not None:
            complete = self._probability >= settings.complete
            limit, reason = (settings.endpoint, "complete") if complete else (settings.hold, "hold")
        assert self._burst is not None
        if self._at - self._burst.end < _samples(limit):
            return []
        return [self._end(reason)]

    def _end(self, reason: Reason) -> TurnEnded:
        assert self._burst is not None
        start, end = self._burst.start, self._burst.end
        utterance = self._paused.utterance if self._paused else self._tape.cut(start, self._at)
        self._rewind(self._at)
        return TurnEnded(self._at, end, utterance, reason)

    def _rewind(self, floor: int) -> None:
        self._floor = floor
        self._tape.forget(floor)
        self._burst, self._turn = None, False
        self._paused, self._probability, self._again = None, None, 0


def _samples(seconds: float) -> int:
    """The nearest number of whole frames, in samples."""
    return round(seconds / FRAME_SECONDS) * FRAME


class _Tape:
    """The frames that may still be needed."""

    def __init__(self) -> None:
        self._frames: deque[NDArray[np.float32]] = deque()
        self.start = 0

    def append(self, frame: NDArray[np.float32]) -> None:
        self._frames.append(frame)

    def forget(self, before: int) -> None:
        while self._frames and self.start + FRAME <= before:
            self._frames.popleft()
            self.start += FRAME

    def cut(self, start: int, end: int, rest: NDArray[np.float32] | None = None) -> Audio:
        """From `start` to `end`; `rest` is what follows the last frame."""
        first = (start - self.start) // FRAME
        parts = [*islice(self._frames, first, None), *([] if rest is None else [rest])]
        offset = self.start + first * FRAME
        return Audio(np.concatenate(parts)[start - offset : end - offset], RATE)

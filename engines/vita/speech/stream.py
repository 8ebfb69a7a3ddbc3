"""One reply on its way from text to speech."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from engines.base import Cancel
from engines.vita.speech.chunks import Chunks
from engines.vita.speech.codec import Codec
from engines.vita.speech.config import RATE
from engines.vita.speech.cutting import Pacing, Pieces, Samples
from engines.vita.speech.decoder import TokenDecoder
from engines.vita.speech.drawing import MOST_CODES, RULE, Rule, write_codes
from engines.vita.speech.units import Unit, Units
from speech.pcm import Audio
from speech.seams import FADE_SECONDS, ramp_up

#: Somebody waits: half a second goes out as soon as it is there.
FIRST = Pacing(chunk=20, threshold=0.1, patience=0)
#: Later units have the time that is heard meanwhile; yet nobody holds a whole sentence back.
LATER = Pacing(chunk=40, threshold=0.015, patience=1)

#: Below it, the beginning of a reply is silence that nobody has to wait through.
_ONSET = 0.03
#: What stays of that silence, seconds: soft consonants begin in it.
_LEAD = 0.01

_SEEDS = 2**63


@dataclass(frozen=True, slots=True)
class Options:
    """How a reply is spoken.

    Attributes:
        rule: How codes are chosen.
        first: Of the first unit.
        later: Of all others.
        most: Codes of one unit at most.
    """

    rule: Rule = RULE
    first: Pacing = FIRST
    later: Pacing = LATER
    most: int = MOST_CODES


@dataclass(frozen=True, slots=True)
class Weights:
    """What all replies share.

    Attributes:
        decoder: Writes codes.
        codec: Makes sound of them.
        rows: Text to rows of the decoder, `[n, width]`.
    """

    decoder: TokenDecoder
    codec: Codec
    rows: Callable[[str], Tensor]


class SpeechStream:
    """Speaks one reply while it is written; all there is of it, so dropping it frees that.

    Args:
        weights: Shared.
        seed: Of its random numbers; None takes a fresh one.
        cancel: Stops it within a step.
        options: How it speaks.

    Attributes:
        notices: What the listener should be told, in order.
        codes: Codes that became sound.
        trimmed: Samples of silence before the reply that were left out; all others came.
    """

    def __init__(
        self, weights: Weights, seed: int | None, cancel: Cancel, options: Options = Options()
    ) -> None:
        self._weights = weights
        self._cancel = cancel
        self._options = options
        # On the host, so the numbers are the same whatever the device.
        self._random = np.random.default_rng(None if seed is None else seed % _SEEDS)
        self._units = Units()
        self._begun = False
        self._unheard = ""
        self.notices: list[str] = []
        self.codes = 0
        self.trimmed = 0

    def push(self, text: str) -> Iterator[tuple[Audio, str]]:
        """Take the next piece of the text; speak the units that it completes.

        Args:
            text: Any piece, as the language model writes it.

        Yields:
            The next piece of speech, 24 kHz; pieces join without a gap. With the first of a
            unit come the words that it says, as they were written; with the others "".

        Raises:
            CancelledError: Within one step of the request's `cancel`.
        """
        yield from filter(None, self.steps(text))

    def finish(self) -> Iterator[tuple[Audio, str]]:
        """Speak what is left, whether it ends in a mark or not; as `push`."""
        yield from filter(None, self.last_steps())

    def steps(self, text: str) -> Iterator[tuple[Audio, str] | None]:
        """As `push`, but gives None after each step that made no sound: another may have a turn."""
        self._cancel.check()
        for unit in self._units.push(text):
            yield from self._speak(unit)

    def last_steps(self) -> Iterator[tuple[Audio, str] | None]:
        """As `finish`, step by step."""
        self._cancel.check()
        for unit in self._units.finish():
            yield from self._speak(unit)

    def _speak(self, unit: Unit) -> Iterator[tuple[Audio, str] | None]:
        self._unheard = " ".join(filter(None, (self._unheard, unit.words)))
        decoder, codec = self._weights.decoder, self._weights.codec
        pacing = self._options.later if self._begun else self._options.first
        config = decoder.config
        codes = write_codes(
            decoder,
            self._weights.rows(unit.spoken),
            self._random.random,
            rule=self._options.rule,
            most=self._options.most,
            # They are no sounds; the reference draws them all the same, and its codec fails.
            blocked=(config.begin, config.start, config.pad),
        )
        chunks, pieces, edge = Chunks(codec, pacing.chunk), Pieces(pacing), _Edge()
        while True:
            self._cancel.check()
            try:
                code = next(codes)
            except StopIteration as over:
                complete = over.value
                break
            yield self._out(pieces.push(edge.begin(self._onset(chunks.push(code)))))
        rest = pieces.finish(edge.begin(self._onset(chunks.finish())))
        yield self._out(edge.end(rest))
        self.codes += chunks.codes
        self._report(unit, chunks.codes, complete=complete)

    def _out(self, samples: Samples) -> tuple[Audio, str] | None:
        if not len(samples):
            return None
        words, self._unheard = self._unheard, ""
        return Audio(samples, RATE), words

    def _onset(self, samples: Samples) -> Samples:
        """The samples without the silence that the reply begins with."""
        if self._begun:
            return samples
        (loud,) = np.nonzero(np.abs(samples) > _ONSET)
        at = max(0, int(loud[0]) - round(_LEAD * RATE)) if len(loud) else len(samples)
        self._begun = bool(len(loud))
        self.trimmed += at
        return samples[at:]

    def _report(self, unit: Unit, codes: int, *, complete: bool) -> None:
        if not codes:
            self.notices.append(f"Not spoken, as the voice made no sound of it: “{unit.words}”")
        elif not complete:
            seconds = codes * self._weights.codec.config.samples / RATE
            self.notices.append(
                f"The voice did not come to an end of this, and was stopped after "
                f"{seconds:.0f} seconds: “{unit.words}”"
            )


class _Edge:
    """Lets a unit begin and end at zero: units are made apart, and their levels do not meet."""

    def __init__(self) -> None:
        self._ramp = ramp_up(round(FADE_SECONDS * RATE))
        self._begun = False

    def begin(self, samples: Samples) -> Samples:
        """The next samples of the unit; the first of all rise."""
        if self._begun or not len(samples):
            return samples
        self._begun = True
        size = min(len(self._ramp), len(samples))
        return np.concatenate([samples[:size] * self._ramp[:size], samples[size:]])

    def end(self, samples: Samples) -> Samples:
        """The last samples of the unit, falling."""
        size = min(len(self._ramp), len(samples))
        if not size:
            return samples
        split = len(samples) - size
        return np.concatenate([samples[:split], samples[split:] * self._ramp[::-1][-size:]])

"""Higgs Audio as the synthesizer of a cascade: replies that come in pieces, in one voice."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.base import Cancel, Reference
from engines.higgs.codec import Codec
from engines.higgs.delay import Undelay
from engines.higgs.generation import Columns, Memory, Repeats, generate
from engines.higgs.model import LanguageModel
from engines.higgs.prompt import Prompt, Utterance, clean
from engines.higgs.voices import VOICES, Cast, Line, cast, lines
from engines.native.sampling import Drawing, generator
from engines.native.steps import Steps
from errors import EngineError, InputError
from speech.pcm import Audio

logger = logging.getLogger(__name__)

#: As the authors' engine draws by default (boson_multimodal/serve/serve_engine.py).
DRAWING = Drawing(temperature=0.7, top_k=50, top_p=0.95)
#: Requests whose generation is held at once; each takes 0.1 MB of memory a column.
CAPACITY = 8
#: The longest text that is generated in one go, characters: about 40 s of speech.
LONGEST = 600
#: How long an utterance may get, in frames: a text that is spoken slowly needs half of it. A
#: byte is a letter of most alphabets, and a third of a syllable that is written with one sign.
_FRAMES, _FRAMES_PER_BYTE = 75, 6
#: How often a text is tried of which no sound comes: rarely, the model ends at once.
_TAKES = 2
#: What was said before is read again before each sentence, so that the voice stays: the first
#: utterance of each speaker and the last ones, not more than so many seconds of these.
_RECENT, _RECENT_SECONDS = 2, 20.0


class Higgs:
    """A `StreamingSynthesizer` that clones. Shared by all requests.

    Args:
        model: Generates columns.
        codec: Makes speech of them.
        drawing: How codes are drawn.
        repeats: When they are drawn again.
    """

    voices = VOICES

    def __init__(
        self,
        model: LanguageModel,
        codec: Codec,
        *,
        drawing: Drawing = DRAWING,
        repeats: Repeats = Repeats(),
    ) -> None:
        self.rate = codec.rate
        self.model = model
        self.codec = codec
        self.drawing = drawing
        self.repeats = repeats
        self.steps = Steps("higgs", CAPACITY)

    @contextmanager
    def begin(
        self,
        voice: str | Reference,
        *,
        style: str,
        random: np.random.Generator,
        cancel: Cancel,
    ) -> Iterator["Reply"]:
        """Begin to speak a reply; see `StreamingSynthesizer`."""

        def encode(audio: Audio) -> NDArray[np.int64]:
            return self.steps.call(lambda: self.codec.encode(audio), cancel=cancel)

        cancel.check()
        reply = Reply(self, cast(voice, style, encode, self.codec), random, cancel)
        try:
            yield reply
        finally:
            reply.close()

    def close(self) -> None:
        """Stop every reply, before the weights go."""
        self.steps.close()


@dataclass(slots=True)
class _Take:
    """What came of generating a text once: its frames, and whether it came to an end."""

    frames: list[NDArray[np.int64]] = field(default_factory=list)
    ended: bool = False


class Reply:
    """One reply: what was said is kept for the next sentence, with the model's memory of it."""

    def __init__(
        self, higgs: Higgs, voices: Cast, random: np.random.Generator, cancel: Cancel
    ) -> None:
        self._higgs = higgs
        self._cast = voices
        seed = int(random.integers(2**62))
        self._random = generator(seed, higgs.model.device)
        self._cancel = cancel
        self._memory = Memory()
        self._said: list[tuple[int | None, Utterance]] = []
        self._speaker: int | None = None
        self._others = 0

    def speak(self, clause: str) -> Iterator[Audio]:
        """Speak one clause; see `SpokenReply`.

        Raises:
            InputError: If it is too long, or names a speaker there is not.
            EngineError: If the model made nothing of it, or did not come to an end.
            CancelledError: Within a step of the model.
        """
        text = clean(clause)
        if len(text) > LONGEST:
            raise InputError(
                f"A sentence of {len(text)} characters is too long to be spoken at one go; "
                f"Higgs Audio takes {LONGEST}. Divide it."
            )
        for line in list(lines(text, self._speaker)):
            self._speaker = line.speaker
            self._others = max(self._others, line.speaker or 0)
            yield from self._line(line)

    def close(self) -> None:
        """Free what the model remembers."""
        self._memory = Memory()
        self._said.clear()

    def _line(self, line: Line) -> Iterator[Audio]:
        scene = self._cast.scene(self._others, dialogue=line.speaker is not None)
        text = f"[SPEAKER{line.speaker or 0}] {line.text}" if scene.dialogue else line.text
        most = _FRAMES + _FRAMES_PER_BYTE * len(line.text.encode())
        prompt = self._higgs.model.prompter.prompt(scene, self._context(), text)
        for _ in range(_TAKES):
            take = _Take()
            steps = self._steps(prompt, most, take)
            for samples in self._higgs.steps.run(steps, cancel=self._cancel):
                if samples is not None:
                    yield Audio(samples, self._higgs.rate)
            if take.frames:
                break
        else:
            raise EngineError("Higgs Audio made no sound of it. Try again, or word it differently.")
        if not take.ended:
            seconds = len(take.frames) * self._higgs.codec.hop / self._higgs.rate
            logger.warning("no end after %.1f s of speech for %d characters", seconds, len(text))
            raise EngineError(
                f"Higgs Audio did not come to an end and was stopped after {seconds:.0f} s. "
                "Try again, or word it differently."
            )
        self._said.append((line.speaker, Utterance(text, np.stack(take.frames))))

    def _steps(
        self, prompt: Prompt, most: int, take: "_Take"
    ) -> Iterator[NDArray[np.float32] | None]:
        """The steps of one take; each gives a block of speech, or nothing yet."""
        model = self._higgs.model
        columns = Columns(
            model.codebooks,
            self._higgs.drawing,
            self._higgs.repeats,
            prompt.columns,
            self._random,
        )
        undelay, stream = Undelay(model.codebooks), self._higgs.codec.stream()
        drawn = 0
        for column in generate(
            model.network, prompt, self._memory, columns, model.codebooks.end, most
        ):
            yield None
            if column is None:
                continue
            drawn += 1
            if (frame := undelay.push(column)) is not None:
                take.frames.append(frame)
                if (samples := stream.push(frame)) is not None:
                    yield samples
        take.ended = drawn < most
        yield from stream.finish()

    def _context(self) -> list[Utterance]:
        """What is read again: each speaker's first utterance, and the last ones."""
        chosen: set[int] = set()
        if self._cast.frames is None or self._others:
            speakers = [speaker for speaker, _ in self._said]
            chosen = {speakers.index(speaker) for speaker in set(speakers)}
        room = math.floor(_RECENT_SECONDS * self._higgs.rate / self._higgs.codec.hop)
        for index in range(len(self._said) - 1, max(-1, len(self._said) - 1 - _RECENT), -1):
            room -= len(self._said[index][1].frames)
            if room < 0:
                break
            chosen.add(index)
        return [self._said[index][1] for index in sorted(chosen)]

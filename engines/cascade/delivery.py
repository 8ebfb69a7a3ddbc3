"""How one reply is spoken: clauses go in, seamless speech comes out."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from engines.cascade.parts import SpokenReply, Synthesizer
from engines.messages import AudioChunk, Notice
from errors import EngineError, UnavailableError
from speech.joining import LEAD, Joiner
from speech.pcm import Audio, concatenate, silence
from speech.seams import pause_after, trim

Spoken = AudioChunk | Notice


class Delivery(Protocol):
    """Speaks the clauses of one reply as one seamless piece.

    Attributes:
        seconds: How much was spoken so far.
    """

    seconds: float

    def speak(self, clauses: Iterable[str]) -> Iterator[Spoken]:
        """Speak the clauses as they come.

        A clause that fails is reported by a `Notice` and the next one is tried; two in a
        row, or nothing but failures, end the reply.
        """
        ...


class WholeClauses:
    """A `Delivery` by a synthesizer that makes each clause in one go."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        voice: str,
        random: np.random.Generator,
        move: Callable[[Audio], Audio] = lambda audio: audio,
    ) -> None:
        self._synthesizer = synthesizer
        self._voice = voice
        self._move = move
        self._random = random
        self._pause = 0.0
        self.seconds = 0.0

    def speak(self, clauses: Iterable[str]) -> Iterator[Spoken]:
        """One chunk a clause, each but the last ending in the pause its punctuation asks for."""
        yield from _reporting(clauses, self._clause)

    def _clause(self, clause: str) -> Iterator[AudioChunk]:
        # Nobody hears the silence before a reply; they wait for its end.
        lead = None if self.seconds else LEAD
        made = self._synthesizer.synthesize(clause, self._voice, self._random)
        spoken = trim(made, lead=lead)
        if not len(spoken):
            return
        audio = concatenate([silence(self._pause, spoken.rate), self._move(spoken)])
        self._pause = pause_after(clause)
        self.seconds += audio.seconds
        yield AudioChunk(audio, clause)


class Pieces:
    """A `Delivery` by a synthesizer whose clauses come in pieces."""

    def __init__(self, reply: SpokenReply, rate: int) -> None:
        self._reply = reply
        self._joiner = Joiner(rate)
        self.seconds = 0.0

    def speak(self, clauses: Iterable[str]) -> Iterator[Spoken]:
        """Each piece as it comes, joined to the one before."""
        yield from _reporting(clauses, self._clause)
        yield from self._chunk(self._joiner.finish(), "")

    def _clause(self, clause: str) -> Iterator[AudioChunk]:
        text = clause
        pieces = self._reply.speak(clause)
        try:
            for piece in pieces:
                for chunk in self._chunk(self._joiner.push(piece), text):
                    text = ""
                    yield chunk
        except (EngineError, UnavailableError):
            # What was heard of it ends without a click.
            yield from self._chunk(self._joiner.end(pause_after(clause)), text)
            raise
        yield from self._chunk(self._joiner.end(pause_after(clause)), text)

    def _chunk(self, audio: Audio, text: str) -> Iterator[AudioChunk]:
        if len(audio):
            self.seconds += audio.seconds
            yield AudioChunk(audio, text)


def _reporting(
    clauses: Iterable[str], speak: Callable[[str], Iterator[AudioChunk]]
) -> Iterator[Spoken]:
    """Speak clause after clause; see `Delivery.speak`."""
    failed: EngineError | UnavailableError | None = None
    spoken = False
    for clause in clauses:
        try:
            for chunk in speak(clause):
                spoken = True
                yield chunk
        except (EngineError, UnavailableError) as error:
            if failed is not None:
                raise
            failed = error
            yield Notice(f"Not spoken: “{clause.strip()}” {error}")
        else:
            failed = None
    if failed is not None and not spoken:
        raise failed

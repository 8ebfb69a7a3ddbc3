"""One reply: rounds of text tokens and speech units, a model step at a time.

The language model writes some tokens; the hidden states they were predicted from become
rows of the speech model, which then writes some units; and so on (`Strategy`). Once the text
is over, the units run on to their end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engines.opens2s.config import Strategy
from engines.opens2s.model import OpenS2S, Reading
from errors import InputError

#: Rows of a prompt that are read in one step: nobody waits longer for a turn than that.
_PIECE = 512


class Draw(Protocol):
    """Chooses the tokens of one of the two models, for one request."""

    def begin(self) -> None:
        """A round begins: whatever depends on earlier tokens counts from here.

        As in the reference, where every round is a call of transformers' `generate`.
        """
        ...

    def __call__(self, logits: Tensor) -> Tensor:
        """The next token, int64 `[1]`, from logits `[vocabulary]`."""
        ...


@dataclass(frozen=True, slots=True)
class Word:
    """A text token; the last may be an end of text."""

    id: int


@dataclass(frozen=True, slots=True)
class Unit:
    """A token of the speech model. Not every one is a sound: see `Units`."""

    id: int


@dataclass(frozen=True, slots=True)
class Limits:
    """When a reply ends.

    Attributes:
        text: Text tokens at most.
        units: Units at most, ends included; 0 writes text only.
        text_ends: Tokens that end the text.
        unit_ends: Tokens that end the speech once the text is over. Earlier they end only the
            units of their round: so it is in the reference.
    """

    text: int
    units: int
    text_ends: frozenset[int]
    unit_ends: frozenset[int]

    def __post_init__(self) -> None:
        if self.text < 1:
            raise InputError("An answer has at least one token of text.")


@dataclass(slots=True)
class Reply:
    """All there is of one request; dropping it frees that.

    Attributes:
        model: Shared.
        strategy: How text and speech take turns.
        limits: When it ends.
        text: Draws text tokens.
        units: Draws speech units.
        words: How far the language model has read.
        speech: How far the speech model has read.
    """

    model: OpenS2S
    strategy: Strategy
    limits: Limits
    text: Draw
    units: Draw
    words: Reading = field(default_factory=Reading)
    speech: Reading = field(default_factory=Reading)

    def write(self, prompt: Tensor, speaker: Tensor | None = None) -> Iterator[Word | Unit | None]:
        """Write the reply.

        Args:
            prompt: Rows of the language model, `[n, hidden]`.
            speaker: See `SpeechModel.speaker`.

        Yields:
            Every token, each after one step of its model; None after a step of reading.
        """
        limits, strategy = self.limits, self.strategy
        *pieces, rows = torch.split(prompt, _PIECE)
        for piece in pieces:
            self.model.llm_model.read(piece, self.words)
            yield None
        del prompt, pieces  # Of a long prompt only the cache stays.
        spoken = self.model.tts_lm_model.speaker(speaker)
        text_left, units_left = limits.text, limits.units
        while True:
            span = min(strategy.text, text_left) if limits.units else text_left
            states: list[Tensor] = []
            self.text.begin()
            for _ in range(span):
                state = self.model.llm_model.read(rows, self.words)
                states.append(state)
                token = self.text(self.model.llm_model.logits(state))
                rows = self.model.llm_model.embed(token)
                word = int(token)
                yield Word(word)
                if word in limits.text_ends:
                    break
            text_left -= len(states)
            over = text_left < 1 or word in limits.text_ends
            # The reference stops writing, too, once no unit may follow.
            if units_left < 1:
                return
            spoken = torch.cat([spoken, *map(self.model.for_speech, states)])
            self.units.begin()
            for _ in range(units_left if over else min(strategy.units, units_left)):
                state = self.model.tts_lm_model.read(spoken, self.speech)
                token = self.units(self.model.tts_lm_model.logits(state))
                spoken = self.model.tts_lm_model.embed(token)
                units_left -= 1
                unit = int(token)
                yield Unit(unit)
                if unit in limits.unit_ends:
                    break
            if over:
                return

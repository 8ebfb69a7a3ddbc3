"""A loaded snapshot at work: requests in turn, a model step at a time."""

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from engines.base import Cancel
from engines.messages import Sampling
from engines.native.sampling import Drawing, Sampler
from engines.native.steps import Steps, settled
from engines.opens2s.features import Mel
from engines.opens2s.generation import Limits, Reply, Unit, Word
from engines.opens2s.loading import Loaded
from engines.opens2s.model import OpenS2S
from engines.opens2s.prompts import Prompt, Said, build
from errors import InputError

#: As in the reference's demo.
_TOP_P = 0.8
#: Below it the reference takes the likeliest token.
_LEAST_TEMPERATURE = 0.001
#: Tokens that may be made before the reader takes them.
_AHEAD = 256

_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Seeds:
    """Where the random numbers of one request begin: each part draws its own."""

    text: int
    units: int
    sound: int

    @staticmethod
    def of(seed: int | None) -> "Seeds":
        """From the seed of the request; None takes fresh ones."""
        if seed is None:
            seed = secrets.randbelow(_SEEDS)
        return Seeds(seed, seed + _SEEDS, seed)


@dataclass(frozen=True, slots=True)
class Answering:
    """An answer that is being made.

    Attributes:
        rows: Positions that the prompt takes.
        tokens: The tokens as they are made; None for a step that made none.
    """

    rows: int
    tokens: Generator[Word | Unit | None]


class Drawn:
    """A `Draw` from random numbers of the request's own."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def begin(self) -> None:
        """See `Draw`."""
        self._sampler.seen.zero_()

    def __call__(self, logits: Tensor) -> Tensor:
        """See `Draw`."""
        return self._sampler.draw(logits)


class Runtime:
    """One snapshot that many requests use at once; it keeps nothing of them.

    Args:
        loaded: The snapshot.
        capacity: Requests that are worked on at once; further ones wait.
        window: Positions that a dialogue with its answer may take; 0: all that the language model
            has. What is kept of a request grows with them.
    """

    def __init__(self, loaded: Loaded, capacity: int = 8, window: int = 0) -> None:
        self.loaded = loaded
        most = loaded.model.config.llm.max_position_embeddings
        self.window = min(window or most, most)
        self._steps = Steps("opens2s", capacity)

    @property
    def active(self) -> int:
        """Requests that hold state."""
        return self._steps.active

    def close(self) -> None:
        """Stop what runs."""
        self._steps.close()

    def answer(
        self,
        said: Sequence[Said],
        *,
        sampling: Sampling,
        seeds: Seeds,
        spoken: bool,
        cancel: Cancel,
        on_position: Callable[[int], None] | None = None,
        on_encoded: Callable[[], None] = lambda: None,
    ) -> Answering:
        """Begin to answer what was said.

        Args:
            said: The dialogue; the last message is the question.
            sampling: How the text is drawn, and its length.
            seeds: Of the request.
            spoken: False writes text only: the same text.
            cancel: Stops the work within one step.
            on_position: Told how many requests come before, while there is no place.
            on_encoded: Told, on another thread, once the clips have gone through the encoder.

        Raises:
            InputError: If the dialogue is longer than the model can read, or a clip too short.
        """
        prompt = build(said, self.loaded.tokenizer)
        features, model = self.loaded.features, self.loaded.model
        clips = [features.samples(clip) for clip in prompt.clips]
        mel = features(clips) if clips else None
        rows = prompt.tokens + sum(map(model.heard, mel.valid if mel else ()))
        if rows + sampling.max_tokens > self.window:
            raise InputError(
                f"The dialogue is too long: with its answer it takes {rows + sampling.max_tokens} "
                f"positions of {self.window}. Begin a new one, show the model less of it, or "
                "allow more (PARLEY_OPENS2S_WINDOW)."
            )
        steps = self._tokens(prompt, mel, sampling, seeds, on_encoded, spoken=spoken)
        tokens = self._steps.run(steps, cancel=cancel, ahead=_AHEAD, on_position=on_position)
        return Answering(rows, tokens)

    def _tokens(
        self,
        prompt: Prompt,
        mel: Mel | None,
        sampling: Sampling,
        seeds: Seeds,
        on_encoded: Callable[[], None],
        *,
        spoken: bool,
    ) -> Iterator[Word | Unit | None]:
        model, text, speech = self.loaded.model, self.loaded.text, self.loaded.speech
        greedy = sampling.temperature <= _LEAST_TEMPERATURE
        reply = Reply(
            model=model,
            strategy=model.config.strategy,
            limits=Limits(
                text=sampling.max_tokens,
                units=speech.tokens if spoken else 0,
                text_ends=text.ends,
                unit_ends=speech.ends,
            ),
            text=self._draw(
                Drawing(
                    0.0 if greedy else sampling.temperature,
                    text.top_k,
                    _TOP_P if sampling.top_p is None else sampling.top_p,
                    text.repetition_penalty,
                ),
                model.config.llm.vocab_size,
                seeds.text,
            ),
            units=self._draw(
                Drawing(1.0, speech.top_k, 1.0, speech.repetition_penalty),
                model.config.speech.vocab_size,
                seeds.units,
            ),
        )
        rows = yield from read_in(model, prompt, mel)
        if mel is not None:
            settled(rows)
            on_encoded()
        yield from reply.write(rows)

    def _draw(self, drawing: Drawing, vocabulary: int, seed: int) -> Drawn:
        device = self.loaded.model.device
        return Drawn(Sampler(drawing, vocabulary=vocabulary, seed=seed, device=device))


def read_in(model: OpenS2S, prompt: Prompt, mel: Mel | None) -> Generator[None, None, Tensor]:
    """A prompt as rows of the language model.

    Args:
        model: The weights.
        prompt: The ids, and how many clips are between them.
        mel: Of the clips.

    Yields:
        Nothing, once per step of the encoder.

    Returns:
        `[n, hidden]`.
    """
    heard = [] if mel is None else (yield from model.hear(mel))
    rows = []
    for piece, clip in zip_longest(prompt.pieces, heard):
        rows.append(model.llm_model.embed(torch.tensor(piece, device=model.device)))
        if clip is not None:
            rows.append(clip)
    return torch.cat(rows)

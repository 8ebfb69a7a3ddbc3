"""Drawing tokens the way transformers does, from random numbers of the request's own.

The order is that of transformers' `generate`: the repetition penalty always; then, unless
the likeliest token is wanted, temperature, top-k and top-p. Every function works on the last
dimension and on any number of leading ones, so models with several codebooks use them too;
none looks at a value on the host, so all of them can be captured in a CUDA graph.

    sampler = Sampler(Drawing(temperature=0.7, top_k=20), vocabulary=600, prompt=ids, seed=1)
    token = sampler.draw(logits)     # [1] int64, and the penalty knows of it from now on
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errors import InputError

#: `torch.Generator` takes seeds of 64 bits; fresh ones stay clear of the sign.
_SEEDS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a token is chosen; the defaults take the likeliest.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: Only that many of the likeliest tokens are drawn from; 0: all.
        top_p: Only the likeliest tokens that together are this probable are drawn from.
        repetition_penalty: Above 1, tokens of the prompt and the reply get less likely (Keskar
            et al., 2019, "CTRL"). It applies to the likeliest token too.

    Raises:
        InputError: If a number makes no sense.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, value, fits in (
            ("temperature", self.temperature, self.temperature >= 0),
            ("top_k", self.top_k, self.top_k >= 0),
            ("top_p", self.top_p, 0 < self.top_p <= 1),
            ("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0),
        ):
            if not (fits and math.isfinite(value)):
                raise InputError(f"Tokens cannot be drawn with {name} {value}.")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, without a random number."""
        return self.temperature == 0


def penalize(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that were seen less likely.

    Args:
        scores: [..., V] float32 logits.
        seen: [..., V] bool.
        penalty: Divides positive scores and multiplies negative ones.
    """
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def warp(scores: Tensor, drawing: Drawing) -> Tensor:
    """Temperature, then top-k, then top-p; what is left out becomes minus infinity.

    Args:
        scores: [..., V] float32.
        drawing: With a temperature above 0.
    """
    if drawing.temperature != 1:
        scores = scores / drawing.temperature
    if drawing.top_k:
        kept = torch.topk(scores, min(drawing.top_k, scores.shape[-1]))[0]
        scores = scores.masked_fill(scores < kept[..., -1, None], -torch.inf)
    if drawing.top_p < 1:
        ordered, order = torch.sort(scores, descending=False)
        unlikely = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - drawing.top_p
        unlikely[..., -1:] = False  # However little it is asked for, the likeliest stays.
        scores = scores.masked_fill(unlikely.scatter(-1, order, unlikely), -torch.inf)
    return scores


def choose(scores: Tensor, exponential: Tensor) -> Tensor:
    """Draw from the distribution that scores stand for.

    Args:
        scores: [..., V] float32.
        exponential: [..., V] float32, independent draws of the unit exponential. Dividing by
            them and taking the largest is how `torch.multinomial` draws one token, so the
            same generator gives the same token.

    Returns:
        [...] int64.
    """
    return (scores.softmax(dim=-1) / exponential).argmax(dim=-1)


def generator(seed: int | None, device: torch.device | str = "cpu") -> torch.Generator:
    """Random numbers of one request's own.

    Args:
        seed: None takes a fresh one from the operating system.
        device: Where they are drawn.
    """
    made = torch.Generator(device)
    if seed is None:
        made.seed()
    else:
        made.manual_seed(seed % _SEEDS)
    return made


class Sampler:
    """Draws the tokens of one reply, one after the other.

    Args:
        drawing: How.
        vocabulary: Size V of the vocabulary.
        prompt: Ids that the repetition penalty counts as seen.
        seed: See `generator`.
        device: Where the logits are.
        sure: So many tokens at the beginning are the likeliest, whatever `drawing` says: those
            that decide on something.

    Attributes:
        exponential: [V] float32, the noise of the next draw.
    """

    def __init__(
        self,
        drawing: Drawing,
        *,
        vocabulary: int,
        prompt: Sequence[int] = (),
        seed: int | None = None,
        device: torch.device | str = "cpu",
        sure: int = 0,
    ) -> None:
        self.drawing = drawing
        self._sure = sure
        self._generator = generator(seed, device)
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        if prompt:
            self.seen[torch.tensor(prompt, device=device)] = True
        self.exponential = torch.ones(0 if drawing.greedy else vocabulary, device=device)

    def draw(self, logits: Tensor) -> Tensor:
        """The next token, from fresh noise.

        Args:
            logits: [V], any floating type.

        Returns:
            [1] int64, on the device of the logits.
        """
        if self._sure > 0:
            self._sure -= 1
            return self._take(self._penalized(logits).argmax(dim=-1, keepdim=True))
        if not self.drawing.greedy:
            self.refresh(self.exponential)
        return self.settle(logits, self.exponential)

    def refresh(self, exponential: Tensor) -> None:
        """Fill a buffer with noise for one draw; the only call that uses random numbers."""
        exponential.exponential_(1.0, generator=self._generator)

    def settle(self, logits: Tensor, exponential: Tensor) -> Tensor:
        """The next token, from noise that is there; nothing but tensors, so it can be captured."""
        scores = self._penalized(logits)
        if self.drawing.greedy:
            return self._take(scores.argmax(dim=-1, keepdim=True))
        return self._take(choose(warp(scores, self.drawing), exponential).view(1))

    def _penalized(self, logits: Tensor) -> Tensor:
        scores = logits.float()
        if self.drawing.repetition_penalty != 1:
            scores = penalize(scores, self.seen, self.drawing.repetition_penalty)
        return scores

    def _take(self, token: Tensor) -> Tensor:
        self.seen.index_fill_(0, token, True)
        return token

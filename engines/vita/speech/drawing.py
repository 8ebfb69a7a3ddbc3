"""Drawing codes: the reference's rule, from random numbers of the request's own."""

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.vita.speech.decoder import Reading, TokenDecoder

#: Codes of one unit at most: 25 s. So many the reference allows.
MOST_CODES = 1000

Uniform = Callable[[], float]
"""Gives a number of [0, 1) for each draw."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a code is chosen.

    Attributes:
        top_k: It is drawn from so many of the likeliest ids.
        window: Ids that came within so many of the last are made less likely; 0 or less: none.
            Off in the published servers.
        penalty: Their logits are divided by it, once for each time they came. Negative logits
            rise by that; so it is in the reference.
    """

    top_k: int = 2
    window: int = -1
    penalty: float = 1.1


#: As in the published servers.
RULE = Rule()


def draw(logits: Tensor, uniform: float, top_k: int) -> int:
    """Choose an id.

    Args:
        logits: float32 `[rows]`.
        uniform: Of [0, 1); small ones choose the likelier id.
        top_k: See `Rule`.
    """
    likely, ids = logits.softmax(dim=-1).topk(min(top_k, len(logits)))
    # Both come to the host at once: a wait for the device per step, not two.
    shares, numbers = torch.stack([likely.double(), ids.double()]).tolist()
    left = uniform * sum(shares)
    for share, number in zip(shares, numbers, strict=True):
        left -= share
        if left < 0:
            return int(number)
    return int(numbers[-1])


def write_codes(
    decoder: TokenDecoder,
    text: Tensor,
    uniform: Uniform,
    *,
    rule: Rule = RULE,
    most: int = MOST_CODES,
    blocked: tuple[int, ...] = (),
) -> Generator[int, None, bool]:
    """Write the codes of one unit.

    Args:
        decoder: Shared.
        text: Rows of the unit's text, `[n, width]`.
        uniform: Of the request; asked once a step.
        rule: How codes are chosen.
        most: Steps at most.
        blocked: Ids that are never chosen.

    Yields:
        A code after each step; never the end.

    Returns:
        Whether the unit came to its end.
    """
    reading = Reading()
    recent: deque[int] = deque([decoder.config.start], maxlen=max(0, rule.window))
    token = decoder.config.start
    for number in range(most):
        # No context of torch's stays open across a `yield`: the next step may be another's.
        with torch.inference_mode():
            if not number:
                decoder.read(decoder.prepare(text), reading)
                del text
            logits = decoder.step(token, reading)
            for seen in recent:
                logits[seen] /= rule.penalty
            if blocked:
                logits[list(blocked)] = -torch.inf
            token = draw(logits, uniform(), rule.top_k)
        if token == decoder.config.end:
            return True
        recent.append(token)
        yield token
    return False

"""One generation: from a prompt to columns of codes, a model step at a time.

transformers' `generate` does the same in one go and draws from torch's global random numbers.
Here each request has its cache and its random numbers, and is an iterator that anybody may stop.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from engines.higgs.delay import Codebooks
from engines.higgs.prompt import Prompt
from engines.native.sampling import Drawing, warp

#: Positions of a prompt that are read in one step: others wait that long, and a cancel.
_READ = 512


@dataclass(frozen=True, slots=True)
class Repeats:
    """When a code that was drawn is drawn again (repetition aware sampling, Chen et al., 2024).

    Attributes:
        window: Columns to look back; 0 never draws again.
        most: From so many times in the window on, the code is drawn again, from the model's
            bare distribution.
    """

    window: int = 7
    most: int = 2


class Memory:
    """What one reply has read and generated so far, as the model keeps it.

    A further prompt that begins the same is read from where it differs.
    """

    def __init__(self) -> None:
        self.cache = DynamicCache()
        self.keys: list[int | bytes] = []

    def forget_after(self, keys: list[int | bytes]) -> int:
        """Keep what a prompt begins with, all but its last position.

        Returns:
            How many positions that are.
        """
        same = 0
        for known, wanted in zip(self.keys, keys[:-1], strict=False):
            if known != wanted:
                break
            same += 1
        if same < len(self.keys):
            self.cache.crop(same)
            del self.keys[same:]
        return same


class Columns:
    """Draws the columns of one generation.

    Args:
        codebooks: Of the model.
        drawing: How codes are drawn.
        repeats: When they are drawn again.
        before: Columns of the prompt, int64 `[A, K]`: they count as repeated, too.
        random: Of this request, on the device of the logits.
    """

    def __init__(
        self,
        codebooks: Codebooks,
        drawing: Drawing,
        repeats: Repeats,
        before: NDArray[np.int64],
        random: torch.Generator,
    ) -> None:
        self._codebooks = codebooks
        self._drawing = drawing
        self._repeats = repeats
        self._recent = deque(before[len(before) - repeats.window :], maxlen=repeats.window)
        self._random = random
        self._drawn = 0
        #: Columns since the first with an end in it, counting that one.
        self._ending = 0

    def draw(self, logits: Tensor) -> NDArray[np.int64]:
        """The next column, int64 `[K]`, from logits of any floating type, `[K * V]`."""
        bare = logits.float().view(self._codebooks.count, -1)
        scores = self._delayed(bare)
        if self._drawing.greedy:
            codes = scores.argmax(dim=-1)
        else:
            likely = warp(scores, self._drawing).softmax(dim=-1)
            codes = torch.multinomial(likely, 1, generator=self._random)[:, 0]
        column: NDArray[np.int64] = codes.cpu().numpy()
        column = self._again(column, bare)
        self._drawn += 1
        if self._ending or (column == self._codebooks.end).any():
            self._ending += 1
        self._recent.append(column)
        return column

    def _delayed(self, bare: Tensor) -> Tensor:
        """Only the begin where a codebook has not begun, only the end where it is over."""
        books = self._codebooks
        if self._drawn >= books.count and not self._ending:
            return bare
        scores = bare.clone()
        forced = [
            (slice(self._drawn, books.count), books.begin),
            (slice(0, self._ending), books.end),
        ]
        for rows, code in forced:
            only = scores[rows, code].clone()
            scores[rows] = -torch.inf
            scores[rows, code] = only
        return scores

    def _again(self, column: NDArray[np.int64], bare: Tensor) -> NDArray[np.int64]:
        """With other codes where one came too often of late."""
        if not self._recent:
            return column
        recent = np.stack(self._recent)
        special = (recent == self._codebooks.begin) | (recent == self._codebooks.end)
        often = ((recent == column) & ~special).sum(axis=0) >= self._repeats.most
        if not often.any():
            return column
        rows = torch.from_numpy(often).to(bare.device)
        drawn = torch.multinomial(bare[rows].softmax(dim=-1), 1, generator=self._random)
        column = column.copy()
        column[often] = drawn[:, 0].cpu().numpy()
        return column


def generate(
    model: Any, prompt: Prompt, memory: Memory, columns: Columns, end: int, most: int
) -> Iterator[NDArray[np.int64] | None]:
    """Generate one utterance.

    Args:
        model: transformers' `HiggsAudioV2ForConditionalGeneration`.
        prompt: What it reads.
        memory: Of the reply; no other generation may use it meanwhile.
        columns: Draws.
        end: A column that is all this code ends the utterance.
        most: Columns after which it is cut.

    Yields:
        None for a step that only read, then the columns, int64 `[K]`, the last one excepted.
    """
    keys = prompt.keys()
    known = memory.forget_after(keys)
    logits: Tensor | None = None
    for first in range(known, len(keys), _READ):
        if logits is not None:
            yield None
        logits = _read(model, prompt, memory, slice(first, min(first + _READ, len(keys))))
        memory.keys += keys[first : first + _READ]
    assert logits is not None
    for _ in range(most):
        column = columns.draw(logits)
        if (column == end).all():
            return
        yield column
        logits = model(
            audio_input_ids=torch.from_numpy(column).to(model.device)[None, None],
            past_key_values=memory.cache,
            use_cache=True,
        ).logits[0, -1]
        memory.keys.append(column.tobytes())


def _read(model: Any, prompt: Prompt, memory: Memory, piece: slice) -> Tensor:
    """Logits after a piece of the prompt."""
    audio = prompt.audio[piece]
    first = int(prompt.audio[: piece.start].sum())
    columns = prompt.columns[first : first + int(audio.sum())]
    logits: Tensor = model(
        input_ids=torch.from_numpy(prompt.ids[piece]).to(model.device)[None],
        audio_input_ids=torch.from_numpy(columns).to(model.device)[None] if len(columns) else None,
        past_key_values=memory.cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[0, -1]
    return logits

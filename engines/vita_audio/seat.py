"""A fixed place in memory for a reply, in which steps of the same shape become CUDA graphs.

Caches have their full length and stand behind a mask; inputs, noise and outputs are always in the
same place. On a CPU the same code runs uncaptured, so it is tested there.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from codec.graphs import Pool, capture
from engines.vita_audio.cache import Caches
from engines.vita_audio.language_model import LanguageModel

#: Rows that a step takes at most. In the named modes the main model reads 11 tokens after a run of
#: ten heads, and a head 14 after four steps of the main model.
ROWS = 16

#: Uses of a shape after which it is captured.
_FAMILIAR = 1

#: Shapes that a seat captures at most.
_MAX_GRAPHS = 24


class Seat:
    """A fixed place in memory for one reply at a time.

    Args:
        model: Whose replies.
        rows: Tokens of a conversation that fit; longer ones go on in caches that grow.
        captured: Replay steps as CUDA graphs; on a CPU the same code runs as it is.
    """

    def __init__(self, model: LanguageModel, rows: int, *, captured: bool | None = None) -> None:
        config = model.config
        self.rows = rows
        self.captured = model.device.type == "cuda" if captured is None else captured
        shape = (1, config.key_value_heads, rows, config.head_size)
        with torch.device(model.device):
            self.keys, self.values = (
                [torch.zeros(shape, dtype=model.dtype) for _ in range(config.layers + config.heads)]
                for _ in range(2)
            )
            self.start = torch.zeros(1, dtype=torch.int64)
            self.ids = torch.zeros(ROWS + config.heads + 1, dtype=torch.int64)
            self.hidden = torch.zeros(1, ROWS, config.hidden, dtype=model.dtype)
            self.noise = torch.ones(max(config.heads, 1), config.vocabulary)
            self.seen = torch.zeros(config.vocabulary, dtype=torch.bool)
            self._all = torch.arange(rows)
        self._uses: Counter[Any] = Counter()
        self._pool = Pool()
        self._graphs: dict[Any, tuple[torch.cuda.CUDAGraph, Any]] = {}

    def caches(self, model: LanguageModel) -> Caches:
        """Empty caches of this place, for steps of any shape."""
        caches = Caches(model.config, 0)
        for layer, keys, values in zip(caches.layers, self.keys, self.values, strict=True):
            layer.keys, layer.values = keys, values
        return caches

    def holds(self, caches: Caches, end: int) -> bool:
        """Whether rows up to `end` fit, and earlier ones did."""
        return end <= self.rows and caches.layers[0].keys is self.keys[0]

    def places(self, count: int) -> Tensor:
        """[count] int64, from `start` on."""
        return self.start + self._all[:count]

    def fixed(self, count: int) -> tuple["FixedCaches", Tensor]:
        """Caches and mask of a step that adds `count` rows from `start` on."""
        places = self.places(count)
        return FixedCaches(self, places), self._all <= places[:, None]

    def run(self, key: Any, step: Callable[[], Any]) -> Any:
        """Run a step, or replay it.

        Args:
            key: Its shape, and whatever else it was made for.
            step: Reads and writes tensors of this place only; gives tensors.

        Returns:
            What the step gives; it lasts until the next one runs.
        """
        if not self.captured:
            return step()
        if (found := self._graphs.get(key)) is not None:
            found[0].replay()
            return found[1]
        self._uses[key] += 1
        if self._uses[key] <= _FAMILIAR or len(self._graphs) >= _MAX_GRAPHS:
            return step()
        graph, out = self._capture(step)
        self._graphs[key] = graph, out
        graph.replay()
        return out

    def _capture(self, step: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        kept = [tensor.clone() for tensor in (self.seen, self.ids)]
        captured = capture(step, self.start.device, self._pool)
        for tensor, before in zip((self.seen, self.ids), kept, strict=True):
            tensor.copy_(before)
        return captured


class FixedCaches:
    """The caches of a seat, as a step of fixed shape sees them: whole."""

    def __init__(self, seat: Seat, places: Tensor) -> None:
        self._seat = seat
        self._places = places

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Put rows in their places."""
        held = self._seat.keys[layer], self._seat.values[layer]
        held[0].index_copy_(2, self._places, keys)
        held[1].index_copy_(2, self._places, values)
        return held

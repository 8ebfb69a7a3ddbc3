"""Keys and values of one conversation, a cache of its own length for each layer."""

import torch
from torch import Tensor

from engines.vita_audio.config import LanguageConfig

#: Rows by which a cache grows at least; it doubles until then.
_BLOCK = 256


class LayerCache:
    """Keys and values of one layer.

    Attributes:
        length: Rows that are filled.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return sum(held.nbytes for held in (self.keys, self.values) if held is not None)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add rows [1, K, rows, D]; returns everything so far, as views."""
        end = self.length + keys.shape[2]
        if self.keys is None or self.values is None or self.keys.shape[2] < end:
            self._grow(end, keys)
        assert self.keys is not None and self.values is not None
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _grow(self, least: int, like: Tensor) -> None:
        held = 0 if self.keys is None else self.keys.shape[2]
        size = max(self._capacity, least, 2 * held)
        size = -(-size // _BLOCK) * _BLOCK
        self.keys = _longer(self.keys, size, like)
        self.values = _longer(self.values, size, like)


class Caches:
    """One `LayerCache` for each layer of the model, those of the heads last.

    Args:
        config: Of the model.
        capacity: Rows to begin with in a layer that is used.
    """

    def __init__(self, config: LanguageConfig, capacity: int) -> None:
        self.layers = [LayerCache(capacity) for _ in range(config.layers + config.heads)]

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return sum(layer.nbytes for layer in self.layers)

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """What transformers' attention calls; see `LayerCache.append`."""
        return self.layers[layer].append(keys, values)


def _longer(held: Tensor | None, size: int, like: Tensor) -> Tensor:
    longer = torch.empty(
        (*like.shape[:2], size, like.shape[3]), dtype=like.dtype, device=like.device
    )
    if held is not None:
        longer[:, :, : held.shape[2]] = held
    return longer

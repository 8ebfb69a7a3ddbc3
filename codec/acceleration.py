"""Running the estimator faster on shapes that come again and again."""

import threading
from collections import Counter
from typing import Literal

import torch
from torch import Tensor

from codec.flow import Velocity
from codec.graphs import Pool, capture
from codec.unet import UNet
from errors import InputError

Acceleration = Literal["none", "compile", "graphs"]

#: Shapes that are prepared at most; a stream has three, and a one-shot call any.
_MAX_SHAPES = 8
#: Uses after which a shape is prepared; a rendering in one call has ten.
_FAMILIAR = 20


class Accelerated:
    """The estimator, compiled or captured for each shape that comes again and again.

    Preparing a shape takes seconds to minutes (`compile`) or a moment (`graphs`), so
    shapes that come once or twice run as they are.

    Args:
        estimator: On its device, in its precision.
        mode: `compile` uses `torch.compile`; `graphs` replays CUDA graphs.

    Raises:
        InputError: If CUDA graphs are asked for on another device.
    """

    def __init__(self, estimator: UNet, mode: Literal["compile", "graphs"]) -> None:
        self._estimator = estimator
        self._mode = mode
        self._uses: Counter[tuple[int, ...]] = Counter()
        self._prepared: dict[tuple[int, ...], Velocity] = {}
        self._lock = threading.Lock()
        self._pool, self._turn = Pool(), threading.Lock()
        if mode == "graphs" and estimator.final_proj.weight.device.type != "cuda":
            raise InputError("CUDA graphs need a CUDA device. Choose `compile` or `none`.")

    def __call__(self, x: Tensor, time: Tensor) -> Tensor:
        """As `UNet.forward`."""
        shape = tuple(x.shape)
        with self._lock:
            ready = self._prepared.get(shape)
            self._uses[shape] += 1
            familiar = self._uses[shape] > _FAMILIAR and len(self._prepared) < _MAX_SHAPES
            if ready is None and familiar:
                ready = self._prepared[shape] = self._prepare(x, time)
        estimate: Tensor = (ready or self._estimator)(x, time)
        return estimate

    def _prepare(self, x: Tensor, time: Tensor) -> Velocity:
        if self._mode == "graphs":
            return _Captured(self._estimator, x, time, self._pool, self._turn)
        compiled: Velocity = torch.compile(self._estimator.forward, dynamic=False)
        return compiled


class _Captured:
    """One shape as a CUDA graph.

    Args:
        estimator: What is captured.
        x: Of the shape.
        time: Likewise.
        pool: Of the graphs of all shapes.
        turn: Held while one of them is under way.
    """

    def __init__(
        self, estimator: UNet, x: Tensor, time: Tensor, pool: Pool, turn: threading.Lock
    ) -> None:
        self._x, self._time = x.clone(), time.clone()
        self._turn = turn
        self._estimate: Tensor
        self._graph, self._estimate = capture(
            lambda: estimator(self._x, self._time), x.device, pool
        )

    def __call__(self, x: Tensor, time: Tensor) -> Tensor:
        with self._turn:
            self._x.copy_(x)
            self._time.copy_(time)
            self._graph.replay()
            return self._estimate.clone()

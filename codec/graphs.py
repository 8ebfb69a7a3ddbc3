"""Capturing work on a GPU as a CUDA graph while other threads use the same GPU."""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch

T = TypeVar("T")

#: Runs before a capture, in which libraries choose their kernels.
_WARM_RUNS = 3

#: Torch allows one capture at a time in a process: beginning one waits for the whole device, which
#: is an error while another is under way.
_capturing = threading.Lock()


class Pool:
    """Memory for graphs of which no two are ever under way at once.

    A graph keeps what it works with for as long as it lives. In one pool the next one works
    with the same memory, so that all of them take little more than the largest does.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    @property
    def handle(self) -> Any:
        """As torch calls it. Asked for when there is something to capture."""
        if self._handle is None:
            self._handle = torch.cuda.graph_pool_handle()
        return self._handle


def capture(
    work: Callable[[], T], device: torch.device, pool: Pool
) -> tuple[torch.cuda.CUDAGraph, T]:
    """Capture work, which runs a few times for it.

    Args:
        work: Launches kernels only: it waits for nothing, copies nothing from or to the host, and
            draws no random numbers. It reads and writes tensors that live as long as the graph.
        device: Where those are, with its index.
        pool: Memory that it shares with the other graphs of the pool.

    Returns:
        The graph, and what `work` gave: tensors that every replay fills anew, and that the replay
        of another graph of the pool may overwrite.
    """
    with _capturing, torch.cuda.device(device):
        side = _stream(device)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_RUNS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate and launch meanwhile.
        with torch.cuda.graph(graph, pool.handle, side, capture_error_mode="thread_local"):
            out = work()
        return graph, out


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of a device on which everything is warmed up and captured.

    Torch's own belongs to the device that was the first. And it is one for all: cuBLAS keeps a
    workspace for each stream it ever ran on, and one that is first asked for
    within a capture would keep the memory of that graph for good.
    """
    made: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return made

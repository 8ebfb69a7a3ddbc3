"""CUDA graphs of a GPU that is only pretended; see `pretended_gpu`."""

import torch
from torch.utils._pytree import tree_leaves

#: Wait for the GPU, as the host is told numbers, or how many there are.
WAITING = {"_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero"}
#: Take indices of the CPU, too.
INDEXING = {"index", "index_put_", "index_put"}


class GpuError(AssertionError):
    """What a real GPU refuses, or does wrong without a word."""


class Graph:
    """Stands in for `torch.cuda.CUDAGraph`: operations, and the memory that they work on.

    Attributes:
        replays: Of all graphs, so far.
    """

    replays = 0

    def __init__(self):
        self._steps = []
        self._own = set()  # Where its own memory begins.
        self._pool = []  # All graphs that share that memory.
        self._before = {}  # Memory of others that it changes, and what was there.

    def record(self, func, args, kwargs):
        """Note an operation. It runs once, for the shapes of what it gives."""
        name = func.overloadpacket.__name__
        by_mask = [t for t in tensors(args[1:]) if t.dtype == torch.bool and name in INDEXING]
        if name in WAITING or by_mask:
            raise GpuError(f"{func} waits for the GPU within a capture")
        if any(argument.name == "generator" for argument in func._schema.arguments):
            raise GpuError(f"{func} draws random numbers within a capture")
        for tensor in written(func, args, kwargs):
            if start(tensor) not in self._own | self._before.keys():
                whole = whole_of(tensor)
                self._before[start(tensor)] = whole, whole.clone()
        known = {start(tensor) for tensor in tensors((args, kwargs))}
        out = func(*args, **kwargs)
        self._own |= {start(tensor) for tensor in tensors(out)} - known
        self._steps.append((func, args, kwargs, out))
        return out

    def end(self, pool):
        """Undo it: nothing is computed within a capture."""
        for whole, before in self._before.values():
            whole.copy_(before)
        self._lose()
        self._pool = pool
        pool.append(self)

    def _lose(self):
        """Fill its own memory with what nobody wants."""
        for *_, out in self._steps:
            for tensor in tensors(out):
                if start(tensor) in self._own:
                    tensor.fill_(torch.nan if tensor.is_floating_point() else 1)

    def replay(self):
        """Run everything again, on the same memory, which others of the pool use, too."""
        Graph.replays += 1
        for other in self._pool:
            if other is not self:
                other._lose()
        for func, args, kwargs, out in self._steps:
            again = func(*args, **kwargs)
            for old, new in zip(tensors(out), tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def start(tensor):
    return tensor.untyped_storage().data_ptr()


def whole_of(tensor):
    """All memory that a tensor is a part of, one-dimensional."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.as_strided((size,), (1,), 0)


def written(func, args, kwargs):
    """The tensors that an operation changes."""
    given = zip(func._schema.arguments, args, strict=False)
    named = [(argument, kwargs.get(argument.name)) for argument in func._schema.arguments]
    return tensors(
        [value for info, value in (*given, *named) if info.alias_info and info.alias_info.is_write]
    )

"""A GPU that is only pretended: tensors say that they are on `cuda:1`, and their numbers are here.

What fails on a first day with a real GPU fails here too: a step that mixes tensors of the GPU and
of the CPU, and one that is captured as a CUDA graph although it waits for the GPU, draws random
numbers, or copies from the host. A graph is recorded and replayed operation by operation, on the
same memory, as CUDA does: nothing is computed while it is captured, and what the host decides then
is decided for good. Kernels, streams and speed are not pretended.

    with pretended_gpu() as gpu:           # or the fixture: a real GPU, where there is one
        model = Model().to(gpu.device)     # on any thread
        int(model(...))                    # counted in `gpu.waits`
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from pretended_graphs import INDEXING, WAITING, GpuError, Graph, tensors
from torch.utils._pytree import tree_map

import devices
import services
from devices import Gpu
from engines import needs

#: Not the first one: whoever leaves out the number of a device is found out.
DEVICE = "cuda:1"

#: Bytes that are free.
MEMORY = 80 * 10**9
CARDS = (Gpu("cuda:0", "Small", MEMORY, MEMORY // 80), Gpu(DEVICE, "Large", MEMORY, MEMORY))

aten = torch.ops.aten


class Placed(torch.Tensor):
    """A tensor on the pretended GPU.

    Attributes:
        inner: Its numbers, on the CPU.
    """

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner, device):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self):
        return f"Placed({self.inner!r}, device={str(self.device)!r})"

    def tolist(self):
        return self.cpu().tolist()

    # Torch's own of these ask for the guard of the device, which a build for the CPU lacks.
    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __bool__(self):
        return bool(self.item())

    __index__ = __int__

    def __invert__(self):
        return aten.bitwise_not(self)

    def copy_(self, source, non_blocking=False):
        return aten.copy_(self, source)

    def contiguous(self):
        return aten.contiguous(self)

    def __getitem__(self, index):
        view, advanced = self._view(index)
        return view if advanced is None else aten.index(view, advanced)

    def __setitem__(self, index, value):
        view, advanced = self._view(index)
        if advanced is not None:
            if not isinstance(value, torch.Tensor):
                value = torch.tensor(value, dtype=self.dtype).to(self.device)
            aten.index_put_(view, advanced, value)
        elif isinstance(value, torch.Tensor):
            view.copy_(value)
        else:
            view.fill_(value)

    def _view(self, index):
        """What plain indices lead to, and the tensors among the indices, if any."""
        given = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in [entry for entry in given if not isinstance(entry, torch.Tensor)]:
            at = next(i for i, entry in enumerate(given) if entry is Ellipsis)
            named = sum(entry is not None for entry in given) - 1
            given[at : at + 1] = [slice(None)] * (self.dim() - named)
        view, dim, advanced = self, 0, {}
        for entry in given:
            if entry is None:
                view = view.unsqueeze(dim)
            elif isinstance(entry, slice):
                view = aten.slice(view, dim, entry.start, entry.stop, entry.step or 1)
            elif isinstance(entry, torch.Tensor) and entry.dim():
                advanced[dim] = entry
            elif isinstance(entry, list):
                advanced[dim] = torch.tensor(entry)
            else:
                view = view.select(dim, int(entry))
                continue
            dim += 1
        if not advanced:
            return view, None
        return view, [advanced.get(at) for at in range(max(advanced) + 1)]

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class PretendedGpu:
    """What is known of the pretended GPU.

    Attributes:
        device: As torch calls it.
        waits: How often the host waited for numbers.
    """

    def __init__(self):
        self.device = DEVICE
        self.waits = 0
        self._replays_before = Graph.replays

    @property
    def replays(self):
        """How many graphs were replayed."""
        return Graph.replays - self._replays_before


class _Thread(threading.local):
    """The graph that a thread captures."""

    graph = None


_thread = _Thread()
_present: list[PretendedGpu] = []


def _run(func, args, kwargs):
    """An operation with a tensor of the GPU among what it is given."""
    name = func.overloadpacket.__name__
    if name == "_has_compatible_shallow_copy_type":
        return False
    if name == "to":
        return func.decompose(*args, **kwargs)
    given = tensors((args, kwargs))
    placed = [tensor for tensor in given if isinstance(tensor, Placed)]
    target = torch.device(kwargs.get("device") or placed[0].device)
    if name == "copy_":
        target = args[0].device
    _check(func, args, kwargs, given, placed, target)
    if name in WAITING or target.type == "cpu":
        _present[-1].waits += 1
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(
        lambda leaf: leaf.inner if isinstance(leaf, Placed) else leaf, (args, kwargs)
    )
    graph = _thread.graph
    out = func(*args, **kwargs) if graph is None else graph.record(func, args, kwargs)
    if target.type == "cpu":
        return out
    known = {id(tensor.inner): tensor for tensor in placed}

    def place(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        same = known.get(id(leaf))
        if same is not None and (same.size(), same.stride()) != (leaf.size(), leaf.stride()):
            raise GpuError(f"{func} changes a shape in place, which cannot be pretended")
        return Placed(leaf, target) if same is None else same

    # A view of a weight counts its changes as the weight does.
    passing = all(tensor.is_inference() for tensor in placed)
    with torch.inference_mode(torch.is_inference_mode_enabled() and passing):
        return tree_map(place, out)


def _check(func, args, kwargs, given, placed, target):
    """Refuse what mixes devices, and what a capture would keep for good."""
    name = func.overloadpacket.__name__
    others = [tensor for tensor in given if not isinstance(tensor, Placed)]
    if _thread.graph is not None and (others or target.type == "cpu"):
        raise GpuError(f"{func} takes from the host, or gives to it, within a capture")
    if name in ("copy_", "_to_copy"):
        return
    if (generator := kwargs.get("generator")) is not None and _where(generator) != target:
        raise GpuError(f"{func} draws from a generator of another device")
    if len({tensor.device for tensor in placed}) > 1:
        raise GpuError(f"{func} is given tensors of several GPUs")
    if (
        name in INDEXING
    ):  # Indices may be on the host; what they lead into and what comes there not.
        indices = {id(tensor) for tensor in tensors(args[1])}
        others = [tensor for tensor in others if id(tensor) not in indices]
    if any(tensor.dim() for tensor in others):
        raise GpuError(f"{func} is given a tensor of the GPU and one of the CPU")


#: What makes tensors from nothing, and is not made of others of these.
_FACTORIES = {
    "empty.memory_format": torch.empty,
    "empty_strided": torch.empty_strided,
    "arange": torch.arange,
    "arange.start": torch.arange,
    "arange.start_step": torch.arange,
    "hann_window": torch.hann_window,
}


def _placing(make):
    def placed(*args, dtype=None, device=None, **_where):
        return Placed(make(*args, dtype=dtype), device)

    return placed


class _Stream:
    def __init__(self, device=None):
        assert device is None or torch.device(device) == torch.device(DEVICE)

    def wait_stream(self, other):
        pass

    def synchronize(self):
        assert _thread.graph is None
        _present[-1].waits += 1


@contextmanager
def _capturing(graph, pool, stream, capture_error_mode="global"):
    # The default mode forbids other threads to allocate meanwhile.
    assert capture_error_mode == "thread_local"
    _thread.graph = graph
    try:
        yield
    finally:
        _thread.graph = None
        graph.end(pool)


class _Generator(torch.Generator):
    """Random numbers of the CPU, wherever they are asked for.

    Attributes:
        where: The device that they are said to be drawn on.
    """

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, device="cpu")
        made.where = torch.device(device)
        _generators.add(made)
        return made


_generators: weakref.WeakSet[_Generator] = weakref.WeakSet()


def _where(generator):
    """The device of a generator, which torch hands on as another object."""
    state = generator.get_state()
    return next((g.where for g in _generators if torch.equal(g.get_state(), state)), None)


def _tensor(plain):
    """`torch.tensor`, which fills memory of a GPU without asking a subclass."""

    def tensor(data, *, dtype=None, device=None, **rest):
        target = plain([]).device if device is None else torch.device(device)
        made = plain(data, dtype=dtype, device="cpu", **rest)
        return made if target.type == "cpu" else made.to(target)

    return tensor


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Pretend for a while that `cuda:1` is there; for a process without a GPU."""
    if torch.cuda.is_available():
        pytest.skip("there is a real GPU here")
    library = torch.library.Library("aten", "IMPL")
    for name, make in _FACTORIES.items():
        library.impl(name, _placing(make), "CUDA")
    overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    gpu = PretendedGpu()
    _present.append(gpu)
    try:
        with (
            mock.patch.object(torch.cuda, "_lazy_init", lambda: None),
            mock.patch.object(torch.cuda, "device", lambda device: nullcontext()),
            mock.patch.object(torch.cuda, "Stream", _Stream),
            mock.patch.object(torch.cuda, "stream", lambda stream: nullcontext()),
            mock.patch.object(torch.cuda, "current_stream", lambda device=None: _Stream()),
            mock.patch.object(torch.cuda, "CUDAGraph", Graph),
            mock.patch.object(torch.cuda, "graph_pool_handle", list),
            mock.patch.object(torch.cuda, "graph", _capturing),
            mock.patch.object(torch, "tensor", _tensor(torch.tensor)),
            mock.patch.object(torch, "Generator", _Generator),
            mock.patch.object(torch.cuda, "mem_get_info", lambda device: (MEMORY, MEMORY)),
            mock.patch.object(devices, "gpus", lambda: CARDS),
            mock.patch.object(services, "gpus", lambda: CARDS),
            mock.patch.object(needs, "_torch_is_for_the_cpu", lambda: False),
        ):
            yield gpu
    finally:
        _present.pop()
        torch.__future__.set_overwrite_module_params_on_conversion(overwriting)
        library._destroy()


@pytest.fixture(name="gpu")
def gpu_fixture():
    """A GPU: a real one, or else a pretended one."""
    real = nullcontext(SimpleNamespace(device="cuda:0"))
    with real if torch.cuda.is_available() else pretended_gpu() as gpu:
        yield gpu

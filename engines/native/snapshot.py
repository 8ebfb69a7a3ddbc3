"""Reading the weights of a Hub snapshot: strictly, a tensor at a time, to where they are used.

A big model is made on the meta device and filled from here, so that it is never in memory twice.
What is wrong with a snapshot is said before the first tensor is read, with names.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from codec.checkpoint import CheckpointError, read_json, require
from engines.base import Cancel

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"

#: Bits of an element of each type that safetensors knows, from its name: "BF16", "F8_E4M3".
_BITS = re.compile(r"\D+(\d+)")

#: How many names an error lists before it only counts.
_LISTED = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a tensor of a module is some rows of a tensor of the folder.

    Attributes:
        name: In the folder.
        first: The first of these rows; as many follow as the module has.
        total: Rows that the tensor of the folder has; 0: as many as are taken, or more.
    """

    name: str
    first: int = 0
    total: int = 0


class Snapshot:
    """The tensors of a folder, by name; opens files only to read.

    Args:
        folder: Holds `model.safetensors`, or its pieces and their index.

    Attributes:
        folder: As given.
        shapes: Of every tensor, by name.

    Raises:
        CheckpointError: If a file is absent or damaged, or the index does not fit the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = _index(folder)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._sizes: dict[str, int] = {}
        for file in sorted(set(self._files.values())) or [_SINGLE]:
            self._read_header(file)
        absent = sorted(set(self._files) - set(self.shapes))
        if absent:
            raise CheckpointError(f"{folder / _INDEX} lists {listed(absent)}, which no file holds.")

    @property
    def size(self) -> int:
        """Bytes of all tensors, as stored."""
        return sum(self._sizes.values())

    def load(
        self,
        module: nn.Module,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
        names: Mapping[str, str | Rows] | None = None,
        ignored: str = "",
        finish: Callable[[nn.Module], None] | None = None,
        on_progress: Callable[[int], None] | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """Fill a module: each of its parameters and buffers, and no other tensor of the folder.

        Args:
            module: May be on the meta device.
            device: Where the tensors go.
            dtype: What they become.
            names: Name in the folder of each name in the module, where they differ, or which rows
                it is of what.
            ignored: A regular expression; tensors of the folder whose whole name matches belong
                to somebody else.
            finish: Called with each layer once its weight is there, such as to round it.
            on_progress: Told the bytes read so far.
            cancel: Looked at before each tensor.

        Raises:
            CheckpointError: If one is absent, unknown, of the wrong shape, or not finite.
            CancelledError: If `cancel` was set.
        """
        named = names or {}
        wanted = {
            name: (named.get(name, name), tuple(tensor.shape))
            for name, tensor in module.state_dict().items()
        }
        self._check(wanted.values(), ignored)
        done = 0
        by_file: dict[str, list[str]] = {}
        for own, (source, _) in wanted.items():
            by_file.setdefault(self._files[_name(source)], []).append(own)
        for file, owned in sorted(by_file.items()):
            with self._open(file) as tensors:
                for own in owned:
                    if cancel is not None:
                        cancel.check()
                    source, shape = wanted[own]
                    _assign(module, own, self._read(tensors, source, shape, device, dtype))
                    if finish is not None and own.endswith("weight"):
                        finish(module.get_submodule(own.rpartition(".")[0]))
                    done += self._taken(source, shape)
                    if on_progress is not None:
                        on_progress(done)

    def _taken(self, source: str | Rows, shape: tuple[int, ...]) -> int:
        """Bytes that are read of a tensor."""
        size = self._sizes[_name(source)]
        if isinstance(source, str):
            return size
        return size * shape[0] // self.shapes[source.name][0]

    def _check(self, wanted: Collection[tuple[str | Rows, tuple[int, ...]]], ignored: str) -> None:
        names = dict.fromkeys(_name(source) for source, _ in wanted)
        missing = [name for name in names if name not in self.shapes]
        if missing:
            raise CheckpointError(f"{self.folder} lacks {listed(missing)}. Is it the right model?")
        extra = [
            name
            for name in self.shapes
            if name not in names and not (ignored and re.fullmatch(ignored, name))
        ]
        if extra:
            raise CheckpointError(
                f"{self.folder} has {listed(extra)} not known here. Is it the right model?"
            )
        for source, shape in wanted:
            name, stored = _name(source), self.shapes[_name(source)]
            if isinstance(source, Rows):
                least = source.total or source.first + shape[0]
                rows = max(least, stored[0]) if stored and not source.total else least
                right = (rows, *shape[1:])
            else:
                right = shape
            if stored != right:
                raise CheckpointError(
                    f"{self.folder}: the tensor {name} is {list(stored)}, but config.json asks "
                    f"for {list(right)}."
                )

    def _read(
        self,
        tensors: Any,
        source: str | Rows,
        shape: tuple[int, ...],
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> Tensor:
        name = _name(source)
        tensor: Tensor
        if isinstance(source, Rows):
            tensor = tensors.get_slice(name)[source.first : source.first + shape[0]]
        else:
            tensor = tensors.get_tensor(name)
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{self.folder}: the tensor {name} is {tensor.dtype}, not floating."
            )
        # A copy even where nothing changes: what a file is mapped to would keep it open.
        tensor = tensor.to(device=device, dtype=dtype, copy=True)
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{self.folder}: the tensor {name} holds values that are not finite."
            )
        return tensor

    def _read_header(self, file: str) -> None:
        with self._open(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118  (it is no mapping)
                if self._files.setdefault(name, file) != file:
                    raise CheckpointError(f"{self.folder / file} holds {name}, not as indexed.")
                view = tensors.get_slice(name)
                self.shapes[name] = tuple(view.get_shape())
                self._sizes[name] = _bytes(self.shapes[name], view.get_dtype())

    def _open(self, file: str) -> Any:
        path = self.folder / file
        try:
            return safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} is damaged, or is no safetensors file: {error}. "
                "Delete the file and fetch it again."
            ) from error


def _name(source: str | Rows) -> str:
    return source.name if isinstance(source, Rows) else source


def listed(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - _LISTED
    noun = "the tensor" if len(names) == 1 else "the tensors"
    return f"{noun} {', '.join(names[:_LISTED])}" + (f" and {more} more" if more > 0 else "")


def _index(folder: Path) -> dict[str, str]:
    """Which file holds which tensor; empty where a single file holds all."""
    if not (folder / _INDEX).is_file():
        require(folder, (_SINGLE,))
        with (folder / _SINGLE).open("rb") as file:
            start = file.read(64)
        if start.startswith(b"version https://git-lfs"):
            raise CheckpointError(
                f"{folder / _SINGLE} is only a pointer of Git LFS. Fetch the file itself."
            )
        return {}
    files = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise CheckpointError(f"{folder / _INDEX} says nothing of where tensors are.")
    for file in files.values():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"{folder / _INDEX} names {json.dumps(file)} as a file.")
    require(folder, tuple(sorted(set(files.values()))))
    return dict(files)


def _bytes(shape: tuple[int, ...], kind: str) -> int:
    bits = _BITS.match(kind)
    return math.prod(shape) * (int(bits[1]) if bits else 8) // 8


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in the place of a parameter or buffer, whatever device that is on."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor

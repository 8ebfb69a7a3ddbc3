"""Safetensors files by the byte: what lies where, and copies that never hold a tensor in memory.

Format: https://huggingface.co/docs/safetensors, a length (8 bytes, little-endian), a
header in JSON, then the tensors, row-major, without gaps.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from errors import InputError, UnavailableError

#: Bytes per element.
_WIDTHS = {
    **{"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1},
    **{"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1},
}

#: Types that are copied: an integer view, and the bits that only infinities and NaNs have all set.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
}

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

#: Bytes that say how long the header is; tensors begin at a multiple of it.
_LENGTH = 8
#: Longest header that is believed; the format's own limit.
_MOST_HEADER = 100_000_000
#: Copied at once.
_PIECE = 4 * 2**20

_AGAIN = "Fetch it again."


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file.

    Attributes:
        name: Of the tensor.
        dtype: As safetensors calls it.
        shape: Row-major.
        path: The file.
        start: Where its bytes begin in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    start: int

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * _WIDTHS[self.dtype]

    def head(self, rows: int) -> "Stored":
        """The first rows of a matrix."""
        return replace(self, shape=(rows, *self.shape[1:]))

    def rows(self, numbers: Sequence[int]) -> bytes:
        """Some rows of a matrix, read from the file, one after the other."""
        width = self.size // self.shape[0]
        with self.path.open("rb") as file:
            return b"".join(_at(file, self.start + number * width, width) for number in numbers)


def read_snapshot(folder: Path) -> dict[str, Stored]:
    """All tensors of a model: of its one file, or of the files that its index names.

    Raises:
        InputError: If it has no weights, or they are damaged or incomplete.
    """
    index = folder / INDEX
    if not index.is_file():
        if (folder / SINGLE).is_file():
            return _read_file(folder / SINGLE)
        raise InputError(f"{folder} has neither {SINGLE} nor {INDEX}. Is it a model's folder?")
    wanted = read_json(index).get("weight_map")
    if not isinstance(wanted, dict) or not all(isinstance(name, str) for name in wanted.values()):
        raise InputError(f"{index} has no weight_map. {_AGAIN}")
    found: dict[str, Stored] = {}
    for file in sorted(set(wanted.values())):
        # What an index names is a file beside it, never a path to somewhere else.
        path = folder / Path(file).name
        if not path.is_file():
            raise InputError(f"{path} is not there, but {INDEX} names it. {_AGAIN}")
        found |= _read_file(path)
    for name, file in wanted.items():
        if name not in found or found[name].path.name != file:
            raise InputError(f"{INDEX} says that {file} holds {name}, which is not so. {_AGAIN}")
    return found


def write_snapshot(
    folder: Path,
    tensors: Sequence[Stored],
    most: int,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Copy tensors into files of their own, in this order, and check what was written.

    Args:
        folder: Where to; the names of the files are those that Hugging Face's libraries expect.
        tensors: What to copy; each is read from its own file.
        most: Bytes of tensors per file; one tensor may exceed it.
        progress: Is told the bytes that were copied, of all.

    Raises:
        InputError: If a tensor holds values that are not finite.
        UnavailableError: If what is on the disk afterwards is not what was read.
    """
    groups = list(_groups(tensors, most))
    names = (
        [SINGLE]
        if len(groups) == 1
        else [
            f"model-{number:05}-of-{len(groups):05}.safetensors"
            for number in range(1, len(groups) + 1)
        ]
    )
    done = 0
    for name, group in zip(names, groups, strict=True):
        digest = _write_file(folder / name, group, partial(_later, progress, done))
        done += sum(tensor.size for tensor in group)
        if _digest(folder / name) != digest:
            raise UnavailableError(f"{folder / name} reads otherwise than it was written.")
    if len(groups) > 1:
        where = {t.name: name for name, group in zip(names, groups, strict=True) for t in group}
        index = {"metadata": {"total_size": done}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        InputError: If it is absent or damaged, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, not an object.")
    return value


def _later(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def _read_file(path: Path) -> dict[str, Stored]:
    """The header of a file, checked against its size: tensors join without gap or overlap."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if length > min(size - _LENGTH, _MOST_HEADER):
            raise InputError(f"{path} is no safetensors file, or its download broke off. {_AGAIN}")
        content = file.read(length)
    try:
        header = json.loads(content)
        header.pop("__metadata__", None)
        found = [
            Stored(name, entry["dtype"], tuple(entry["shape"]), path, entry["data_offsets"][0])
            for name, entry in header.items()
        ]
        ends = [entry["data_offsets"][1] for entry in header.values()]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"{path} has a damaged header: {error!r}. {_AGAIN}") from error
    place, base = 0, _LENGTH + length
    for tensor, end in sorted(zip(found, ends, strict=True), key=lambda pair: pair[1]):
        if tensor.dtype not in _WIDTHS:
            raise InputError(f"{path}: {tensor.name} is of a type unknown here, {tensor.dtype}.")
        if tensor.start != place or tensor.size != end - tensor.start:
            raise InputError(f"{path}: {tensor.name} does not lie where it should. {_AGAIN}")
        place = end
    if base + place != size:
        raise InputError(
            f"{path} has {size} bytes instead of {base + place}; its download broke off. {_AGAIN}"
        )
    return {tensor.name: replace(tensor, start=base + tensor.start) for tensor in found}


def _groups(tensors: Sequence[Stored], most: int) -> Iterator[list[Stored]]:
    group: list[Stored] = []
    size = 0
    for tensor in tensors:
        if group and size + tensor.size > most:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += tensor.size
    yield group


def _write_file(path: Path, tensors: Sequence[Stored], progress: Callable[[int], None]) -> bytes:
    """Write one file; the SHA-256 of all that it should hold now."""
    header: dict[str, Mapping[str, Any]] = {"__metadata__": {"format": "pt"}}
    place = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (place, place + tensor.size),
        }
        place += tensor.size
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % _LENGTH)
    digest = hashlib.sha256()
    done = 0
    with path.open("xb") as file:
        for piece in (len(content).to_bytes(_LENGTH, "little"), content):
            digest.update(piece)
            file.write(piece)
        for tensor in tensors:
            for piece in _pieces(tensor):
                digest.update(piece)
                file.write(piece)
                done += len(piece)
                progress(done)
        file.flush()
        os.fsync(file.fileno())
    return digest.digest()


def _pieces(tensor: Stored) -> Iterator[bytes]:
    if tensor.dtype not in _EXPONENTS:
        raise InputError(
            f"{tensor.path}: {tensor.name} is {tensor.dtype}; only weights in "
            f"{', '.join(_EXPONENTS)} are converted."
        )
    kind, exponent = _EXPONENTS[tensor.dtype]
    with tensor.path.open("rb") as file:
        for place in range(0, tensor.size, _PIECE):
            piece = _at(file, tensor.start + place, min(_PIECE, tensor.size - place))
            if (np.frombuffer(piece, kind) & exponent == exponent).any():
                raise InputError(
                    f"{tensor.path}: {tensor.name} holds values that are not finite. {_AGAIN}"
                )
            yield piece


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    content = file.read(size)
    if len(content) != size:
        raise InputError(f"{file.name} ended early. {_AGAIN}")
    return content


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

"""The two final.pt of the voice: snapshots of a training, of which only the weights are wanted."""

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.checkpoint import CheckpointError, require, without_prefix

_SCALAR = np.float64(0).__reduce__()[0]
#: Plain data that trainers put beside the weights; nothing else may be in there.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    # What numpy rebuilds a number with, where it is now and where it was before numpy 2.
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
]

_FORBIDDEN = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class) (\S+)")


def read_training(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote in a training; nothing in it is executed.

    Tensors stay in the file until they are looked at: beside the weights lie the moments of the
    optimizer, twice their size.

    Raises:
        CheckpointError: If the file is absent or damaged, or holds more than data.
    """
    require(path.parent, (path.name,))
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            try:
                value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap" not in str(error):
                    raise
                # A file in the format of before 2020.
                value = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is damaged, or is no PyTorch checkpoint: {_reason(error)}. "
            "Delete the file and fetch it again."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not tensors by name.")
    return dict(value)


def _reason(error: Exception) -> str:
    """What torch found, without its advice to trust the file."""
    if found := _FORBIDDEN.search(str(error)):
        return f"it holds {found[1]}, which is no plain data"
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def weights(path: Path, values: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    """The tensors under one name of a training's snapshot.

    Raises:
        CheckpointError: If there are none, or they are not tensors by name.
    """
    found = values.get(part)
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path} has no {part!r}; it has {', '.join(map(repr, values)) or 'nothing'}."
        )
    for name, tensor in found.items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise CheckpointError(f"{path}: {part} holds {name!r}, which is no tensor.")
    return without_prefix(found, "module.")

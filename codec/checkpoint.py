"""Reading published weights: strictly, and with errors that name file and tensor."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from errors import UnavailableError

#: How many names an error lists before it only counts.
_LISTED = 3

_AGAIN = "Delete the file and fetch it again."


class CheckpointError(UnavailableError):
    """A file of a model is absent, damaged, or not the one it should be."""


def require(folder: Path, names: tuple[str, ...]) -> None:
    """Check that a folder holds the files of a model.

    Raises:
        CheckpointError: If one is absent or empty.
    """
    for name in names:
        path = folder / name
        if not path.is_file():
            there = ", ".join(sorted(entry.name for entry in folder.glob("*"))[:8]) or "nothing"
            raise CheckpointError(f"{path} is not there; the folder holds {there}.")
        if not path.stat().st_size:
            raise CheckpointError(f"{path} is empty, its download broke off. {_AGAIN}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        CheckpointError: If it holds something else, or is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. {_AGAIN}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not an object. {_AGAIN}")
    return value


def read_pickle(path: Path) -> dict[str, Tensor]:
    """A state dict written by `torch.save`; nothing in it is executed.

    Raises:
        CheckpointError: If it is damaged or holds anything but tensors by name.
    """
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path} is damaged, or is no PyTorch checkpoint: {reason}. {_AGAIN}"
        ) from error
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    ):
        raise CheckpointError(f"{path} holds something else than tensors by name.")
    return dict(value)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file.

    Raises:
        CheckpointError: If it is damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is damaged, or is no safetensors file: {error}. {_AGAIN}"
        ) from error


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under their names without `prefix`, if all of them have it."""
    if tensors and all(name.startswith(prefix) for name in tensors):
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def fold_weight_norm(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Replace each pair `weight_g`, `weight_v` by the weight that it stands for.

    Weight normalization (Salimans and Kingma, 2016) over every dimension but the first.

    Raises:
        CheckpointError: If one of a pair is absent, or they do not fit each other.
    """
    folded = dict(tensors)
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if kind not in ("weight_g", "weight_v"):
            continue
        pair = f"{stem}.weight_g", f"{stem}.weight_v"
        for other in pair:
            if other not in tensors:
                raise CheckpointError(f"{path} lacks the tensor {other}.")
        if kind == "weight_g":
            continue
        g, v = (folded.pop(other) for other in pair)
        if g.shape != (v.shape[0], *[1] * (v.dim() - 1)):
            raise CheckpointError(
                f"{path}: the shapes of {pair[0]} {list(g.shape)} and {pair[1]} "
                f"{list(v.shape)} do not fit each other."
            )
        norm = v.float().flatten(1).norm(dim=1).view(g.shape)
        folded[f"{stem}.weight"] = g * v / norm
    return folded


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, config: Path) -> None:
    """Put tensors in the place of a module's parameters and buffers, all of them and no other.

    Args:
        module: May be on the meta device.
        tensors: State dict.
        path: The file they came from, for errors.
        config: The file that the module's sizes came from, for errors.

    Raises:
        CheckpointError: If one is absent, unknown, of the wrong shape, or not finite.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    if missing:
        raise CheckpointError(f"{path} lacks {_listed(missing)}. Is it the right file?")
    if extra:
        raise CheckpointError(f"{path} has {_listed(extra)} not known here. Is it the right file?")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: the tensor {name} is {list(tensor.shape)}, but {config.name} asks for "
                f"{list(wanted[name].shape)}."
            )
        if not tensor.is_floating_point():
            raise CheckpointError(f"{path}: the tensor {name} is {tensor.dtype}, not floating.")
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: the tensor {name} holds values that are not finite.")
    module.load_state_dict(dict(tensors), strict=True, assign=True)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    more = len(names) - _LISTED
    noun = "the tensor" if len(names) == 1 else "the tensors"
    return f"{noun} {shown}" + (f" and {more} more" if more > 0 else "")

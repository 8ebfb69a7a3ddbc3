"""Weights of linear layers in 8 or 4 bits, through torchao: less memory, about the same words.

Only weights are rounded; what runs between the layers stays as it is. A layer is rounded as soon
as its weights are read (`Snapshot.load`, `finish`), so a big model never lies in memory whole.
On a GPU decoding gets faster with it, because it waits for weights; torchao's CPU kernels do not.
"""

import importlib.util
import logging
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from errors import InputError, UnavailableError

Precision = Literal["full", "int8", "int4"]

#: Weights that share a scale, the largest number that fits a layer.
_GROUPS = (128, 64, 32)

#: Rows of a layer that int4 kernels take at once.
_ROWS = 16

#: Oldest GPUs (compute capability) whose int4 kernels torch has.
_INT4_GPU = (8, 0)

_INSTALL = "Install requirements-torchao.txt, or load the model with full precision."


def rounding(
    precision: Precision, device: torch.device | str, dtype: torch.dtype
) -> Callable[[nn.Module], None] | None:
    """What to do with each layer once it is filled.

    Args:
        precision: Of the weights.
        device: Where the layers are.
        dtype: Of what runs between the layers.

    Returns:
        A function that rounds a linear layer in place and leaves others alone; None for "full".

    Raises:
        UnavailableError: If torchao is not installed, or the device has no kernel for it.
        InputError: If `dtype` does not go with it.
    """
    if precision == "full":
        return None
    if importlib.util.find_spec("torchao") is None:
        raise UnavailableError(f"Weights in {precision} need torchao. {_INSTALL}")
    int8 = _int8()
    if precision == "int8":
        return lambda layer: _round(layer, int8)
    device = torch.device(device)
    if dtype != torch.bfloat16:
        raise InputError(f"Weights in int4 go with bfloat16 between the layers, not {dtype}.")
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _INT4_GPU:
        raise UnavailableError("This GPU has no kernels for weights in int4. Choose int8.")
    if device.type not in ("cpu", "cuda"):
        raise UnavailableError(f"There are no kernels for int4 on {device}. Choose int8.")

    def finer(layer: nn.Module) -> None:
        group = _group(layer)
        _round(layer, int8 if group is None else _int4(device, group))

    return finer


def stored_bytes(module: nn.Module) -> int:
    """Bytes that the weights of a model take, rounded or not."""
    return sum(_bytes(tensor) for tensor in (*module.parameters(), *module.buffers()))


def _bytes(tensor: Any) -> int:
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.nbytes)
    names, _ = tensor.__tensor_flatten__()
    return sum(_bytes(getattr(tensor, name)) for name in names)


def _group(layer: nn.Module) -> int | None:
    """Weights to a scale; None where int4 does not suit.

    The output projection is the widest layer and decides on the words themselves; and the kernels
    take rows by sixteen.
    """
    if not isinstance(layer, nn.Linear) or layer.out_features > 8 * layer.in_features:
        return None
    if layer.out_features % _ROWS:
        return None
    return next((group for group in _GROUPS if layer.in_features % group == 0), None)


def _round(layer: nn.Module, config: Any) -> None:
    if isinstance(layer, nn.Linear):
        from torchao.quantization import quantize_  # noqa: PLC0415  (an optional package)

        quantize_(layer, config)


def _int8() -> Any:
    # Said at import: which of its GPU kernels do not fit this machine.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    from torchao.quantization import Int8WeightOnlyConfig  # noqa: PLC0415  (an optional package)

    return Int8WeightOnlyConfig(set_inductor_config=False)


def _int4(device: torch.device, group: int) -> Any:
    if device.type == "cuda":
        from torchao.quantization import Int4WeightOnlyConfig  # noqa: PLC0415

        return Int4WeightOnlyConfig(
            group_size=group, int4_packing_format="tile_packed_to_4d", set_inductor_config=False
        )
    from torchao.prototype.quantization.int4 import (  # noqa: PLC0415
        PrototypeInt4WeightOnlyConfig,
    )

    return PrototypeInt4WeightOnlyConfig(group_size=group, set_inductor_config=False)

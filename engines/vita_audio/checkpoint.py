"""Loading the language model of a VITA-Audio checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch

from engines.base import Cancel
from engines.native.quantization import Precision, rounding
from engines.native.snapshot import Snapshot
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.language_model import LanguageModel

#: Tensors of a Plus checkpoint that belong to its speech encoder.
ENCODER_TENSORS = r"model\.audio_(model|projection)\..+"


def load_language_model(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    precision: Precision = "full",
    on_progress: Callable[[int], None] | None = None,
    cancel: Cancel | None = None,
) -> LanguageModel:
    """Read the language model of a snapshot, in one file or in pieces.

    Args:
        folder: A snapshot as on the Hub.
        device: Where it runs.
        dtype: In what it computes.
        precision: Of the weights of linear layers; int8 and int4 take torchao.
        on_progress: Told the bytes read so far.
        cancel: Stops the load between two tensors.

    Raises:
        CheckpointError: If a file or tensor is absent, unknown, damaged or of the wrong shape.
        UnavailableError: If the precision cannot be had here.
        CancelledError: If `cancel` was set.
    """
    finish = rounding(precision, device, dtype)
    config = LanguageConfig.read(folder)
    with torch.device("meta"):
        model = LanguageModel(config)
    Snapshot(folder).load(
        model,
        device=device,
        dtype=dtype,
        ignored=ENCODER_TENSORS if config.hears == "embeddings" else "",
        finish=finish,
        on_progress=on_progress,
        cancel=cancel,
    )
    model.rotary.to(device)
    return model.eval()

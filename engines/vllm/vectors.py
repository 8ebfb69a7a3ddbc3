"""Prompts as vectors: embeddings of tokens, and what takes their place where there was sound."""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engines.vllm.client import Vectors
from engines.vllm.families import EMBEDDINGS
from engines.vllm.tensor_files import read_snapshot
from errors import InputError

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class EmbeddingTable:
    """The embeddings of a model, row by row from its file; they take no memory here.

    Args:
        folder: The published snapshot, or the folder that the server loads.

    Raises:
        InputError: If the folder has no embeddings.
    """

    def __init__(self, folder: Path) -> None:
        stored = read_snapshot(folder).get(EMBEDDINGS)
        if stored is None or stored.dtype not in _DTYPES:
            raise InputError(f"{folder} has no {EMBEDDINGS} in {', '.join(_DTYPES)}.")
        self._stored = stored
        self.rows, self.width = stored.shape

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of tokens, [n, width] in the type of the file.

        Raises:
            InputError: If an id is beyond the vocabulary.
        """
        beyond = [number for number in ids if not 0 <= number < self.rows]
        if beyond:
            raise InputError(f"The vocabulary has {self.rows} tokens; there is no {beyond[0]}.")
        content = bytearray(self._stored.rows(ids))
        dtype = _DTYPES[self._stored.dtype]
        if not content:
            return torch.empty(0, self.width, dtype=dtype)
        return torch.frombuffer(content, dtype=dtype).view(-1, self.width)


def pack(vectors: Tensor) -> Vectors:
    """Vectors as vLLM's server wants them.

    Args:
        vectors: [tokens, width], floating.
    """
    content = io.BytesIO()
    torch.save(vectors.detach().contiguous().cpu().clone(), content)
    return Vectors(content.getvalue(), len(vectors))

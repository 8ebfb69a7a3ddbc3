"""Finds VITA-1.5's reference data, here or in the folder `PARLEY_GOLDEN` names."""

import json
import lzma
from functools import cache

import numpy as np
import torch
from codec_golden import GOLDEN, HERE
from safetensors.torch import load, load_file

#: The whole data; or the part of it that is kept beside the tests.
DATA = (
    GOLDEN / "vita15" if (GOLDEN / "vita15" / "vita_tiny" / "model.safetensors").is_file() else None
)
PART = HERE / "vita15"
FOLDER = DATA or PART

#: The whole tiny model; beside the tests, its tokenizer and its audio encoder.
TINY = FOLDER / "vita_tiny"


@cache
def meta(case):
    return json.loads((FOLDER / case / "meta.json").read_text())


@cache
def arrays(case, what="expected"):
    """The tensors of a case; beside the tests only some of them."""
    if DATA:
        return load_file(DATA / case / f"{what}.safetensors")
    return load(unpacked(PART / case / f"{what}.safetensors.xz"))


def encoder_folder(folder):
    """A folder with the weights of the tiny audio encoder, among others or by themselves."""
    if DATA:
        return TINY
    (folder / "model.safetensors").write_bytes(unpacked(TINY / "model.safetensors.xz"))
    return folder


def unpacked(path):
    """A file whose bytes lie sorted by their place in a 32-bit word: floats pack better so."""
    planes = np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8)
    return planes.reshape(4, -1).T.tobytes()


def packed(content):
    """See `unpacked`."""
    content += b" " * (-len(content) % 4)
    planes = np.frombuffer(content, np.uint8).reshape(-1, 4).T
    return lzma.compress(planes.tobytes(), preset=9)


def close(got, wanted, atol, rtol=0.0):
    assert got.shape == wanted.shape, f"{list(got.shape)} instead of {list(wanted.shape)}"
    torch.testing.assert_close(got.float(), wanted.float(), atol=atol, rtol=rtol)

"""Finds OpenS2S's reference data, here or in the folder `PARLEY_GOLDEN` names."""

import json
import lzma
from functools import cache
from pathlib import Path

import numpy as np
from codec_golden import GOLDEN, HERE
from safetensors.torch import load, load_file

#: The whole data, with Qwen's chat template; or the part of it that is kept beside the tests.
DATA = GOLDEN / "opens2s" if (GOLDEN / "opens2s" / "generate" / "inputs").is_dir() else None
PART = HERE / "opens2s"

#: Written by us: as much of Qwen3's template as messages without thoughts need.
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}"
)


@cache
def expected(what):
    """`expected.json` of a folder of the data."""
    return json.loads(((DATA or PART) / what / "expected.json").read_text())


@cache
def arrays(what):
    """The tensors of a folder of the data; beside the tests only some of them."""
    if DATA:
        return load_file(DATA / what / "expected.safetensors")
    return load(unpacked(PART / what / "expected.safetensors.xz"))


def unpacked(path):
    """A file whose bytes lie sorted by their place in a 32-bit word: floats pack better so."""
    planes = np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8)
    return planes.reshape(4, -1).T.tobytes()


def inputs(name):
    """A sound file of the data."""
    return next((DATA or PART).glob(f"*/inputs/{name}.*"))


def snapshot(folder: Path) -> Path:
    """The tiny checkpoint in the layout of the published one, with a chat template."""
    if DATA:
        return DATA / "generate" / "checkpoint"
    for path in (PART / "checkpoint").rglob("*.json"):
        copy = folder / path.relative_to(PART / "checkpoint")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    weights = unpacked(PART / "checkpoint" / "model.safetensors.xz")
    (folder / "model.safetensors").write_bytes(weights)
    return folder

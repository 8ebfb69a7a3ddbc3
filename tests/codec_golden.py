"""Finds the reference data of the codec, here or in the folder `PARLEY_GOLDEN` names."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from conftest import ROOT
from safetensors.torch import load_file

HERE = ROOT / "tests" / "golden"
GOLDEN = Path(os.environ.get("PARLEY_GOLDEN") or HERE)

#: Small models for what is not exactness.
DECODER = HERE / "flow_decoder" / "checkpoint"
TOKENIZER = HERE / "speech_tokenizer" / "checkpoint"


@dataclass(frozen=True)
class Folder:
    """One folder of reference data."""

    path: Path

    @property
    def meta(self):
        return json.loads((self.path / "meta.json").read_text())

    @property
    def checkpoint(self):
        return self.path / "checkpoint"

    def arrays(self):
        (file,) = self.path.glob("*.safetensors")
        return load_file(file)

    def tolerance(self, what):
        """`atol` and `rtol` as the data state them for the entry that begins with `what`."""
        (text,) = [
            text
            for name, text in self.meta["tolerance"].items()
            if what == name or what in name.split("/")
        ]
        found = {
            kind: float(match[1]) if (match := re.search(rf"{kind} ([\d.e-]+)", text)) else 0.0
            for kind in ("atol", "rtol")
        }
        assert found["atol"], text
        return found

    def __str__(self):
        return self.path.name


def folders(component):
    """Every folder of reference data for a component; those beside the tests if there is none."""
    for root in (GOLDEN, HERE):
        places = (path.parent for path in root.rglob("meta.json"))
        found = sorted(place for place in places if place.name.startswith(component))
        if found:
            return [Folder(path) for path in found]
    raise AssertionError(f"{HERE} holds no reference data for {component}")


def close(got, wanted, tolerance):
    """Fails, and says by how much, unless two tensors agree."""
    assert got.shape == wanted.shape, f"{list(got.shape)} instead of {list(wanted.shape)}"
    torch.testing.assert_close(got.to(wanted.dtype), wanted, **tolerance)

"""VITA-Audio from the command line and the API, and weights that are not what they should be."""

import json
import subprocess
import sys

import pytest
import soundfile
import torch
from conftest import ROOT, SAMPLES
from gradio_client import Client, handle_file
from vita_checkpoint import SMALL
from vita_house import (
    ask,
    data_fixture,  # noqa: F401  (a fixture)
    services_fixture,  # noqa: F401  (a fixture)
    settings,
)

from engines.messages import Turn
from errors import UnavailableError
from services import Services

#: `app.py` with the sizes of the small checkpoints in the place of the published ones.
APP = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import vita_checkpoint
from engines.vita_audio import layout
layout.PUBLISHED.update(vita_checkpoint.SMALL)
layout.CODES = vita_checkpoint.CODES
import app
sys.exit(app.main())
"""


def command(data, *arguments):
    options = ("--engine", "vita-audio-boost", "--data", data, "--offline", "--device", "cpu")
    budget = ("--memory-budget", 10**12, "--threads", 1)
    script = APP.format(root=str(ROOT))
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, (*options, *budget, *arguments))],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_command_line(data, tmp_path):
    heard = command(data, "transcribe", SAMPLES / "sky.wav")
    assert heard.returncode == 0, heard.stderr
    assert heard.stdout.strip()
    asked = command(data, "ask", SAMPLES / "sky.wav", "-o", tmp_path / "reply.wav")
    assert asked.returncode == 0, asked.stderr
    assert soundfile.info(tmp_path / "reply.wav").samplerate == 22_050


def test_api(data):
    from demos.page import launch  # noqa: PLC0415

    clip = handle_file(SAMPLES / "sky.wav")
    with Services(settings(data, engine="vita-audio-plus-boost")) as services:
        page = launch(services, block=False)
        try:
            client = Client(page.local_url, verbose=False)
            assert client.predict(clip, api_name="/transcribe")
            question, reply, sound = client.predict(clip, api_name="/ask")
            assert question and reply
            assert soundfile.info(sound).samplerate == 22_050
            spoken = client.predict("Good morning.", api_name="/speak")
            assert soundfile.info(spoken).duration > 0.1
        finally:
            page.close()


# Wrong weights


def fails(data, *words, name="vita-audio-boost"):
    with Services(settings(data)) as services, pytest.raises(UnavailableError) as caught:
        list(ask(services.engine(name), Turn(text="Hello."), spoken=False))
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.fixture
def copy(data, tmp_path):
    """A data folder of its own, whose weights may be damaged."""
    import shutil  # noqa: PLC0415

    return shutil.copytree(data, tmp_path / "data")


def test_the_checkpoint_of_another_engine(copy):
    weights = copy / "weights"
    for name in SMALL:
        (weights / name).rename(weights / f"{name}-")
    (weights / "VITA-Audio-Boost-").rename(weights / "VITA-Audio-Plus-Boost")
    (weights / "VITA-Audio-Plus-Boost-").rename(weights / "VITA-Audio-Boost")
    fails(copy, "hears embeddings", "VITA-Audio-Boost hears codes")
    fails(copy, "hears codes", "Plus-Boost hears embeddings", name="vita-audio-plus-boost")


def test_sizes_that_are_not_those_of_the_checkpoint(copy):
    path = copy / "weights" / "VITA-Audio-Boost" / "config.json"
    told = json.loads(path.read_text()) | {"num_nextn_predict_layers": 2, "num_hidden_layers": 4}
    path.write_text(json.dumps(told))
    fails(copy, "config.json", "heads is 2", "VITA-Audio-Boost has 3")


@pytest.mark.parametrize("change", ["lacks", "has", "is"])
def test_tensors_that_are_not_those_of_the_checkpoint(copy, change):
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    path = copy / "weights" / "VITA-Audio-Boost" / "model.safetensors"
    tensors = load_file(path)
    if change == "lacks":
        del tensors["mtp_projs.1.weight"]
    elif change == "has":
        tensors["model.visual.weight"] = torch.zeros(1)
    else:
        tensors["mtp_projs.1.weight"] = torch.zeros(64, 64)
    save_file(tensors, path)
    name = "model.visual.weight" if change == "has" else "mtp_projs.1.weight"
    fails(copy, change, name, "VITA-Audio-Boost")


def test_tokenizer_of_another_model(copy):
    weights = copy / "weights"
    other = weights / "VITA-Audio-Plus-Boost" / "tokenizer.json"
    (weights / "VITA-Audio-Boost" / "tokenizer.json").write_bytes(other.read_bytes())
    fails(copy, "tokenizer.json", "VITA-Audio-Plus")


def test_normalisation_that_is_not_there(copy):
    (copy / "weights" / "SenseVoiceSmall" / "am.mvn").unlink()
    fails(copy, "am.mvn", "offline", name="vita-audio-plus-boost")


def test_memory_is_looked_at_before_anything_is_read(data, monkeypatch):
    from engines.vita_audio import runtime  # noqa: PLC0415

    monkeypatch.setattr(runtime.psutil, "virtual_memory", lambda: type("M", (), {"available": 10}))
    monkeypatch.setattr(runtime, "load_language_model", lambda *_, **__: pytest.fail("was read"))
    fails(data, "needs", "GB", "are free", "PARLEY_VITA_PRECISION")

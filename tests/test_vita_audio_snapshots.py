"""VITA-Audio from the command line and the API, and weights that are not what they should be."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
import soundfile
import torch
from conftest import ROOT, SAMPLES
from engine_contract import sound_of, text_of
from gradio_client import Client, handle_file
from vita_checkpoint import SMALL
from vita_house import (
    BOTH,
    ask,
    data_fixture,  # noqa: F401  (a fixture)
    services_fixture,  # noqa: F401  (a fixture)
    settings,
)

from engines.base import Cancel
from engines.messages import Turn
from engines.vita_audio.products import PRODUCTS
from errors import UnavailableError
from services import Services
from settings import Settings
from speech.speaker import WEIGHTS
from weights import Store

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
    # A recording that is given as a voice is looked at first.
    encoder = Store(Settings(_env_file=None).data / "weights").ensure(WEIGHTS)
    if not (known := data / "weights" / WEIGHTS).exists():
        known.symlink_to(encoder.parent)
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
            voice = handle_file(SAMPLES / "story.wav")
            given = client.predict("Good morning.", voice, seed=1, api_name="/clone")
            own = client.predict("Good morning.", seed=1, api_name="/speak")
            assert soundfile.info(given).samplerate == 22_050
            assert not np.array_equal(soundfile.read(given)[0], soundfile.read(own)[0])
            # Nobody is promised that voice.
            assert client.predict(api_name="/voices")["reference"] == "prompt"
        finally:
            page.close()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_request_over_rounded_weights(data, name, precision):
    with Services(settings(data, vita_precision=precision)) as services:
        events = list(ask(services.engine(name), Turn(text="Hello.")))
        assert text_of(events)
        assert len(sound_of(events))
        with services.models.use(name, cancel=Cancel()) as (vita,):
            model = vita.language.model
        rounded = [m for m in model.modules() if hasattr(m, "weight") and _is_rounded(m.weight)]
        assert len(rounded) > 7 * model.config.layers
        (own,) = [status for status in services.models.status() if status.name == name]
        full = settings(data)
        (product,) = [product for product in PRODUCTS if product.info.name == name]
        assert own.memory < 0.75 * product.memory(full)


def _is_rounded(weight):
    return hasattr(weight, "__tensor_flatten__")


def test_rounded_weights_without_torchao(data, monkeypatch):
    known = importlib.util.find_spec

    def find(name, *rest):
        return None if name == "torchao" else known(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with (
        Services(settings(data, vita_precision="int8")) as services,
        pytest.raises(UnavailableError, match=r"requirements-torchao\.txt"),
    ):
        list(ask(services.engine("vita-audio-boost"), Turn(text="Hello."), spoken=False))


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


def change_tokens(data, change, name="VITA-Audio-Boost"):
    """Rewrite the tokens that were added to a tokenizer."""
    path = data / "weights" / name / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["added_tokens"] = change(told["added_tokens"])
    path.write_text(json.dumps(told), encoding="utf-8")


def test_tokenizer_without_the_audio_tokens(copy):
    change_tokens(copy, lambda added: [t for t in added if "<|audio_" not in t["content"]])
    fails(copy, "tokenizer.json", "lacks the audio tokens", "<|audio_0|>")


def test_tokenizer_for_a_codec_of_other_size(copy):
    change_tokens(copy, lambda added: [t for t in added if t["content"] != "<|audio_511|>"])
    fails(copy, "tokenizer.json", "511 audio tokens", "512 codes")


def test_vocabulary_of_another_model(copy):
    """A tokenizer with more ids than the model, and a model of another size than published."""

    def with_more(added):
        last = max(token["id"] for token in added)
        more = (added[-1] | {"id": last + n, "content": f"<|more_{n}|>"} for n in range(1, 300))
        return [*added, *more]

    change_tokens(copy, with_more)
    fails(copy, "tokenizer.json", "ids up to", "960")
    path = copy / "weights" / "VITA-Audio-Plus-Boost" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 961}))
    fails(copy, "config.json", "vocabulary is 961", "960", name="vita-audio-plus-boost")


def test_normalisation_that_is_not_there(copy):
    (copy / "weights" / "SenseVoiceSmall" / "am.mvn").unlink()
    fails(copy, "am.mvn", "offline", name="vita-audio-plus-boost")


def test_memory_is_looked_at_before_anything_is_read(data, monkeypatch):
    from engines.vita_audio import runtime  # noqa: PLC0415

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 10}))
    monkeypatch.setattr(runtime, "load_language_model", lambda *_, **__: pytest.fail("was read"))
    fails(data, "needs", "GB", "are free", "PARLEY_VITA_PRECISION")

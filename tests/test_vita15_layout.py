"""Names and shapes of VITA-1.5's tensors, and what is said of a snapshot that has others."""

import json
import re
import shutil

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from vita15_checkpoint import AUDIO as AUDIO_FOLDER
from vita15_checkpoint import SIZES, make, make_vision

from codec.checkpoint import CheckpointError
from engines.base import Cancel
from engines.native.quantization import stored_bytes
from engines.vita.layout import AUDIO, PUBLISHED, VISION, encoder_weights, tensors
from engines.vita.loading import Loading, load
from errors import CancelledError, UnavailableError


def test_published_sizes():
    """Parameters by part: of the printed architecture of the real model."""
    shapes = tensors(PUBLISHED)

    def count(pattern):
        found = [shape for name, shape in shapes.items() if re.fullmatch(pattern, name)]
        return sum(torch.Size(shape).numel() for shape in found)

    assert count(AUDIO) == pytest.approx(375.8e6, rel=1e-3)
    assert count(VISION) == pytest.approx(304e6 + 27.5e6, rel=0.01)
    assert count(".+") - count(AUDIO) - count(VISION) == pytest.approx(7.616e9, rel=1e-3)
    assert encoder_weights(PUBLISHED) == count(AUDIO) + count(VISION)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshot")
    return make(folder / "VITA-1.5"), make_vision(folder / "InternViT")


@pytest.fixture
def snapshot(made, tmp_path):
    """A copy to damage."""
    for folder in made:
        shutil.copytree(folder, tmp_path / folder.name)
    return [tmp_path / folder.name for folder in made]


def loaded(snapshot, **options):
    return load(*snapshot, Loading(sizes=SIZES, **options))


def changed(path, **values):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | values))


def test_it_loads(snapshot):
    progress = []
    made = load(*snapshot, Loading(sizes=SIZES), on_progress=progress.append)
    assert progress == sorted(progress)
    # Rows beyond the tokenizer's are not read.
    assert 0.9 < progress[-1] < 1
    assert made.language.model.embed_tokens.weight.shape[0] == made.vocabulary.size
    assert made.whale.mean.dtype == torch.float32
    assert made.voice.rows([1]).shape == (4, 16)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_weights_of_the_language_model_can_be_rounded(snapshot, precision):
    pytest.importorskip("torchao")
    whole, made = loaded(snapshot), loaded(snapshot, precision=precision)
    layer = made.language.model.layers[0].mlp.up_proj
    assert stored_bytes(layer) < stored_bytes(whole.language.model.layers[0].mlp.up_proj)
    rows = torch.randn(1, 1, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        off = layer(rows) - whole.language.model.layers[0].mlp.up_proj(rows)
    assert 0 < off.abs().max() < 0.5
    assert made.whale.embed.weight.dtype == torch.float32


def test_means_of_half_precision_are_taken_from_the_file(snapshot):
    """Beside the weights they are rounded; where they are others, those are in force."""
    path = snapshot[0] / "model.safetensors"
    name = "model.audio_encoder.encoder.global_cmvn.mean"
    for mean, wanted in ((10.03125, 10.0), (12.0, 12.0)):
        save_file(load_file(path) | {name: torch.full((80,), mean).half()}, path)
        assert loaded(snapshot).whale.mean[0] == wanted


def without(name):
    return lambda folder, vision: (folder / name).unlink()


def tensor(change):
    def damage(folder, vision):
        path = folder / "model.safetensors"
        content = load_file(path)
        change(content)
        save_file(content, path)

    return damage


def says(name, **values):
    return lambda folder, vision: changed(folder / name, **values)


NAN = torch.full((64,), torch.nan).half()
PROJECTOR = "model.mm_projector.0.weight"

DAMAGED = {
    "no configuration": (without("config.json"), r"config\.json is not there"),
    "another model": (says("config.json", model_type="qwen2"), "not vita-Qwen2"),
    "another projector": (says("config.json", mm_projector_type="linear"), "mm_projector_type"),
    "padded pictures": (says("config.json", image_aspect_ratio="pad"), "image_aspect_ratio"),
    "learned prompts": (says("config.json", audio_prompt_num=4), "audio_prompt_num is 4"),
    "no encoder named": (says("config.json", mm_audio_encoder=None), "mm_audio_encoder"),
    "another size": (says("config.json", num_hidden_layers=3), "layers is 3, but .* has 2"),
    "no encoder": (without(f"{AUDIO_FOLDER}/train.yaml"), r"train\.yaml is not there"),
    "no statistics": (without(f"{AUDIO_FOLDER}/global_cmvn"), "global_cmvn"),
    "no tokenizer": (without("tokenizer.json"), r"vocab\.json is not there"),
    "no voice": (without("vita_tts_ckpt/decoder/final.pt"), r"final\.pt is not there"),
    "no codec": (without("vita_tts_ckpt/codec/model.json"), r"model\.json is not there"),
    "no weights": (without("model.safetensors"), r"model\.safetensors is not there"),
    "no configuration of the eyes": (
        lambda folder, vision: (vision / "config.json").unlink(),
        r"InternViT.config\.json|config\.json is not there",
    ),
    "other eyes": (
        lambda folder, vision: changed(vision / "config.json", qk_normalization=True),
        "qk_normalization",
    ),
    "a tensor is absent": (tensor(lambda t: t.pop(PROJECTOR)), f"lacks the tensor {PROJECTOR}"),
    "a tensor too many": (
        tensor(lambda t: t.update({"model.mm_projector.4.bias": NAN})),
        r"has the tensor model\.mm_projector\.4\.bias",
    ),
    "a tensor of another shape": (
        tensor(lambda t: t.update({"model.norm.weight": torch.ones(63).half()})),
        r"model\.norm\.weight is \[63\], but \[64\]",
    ),
    "a tensor that is not finite": (
        tensor(lambda t: t.update({"model.norm.weight": NAN})),
        r"model\.norm\.weight holds values that are not finite",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_wrong_is_named(snapshot, case):
    damage, words = DAMAGED[case]
    damage(*snapshot)
    with pytest.raises(CheckpointError, match=words):
        loaded(snapshot)


def test_memory_is_looked_at_first(snapshot, monkeypatch):

    class Memory:
        available = 10**8

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    (snapshot[0] / "vita_tts_ckpt/codec/final.pt").write_bytes(b"not looked at")
    with pytest.raises(UnavailableError, match=r"VITA-1.5 needs .* where 0.1 GB are free"):
        loaded(snapshot)


def test_a_load_can_be_cancelled(snapshot):
    cancel = Cancel()
    with pytest.raises(CancelledError):
        load(*snapshot, Loading(sizes=SIZES), on_progress=lambda done: cancel.set(), cancel=cancel)

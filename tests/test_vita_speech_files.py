"""Broken, foreign and old files of VITA-1.5's voice: what is wrong is said, by file and tensor."""

import json

import pytest
import torch
from vita_speech_checkpoint import make, reload, save, write_json

from codec.checkpoint import CheckpointError
from engines.base import Cancel
from engines.vita.speech.head import SpeechHead


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "vita_tts_ckpt")


def load(folder, hidden=64):
    return SpeechHead.load(folder, torch.zeros(300, hidden), lambda text: [1] * len(text))


def change(folder, part, work):
    path = folder / part / "final.pt"
    value = reload(path)
    save(folder / part, work(value) or value)


def change_sizes(folder, part, **sizes):
    path = folder / part / "model.json"
    value = json.loads(path.read_text())
    (value if isinstance(value, dict) else value[2]).update(sizes)
    write_json(folder / part, value)


def drop(part, name):
    """Takes a tensor out."""
    return lambda value: value[part].pop(name).dim() < 0


def put(name, tensor):
    """Puts a tensor into the decoder."""
    return lambda value: value["model"].update({name: tensor})


class Foreign:
    """Something a checkpoint must not hold."""


@pytest.mark.parametrize("form", ["bare", "module", "prefix", "old"])
def test_other_forms_of_the_snapshot_load_too(folder, form):
    wanted = load(folder).decoder.state_dict()

    def reshape(value):
        model = value["model"]
        if form == "bare":
            return model
        if form == "module":
            return {"model": {f"module.{name}": tensor for name, tensor in model.items()}}
        if form == "prefix":
            model["layers_prefix.0.mlp.up_proj.weight"] = torch.zeros(3)
        return value

    change(folder, "decoder", reshape)
    if form == "old":
        path = folder / "decoder" / "final.pt"
        value = reload(path)
        torch.save(value, path, _use_new_zipfile_serialization=False)
    got = load(folder).decoder.state_dict()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_the_file_is_closed_after_loading(folder):
    head = load(folder)
    before = head.decoder.embedding.weight.clone()
    (folder / "decoder" / "final.pt").write_bytes(b"")
    assert torch.equal(head.decoder.embedding.weight, before)
    assert list(head.open(0, Cancel()).push("Still there, all of it. "))


@pytest.mark.parametrize(
    ("part", "work", "words"),
    [
        ("decoder", drop("model", "out_fnn.bias"), ["final.pt", "out_fnn.bias"]),
        ("decoder", put("extra.weight", torch.zeros(1)), ["final.pt", "extra.weight"]),
        (
            "decoder",
            put("norm.weight", torch.zeros(7)),
            ["final.pt", "norm.weight", "[7]", "model.json"],
        ),
        (
            "decoder",
            put("norm.weight", torch.full((16,), torch.nan)),
            ["final.pt", "norm.weight", "not finite"],
        ),
        (
            "decoder",
            put("norm.weight", torch.zeros(16, dtype=torch.int32)),
            ["final.pt", "norm.weight", "int32"],
        ),
        ("decoder", lambda v: v.update(args=Foreign()), ["final.pt", "Foreign"]),
        ("decoder", lambda v: [1, 2], ["final.pt", "list"]),
        ("codec", lambda v: v.pop("generator") and None, ["codec", "final.pt", "generator"]),
        ("codec", drop("generator", "ups.1.weight_g"), ["final.pt", "ups.1.weight_g"]),
        (
            "codec",
            drop("quantizer", "quantizer_modules_globaltokens.2.embedding.weight"),
            ["final.pt", "quantizer_modules_globaltokens.2"],
        ),
    ],
)
def test_a_wrong_tensor_is_named(folder, part, work, words):
    change(folder, part, work)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("part", "sizes", "word"),
    [
        ("decoder", {"transformer_num_blocks": 0}, "transformer_num_blocks"),
        ("decoder", {"transformer_attention_heads": 5}, "heads"),
        ("decoder", {"transformer_attention_dim": 8}, "transformer_attention_dim"),
        ("decoder", {"transformer_linear_units": "64"}, "transformer_linear_units"),
        ("codec", {"resblock": "2"}, "resblock"),
        ("codec", {"residul_layer": 2}, "residul_layer"),
        ("codec", {"sampling_rate": 16_000}, "sampling_rate"),
        ("codec", {"global_tokens": [3, 1, 4]}, "global_tokens"),
        ("codec", {"global_tokens": [3, 1, 4, 60]}, "global_tokens"),
        ("codec", {"global_feature_conv": [8, 4, 6, 3, 1]}, "global_feature_conv"),
        ("codec", {"upsample_rates": [8, 5, 5]}, "upsample_rates"),
        ("codec", {"upsample_kernel_sizes": [16, 11, 11, 4]}, "even number"),
        ("codec", {"upsample_initial_channel": 24}, "halved"),
        ("codec", {"resblock_kernel_sizes": [3, 6]}, "even"),
        ("codec", {"resblock_dilation_sizes": [[1, 3, 5]]}, "resblock_dilation_sizes"),
    ],
)
def test_a_wrong_size_is_named(folder, part, sizes, word):
    change_sizes(folder, part, **sizes)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert word in str(error.value)
    assert "model.json" in str(error.value)


@pytest.mark.parametrize("name", ["decoder/final.pt", "codec/final.pt", "codec/model.json"])
@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "text"])
def test_a_damaged_file_is_named(folder, name, damage):
    path = folder / name
    whole = path.read_bytes()
    {
        "absent": path.unlink,
        "empty": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "text": lambda: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
    }[damage]()
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert str(path) in str(error.value)


def test_a_list_of_sizes_is_asked_for(folder):
    write_json(folder / "decoder", {"idim": 16})
    with pytest.raises(CheckpointError, match=r"decoder/model\.json is no list"):
        load(folder)


def test_parts_that_do_not_fit_each_other(folder, tmp_path):
    with pytest.raises(CheckpointError, match="pieces of 16 numbers"):
        load(folder, hidden=40)
    change_sizes(folder, "codec", n_codes=60)
    other = make(tmp_path / "other", codes=50)
    (folder / "codec" / "model.json").write_bytes((other / "codec" / "model.json").read_bytes())
    (folder / "codec" / "final.pt").write_bytes((other / "codec" / "final.pt").read_bytes())
    with pytest.raises(CheckpointError, match="60 codes"):
        load(folder)


def test_the_folder_is_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match="decoder is not there"):
        load(tmp_path)

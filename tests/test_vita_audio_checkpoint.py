"""Checkpoints of VITA-Audio load whole and exact, or fail with the names of what is wrong."""

import json
import re

import pytest
import torch
from codec_golden import close
from safetensors.torch import load_file, save_file
from vita_golden import LM

from codec.checkpoint import CheckpointError
from engines.base import Cancel
from engines.vita_audio.checkpoint import load_language_model
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.language_model import LanguageModel
from errors import CancelledError


@pytest.fixture
def tensors():
    return load_file(LM.checkpoint / "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    """A copy of the configuration; the weights are put beside it by the test."""
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_text((LM.checkpoint / name).read_text())
    return tmp_path


def store(folder, tensors):
    save_file(tensors, folder / "model.safetensors")


def change(folder, name="config.json", **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_every_tensor_is_where_it_belongs(tensors):
    model = load_language_model(LM.checkpoint, dtype=torch.float32)
    held = model.state_dict()
    assert held.keys() == tensors.keys()
    for name, tensor in tensors.items():
        close(held[name], tensor, {"atol": 0, "rtol": 0})
    assert model.config.weights == sum(tensor.numel() for tensor in tensors.values())
    assert not model.training


def test_sizes_of_the_published_model():
    config = LanguageConfig.read(LM.checkpoint)
    big = type(config)(
        hears="codes",
        vocabulary=168_072,
        hidden=3584,
        intermediate=18_944,
        layers=28,
        heads=10,
        attention_heads=28,
        key_value_heads=4,
        window=32_768,
        rope_theta=1e6,
        norm_eps=1e-6,
        ends=(151_645, 151_643),
        mode=(1, 10, 4, 10),
    )
    with torch.device("meta"):
        model = LanguageModel(big)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == big.weights
    assert round(big.weights / 1e9, 2) == 10.32
    assert big.cached_per_token == 2 * 38 * 4 * 128


def test_the_default_is_half_precision():
    model = load_language_model(LM.checkpoint)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    assert model.rotary.inv_freq.dtype == torch.float32


def test_a_checkpoint_in_pieces(folder, tensors):
    names = sorted(tensors)
    halves = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, own in halves.items():
        save_file({name: tensors[name] for name in own}, folder / file)
    where = {name: file for file, own in halves.items() for name in own}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    read = []
    model = load_language_model(folder, dtype=torch.float32, on_progress=read.append)
    for name, tensor in model.state_dict().items():
        close(tensor, tensors[name], {"atol": 0, "rtol": 0})
    assert read == sorted(read)
    assert read[-1] == sum(tensor.nbytes for tensor in tensors.values())

    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors is not there"):
        load_language_model(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "../elsewhere")}))
    with pytest.raises(CheckpointError, match=r'names "../elsewhere" as a file'):
        load_language_model(folder)


def test_what_is_wrong_with_weights_is_said_by_name(folder, tensors):
    def refused(message, **changed):
        store(folder, {name: t for name, t in (tensors | changed).items() if t is not None})
        with pytest.raises(CheckpointError, match=message):
            load_language_model(folder)

    first = "mtp_projs.3.weight"
    refused(f"lacks the tensor {re.escape(first)}", **{first: None})
    refused("has the tensor surplus.weight not known here", **{"surplus.weight": torch.ones(2)})
    audio = "model.audio_projection.mlp.0.weight"
    refused(f"has the tensor {re.escape(audio)} not known", **{audio: torch.ones(2)})
    refused(
        r"mtp_projs.3.weight is \[64, 64\], but config.json asks for \[64, 128\]",
        **{first: torch.ones(64, 64)},
    )
    refused("mtp_projs.3.weight holds values that are not finite", **{first: tensors[first] / 0})
    refused("is torch.int64, not floating", **{first: tensors[first].long()})
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="damaged"):
        load_language_model(folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="pointer of Git LFS"):
        load_language_model(folder)


def test_speech_encoders_belong_to_plus_checkpoints_only(folder, tensors):
    change(folder, model_type="qwen2_mtp_sensevoice")
    store(folder, tensors | {"model.audio_projection.mlp.0.weight": torch.ones(2)})
    assert load_language_model(folder).config.hears == "embeddings"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "qwen2"}, 'type "qwen2", not of a VITA-Audio model'),
        ({"hidden_act": "gelu"}, 'hidden_act is "gelu"; only "silu"'),
        ({"use_sliding_window": True}, "use_sliding_window is true"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"vocab_size": "600"}, 'vocab_size is "600", not a whole number'),
        ({"vocab_size": None}, "vocab_size is null"),
        ({"num_nextn_predict_layers": -1}, "num_nextn_predict_layers is -1"),
        ({"num_nextn_predict_layers": 13}, "counts no layer beside the heads"),
        ({"num_attention_heads": 5}, "makes no 5 heads"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"rope_theta": 0}, "rope_theta is 0"),
        ({"eos_token_id": [45, "x"]}, "eos_token_id"),
    ],
    ids=str,
)
def test_a_configuration_that_is_not_computed_here_is_refused(folder, tensors, changed, message):
    store(folder, tensors)
    change(folder, **changed)
    with pytest.raises(CheckpointError, match=message):
        load_language_model(folder)


def test_how_to_generate_is_read_too(folder):
    assert LanguageConfig.read(folder).ends == (45, 43)
    assert LanguageConfig.read(folder).mode == (1, 4, 3, 8, 4, 10)
    change(folder, "generation_config.json", mtp_inference_mode="fast")
    with pytest.raises(CheckpointError, match='mtp_inference_mode "fast" is no list'):
        LanguageConfig.read(folder)
    (folder / "generation_config.json").unlink()
    assert LanguageConfig.read(folder).ends == (45,)
    assert LanguageConfig.read(folder).mode == (1, 10)


def test_a_load_can_be_stopped(folder, tensors):
    store(folder, tensors)
    cancel, read = Cancel(), []

    def watch(done):
        read.append(done)
        cancel.set()

    with pytest.raises(CancelledError):
        load_language_model(folder, on_progress=watch, cancel=cancel)
    assert len(read) == 1

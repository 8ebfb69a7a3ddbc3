"""Snapshots that are not what they should be are refused by name, before a reply."""

import json
import shutil

import pytest
import torch
from opens2s_maker import make
from safetensors.torch import load_file, save_file

from codec.checkpoint import CheckpointError
from engines.base import Cancel
from engines.opens2s.loading import load
from errors import CancelledError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "OpenS2S")


def edit(path, **changes):
    """Change values of a JSON file; None takes one out."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def refused(folder, *words):
    with pytest.raises(CheckpointError) as refusal:
        load(folder)
    for word in words:
        assert word in str(refusal.value)


def test_whole(folder):
    steps = []
    loaded = load(folder, on_progress=steps.append)
    assert steps[-1] == pytest.approx(1)
    assert steps == sorted(steps)
    for part in (loaded.model.llm_model, loaded.model.tts_lm_model):
        assert part.config._attn_implementation == "sdpa"
    assert loaded.model.audio_encoder_model.config._attn_implementation == "sdpa"
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert {p.device.type for p in loaded.model.buffers()} == {"cpu"}


def test_in_pieces(folder):
    """As large models are published: several files and an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    files = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        files |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    state = load(folder).model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())
    (folder / "model-1.safetensors").unlink()
    refused(folder, "model-1.safetensors")


@pytest.mark.parametrize("part", ["tts", "audio"])
def test_folder_missing(folder, part):
    shutil.rmtree(folder / part)
    refused(folder, str(folder / part), "is not there")


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "audio/preprocessor_config.json",
        "tts/generation_config.json",
        "tts/tokenizer.json",
        "model.safetensors",
    ],
)
def test_file_missing_or_broken_off(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    refused(folder, path.name)
    path.write_bytes(b"")
    refused(folder, path.name)
    path.write_bytes(content[: len(content) // 2])
    refused(folder, str(folder), path.name if path.name != "tokenizer.json" else "tokenizer")


def test_another_model(folder):
    (folder / "config.json").write_text(
        '{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}'
    )
    refused(folder, "Qwen3ForCausalLM", "not OpenS2S")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interleave_strategy": "one:two"}, ["interleave_strategy", "one:two"]),
        ({"interleave_strategy": 12}, ["interleave_strategy", "12"]),
        ({"interleave_strategy": "0:4"}, ["interleave_strategy", "0:4"]),
        ({"conv_kernel_sizes": "5;5"}, ["conv_kernel_sizes"]),
        ({"conv_kernel_sizes": "5"}, ["conv_layers.1"]),
        ({"adapter_inner_dim": 41}, ["audio_adapter.fc1.weight", "40", "41"]),
        ({"adapter_inner_dim": "40"}, ["adapter_inner_dim"]),
        ({"lora_config": {"r": 8}}, ["LoRA"]),
        ({"llm_config": {"model_type": "llama"}}, ["llm_config", "llama"]),
        ({"tts_lm_config": {"model_type": "qwen2"}}, ["tts_lm_config", "qwen2"]),
    ],
)
def test_config_of_another_kind(folder, changes, words):
    edit(folder / "config.json", **changes)
    refused(folder, *words)


def test_strategy_left_out(folder):
    edit(folder / "config.json", interleave_strategy=None)
    assert (load(folder).model.config.strategy.text, load(folder).model.config.strategy.units) == (
        1,
        2,
    )


def test_tokenizers_mixed_up(folder):
    shutil.copy(folder / "tokenizer.json", folder / "tts" / "tokenizer.json")
    refused(folder, "tts", "<|audio_0|>")
    shutil.copy(folder / "tts" / "tokenizer.json", folder / "tokenizer.json")


def test_text_tokenizer_without_the_tokens_of_speech(folder):
    shutil.copy(folder / "tts" / "tokenizer.json", folder / "tokenizer.json")
    refused(folder, "<|im_audio_start|>")


def test_more_tokens_than_rows(whole, folder, tmp_path):
    more = make(tmp_path / "more", codes=301)
    shutil.copy(more / "tts" / "tokenizer.json", folder / "tts" / "tokenizer.json")
    refused(folder, "tts", "speech model")


def test_no_chat_template(folder):
    edit(folder / "tokenizer_config.json", chat_template=None)
    refused(folder, "chat template")


def test_no_end(folder):
    edit(folder / "tts" / "generation_config.json", eos_token_id=None)
    refused(folder, "eos_token_id")


def test_another_front_end(folder):
    edit(folder / "audio" / "preprocessor_config.json", feature_size=80)
    refused(folder, "preprocessor_config.json", "80", "128")


def changed(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_tensors(folder):
    name = "tts_lm_model.spk_ln.bias"
    tensor = load_file(folder / "model.safetensors")[name]
    changed(folder, lambda tensors: tensors.pop(name))
    refused(folder, name, "lacks")
    changed(folder, lambda tensors: tensors.update({name: tensor * torch.nan}))
    refused(folder, name, "finite")
    changed(folder, lambda tensors: tensors.update({name: tensor, "extra.weight": tensor.clone()}))
    refused(folder, "extra.weight")


@pytest.mark.parametrize("stored", [False, True])
def test_tied_tables(folder, stored):
    """The head of a tied model is its table, whether or not it was saved."""
    config = json.loads((folder / "config.json").read_text())
    config["tts_lm_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))
    head = "tts_lm_model.lm_head.weight"
    if not stored:
        changed(folder, lambda tensors: tensors.pop(head))
    part = load(folder).model.tts_lm_model
    state = torch.ones(part.config.hidden_size)
    assert torch.equal(part.logits(state), part.model.embed_tokens.weight @ state)


def test_a_head_that_is_not_tied_may_not_be_missing(folder):
    changed(folder, lambda tensors: tensors.pop("tts_lm_model.lm_head.weight"))
    refused(folder, "tts_lm_model.lm_head.weight")


def test_a_load_can_be_stopped(folder):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError):
        load(folder, cancel=cancel)

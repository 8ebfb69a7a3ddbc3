"""The folder for `vllm serve`: what is in it, and what is refused."""

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from codec_golden import folders
from conftest import ROOT
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from engines.vllm import convert as command
from engines.vllm.convert import convert, plan
from engines.vllm.families import FAMILIES, Sizes
from engines.vllm.tensor_files import read_snapshot
from errors import InputError, UnavailableError

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 5,
    "num_nextn_predict_layers": 3,
    "vocab_size": 40,
}
AUDIO = ("<|begin_of_audio|>", "<|end_of_audio|>", "<|context_of_audio|>", "<|audio_0|>")


def config(**changes):
    return (
        SIZES
        | {
            "model_type": "qwen2_mtp",
            "architectures": ["Qwen2MTPForCausalLM"],
            "auto_map": {"AutoModelForCausalLM": "modeling_qwen2.Qwen2MTPForCausalLM"},
            "rms_norm_eps": 1e-6,
            "rope_theta": 1e6,
            "max_position_embeddings": 512,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        | changes
    )


def tensors(config, dtype=torch.float32):
    """Weights in the published layout, heads and encoders included."""
    torch.manual_seed(0)
    sizes = Sizes.read(config, Path("config.json"))
    made = dict(sizes.tensors())
    for layer in range(sizes.layers, sizes.layers + sizes.further_layers):
        of_first = "model.layers.0."
        made |= {
            name.replace(of_first, f"model.layers.{layer}."): shape
            for name, shape in sizes.tensors()
            if name.startswith(of_first)
        }
    for prefix in FAMILIES[config["model_type"]].beside:
        for number in range(max(1, sizes.further_layers)):
            made[f"{prefix}{number}.weight"] = (3, 4)
    return {name: torch.randn(shape).to(dtype) for name, shape in made.items()}


def tokenizer(tokens=AUDIO, size=40):
    vocabulary = {f"t{number}": number for number in range(size - len(tokens))}
    added = [{"content": t, "id": size - len(tokens) + n} for n, t in enumerate(tokens)]
    return {"model": {"vocab": vocabulary}, "added_tokens": added}


def save(folder, config, tensors, shards=1, tokens=None):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [2, 1], "mtp_inference_mode": [1, 10], "top_k": 20})
    )
    if tokens is not None:
        (folder / "tokenizer.json").write_text(json.dumps(tokens))
        (folder / "vocab.json").write_text(json.dumps(tokens["model"]["vocab"]))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = list(tensors)
    files = {name: f"model-{n % shards}.safetensors" for n, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: tensors[name] for name in names if files[name] == file}
        save_file(part, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


@pytest.fixture(name="snapshot")
def snapshot_fixture(tmp_path):
    return save(tmp_path / "Boost", config(), tensors(config()), 3, tokenizer())


def loaded(folder):
    """As transformers, which vLLM reads configurations with, loads it."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype="auto"
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_stock_model_inside_is_copied_bit_for_bit(tmp_path, kind, dtype, monkeypatch):
    monkeypatch.setattr(command, "SHARD", 5_000)
    heads = 3 if FAMILIES[kind].heads else 0
    said = config(model_type=kind, num_hidden_layers=2 + heads, num_nextn_predict_layers=heads)
    source = tensors(said, dtype)
    snapshot = save(tmp_path / "snapshot", said, source, 2, tokenizer())
    convert(plan(snapshot), tmp_path / "stock")

    model = loaded(tmp_path / "stock")
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert model.config.num_hidden_layers == 2
    assert model.dtype == dtype
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source[name]), name
    files = sorted(path.name for path in (tmp_path / "stock").glob("*.safetensors"))
    assert len(files) > 1
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"


@pytest.mark.parametrize("case", folders("mtp_lm"), ids=str)
def test_it_computes_what_the_reference_does_without_its_heads(case, tmp_path):
    convert(plan(case.checkpoint), tmp_path / "stock")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "stock", dtype=torch.float32)
    data = case.arrays()
    runs = [name for name in data if name.endswith("vanilla/new_token_ids")]
    assert runs
    for run in runs:
        name = run.removesuffix("/vanilla/new_token_ids")
        ids = data[
            f"input/{name.removeprefix('output/')}/input_ids"
            if name[:7] == "output/"
            else f"{name}/input_ids"
        ]
        embeds = data.get(f"{name}/prefill_inputs_embeds")
        prompt = model.get_input_embeddings()(ids.long()) if embeds is None else embeds
        reply = model.generate(
            inputs_embeds=prompt[None],
            attention_mask=torch.ones(1, len(prompt)),
            max_new_tokens=len(data[run]),
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=None,
        )
        assert reply[0].tolist() == data[run].tolist(), run


def test_files_around_the_weights(snapshot, tmp_path):
    progress = []
    convert(plan(snapshot), tmp_path / "stock", progress.append)
    assert progress[-1] == 1
    assert progress == sorted(progress)
    assert not {"auto_map", "num_nextn_predict_layers"} & set(
        json.loads((tmp_path / "stock/config.json").read_text())
    )
    defaults = json.loads((tmp_path / "stock/generation_config.json").read_text())
    assert defaults == {"eos_token_id": [2, 1], "top_k": 20}
    for name in ("tokenizer.json", "vocab.json"):
        assert (tmp_path / "stock" / name).read_bytes() == (snapshot / name).read_bytes()
    assert [path.name for path in tmp_path.glob(".stock*")] == []


def test_rows_that_no_token_has_are_left_out_where_the_model_does_so(tmp_path):
    said = config(model_type="vita-Qwen2", num_nextn_predict_layers=0)
    source = tensors(said)
    snapshot = save(tmp_path / "snapshot", said, source, tokens=tokenizer(size=33))
    convert(plan(snapshot), tmp_path / "stock")
    model = loaded(tmp_path / "stock")
    assert model.config.vocab_size == 33
    assert torch.equal(model.lm_head.weight, source["lm_head.weight"][:33])
    assert torch.equal(model.model.embed_tokens.weight, source["model.embed_tokens.weight"][:33])


def test_tied_embeddings_need_no_head(tmp_path):
    said = config(tie_word_embeddings=True)
    source = tensors(said)
    assert "lm_head.weight" not in source
    convert(plan(save(tmp_path / "snapshot", said, source)), tmp_path / "stock")
    assert loaded(tmp_path / "stock").config.tie_word_embeddings


def test_a_large_tensor_is_never_in_memory(tmp_path):
    said = config(vocab_size=500_000)  # 32 MB each for the embeddings and the head
    snapshot = save(tmp_path / "snapshot", said, tensors(said))
    tracemalloc.start()
    try:
        convert(plan(snapshot), tmp_path / "stock")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_some_rows_of_a_table(snapshot):
    stored = read_snapshot(snapshot)["model.embed_tokens.weight"]
    table = {
        name: tensor
        for path in snapshot.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }["model.embed_tokens.weight"]
    rows = torch.frombuffer(bytearray(stored.rows([7, 0, 39])), dtype=torch.float32)
    assert torch.equal(rows.view(3, 16), table[[7, 0, 39]])


def without(name):
    def change(config, tensors):
        del tensors[name]

    return change


def with_tensor(name, tensor):
    def change(config, tensors):
        tensors[name] = tensor

    return change


def saying(**changes):
    return lambda config, tensors: config.update(changes)


def fewer_rows(config, tensors):
    config.update(vocab_size=30)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:30].clone()


NAN = torch.zeros(40, 16)
NAN[3, 5] = torch.nan

REFUSED = {
    "a tensor is absent": (without("model.layers.1.mlp.up_proj.weight"), "layers.1.mlp.up_proj"),
    "no head": (without("lm_head.weight"), "lacks lm_head.weight"),
    "an unknown tensor": (with_tensor("model.tower.weight", torch.ones(2)), "model.tower.weight"),
    "another shape": (with_tensor("model.norm.weight", torch.ones(17)), r"model.norm.weight is \["),
    "not finite": (with_tensor("lm_head.weight", NAN), "lm_head.weight holds values"),
    "whole numbers": (
        with_tensor("lm_head.weight", torch.ones(40, 16, dtype=torch.int32)),
        "lm_head.weight is I32",
    ),
    "more layers than there are": (
        saying(num_hidden_layers=9),
        r"lacks model\.layers\.5.* and 9 more",
    ),
    "a head taken for a layer": (
        saying(num_hidden_layers=6),
        "has 5 layers, 3 of them heads', but config.json says 6 and 3",
    ),
    "a layer taken for a head": (saying(num_nextn_predict_layers=4), "3 of them .* says 5 and 4"),
    "heads only": (saying(num_nextn_predict_layers=5), "none is left"),
    "no sizes": (saying(hidden_size=None), "hidden_size is None"),
    "sizes that are none": (saying(vocab_size=0), "vocab_size is 0"),
    "another model": (saying(model_type="llama"), "model_type 'llama'.*VITA-Audio Plus"),
    "no type": (saying(model_type=None), "model_type None"),
    "stock": (saying(model_type="qwen2"), "stock Qwen2 already"),
    "another activation": (saying(hidden_act="gelu"), "hidden_act 'gelu'"),
    "vocabulary too small": (fewer_rows, "ids up to 39.*ends at 29"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_snapshots_are_refused_by_name(tmp_path, case):
    change, message = REFUSED[case]
    said, weights = config(), tensors(config())
    change(said, weights)
    snapshot = save(tmp_path / "snapshot", said, weights, tokens=tokenizer())
    with pytest.raises(InputError, match=message):
        convert(plan(snapshot), tmp_path / "stock")
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


def cut(snapshot):
    path = snapshot / "model-1.safetensors"
    os.truncate(path, path.stat().st_size - 4)


def scribble(snapshot):
    with (snapshot / "model-1.safetensors").open("r+b") as file:
        file.seek(9)
        file.write(b"????")


def shift(snapshot):
    path = snapshot / "model-1.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"data_offsets":[0,', b'"data_offsets":[4,'))


def lie(snapshot):
    path = snapshot / "model.safetensors.index.json"
    path.write_text(path.read_text().replace("model-0", "model-2"))


DAMAGED = {
    "a shard broke off": (cut, r"model-1.safetensors has \d+ bytes instead of"),
    "a damaged header": (scribble, "model-1.safetensors has a damaged header"),
    "tensors elsewhere": (shift, "does not lie where it should"),
    "a shard is absent": (lambda f: (f / "model-2.safetensors").unlink(), "model-2.safetensors is"),
    "an empty shard": (
        lambda f: (f / "model-0.safetensors").write_bytes(b""),
        "model-0.safetensors is no safetensors file",
    ),
    "the index lies": (lie, "which is not so"),
    "no index": (
        lambda f: (f / "model.safetensors.index.json").unlink(),
        "neither model.safetensors nor",
    ),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is not there"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
    "no object": (lambda f: (f / "config.json").write_text("[]"), "holds a list"),
    "another tokenizer": (
        lambda f: (f / "tokenizer.json").write_text(json.dumps(tokenizer(tokens=()))),
        r"does not know <\|begin_of_audio\|>, <\|end_of_audio\|>, <\|audio_0\|>",
    ),
    "no tokenizer's file": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        "no tokenizer of a Qwen2",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_snapshots_are_refused_by_name(snapshot, tmp_path, case):
    damage, message = DAMAGED[case]
    damage(snapshot)
    with pytest.raises(InputError, match=message):
        convert(plan(snapshot), tmp_path / "stock")
    assert [path.name for path in tmp_path.iterdir()] == ["Boost"]


def test_tokens_of_a_tokenizer_in_two_files(snapshot):
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "added_tokens.json").write_text(json.dumps({"<|audio_0|>": 39}))
    with pytest.raises(InputError, match=r"does not know <.begin_of_audio"):
        plan(snapshot)


def test_nothing_is_overwritten(snapshot, tmp_path):
    (tmp_path / "stock").mkdir()
    with pytest.raises(InputError, match="exists already"):
        convert(plan(snapshot), tmp_path / "stock")


def test_a_full_disk_leaves_nothing_behind(snapshot, tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left"):
        convert(plan(snapshot), tmp_path / "stock")
    assert [path.name for path in tmp_path.iterdir()] == ["Boost"]


def test_too_little_room_is_told_before_the_copy(snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100}))
    with pytest.raises(UnavailableError, match=r"0\.0 GB are free"):
        convert(plan(snapshot), tmp_path / "stock")


def test_what_the_disk_gives_back_is_compared(snapshot, tmp_path, monkeypatch):
    def wrong(file):
        os.pwrite(file, b"\1", 2_000)

    monkeypatch.setattr(os, "fsync", wrong)
    with pytest.raises(UnavailableError, match="reads otherwise"):
        convert(plan(snapshot), tmp_path / "stock")


def test_the_command(snapshot, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "engines.vllm.convert", *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(snapshot, tmp_path / "stock")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"vllm serve {tmp_path / 'stock'} --served-model-name Boost --dtype float32"
    )
    again = run(snapshot, tmp_path / "stock")
    assert (again.returncode, again.stdout.count("Traceback")) == (1, 0)
    assert "exists already" in again.stderr

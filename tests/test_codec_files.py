"""Published files: what is accepted, and clear errors for all that is wrong with one."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from codec_golden import DECODER, TOKENIZER
from conftest import ROOT
from safetensors.torch import load_file, save_file
from weights_servers import (
    COMMIT,
    model_info,
    server_fixture,  # noqa: F401  (a fixture)
)

from codec import snapshots
from codec.checkpoint import CheckpointError
from codec.decoder import SpeechDecoder
from codec.snapshots import published
from codec.speech_tokenizer import SpeechTokenizer
from errors import InputError
from weights import Store


@pytest.fixture
def decoder(tmp_path):
    return shutil.copytree(DECODER, tmp_path / "decoder")


@pytest.fixture
def tokenizer(tmp_path):
    return shutil.copytree(TOKENIZER, tmp_path / "tokenizer")


def changed(path, change):
    """Rewrite a checkpoint after `change(tensors)`."""
    if path.suffix == ".pt":
        tensors = torch.load(path, weights_only=True)
        torch.save(change(tensors) or tensors, path)
    else:
        tensors = load_file(path)
        save_file(change(tensors) or tensors, path)


FILES = [
    ("decoder", "flow.pt", "encoder.after_norm.weight"),
    ("decoder", "hift.pt", "conv_pre.bias"),
    ("decoder", "hift.pt", "ups.0.weight_v"),
    ("tokenizer", "model.safetensors", "layers.0.fc1.weight"),
]


def load(kind, folder):
    return (SpeechDecoder if kind == "decoder" else SpeechTokenizer).load(folder)


def fails(kind, folder, *words):
    with pytest.raises(CheckpointError) as caught:
        load(kind, folder)
    message = str(caught.value)
    assert str(folder) in message
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize(("kind", "file", "name"), FILES)
def test_missing_tensor(kind, file, name, request):
    folder = request.getfixturevalue(kind)
    changed(folder / file, lambda tensors: {k: v for k, v in tensors.items() if k != name})
    fails(kind, folder, file, name)


@pytest.mark.parametrize(("kind", "file", "name"), FILES)
def test_extra_tensor(kind, file, name, request):
    folder = request.getfixturevalue(kind)
    changed(folder / file, lambda tensors: tensors | {"another.weight": torch.zeros(3)})
    fails(kind, folder, file, "another.weight")


@pytest.mark.parametrize(("kind", "file", "name"), FILES)
def test_misshapen_tensor(kind, file, name, request):
    folder = request.getfixturevalue(kind)
    wrong = []

    def change(tensors):
        wrong.append(list(tensors[name].shape))
        wrong[0][0] += 1
        return tensors | {name: torch.ones(wrong[0])}

    changed(folder / file, change)
    fails(kind, folder, file, name.removesuffix("_v"), str(wrong[0]))


@pytest.mark.parametrize(("kind", "file", "name"), FILES)
def test_values_that_are_not_finite(kind, file, name, request):
    folder = request.getfixturevalue(kind)
    changed(folder / file, lambda t: t | {name: torch.full_like(t[name], torch.nan)})
    fails(kind, folder, file, name.removesuffix("_v"), "not finite")


@pytest.mark.parametrize(("kind", "file", "name"), FILES)
def test_half_downloaded(kind, file, name, request):
    folder = request.getfixturevalue(kind)
    size = (folder / file).stat().st_size
    os.truncate(folder / file, size // 2)
    fails(kind, folder, file, "damaged")
    os.truncate(folder / file, 0)
    fails(kind, folder, file, "empty")
    (folder / file).unlink()
    fails(kind, folder, file, "not there")


@pytest.mark.parametrize(("kind", "file", "name"), FILES)
def test_another_kind_of_file(kind, file, name, request):
    folder = request.getfixturevalue(kind)
    (folder / file).write_text("<html>Sign in to continue</html>")
    fails(kind, folder, file, "damaged")


def test_files_exchanged(decoder):
    (decoder / "flow.pt").rename(decoder / "x")
    (decoder / "hift.pt").rename(decoder / "flow.pt")
    (decoder / "x").rename(decoder / "hift.pt")
    fails("decoder", decoder, "flow.pt", "right file")


def test_pickles_are_not_executed(decoder, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'trap'}",)

    torch.save({"a": Trap()}, decoder / "flow.pt")
    fails("decoder", decoder, "flow.pt")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("value", [[torch.zeros(1)], {"a": {"b": torch.zeros(1)}}, {"a": 3}])
def test_pickles_of_something_else(decoder, value):
    torch.save(value, decoder / "hift.pt")
    fails("decoder", decoder, "hift.pt", "tensors by name")


def test_prefixes_of_other_publications(decoder, tokenizer):
    """Ports and older snapshots put the network one level deeper."""
    exact = [SpeechDecoder.load(decoder), SpeechTokenizer.load(tokenizer)]
    changed(decoder / "hift.pt", lambda t: {f"generator.{k}": v for k, v in t.items()})
    changed(
        tokenizer / "model.safetensors", lambda t: {f"model.encoder.{k}": v for k, v in t.items()}
    )
    again = [SpeechDecoder.load(decoder), SpeechTokenizer.load(tokenizer)]
    for one, other in (
        (exact[0].models.vocoder, again[0].models.vocoder),
        (exact[1].network, again[1].network),
    ):
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cosyvoice.flow.flow.MaskedDiffWithXvec", "os.system", ["os.system"]),
        ("cosyvoice.hifigan.generator.HiFTGenerator", "evil.Thing", ["evil.Thing"]),
        ("cosyvoice.llm.llm.TransformerLM", "builtins.exec", ["builtins.exec"]),
        ("!apply:random.seed [1986]", "!apply:os.remove [x]", ["os.remove"]),
        ("!apply:random.seed [1986]", "!!python/object/apply:os.remove [x]", ["python/object"]),
        ("!apply:random.seed [1986]", "!name:os.remove", ["!name:os.remove"]),
        ("<sample_rate>", "<nothing>", ["<nothing>"]),
        ("<sample_rate>", "<sample_rate> * 2", ["reference"]),
        ("sample_rate: 22050", "sample_rate: !ref <sample_rate>", ["<sample_rate>"]),
        ("block_size: 10", "block_size: ten", ["block_size", "ten"]),
        ("block_size: 10", "block_size: 0", ["block_size", "0"]),
        ("macaron_style: False\n    length", "macaron_style: True\n    length", ["macaron_style"]),
        ("solver: 'euler'", "solver: 'heun'", ["solver", "heun"]),
        ("t_scheduler: 'cosine'", "t_scheduler: 'none'", ["t_scheduler"]),
        ("upsample_kernel_sizes: [16, 16]", "upsample_kernel_sizes: [16]", ["2 long"]),
        ("upsample_rates: [8, 8]", "upsample_rates: []", ["upsample_rates"]),
        ("flow: !new:", "flux: !new:", ["flow"]),
        (
            "        estimator: !new:cosyvoice",
            "        estimator: 3\n        x: !new:cosyvoice",
            ["3"],
        ),
        ("input_frame_rate: 12.5", "input_frame_rate: fast", ["input_frame_rate"]),
        ("vocab_size: 512", "vocab_size: 500", ["input_embedding.weight", "[512, ", "[500, "]),
        ("sample_rate: 22050", "sample_rate: [", ["cannot be read"]),
    ],
)
def test_configurations_that_are_refused(decoder, old, new, words, tmp_path):
    edited(decoder / "config.yaml", old, new)
    message = fails("decoder", decoder, *words)
    assert "config.yaml" in message


def test_configuration_that_is_no_settings(decoder):
    (decoder / "config.yaml").write_text("Entry not found")
    fails("decoder", decoder, "config.yaml")


def test_configuration_builds_nothing(decoder, monkeypatch):
    """Not even the seeds that the file asks for are set."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    config = SpeechDecoder.load(decoder).models.config
    assert torch.equal(torch.get_rng_state(), before)
    assert (config.clock.sample_rate, config.clock.hop, config.clock.code_rate) == (
        22_050,
        256,
        12.5,
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pooling_type", "max", ["pooling_type", "max"]),
        ("encoder_causal_attention", True, ["encoder_causal_attention"]),
        ("quantize_position", None, ["quantize_position"]),
        ("quantize_position", 2, ["pooling_position"]),
        ("pooling_kernel_size", 3, ["pooling_kernel_size"]),
        ("d_model", -4, ["d_model"]),
        ("quantize_vocab_size", 100, ["codebook.weight", "[100, "]),
        ("num_mel_bins", 80, ["mel"]),
    ],
)
def test_tokenizer_configurations_that_are_refused(tokenizer, name, value, words):
    path = tokenizer / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    fails("tokenizer", tokenizer, *words)


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"d_model": '])
@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_json_that_is_none(tokenizer, text, file):
    (tokenizer / file).write_text(text)
    fails("tokenizer", tokenizer, file)


def test_owners_old_and_new():
    for owner in ("zai-org", "THUDM"):
        for name in ("glm-4-voice-tokenizer", "glm-4-voice-decoder"):
            assert published(f"{owner}/{name}").repo == f"{owner}/{name}"
    with pytest.raises(InputError, match="someone/else"):
        published("someone/else")
    assert re.fullmatch("[0-9a-f]{40}", snapshots.TOKENIZER.revision)


def test_published_files_are_fetched_and_load(decoder, tokenizer, tmp_path, server):
    """From a Hub on this machine, under either owner, only what is needed, at the pinned commit."""
    for folder, snapshot in ((decoder, snapshots.DECODER), (tokenizer, snapshots.TOKENIZER)):
        files = {name: (folder / name).read_bytes() for name in snapshot.files}
        extra = {"README.md": b"Read me"}
        commit = snapshot.revision or COMMIT
        model_info(
            server, f"THUDM/{snapshot.name}", files | extra, small=("README.md",), commit=commit
        )
    store = Store(tmp_path / "weights", endpoint=server.url)
    folders = [
        store.ensure(published(f"THUDM/{snapshot.name}"))
        for snapshot in (snapshots.DECODER, snapshots.TOKENIZER)
    ]
    SpeechDecoder.load(folders[0])
    SpeechTokenizer.load(folders[1])
    assert server.count("README.md") == 0
    assert server.count(f"/resolve/{snapshots.TOKENIZER.revision}/") == 3
    # The names of owners do not matter to what is there, nor is the network asked again.
    again = Store(tmp_path / "weights", offline=True)
    assert [again.path(snapshots.DECODER), again.path(snapshots.TOKENIZER)] == folders


def test_the_default_app_starts_without_the_codec():
    """Nor without torch: its modules are for the engines that need it.

    Which published files there are (`codec.snapshots`), the table of engines may tell.
    """
    script = (
        "import sys, app; print([n for n in sys.modules "
        "if n == 'torch' or n.startswith('codec.') and n != 'codec.snapshots'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")

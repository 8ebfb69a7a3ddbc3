"""VITA-1.5's ears against what the published code gave for the same tiny weights."""

import math

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional
from vita15_golden import DATA, FOLDER, TINY, arrays, close, encoder_folder, meta

from codec.checkpoint import CheckpointError
from codec.resampling import resample
from engines.native.snapshot import Snapshot
from engines.vita.config import read_blocks
from engines.vita.fbank import MELS, RATE, frames_of, read_normalisation
from engines.vita.layout import AUDIO
from engines.vita.whale import PLACES, Blocks, Whale, WhaleConfig, rows_of, sinusoid
from errors import InputError

ROWS = {"atol": 2e-4, "rtol": 1e-4}
#: Sound files of the whole data, by name.
CLIPS = {path.stem: path for path in sorted((FOLDER / "whale_fbank").glob("*.wav"))} if DATA else {}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def encoder(folder, blocks=Blocks()):
    snapshot = Snapshot(folder)
    whale = Whale(WhaleConfig.of(snapshot.shapes, folder), blocks)
    others = rf"(?!{AUDIO}).+"
    snapshot.load(whale, device="cpu", dtype=torch.float32, names=whale.names(), ignored=others)
    return whale.eval()


def random_encoder(blocks=Blocks(), **sizes):
    torch.manual_seed(1)
    whale = Whale(
        WhaleConfig(**{"width": 24, "heads": 3, "inner": 40, "layers": 2} | sizes), blocks
    )
    for parameter in whale.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    whale.mean.fill_(10.0)
    whale.istd.fill_(0.25)
    return whale.eval()


# Filter banks


def waves():
    """Sound at 16 kHz, and what its filter banks should be."""
    if DATA:
        given = arrays("whale_fbank")
        for name in CLIPS:
            wave = given[f"{name}.wave16k"][0].numpy()
            yield pytest.param(wave, given[f"{name}.fbank"], id=name)
    for name, scenario in (("a0", "s1"), ("a1", "s3")):
        inputs = arrays("vita_tiny", "inputs")
        if f"{scenario}.fbank" in inputs:
            wave, rate = soundfile.read(TINY / f"{name}.wav", dtype="float32")
            assert rate == RATE
            yield pytest.param(wave, inputs[f"{scenario}.fbank"][0], id=name)


@pytest.mark.parametrize(("wave", "wanted"), list(waves()))
def test_filter_banks(wave, wanted):
    frames = torch.from_numpy(frames_of(wave, RATE))
    close(frames, wanted, 5e-3)
    assert (frames - wanted).abs().mean() < 5e-5


@pytest.mark.parametrize("path", CLIPS.values(), ids=list(CLIPS))
def test_filter_banks_of_a_file(path):
    """At a rate of its own.

    Above the band of the file its resampler leaves rounding only (1e-7 of full scale): there
    the logarithms of two libraries' rounding errors are compared.
    """
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    frames = torch.from_numpy(frames_of(samples[:, 0], rate))
    wanted = arrays("whale_fbank")[f"{path.stem}.fbank"]
    close(frames, wanted, 5e-3 if rate == RATE else 1e-2)
    assert (frames - wanted).abs().mean() < 2e-4


def test_silence_is_the_least_that_a_bin_can_hold():
    frames = frames_of(np.zeros(RATE, np.float32), RATE)
    np.testing.assert_allclose(frames, math.log(2.0**-23), rtol=1e-6)


@pytest.mark.parametrize("path", CLIPS.values(), ids=list(CLIPS))
def test_resampling(path):
    wanted = arrays("whale_fbank")[f"{path.stem}.wave16k"].numpy()
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert np.abs(resample(samples[:, 0], rate, RATE) - wanted[0]).max() < 2e-7


@pytest.mark.skipif(not DATA, reason="only in the whole data")
def test_normalisation():
    mean, istd = read_normalisation(FOLDER / "whale_fbank" / "global_cmvn")
    expected = arrays("whale_fbank")
    close(torch.from_numpy(mean), expected["cmvn.mean"], 1e-6, 1e-6)
    close(torch.from_numpy(istd), expected["cmvn.istd"], 1e-6, 1e-6)
    for name in ("in0", "in1", "in2"):
        made = (expected[f"{name}.fbank"].numpy() - mean) * istd
        close(torch.from_numpy(made), expected[f"{name}.fbank_cmvn"], 1e-4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "no statistic"),
        ('{"mean_stat": [1], "var_stat": [2], "frame_num": 0}', "no statistic"),
        ('{"mean_stat": [1], "var_stat": [2], "frame_num": 1}', "80 bins"),
        ("[", "cannot be read"),
    ],
)
def test_normalisation_that_is_none(tmp_path, content, words):
    (tmp_path / "global_cmvn").write_text(content)
    with pytest.raises(CheckpointError, match=words):
        read_normalisation(tmp_path / "global_cmvn")


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.08])
def test_too_short_to_hear(seconds):
    with pytest.raises(InputError, match="too short"):
        frames_of(np.zeros(round(RATE * seconds), np.float32), RATE)


def test_lengths():
    whale = random_encoder(output=8)
    table = {7: 1, 14: 1, 15: 2, 78: 9, 98: 12, 138: 17, 198: 24, 998: 124, 2048: 256, 2999: 375}
    if DATA:
        table |= {int(k): v for k, v in meta("whale_fbank")["frames_to_llm_tokens"].items()}
    for frames, rows in table.items():
        assert rows_of(frames) == rows, frames
        if frames < 200:
            assert len(whale(torch.zeros(frames, MELS))) == rows, frames


def test_no_noise_is_added():
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    assert np.array_equal(frames_of(samples, RATE), frames_of(samples, RATE))


# The encoder


@pytest.mark.parametrize(("scenario", "row"), [("s1", 144), ("s3", 234)])
def test_rows_of_a_sound_file(tmp_path, scenario, row):
    """From the file to the rows that stand in the prompt."""
    inputs, expected = arrays("vita_tiny", "inputs"), arrays("vita_tiny")
    if f"{scenario}.inputs_embeds" not in expected:
        pytest.skip("only in the whole data")
    whale = encoder(encoder_folder(tmp_path))
    frames = inputs[f"{scenario}.fbank"][0]
    rows = whale(frames)
    wanted = expected[f"{scenario}.inputs_embeds"][0]
    # Beside the tests there are only the rows of sound.
    wanted = wanted[row : row + len(rows)] if len(wanted) > len(rows) else wanted
    close(rows, wanted, **ROWS)
    (name,) = [s["audio_files"][0] for s in SCENARIOS if s["s"] == int(scenario[1:])]
    samples, rate = soundfile.read(TINY / name, dtype="float32")
    close(whale(torch.from_numpy(frames_of(samples, rate))), wanted, 2e-3)


SCENARIOS = [{"s": 1, "audio_files": ["a0.wav"]}, {"s": 3, "audio_files": ["a1.wav"]}]

MODES = {
    "full": Blocks(),
    "full_single0": Blocks(),
    "vllm_single0": Blocks(),
    "chunk4_left2": Blocks(4, 2),
    "chunk4_leftall": Blocks(4, -1),
}


@pytest.mark.skipif(not DATA, reason="only in the whole data")
@pytest.mark.parametrize("mode", MODES)
def test_encoder(mode):
    inputs, expected = arrays("whale_encoder", "inputs"), arrays("whale_encoder")
    whale = encoder(FOLDER / "whale_encoder", MODES[mode])
    seen = {}
    for name, part in (
        ("subsampled", whale.subsampling),
        ("encoder_out", whale.norm),
        *((f"layer{number}", layer) for number, layer in enumerate(whale.layers)),
    ):
        part.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    wanted = expected[f"{mode}.inputs_embeds"]
    for number in range(len(wanted)):
        frames = inputs["feats"][number, : inputs["lengths"][number]]
        made = whale(frames)
        if f"{mode}.attention_mask" in expected:
            assert len(made) == expected[f"{mode}.attention_mask"][number].sum()
        close(made, wanted[number, : len(made)], **ROWS)
        for name, got in seen.items():
            if f"{mode}.{name}" in expected:
                close(got, expected[f"{mode}.{name}"][number, : len(got)], **ROWS)
    assert seen


@pytest.mark.skipif(not DATA, reason="only in the whole data")
def test_positions():
    wanted = arrays("whale_encoder")["pos_table_first8"]
    close(sinusoid(*wanted.shape), wanted, 1e-6)


@pytest.mark.skipif(not DATA, reason="only in the whole data")
def test_dynamic_chunks_see_everything(tmp_path):
    """The published code draws a size per call; a draw of at least all rows is what we do."""
    text = (FOLDER / "whale_encoder" / "train.yaml").read_text()
    path = tmp_path / "train.yaml"
    path.write_text(text.replace("dynamic-chunks: false", "dynamic-chunks: true"))
    blocks = read_blocks(path)
    assert blocks == Blocks()
    inputs, expected = arrays("whale_encoder", "inputs"), arrays("whale_encoder")
    made = encoder(FOLDER / "whale_encoder", blocks)(inputs["feats"][0, : inputs["lengths"][0]])
    close(made, expected["dynamic0.inputs_embeds"][0, : len(made)], **ROWS)


def plainly(whale, frames, sees):
    """The encoder as the paper's formula has it, a loop for every pair of rows."""
    weights = dict(whale.named_parameters())

    def linear(rows, name):
        return functional.linear(rows, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def norm(rows, name, eps=1e-5):
        shape = rows.shape[-1:]
        return functional.layer_norm(
            rows, shape, weights[f"{name}.weight"], weights[f"{name}.bias"], eps
        )

    config = whale.config
    maps = ((frames - whale.mean) * whale.istd)[None, None]
    for name in ("subsampling.first", "subsampling.second"):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        maps = functional.conv2d(maps, weight, bias, stride=2).relu()
    rows = linear(maps[0].permute(1, 0, 2).reshape(maps.shape[2], -1), "subsampling.out")
    rows = norm(linear(rows, "embed"), "embed_norm").relu() * math.sqrt(config.width)
    count, size = len(rows), config.width // config.heads
    table = torch.zeros(count, config.width)
    for place in range(count):
        for pair in range(config.width // 2):
            angle = place / 10_000 ** (2 * pair / config.width)
            table[place, 2 * pair : 2 * pair + 2] = torch.tensor([math.sin(angle), math.cos(angle)])
    for number in range(config.layers):
        layer = f"layers.{number}"
        normed = norm(rows, f"{layer}.norm1")
        q, k, v, p = (
            linear(given, f"{layer}.attention.{part}").view(-1, config.heads, size)
            for given, part in ((normed, "q"), (normed, "k"), (normed, "v"), (table, "position"))
        )
        u, w = (weights[f"{layer}.attention.bias_{bias}"] for bias in "uv")
        out = torch.zeros(count, config.heads, size)
        for i in range(count):
            for head in range(config.heads):
                among = [j for j in range(count) if sees(i, j)]
                scores = torch.stack(
                    [
                        ((q[i, head] + u[head]) @ k[j, head] + (q[i, head] + w[head]) @ p[j, head])
                        / math.sqrt(size)
                        for j in among
                    ]
                )
                for share, j in zip(scores.softmax(0), among, strict=True):
                    out[i, head] += share * v[j, head]
        rows = rows + linear(out.flatten(1), f"{layer}.attention.out")
        inner = linear(norm(rows, f"{layer}.norm2"), f"{layer}.w_1").relu()
        rows = rows + linear(inner, f"{layer}.w_2")
    rows = functional.pad(norm(rows, "norm").T, (0, config.kernel - 1))
    weight, bias = weights["adapter.convolution.weight"], weights["adapter.convolution.bias"]
    rows = functional.conv1d(rows[None], weight, bias, stride=2)[0].T
    return linear(functional.gelu(norm(rows, "adapter.norm", 1e-3)), "adapter.out")


@pytest.mark.parametrize(
    ("blocks", "sees"),
    [
        (Blocks(), lambda i, j: True),
        (Blocks(3, 1), lambda i, j: i // 3 - 1 <= j // 3 <= i // 3),
        (Blocks(2, 0), lambda i, j: i // 2 == j // 2),
        (Blocks(4, -1), lambda i, j: j // 4 <= i // 4),
    ],
    ids=["full", "blocks", "own block", "all before"],
)
def test_encoder_is_its_formula(blocks, sees):
    whale = random_encoder(blocks, output=10)
    frames = torch.randn(51, MELS) * 3 + 10
    close(whale(frames), plainly(whale, frames, sees), 1e-4, 1e-4)


def test_clips_beyond_the_positions():
    whale = random_encoder(output=4, layers=0)
    most = PLACES * 4 + 6
    assert len(whale(torch.zeros(most, MELS))) == PLACES // 2
    with pytest.raises(InputError, match="200 s"):
        whale(torch.zeros(most + 4, MELS))


# What the files say


TRAIN = """
input_dim: 80
dataset_conf: {fbank_conf: {dither: 1.0, num_mel_bins: 80}}
encoder_conf:
  para_conf:
    transformer: {transformer-chunk_size: 4, transformer-left_chunks: 16}
model_conf: {kernel_size: 5, add_audio_bos_eos: false}
"""


@pytest.mark.parametrize(
    ("old", "new", "blocks"),
    [
        ("", "", Blocks(4, 16)),
        ("size: 4", "size: -1", Blocks(0, 16)),
        ("chunks: 16", "chunks: -1", Blocks(4, -1)),
        ("chunks: 16", "chunks: 16, transformer-dynamic-chunks: true", Blocks()),
    ],
)
def test_blocks(tmp_path, old, new, blocks):
    (tmp_path / "train.yaml").write_text(TRAIN.replace(old, new, 1))
    assert read_blocks(tmp_path / "train.yaml") == blocks


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("bos_eos: false", "bos_eos: true", "add_audio_bos_eos"),
        ("input_dim: 80", "input_dim: 40", "input_dim is 40"),
        ("size: 4", "size: 4, transformer-concat-after: true", "concat-after"),
        ("size: 4", "size: four", "whole numbers"),
        ("transformer: {", "conformer: {", "no transformer"),
        ("para_conf", "conf", "no para_conf"),
        ("{dither", "{{dither", "YAML"),
        ("input_dim: 80", "input_dim: !!python/object/apply:os.getcwd []", "YAML"),
    ],
)
def test_other_encoders_are_refused(tmp_path, old, new, words):
    (tmp_path / "train.yaml").write_text(TRAIN.replace(old, new, 1))
    with pytest.raises(CheckpointError, match=words):
        read_blocks(tmp_path / "train.yaml")


def test_no_train_yaml(tmp_path):
    with pytest.raises(CheckpointError, match=r"train\.yaml is not there"):
        read_blocks(tmp_path / "train.yaml")

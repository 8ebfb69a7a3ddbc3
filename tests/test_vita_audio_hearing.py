"""Features, encoder and projector of the Plus models, held against recordings of the reference."""

import numpy as np
import pytest
import soundfile
import torch
from codec_golden import GOLDEN, close, folders
from torch import nn

from codec.checkpoint import CheckpointError
from engines.native.snapshot import Snapshot
from engines.vita_audio.fbank import RATE, WIDTH, FilterBank
from engines.vita_audio.sensevoice import (
    ENCODER,
    QUERIES,
    UNUSED,
    EncoderConfig,
    SenseVoice,
)
from errors import InputError

(FOLDER,) = folders("mtp_lm_sensevoice")
ARRAYS = FOLDER.arrays()
CLIPS = FOLDER.meta["clips"]
RUNS = sorted({name.split("/")[0] for name in FOLDER.meta["runs"]})
BANK = FilterBank.load(FOLDER.checkpoint)


def clip(name):
    return soundfile.read(FOLDER.path / CLIPS[name]["wav"], dtype="float32", always_2d=True)


@pytest.mark.parametrize("name", CLIPS)
def test_features_are_those_of_the_reference(name):
    features = BANK(*clip(name))
    wanted = ARRAYS[f"{name}/features"]
    close(torch.from_numpy(features), wanted, FOLDER.tolerance("features"))
    assert len(features) == CLIPS[name]["lfr_frames"]


@pytest.mark.parametrize("name", CLIPS)
def test_features_of_mono_at_the_right_rate(name):
    features = BANK(ARRAYS[f"{name}/resampled_mono_16k"].numpy(), RATE)
    close(torch.from_numpy(features), ARRAYS[f"{name}/features"], FOLDER.tolerance("features"))


def test_features_do_not_change_from_call_to_call():
    samples, rate = clip("clipA")
    assert np.array_equal(BANK(samples, rate), BANK(samples, rate))


@pytest.mark.parametrize("frames", [1, 2, 3, 6, 7, 8, 13, 100])
def test_frames_are_joined_as_the_reference_pads_them(frames):
    """Written out: three copies of the first frame before, the last one after the end."""
    values = np.random.default_rng(frames).normal(size=(frames, 80)).astype(np.float32)
    padded = [values[0]] * 3 + list(values)
    rows = []
    for start in range(0, frames, 6):
        row = padded[start : start + 7]
        rows.append(np.concatenate(row + [values[-1]] * (7 - len(row))))
    shift, scale = (np.full(WIDTH, value, np.float32) for value in (0.5, 2.0))
    joined = FilterBank(shift, scale).normalised(values)
    np.testing.assert_allclose(joined, (np.stack(rows) + 0.5) * 2.0, rtol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_a_clip_shorter_than_a_frame_is_refused(samples):
    with pytest.raises(InputError, match="too short"):
        BANK(np.zeros(samples, np.float32), RATE)


def test_the_shortest_clip_there_is():
    assert BANK(np.zeros(400, np.float32), RATE).shape == (1, WIDTH)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<AddShift>", "<Nothing>", "AddShift"),
        ("<Rescale>", "<Nothing>", "Rescale"),
        ("]", "1.0 ]", "560"),
        ("-8.628368", "eight", "AddShift"),
        ("-8.628368", "nan", "AddShift"),
    ],
)
def test_normalisation_that_is_damaged(tmp_path, old, new, words):
    text = (FOLDER.checkpoint / "am.mvn").read_text()
    assert old in text
    head, _, tail = text.partition("<AddShift>")
    (tmp_path / "am.mvn").write_text(head + ("<AddShift>" + tail).replace(old, new))
    with pytest.raises(CheckpointError, match=words):
        FilterBank.load(tmp_path)


def test_normalisation_that_is_absent(tmp_path):
    with pytest.raises(CheckpointError, match=r"am\.mvn"):
        FilterBank.load(tmp_path)


# The encoder


def recorded():
    """The checkpoint of the reference; its encoder has 7 MB, so is not beside the tests."""
    snapshot = Snapshot(FOLDER.checkpoint)
    if not any(name.startswith(ENCODER) for name in snapshot.shapes):
        pytest.skip(f"the encoder's weights are not in {GOLDEN}; set PARLEY_GOLDEN")
    return snapshot


def loaded(snapshot, dtype=torch.float32):
    with torch.device("meta"):
        network = SenseVoice(EncoderConfig.of(snapshot.shapes, snapshot.folder))
    language_model = r"lm_head\..*|mtp_.*|model\.(layers|norm|embed_tokens)\..*"
    snapshot.load(
        network,
        device="cpu",
        dtype=dtype,
        names=network.names(),
        ignored=f"{UNUSED}|{language_model}",
    )
    return network.eval()


def clips_of(run):
    (order,) = {
        tuple(told["audio_order"])
        for name, told in FOLDER.meta["runs"].items()
        if name.startswith(run)
    }
    return [ARRAYS[f"{name}/features"] for name in order]


@pytest.mark.parametrize("run", RUNS)
@torch.inference_mode()
def test_encoder_and_projector_are_those_of_the_reference(run):
    """Of padded batches too: the clips of a run differ in length."""
    network = loaded(recorded())
    clips = clips_of(run)
    encoded = network.encode(clips)
    wanted = ARRAYS[f"{run}/sensevoice_out"]
    rows = network(clips)
    for row, features in enumerate(clips):
        length = len(features) + QUERIES
        close(encoded[row, :length], wanted[row, :length], FOLDER.tolerance("sensevoice_out"))
        embeds = ARRAYS[f"{run}/audio_embeds"][row, :length]
        close(rows[row], embeds, FOLDER.tolerance("audio_embeds"))


TINY = EncoderConfig(
    features=24, hidden=16, inner=20, blocks=2, text_blocks=1, kernel=5, queries=16, output=12
)


def tiny(seed=0):
    torch.manual_seed(seed)
    network = SenseVoice(TINY).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def written_out(network, features):
    """One clip through the encoder, straight from its description, position by position."""
    w = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def norm(x, name):
        return nn.functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def layer(x, name):
        y = norm(x, f"{name}.norm1")
        y = y @ w[f"{name}.self_attn.linear_q_k_v.weight"].T
        y = y + w[f"{name}.self_attn.linear_q_k_v.bias"]
        query, key, value = y.split(TINY.hidden, dim=-1)
        taps = w[f"{name}.self_attn.fsmn_block.weight"][:, 0]
        memory = value.clone()
        for t in range(len(x)):
            for k in range(TINY.kernel):
                other = t + k - TINY.kernel // 2
                if 0 <= other < len(x):
                    memory[t] += taps[:, k] * value[other]
        heads = []
        for head in range(4):
            part = slice(head * TINY.hidden // 4, (head + 1) * TINY.hidden // 4)
            scores = query[:, part] @ key[:, part].T / (TINY.hidden // 4) ** 0.5
            heads.append(scores.softmax(-1) @ value[:, part])
        y = torch.cat(heads, -1) @ w[f"{name}.self_attn.linear_out.weight"].T
        y = y + w[f"{name}.self_attn.linear_out.bias"] + memory
        x = x + y if x.shape == y.shape else y
        y = norm(x, f"{name}.norm2")
        y = (y @ w[f"{name}.feed_forward.w_1.weight"].T + w[f"{name}.feed_forward.w_1.bias"]).relu()
        y = y @ w[f"{name}.feed_forward.w_2.weight"].T + w[f"{name}.feed_forward.w_2.bias"]
        return x + y

    rounded = features.bfloat16().double()
    x = torch.cat((w["embed.weight"][[0, 1, 2, 15]], rounded)) * TINY.hidden**0.5
    for t in range(len(x)):
        for i in range(TINY.features // 2):
            angle = (t + 1) * 10_000.0 ** (-i / (TINY.features / 2 - 1))
            x[t, i] += np.sin(angle)
            x[t, TINY.features // 2 + i] += np.cos(angle)
    for name in ("encoders0.0", "encoders.0", "encoders.1"):
        x = layer(x, f"encoder.{name}")
    x = norm(x, "encoder.after_norm")
    x = norm(layer(x, "encoder.tp_encoders.0"), "encoder.tp_norm")
    y = norm(x, "projection.pre_proj_layernorm") @ w["projection.mlp.0.weight"].T
    y = 0.5 * y * (1 + torch.erf(y / 2**0.5))
    return x, y @ w["projection.mlp.2.weight"].T


@torch.inference_mode()
def test_encoder_does_what_its_description_says():
    network = tiny()
    clips = [torch.randn(length, TINY.features) for length in (1, 9, 4)]
    encoded, rows = network.encode(clips), network(clips)
    for row, features in enumerate(clips):
        x, y = written_out(network, features)
        torch.testing.assert_close(encoded[row, : len(x)].double(), x, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(rows[row].double(), y, atol=1e-3, rtol=1e-4)


def in_layout(network):
    """The tensors under their names in a checkpoint."""
    names = network.names()
    return {names[name]: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_sizes_are_read_off_the_shapes():
    assert EncoderConfig.of(in_layout(tiny()), "here") == TINY
    with torch.device("meta"):
        published = in_layout(SenseVoice(EncoderConfig()))
    assert EncoderConfig.of(published, "here") == EncoderConfig()
    parameters = sum(np.prod(shape) for shape in published.values())
    assert 230e6 < parameters < 240e6


def test_a_checkpoint_without_an_encoder():
    with pytest.raises(CheckpointError, match=r"folder holds no SenseVoice.*embed\.weight.*Plus"):
        EncoderConfig.of({"model.embed_tokens.weight": (10, 10)}, "folder")

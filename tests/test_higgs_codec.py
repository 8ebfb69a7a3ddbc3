"""The codec: transformers' codes and sound, streams without a seam, and broken folders."""

import json
import shutil

import numpy as np
import pytest
import torch
from higgs_checkpoint import folders, published_codec
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from engines.higgs import codec as codecs
from engines.higgs.stream import BLOCKS, DecoderStream, Reach, reach
from errors import InputError, UnavailableError
from speech.pcm import Audio

HOP = 960


@pytest.fixture(scope="module")
def codec():
    return codecs.load(folders()[1], "cpu")


@pytest.fixture(scope="module")
def published():
    return published_codec().HiggsAudioV2TokenizerModel.from_pretrained(folders()[1]).eval()


def frames(length, seed=0):
    return np.random.default_rng(seed).integers(0, 1024, (length, 8))


def streamed(codec, codes):
    stream = codec.stream()
    pieces = [made for code in codes if (made := stream.push(code)) is not None]
    return [*pieces, *stream.finish()]


def test_sizes_come_from_the_checkpoint(codec):
    assert (codec.rate, codec.hop, codec.books, codec.entries) == (24_000, HOP, 8, 1024)


@pytest.mark.parametrize("length", [HOP, 3 * HOP + 17, 48_000])
def test_a_reference_gets_the_codes_of_transformers(codec, published, length):
    samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    whole = samples[: length // HOP * HOP]
    with torch.no_grad():
        theirs = published.encode(torch.from_numpy(whole)[None, None]).audio_codes[0].T
    assert np.array_equal(codec.encode(Audio(samples, 24_000)), theirs.numpy())


def test_a_reference_of_another_rate(codec):
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert codec.encode(Audio(samples, 16_000)).shape == (25, 8)


def test_less_than_a_frame_is_refused(codec):
    with pytest.raises(InputError, match="short"):
        codec.encode(Audio(np.zeros(HOP - 1, np.float32), 24_000))


def test_sound_is_that_of_transformers(codec, published):
    codes = frames(60)
    with torch.no_grad():
        theirs = published.decode(torch.from_numpy(codes.T[None])).audio_values[0, 0].numpy()
    assert np.abs(codec.decode(codes) - theirs).max() < 1e-5


def test_the_reach_is_all_that_a_sample_depends_on(codec):
    """A frame is changed; what changes with it is what the reach says, to the frame."""
    codes, at = frames(60), 30
    changed = codes.copy()
    changed[at] = (changed[at] + 1) % 1024
    differs = codec.decode(codes).reshape(-1, HOP) != codec.decode(changed).reshape(-1, HOP)
    touched = np.flatnonzero(differs.any(axis=1))
    assert touched[0] == at - codec.context.after
    assert touched[-1] == at + codec.context.before
    assert max(codec.context.before, codec.context.after) <= 32


@pytest.mark.parametrize("length", [0, 1, 5, 15, 16, 40, 150])
def test_a_stream_sounds_like_one_piece(codec, length):
    codes = frames(length, seed=length)
    pieces = streamed(codec, codes)
    sound = np.concatenate([np.zeros(0, np.float32), *pieces])
    assert len(sound) == length * HOP
    if not length:
        return
    whole = codec.decode(codes)
    assert np.abs(whole).max() > 0.05, "a click would not show"
    assert np.abs(sound - whole).max() < 1e-4


def test_no_seam_jumps_where_one_without_context_does(codec):
    codes = frames(150, seed=5)
    pieces = streamed(codec, codes)
    whole = codec.decode(codes)
    bare = np.concatenate([codec.decode(codes[at : at + 14]) for at in range(0, 150, 14)])
    assert np.abs(bare - whole).max() > 0.05, "the context would not matter"
    sound = np.concatenate(pieces)
    edges = np.cumsum([len(piece) for piece in pieces])[:-1]
    assert len(edges) > 4
    for edge in edges:
        jump = abs(sound[edge] - sound[edge - 1])
        assert jump == pytest.approx(abs(whole[edge] - whole[edge - 1]), abs=1e-4)


def smoothed(context):
    """A decoder whose samples are means over exactly its reach; two samples a frame."""

    def decode(codes):
        values = np.pad(codes[:, 0].astype(np.float32), (context.before, context.after))
        size = context.before + context.after + 1
        means = np.convolve(values, np.ones(size), "valid") / size
        return np.repeat(means, 2).astype(np.float32)

    return decode


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 120),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_any_blocks_and_any_reach_join(length, blocks, before, after, seed):
    context = Reach(before, after)
    decode = smoothed(context)
    codes = frames(length, seed)
    stream = DecoderStream(decode, 2, context, blocks)
    pieces, held = [], 0
    for code in codes:
        if (made := stream.push(code)) is not None:
            pieces.append(made)
        held = max(held, len(stream._frames))
    pieces += list(stream.finish())
    sound = np.concatenate([np.zeros(0, np.float32), *pieces])
    assert np.allclose(sound, decode(codes) if length else [], atol=1e-3)
    assert held <= before + max(blocks) + after


def test_the_cost_of_a_second_is_bounded(codec):
    decoded = []

    def decode(codes):
        decoded.append(len(codes))
        return np.zeros(len(codes) * HOP, np.float32)

    stream = DecoderStream(decode, HOP, codec.context)
    for code in frames(1000):
        stream.push(code)
    list(stream.finish())
    assert max(decoded) <= BLOCKS[-1] + codec.context.before + codec.context.after
    assert sum(decoded) < 1.7 * 1000


def test_reach_of_other_strides():
    assert reach([8, 5, 4, 2, 3]) == Reach(10, 10)
    # The same in the other order: large dilations at a low rate reach further.
    assert reach([3, 2, 4, 5, 8]).before > 20


# Broken folders


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(folders()[1], tmp_path / "codec")


def refusal(folder):
    with pytest.raises(UnavailableError) as refused:
        codecs.load(folder, "cpu")
    return str(refused.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_absent_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"acoustic_model_config": 3}'])
def test_a_damaged_config_is_named(folder, content):
    (folder / "config.json").write_bytes(content)
    assert "config.json" in refusal(folder)


def test_a_cut_file_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "model.safetensors" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fc2.weight", "absent"),
        ("acoustic_decoder.block.2.conv_t1.weight", "absent"),
        ("quantizer.quantizers.3.codebook.embed", "shape"),
        ("semantic_model.encoder.pos_conv_embed.conv.parametrizations.weight.original0", "absent"),
        ("semantic_model.encoder.pos_conv_embed.conv.parametrizations.weight.original1", "shape"),
        ("fc.bias", "nan"),
        ("surprise.weight", "extra"),
    ],
)
def test_a_broken_tensor_is_named(folder, name, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if change == "absent":
        del tensors[name]
    elif change == "extra":
        tensors[name] = torch.zeros(3)
    elif change == "nan":
        tensors[name][0] = torch.nan
    else:
        tensors[name] = tensors[name][..., :-1].contiguous()
    save_file(tensors, path, {"format": "pt"})
    assert name in refusal(folder)


@pytest.mark.parametrize("form", ["weight_g and weight_v", "weight", "no training tensors"])
def test_other_forms_of_the_file_sound_the_same(folder, codec, form):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    stem = "semantic_model.encoder.pos_conv_embed.conv."
    if form == "no training tensors":
        for name in [name for name in tensors if name.startswith(("decoder_semantic.", "fc1."))]:
            del tensors[name]
    else:
        norm = tensors.pop(stem + "parametrizations.weight.original0")
        direction = tensors.pop(stem + "parametrizations.weight.original1")
        if form == "weight":
            length = direction.norm(dim=(0, 1), keepdim=True)
            tensors[stem + "weight"] = direction * (norm / length)
        else:
            tensors |= {stem + "weight_g": norm, stem + "weight_v": direction}
    save_file(tensors, path, {"format": "pt"})
    samples = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    audio = Audio(samples, 24_000)
    assert np.array_equal(codecs.load(folder, "cpu").encode(audio), codec.encode(audio))


def test_the_config_is_read_for_sizes(folder):
    config = json.loads((folder / "config.json").read_text())
    config["codebook_dim"] = 8
    (folder / "config.json").write_text(json.dumps(config))
    assert "codebook.embed" in refusal(folder) or "project_in" in refusal(folder)

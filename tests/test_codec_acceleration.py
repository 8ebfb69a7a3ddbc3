"""Prepared shapes: which they are, and that they change nothing."""

import numpy as np
import pytest
import torch
from codec_golden import DECODER
from pretended_gpu import gpu_fixture  # noqa: F401  (a fixture)

from codec.decoder import SpeechDecoder
from codec.stream import StreamPlan
from speech.pcm import concatenate


@pytest.fixture
def compiled(monkeypatch):
    """A decoder whose compiler leaves everything as it is and notes what it ran."""
    runs = []

    def compile_nothing(function, *, dynamic):
        assert dynamic is False

        def run(x, time):
            runs.append(x.shape[2])
            return function(x, time)

        return run

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return SpeechDecoder.load(DECODER, acceleration="compile"), runs


def test_shapes_that_come_again_are_prepared(compiled):
    decoder, runs = compiled
    plain = SpeechDecoder.load(DECODER)
    codes = np.random.default_rng(0).integers(0, 512, 200).tolist()

    def spoken(which):
        stream = which.open(plan=StreamPlan(steps=(10,)))
        return concatenate([stream.push(codes), stream.finish()]).samples

    decoder.decode(codes)
    decoder.decode(codes[:-1])
    assert not runs
    first, again = spoken(decoder), spoken(decoder)
    assert np.array_equal(first, spoken(plain))
    assert np.array_equal(first, again)
    # Of eight pieces six have the shape of the first of them.
    assert runs.count(max(set(runs), key=runs.count)) == 2 * 60 - 20
    assert len(set(runs)) <= 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graphs_change_nothing(gpu, dtype):
    plain = SpeechDecoder.load(DECODER, device=gpu.device, dtype=dtype)
    captured = SpeechDecoder.load(DECODER, device=gpu.device, dtype=dtype, acceleration="graphs")
    codes = np.random.default_rng(0).integers(0, 512, 120).tolist()
    made = []
    for decoder in (plain, captured, captured):
        stream = decoder.open()
        made.append(concatenate([stream.push(codes), stream.finish()]).samples)
    np.testing.assert_allclose(made[1], made[0], atol=5e-3)
    np.testing.assert_allclose(made[2], made[1], atol=5e-3)

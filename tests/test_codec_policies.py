"""The baselines of the codec's benchmark are what they say: the published demos.

Also the whole way from codes to waveform, against the reference.
"""

import pytest
import torch
from codec_golden import close, folders

from bench.codec_policies import GrowingPrompt, Seeded, flow, redecode, vocode
from codec.decoder import SpeechDecoder

FOLDERS = [pytest.param(folder, id=str(folder)) for folder in folders("token2wav_streaming")]


class Recorded:
    """The draws of one recorded call."""

    def __init__(self, arrays, tag):
        self._z = arrays[f"{tag}/draw/z"]
        self._phases = arrays[f"{tag}/draw/phase_uniform"]
        self._table = arrays["draw/sine_noise_table"]

    def noise(self, mels, frames):
        assert self._z.shape == (1, mels, frames)
        return self._z

    def phases(self, sources):
        assert self._phases.shape == (1, sources, 1)
        return self._phases

    def source_noise(self, sources, samples):
        return self._table[None, :, torch.arange(samples) % self._table.shape[1]]


def check_wave(folder, got, wanted):
    close(got, wanted, {"rtol": 0} | folder.tolerance("wav"))
    assert (got - wanted).abs().mean() < 1e-3


@pytest.mark.parametrize("folder", FOLDERS)
@torch.inference_mode()
def test_every_call(folder):
    models = SpeechDecoder.load(folder.checkpoint).models
    arrays = folder.arrays()
    codes = arrays["input/tokens"].tolist()
    policy, checked = None, 0
    near = {"rtol": 0} | folder.tolerance("mel")
    for call in folder.meta["calls"]:
        tag = call["tag"]
        if "finalize" in call:
            start, count = call["prompt_tokens"], call["new_tokens"]
            if not start:
                policy = GrowingPrompt(models)
            assert (len(policy.codes), policy.mel.shape[2]) == (start, call["prompt_feat_frames"])
            draws = Recorded(arrays, tag)
            wave, mel = policy.block(codes[start : start + count], draws, final=call["finalize"])
            close(mel, arrays[f"{tag}/mel"], near)
            check_wave(folder, wave, arrays[f"{tag}/wav"])
        elif "tokens_decoded" in call:
            count, heard = call["tokens_decoded"], call["new_from_sample"]
            draws = Recorded(arrays, tag)
            wave = redecode(models, codes[:count], draws, call["option_steps"], heard)
            check_wave(folder, wave, arrays[f"{tag}/new_wav"])
        elif f"{tag}/draw/z" in arrays:
            draws = Recorded(arrays, tag)
            mel = flow(models, codes[: call["tokens"]], draws, call["option_steps"])
            close(mel, arrays[f"{tag}/mel"], near)
            check_wave(folder, vocode(models, mel, draws, None)[0], arrays[f"{tag}/wav"])
        elif "natural_rng" in tag:
            draws = Seeded()
            mel = flow(models, codes[: call["tokens"]], draws, call["option_steps"])
            check_wave(folder, vocode(models, mel, draws, None)[0], arrays[f"{tag}/wav"])
        else:
            assert tag.endswith("/final"), f"unknown call {tag}"
            continue
        checked += 1
    assert checked

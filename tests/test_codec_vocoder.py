"""The HiFT vocoder against the reference: pitch, excitation and waveform, given its draws."""

import pytest
import torch
from codec_golden import DECODER, close, folders

from codec.decoder import SpeechDecoder

CASES = [
    pytest.param(folder, name, id=f"{folder}-{name}")
    for folder in folders("hift")
    for name in folder.meta["cases"]
]
LOADED = {}


def vocoder(path):
    if path not in LOADED:
        LOADED[path] = SpeechDecoder.load(path).models.vocoder
    return LOADED[path]


def case(folder, name):
    arrays = folder.arrays()
    return {
        key.removeprefix(f"{name}/"): value
        for key, value in arrays.items()
        if key.startswith(f"{name}/")
    }


def tolerance(folder, what):
    return {"rtol": 0.0} | folder.tolerance(what)


def with_cache(excitation, data):
    cache = data.get("input/cache_source")
    if cache is not None:
        excitation = excitation.clone()
        excitation[:, :, : cache.shape[2]] = cache
    return excitation


@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.inference_mode()
def test_every_case(folder, name):
    data, hift = case(folder, name), vocoder(folder.checkpoint)
    mel, draws = data["input/mel"], (data["draw/0_phase_uniform"], data["draw/1_sine_noise_normal"])
    close(hift.pitch(mel), data["f0"], tolerance(folder, "f0"))
    excitation, _ = hift.excite(data["f0"], *draws)
    close(
        with_cache(excitation, data),
        data["source"],
        tolerance(folder, "source given reference f0 and draws"),
    )
    close(
        hift.render(mel, data["source"]),
        data["wav"],
        tolerance(folder, "wav given reference source"),
    )
    own, _ = hift.excite(hift.pitch(mel), *draws)
    close(hift.render(mel, with_cache(own, data)), data["wav"], tolerance(folder, "wav end to end"))


@torch.inference_mode()
def test_excitation_does_not_drift():
    """Ten minutes of a steady pitch in, the sines are where they should be."""
    hift = vocoder(DECODER)
    config = hift.config
    frames, tail = 600 * config.sample_rate // config.hop, 4
    pitch = torch.full((1, frames), 440.0)
    turns = torch.zeros((), dtype=torch.float64)
    for start in range(0, frames - tail, 100):
        count = min(100, frames - tail - start)
        noise = torch.zeros(1, config.harmonics + 1, count * config.hop)
        phases = torch.zeros(1, config.harmonics + 1, 1)
        _, after = hift.excite(pitch[:, :count], phases, noise, turns)
        turns = after[-1]
    samples = (frames - tail) * config.hop
    exact = samples * 440 % config.sample_rate / config.sample_rate
    off = abs(float(turns) - exact)
    assert min(off, 1 - off) < 1e-6


@torch.inference_mode()
def test_excitation_in_pieces_is_that_of_the_whole():
    hift = vocoder(DECODER)
    config = hift.config
    generator = torch.Generator().manual_seed(1)
    pitch = torch.rand(1, 50, generator=generator) * 300
    noise = torch.randn(1, config.harmonics + 1, 50 * config.hop, generator=generator)
    phases = torch.rand(1, config.harmonics + 1, 1, generator=generator)
    whole, turns = hift.excite(pitch, phases, noise)
    first, before = hift.excite(pitch[:, :20], phases, noise[:, :, : 20 * config.hop])
    rest, after = hift.excite(pitch[:, 20:], phases, noise[:, :, 20 * config.hop :], before[-1])
    close(torch.cat((first, rest), dim=2), whole, {"atol": 1e-6, "rtol": 0})
    close(after, turns[20:], {"atol": 1e-9, "rtol": 0})


@torch.inference_mode()
def test_reach_is_enough():
    """Beyond `reach` frames, mel and excitation have no say in a frame's samples."""
    hift = vocoder(DECODER)
    config = hift.config
    frames = 4 * hift.reach
    middle = frames // 2
    generator = torch.Generator().manual_seed(2)
    mel = torch.randn(1, config.mels, frames, generator=generator)
    excitation = torch.rand(1, 1, frames * config.hop, generator=generator) - 0.5
    near = slice(middle - hift.reach, middle + 1 + hift.reach)
    inner = excitation[:, :, near.start * config.hop : near.stop * config.hop]
    part = hift.render(mel[:, :, near], inner)
    whole = hift.render(mel, excitation)
    at = hift.reach * config.hop
    close(
        part[:, at : at + config.hop],
        whole[:, middle * config.hop : (middle + 1) * config.hop],
        {"atol": 1e-5, "rtol": 0},
    )
    pitch, around = hift.pitch(mel), hift.pitch_reach
    window = mel[:, :, middle - around : middle + around + 1]
    close(hift.pitch(window)[:, around], pitch[:, middle], {"atol": 1e-4, "rtol": 1e-5})

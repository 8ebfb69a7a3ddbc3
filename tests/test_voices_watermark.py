"""The watermark: without packages, without weights, and with checkpoints of the real layout."""

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest
from optional import needs
from voice_tools import recording

from errors import UnavailableError
from speech.pcm import Audio
from voices.watermark import DETECTOR, GENERATOR, MESSAGE, RATE, Watermark

with_audioseal = needs("requirements-watermark.txt", "torch", "omegaconf", "audioseal")


def test_without_the_packages(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "audioseal" else find(name)
    )
    mark = Watermark(tmp_path)
    assert not mark.present and "requirements-watermark.txt" in mark.missing
    assert mark.detect(recording()) is None
    with pytest.raises(UnavailableError, match="audioseal"):
        mark.embed(recording())


def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path):
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    script = (
        "import sys; from pathlib import Path; from voices.watermark import Watermark;"
        "Watermark(Path(sys.argv[1])).missing;"
        "print('torch' in sys.modules, 'audioseal' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "False False\n"


@with_audioseal
def test_without_the_weights(tmp_path):
    mark = Watermark(tmp_path)
    assert GENERATOR in mark.missing and DETECTOR in mark.missing
    (tmp_path / GENERATOR).write_bytes(b"x")
    assert GENERATOR not in mark.missing and DETECTOR in mark.missing and not mark.present
    assert mark.detect(recording()) is None


def real_layout(model) -> dict:
    """Random weights under the names of the published checkpoints.

    There the convolutions are normalised: length and direction are stored apart, and the
    wrapper that the package has around each convolution today did not exist.
    """
    state = {}
    for name, value in model.state_dict().items():
        old = name.replace(".inner_conv", "")
        if "inner_conv.weight" in name:
            axes = tuple(range(1, value.dim()))
            state[f"{old}_g"] = value.norm(dim=axes, keepdim=True)
            state[f"{old}_v"] = 3 * value
        else:
            state[old] = value
    return state


def random_models(seed: int = 0):
    # Looked at when the package is imported, which happens here first.
    os.environ.setdefault("NO_TORCH_COMPILE", "1")
    import torch  # noqa: PLC0415
    from audioseal import builder, loader  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415

    torch.manual_seed(seed)
    for file, card, config_type, create in (
        (GENERATOR, "audioseal_wm_16bits", builder.AudioSealWMConfig, builder.create_generator),
        (
            DETECTOR,
            "audioseal_detector_16bits",
            builder.AudioSealDetectorConfig,
            builder.create_detector,
        ),
    ):
        values = OmegaConf.to_container(loader.load_local_model_config(card))
        yield file, create(loader.AudioSeal.parse_config(values, config_type))


@pytest.fixture(name="weights", scope="module")
def weights_fixture(tmp_path_factory):
    """Both files with random weights, one plain, one with the settings of a training run."""
    import torch  # noqa: PLC0415
    from omegaconf import DictConfig  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("weights")
    for file, model in random_models():
        state = real_layout(model)
        if file == DETECTOR:
            config = DictConfig({"seanet": {"ratios": [8, 5, 4, 2]}, "nbits": 16})
            state = {"model": state, "xp.cfg": config}
        torch.save(state, folder / file)
    return folder


@with_audioseal
def test_checkpoints_are_read_weight_by_weight(weights):
    """The models that come out are the ones that went in."""
    import torch  # noqa: PLC0415

    mark = Watermark(weights)
    assert mark.present and mark.missing == ""
    x = torch.from_numpy(recording(seconds=1).samples)[None, None]
    message = torch.tensor([[int(bit) for bit in f"{MESSAGE:016b}"]])
    for file, model in random_models():
        model.eval()
        with torch.inference_mode():
            if file == GENERATOR:
                expected = model.get_watermark(x, RATE, message)[0, 0].numpy()
                found = mark.embed(recording(seconds=1)).samples - recording(seconds=1).samples
                np.testing.assert_allclose(found, expected, atol=1e-5)
                assert np.abs(expected).max() > 1e-4
            else:
                expected = float((model(x, RATE)[0][0, 1] > 0.5).float().mean())
                assert mark.detect(recording(seconds=1)) == pytest.approx(expected, abs=1e-3)


@with_audioseal
@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(16_000, 0.001), (44_100, 0.001), (24_000, 0.2), (44_100, 3), (24_000, 25)],
)
def test_any_rate_and_length(weights, rate, seconds):
    mark = Watermark(weights)
    audio = recording(seconds=seconds, rate=rate)
    marked = mark.embed(audio)
    assert marked.rate == rate and len(marked) == len(audio)
    assert np.array_equal(mark.embed(audio).samples, marked.samples), "the same each time"
    assert 0 <= mark.detect(marked) <= 1


@with_audioseal
def test_stretches_join_without_a_jump(weights, monkeypatch):
    """The watermark of a long signal has no step where two stretches of it meet."""
    quiet = Audio(np.zeros(RATE * 6, np.float32), RATE)
    whole = Watermark(weights).embed(quiet).samples
    monkeypatch.setattr("voices.watermark._STRETCH", 2.0)
    cut = Watermark(weights).embed(quiet).samples
    steps, usual = np.abs(np.diff(cut)), np.abs(np.diff(whole)).max()
    assert steps.max() < 1.5 * usual


@with_audioseal
def test_empty_speech(weights):
    empty = Audio(np.zeros(0, np.float32), 24_000)
    assert len(Watermark(weights).embed(empty)) == 0
    assert Watermark(weights).detect(empty) is None


class Harmful:
    """What a file of weights must not get to do."""

    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


@with_audioseal
@pytest.mark.parametrize("content", ["garbage", "harmful", "other", "part", "more", "list", "cut"])
def test_files_that_are_not_the_weights(weights, tmp_path, content, monkeypatch):
    import torch  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    state = torch.load(weights / GENERATOR, weights_only=True)
    some = next(iter(state))
    things = {
        "harmful": {"model": Harmful()},
        "other": {"weight": torch.zeros(3)},
        "part": {name: value for name, value in state.items() if name != some},
        "more": state | {"extra": torch.zeros(3)},
        "list": [1, 2, 3],
    }
    path = tmp_path / GENERATOR
    if content in things:
        torch.save(things[content], path)
    else:
        whole = (weights / GENERATOR).read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "cut" else b"garbage")
    (tmp_path / DETECTOR).write_bytes((weights / DETECTOR).read_bytes())
    with pytest.raises(UnavailableError, match=re.escape(str(path))):
        Watermark(tmp_path).embed(recording())
    assert not (tmp_path / "harm").exists()

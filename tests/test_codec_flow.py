"""The flow decoder against the reference: condition, velocity and mel, given its noise."""

import pytest
import torch
from codec_golden import close, folders

from codec.decoder import SpeechDecoder
from codec.frames import nearest

CASES = [
    pytest.param(folder, name, id=f"{folder}-{name}")
    for folder in folders("flow_decoder")
    for name in folder.meta["cases"]
]
LOADED = {}


def decoder(folder):
    if folder not in LOADED:
        LOADED[folder] = SpeechDecoder.load(folder.checkpoint)
    return LOADED[folder].models


def runs(folder, name):
    """The arrays of each number of steps; what does not depend on them is stored once."""
    arrays = folder.arrays()
    groups = {}
    for key, value in arrays.items():
        case, *rest = key.split("/")
        if case == name and rest[0].startswith("steps"):
            groups.setdefault(rest[0], {})[rest[1]] = value
    shared = {"cond", "encoder_out", "encoder_proj_out", "mu", "spk", "z"}
    common = {k: v for group in groups.values() for k, v in group.items() if k in shared}
    given = {
        key.split("/")[2]: value
        for key, value in arrays.items()
        if key.startswith(f"{name}/input/")
    }
    # A subset of the data may keep only what is shared of a group.
    whole = {key: group for key, group in groups.items() if "mel" in group}
    return given, {int(key[5:]): {**common, **group} for key, group in whole.items()}


@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.inference_mode()
def test_every_case(folder, name):
    models = decoder(folder)
    flow = models.flow
    given, groups = runs(folder, name)
    codes, prompt = given["token"], given.get("prompt_token", torch.zeros(1, 0, dtype=torch.long))
    feat = given.get("prompt_feat", torch.zeros(1, 0, models.config.flow.mels))
    together = torch.cat((prompt, codes), dim=1)
    frames = models.clock.frames(together.shape[1])
    assert frames == folder.meta["cases"][name]["frames_total_incl_prompt"]
    condition = flow.condition(together, nearest(together.shape[1], frames))
    assert groups
    for steps, wanted in groups.items():
        near = folder.tolerance("mu")
        if "encoder_out" in wanted:
            close(flow.hidden(together), wanted["encoder_out"], near)
        if "encoder_proj_out" in wanted:
            projected = flow.encoder_proj(flow.hidden(together))
            close(projected, wanted["encoder_proj_out"], near)
        close(condition, wanted["mu"], near)
        close(flow.speaker(given["embedding"]), wanted["spk"], near)
        close(flow.times(steps)[:-1], wanted["t_used"], {"atol": 1e-6, "rtol": 0})
        mel = flow.infer(
            codes,
            frames,
            wanted["z"],
            steps,
            prompt_codes=prompt,
            prompt_mel=feat.transpose(1, 2),
            embedding=given["embedding"],
        )
        close(mel, wanted["mel"], folder.tolerance("mel"))


@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.inference_mode()
def test_first_velocity(folder, name):
    """Both branches of the guidance, as one batch."""
    models = decoder(folder)
    _, groups = runs(folder, name)
    for wanted in groups.values():
        if not {"step1_velocity_cond", "step1_velocity_uncond", "cond"} <= wanted.keys():
            continue
        z, mu, prompt = wanted["z"], wanted["mu"], wanted["cond"]
        speaker = wanted["spk"][:, :, None].expand_as(mu)
        guided = torch.cat((z, mu, speaker, prompt), dim=1)
        free = torch.cat((z, torch.zeros_like(guided)[:, z.shape[1] :]), dim=1)
        start = wanted["t_used"][:1].expand(2)
        with_guide, without = models.flow.decoder.estimator(torch.cat((guided, free)), start).chunk(
            2
        )
        close(with_guide, wanted["step1_velocity_cond"], folder.tolerance("mel"))
        close(without, wanted["step1_velocity_uncond"], folder.tolerance("mel"))


@pytest.mark.parametrize(
    ("source", "target", "step", "wanted"),
    # In float64 step 55 of 110 would be step 8 of 16; in float32 it is 8 less a hair.
    [(16, 110, 55, 7), (7, 48, 47, 6), (5, 3, 2, 3)],
)
def test_nearest_counts_in_float32(source, target, step, wanted):
    index = nearest(source, target)
    picked = torch.nn.functional.interpolate(
        torch.arange(source, dtype=torch.float32)[None, None], size=target, mode="nearest"
    )
    assert index.tolist() == picked[0, 0].long().tolist()
    assert index[step] == wanted


@torch.inference_mode()
def test_two_runs_agree():
    """The reference's dropout stays on; here nothing is left to chance."""
    folder = folders("flow_decoder")[0]
    flow = decoder(folder).flow
    codes = torch.arange(12)[None]
    index = nearest(12, 82)
    assert torch.equal(flow.condition(codes, index), flow.condition(codes, index))
    assert not any(module.training for module in flow.modules())

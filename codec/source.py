"""The vocoder's excitation: sines at the pitch and its harmonics, and noise.

The source of the neural source-filter model (Wang et al., 2019), as in HiFT-Net.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SineSettings:
    """Constants of the excitation.

    Attributes:
        sample_rate: Hz.
        hop: Samples per frame.
        harmonics: Beyond the pitch itself.
        level: Amplitude of each sine.
        noise_level: Standard deviation of the noise where speech is voiced; a third
            of `level` where it is not.
        voiced_above: Pitch that counts as voiced, Hz.
    """

    sample_rate: int
    hop: int
    harmonics: int
    level: float
    noise_level: float
    voiced_above: float


def sines(
    pitch: Tensor, phases: Tensor, noise: Tensor, settings: SineSettings, turned: Tensor
) -> tuple[Tensor, Tensor]:
    """Pitch and harmonics as sines, with noise.

    The phase is counted in turns and in float64, and starts from where the frames
    before left it: nothing drifts, however long the reply, and rendering a reply in
    pieces gives the same signal.

    Args:
        pitch: Hz per frame, `[1, frames]`.
        phases: Where each sine starts, radians, `[1, harmonics + 1, 1]`; the pitch starts
            at 0 whatever is given.
        noise: Standard normal, `[1, harmonics + 1, frames * hop]`.
        settings: Constants.
        turned: Turns of the pitch before the first frame, float64 `[]`.

    Returns:
        The signals, float32 `[1, harmonics + 1, frames * hop]`, and the turns of the
        pitch after each frame, float64 `[frames]`, without whole turns.
    """
    per_sample = pitch[0].double() / settings.sample_rate
    after = turned + (per_sample * settings.hop).cumsum(0)
    before = torch.cat((turned[None], after[:-1]))
    count = torch.arange(1, settings.hop + 1, dtype=torch.float64, device=pitch.device)
    turns = (before.frac()[:, None] + per_sample[:, None] * count).flatten()
    multiple = torch.arange(1, settings.harmonics + 2, dtype=torch.float64, device=pitch.device)
    angle = (turns * multiple[:, None]).frac().float() * (2 * math.pi)
    offset = phases[0].clone()
    offset[0] = 0
    voiced = (pitch > settings.voiced_above).float().repeat_interleave(settings.hop, dim=1)
    spread = voiced * settings.noise_level + (1 - voiced) * (settings.level / 3)
    signal = settings.level * torch.sin(angle + offset) * voiced[0] + spread[0] * noise[0]
    return signal[None], after.frac()

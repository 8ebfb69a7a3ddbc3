"""The HiFT vocoder: mel to waveform.

HiFT-Net (Li et al., 2023): a HiFi-GAN that is excited by sines and ends in an
inverse short-time Fourier transform. Module names are those of the checkpoint.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.config import VocoderConfig
from codec.source import SineSettings, sines

#: Slope of the last leaky ReLU; the others have the configured one. The reference
#: leaves this one at PyTorch's default, and was trained so.
_LAST_SLOPE = 0.01
#: Largest magnitude that the network may ask of a bin.
_MAX_MAGNITUDE = 100.0
#: Keeps the reciprocal in `_Snake` finite.
_TINY = 1e-9


class _Snake(nn.Module):
    """`x + sin(a x)^2 / a` with a per channel (Ziyin et al., 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        # In place: at this size, memory that is new costs more than the arithmetic.
        return (x * alpha).sin_().square_().mul_(1 / (alpha + _TINY)).add_(x)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def convolutions(spread: tuple[int, ...]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Conv1d(channels, channels, kernel, dilation=d, padding=(kernel - 1) * d // 2)
                for d in spread
            )

        self.convs1 = convolutions(dilations)
        self.convs2 = convolutions((1,) * len(dilations))
        self.activations1 = nn.ModuleList(_Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(_Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        for snake1, conv1, snake2, conv2 in parts:
            x = conv2(snake2(conv1(snake1(x)))).add_(x)
        return x


class _PitchPredictor(nn.Module):
    def __init__(self, mels: int, channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for source in (mels, *[channels] * 4):
            parts += [nn.Conv1d(source, channels, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*parts)
        self.classifier = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """`[1, mels, frames]` to Hz `[1, frames]`."""
        pitch: Tensor = self.classifier(self.condnet(mel).transpose(1, 2))
        return pitch[:, :, 0].abs()


class _Mixer(nn.Module):
    """Sines to one excitation."""

    def __init__(self, sources: int) -> None:
        super().__init__()
        self.l_linear = nn.Linear(sources, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[1, sources, samples]` to `[1, 1, samples]`."""
        mixed: Tensor = self.l_linear(x.transpose(1, 2))
        return mixed.tanh().transpose(1, 2)


class Vocoder(nn.Module):
    """Mel to waveform, in float32.

    Args:
        config: Sizes.
    """

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.settings = SineSettings(
            sample_rate=config.sample_rate,
            hop=config.hop,
            harmonics=config.harmonics,
            level=config.sine_level,
            noise_level=config.noise_level,
            voiced_above=config.voiced_above,
        )
        bins = config.fft + 2
        self.m_source = _Mixer(config.harmonics + 1)
        self.conv_pre = nn.Conv1d(config.mels, config.channels, 7, padding=3)
        widths = [config.channels // 2 ** (stage + 1) for stage in range(len(config.upsampling))]
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(2 * width, width, kernel, factor, padding=(kernel - factor) // 2)
            for width, kernel, factor in zip(
                widths, config.upsampling_kernels, config.upsampling, strict=True
            )
        )
        self.source_downs = nn.ModuleList()
        for stage, width in enumerate(widths):
            factor = math.prod(config.upsampling[stage + 1 :])
            self.source_downs.append(
                nn.Conv1d(bins, width, 1)
                if factor == 1
                else nn.Conv1d(bins, width, 2 * factor, factor, padding=factor // 2)
            )
        self.source_resblocks = nn.ModuleList(
            _ResidualBlock(width, kernel, dilations)
            for width, kernel, dilations in zip(
                widths, config.source_kernels, config.source_dilations, strict=True
            )
        )
        self.resblocks = nn.ModuleList(
            _ResidualBlock(width, kernel, dilations)
            for width in widths
            for kernel, dilations in zip(config.kernels, config.dilations, strict=True)
        )
        self.conv_post = nn.Conv1d(widths[-1], bins, 7, padding=3)
        self.f0_predictor = _PitchPredictor(config.mels, config.pitch_channels)

    @property
    def pitch_reach(self) -> int:
        """Frames on either side that a frame's pitch depends on."""
        return sum(isinstance(part, nn.Conv1d) for part in self.f0_predictor.condnet)

    @property
    def reach(self) -> int:
        """Frames of mel and excitation on either side that a frame's samples depend on."""
        config = self.config
        reach = 3.0
        rate = 1
        for stage, factor in enumerate(config.upsampling):
            reach += config.upsampling_kernels[stage] / factor / 2 / rate
            rate *= factor
            blocks = [
                (kernel - 1) / 2 * (sum(dilations) + len(dilations))
                for kernel, dilations in zip(config.kernels, config.dilations, strict=True)
            ]
            kernel, dilations = config.source_kernels[stage], config.source_dilations[stage]
            excited = (kernel - 1) / 2 * (sum(dilations) + len(dilations)) + 1
            reach += (max(blocks) + excited) / rate
        return math.ceil(reach + (3 + config.fft / config.fft_hop) / rate)

    def pitch(self, mel: Tensor) -> Tensor:
        """Hz per frame, `[1, mels, frames]` to `[1, frames]`."""
        out: Tensor = self.f0_predictor(mel)
        return out

    def excite(
        self, pitch: Tensor, phases: Tensor, noise: Tensor, turned: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The excitation of some frames; see `codec.source.sines`.

        Returns:
            `[1, 1, frames * hop]`, and the turns of the pitch after each frame.
        """
        if turned is None:
            turned = torch.zeros((), dtype=torch.float64, device=pitch.device)
        signal, turns = sines(pitch, phases, noise, self.settings, turned)
        excitation: Tensor = self.m_source(signal)
        return excitation, turns

    def render(self, mel: Tensor, excitation: Tensor) -> Tensor:
        """The waveform.

        Args:
            mel: `[1, mels, frames]`.
            excitation: `[1, 1, frames * hop]`.

        Returns:
            `[1, frames * hop]`, within plus and minus the configured limit.
        """
        config = self.config
        window = torch.hann_window(config.fft, device=mel.device)
        spectrum = torch.stft(
            excitation[:, 0], config.fft, config.fft_hop, window=window, return_complex=True
        )
        excited = torch.cat((spectrum.real, spectrum.imag), dim=1)
        x: Tensor = self.conv_pre(mel)
        last = len(self.ups) - 1
        per_stage = len(config.kernels)
        for stage, up in enumerate(self.ups):
            x = up(functional.leaky_relu_(x, config.slope))
            if stage == last:
                x = functional.pad(x, (1, 0), mode="reflect")
            x += self.source_resblocks[stage](self.source_downs[stage](excited))
            blocks = self.resblocks[stage * per_stage : (stage + 1) * per_stage]
            total: Tensor = blocks[0](x)
            for block in blocks[1:]:
                total += block(x)
            x = total.div_(per_stage)
        x = self.conv_post(functional.leaky_relu_(x, _LAST_SLOPE))
        half = config.fft // 2 + 1
        magnitude = x[:, :half].exp().clamp(max=_MAX_MAGNITUDE)
        angle = x[:, half:].sin()
        wave = torch.istft(torch.polar(magnitude, angle), config.fft, config.fft_hop, window=window)
        return wave.clamp(-config.limit, config.limit)

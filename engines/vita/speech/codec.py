"""The codec's decoder: codes to sound, 600 samples each.

TiCodec (Ren et al., 2023) with one group of codes and a HiFi-GAN (Kong et al., 2020): what
changes with time is in the codes, what stays (the speaker) in one vector that is added on the
way. Module names are those of the checkpoint.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.checkpoint import CheckpointError, fill, fold_weight_norm
from engines.vita.speech.checkpoint import read_training, weights
from engines.vita.speech.config import CODE_WIDTH, CodecConfig, read_codec_config

#: Of every leaky ReLU.
_SLOPE = 0.1


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

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            inner = first(functional.leaky_relu(x, _SLOPE))
            x = second(functional.leaky_relu(inner, _SLOPE)).add_(x)
        return x


class _Generator(nn.Module):
    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.style_width = config.style_width
        widths = [config.channels >> stage for stage in range(1, len(config.rates) + 1)]
        self.conv_pre = nn.Conv1d(CODE_WIDTH, config.channels, 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(2 * width, width, kernel, rate, padding=(kernel - rate) // 2)
            for width, kernel, rate in zip(widths, config.kernels, config.rates, strict=True)
        )
        self.resblocks = nn.ModuleList(
            _ResidualBlock(width, kernel, dilations)
            for width in widths
            for kernel, dilations in zip(config.residual_kernels, config.dilations, strict=True)
        )
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3)

    def forward(self, codes: Tensor, style: Tensor) -> Tensor:
        """Vectors `[1, 512, n]` and the speaker's `[width]` to a wave `[1, 1, n * samples]`."""
        x = self.conv_pre(codes)
        kinds = len(self.resblocks) // len(self.ups)
        for stage, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, _SLOPE))
            blocks = self.resblocks[stage * kinds : (stage + 1) * kinds]
            total: Tensor = sum(block(x) for block in blocks)
            x = total / kinds
            if x.shape[1] == self.style_width:
                x = x + style[:, None]
        wave: Tensor = self.conv_post(functional.leaky_relu(x, _SLOPE)).tanh()
        return wave


class _Table(nn.Module):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, width)


def _rows(table: nn.Module) -> Tensor:
    assert isinstance(table, _Table)
    return table.embedding.weight


class _Quantizer(nn.Module):
    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.quantizer_modules = nn.ModuleList([_Table(config.codes, CODE_WIDTH)])
        width = config.style_width // len(config.style)
        self.quantizer_modules_globaltokens = nn.ModuleList(
            _Table(config.codes, width) for _ in config.style
        )


class Codec(nn.Module):
    """Codes to sound, in float32.

    Args:
        config: Sizes.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = _Generator(config)
        self.quantizer = _Quantizer(config)

    @staticmethod
    def load(folder: Path, *, device: torch.device | str = "cpu") -> "Codec":
        """Load `model.json` and `final.pt`; what is stored in half precision is computed in full.

        Args:
            folder: `codec` of the snapshot.
            device: Where to.

        Raises:
            CheckpointError: If a file is absent, damaged, or not the one it should be; says
                which and, where it is about a tensor, which tensor.
        """
        config = read_codec_config(folder)
        path = folder / "final.pt"
        values = read_training(path)
        tensors: dict[str, Tensor] = {}
        # The encoder lies in the same file; nothing here hears with it.
        for part in ("generator", "quantizer"):
            for name, tensor in weights(path, values, part).items():
                if not tensor.is_floating_point():
                    raise CheckpointError(
                        f"{path}: the tensor {part}.{name} is {tensor.dtype}, not floating."
                    )
                tensors[f"{part}.{name}"] = tensor.to(dtype=torch.float32, copy=True)
        with torch.device("meta"):
            codec = Codec(config)
        fill(codec, fold_weight_norm(tensors, path), path, folder / "model.json")
        return codec.to(device).requires_grad_(False).eval()

    def vectors(self, codes: Tensor) -> Tensor:
        """int64 `[n]` to `[1, 512, n]`."""
        return _rows(self.quantizer.quantizer_modules[0])[codes].T[None]

    def style(self, ids: tuple[int, ...] | None = None) -> Tensor:
        """The speaker's vector, `[width]`; of the checkpoint's own ids if none are given."""
        tables = self.quantizer.quantizer_modules_globaltokens
        chosen = zip(tables, self.config.style if ids is None else ids, strict=True)
        return torch.cat([_rows(table)[number] for table, number in chosen])

    @torch.inference_mode()
    def decode(self, codes: list[int], style: Tensor | None = None) -> Tensor:
        """Decode codes.

        Args:
            codes: Each from 0 to below `config.codes`.
            style: See `style`; None: the checkpoint's own.

        Returns:
            float32 `[n * config.samples]`, on the device of the weights.

        Raises:
            ValueError: If one is no code.
        """
        if not codes:
            return torch.zeros(0)
        if not 0 <= min(codes) <= max(codes) < self.config.codes:
            raise ValueError(f"There are {self.config.codes} codes, so not {max(codes)}.")
        device = self.generator.conv_pre.weight.device
        vectors = self.vectors(torch.tensor(codes, device=device))
        wave: Tensor = self.generator(vectors, self.style() if style is None else style)
        return wave[0, 0]

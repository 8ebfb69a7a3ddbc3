"""The two model.json of the voice, read as plain data and checked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.checkpoint import CheckpointError, read_json, require
from engines.native.fields import Fields

#: Width of a code's vector; the checkpoint's first convolution takes it.
CODE_WIDTH = 512
#: Samples a second.
RATE = 24_000


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes of the network that writes codes (`decoder/model.json`).

    Attributes:
        width: Of a row, and of the piece of a text embedding that becomes one.
        heads: Of its attention.
        inner: Width of its feed-forward layers.
        blocks: Layers of the main stack; the one before it has half as many.
        codes: How many sounds there are. Four ids follow them: see `begin` to `pad`.
    """

    width: int
    heads: int
    inner: int
    blocks: int
    codes: int

    @property
    def begin(self) -> int:
        """Id before the text."""
        return self.codes

    @property
    def start(self) -> int:
        """Id before the first code."""
        return self.codes + 1

    @property
    def end(self) -> int:
        """Id after the last code."""
        return self.codes + 2

    @property
    def pad(self) -> int:
        """Id of what is no position at all; the released weights know it, nothing asks for it."""
        return self.codes + 3

    @property
    def rows(self) -> int:
        """Rows of the table of embeddings."""
        return self.codes + 4


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Sizes of the codec (`codec/model.json`).

    Attributes:
        codes: Rows of each table.
        channels: Of the first convolution; each stage has half as many as the one before.
        rates: By how much each stage stretches time.
        kernels: Of the stages.
        residual_kernels: Of the residual blocks of every stage.
        dilations: Of the convolutions of each residual block.
        style_width: Of the vector that makes the voice; added where there are as many channels.
        style: Ids that the vector is made of: the speaker.
    """

    codes: int
    channels: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    residual_kernels: tuple[int, ...]
    dilations: tuple[tuple[int, ...], ...]
    style_width: int
    style: tuple[int, ...]

    @property
    def samples(self) -> int:
        """Samples of one code."""
        product = 1
        for rate in self.rates:
            product *= rate
        return product


def read_decoder_config(folder: Path) -> DecoderConfig:
    """Read `decoder/model.json`: a list of input width, number of codes, and further values.

    Raises:
        CheckpointError: If the file is absent, damaged, or describes another network.
    """
    path = folder / "model.json"
    require(folder, (path.name,))
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. Fetch it again.") from error
    if not (isinstance(parts, list) and len(parts) == 3 and isinstance(parts[2], dict)):  # noqa: PLR2004
        raise CheckpointError(f"{path} is no list of two sizes and an object, as VITA's is.")
    sizes = dict(parts[2], idim=parts[0], odim=parts[1])
    field = Fields(path, sizes)
    config = DecoderConfig(
        width=field.whole("idim"),
        heads=field.whole("transformer_attention_heads"),
        inner=field.whole("transformer_linear_units"),
        blocks=field.whole("transformer_num_blocks"),
        codes=field.whole("odim"),
    )
    if field.whole("transformer_attention_dim") != config.width:
        raise CheckpointError(f"{path}: idim and transformer_attention_dim are to be the same.")
    if config.width % (2 * config.heads):
        raise CheckpointError(
            f"{path}: a width of {config.width} cannot be shared by {config.heads} heads."
        )
    return config


def read_codec_config(folder: Path) -> CodecConfig:
    """Read `codec/model.json`.

    Raises:
        CheckpointError: If the file is absent, damaged, or describes another network.
    """
    path = folder / "model.json"
    require(folder, (path.name,))
    values = read_json(path)
    for name, wanted in (("resblock", "1"), ("n_code_groups", 1), ("residul_layer", 1)):
        if values.get(name) != wanted:
            raise CheckpointError(
                f"{path}: {name} is {values.get(name)!r}; here it can only be {wanted!r}."
            )
    if values.get("sampling_rate") != RATE:
        raise CheckpointError(f"{path}: the sampling_rate is not {RATE}.")
    conv = _wholes(values, "global_feature_conv", path)
    style = _wholes(values, "global_tokens", path, least=0)
    dilations = values.get("resblock_dilation_sizes")
    field = Fields(path, values)
    config = CodecConfig(
        codes=field.whole("n_codes"),
        channels=field.whole("upsample_initial_channel"),
        rates=_wholes(values, "upsample_rates", path),
        kernels=_wholes(values, "upsample_kernel_sizes", path),
        residual_kernels=_wholes(values, "resblock_kernel_sizes", path),
        dilations=tuple(
            _wholes({"resblock_dilation_sizes": each}, "resblock_dilation_sizes", path)
            for each in (dilations if isinstance(dilations, list) else [])
        ),
        style_width=conv[2] if len(conv) > 2 else 0,  # noqa: PLR2004
        style=style,
    )
    _check_codec(config, field.whole("global_code_num"), path)
    return config


def _check_codec(config: CodecConfig, count: int, path: Path) -> None:
    stages = len(config.rates)
    widths = [config.channels >> stage for stage in range(1, stages + 1)]
    problems = {
        "upsample_rates and upsample_kernel_sizes are of different length": len(config.kernels)
        != stages,
        "a kernel is smaller than its rate, or not by an even number": any(
            kernel < rate or (kernel - rate) % 2
            for kernel, rate in zip(config.kernels, config.rates, strict=False)
        ),
        "resblock_kernel_sizes and resblock_dilation_sizes are of different length": len(
            config.residual_kernels
        )
        != len(config.dilations),
        "a kernel of resblock_kernel_sizes is even": any(
            kernel % 2 == 0 for kernel in config.residual_kernels
        ),
        "upsample_initial_channel cannot be halved at every stage": bool(
            config.channels % (1 << stages)
        ),
        "no stage is as wide as the voice's vector (global_feature_conv)": config.style_width
        not in widths,
        f"global_tokens are not {count} codes below {config.codes}": len(config.style) != count
        or max(config.style) >= config.codes,
        "the voice's vector cannot be cut into equal parts": bool(config.style_width % count),
    }
    for problem, applies in problems.items():
        if applies:
            raise CheckpointError(f"{path}: {problem}.")


def _wholes(values: dict[str, Any], name: str, path: Path, least: int = 1) -> tuple[int, ...]:
    given = values.get(name)
    # Some checkpoints nest a list that is given per group of codes.
    while isinstance(given, list) and len(given) == 1 and isinstance(given[0], list):
        given = given[0]
    if (
        not isinstance(given, list)
        or not given
        or not all(isinstance(value, int) and value >= least for value in given)
    ):
        raise CheckpointError(f"{path}: {name} is {given!r}, not whole numbers from {least} up.")
    return tuple(given)

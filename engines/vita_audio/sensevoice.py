"""SenseVoice's encoder and the projector after it: how the Plus models hear.

The encoder (An et al., 2024, "FunAudioLLM") is a stack of layers whose attention has a memory
beside it (SAN-M: a depthwise convolution over time). Four learnt queries are put before the
features, and all rows that come out take the place of embeddings in the language model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from codec.checkpoint import CheckpointError

#: Rows that the encoder puts before those of the clip.
QUERIES = 4

#: Rows of the table of queries: language (any), event, emotion, and text as it is said.
_QUERY_ROWS = (0, 1, 2, 15)

#: SenseVoice-Small has four heads; the weights do not show it.
_HEADS = 4

#: Names in a checkpoint begin with this.
ENCODER, PROJECTION = "model.audio_model.model.", "model.audio_projection."

#: What a checkpoint holds of SenseVoice beyond the encoder: its own transcripts are not used.
UNUSED = re.escape(ENCODER) + r"ctc\..*"

_LAYER = re.compile(re.escape(ENCODER) + r"encoder\.(encoders0|encoders|tp_encoders)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of the encoder and the projector.

    Attributes:
        features: Width of a row of features.
        hidden: Width inside.
        inner: Width of the feed-forward layers.
        blocks: Layers before the first normalisation that keep the width, so all but the first.
        text_blocks: Layers after it.
        kernel: Frames that the memory of a layer spans, an odd number.
        queries: Rows of the table of queries.
        output: Width of the language model.
    """

    features: int = 560
    hidden: int = 512
    inner: int = 2048
    blocks: int = 49
    text_blocks: int = 20
    kernel: int = 11
    queries: int = 16
    output: int = 3584

    @staticmethod
    def of(shapes: dict[str, tuple[int, ...]], source: object) -> "EncoderConfig":
        """Read the sizes off the shapes of a checkpoint; no file of it states them.

        Args:
            shapes: Of each tensor, by name.
            source: Where they are from, for errors.

        Raises:
            CheckpointError: If there is no such encoder in it.
        """
        depth = {"encoders0": 0, "encoders": 0, "tp_encoders": 0}
        for name in shapes:
            if match := _LAYER.match(name):
                depth[match[1]] = max(depth[match[1]], int(match[2]) + 1)
        try:
            queries, features = shapes[f"{ENCODER}embed.weight"]
            (hidden,) = shapes[f"{ENCODER}encoder.after_norm.weight"]
            first = f"{ENCODER}encoder.encoders0.0."
            inner = shapes[f"{first}feed_forward.w_1.weight"][0]
            kernel = shapes[f"{first}self_attn.fsmn_block.weight"][2]
            output = shapes[f"{PROJECTION}mlp.0.weight"][0]
        except (KeyError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"{source} holds no SenseVoice encoder ({error}): this is no VITA-Audio-Plus model."
            ) from error
        return EncoderConfig(
            features,
            hidden,
            inner,
            depth["encoders"],
            depth["tp_encoders"],
            kernel,
            queries,
            output,
        )


class _Attention(nn.Module):
    """Attention plus memory."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.linear_q_k_v = nn.Linear(width, 3 * hidden)
        self.fsmn_block = nn.Conv1d(
            hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False
        )
        self.linear_out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        """Rows [B, T, width] to [B, T, hidden]; `kept` [B, T, 1] is 0 where a clip is over."""
        query, key, value = self.linear_q_k_v(x).chunk(3, dim=-1)
        heard = value * kept
        memory = (self.fsmn_block(heard.mT).mT + heard) * kept
        query, key, value = (
            part.unflatten(-1, (_HEADS, -1)).transpose(1, 2) for part in (query, key, value)
        )
        attended = scaled_dot_product_attention(
            query, key, value, attn_mask=kept.mT[:, None].bool()
        )
        joined: Tensor = self.linear_out(attended.transpose(1, 2).flatten(2)) + memory
        return joined


class _FeedForward(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(hidden, inner)
        self.w_2 = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(self.w_1(x).relu())
        return y


class _Layer(nn.Module):
    """A pre-norm layer; one that changes the width passes nothing around its attention."""

    def __init__(self, width: int, config: EncoderConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.self_attn = _Attention(width, hidden, config.kernel)
        self.feed_forward = _FeedForward(hidden, config.inner)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(hidden)
        self._around = width == hidden

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        attended = self.self_attn(self.norm1(x), kept)
        x = x + attended if self._around else attended
        y: Tensor = x + self.feed_forward(self.norm2(x))
        return y


class _Encoder(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()

        def layers(count: int) -> nn.ModuleList:
            return nn.ModuleList(_Layer(config.hidden, config) for _ in range(count))

        self.encoders0 = nn.ModuleList([_Layer(config.features, config)])
        self.encoders = layers(config.blocks)
        self.after_norm = nn.LayerNorm(config.hidden)
        self.tp_encoders = layers(config.text_blocks)
        self.tp_norm = nn.LayerNorm(config.hidden)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        x = x * self.after_norm.normalized_shape[0] ** 0.5
        x = x + _positions(x)
        for layer in (*self.encoders0, *self.encoders):
            x = layer(x, kept)
        x = self.after_norm(x)
        for layer in self.tp_encoders:
            x = layer(x, kept)
        y: Tensor = self.tp_norm(x)
        return y


class _Projection(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.pre_proj_layernorm = nn.LayerNorm(config.hidden)
        self.mlp = nn.Sequential(
            nn.Linear(config.hidden, config.output, bias=False),
            nn.GELU(),
            nn.Linear(config.output, config.output, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mlp(self.pre_proj_layernorm(x))
        return y


class SenseVoice(nn.Module):
    """Features to rows that take the place of embeddings. It keeps nothing of a request.

    Args:
        config: Sizes.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.queries, config.features)
        self.encoder = _Encoder(config)
        self.projection = _Projection(config)

    def names(self) -> dict[str, str]:
        """Name in a checkpoint of each tensor here."""
        return {
            name: PROJECTION + name.removeprefix("projection.")
            if name.startswith("projection.")
            else ENCODER + name
            for name in self.state_dict()
        }

    def encode(self, clips: Sequence[Tensor]) -> Tensor:
        """What the encoder makes of clips, in one padded batch.

        Args:
            clips: [rows, features] each. They are rounded to bfloat16 whatever the weights are,
                as in training.

        Returns:
            [clips, most rows + 4, hidden]; rows after the end of a clip mean nothing.
        """
        first = self.embed.weight
        queries = first[list(_QUERY_ROWS)]
        lengths = [len(clip) + QUERIES for clip in clips]
        x = first.new_zeros(len(clips), max(lengths), first.shape[1])
        kept = first.new_zeros(len(clips), max(lengths), 1)
        for row, (clip, length) in enumerate(zip(clips, lengths, strict=True)):
            x[row, :QUERIES] = queries
            x[row, QUERIES:length] = clip.to(first.device, torch.bfloat16)
            kept[row, :length] = 1
        y: Tensor = self.encoder(x, kept)
        return y

    def forward(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """The rows for each clip, [rows + 4, width of the language model]."""
        projected = self.projection(self.encode(clips))
        return [rows[: len(clip) + QUERIES] for rows, clip in zip(projected, clips, strict=True)]


def _positions(x: Tensor) -> Tensor:
    """Sinusoids for positions from 1 on, [T, width]: sines, then cosines."""
    _, length, width = x.shape
    scale = torch.arange(width // 2, device=x.device, dtype=torch.float32)
    scale = torch.exp(scale * (-torch.log(torch.tensor(10_000.0)) / (width / 2 - 1)).item())
    angles = torch.arange(1, length + 1, device=x.device, dtype=torch.float32)[:, None] * scale
    return torch.cat((angles.sin(), angles.cos()), dim=-1).to(x.dtype)

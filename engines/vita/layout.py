"""The tensors of VITA-1.5: names and shapes, written as rules.

A snapshot is held against this before anything of it is read, so that a wrong one is refused with
names. The names are those that the published classes give; the sizes are the published ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from codec.checkpoint import CheckpointError
from engines.native.snapshot import Snapshot, listed
from engines.vita import vision, whale
from engines.vita.config import VisionConfig
from engines.vita.fbank import MELS
from engines.vita.whale import WhaleConfig
from engines.vita_audio.config import LanguageConfig

Shapes = Iterator[tuple[str, tuple[int, ...]]]

#: Tensors by the model that they belong to, as regular expressions.
LANGUAGE = r"lm_head\..+|model\.(embed_tokens|layers|norm)\..+"
VISION = r"model\.(vision_tower|mm_projector)\..+"
AUDIO = r"model\.audio_encoder\..+"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a snapshot; the defaults are the published ones.

    Attributes:
        audio: Of the audio encoder.
        vision: Of the image encoder.
    """

    vocabulary: int = 152_064
    hidden: int = 3584
    intermediate: int = 18_944
    layers: int = 28
    attention_heads: int = 28
    key_value_heads: int = 4
    audio: WhaleConfig = field(default_factory=WhaleConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)

    @classmethod
    def of(cls, language: LanguageConfig, audio: WhaleConfig, vision: VisionConfig) -> "Sizes":
        """The sizes that a snapshot states."""
        return cls(
            language.vocabulary,
            language.hidden,
            language.intermediate,
            language.layers,
            language.attention_heads,
            language.key_value_heads,
            audio,
            vision,
        )


PUBLISHED = Sizes()


def tensors(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every tensor with its shape."""
    return dict(_language(sizes)) | dict(_audio(sizes.audio)) | dict(_vision(sizes))


def encoder_weights(sizes: Sizes) -> int:
    """How many numbers the weights of the two encoders are."""
    parts = (*_audio(sizes.audio), *_vision(sizes))
    return sum(math.prod(shape) for _, shape in parts)


def verify(snapshot: Snapshot, found: Sizes, wanted: Sizes, name: str) -> None:
    """Hold a snapshot against what it is known to be.

    Args:
        snapshot: Its tensors.
        found: The sizes that it states.
        wanted: Those that it should have.
        name: Of the model, for errors.

    Raises:
        CheckpointError: If it is another one; the message names what differs.
    """
    for part in Sizes.__dataclass_fields__:
        if getattr(found, part) != getattr(wanted, part):
            raise CheckpointError(
                f"{snapshot.folder / 'config.json'}: {part} is {getattr(found, part)}, but {name} "
                f"has {getattr(wanted, part)}."
            )
    shapes = tensors(wanted)
    if absent := [tensor for tensor in shapes if tensor not in snapshot.shapes]:
        raise CheckpointError(f"{snapshot.folder} lacks {listed(absent)}: it is not {name}.")
    if extra := [tensor for tensor in snapshot.shapes if tensor not in shapes]:
        raise CheckpointError(f"{snapshot.folder} has {listed(extra)}, which {name} has not.")
    for tensor, shape in shapes.items():
        if snapshot.shapes[tensor] != shape:
            raise CheckpointError(
                f"{snapshot.folder}: the tensor {tensor} is {list(snapshot.shapes[tensor])}, but "
                f"{list(shape)} in {name}."
            )


def _affine(name: str, *shape: int) -> Shapes:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _language(sizes: Sizes) -> Shapes:
    hidden, rows = sizes.hidden, sizes.hidden // sizes.attention_heads * sizes.key_value_heads
    yield "model.embed_tokens.weight", (sizes.vocabulary, hidden)
    yield "lm_head.weight", (sizes.vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    for index in range(sizes.layers):
        layer = f"model.layers.{index}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{norm}.weight", (hidden,)
        for part, width in (("q", hidden), ("k", rows), ("v", rows)):
            yield from _affine(f"{layer}.self_attn.{part}_proj", width, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, hidden)
        for part in ("gate", "up"):
            yield f"{layer}.mlp.{part}_proj.weight", (sizes.intermediate, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, sizes.intermediate)


def _audio(config: WhaleConfig) -> Shapes:
    width, encoder = config.width, f"{whale.PREFIX}encoder."
    for name in ("mean", "istd"):
        yield f"{encoder}global_cmvn.{name}", (MELS,)
    yield from _affine(f"{encoder}enc.0.core.conv.0", width, 1, 3, 3)
    yield from _affine(f"{encoder}enc.0.core.conv.2", width, width, 3, 3)
    yield from _affine(f"{encoder}enc.0.core.out.0", width, width * ((MELS // 2 - 1) // 2))
    yield from _affine(f"{encoder}enc.1.embed.0", width, width)
    yield from _affine(f"{encoder}enc.1.embed.1", width)
    yield from _affine(f"{encoder}enc.1.after_norm", width)
    for index in range(config.layers):
        layer = f"{encoder}enc.1.encoders.{index}"
        for norm in ("norm1", "norm2"):
            yield from _affine(f"{layer}.{norm}", width)
        for part in ("q", "k", "v", "out"):
            yield from _affine(f"{layer}.self_attn.linear_{part}", width, width)
        yield f"{layer}.self_attn.linear_pos.weight", (width, width)
        for bias in ("u", "v"):
            yield f"{layer}.self_attn.pos_bias_{bias}", (config.heads, width // config.heads)
        yield from _affine(f"{layer}.feed_forward.w_1", config.inner, width)
        yield from _affine(f"{layer}.feed_forward.w_2", width, config.inner)
    adapter = f"{whale.PREFIX}adpter."
    yield from _affine(f"{adapter}conv1d2", 2 * width, width, config.kernel)
    yield from _affine(f"{adapter}bn2", 2 * width)
    yield from _affine(f"{adapter}project", config.output, 2 * width)


def _vision(sizes: Sizes) -> Shapes:
    config, tower = sizes.vision, vision.PREFIX
    width = config.width
    yield f"{tower}embeddings.class_embedding", (1, 1, width)
    yield f"{tower}embeddings.position_embedding", (1, config.side**2 + 1, width)
    yield from _affine(f"{tower}embeddings.patch_embedding", width, 3, config.patch, config.patch)
    for index in range(config.layers):
        layer = f"{tower}encoder.layers.{index}"
        for scale in ("ls1", "ls2"):
            yield f"{layer}.{scale}", (width,)
        for norm in ("norm1", "norm2"):
            yield from _affine(f"{layer}.{norm}", width)
        yield f"{layer}.attn.qkv.weight", (3 * width, width)
        if config.bias:
            yield f"{layer}.attn.qkv.bias", (3 * width,)
        yield from _affine(f"{layer}.attn.proj", width, width)
        yield from _affine(f"{layer}.mlp.fc1", config.inner, width)
        yield from _affine(f"{layer}.mlp.fc2", width, config.inner)
    yield from _affine(f"{vision.PROJECTOR}0", sizes.hidden, 4 * width)
    yield from _affine(f"{vision.PROJECTOR}2", sizes.hidden, sizes.hidden)

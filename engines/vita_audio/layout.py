"""The tensors of the four published checkpoints: names, shapes and sizes, written as rules.

A snapshot that says it is one of them is held against this before anything of it is read, so
that a wrong one is refused with names. The rules were found on checkpoints that the published
code saved; sizes are those of the published configurations.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from codec.checkpoint import CheckpointError
from engines.native.snapshot import Snapshot, listed
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.sensevoice import ENCODER, PROJECTION, EncoderConfig

Shapes = Iterator[tuple[str, tuple[int, ...]]]

#: Codes of the speech codec, GLM-4-Voice's.
CODES = 16_384

#: Entries of SenseVoice's own vocabulary; its output layer is in the checkpoints, unused.
_SENSEVOICE_TOKENS = 25_055


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a checkpoint.

    Attributes:
        layers: Decoder layers of the main model.
        heads: Prediction heads.
        encoder: Sizes of the speech encoder; None where speech comes in as codes.
        transcripts: Rows of SenseVoice's own output layer.
    """

    layers: int = 28
    heads: int = 10
    vocabulary: int = 168_072
    hidden: int = 3584
    intermediate: int = 18_944
    attention_heads: int = 28
    key_value_heads: int = 4
    encoder: EncoderConfig | None = None
    transcripts: int = _SENSEVOICE_TOKENS


_CODES = Sizes()
_PLUS = Sizes(encoder=EncoderConfig())

#: Of each checkpoint, by name.
PUBLISHED: dict[str, Sizes] = {
    "VITA-Audio-Boost": _CODES,
    "VITA-Audio-Balance": _CODES,
    "VITA-Audio-Plus-Vanilla": replace(_PLUS, heads=0),
    "VITA-Audio-Plus-Boost": _PLUS,
}


def sizes_of(config: LanguageConfig, encoder: EncoderConfig | None, transcripts: int) -> Sizes:
    """The sizes that a checkpoint states."""
    return Sizes(
        layers=config.layers,
        heads=config.heads,
        vocabulary=config.vocabulary,
        hidden=config.hidden,
        intermediate=config.intermediate,
        attention_heads=config.attention_heads,
        key_value_heads=config.key_value_heads,
        encoder=encoder,
        transcripts=transcripts,
    )


def tensors(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint with its shape."""
    return dict(_language_model(sizes)) | dict(_speech(sizes) if sizes.encoder else ())


def encoder_weights(sizes: Sizes) -> int:
    """How many numbers the speech encoder's weights are; 0 without one."""
    return sum(math.prod(shape) for _, shape in _speech(sizes)) if sizes.encoder else 0


def verify(snapshot: Snapshot, config: LanguageConfig, wanted: Sizes, name: str) -> None:
    """Hold a snapshot against what a checkpoint is known to be.

    Args:
        snapshot: Its tensors.
        config: Its configuration.
        wanted: What it should be.
        name: Of the checkpoint, for errors.

    Raises:
        CheckpointError: If it is another one; the message names what differs.
    """
    hears = "embeddings" if wanted.encoder else "codes"
    if config.hears != hears:
        raise CheckpointError(
            f"{snapshot.folder} holds a model that hears {config.hears}, but {name} hears {hears}."
        )
    found = sizes_of(config, wanted.encoder, wanted.transcripts)
    for part in Sizes.__dataclass_fields__:
        if getattr(found, part) != getattr(wanted, part):
            raise CheckpointError(
                f"{snapshot.folder / 'config.json'}: {part} is {getattr(found, part)}, but "
                f"{name} has {getattr(wanted, part)}."
            )
    _compare(snapshot, tensors(wanted), name)


def _compare(snapshot: Snapshot, wanted: Mapping[str, tuple[int, ...]], name: str) -> None:
    if absent := [tensor for tensor in wanted if tensor not in snapshot.shapes]:
        raise CheckpointError(f"{snapshot.folder} lacks {listed(absent)}: it is not {name}.")
    if extra := [tensor for tensor in snapshot.shapes if tensor not in wanted]:
        raise CheckpointError(f"{snapshot.folder} has {listed(extra)}, which {name} has not.")
    for tensor, shape in wanted.items():
        if snapshot.shapes[tensor] != shape:
            raise CheckpointError(
                f"{snapshot.folder}: the tensor {tensor} is {list(snapshot.shapes[tensor])}, but "
                f"{list(shape)} in {name}."
            )


def _language_model(sizes: Sizes) -> Shapes:
    hidden, rows = sizes.hidden, sizes.hidden // sizes.attention_heads * sizes.key_value_heads
    yield "model.embed_tokens.weight", (sizes.vocabulary, hidden)
    yield "lm_head.weight", (sizes.vocabulary, hidden)
    yield "model.norm.weight", (hidden,)
    for index in range(sizes.layers + sizes.heads):
        layer = f"model.layers.{index}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{norm}.weight", (hidden,)
        for part, width in (("q", hidden), ("k", rows), ("v", rows)):
            yield f"{layer}.self_attn.{part}_proj.weight", (width, hidden)
            yield f"{layer}.self_attn.{part}_proj.bias", (width,)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, hidden)
        for part in ("gate", "up"):
            yield f"{layer}.mlp.{part}_proj.weight", (sizes.intermediate, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, sizes.intermediate)
    for head in range(sizes.heads):
        yield f"mtp_projs.{head}.weight", (hidden, 2 * hidden)
        yield f"mtp_embed_norms.{head}.weight", (hidden,)
        yield f"mtp_hidden_norms.{head}.weight", (hidden,)


def _speech(sizes: Sizes) -> Shapes:
    config = sizes.encoder
    assert config is not None
    hidden = config.hidden

    def affine(name: str, *shape: int) -> Shapes:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]

    yield f"{ENCODER}embed.weight", (config.queries, config.features)
    yield from affine(f"{ENCODER}ctc.ctc_lo", sizes.transcripts, hidden)
    for stack, count, width in (
        ("encoders0", 1, config.features),
        ("encoders", config.blocks, hidden),
        ("tp_encoders", config.text_blocks, hidden),
    ):
        for index in range(count):
            layer = f"{ENCODER}encoder.{stack}.{index}"
            yield from affine(f"{layer}.norm1", width)
            yield from affine(f"{layer}.norm2", hidden)
            yield from affine(f"{layer}.self_attn.linear_q_k_v", 3 * hidden, width)
            yield from affine(f"{layer}.self_attn.linear_out", hidden, hidden)
            yield f"{layer}.self_attn.fsmn_block.weight", (hidden, 1, config.kernel)
            yield from affine(f"{layer}.feed_forward.w_1", config.inner, hidden)
            yield from affine(f"{layer}.feed_forward.w_2", hidden, config.inner)
    yield from affine(f"{ENCODER}encoder.after_norm", hidden)
    yield from affine(f"{ENCODER}encoder.tp_norm", hidden)
    yield from affine(f"{PROJECTION}pre_proj_layernorm", hidden)
    yield f"{PROJECTION}mlp.0.weight", (config.output, hidden)
    yield f"{PROJECTION}mlp.2.weight", (config.output, config.output)

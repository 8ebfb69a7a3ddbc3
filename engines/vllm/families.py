"""Which published models have a stock language model inside, and what that consists of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.vllm.tensor_files import read_json
from errors import InputError

EMBEDDINGS = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_AUDIO_TOKENS = ("<|begin_of_audio|>", "<|end_of_audio|>", "<|audio_0|>")


@dataclass(frozen=True, slots=True)
class Family:
    """Models that hold a Qwen2 under Qwen2's own names, among other things.

    Attributes:
        title: For people.
        beside: How the names of the tensors begin that are not part of the Qwen2.
        heads: How those begin of which each head that predicts a further token has one.
        tokens: What its tokenizer must know.
        trimmed: Rows of the vocabulary beyond the tokenizer's last token are left out, as the
            model's own loader does: they were never trained.
        embeds: Its prompts hold more than tokens, so they are given to the server as vectors.
    """

    title: str
    beside: tuple[str, ...]
    heads: str = ""
    tokens: tuple[str, ...] = ()
    trimmed: bool = False
    embeds: bool = False


#: By the `model_type` in `config.json`.
FAMILIES: Mapping[str, Family] = {
    "qwen2_mtp": Family(
        title="VITA-Audio Boost or Balance",
        beside=("mtp_projs.", "mtp_embed_norms.", "mtp_hidden_norms."),
        heads="mtp_projs.",
        tokens=_AUDIO_TOKENS,
    ),
    "qwen2_mtp_sensevoice": Family(
        title="VITA-Audio Plus",
        beside=(
            "mtp_projs.",
            "mtp_embed_norms.",
            "mtp_hidden_norms.",
            "model.audio_model.",
            "model.audio_projection.",
        ),
        heads="mtp_projs.",
        tokens=(*_AUDIO_TOKENS, "<|context_of_audio|>"),
        embeds=True,
    ),
    "vita-Qwen2": Family(
        title="VITA-1.5",
        beside=("model.vision_tower.", "model.mm_projector.", "model.audio_encoder."),
        trimmed=True,
        embeds=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a Qwen2, and how many layers more the snapshot has for other purposes."""

    layers: int
    further_layers: int
    width: int
    feed_forward: int
    heads: int
    groups: int
    head_width: int
    rows: int
    tied: bool

    @classmethod
    def read(cls, config: Mapping[str, Any], path: Path) -> "Sizes":
        """The sizes that a configuration gives.

        Raises:
            InputError: If one is absent or impossible.
        """

        def size(name: str, least: int = 1, default: int | None = None) -> int:
            value = config.get(name, default)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{path} says {name} is {value!r}; it must be at least {least}.")
            return value

        total = size("num_hidden_layers")
        further = size("num_nextn_predict_layers", 0, 0)
        heads, width = size("num_attention_heads"), size("hidden_size")
        if further >= total:
            raise InputError(
                f"{path}: {further} of {total} layers predict further tokens, so none is left."
            )
        return cls(
            layers=total - further,
            further_layers=further,
            width=width,
            feed_forward=size("intermediate_size"),
            heads=heads,
            groups=size("num_key_value_heads", default=heads),
            head_width=size("head_dim", default=max(1, width // heads)),
            rows=size("vocab_size"),
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of all that a Qwen2 consists of, in the order of the computation."""
        queries, keys = self.heads * self.head_width, self.groups * self.head_width
        layer = {
            "input_layernorm.weight": (self.width,),
            "self_attn.q_proj.weight": (queries, self.width),
            "self_attn.q_proj.bias": (queries,),
            "self_attn.k_proj.weight": (keys, self.width),
            "self_attn.k_proj.bias": (keys,),
            "self_attn.v_proj.weight": (keys, self.width),
            "self_attn.v_proj.bias": (keys,),
            "self_attn.o_proj.weight": (self.width, queries),
            "post_attention_layernorm.weight": (self.width,),
            "mlp.gate_proj.weight": (self.feed_forward, self.width),
            "mlp.up_proj.weight": (self.feed_forward, self.width),
            "mlp.down_proj.weight": (self.width, self.feed_forward),
        }
        yield EMBEDDINGS, (self.rows, self.width)
        for number in range(self.layers):
            for name, shape in layer.items():
                yield f"model.layers.{number}.{name}", shape
        yield "model.norm.weight", (self.width,)
        if not self.tied:
            yield HEAD, (self.rows, self.width)

    def beside(self) -> tuple[str, ...]:
        """How the names of tensors of the further layers begin."""
        return tuple(f"model.layers.{self.layers + k}." for k in range(self.further_layers))


def family(config: Mapping[str, Any], path: Path) -> Family:
    """The family that a configuration belongs to.

    Raises:
        InputError: If it is none that has a Qwen2 inside.
    """
    kind = config.get("model_type")
    if kind == "qwen2":
        raise InputError(f"{path.parent} is a stock Qwen2 already; vLLM can serve it as it is.")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(f"{entry.title} ({name})" for name, entry in FAMILIES.items())
        raise InputError(f"{path} says model_type {kind!r}. What can be converted: {known}.")
    return FAMILIES[kind]


def read_tokens(folder: Path) -> dict[str, int] | None:
    """All tokens of the tokenizer in a folder by their text; None if there is none.

    Raises:
        InputError: If its file is damaged.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        content = read_json(path)
        try:
            vocabulary = dict(content["model"]["vocab"])
            added = {token["content"]: token["id"] for token in content["added_tokens"]}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no tokenizer of a Qwen2: {error!r}.") from error
        return vocabulary | added
    paths = [folder / name for name in ("vocab.json", "added_tokens.json")]
    if not all(path.is_file() for path in paths):
        return None
    tokens: dict[str, int] = {}
    for path in paths:
        tokens |= read_json(path)
    return tokens

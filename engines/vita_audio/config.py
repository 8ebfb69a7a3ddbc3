"""The sizes of a VITA-Audio checkpoint, as its `config.json` states them.

Read strictly: what this implementation does not compute is refused by name here, not passed
over. `LanguageConfig.read(folder)` is all that other modules need.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from codec.checkpoint import CheckpointError, read_json
from engines.native.fields import Fields

#: `model_type` of the checkpoints, and how each hears speech: as codes of the GLM-4-Voice
#: tokenizer, or as embeddings that a SenseVoice encoder makes ("Plus").
MODEL_TYPES: dict[str, Literal["codes", "embeddings"]] = {
    "qwen2_mtp": "codes",
    "qwen2_mtp_sensevoice": "embeddings",
}

#: What a value must be, where nothing else is implemented; absent means the same.
_FIXED: dict[str, Any] = {
    "hidden_act": "silu",
    "use_sliding_window": False,
    "rope_scaling": None,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """Sizes of the language model.

    Attributes:
        hears: How speech enters the prompt.
        vocabulary: Rows V of the embedding and of the output projection.
        hidden: Width H.
        intermediate: Width of the feed-forward part.
        layers: Decoder layers of the main model.
        heads: Prediction heads beside it (MCTP), one decoder layer each; 0: none.
        attention_heads: Query heads.
        key_value_heads: Key and value heads; each serves several query heads.
        window: Most tokens that the model was trained on.
        rope_theta: Base of the rotary positions.
        norm_eps: Of the RMS norms.
        ends: Ids that end a reply.
        mode: The speed mode that the checkpoint names, main and head steps alternating.
    """

    hears: Literal["codes", "embeddings"]
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    attention_heads: int
    key_value_heads: int
    window: int
    rope_theta: float
    norm_eps: float
    ends: tuple[int, ...]
    mode: tuple[int, ...]

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.hidden // self.attention_heads

    @property
    def weights(self) -> int:
        """How many numbers the language model's weights are."""
        kv = self.key_value_heads * self.head_size
        layer = (
            2 * self.hidden * (self.hidden + kv)  # q and o, k and v
            + self.hidden
            + 2 * kv  # biases of q, k and v
            + 3 * self.hidden * self.intermediate
            + 2 * self.hidden  # norms
        )
        head = layer + 2 * self.hidden**2 + 2 * self.hidden
        shared = 2 * self.vocabulary * self.hidden + self.hidden
        return self.layers * layer + self.heads * head + shared

    @property
    def cached_per_token(self) -> int:
        """How many numbers are kept of each token of a conversation, over all layers."""
        return 2 * (self.layers + self.heads) * self.key_value_heads * self.head_size

    @classmethod
    def read(cls, folder: Path) -> "LanguageConfig":
        """Read `config.json` and, if there, `generation_config.json` of a checkpoint.

        Raises:
            CheckpointError: If one is absent, damaged, or asks for what is not implemented.
        """
        path = folder / "config.json"
        values = read_json(path)
        kind = values.get("model_type")
        if kind not in MODEL_TYPES:
            raise CheckpointError(
                f"{path} is of a model of type {json.dumps(kind)}, not of a VITA-Audio model "
                f"({', '.join(MODEL_TYPES)})."
            )
        for name, wanted in _FIXED.items():
            if values.get(name, wanted) != wanted:
                raise CheckpointError(
                    f"{path}: {name} is {json.dumps(values[name])}; only {json.dumps(wanted)} "
                    "is supported."
                )
        field = Fields(path, values)
        heads = field.whole("num_nextn_predict_layers", least=0)
        config = cls(
            hears=MODEL_TYPES[kind],
            vocabulary=field.whole("vocab_size"),
            hidden=field.whole("hidden_size"),
            intermediate=field.whole("intermediate_size"),
            layers=field.whole("num_hidden_layers") - heads,
            heads=heads,
            attention_heads=field.whole("num_attention_heads"),
            key_value_heads=field.whole("num_key_value_heads"),
            window=field.whole("max_position_embeddings"),
            rope_theta=field.number("rope_theta"),
            norm_eps=field.number("rms_norm_eps"),
            ends=field.ids("eos_token_id"),
            mode=(1, heads) if heads else (1, 0),
        )
        config.check(path)
        return config.with_generation(folder / "generation_config.json")

    def check(self, path: Path) -> None:
        """Refuse sizes that do not fit each other.

        Raises:
            CheckpointError: If they do not.
        """
        if self.layers < 1:
            raise CheckpointError(f"{path}: num_hidden_layers counts no layer beside the heads.")
        if self.hidden % self.attention_heads or self.head_size % 2:
            raise CheckpointError(
                f"{path}: hidden_size {self.hidden} makes no {self.attention_heads} heads of even "
                "width."
            )
        if self.attention_heads % self.key_value_heads:
            raise CheckpointError(
                f"{path}: {self.attention_heads} attention heads cannot share "
                f"{self.key_value_heads} key and value heads."
            )

    def with_generation(self, path: Path) -> "LanguageConfig":
        """The same with what a `generation_config.json` says beyond that, where there is one."""
        if not path.is_file():
            return self
        values = read_json(path)
        field = Fields(path, values)
        ends = field.ids("eos_token_id") if "eos_token_id" in values else self.ends
        mode = values.get("mtp_inference_mode")
        if mode is None or not self.heads:
            return replace(self, ends=ends)
        if not isinstance(mode, list) or not all(type(count) is int for count in mode):
            raise CheckpointError(f"{path}: mtp_inference_mode {json.dumps(mode)} is no list.")
        return replace(self, ends=ends, mode=tuple(mode))

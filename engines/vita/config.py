"""What a snapshot of VITA-1.5 says of itself, read as plain data.

    config.json                     the language model, and which folder is the audio encoder's
    AUDIO FOLDER/train.yaml         what the audio encoder is made of
    VISION FOLDER/config.json, preprocessor_config.json      the same of the image encoder

What this implementation does not compute is refused by name here, not passed over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codec.checkpoint import CheckpointError, read_json, require
from engines.native.fields import Fields
from engines.vita.fbank import MELS, RATE
from engines.vita.tiling import Lens
from engines.vita.whale import Blocks
from engines.vita_audio.config import LanguageConfig

MODEL_TYPE = "vita-Qwen2"

#: What a value must be, where nothing else is implemented; absent means the same.
_LANGUAGE: Mapping[str, Any] = {
    "hidden_act": "silu",
    "use_sliding_window": False,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "image_aspect_ratio": "square",
    "mm_projector_type": "mlp2x_gelu",
    "use_s2": False,
    "audio_prompt_finetune": False,
    "audio_prompt_num": None,
}

#: The same of train.yaml, by the path to the value. Dither is left out: none is ever added.
_AUDIO: Mapping[tuple[str, ...], Any] = {
    ("input_dim",): MELS,
    ("dataset_conf", "fbank_conf", "num_mel_bins"): MELS,
    ("dataset_conf", "fbank_conf", "frame_length"): 25,
    ("dataset_conf", "fbank_conf", "frame_shift"): 10,
    ("dataset_conf", "resample_conf", "resample_rate"): RATE,
    ("subsampling", "subsampling-rate"): 4,
    ("transformer", "transformer-input-layer"): "linear",
    ("transformer", "transformer-pos-enc-class"): "rel-enc",
    ("transformer", "transformer-positionwise-layer-type"): "linear",
    ("transformer", "transformer-normalize-before"): True,
    ("transformer", "transformer-concat-after"): False,
    ("model_conf", "adpter_type"): "subsampling",
    ("model_conf", "norm"): "layer",
    ("model_conf", "activation_func"): "gelu",
    ("model_conf", "add_audio_bos_eos"): False,
}

#: The same of the image encoder's config.json.
_VISION: Mapping[str, Any] = {
    "hidden_act": "gelu",
    "norm_type": "layer_norm",
    "qk_normalization": False,
    "num_channels": 3,
}


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Sizes of the image encoder.

    Attributes:
        width: Of its rows.
        heads: Of attention.
        inner: Of the feed-forward part.
        layers: Of the transformer.
        size: Pixels of a tile, each way.
        patch: Pixels of a patch, each way.
        eps: Of the norms.
        bias: Whether queries, keys and values have one.
    """

    width: int = 1024
    heads: int = 16
    inner: int = 4096
    layers: int = 24
    size: int = 448
    patch: int = 14
    eps: float = 1e-6
    bias: bool = True

    @property
    def side(self) -> int:
        """Patches of a tile, each way."""
        return self.size // self.patch

    @property
    def tokens(self) -> int:
        """Rows of the language model's input for a tile: four patches each."""
        return (self.side // 2) ** 2

    @classmethod
    def read(cls, folder: Path) -> "VisionConfig":
        """Read the `config.json` of an InternViT.

        Raises:
            CheckpointError: If it is absent, damaged, or asks for what is not implemented.
        """
        path = folder / "config.json"
        require(folder, (path.name,))
        values = read_json(path)
        _require_fixed(values, _VISION, path)
        field = Fields(path, values)
        config = cls(
            width=field.whole("hidden_size"),
            heads=field.whole("num_attention_heads"),
            inner=field.whole("intermediate_size"),
            layers=field.whole("num_hidden_layers"),
            size=field.whole("image_size"),
            patch=field.whole("patch_size"),
            eps=field.number("layer_norm_eps"),
            bias=bool(values.get("qkv_bias", True)),
        )
        if config.width % config.heads or config.size % (2 * config.patch):
            raise CheckpointError(
                f"{path}: a width of {config.width} makes no {config.heads} heads, or "
                f"{config.size} pixels no even number of patches of {config.patch}."
            )
        return config


@dataclass(frozen=True, slots=True)
class Config:
    """A whole snapshot.

    Attributes:
        language: Sizes of the language model.
        vision: Sizes of the image encoder.
        lens: What images become before they are encoded.
        blocks: How far the audio encoder's attention sees.
        audio: The audio encoder's folder.
        longest: Tokens of a prompt with its reply that the model was made for.
    """

    language: LanguageConfig
    vision: VisionConfig
    lens: Lens
    blocks: Blocks
    audio: Path
    longest: int

    @classmethod
    def read(cls, folder: Path, vision: Path) -> "Config":
        """Read a snapshot's configuration.

        Args:
            folder: Holds config.json, and the audio encoder's folder.
            vision: Folder of the image encoder's configuration.

        Raises:
            CheckpointError: If a file is absent or damaged, or this is another model.
        """
        path = folder / "config.json"
        require(folder, (path.name,))
        values = read_json(path)
        kind = values.get("model_type")
        if kind != MODEL_TYPE:
            raise CheckpointError(
                f"{path} is of a model of type {json.dumps(kind)}, not {MODEL_TYPE}."
            )
        _require_fixed(values, _LANGUAGE, path)
        audio = folder / _name(values.get("mm_audio_encoder"), path)
        language = _language(path, values)
        sizes = VisionConfig.read(vision)
        return cls(
            language=language,
            vision=sizes,
            lens=Lens.read(vision, sizes.size),
            blocks=read_blocks(audio / "train.yaml"),
            audio=audio,
            longest=min(
                int(values.get("tokenizer_model_max_length") or language.window), language.window
            ),
        )


def read_blocks(path: Path) -> Blocks:
    """How far attention sees, once it is certain that the audio encoder is as known here.

    Where the file says that it changes from call to call ("dynamic chunks", which the published
    code draws at random even outside of training), it sees everything.

    Args:
        path: `train.yaml`.

    Raises:
        CheckpointError: If it is absent or damaged, or describes another encoder.
    """
    require(path.parent, (path.name,))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} cannot be read as YAML: {error}.") from error
    parts = _at(values, ("encoder_conf", "para_conf"))
    if not isinstance(values, dict) or not isinstance(parts, dict):
        raise CheckpointError(f"{path} describes no audio encoder: it has no para_conf.")
    for names, wanted in _AUDIO.items():
        found = _at(parts if names[0] in parts else values, names)
        if found is not None and found != wanted:
            raise CheckpointError(
                f"{path}: {'.'.join(names)} is {json.dumps(found)}; only {json.dumps(wanted)} is "
                "supported."
            )
    transformer = parts.get("transformer")
    if not isinstance(transformer, dict):
        raise CheckpointError(f"{path} describes no transformer.")
    if transformer.get("transformer-dynamic-chunks"):
        return Blocks()
    size, left = (
        transformer.get(f"transformer-{name}", -1) for name in ("chunk_size", "left_chunks")
    )
    if type(size) is not int or type(left) is not int:
        raise CheckpointError(f"{path}: chunk_size and left_chunks are no whole numbers.")
    return Blocks(max(size, 0), max(left, -1))


def _language(path: Path, values: Mapping[str, Any]) -> LanguageConfig:
    field = Fields(path, values)
    config = LanguageConfig(
        hears="embeddings",
        vocabulary=field.whole("vocab_size"),
        hidden=field.whole("hidden_size"),
        intermediate=field.whole("intermediate_size"),
        layers=field.whole("num_hidden_layers"),
        heads=0,
        attention_heads=field.whole("num_attention_heads"),
        key_value_heads=field.whole("num_key_value_heads"),
        window=field.whole("max_position_embeddings"),
        rope_theta=field.number("rope_theta"),
        norm_eps=field.number("rms_norm_eps"),
        ends=field.ids("eos_token_id"),
        mode=(1, 0),
    )
    config.check(path)
    return config.with_generation(path.with_name("generation_config.json"))


def _require_fixed(values: Mapping[str, Any], fixed: Mapping[str, Any], path: Path) -> None:
    for name, wanted in fixed.items():
        if values.get(name, wanted) != wanted:
            raise CheckpointError(
                f"{path}: {name} is {json.dumps(values[name])}; only {json.dumps(wanted)} is "
                "supported."
            )


def _name(given: object, path: Path) -> str:
    """The last part of where a folder was when the snapshot was made."""
    name = Path(given).name if isinstance(given, str) else ""
    if not name or name in (".", ".."):
        raise CheckpointError(f"{path}: mm_audio_encoder is {json.dumps(given)}, no folder.")
    return name


def _at(values: object, names: tuple[str, ...]) -> Any:
    for name in names:
        if not isinstance(values, dict):
            return None
        values = values.get(name)
    return values

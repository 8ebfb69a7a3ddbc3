"""What a snapshot of OpenS2S says of itself, and whether it is one.

The reference's config.json has no `model_type`, so transformers' own loaders do not know it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from codec.checkpoint import CheckpointError, read_json, require

#: Files beside the weights, without which the reference cannot answer either.
FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "audio/preprocessor_config.json",
    "tts/generation_config.json",
    "tts/tokenizer.json",
    "tts/tokenizer_config.json",
)

#: Sections of config.json, and the kinds of model that each may describe.
_PARTS = {
    "audio_encoder_config": ("qwen2_audio_encoder",),
    "llm_config": ("qwen3",),
    "tts_lm_config": ("qwen3",),
}

_STRATEGY = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")

#: What the reference assumes where config.json says nothing.
_STRATEGY_DEFAULT = "1:2"
_KERNELS_DEFAULT = "5,5"
_INNER_DEFAULT = 512


@dataclass(frozen=True, slots=True)
class Strategy:
    """How text and speech take turns.

    Attributes:
        text: Text tokens of a round.
        units: Speech units of a round; after the last text token there is no limit.
    """

    text: int
    units: int

    @staticmethod
    def parse(text: object) -> "Strategy":
        """Read `"1:2"`: one text token, then two units, and so on.

        Raises:
            CheckpointError: If it is anything else.
        """
        match = _STRATEGY.fullmatch(text) if isinstance(text, str) else None
        spans = (int(match[1]), int(match[2])) if match else (0, 0)
        if min(spans) < 1:
            raise CheckpointError(
                f"config.json: the interleave_strategy {text!r} cannot be read. It is two whole "
                'numbers from 1 up, text tokens and speech units of a round, such as "1:2".'
            )
        return Strategy(*spans)


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes of the parts.

    Attributes:
        audio: Of the audio encoder (transformers).
        llm: Of the language model (transformers).
        speech: Of the speech language model (transformers).
        kernels: Of the adapter's convolutions, odd.
        inner: Width of the adapter's hidden layer.
        strategy: How text and speech take turns.
    """

    audio: Any
    llm: Any
    speech: Any
    kernels: tuple[int, ...]
    inner: int
    strategy: Strategy


def read_config(folder: Path) -> Config:
    """Read a snapshot's config.json, once all files beside the weights are there.

    Raises:
        CheckpointError: If a file is absent, or this is no OpenS2S; says which and why.
    """
    require_files(folder)
    path = folder / "config.json"
    values = read_json(path)
    if values.get("lora_config"):
        raise CheckpointError(
            f"{path} describes LoRA weights. Merge them into the model first, as published."
        )
    parts = {name: _part(values, name, kinds, path) for name, kinds in _PARTS.items()}
    return Config(
        audio=parts["audio_encoder_config"],
        llm=parts["llm_config"],
        speech=parts["tts_lm_config"],
        kernels=_kernels(values.get("conv_kernel_sizes", _KERNELS_DEFAULT), path),
        inner=_whole(values.get("adapter_inner_dim", _INNER_DEFAULT), "adapter_inner_dim", path),
        strategy=Strategy.parse(values.get("interleave_strategy", _STRATEGY_DEFAULT)),
    )


def require_files(folder: Path) -> None:
    """Check that the small files of a snapshot are there.

    Raises:
        CheckpointError: If one is not.
    """
    for part, what in (("tts", "the tokenizer of the speech units"), ("audio", "the front end")):
        if folder.is_dir() and not (folder / part).is_dir():
            raise CheckpointError(
                f"{folder / part} is not there: it holds {what}. Fetch the whole repository, with "
                "its folders tts and audio."
            )
    for name in FILES:
        path = folder / name
        require(path.parent, (path.name,))


def _part(values: dict[str, Any], name: str, kinds: tuple[str, ...], path: Path) -> Any:
    given = values.get(name)
    if not isinstance(given, dict):
        found = values.get("architectures") or values.get("model_type") or "something else"
        raise CheckpointError(f"{path} describes {found}, not OpenS2S: it has no {name}.")
    kind = given.get("model_type")
    if kind not in kinds:
        raise CheckpointError(
            f"{path}: {name} is of the type {kind!r}; here it can be {' or '.join(kinds)}."
        )
    given = {key: value for key, value in given.items() if key != "model_type"}
    try:
        config = AutoConfig.for_model(kind, **given)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: {name} cannot be used: {error}") from error
    # The only attention that is exact, fast, and there on every machine.
    config._attn_implementation = "sdpa"
    return config


def _kernels(text: object, path: Path) -> tuple[int, ...]:
    parts = text.split(",") if isinstance(text, str) else []
    kernels = tuple(int(part) for part in parts if part.strip().isdecimal())
    if not kernels or len(kernels) != len(parts) or any(kernel % 2 == 0 for kernel in kernels):
        raise CheckpointError(
            f'{path}: conv_kernel_sizes is {text!r}, not odd numbers such as "5,5".'
        )
    return kernels


def _whole(value: object, name: str, path: Path) -> int:
    if not isinstance(value, int) or value < 1:
        raise CheckpointError(f"{path}: {name} is {value!r}, not a whole number from 1 up.")
    return value

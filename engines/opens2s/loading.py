"""Loading a snapshot: the weights, the two tokenizers, the front end, the rules of drawing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from codec.checkpoint import CheckpointError, read_json
from engines.base import Cancel
from engines.native.quantization import Precision, rounding
from engines.native.snapshot import Snapshot
from engines.opens2s.config import read_config
from engines.opens2s.features import Features
from engines.opens2s.model import OpenS2S
from engines.opens2s.units import Units

#: Tokens that a prompt is made of.
_SPECIAL = ("<|im_audio_start|>", "<|im_audio_end|>", "<|im_tts_start|>")

#: transformers' own, where a generation_config.json says nothing.
_TOP_K = 50
#: The reference's, where `tts/generation_config.json` says nothing: 41 s of speech.
_UNITS = 512


@dataclass(frozen=True, slots=True)
class Rules:
    """What one of the two models' generation_config.json says.

    Attributes:
        ends: Tokens after which nothing follows.
        top_k: See `Drawing`.
        repetition_penalty: See `Drawing`; only tokens of the same round count.
        tokens: Most tokens.
    """

    ends: frozenset[int]
    top_k: int
    repetition_penalty: float
    tokens: int

    @staticmethod
    def read(path: Path) -> "Rules":
        """Read the file.

        Raises:
            CheckpointError: If it names no end, or cannot be read.
        """
        values = read_json(path)
        ends = values.get("eos_token_id")
        ends = ends if isinstance(ends, list) else [ends]
        if not ends or not all(isinstance(end, int) for end in ends):
            raise CheckpointError(f"{path} names no eos_token_id: a reply would never end.")
        try:
            return Rules(
                frozenset(ends),
                int(values.get("top_k", _TOP_K)),
                float(values.get("repetition_penalty", 1.0)),
                int(values.get("max_new_tokens", _UNITS)),
            )
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class Loaded:
    """A snapshot that is ready; nothing in it belongs to a request.

    Attributes:
        model: The weights.
        tokenizer: Of the text, with the chat template.
        features: The front end.
        units: Which tokens of the speech model are sounds.
        text: How text is drawn.
        speech: How units are drawn.
    """

    model: OpenS2S
    tokenizer: Any
    features: Features
    units: Units
    text: Rules
    speech: Rules


def load(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    precision: Precision = "full",
    on_progress: Callable[[float], None] | None = None,
    cancel: Cancel | None = None,
) -> Loaded:
    """Load a snapshot of OpenS2S, or another one of its layout.

    Args:
        folder: As published, with its folders `tts` and `audio`.
        device: `cpu`, `cuda`, `cuda:1`.
        dtype: Of the weights; the reference's is bfloat16.
        precision: Of the weights of the two language models' linear layers; int8 and int4 take
            torchao. What hears stays as it is: it is a twentieth of the whole.
        on_progress: Told the share of the weights that is read.
        cancel: Stops the load.

    Raises:
        CheckpointError: If it is no such snapshot, or a part of it is absent or damaged.
        UnavailableError: If the precision cannot be had here.
        CancelledError: If `cancel` was set.
    """
    round_off = rounding(precision, device, dtype)
    config = read_config(folder)
    text = Rules.read(folder / "generation_config.json")
    speech = Rules.read(folder / "tts" / "generation_config.json")
    tokenizer = _tokenizer(folder)
    if not tokenizer.chat_template:
        raise CheckpointError(f"{folder} holds no chat template: tokenizer_config.json lacks it.")
    known = tokenizer.get_vocab()
    lacking = [token for token in _SPECIAL if token not in known]
    if lacking:
        raise CheckpointError(f"{folder}: the tokenizer has no {', '.join(lacking)}.")
    if max(known.values()) >= config.llm.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has tokens up to {max(known.values())}, the language model "
            f"only {config.llm.vocab_size}. Do they belong together?"
        )
    units = Units(_tokenizer(folder / "tts"), folder / "tts", config.speech.vocab_size)
    positions = 2 * config.audio.max_source_positions
    preprocessor = folder / "audio" / "preprocessor_config.json"
    features = Features(preprocessor, config.audio.num_mel_bins, positions)
    snapshot = Snapshot(folder)
    with torch.device("meta"):
        model = OpenS2S(config)
    # A tied output layer may be stored all the same; it is the table of embeddings again.
    tied = [
        name
        for name, part in (("llm_model", model.llm_model), ("tts_lm_model", model.tts_lm_model))
        if part.lm_head is None
    ]
    written = {
        layer
        for part in (model.llm_model, model.tts_lm_model)
        for layer in (*part.model.modules(), part.lm_head)
    }

    def finish(layer: nn.Module) -> None:
        if round_off is not None and layer in written:
            round_off(layer)

    total = snapshot.size
    snapshot.load(
        model,
        device=device,
        dtype=dtype,
        ignored="|".join(rf"{name}\.lm_head\.weight" for name in tied),
        finish=finish,
        on_progress=None if on_progress is None else lambda done: on_progress(done / total),
        cancel=cancel,
    )
    model.settle()
    return Loaded(model, tokenizer, features, units, text, speech)


def _tokenizer(folder: Path) -> Any:
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # Whatever a damaged file makes the library raise.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: the tokenizer cannot be read: {reason}") from error

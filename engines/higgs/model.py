"""The language model of Higgs Audio v2, as transformers has it, from a published folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    HiggsAudioV2Config,
    HiggsAudioV2ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from codec.checkpoint import CheckpointError, require
from engines.higgs.delay import Codebooks
from engines.higgs.described import described
from engines.higgs.prompt import Prompter
from engines.native.snapshot import Snapshot
from model_spec import LoadReport

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
#: Where folders keep their chat template: of its own in new ones, with the tokenizer in older.
TEMPLATE = "chat_template.jinja"
#: Heads that the published file holds for training, or twice.
_UNUSED = r"text_lm_head\.weight|audio_decoder_proj\.(text|audio)_lm_head\.weight"
_GIGABYTE = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModel:
    """What generates columns; holds no request.

    Attributes:
        network: transformers' `HiggsAudioV2ForConditionalGeneration`.
        prompter: Writes its prompts.
        codebooks: Its codes.
        device: Where it is.
    """

    network: Any
    prompter: Prompter
    codebooks: Codebooks
    device: torch.device


def load(folder: Path, device: str, dtype: torch.dtype, report: LoadReport) -> LanguageModel:
    """The model of a folder.

    Raises:
        CheckpointError: If a file or a tensor is absent, damaged or of another shape.
        CancelledError: If nobody wants it any more.
    """
    require(folder, (CONFIG, TOKENIZER))

    def make(values: dict[str, Any]) -> tuple[Any, Any]:
        config = HiggsAudioV2Config.from_dict(values)
        with torch.device("meta"):
            return config, HiggsAudioV2ForConditionalGeneration(config)

    config, network = described(folder / CONFIG, "Higgs Audio v2", make)
    snapshot = Snapshot(folder)
    total = snapshot.size

    def tell(done: int) -> None:
        text = f"reading {total / _GIGABYTE:.1f} GB"
        report.update(text, done / total, bytes_done=done)

    snapshot.load(
        network,
        device=device,
        dtype=dtype,
        ignored=_UNUSED,
        on_progress=tell,
        cancel=report.cancel,
    )
    _compute_buffers(network, config, device)
    network.eval().requires_grad_(False)
    codebooks = Codebooks(
        config.num_codebooks, config.audio_stream_bos_id, config.audio_stream_eos_id
    )
    if config.codebook_size <= max(codebooks.begin, codebooks.end):
        raise CheckpointError(
            f"{folder / CONFIG} has {config.codebook_size} codes a codebook, which leaves no room "
            f"for the special ones ({codebooks.begin} and {codebooks.end})."
        )
    prompter = Prompter(
        _tokenizer(folder), codebooks, config.audio_token_id, config.audio_delay_token_id
    )
    return LanguageModel(network, prompter, codebooks, torch.device(device))


def _compute_buffers(network: Any, config: Any, device: str) -> None:
    """Make what no file holds; on the meta device it has no values."""
    inner = network.model
    with torch.device(device):
        inner.rotary_emb = type(inner.rotary_emb)(config)
        offsets = torch.arange(config.num_codebooks) * config.codebook_size
    inner.embed_audio_tokens.audio_tokens_offsets = offsets


def _tokenizer(folder: Path) -> Any:
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # The tokenizers library raises nothing narrower.
        raise CheckpointError(f"{folder / TOKENIZER} is damaged: {error}") from error
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"{folder} has no chat template. Fetch {TEMPLATE} of the same repository again."
        )
    return tokenizer

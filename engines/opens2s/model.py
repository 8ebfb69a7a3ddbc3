"""The weights: four networks under the names of the checkpoint."""

from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, Qwen2AudioEncoder
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model, Qwen3RotaryEmbedding

from engines.opens2s.adapter import Adapter
from engines.opens2s.config import Config
from engines.opens2s.features import Mel

#: Width of a speaker embedding. The reference always gives zeros.
SPEAKER_WIDTH = 512


@dataclass(slots=True)
class Reading:
    """How far one request has read in one language model: its keys and values."""

    cache: DynamicCache = field(default_factory=DynamicCache)

    @property
    def rows(self) -> int:
        """Rows read so far."""
        return int(self.cache.get_seq_length())


class LanguageModel(nn.Module):
    """A Qwen3 with its output layer.

    Args:
        config: Sizes (transformers).
    """

    def __init__(self, config: object) -> None:
        super().__init__()
        self.model = Qwen3Model(config)
        self.config = self.model.config
        # Tied: the checkpoint may leave the output layer out, or repeat the table of embeddings.
        self.lm_head = None
        if not self.config.tie_word_embeddings:
            self.lm_head = nn.Linear(self.config.hidden_size, self.config.vocab_size, bias=False)

    def embed(self, ids: Tensor) -> Tensor:
        """int64 `[n]` to rows `[n, hidden]`."""
        rows: Tensor = self.model.embed_tokens(ids)
        return rows

    def read(self, rows: Tensor, reading: Reading) -> Tensor:
        """Read further rows of one request.

        Args:
            rows: `[n, hidden]`, one or more.
            reading: What came before; moves on.

        Returns:
            `[hidden]`: the last row's hidden state, after the final normalization.
        """
        made = self.model(inputs_embeds=rows[None], past_key_values=reading.cache, use_cache=True)
        state: Tensor = made.last_hidden_state[0, -1]
        return state

    def logits(self, state: Tensor) -> Tensor:
        """What comes next after a hidden state, `[vocabulary]`."""
        weight = (self.lm_head or self.model.embed_tokens).weight
        # As a batch of one: rounded weights know no other.
        made: Tensor = functional.linear(state[None], weight)[0]
        return made


class SpeechModel(LanguageModel):
    """The language model of speech units; its first row is the speaker.

    Args:
        config: Sizes (transformers).
    """

    def __init__(self, config: object) -> None:
        super().__init__(config)
        self.spk2tts = nn.Linear(SPEAKER_WIDTH, self.config.hidden_size, bias=False)
        self.spk_ln = nn.LayerNorm(self.config.hidden_size)

    def speaker(self, embedding: Tensor | None) -> Tensor:
        """The first row, `[1, hidden]`.

        Args:
            embedding: `[SPEAKER_WIDTH]`; None is what the reference gives: zeros.
        """
        if embedding is None:
            embedding = self.spk_ln.weight.new_zeros(SPEAKER_WIDTH)
        row: Tensor = self.spk_ln(self.spk2tts(embedding))
        return row[None]


class OpenS2S(nn.Module):
    """The model; it holds nothing of a request.

    Args:
        config: Sizes.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        hidden, width = config.llm.hidden_size, config.speech.hidden_size
        self.audio_encoder_model = Qwen2AudioEncoder(config.audio)
        self.audio_adapter = Adapter(config.audio.d_model, hidden, config.inner, config.kernels)
        self.llm_model = LanguageModel(config.llm)
        self.llm2tts = nn.Linear(hidden, width, bias=False)
        self.llm_ln = nn.LayerNorm(width)
        self.tts_lm_model = SpeechModel(config.speech)

    def settle(self) -> None:
        """Make what is no weight, once the weights are in place (they may have been on meta)."""
        for part in (self.llm_model, self.tts_lm_model):
            part.model.rotary_emb = Qwen3RotaryEmbedding(part.config).to(self.device)
        self.eval().requires_grad_(requires_grad=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.llm_ln.weight.device

    def for_speech(self, state: Tensor) -> Tensor:
        """The speech model's row for a text token, `[1, hidden]`.

        Args:
            state: `[hidden]` of the language model, from which the token was predicted.
        """
        row: Tensor = self.llm_ln(self.llm2tts(state))
        return row[None]

    def hear(self, mel: Mel) -> Generator[None, None, list[Tensor]]:
        """Rows of the language model's input for the clips of one prompt.

        Each window of 30 s is encoded by itself, padding included, as the reference has no
        mask. Clips of one prompt go through the convolutions side by side: where one is
        shorter, its last rows see what the encoder made of the silence after it.

        Yields:
            Nothing, once per window encoded.

        Returns:
            `[rows, hidden]` for each clip.
        """
        weight = self.audio_encoder_model.conv1.weight
        size = 2 * self.config.audio.max_source_positions
        windows = [self._windows(valid) for valid in mel.valid]
        longest = max(sum(map(encoded, parts)) for parts in windows)
        made_of = []
        for clip, parts in zip(mel.values, windows, strict=True):
            rows = []
            for number in range(len(parts)):
                window = clip[None, :, number * size : (number + 1) * size]
                made = self.audio_encoder_model(window.to(weight.device, weight.dtype))
                rows.append(made.last_hidden_state[0])
                yield
            made_of.append(torch.cat(rows)[:longest])
        adapted = self.audio_adapter(nn.utils.rnn.pad_sequence(made_of, batch_first=True))
        return [rows[: self.heard(valid)] for rows, valid in zip(adapted, mel.valid, strict=True)]

    def heard(self, frames: int) -> int:
        """Rows of the language model's input that come of a clip of so many valid frames."""
        return self.audio_adapter.subsampler.length(sum(map(encoded, self._windows(frames))))

    def _windows(self, frames: int) -> list[int]:
        """Valid frames of each window of a clip."""
        size = 2 * self.config.audio.max_source_positions
        return [min(size, frames - start) for start in range(0, frames, size)]


def encoded(frames: int) -> int:
    """Rows that the encoder makes of so many valid frames of one window."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1

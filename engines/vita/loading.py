"""Loading a snapshot: the language model, two encoders, the tokenizer and the voice."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from codec.checkpoint import require
from engines.base import Cancel
from engines.native.memory import require_free
from engines.native.quantization import Precision, rounding
from engines.native.snapshot import Rows, Snapshot
from engines.needs import WEIGHT_BYTES
from engines.remote.address import Remote
from engines.vita.config import Config
from engines.vita.fbank import read_normalisation
from engines.vita.layout import AUDIO, LANGUAGE, VISION, Sizes, encoder_weights, verify
from engines.vita.speech.head import SpeechHead
from engines.vita.tiling import TILES
from engines.vita.vision import Vision
from engines.vita.vocabulary import Vocabulary
from engines.vita.whale import Whale, WhaleConfig
from engines.vita_audio.config import LanguageConfig
from engines.vita_audio.language_model import LanguageModel

#: Folder of the voice in a snapshot.
VOICE = "vita_tts_ckpt"

#: Tables of which rows beyond the tokenizer's last token are left out, as in the published loader.
_TABLES = ("model.embed_tokens.weight", "lm_head.weight")

#: Of the voice: a decoder and a codec of 115 million weights, in float32.
_VOICE_BYTES = 460_000_000

#: What rounding to 16 bits may change.
_ROUNDED = 2**-7


@dataclass(frozen=True, slots=True)
class Loading:
    """How a snapshot is loaded.

    Attributes:
        name: Of the model.
        sizes: What it is known to be.
        device: `cpu`, `cuda`, `cuda:1`.
        dtype: In which the language model computes; encoders and voice are in float32.
        precision: Of the weights of the language model's linear layers.
        window: Most tokens of a prompt with its reply; 0: what the model was made for.
        users: Replies that are made at once.
        tiles: Most tiles that an image is cut into.
        remote: vLLM servers that write in the place of weights here.
        served: Name of the model there; empty: the only one.
    """

    name: str = "VITA-1.5"
    sizes: Sizes = field(default_factory=Sizes)
    device: str = "cpu"
    dtype: torch.dtype = torch.bfloat16
    precision: Precision = "full"
    window: int = 0
    users: int = 4
    tiles: int = TILES
    remote: Remote | None = None
    served: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A snapshot that is ready; nothing in it belongs to a request.

    Attributes:
        config: What it says of itself; the vocabulary is as long as the tokenizer's.
        vocabulary: What ids stand for.
        language: None where servers write.
        whale: Hears.
        vision: Sees.
        voice: Speaks.
    """

    config: Config
    vocabulary: Vocabulary
    language: LanguageModel | None
    whale: Whale
    vision: Vision
    voice: SpeechHead


def load(
    folder: Path,
    vision: Path,
    loading: Loading,
    *,
    on_progress: Callable[[float], None] | None = None,
    cancel: Cancel | None = None,
) -> Loaded:
    """Load a snapshot.

    Args:
        folder: As published, with the folders of the audio encoder and the voice.
        vision: With the configuration of the image encoder; its weights are in `folder`.
        loading: How.
        on_progress: Told the share of the weights that is read.
        cancel: Stops the load.

    Raises:
        CheckpointError: If it is not the model, or a part of it is absent or damaged.
        UnavailableError: If there is not the memory for it.
        CancelledError: If `cancel` was set.
    """
    config = Config.read(folder, vision)
    snapshot = Snapshot(folder)
    audio = WhaleConfig.of(snapshot.shapes, folder)
    verify(snapshot, Sizes.of(config.language, audio, config.vision), loading.sizes, loading.name)
    vocabulary = Vocabulary.load(folder, config.language.vocabulary)
    config = replace(config, language=replace(config.language, vocabulary=vocabulary.size))
    for part in ("decoder", "codec"):
        require(folder / VOICE / part, ("model.json", "final.pt"))
    require_memory(config, loading)
    reader = Reader(snapshot, loading, on_progress, cancel)
    language = None if loading.remote is not None else reader.language(config.language)
    embedding: Tensor = (
        reader.embedding(config.language)
        if language is None
        else language.model.embed_tokens.weight
    )
    return Loaded(
        config,
        vocabulary,
        language,
        reader.whale(audio, config),
        reader.vision(config),
        SpeechHead.load(folder / VOICE, embedding, vocabulary.encode, device=loading.device),
    )


class Reader:
    """Fills models from one snapshot, and tells how far that is.

    Args:
        snapshot: Its tensors.
        loading: How.
        on_progress: Told the share of the weights that is read.
        cancel: Stops the load.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        loading: Loading,
        on_progress: Callable[[float], None] | None,
        cancel: Cancel | None,
    ) -> None:
        self._snapshot = snapshot
        self._loading = loading
        self._on_progress = on_progress
        self._cancel = cancel
        self._before = 0

    def language(self, config: LanguageConfig) -> LanguageModel:
        """The language model, its linear layers rounded as asked."""
        loading = self._loading
        with torch.device("meta"):
            model = LanguageModel(config)
        self._fill(
            model,
            {name: Rows(name) for name in _TABLES},
            f"{VISION}|{AUDIO}",
            loading.dtype,
            rounding(loading.precision, loading.device, loading.dtype),
        )
        model.rotary.to(loading.device)
        return model.eval()

    def embedding(self, config: LanguageConfig) -> Tensor:
        """The table of the language model alone."""
        with torch.device("meta"):
            table = torch.nn.Embedding(config.vocabulary, config.hidden)
        self._fill(table, {"weight": Rows(_TABLES[0])}, ".+", self._loading.dtype)
        return table.weight

    def whale(self, audio: WhaleConfig, config: Config) -> Whale:
        """The audio encoder."""
        with torch.device("meta"):
            encoder = Whale(audio, config.blocks)
        self._fill(encoder, encoder.names(), f"{VISION}|{LANGUAGE}", torch.float32)
        exact = read_normalisation(config.audio / "global_cmvn")
        for own, given in zip((encoder.mean, encoder.istd), exact, strict=True):
            # Beside the weights it is rounded to 16 bits, like them. Where they were trained with
            # another one, that is in force.
            if torch.allclose(own.cpu(), torch.from_numpy(given), rtol=_ROUNDED):
                own.copy_(torch.from_numpy(given))
        return encoder.eval()

    def vision(self, config: Config) -> Vision:
        """The image encoder."""
        with torch.device("meta"):
            encoder = Vision(config.vision, config.language.hidden)
        self._fill(encoder, encoder.names(), f"{AUDIO}|{LANGUAGE}", torch.float32)
        return encoder.eval()

    def _fill(
        self,
        module: torch.nn.Module,
        names: dict[str, str | Rows] | dict[str, Rows] | dict[str, str],
        ignored: str,
        dtype: torch.dtype,
        finish: Callable[[torch.nn.Module], None] | None = None,
    ) -> None:
        done = 0

        def progress(read: int) -> None:
            nonlocal done
            done = read
            if self._on_progress is not None:
                self._on_progress((self._before + read) / self._snapshot.size)

        self._snapshot.load(
            module,
            device=self._loading.device,
            dtype=dtype,
            names=names,
            ignored=ignored,
            finish=finish,
            on_progress=progress,
            cancel=self._cancel,
        )
        self._before += done


def memory(config: Config, loading: Loading) -> tuple[int, int]:
    """Bytes of the weights, and of what is kept of all conversations at once at most."""
    rounded = loading.precision != "full"
    each = WEIGHT_BYTES[loading.precision] if rounded else loading.dtype.itemsize
    weights = config.language.weights * each if loading.remote is None else 0
    weights += 4 * encoder_weights(loading.sizes) + _VOICE_BYTES
    window = loading.window or config.longest
    kept = config.language.cached_per_token * loading.dtype.itemsize * window * loading.users
    return round(weights), kept if loading.remote is None else 0


def require_memory(config: Config, loading: Loading) -> None:
    """Refuse a load that cannot end well, before anything is read.

    Raises:
        UnavailableError: If less is free than the weights and one conversation take.
    """
    weights, kept = memory(config, loading)
    require_free(
        loading.name,
        device=loading.device,
        weights=weights,
        what="its weights",
        each=kept // loading.users,
        window=loading.window or config.longest,
        settings="PARLEY_VITA15",
    )

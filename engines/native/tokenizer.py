"""The speech tokenizer of GLM-4-Voice as a model that engines borrow."""

from typing import TYPE_CHECKING

import devices
from codec.snapshots import TOKENIZER
from engines.fetch import fetch
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Store

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from codec.speech_tokenizer import SpeechTokenizer

#: Under which it is borrowed; loaded once, whoever uses it.
NAME = "glm-4-voice-tokenizer"

#: Bytes to fetch.
DOWNLOAD = 1_460_000_000
#: Bytes once it is loaded, in float32, with what it works with.
_MEMORY = 2_000_000_000


def spec(settings: Settings, store: Store) -> ModelSpec:
    """The tokenizer, on the device that has room for it."""
    device = devices.pick(settings.device, {"cpu": _MEMORY, "cuda": _MEMORY})

    def load(report: LoadReport) -> "SpeechTokenizer":
        folder = fetch(store, TOKENIZER, report)
        from codec.speech_tokenizer import SpeechTokenizer  # noqa: PLC0415

        return SpeechTokenizer.load(folder, device=device)

    return ModelSpec(NAME, TOKENIZER.title, device, _MEMORY, load)


def missing(store: Store) -> int:
    """Bytes that are yet to be fetched, by and large."""
    unseen = not (store.folder / TOKENIZER.name).is_dir()
    return DOWNLOAD if unseen else store.pending(TOKENIZER)

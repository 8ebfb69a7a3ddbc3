"""The speech decoder of GLM-4-Voice as a model that engines borrow: VITA-Audio's, OpenS2S's."""

from typing import TYPE_CHECKING

import devices
from codec.snapshots import DECODER
from engines.fetch import fetch
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Store

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from codec.decoder import SpeechDecoder

#: Under which it is borrowed; loaded once, whoever uses it.
NAME = "glm-4-voice-decoder"

#: Bytes to fetch.
DOWNLOAD = 530_000_000
#: Bytes once it is loaded, in float32, with what it works with.
_MEMORY = 1_200_000_000


def spec(settings: Settings, store: Store) -> ModelSpec:
    """The decoder, on the device that has room for it."""
    device = devices.pick(settings.device, {"cpu": _MEMORY, "cuda": _MEMORY})

    def load(report: LoadReport) -> "SpeechDecoder":
        folder = fetch(store, DECODER, report)
        from codec.decoder import SpeechDecoder  # noqa: PLC0415

        graphs = device.startswith("cuda")
        return SpeechDecoder.load(
            folder, device=device, acceleration="graphs" if graphs else "none"
        )

    return ModelSpec(NAME, DECODER.title, device, _MEMORY, load)


def missing(store: Store) -> int:
    """Bytes that are yet to be fetched, by and large."""
    unseen = not (store.folder / DECODER.name).is_dir()
    return DOWNLOAD if unseen else store.pending(DECODER)

"""The published models of this layout, as engines that can be chosen."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import devices
from codec.snapshots import DECODER
from engines.base import EngineInfo, Models, SpeechEngine, Voice
from engines.cascade import embedded
from engines.fetch import fetch
from engines.native import decoder
from engines.needs import Requirements
from engines.opens2s.engine import OpenS2SEngine, Parts
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Snapshot, Store

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from engines.opens2s.runtime import Runtime

#: Files of a snapshot; each is needed.
_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "audio/preprocessor_config.json",
    "tts/generation_config.json",
    "tts/tokenizer.json",
    "tts/tokenizer_config.json",
)
#: Files that some snapshots have: an index of several weight files, the template apart.
_OPTIONAL = ("model.safetensors.index.json", "chat_template.jinja")

#: Bytes of the weights in bfloat16, as published (DialectS2S; OpenS2S has the same parts).
DOWNLOAD = 22_100_000_000
#: With the caches of some conversations, and what the models work with.
_MEMORY = DOWNLOAD + 1_500_000_000
#: Conversations at once; the caches of each take up to a tenth of a gigabyte.
_CAPACITY = 8

#: The decoder's. The model itself makes units, not samples.
_RATE = 22_050


@dataclass(frozen=True, slots=True)
class Product:
    """One published model.

    Attributes:
        info: What it is and can do.
        snapshot: Its weights.
        memory: Bytes it takes on its device.
    """

    info: EngineInfo
    snapshot: Snapshot
    memory: int = _MEMORY

    @property
    def licence(self) -> str:
        """Of all its weights, for people."""
        return f"{self.snapshot.licence}; of the decoder: {DECODER.licence}"

    @property
    def requires(self) -> Requirements:
        """What it needs beside memory."""
        return Requirements(
            download=DOWNLOAD + decoder.DOWNLOAD,
            packages=("torch", "transformers"),
            missing=self.missing,
        )

    def engine(self, models: Models) -> SpeechEngine:
        """The engine over the models of `specs`."""
        parts = Parts(self.info.name, decoder.NAME, embedded.RECOGNIZER.names)
        return OpenS2SEngine(self.info, parts, models)

    def specs(self, settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
        """Its models; what writes down the words is the embedded engine's."""
        device = devices.pick(settings.device, {"cpu": self.memory, "cuda": self.memory})

        def load(report: LoadReport) -> "Runtime":
            return self._load(fetch(store, self.snapshot, report), device, report)

        own = ModelSpec(self.info.name, self.info.title, device, self.memory, load)
        return (own, decoder.spec(settings, store), *embedded.RECOGNIZER.specs(settings, store))

    def _load(self, folder: Path, device: str, report: LoadReport) -> "Runtime":
        import torch  # noqa: PLC0415  (only now; the table of engines does without)

        from engines.opens2s.loading import load  # noqa: PLC0415
        from engines.opens2s.runtime import Runtime  # noqa: PLC0415

        loaded = load(
            folder,
            device=device,
            dtype=torch.bfloat16,
            on_progress=lambda share: report.update("loading", share),
            cancel=report.cancel,
        )
        return Runtime(loaded, _CAPACITY)

    def missing(self, settings: Settings, store: Store) -> int:
        """Bytes that are yet to be fetched, by and large."""
        unseen = not (store.folder / self.snapshot.name).is_dir()
        own = DOWNLOAD if unseen else store.pending(self.snapshot)
        return own + decoder.missing(store)


def _product(name: str, title: str, licence: str, languages: tuple[str, ...], note: str) -> Product:
    info = EngineInfo(
        name=name,
        title=title,
        tasks=frozenset({"sqa", "text"}),
        hears=languages,
        speaks=languages,
        voices=(Voice("own", "*", "The one voice it was trained with"),),
        rate=_RATE,
        notes=f"{note} It has one voice, and answers at most 41 s at a time. It reads no text "
        "aloud and writes no speech down: the words of a question come from another recognizer, "
        "and in later turns stand for its sound. Computed as by the published code; the real "
        "weights could not be tried when this was written.",
    )
    snapshot = Snapshot(
        repo=f"CASIA-LM/{title}",
        # Its commit could not be looked up when this was written; the first fetch pins it.
        revision=None,
        title=title,
        licence=licence,
        files=_FILES,
        optional=_OPTIONAL,
    )
    return Product(info, snapshot)


OPENS2S = _product(
    "opens2s",
    "OpenS2S",
    "Apache-2.0",
    ("en", "zh"),
    "Hears how something is said, not only what, and answers in that mood.",
)
DIALECTS2S = _product(
    "dialects2s",
    "DialectS2S",
    "MIT",
    ("zh",),
    "OpenS2S for dialects of Chinese.",
)
PRODUCTS = (OPENS2S, DIALECTS2S)

#: Of either, for people.
NEEDS = "A GPU with 32 GB or more (bfloat16), 23 GB of disk"

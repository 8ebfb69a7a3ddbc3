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
from engines.needs import WEIGHT_BYTES, Requirements
from engines.opens2s.engine import OpenS2SEngine, Parts
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Snapshot, Store

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from engines.native.quantization import Precision
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
#: Weights of the linear layers of the two language models (Qwen3-8B, and 1.7B by the size).
_LINEAR = 9_290_000_000
#: Bytes of a position: keys and values of the 36 layers of one, and the 28 of the other.
_KEPT, _KEPT_SPEECH = 147_456, 114_688
#: Units of an answer at most: positions of the speech model, beside those of the text.
_UNITS = 512
#: What the models work with.
_WORKSPACE = 700_000_000

#: The decoder's. The model itself makes units, not samples.
_RATE = 22_050


@dataclass(frozen=True, slots=True)
class Preset:
    """How a model is laid out on a card.

    Attributes:
        card: Memory of the card, GB.
        precision: Of the language models' weights.
        window: Positions that a dialogue with its answer may take.
        users: Answers that are made at once.
        block: Units that are rendered at once. A slower card makes them later, so smaller blocks
            keep the sound from running dry after the first one.
    """

    card: int
    precision: "Precision"
    window: int
    users: int
    block: int

    def memory(self, settings: Settings) -> int:
        """Bytes on the card, with the caches of as many answers at once, as long as they may be."""
        window, users = self.within(settings)
        weights = DOWNLOAD - _LINEAR * (2.0 - WEIGHT_BYTES[self.precision])
        kept = window * _KEPT + (window + _UNITS) * _KEPT_SPEECH
        return round(weights + users * kept + _WORKSPACE)

    def within(self, settings: Settings) -> tuple[int, int]:
        """Window and users, which the settings may change."""
        return settings.opens2s_window or self.window, settings.opens2s_users or self.users

    @property
    def described(self) -> str:
        """For people."""
        weights = {"full": "bfloat16", "int8": "weights in int8, by torchao"}[self.precision]
        return (
            f"For a card of {self.card} GB: {weights}, {self.users} answers at once, dialogues of "
            f"up to {self.window} tokens, sound in blocks of {self.block} units."
        )


#: The first is what a name alone stands for.
PRESETS = (
    Preset(40, "full", window=8192, users=4, block=25),
    Preset(24, "int8", window=4096, users=4, block=16),
)


@dataclass(frozen=True, slots=True)
class Product:
    """One published model.

    Attributes:
        info: What it is and can do.
        snapshot: Its weights.
        preset: How it is laid out.
    """

    info: EngineInfo
    snapshot: Snapshot
    preset: Preset

    @property
    def licence(self) -> str:
        """Of all its weights, for people."""
        return f"{self.snapshot.licence}; of the decoder: {DECODER.licence}"

    @property
    def needs(self) -> str:
        """Device and memory, for people."""
        kind = {"full": "bfloat16", "int8": "int8"}[self.preset.precision]
        return f"A GPU with {self.preset.card} GB ({kind}), 23 GB of disk"

    @property
    def requires(self) -> Requirements:
        """What it needs beside memory."""
        rounded = self.preset.precision != "full"
        return Requirements(
            download=DOWNLOAD + decoder.DOWNLOAD,
            packages=("torch", "transformers", *(("torchao",) if rounded else ())),
            install=f"requirements-{'torchao' if rounded else 'gpu'}.txt",
            missing=self.missing,
        )

    def engine(self, models: Models) -> SpeechEngine:
        """The engine over the models of `specs`."""
        parts = Parts(self.info.name, decoder.NAME, embedded.RECOGNIZER.names)
        return OpenS2SEngine(self.info, parts, models, self.preset.block)

    def specs(self, settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
        """Its models; what writes down the words is the embedded engine's."""
        memory = self.preset.memory(settings)
        device = devices.pick(settings.device, {"cpu": memory, "cuda": memory})

        def load(report: LoadReport) -> "Runtime":
            return self._load(settings, fetch(store, self.snapshot, report), device, report)

        own = ModelSpec(self.info.name, self.info.title, device, memory, load)
        return (own, decoder.spec(settings, store), *embedded.RECOGNIZER.specs(settings, store))

    def _load(self, settings: Settings, folder: Path, device: str, report: LoadReport) -> "Runtime":
        import torch  # noqa: PLC0415  (only now; the table of engines does without)

        from engines.opens2s.loading import load  # noqa: PLC0415
        from engines.opens2s.runtime import Runtime  # noqa: PLC0415

        loaded = load(
            folder,
            device=device,
            dtype=torch.bfloat16,
            precision=self.preset.precision,
            on_progress=lambda share: report.update("loading", share),
            cancel=report.cancel,
        )
        window, users = self.preset.within(settings)
        return Runtime(loaded, users, window)

    def missing(self, settings: Settings, store: Store) -> int:
        """Bytes that are yet to be fetched, by and large."""
        unseen = not (store.folder / self.snapshot.name).is_dir()
        own = DOWNLOAD if unseen else store.pending(self.snapshot)
        return own + decoder.missing(store)


def _products(
    name: str, title: str, licence: str, languages: tuple[str, ...], note: str
) -> tuple[Product, ...]:
    """A model in each of the presets."""
    snapshot = Snapshot(
        repo=f"CASIA-LM/{title}",
        # Its commit could not be looked up when this was written; the first fetch pins it.
        revision=None,
        title=title,
        licence=licence,
        files=_FILES,
        optional=_OPTIONAL,
    )

    def product(preset: Preset) -> Product:
        small = preset is not PRESETS[0]
        info = EngineInfo(
            name=f"{name}-{preset.card}gb" if small else name,
            title=f"{title} ({preset.card} GB)" if small else title,
            tasks=frozenset({"sqa", "text"}),
            hears=languages,
            speaks=languages,
            voices=(Voice("own", "*", "The one voice it was trained with"),),
            rate=_RATE,
            wishes=frozenset({"block"}),
            notes=f"{note} {preset.described} It has one voice, and answers at most 41 s at a "
            "time. It reads no text aloud and writes no speech down: the words of a question come "
            "from another recognizer, and in later turns stand for its sound. Computed as by the "
            "published code; the real weights could not be tried when this was written.",
        )
        return Product(info, snapshot, preset)

    return tuple(map(product, PRESETS))


PRODUCTS = (
    *_products(
        "opens2s",
        "OpenS2S",
        "Apache-2.0",
        ("en", "zh"),
        "Hears how something is said, not only what, and answers in that mood.",
    ),
    *_products("dialects2s", "DialectS2S", "MIT", ("zh",), "OpenS2S for dialects of Chinese."),
)

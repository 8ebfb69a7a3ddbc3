"""The four published checkpoints, as engines that can be chosen."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import devices
from codec.snapshots import DECODER
from engines.base import EngineInfo, Models, SpeechEngine, Voice
from engines.fetch import fetch
from engines.native import decoder, tokenizer
from engines.needs import WEIGHT_BYTES, Requirements
from engines.remote.address import Remote
from engines.vita_audio.engine import Parts, VitaAudioEngine
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Snapshot, Store

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from engines.vita_audio.runtime import VitaAudio

#: Files of a checkpoint; each is needed.
_FILES = ("config.json", "tokenizer.json", "*.safetensors")
#: Files that a checkpoint may have.
_OPTIONAL = ("generation_config.json", "model.safetensors.index.json")

#: SenseVoice's mean and scale of features, which the Plus checkpoints lack.
NORMALISATION = Snapshot(
    repo="FunAudioLLM/SenseVoiceSmall",
    # Its commit could not be looked up when this was written; the first fetch pins it.
    revision=None,
    title="SenseVoice's normalisation",
    licence="FunASR model licence",
    files=("am.mvn",),
)

#: Weights of a checkpoint: the main model, ten heads, the encoder (in float32 once loaded).
_MAIN, _HEADS, _ENCODER = 7_730_000_000, 2_590_000_000, 249_000_000

#: Bytes of a token of a conversation: keys and values of 28 and 38 layers, in bfloat16.
_KEPT = {0: 57_344, 10: 77_824}

#: What the models work with.
_WORKSPACE = 500_000_000

#: The decoder's. The checkpoints make codes, not samples.
_RATE = 22_050

_NOTES = (
    "One timbre, that of the speech codec: a voice of the library stands in the prompt and may "
    "change how something is said, never whose voice it is. {heads} Writes down what was said "
    "after it has begun to answer, and in later turns the words stand for the sound. Keys, shapes "
    "and prompts are those of the published code; the published weights could not be tried when "
    "this was written."
)
_WITH_HEADS = (
    "Up to ten tokens at once come from heads that nobody checks, which is fast and costs some "
    "quality, so recognition uses the main model alone; PARLEY_VITA_MODE=vanilla does for all."
)
_WITHOUT_HEADS = "No heads: the slowest and most careful of the four."


@dataclass(frozen=True, slots=True)
class Product:
    """One published checkpoint.

    Attributes:
        info: What it is and can do.
        snapshot: Its weights.
        heads: Prediction heads.
        mode: Name of the speed mode that it was made for.
        hears_codes: Whether speech goes through the codec's tokenizer; else through an encoder
            of its own.
    """

    info: EngineInfo
    snapshot: Snapshot
    heads: int
    mode: str
    hears_codes: bool

    @property
    def licence(self) -> str:
        """Of all its weights, for people."""
        heard = "" if self.hears_codes else f"; of SenseVoice: {NORMALISATION.licence}"
        return f"{self.snapshot.licence}; of the codec: {DECODER.licence}{heard}"

    @property
    def needs(self) -> str:
        """Device and memory, for people."""
        card = "32 GB" if self.heads else "24 GB"
        return (
            f"A GPU with {card} (bfloat16), less with PARLEY_VITA_PRECISION=int8 or int4; "
            f"{self.download / 1e9:.0f} GB of disk"
        )

    @property
    def download(self) -> int:
        """Bytes of all its weights, by and large."""
        return self._own_download + decoder.DOWNLOAD + self._tokenizer_download

    @property
    def requires(self) -> Requirements:
        """What it needs beside memory."""
        return Requirements(
            download=self.download,
            packages=("torch", "transformers", "kaldi_native_fbank"),
            missing=self.missing,
        )

    def memory(self, settings: Settings) -> int:
        """Bytes that the checkpoint takes on its device."""
        encoder = 0 if self.hears_codes else 4 * _ENCODER
        if settings.vita_url:
            return round(encoder + _WORKSPACE)
        each = WEIGHT_BYTES[settings.vita_precision]
        weights = (_MAIN + bool(self.heads) * _HEADS) * each
        kept = _KEPT[self.heads] * settings.vita_window * settings.vita_users
        return round(weights + encoder + kept + _WORKSPACE)

    def engine(self, models: Models) -> SpeechEngine:
        """The engine over the models of `specs`."""
        parts = Parts(self.info.name, decoder.NAME, tokenizer.NAME if self.hears_codes else None)
        return VitaAudioEngine(self.info, parts, models)

    def specs(self, settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
        """Its models; tokenizer and decoder are shared with other engines."""
        memory = self.memory(settings)
        device = devices.pick(settings.device, {"cpu": memory, "cuda": memory})

        def load(report: LoadReport) -> "VitaAudio":
            return self._load(settings, store, device, report)

        own = ModelSpec(self.info.name, self.info.title, device, memory, load)
        shared: tuple[ModelSpec, ...] = (decoder.spec(settings, store),)
        if self.hears_codes:
            shared = (tokenizer.spec(settings, store), *shared)
        return (own, *shared)

    def missing(self, settings: Settings, store: Store) -> int:
        """Bytes that are yet to be fetched, by and large."""
        unseen = not (store.folder / self.snapshot.name).is_dir()
        own = self._own_download if unseen else store.pending(self.snapshot)
        heard = tokenizer.missing(store) if self.hears_codes else 0
        return own + heard + decoder.missing(store)

    def loading(self, settings: Settings, device: str) -> Any:
        """How it is loaded; a `runtime.Loading`."""
        import torch  # noqa: PLC0415  (only now; the table of engines does without)

        from engines.vita_audio.layout import CODES, PUBLISHED  # noqa: PLC0415
        from engines.vita_audio.prompts import Persona  # noqa: PLC0415
        from engines.vita_audio.runtime import Loading  # noqa: PLC0415

        urls = tuple(filter(None, settings.vita_url.split(",")))
        name, _, gender = settings.vita_persona.partition(",")
        return Loading(
            name=self.info.title,
            sizes=PUBLISHED[self.snapshot.name],
            device=device,
            dtype=torch.bfloat16,
            precision=settings.vita_precision,
            window=settings.vita_window,
            users=settings.vita_users,
            mode=self.mode if settings.vita_mode == "auto" else settings.vita_mode,
            persona=Persona(name.strip(), gender.strip() or "male"),
            codes=CODES,
            remote=Remote(urls, os.environ.get("PARLEY_VITA_KEY", "")) if urls else None,
            served=settings.vita_served,
        )

    def _load(
        self, settings: Settings, store: Store, device: str, report: LoadReport
    ) -> "VitaAudio":
        folder = fetch(store, self.snapshot, report)
        normalisation = None if self.hears_codes else fetch(store, NORMALISATION, report)
        from engines.vita_audio.runtime import load  # noqa: PLC0415

        return load(
            folder,
            self.loading(settings, device),
            normalisation=normalisation,
            on_progress=lambda share: report.update("loading", share),
            cancel=report.cancel,
        )

    @property
    def _own_download(self) -> int:
        encoder = 0 if self.hears_codes else _ENCODER
        return 2 * (_MAIN + bool(self.heads) * _HEADS + encoder)

    @property
    def _tokenizer_download(self) -> int:
        return tokenizer.DOWNLOAD if self.hears_codes else 0


def _product(title: str, mode: str, *, heads: int, hears_codes: bool) -> Product:
    heads_note = _WITH_HEADS if heads else _WITHOUT_HEADS
    info = EngineInfo(
        name=title.lower(),
        title=title,
        tasks=frozenset({"asr", "tts", "sqa", "text"}),
        hears=("en", "zh"),
        speaks=("en", "zh"),
        voices=(Voice("glm", "*", "The one voice of the GLM-4-Voice codec"),),
        rate=_RATE,
        reference="prompt",
        wishes=frozenset({"block"}),
        notes=_NOTES.format(heads=heads_note),
    )
    snapshot = Snapshot(
        repo=f"VITA-MLLM/{title}",
        # Its commit could not be looked up when this was written; the first fetch pins it.
        revision=None,
        title=title,
        licence="as its card on the Hub says",
        files=_FILES,
        optional=_OPTIONAL,
    )
    return Product(info, snapshot, heads, mode, hears_codes)


PRODUCTS = (
    _product("VITA-Audio-Boost", "boost", heads=10, hears_codes=True),
    _product("VITA-Audio-Balance", "balance", heads=10, hears_codes=True),
    _product("VITA-Audio-Plus-Vanilla", "vanilla", heads=0, hears_codes=False),
    _product("VITA-Audio-Plus-Boost", "boost", heads=10, hears_codes=False),
)

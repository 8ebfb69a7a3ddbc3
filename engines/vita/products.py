"""The published model, as an engine that can be chosen."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import devices
from engines.base import EngineInfo, Models, SpeechEngine, Voice
from engines.cascade import embedded
from engines.fetch import fetch
from engines.needs import WEIGHT_BYTES, Requirements
from engines.remote.address import Remote
from engines.vita.engine import VitaEngine
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Snapshot, Store

if TYPE_CHECKING:  # Torch is not imported before a model is loaded.
    from engines.vita.runtime import Runtime

SNAPSHOT = Snapshot(
    repo="VITA-MLLM/VITA-1.5",
    # Its commit could not be looked up when this was written; the first fetch pins it.
    revision=None,
    title="VITA-1.5",
    licence="VITA-1.5 licence: academic, research and education only",
    files=(
        "config.json",
        "*.safetensors",
        "tokenizer_config.json",
        "audio-encoder-*/train.yaml",
        "audio-encoder-*/global_cmvn",
        "vita_tts_ckpt/decoder/model.json",
        "vita_tts_ckpt/decoder/final.pt",
        "vita_tts_ckpt/codec/model.json",
        "vita_tts_ckpt/codec/final.pt",
    ),
    optional=(
        "generation_config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
    ),
)

#: What the image encoder is made of; its weights are in the other snapshot.
VISION = Snapshot(
    repo="OpenGVLab/InternViT-300M-448px",
    # Its commit could not be looked up when this was written; the first fetch pins it.
    revision=None,
    title="InternViT-300M's configuration",
    licence="MIT",
    files=("config.json", "preprocessor_config.json"),
)

LICENCE = f"{SNAPSHOT.licence}; of Qwen2.5: Apache-2.0; of InternViT: MIT"

TERMS = (
    "VITA-1.5's code and weights may be used for academic, research and education purposes only, "
    "not in a product and not for commercial ends (Tencent, License.txt of the VITA repository)."
)

NEEDS = "A GPU with 24 GB (bfloat16), less with PARLEY_VITA15_PRECISION=int8 or int4; 19 GB of disk"

#: Bytes to fetch: four files of weights, and the voice with what its training left in it.
DOWNLOAD = 16_600_000_000 + 1_900_000_000

#: Weights of the language model, and of the encoders and the voice in float32.
_LANGUAGE = 7_620_000_000
_ENCODERS = 4 * (376_000_000 + 304_000_000 + 28_000_000 + 115_000_000)
#: Bytes of a token of a conversation: keys and values of 28 layers, in bfloat16.
_KEPT = 57_344
#: What the models work with.
_WORKSPACE = 1_000_000_000

INFO = EngineInfo(
    name="vita-1.5",
    title="VITA-1.5",
    tasks=frozenset({"sqa", "text"}),
    hears=("en", "zh"),
    speaks=("en", "zh"),
    voices=(Voice("own", "*", "The one voice it was trained with"),),
    rate=24_000,
    can_see=True,
    notes="Hears, and sees images, videos and the camera. It decides itself whether what it heard "
    "was meant for it, and stays silent if not. It has one voice, reads no text aloud and writes "
    "no speech down: the words of a question come from another recognizer, and in later turns "
    "stand for its sound. Computed as by the published code; the real weights could not be tried "
    "when this was written.",
)


def engine(models: Models) -> SpeechEngine:
    """The engine over the models of `specs`."""
    return VitaEngine(INFO, INFO.name, models, embedded.RECOGNIZER.names)


def memory(settings: Settings) -> int:
    """Bytes that the model takes on its device."""
    if settings.vita15_url:
        return _ENCODERS + _WORKSPACE
    weights = _LANGUAGE * WEIGHT_BYTES[settings.vita15_precision]
    kept = _KEPT * settings.vita15_window * settings.vita15_users
    return round(weights + _ENCODERS + kept + _WORKSPACE)


def specs(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    """Its models; what writes down the words is the embedded engine's."""
    size = memory(settings)
    device = devices.pick(settings.device, {"cpu": size, "cuda": size})

    def load(report: LoadReport) -> "Runtime":
        return _load(settings, store, device, report)

    own = ModelSpec(INFO.name, INFO.title, device, size, load)
    return (own, *embedded.RECOGNIZER.specs(settings, store))


def missing(settings: Settings, store: Store) -> int:
    """Bytes that are yet to be fetched, by and large."""
    unseen = not (store.folder / SNAPSHOT.name).is_dir()
    return DOWNLOAD if unseen else store.pending(SNAPSHOT)


REQUIRES = Requirements(
    download=DOWNLOAD,
    packages=("torch", "transformers", "yaml"),
    missing=missing,
)


def loading(settings: Settings, device: str) -> Any:
    """How it is loaded; a `loading.Loading`."""
    import torch  # noqa: PLC0415  (only now; the table of engines does without)

    from engines.vita.layout import PUBLISHED  # noqa: PLC0415
    from engines.vita.loading import Loading  # noqa: PLC0415

    urls = tuple(filter(None, settings.vita15_url.split(",")))
    return Loading(
        name=INFO.title,
        sizes=PUBLISHED,
        device=device,
        dtype=torch.bfloat16,
        precision=settings.vita15_precision,
        window=settings.vita15_window,
        users=settings.vita15_users,
        tiles=settings.vita15_tiles,
        remote=Remote(urls, os.environ.get("PARLEY_VITA15_KEY", "")) if urls else None,
        served=settings.vita15_served,
    )


def _load(settings: Settings, store: Store, device: str, report: LoadReport) -> "Runtime":
    folder: Path = fetch(store, SNAPSHOT, report)
    vision: Path = fetch(store, VISION, report)
    from engines.vita.loading import load  # noqa: PLC0415
    from engines.vita.runtime import Runtime  # noqa: PLC0415

    how = loading(settings, device)
    loaded = load(
        folder,
        vision,
        how,
        on_progress=lambda share: report.update("loading", share),
        cancel=report.cancel,
    )
    return Runtime.of(loaded, how, folder)

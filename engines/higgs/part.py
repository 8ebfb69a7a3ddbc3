"""Higgs Audio v2 as the catalog knows it; torch is not imported before it is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

import devices
from engines.cascade.kit import SynthesizerPart
from engines.fetch import fetch
from engines.higgs.voices import VOICES
from engines.needs import Requirements
from model_spec import LoadReport, ModelSpec
from settings import Settings
from weights import Snapshot, Store

if TYPE_CHECKING:
    from engines.higgs.synthesizer import Higgs

#: Under which the synthesizer is borrowed.
NAME = "higgs-audio-v2"
LICENCE = "Boson Higgs Audio 2 Community License (with Meta's Llama 3 Community License)"
TERMS = (
    "Higgs Audio v2 comes under the Boson Higgs Audio 2 Community License, which takes up Meta's "
    "Llama 3 Community License. It asks for attribution (“Built with Higgs Materials”), keeps to "
    "Meta's acceptable use policy, forbids training other large language models on what the model "
    "makes, and wants a licence of its own from Boson AI above 100,000 users a year. Read it "
    "where the weights are published before you rely on this summary."
)
NEEDS = "A GPU with 16 GB or more (bfloat16), or 27 GB of memory and much patience; 13 GB of disk"
NOTES = (
    "Speaks English, Chinese and some other languages, clones a voice from 3 to 30 s of speech "
    "(better with its transcript), and reads dialogues whose lines begin with [SPEAKER0] to "
    "[SPEAKER3]. Its own voices differ from reply to reply: take a recording to keep one. Now "
    "and then it leaves a word out or does not find the end; then the reply says so. Computed as "
    "by transformers; the real weights could not be tried when this was written."
)

#: The language model as transformers has it. In 2026 the published folder was converted in
#: place; the commit could not be looked up when this was written, so the first fetch pins it.
MODEL = Snapshot(
    repo="bosonai/higgs-audio-v2-generation-3B-base",
    revision=None,
    title="Higgs Audio v2",
    licence=LICENCE,
    files=("config.json", "*.safetensors", "tokenizer.json", "tokenizer_config.json"),
    optional=("model.safetensors.index.json", "chat_template.jinja"),
)
CODEC = Snapshot(
    repo="bosonai/higgs-audio-v2-tokenizer",
    revision=None,
    title="Higgs Audio v2's speech codec",
    licence=LICENCE,
    files=("config.json", "model.safetensors"),
)

#: Bytes: 5.8 billion parameters in bfloat16, the codec in float32.
_MODEL_SIZE, _CODEC_SIZE = 11_600_000_000, 800_000_000
#: Room for the caches of the replies that are held at once, and for what a step works with.
_ROOM = 1_500_000_000


def specs(settings: Settings, store: Store) -> tuple[ModelSpec, ...]:
    """The one model that the synthesizer is, to the holder."""
    model = _size(store, MODEL, _MODEL_SIZE)
    rest = _size(store, CODEC, _CODEC_SIZE) + _ROOM
    # Float32 on a CPU: few of them compute in bfloat16, and then slowly.
    memory: dict[devices.Kind, int] = {"cpu": 2 * model + rest, "cuda": model + rest}
    device = devices.pick(settings.device, memory)
    need = memory["cpu" if device == "cpu" else "cuda"]

    def load(report: LoadReport) -> "Higgs":
        folders = fetch(store, MODEL, report), fetch(store, CODEC, report)
        return assemble(*folders, device, report)

    return (ModelSpec(NAME, "Higgs Audio v2", device, need, load),)


def missing(settings: Settings, store: Store) -> int:
    """Bytes that are yet to be fetched, by and large."""
    sizes = ((MODEL, _MODEL_SIZE), (CODEC, _CODEC_SIZE))
    return sum(
        store.pending(snapshot) if _folder(store, snapshot).is_dir() else size
        for snapshot, size in sizes
    )


def assemble(model: Path, codec: Path, device: str, report: LoadReport) -> "Higgs":
    """The synthesizer over the model and the codec of two folders.

    Raises:
        CheckpointError: If one of them is not what it should be.
        CancelledError: If nobody wants it any more.
    """
    import torch  # noqa: PLC0415  (only now; the table of engines does without)

    from engines.higgs import codec as codecs  # noqa: PLC0415
    from engines.higgs import model as models  # noqa: PLC0415
    from engines.higgs.synthesizer import Higgs  # noqa: PLC0415

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    # The small one first: what is wrong with it is then known at once.
    loaded = codecs.load(codec, device)
    return Higgs(models.load(model, device, dtype, report), loaded)


def _folder(store: Store, snapshot: Snapshot) -> Path:
    return store.folder / snapshot.name


def _size(store: Store, snapshot: Snapshot, published: int) -> int:
    """Bytes of the weights: of those that are here, else of the published ones."""
    here = sum(path.stat().st_size for path in _folder(store, snapshot).glob("*.safetensors"))
    return here or published


REQUIRES = Requirements(
    download=_MODEL_SIZE + _CODEC_SIZE,
    packages=("torch", "transformers"),
    missing=missing,
)

SYNTHESIZER = SynthesizerPart(
    name=NAME,
    speaks=("en", "zh", "*"),
    voices=VOICES,
    rate=24_000,
    specs=specs,
    reference="clone",
    wishes=frozenset({"style"}),
)

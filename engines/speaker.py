"""The speaker encoder as a model of the holder: engines tune by it, the page measures with it."""

from engines.fetch import fetch
from model_spec import LoadReport, ModelSpec
from speech.speaker import WEIGHTS, SpeakerEncoder
from weights import Store

NAME = "speaker-encoder"
#: Resident memory once loaded and used, bytes (measured on Linux x86-64).
MEMORY = 60_000_000


def spec(store: Store) -> ModelSpec:
    """How it is loaded."""

    def load(report: LoadReport) -> SpeakerEncoder:
        return SpeakerEncoder(fetch(store, WEIGHTS, report))

    return ModelSpec(NAME, title="Speaker encoder", device="cpu", memory=MEMORY, load=load)

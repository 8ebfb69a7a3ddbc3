"""The table of engines: what each is, needs and may be used for."""

from collections.abc import Callable
from dataclasses import dataclass

from engines.base import EngineInfo, Models, SpeechEngine
from engines.cascade import embedded
from model_spec import ModelSpec
from settings import Settings
from weights import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """An engine that can be chosen.

    Attributes:
        info: What it is and can do.
        licence: Of its weights, for people.
        needs: Device and memory, for people.
        specs: Describes its models; models of one name are shared between engines.
        build: Makes the engine; cheap, since models are borrowed by the request.
    """

    info: EngineInfo
    licence: str
    needs: str
    specs: Callable[[Settings, Store], tuple[ModelSpec, ...]]
    build: Callable[[Models], SpeechEngine]


CATALOG: tuple[Entry, ...] = (
    Entry(
        info=embedded.INFO,
        licence="MIT (Moonshine, Whisper), Apache-2.0 (Qwen2.5, SmolLM2, hibari)",
        needs="Any CPU, 3 GB of memory, 1.3 GB of disk",
        specs=embedded.specs,
        build=embedded.engine,
    ),
)
